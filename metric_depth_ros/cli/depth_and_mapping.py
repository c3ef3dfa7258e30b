"""`depth_and_mapping` of a pip installation."""

from __future__ import annotations

from .node import run_node


def main() -> int:
    """Exit status of the two nodes; 2 without ROS."""
    return run_node('depth_and_mapping')
