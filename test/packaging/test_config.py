"""config/ says what the node declares, and RViz is told topics that the node publishes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from metric_depth_ros.ros.parameters import Parameters

MESSAGE_SHOWN_BY = {
    'rviz_default_plugins/Image': 'sensor_msgs/msg/Image',
    'rviz_default_plugins/PointCloud2': 'sensor_msgs/msg/PointCloud2',
}


@pytest.fixture(scope='module')
def displays(repository: Path) -> list[dict[str, Any]]:
    """The displays of depth.rviz that have a topic."""
    view = yaml.safe_load((repository / 'config' / 'depth.rviz').read_text())
    return [d for d in view['Visualization Manager']['Displays'] if 'Topic' in d]


@pytest.fixture
def published() -> Iterator[dict[str, str]]:
    """Message type by topic, of all that depth_node publishes about a frame."""
    rclpy = pytest.importorskip('rclpy')
    from rclpy.lifecycle import LifecycleNode
    from rclpy.qos import QoSProfile

    from metric_depth_ros.ros.outputs import Outputs

    rclpy.init()
    node = LifecycleNode('depth_node', enable_communication_interface=False)
    Outputs(node, QoSProfile(depth=1), 'model')
    topics = node.get_publisher_names_and_types_by_node('depth_node', '/')
    yield {topic: types[0] for topic, types in topics}
    node.destroy_node()
    rclpy.shutdown()


def test_depth_yaml_holds_every_parameter_at_its_default(repository: Path) -> None:
    document = yaml.safe_load((repository / 'config' / 'depth.yaml').read_text())
    written = document['/**']['ros__parameters']
    declared = asdict(Parameters())
    assert written == declared
    # 0 for a double would be an integer to ROS, and refused
    assert {n: type(v) for n, v in written.items()} == {n: type(v) for n, v in declared.items()}


def test_depth_yaml_explains_every_parameter(repository: Path) -> None:
    lines = (repository / 'config' / 'depth.yaml').read_text().splitlines()
    explained = True
    for line in lines[lines.index('  ros__parameters:') + 1 :]:
        if not line.strip():
            explained = False
        elif line.lstrip().startswith('#'):
            explained = True
        else:
            assert explained, f'no comment above {line.strip()}'


def test_rviz_shows_the_topics_of_the_node(
    displays: list[dict[str, Any]], published: dict[str, str]
) -> None:
    shown = {d['Topic']['Value']: MESSAGE_SHOWN_BY[d['Class']] for d in displays}
    inputs = {'/camera/image_raw', '/camera/image_raw/compressed'}
    of_node = {topic: kind for topic, kind in shown.items() if topic not in inputs}
    assert of_node.keys() == {'/depth/image', '/depth/uncertainty', '/depth/points'}
    assert of_node.items() <= published.items()


def test_rviz_hears_every_publisher(displays: list[dict[str, Any]]) -> None:
    for display in displays:
        topic = display['Topic']
        # reliable or transient local ones would not hear best effort, volatile publishers
        assert topic['Reliability Policy'] == 'Best Effort'
        assert topic['Durability Policy'] == 'Volatile'


def test_rviz_can_colour_points_by_image_and_by_uncertainty(
    displays: list[dict[str, Any]],
) -> None:
    points = next(d for d in displays if d['Class'].endswith('PointCloud2'))
    assert points['Color Transformer'] == 'RGB8'
    assert points['Channel Name'] == 'std'
