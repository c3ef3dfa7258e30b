"""Trajectories: the TUM format to the nanosecond, and drift that is known in advance."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from metric_depth_ros import rigid
from metric_depth_ros.mapping.trajectory import (
    Trajectory,
    TrajectoryError,
    associated,
    drift,
    read_trajectory,
    score,
    seconds,
    trajectory_of,
    write_trajectory,
)

START_NS = 1_700_000_000_123_456_789


def straight(step: float, turn: float = 0.0, count: int = 21, delay_ns: int = 0) -> Trajectory:
    """Steps of so many metres along x, each turned by so many radians about z."""
    pose = torch.eye(4, dtype=torch.float64)
    motion = rigid.rigid(
        torch.tensor([step, 0.0, 0.0], dtype=torch.float64),
        torch.tensor([0.0, 0.0, math.sin(turn / 2), math.cos(turn / 2)], dtype=torch.float64),
    )
    poses = []
    for index in range(count):
        poses.append((START_NS + delay_ns + index * 100_000_000, pose))
        pose = pose @ motion
    return trajectory_of(poses)


def test_tum_files_keep_nanoseconds(tmp_path: Path) -> None:
    written = straight(0.1, 0.3)
    write_trajectory(tmp_path / 'path.txt', written)
    read = read_trajectory(tmp_path / 'path.txt')
    assert read.stamps_ns == written.stamps_ns
    torch.testing.assert_close(
        read.world_from_camera, written.world_from_camera, atol=1e-8, rtol=0
    )
    assert [path.name for path in tmp_path.iterdir()] == ['path.txt']
    assert seconds(-1_500_000_000) == '-1.500000000'


def test_other_peoples_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / 'path.txt'
    path.write_text('# remark\n\n2e0,1,2,3,0,0,0,2\n1.5 0 0 0 0 0 0 1\n')
    read = read_trajectory(path)
    assert read.stamps_ns == (1_500_000_000, 2_000_000_000)
    assert read.world_from_camera[1, :3, 3].tolist() == [1, 2, 3]
    assert torch.equal(read.world_from_camera[1, :3, :3], torch.eye(3).double())


@pytest.mark.parametrize(
    ('line', 'reason'),
    [
        ('1 2 3', 'line 1: 3 words, expected 8'),
        ('1 a 0 0 0 0 0 1', 'line 1'),
        ('1 0 0 0 0 0 0 0', 'finite'),
        ('1 nan 0 0 0 0 0 1', 'finite'),
    ],
)
def test_broken_files_are_told(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / 'path.txt'
    path.write_text(line + '\n')
    with pytest.raises(TrajectoryError, match=reason) as caught:
        read_trajectory(path)
    assert 'path.txt' in str(caught.value)
    with pytest.raises(TrajectoryError, match='no such trajectory'):
        read_trajectory(tmp_path / 'none.txt')


def test_stamps_must_increase() -> None:
    with pytest.raises(TrajectoryError, match='increase'):
        Trajectory((2, 1), torch.eye(4).double().repeat(2, 1, 1))
    with pytest.raises(TrajectoryError, match='shape'):
        Trajectory((1, 2), torch.eye(4).double()[None])


def test_drift_of_a_wrong_scale() -> None:
    """Steps of 11 cm that are truly 10: 10 % everywhere, 20 cm after 2 m."""
    found = drift(straight(0.11), straight(0.10))
    assert found.translation_percent == pytest.approx(10)
    assert found.rotation_deg_per_m == pytest.approx(0, abs=1e-6)
    assert found.end_m == pytest.approx(0.2)
    assert found.length_m == pytest.approx(2)
    assert found.scale == pytest.approx(1.1)
    assert found.stretch_m == 1


def test_drift_of_a_turn() -> None:
    """A milliradian every 10 cm: 0.01 rad/m, and half of that sideways, to first order."""
    found = drift(straight(0.10, turn=0.001), straight(0.10))
    assert found.rotation_deg_per_m == pytest.approx(math.degrees(0.01))
    assert found.translation_percent == pytest.approx(0.5, rel=0.15)
    assert found.end_deg == pytest.approx(math.degrees(0.02))


def test_only_poses_of_one_time_are_compared() -> None:
    ours, theirs = associated(straight(0.1, count=5, delay_ns=9_000_000), straight(0.1))
    assert ours.stamps_ns == theirs.stamps_ns
    assert len(ours) == 5
    with pytest.raises(TrajectoryError, match='0 of 21 poses'):
        associated(straight(0.1, delay_ns=50_000_000), straight(0.1))
    with pytest.raises(TrajectoryError, match='never moved'):
        drift(straight(0.1), straight(0.0))


def test_evo_agrees_with_the_closed_form() -> None:
    """A straight path stretched by a tenth: errors grow evenly from the middle outwards."""
    pytest.importorskip('evo')
    bent = straight(0.10, turn=0.05)
    stretched = bent.world_from_camera.clone()
    stretched[:, :3, 3] *= 1.1
    found = score(Trajectory(bent.stamps_ns, stretched), bent)
    assert found.poses == 21
    assert found.scale == pytest.approx(1 / 1.1)
    assert found.ate_scaled_m == pytest.approx(0, abs=1e-9)
    places = bent.world_from_camera[:, :3, 3]
    spread = (places - places.mean(0)).norm(dim=1).square().mean().sqrt()
    assert found.ate_m == pytest.approx(0.1 * float(spread), rel=1e-6)
    assert found.rpe_m == pytest.approx(0.01, rel=1e-6)
    assert found.rpe_deg == pytest.approx(0, abs=1e-4)
