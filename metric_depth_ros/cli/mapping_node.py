"""`mapping_node` of a pip installation."""

from __future__ import annotations

from .node import run_node


def main() -> int:
    """Exit status of the node; 2 without ROS."""
    return run_node('mapping_node')
