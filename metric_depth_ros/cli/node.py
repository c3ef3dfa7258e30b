"""The nodes of a pip installation: each runs, or says in one line that there is no ROS for it."""

from __future__ import annotations

import sys
from importlib import import_module


def run_node(name: str) -> int:
    """Exit status of the node of that name in the room `ros`; 2 without ROS."""
    try:
        node = import_module(f'...ros.{name}', __name__)
    except ImportError as error:
        print(
            f"{name} needs ROS 2, but {error}: pip install 'metric_depth_ros[ros]', or source "
            f'a ROS 2 installation',
            file=sys.stderr,
        )
        return 2
    return int(node.main())


def main() -> int:
    """`depth_node`."""
    return run_node('depth_node')
