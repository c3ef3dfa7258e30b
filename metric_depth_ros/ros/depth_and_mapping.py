"""depth_node and mapping_node in one process: depth reaches the map without being copied at all.

    ros2 run metric_depth_ros depth_and_mapping --ros-args -r image:=/camera/image_raw \\
        -r camera_info:=/camera/camera_info -p poses:=odometry -r odom:=/robot/odom

Parameters and topics are those of the two nodes; a parameter that both have is given to both.
"""

from __future__ import annotations

import sys

from .depth_node import DepthNode
from .mapping_node import MappingNode
from .running import run


def main(args: list[str] | None = None) -> int:
    """Run both until SIGINT or SIGTERM; exit status as of mapping_node."""
    maps: list[MappingNode] = []

    def make() -> list[MappingNode | DepthNode]:
        depth = DepthNode()
        maps.append(MappingNode(direct=True))
        depth.on_prediction = maps[0].hand_over
        return [maps[0], depth]

    return run('depth_and_mapping', make, args) or int(any(node.lost_map for node in maps))


if __name__ == '__main__':
    sys.exit(main())
