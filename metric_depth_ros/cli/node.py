"""`depth_node` of a pip installation: the node, or one line where there is no ROS to run it."""

from __future__ import annotations

import sys


def main() -> int:
    """Exit status of the node; 2 without ROS."""
    try:
        from ..ros import depth_node
    except ImportError as error:
        print(
            f"depth_node needs ROS 2, but {error}: pip install 'metric_depth_ros[ros]', or source "
            f'a ROS 2 installation',
            file=sys.stderr,
        )
        return 2
    return depth_node.main()
