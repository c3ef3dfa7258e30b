"""Drift, flicker and agreement between views, in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from metric_depth_ros import geometry
from metric_depth_ros.evaluation.temporal import (
    flicker,
    frame_scale,
    reprojection_consistency,
    scale_drift,
)
from metric_depth_ros.types import Camera

CAMERA = Camera(60, 60, 39.5, 29.5, 80, 60)


# --- scale ------------------------------------------------------------------------------------


def test_scale_of_a_frame():
    truth = torch.tensor([[1.0, 2.0, math.nan, 4.0]])
    assert frame_scale(torch.tensor([[2.0, 2.0, 7.0, 12.0]]), truth) == 2
    assert frame_scale(torch.tensor([[2.0, math.inf, 7.0, 12.0]]), truth) == 2.5
    assert math.isnan(frame_scale(torch.full((1, 4), math.nan), truth))


def test_a_scale_that_grows_by_a_percent_a_second():
    stamps = [10.0, 10.5, 11.5, 14.0]
    drift = scale_drift([1.2 * math.exp(0.01 * s) for s in stamps], stamps)
    assert drift.drift == pytest.approx(0.01)
    assert drift.wander == pytest.approx(0.04)
    assert drift.jitter == pytest.approx(0, abs=1e-9)
    assert len(drift.scales) == 4


def test_drift_is_that_of_scipy():
    stats = pytest.importorskip('scipy.stats')
    rng = np.random.default_rng(0)
    stamps = np.sort(rng.uniform(0, 9, 30))
    scales = np.exp(0.03 * stamps + 0.1 * rng.normal(size=30))
    fit = stats.linregress(stamps, np.log(scales))
    rest = np.log(scales) - fit.intercept - fit.slope * stamps
    drift = scale_drift(scales.tolist(), stamps.tolist())
    assert drift.drift == pytest.approx(fit.slope, abs=1e-9)
    assert drift.jitter == pytest.approx(np.sqrt((rest**2).sum() / 28), abs=1e-9)


def test_unknown_scales_are_left_out():
    assert scale_drift([1.0, math.nan, math.e], [0, 1, 2]).drift == pytest.approx(0.5)
    assert math.isnan(scale_drift([1.0, math.nan], [0, 1]).drift)
    assert math.isnan(scale_drift([1.0, 2.0], [3, 3]).drift)
    assert math.isnan(scale_drift([], []).wander)
    assert math.isnan(scale_drift([1.0, 2.0], [0, 1]).jitter)


# --- flicker ----------------------------------------------------------------------------------


def test_flicker_by_hand():
    # ln depth of one pixel: 0, 1, 0 (variance 1 / 3, steps 1 and 1); of the other: always 2
    log_depth = torch.tensor([[[0.0, 2.0]], [[1.0, 2.0]], [[0.0, 2.0]]])
    found = flicker(log_depth.exp())
    assert found.spread == pytest.approx(math.sqrt((1 / 3 + 0) / 2))
    assert found.step == pytest.approx((1 + 1 + 0 + 0) / 4)


def test_being_wrong_in_the_same_way_is_no_flicker():
    depth = 1 + torch.rand(5, 6, generator=torch.Generator().manual_seed(0))
    still = flicker(depth.expand(4, 5, 6))
    assert (still.spread, still.step) == (0, 0)
    breathing = torch.tensor([1.0, 1.01, 1.0, 1.01])[:, None, None] * depth
    assert flicker(breathing).step == pytest.approx(math.log(1.01), rel=1e-4)
    assert flicker(7 * breathing).spread == pytest.approx(flicker(breathing).spread, rel=1e-4)


def test_pixels_that_come_and_go_are_left_out():
    depths = torch.ones(3, 2, 2)
    depths[1, 0, 0], depths[2, 1, 1] = math.nan, math.inf
    assert flicker(depths).step == 0
    assert math.isnan(flicker(torch.full((2, 1, 1), math.nan)).spread)


# --- views ------------------------------------------------------------------------------------


def pose(x: float = 0.0, z: float = 0.0, yaw: float = 0.0) -> Tensor:
    c, s = math.cos(yaw), math.sin(yaw)
    return torch.tensor([[c, 0, s, x], [0, 1, 0, 0], [-s, 0, c, z], [0, 0, 0, 1]],
                        dtype=torch.float64)  # fmt: skip


def wall(world_from_camera: Tensor, at: float = 5.0) -> Tensor:
    """z-depth of the plane z = `at` of the world, seen by CAMERA."""
    rays = geometry.rays(CAMERA, dtype=torch.float64)
    towards = rays @ world_from_camera[:3, :3].T
    distance = (at - world_from_camera[2, 3]) / towards[..., 2]
    return (distance * rays[..., 2]).float()


@pytest.mark.parametrize('there', [pose(), pose(x=0.4), pose(z=1.0), pose(x=0.3, z=-0.5, yaw=0.2)])
def test_views_of_a_wall_agree(there: Tensor):
    here = pose(yaw=-0.1)
    found = reprojection_consistency(wall(here), wall(there), CAMERA, here, there)
    assert found.mean == pytest.approx(0, abs=1e-4)
    assert found.agreeing == 1
    assert found.overlap > 0.5


def test_disagreement_by_hand():
    # the second frame is 3 % too far: |5 - 5.15| / 5.15 everywhere
    here, there = pose(), pose(x=0.2)
    found = reprojection_consistency(wall(here), 1.03 * wall(there), CAMERA, here, there)
    assert found.mean == pytest.approx(0.15 / 5.15, abs=1e-5)
    assert found.median == pytest.approx(0.15 / 5.15, abs=1e-5)
    assert found.agreeing == 1
    strict = reprojection_consistency(
        wall(here), 1.03 * wall(there), CAMERA, here, there, tolerance=0.02
    )
    assert strict.agreeing == 0


def test_a_common_scale_shows_as_soon_as_the_camera_moves():
    here, there = pose(), pose(z=2.0)  # truly 5 and 3 m
    for scale, expected in ((1.0, 0.0), (1.5, abs(7.5 - 2 - 4.5) / 4.5)):
        found = reprojection_consistency(
            scale * wall(here), scale * wall(there), CAMERA, here, there
        )
        assert found.median == pytest.approx(expected, abs=1e-5)


def test_overlap_by_hand():
    # moved by 1.25 m to the right at 5 m: 60 * 1.25 / 5 = 15 of 80 columns leave on the left
    found = reprojection_consistency(wall(pose()), wall(pose()), CAMERA, pose(), pose(x=1.25))
    assert found.overlap == pytest.approx(65 / 80)
    away = reprojection_consistency(wall(pose()), wall(pose()), CAMERA, pose(), pose(x=50))
    assert away.overlap == 0
    assert math.isnan(away.mean)


def test_what_is_truly_hidden_does_not_count():
    here, there = pose(), pose(x=0.5)
    first, second = wall(here), wall(there)
    second[:, :40] = 1.0  # something close stands before half of the second camera only
    plain = reprojection_consistency(first, second, CAMERA, here, there)
    assert plain.agreeing < 0.7
    known = reprojection_consistency(
        first, second, CAMERA, here, there, truth=first, other_truth=second
    )
    assert known.agreeing == 1
    assert known.overlap < plain.overlap
    # a prediction that misses the occluder is still judged where both see the wall
    missed = reprojection_consistency(
        1.1 * first, wall(there), CAMERA, here, there, truth=first, other_truth=second
    )
    assert missed.median == pytest.approx(0.1, abs=1e-4)
