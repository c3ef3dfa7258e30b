"""Poses in the messages of both libraries."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from metric_depth_ros import rigid
from metric_depth_ros.messages import MessageError
from metric_depth_ros.messages.poses import (
    odometry_message,
    path_message,
    pose_from_message,
    pose_stamped_message,
    poses_from_transforms,
    transform_message,
)

# A quarter turn about z.
HALF = math.sqrt(0.5)
POSE = torch.tensor(
    [[0, -1, 0, 1.5], [1, 0, 0, -2.0], [0, 0, 1, 0.25], [0, 0, 0, 1]], dtype=torch.float64
)


def _type_named(name: str) -> Any:
    package, _, short_name = name.split('/')
    return getattr(pytest.importorskip(f'{package}.msg'), short_name)


@pytest.fixture
def type_named(library: Any) -> Any:
    return _type_named if library.name == 'rclpy' else library.type_named


def test_odometry_there_and_back(library: Any, type_named: Any) -> None:
    header = library.header(12, 500_000_000, 'odom')
    message = odometry_message(POSE, header, 'camera', type_named, position_std=0.1)
    assert message.pose.pose.position.x == 1.5
    assert message.pose.pose.orientation.z == pytest.approx(HALF)
    assert message.pose.covariance[0] == pytest.approx(0.01)
    assert message.pose.covariance[35] == 0
    found = pose_from_message(message)
    assert (found.stamp_ns, found.parent, found.child) == (12_500_000_000, 'odom', 'camera')
    torch.testing.assert_close(found.parent_from_child, POSE, atol=1e-12, rtol=0)


def test_pose_and_path_there_and_back(library: Any, type_named: Any) -> None:
    header = library.header(3, 0, 'map')
    message = pose_stamped_message(POSE, header, type_named)
    found = pose_from_message(message)
    assert (found.parent, found.child) == ('map', '')
    torch.testing.assert_close(found.parent_from_child, POSE, atol=1e-12, rtol=0)
    path = path_message([message, message], header, type_named)
    assert len(path.poses) == 2
    assert path.header.frame_id == 'map'


def test_transforms(rosbags_library: Any) -> None:
    """Of rosbags alone: tf2_msgs is not among the ROS wheels."""
    transform = transform_message(
        POSE, rosbags_library.header(1, 5, 'world'), 'camera', rosbags_library.type_named
    )
    message = rosbags_library.type_named('tf2_msgs/msg/TFMessage')(transforms=[transform])
    (found,) = poses_from_transforms(message)
    assert (found.stamp_ns, found.parent, found.child) == (1_000_000_005, 'world', 'camera')
    torch.testing.assert_close(found.parent_from_child, POSE, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ('field', 'value', 'reason'),
    [('x', math.nan, 'finite'), ('y', math.inf, 'finite'), ('w', 3.0, 'length 1')],
)
def test_numbers_that_cannot_be(
    rosbags_library: Any, field: str, value: float, reason: str
) -> None:
    type_named = rosbags_library.type_named
    pose = torch.eye(4, dtype=torch.float64)
    message = odometry_message(pose, rosbags_library.header(0, 0, 'odom'), 'base', type_named)
    part = message.pose.pose.orientation if field == 'w' else message.pose.pose.position
    setattr(part, field, value)
    with pytest.raises(MessageError, match=reason) as caught:
        pose_from_message(message)
    assert 'base in odom' in str(caught.value)


def test_the_cabinets_transforms_are_its_poses(shared_data: Any) -> None:
    from metric_depth_ros.bags.reader import Bag, deserialize
    from metric_depth_ros.mapping.trajectory import read_trajectory

    truth = read_trajectory(shared_data / 'tum_fr3_cabinet' / 'groundtruth.txt')
    with Bag(shared_data / 'bags' / 'cabinet_raw_mcap') as bag:
        found = [
            pose
            for message in bag.messages(('/tf',))
            for pose in poses_from_transforms(deserialize(message))
        ]
    stamps = np.array(truth.stamps_ns)
    compared = 0
    for pose in found:
        near = int(np.abs(stamps - pose.stamp_ns).argmin())
        if abs(truth.stamps_ns[near] - pose.stamp_ns) < 1_000_000:
            error = rigid.inverse(truth.world_from_camera[near]) @ pose.parent_from_child
            assert rigid.distance(error) < 1e-3
            assert rigid.angle(error) < 1e-3
            compared += 1
    assert compared >= 7
