"""Poses by time: what is interpolated, what is refused, and what is said."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from metric_depth_ros import rigid
from metric_depth_ros.mapping import MappingError
from metric_depth_ros.mapping.poses import PoseBuffer, PoseError, PoseLimits, TransformTree
from metric_depth_ros.messages.poses import StampedPose

SECOND = 1_000_000_000


def at(x: float, y: float = 0.0, yaw: float = 0.0) -> Tensor:
    turn = torch.tensor([0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2)], dtype=torch.float64)
    return rigid.rigid(torch.tensor([x, y, 0.0], dtype=torch.float64), turn)


def filled(**limits: float) -> PoseBuffer:
    buffer = PoseBuffer(PoseLimits(**limits))  # type: ignore[arg-type]
    for index in range(4):
        buffer.add(index * SECOND, at(index, yaw=0.2 * index))
    return buffer


def test_between_two_poses_it_is_interpolated() -> None:
    pose = filled().at(round(1.25 * SECOND))
    assert pose is not None
    torch.testing.assert_close(pose, at(1.25, yaw=0.25), atol=1e-12, rtol=0)
    exact = filled().at(2 * SECOND)
    assert exact is not None
    torch.testing.assert_close(exact, at(2, yaw=0.4), atol=1e-12, rtol=0)


def test_order_of_arrival_does_not_matter() -> None:
    buffer = PoseBuffer()
    for index in (2, 0, 3, 1):
        buffer.add(index * SECOND, at(index))
    assert buffer.newest_ns == 3 * SECOND
    pose = buffer.at(round(0.5 * SECOND))
    assert pose is not None
    assert pose[0, 3] == 0.5
    buffer.add(SECOND, at(7.0))  # the same stamp once more: the last word counts
    assert len(buffer) == 4
    again = buffer.at(SECOND)
    assert again is not None
    assert again[0, 3] == 7


def test_a_gap_and_an_end_are_not_bridged() -> None:
    buffer = filled(gap_s=0.9, age_s=0.1)
    assert buffer.at(round(1.5 * SECOND)) is None
    near = buffer.at(round(1.08 * SECOND))
    assert near is not None
    assert near[0, 3] == 1  # the nearest, as it is
    assert buffer.at(round(3.05 * SECOND)) is not None
    assert buffer.at(round(3.2 * SECOND)) is None
    why = buffer.explain(round(3.2 * SECOND))
    assert '0.200 s away' in why
    assert 'at most 0.1 s' in why
    assert '\n' not in why
    assert buffer.explain(3 * SECOND) == ''
    assert 'none has come' in PoseBuffer().explain(0)


@pytest.mark.parametrize(
    ('pose', 'reason'),
    [
        (at(math.nan), 'finite'),
        (at(1.0) * 2, 'rotation and a translation'),
        (at(103.1), r'100.1 m from the one before, expected at most 100 m'),
        (at(1.0).float(), 'float64'),
    ],
)
def test_what_cannot_be_is_refused_and_counted(pose: Tensor, reason: str) -> None:
    buffer = filled()
    with pytest.raises(PoseError, match=reason) as caught:
        buffer.add(4 * SECOND, pose)
    assert '4.000 s refused' in str(caught.value)
    assert '\n' not in str(caught.value)
    assert (buffer.refused, len(buffer)) == (1, 4)
    buffer.add(4 * SECOND, at(4.0))  # the next good one is taken
    assert len(buffer) == 5


def test_memory_is_bounded() -> None:
    buffer = PoseBuffer(PoseLimits(history=10))
    for index in range(100):
        buffer.add(index * SECOND, at(index))
    assert len(buffer) == 10
    assert buffer.at(89 * SECOND) is None
    assert buffer.at(90 * SECOND) is not None
    with pytest.raises(PoseError, match='older than the 10 poses'):
        buffer.add(5 * SECOND, at(5.0))


def test_limits_are_checked() -> None:
    with pytest.raises(MappingError, match='gap_s is -1'):
        PoseLimits(gap_s=-1)
    with pytest.raises(MappingError, match='history is 1'):
        PoseLimits(history=1)


def test_transforms_are_chained() -> None:
    tree = TransformTree()
    for stamp in (0, SECOND):
        tree.add(StampedPose(stamp, 'map', 'odom', at(10.0)))
        tree.add(StampedPose(stamp, '/odom', 'base', at(stamp / SECOND, yaw=math.pi / 2)))
    tree.add(StampedPose(0, 'base', 'camera', at(0.0, 1.0)), static=True)
    found = tree.at('map', 'camera', SECOND // 2)
    assert found is not None
    # Turned to the left, the camera's +y is the map's -x.
    torch.testing.assert_close(found, at(9.5, yaw=math.pi / 2), atol=1e-12, rtol=0)
    back = tree.at('camera', 'map', SECOND // 2)
    assert back is not None
    torch.testing.assert_close(found @ back, torch.eye(4).double(), atol=1e-12, rtol=0)
    assert torch.equal(tree.at('map', 'map', 0), torch.eye(4).double())  # type: ignore[arg-type]


def test_a_transform_that_is_not_there_is_explained() -> None:
    tree = TransformTree()
    tree.add(StampedPose(0, 'map', 'base', at(0.0)))
    assert 'frames known: base, map' in tree.explain('map', 'camera', 0)
    assert tree.at('map', 'base', 9 * SECOND) is None
    assert 'map from base: no pose at 9.000 s' in tree.explain('map', 'base', 9 * SECOND)
    assert tree.explain('map', 'base', 0) == ''
    with pytest.raises(PoseError, match='refused'):
        tree.add(StampedPose(1, 'map', 'base', at(500.0)))
    assert tree.refused == 1


def test_a_loop_of_frames_ends() -> None:
    tree = TransformTree()
    tree.add(StampedPose(0, 'a', 'b', at(1.0)), static=True)
    tree.add(StampedPose(0, 'b', 'a', at(1.0)), static=True)
    assert tree.at('c', 'a', 0) is None
    assert 'no transforms lead' in tree.explain('c', 'a', 0)
