"""Sparse depth: how much is left, and where."""

from __future__ import annotations

import pytest
import torch

from metric_depth_ros.errors import MetricDepthError
from metric_depth_ros.synthetic import lidar_mask, render_batch
from metric_depth_ros.types import Camera


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope='module')
def frames():
    return render_batch(4, 160, 120, seeded(0), kind='both')


def test_share_and_validity(frames):
    for share in (0.005, 0.02):
        for camera, distance, valid in zip(
            frames.cameras, frames.ray_distance, frames.valid, strict=True
        ):
            mask = lidar_mask(camera, distance, seeded(1), share=share, max_range=60.0)
            assert not (mask & ~valid).any()
            assert (distance[mask] <= 60).all()
            assert 0.2 * share < mask.float().mean() <= share * 1.01


def test_rings_thin_out_to_rows():
    camera = Camera(120.0, 120.0, 80.0, 60.0, 161, 121)
    mask = lidar_mask(
        camera, torch.full((121, 161), 5.0), seeded(0), share=1.0, beams=8, dropout=0
    )
    filled = mask.float().mean(0) * 121  # each column meets each ring in view about once
    assert 3 <= filled.median() <= 9
    assert mask.float().mean() < 0.1


def test_seeds_and_dropout(frames):
    camera, distance = frames.cameras[0], frames.ray_distance[0]
    first, again, other = (lidar_mask(camera, distance, seeded(s)) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    whole = lidar_mask(camera, distance, seeded(1), share=1.0, dropout=0.0)
    half = lidar_mask(camera, distance, seeded(1), share=1.0, dropout=1.0)
    assert 0 < half.sum() < whole.sum()
    assert not lidar_mask(camera, distance, seeded(1), share=0.0).any()


def test_bad_input_is_named(frames):
    with pytest.raises(MetricDepthError, match='ray_distance is 5 x 5'):
        lidar_mask(frames.cameras[0], torch.ones(5, 5), seeded(0))
    with pytest.raises(MetricDepthError, match='share is 2'):
        lidar_mask(frames.cameras[0], frames.ray_distance[0], seeded(0), share=2.0)
