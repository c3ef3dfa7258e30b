"""Sparse supervision: as many pixels as asked, on scan lines, the same each time."""

from __future__ import annotations

import pytest
import torch

from metric_depth_ros import geometry
from metric_depth_ros.methods.grin import GrinConfig
from metric_depth_ros.training.batch import Batch
from metric_depth_ros.training.objectives.grin import supervised_pixels
from metric_depth_ros.training.sparse import sparsify
from metric_depth_ros.types import Camera

CAMERA = Camera(110.0, 110.0, 79.5, 59.5, 160, 120)


def room() -> Batch:
    """Two images of a room 3 m away with sky in its upper fifth; the second is far away."""
    rays = geometry.rays(CAMERA).permute(2, 0, 1)[None].repeat(2, 1, 1, 1)
    distance = torch.stack((torch.full((120, 160), 3.0), torch.full((120, 160), 150.0)))
    distance[:, :24] = torch.inf
    inside = torch.ones_like(distance, dtype=torch.bool)
    inside[:, :, :5] = False
    return Batch(torch.zeros(2, 3, 120, 160), rays, distance, inside & distance.isfinite(), inside)


@pytest.mark.parametrize('share', [0.005, 0.02, 0.3])
def test_random_pixels_of_the_share_asked_for(share: float) -> None:
    batch = room()
    sparse = sparsify(batch, 'random', share, [1, 2])
    supervised = supervised_pixels(sparse, GrinConfig.tiny())
    counts = supervised.sum((1, 2))
    assert counts.tolist() == pytest.approx([share * 120 * 160] * 2, abs=1)
    assert torch.equal(sparse.valid, supervised & batch.valid)
    kept_sky = sparse.ray_distance.isposinf() & supervised
    assert kept_sky.sum() / supervised.sum() == pytest.approx(0.2, abs=0.1)
    rows = supervised[0].any(1).float().mean()
    assert rows > 0.5  # anywhere


def test_what_is_dropped_is_invalid_for_every_loss() -> None:
    batch = room()
    for kind in ('random', 'lidar'):
        sparse = sparsify(batch, kind, 0.02, [1, 2])
        dropped = ~supervised_pixels(sparse, GrinConfig.tiny())
        assert sparse.ray_distance[dropped & batch.inside].isnan().all()
        assert not (sparse.valid & dropped).any()
        assert torch.equal(sparse.ray_distance[sparse.valid], batch.ray_distance[sparse.valid])
        for name in ('image', 'rays', 'inside'):
            assert torch.equal(getattr(sparse, name), getattr(batch, name))


def test_lidar_pixels_lie_on_level_lines_within_reach() -> None:
    sparse = sparsify(room(), 'lidar', 0.02, [1, 2])
    supervised = supervised_pixels(sparse, GrinConfig.tiny())
    assert not supervised[1].any()  # 150 m: no return
    assert not (sparse.ray_distance.isposinf() & supervised).any()  # nor from the sky
    assert supervised[0].sum().item() == pytest.approx(0.02 * 120 * 160, abs=1)

    # All that the lines reach: gaps between the lines, nothing above 15 degrees (and tilt).
    lines = sparsify(room(), 'lidar', 1.0, [1, 2]).valid[0]
    assert 0.2 < lines[40:80, 10:].float().mean() < 0.7
    elevation = torch.rad2deg(torch.asin(-room().rays[0, 1]))
    assert elevation[lines].max() < 15 + 2 * 3 * 2
    assert elevation[lines].min() > -25 - 2 * 3 * 2
    column = lines[40:90, 80].int()
    crossings = (column.diff() == 1).sum()
    assert crossings == pytest.approx(50 * 0.52 / (40 / 31), abs=4)  # 0.52 degrees a row


def test_the_same_pixels_each_time_others_for_another_frame() -> None:
    for kind in ('random', 'lidar'):
        first, again, other = (sparsify(room(), kind, 0.02, [s, 9]) for s in (1, 1, 5))
        assert torch.equal(first.valid, again.valid)
        assert not torch.equal(first.valid[0], other.valid[0])
        assert torch.equal(first.valid[1], other.valid[1])


def test_an_image_with_few_candidates_keeps_those() -> None:
    batch = room()
    batch.valid[0, 60:] = False
    sparse = sparsify(batch, 'lidar', 0.9, [1, 2])
    assert 0 < sparse.valid[0].sum() < 0.9 * 120 * 160
    assert not sparse.valid[0, 60:].any()
