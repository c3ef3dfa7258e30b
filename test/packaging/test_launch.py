"""The launch files, by ROS's own launch system where there is one (a distro install)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

# The submodules: `launch` alone would find this repository's folder of that name.
pytest.importorskip('launch.actions')
pytest.importorskip('launch_ros.actions')

from launch import LaunchContext
from launch.launch_description_sources import get_launch_description_from_python_launch_file
from launch_ros.actions import Node

PROFILE = 'FASTDDS_DEFAULT_PROFILES_FILE'


def launched(
    repository: Path, file: str = 'depth', **arguments: str
) -> tuple[list[Node], LaunchContext]:
    """The nodes that a launch file starts when it is given `arguments`."""
    description = get_launch_description_from_python_launch_file(
        str(repository / 'launch' / f'{file}.launch.py')
    )
    context = LaunchContext()
    context.launch_configurations.update(arguments)
    nodes: list[Node] = []
    waiting: list[Any] = list(description.entities)
    while waiting:
        entity = waiting.pop(0)
        if entity.condition is not None and not entity.condition.evaluate(context):
            continue
        if isinstance(entity, Node):
            entity._perform_substitutions(context)
            nodes.append(entity)
        else:
            waiting = list(entity.execute(context) or []) + waiting
    return nodes, context


def test_starts_the_node_on_the_given_topics(repository: Path, monkeypatch: Any) -> None:
    monkeypatch.delenv(PROFILE, raising=False)
    (node,), context = launched(
        repository, image='/cam/image', camera_info='/cam/info', namespace='head'
    )
    assert node.node_name == '/head/depth_node'
    assert ('image', '/cam/image') in node.expanded_remapping_rules
    assert ('image/compressed', '/cam/image/compressed') in node.expanded_remapping_rules
    assert ('camera_info', '/cam/info') in node.expanded_remapping_rules
    assert context.environment[PROFILE] == str(repository / 'config' / 'fastdds_profile.xml')


def test_a_profile_of_the_users_own_is_kept(repository: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv(PROFILE, '/etc/mine.xml')
    _, context = launched(repository)
    assert context.environment[PROFILE] == '/etc/mine.xml'
    assert os.environ[PROFILE] == '/etc/mine.xml'


def test_rviz_is_started_on_request_with_the_same_topics(repository: Path) -> None:
    (_, rviz), context = launched(repository, rviz='true', image='/cam/image', fixed_frame='lens')
    assert ('/camera/image_raw', '/cam/image') in rviz.expanded_remapping_rules
    assert ('/depth/points', 'depth/points') in rviz.expanded_remapping_rules
    # after the executable, which need not be installed here
    words = [''.join(part.perform(context) for part in word) for word in rviz.cmd[1:5]]
    assert words == ['-d', str(repository / 'config' / 'depth.rviz'), '-f', 'lens']


def test_mapping_starts_both_nodes_on_the_given_topics(repository: Path) -> None:
    nodes, _ = launched(
        repository, 'mapping', image='/cam/image', poses='odometry', odom='/robot/odom'
    )
    assert [node.node_executable for node in nodes] == ['depth_node', 'mapping_node']
    for node in nodes:
        assert ('image', '/cam/image') in node.expanded_remapping_rules
        assert ('odom', '/robot/odom') in node.expanded_remapping_rules


def test_mapping_composed_is_one_process(repository: Path) -> None:
    (node,), _ = launched(repository, 'mapping', composed='true', namespace='head')
    assert node.node_executable == 'depth_and_mapping'
    assert node.expanded_node_namespace == '/head'


@pytest.mark.parametrize(
    ('consumer', 'remapping'),
    [
        ('nvblox', ('camera_0/depth/image', 'depth/image')),
        ('rtabmap', ('rgb/image', '/cam/image')),
        ('depth_image_proc', ('rgb/camera_info', 'depth/camera_info')),
    ],
)
def test_handover(repository: Path, consumer: str, remapping: tuple[str, str]) -> None:
    nodes, _ = launched(repository, 'handover', to=consumer, image='/cam/image')
    assert all(remapping in node.expanded_remapping_rules for node in nodes)
