"""Rigid motions against OpenCV's rotations and SciPy's quaternions."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from metric_depth_ros import rigid

Rotation = pytest.importorskip('scipy.spatial.transform').Rotation
Slerp = pytest.importorskip('scipy.spatial.transform').Slerp


def random_quaternions(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    turns = torch.randn(count, 4, generator=generator, dtype=torch.float64)
    turns[:4] = torch.eye(4)  # half turns about each axis, and none: where formulas divide by 0
    return turns / turns.norm(dim=1, keepdim=True)


def test_quaternions_are_scipys() -> None:
    turns = random_quaternions(50)
    shift = torch.arange(150, dtype=torch.float64).reshape(50, 3)
    poses = rigid.rigid(shift, 3 * turns)  # of any length
    np.testing.assert_allclose(
        poses[:, :3, :3], Rotation.from_quat(turns.numpy()).as_matrix(), atol=1e-12
    )
    assert torch.equal(poses[:, :3, 3], shift)
    for pose, turn in zip(poses, turns, strict=True):
        found = rigid.quaternion(pose)
        assert found[3] >= 0
        assert abs(float(found @ turn)) == pytest.approx(1, abs=1e-12)  # q and -q are one


def test_inverse_and_angle() -> None:
    turns = random_quaternions(20)
    poses = rigid.rigid(torch.randn(20, 3, dtype=torch.float64), turns)
    expected = torch.linalg.inv(poses)
    torch.testing.assert_close(rigid.inverse(poses), expected, atol=1e-12, rtol=0)
    angles = Rotation.from_quat(turns.numpy()).magnitude()
    for pose, angle in zip(poses, angles, strict=True):
        assert rigid.angle(pose) == pytest.approx(angle, abs=1e-9)
    assert rigid.distance(rigid.rigid(torch.tensor([3.0, 4.0, 0.0]).double(), turns[0])) == 5


@pytest.mark.parametrize('share', [0.0, 0.25, 1.0])
def test_interpolation_is_slerp(share: float) -> None:
    turns = random_quaternions(12)[4:]
    for first, second in itertools.pairwise(turns):
        a = rigid.rigid(torch.tensor([0.0, 1.0, 2.0]).double(), first)
        b = rigid.rigid(torch.tensor([4.0, 1.0, -2.0]).double(), second)
        between = rigid.interpolate(a, b, share)
        expected = Slerp([0, 1], Rotation.from_quat([first.numpy(), second.numpy()]))(share)
        np.testing.assert_allclose(between[:3, :3], expected.as_matrix(), atol=1e-9)
        np.testing.assert_allclose(between[:3, 3], [4 * share, 1, 2 - 4 * share], atol=1e-12)


def test_extrapolation_goes_on_alike() -> None:
    turn = torch.tensor([0.0, 0.1, 0.0, 0.9], dtype=torch.float64)
    step = rigid.rigid(torch.tensor([1.0, 0.0, 0.0]).double(), turn)
    still = torch.eye(4, dtype=torch.float64)
    twice = rigid.interpolate(still, step, 2.0)
    assert rigid.angle(twice) == pytest.approx(2 * rigid.angle(step))
    assert twice[0, 3] == 2
    assert rigid.angle(rigid.interpolate(still, still, 0.5)) == 0
    assert rigid.angle(step) == pytest.approx(2 * math.atan2(0.1, 0.9))
