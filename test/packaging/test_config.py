"""config/ says what the node declares, and RViz is told topics that the node publishes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from metric_depth_ros.ros.mapping_parameters import MappingParameters
from metric_depth_ros.ros.parameters import Parameters

PATIENCE_S = 10.0
TABLES = {'depth': Parameters, 'mapping': MappingParameters}
MESSAGE_SHOWN_BY = {
    'rviz_default_plugins/Image': 'sensor_msgs/msg/Image',
    'rviz_default_plugins/PointCloud2': 'sensor_msgs/msg/PointCloud2',
    'rviz_default_plugins/Marker': 'visualization_msgs/msg/Marker',
    'rviz_default_plugins/Path': 'nav_msgs/msg/Path',
    'rviz_default_plugins/Odometry': 'nav_msgs/msg/Odometry',
}


def displays(repository: Path, name: str) -> list[dict[str, Any]]:
    """The displays of one of our RViz files that have a topic."""
    view = yaml.safe_load((repository / 'config' / f'{name}.rviz').read_text())
    return [d for d in view['Visualization Manager']['Displays'] if 'Topic' in d]


@pytest.fixture(scope='module')
def published() -> Iterator[dict[str, str]]:
    """Message type by topic, of all that the nodes publish about frames and the map."""
    # of its own, as the graph is asked by name and forgets nodes of other tests but slowly
    name = f'publishes_everything_{os.getpid()}'
    rclpy = pytest.importorskip('rclpy')
    from rclpy.lifecycle import LifecycleNode
    from rclpy.qos import QoSProfile, ReliabilityPolicy

    from metric_depth_ros.ros.mapping_outputs import MappingOutputs
    from metric_depth_ros.ros.outputs import Outputs

    reliable = ReliabilityPolicy.RELIABLE
    rclpy.init()
    node = LifecycleNode(name, enable_communication_interface=False)
    outputs = (Outputs(node, QoSProfile(depth=1), 'model'), MappingOutputs(node, reliable))
    topics: list[tuple[str, list[str]]] = []
    deadline = time.monotonic() + PATIENCE_S
    expected = {publisher.topic_name for publisher in node.publishers}
    # the graph learns of publishers by and by
    while not expected <= dict(topics).keys() and time.monotonic() < deadline:
        topics = node.get_publisher_names_and_types_by_node(name, '/')
        time.sleep(0.02)
    yield {topic: types[0] for topic, types in topics}
    del outputs
    node.destroy_node()
    rclpy.shutdown()


@pytest.mark.parametrize('name', TABLES)
def test_file_holds_every_parameter_at_its_default(repository: Path, name: str) -> None:
    document = yaml.safe_load((repository / 'config' / f'{name}.yaml').read_text())
    written = document['/**']['ros__parameters']
    declared = asdict(TABLES[name]())
    assert written == declared
    # 0 for a double would be an integer to ROS, and refused
    assert {n: type(v) for n, v in written.items()} == {n: type(v) for n, v in declared.items()}


@pytest.mark.parametrize('name', TABLES)
def test_file_explains_every_parameter(repository: Path, name: str) -> None:
    lines = (repository / 'config' / f'{name}.yaml').read_text().splitlines()
    explained = True
    for line in lines[lines.index('  ros__parameters:') + 1 :]:
        if not line.strip():
            explained = False
        elif line.lstrip().startswith('#'):
            explained = True
        else:
            assert explained, f'no comment above {line.strip()}'


@pytest.mark.parametrize(
    ('name', 'topics'),
    [
        ('depth', {'/depth/image', '/depth/uncertainty', '/depth/points'}),
        (
            'mapping',
            {
                *('/depth/image', '/depth/uncertainty'),
                *('/map/points', '/map/mesh', '/map/path', '/map/odometry'),
            },
        ),
    ],
)
def test_rviz_shows_the_topics_of_the_nodes(
    repository: Path, published: dict[str, str], name: str, topics: set[str]
) -> None:
    shown = {d['Topic']['Value']: MESSAGE_SHOWN_BY[d['Class']] for d in displays(repository, name)}
    inputs = {'/camera/image_raw', '/camera/image_raw/compressed'}
    of_nodes = {topic: kind for topic, kind in shown.items() if topic not in inputs}
    assert of_nodes.keys() == topics
    assert of_nodes.items() <= published.items()


@pytest.mark.parametrize('name', TABLES)
def test_rviz_hears_every_publisher(repository: Path, name: str) -> None:
    for display in displays(repository, name):
        topic = display['Topic']
        # reliable or transient local ones would not hear best effort, volatile publishers
        assert topic['Reliability Policy'] == 'Best Effort'
        assert topic['Durability Policy'] == 'Volatile'


def test_rviz_can_colour_points_by_image_and_by_uncertainty(repository: Path) -> None:
    points = next(d for d in displays(repository, 'depth') if d['Class'].endswith('PointCloud2'))
    assert points['Color Transformer'] == 'RGB8'
    assert points['Channel Name'] == 'std'
