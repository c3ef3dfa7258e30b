"""A prediction along the ray where depth along z is meant, and the other way round."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from metric_depth_ros import geometry
from metric_depth_ros.evaluation.quantity import (
    check_quantity,
    quantity_evidence,
    quantity_verdict,
)
from metric_depth_ros.types import Camera

CAMERA = Camera(55, 55, 31.5, 23.5, 64, 48)


def truth(seed: int = 0) -> Tensor:
    return 1 + 9 * torch.rand(48, 64, generator=torch.Generator().manual_seed(seed))


def noise(seed: int, size: float) -> Tensor:
    return torch.exp(size * torch.randn(48, 64, generator=torch.Generator().manual_seed(seed)))


def ray(depth: Tensor, camera: Camera = CAMERA) -> Tensor:
    return geometry.ray_distance_from_depth(depth, geometry.rays(camera))


def test_depth_is_depth():
    verdict = check_quantity(truth(), truth(), CAMERA)
    assert (verdict.slope, verdict.error_as_depth, verdict.swapped) == (0, 0, '')
    assert not verdict.fits_better_as_ray
    assert verdict.warning() == ''
    assert check_quantity(3 * truth(), truth(), CAMERA).swapped == ''


@pytest.mark.parametrize('scale', [1.0, 3.0])
def test_ray_distance_is_caught_whatever_its_scale(scale: float):
    depth = truth()
    verdict = check_quantity(scale * ray(depth), depth, CAMERA)
    assert verdict.slope == pytest.approx(1, abs=1e-5)
    assert verdict.error_as_ray == pytest.approx(0, abs=1e-6)
    assert verdict.fits_better_as_ray
    assert verdict.swapped == 'prediction'
    assert verdict.warning().startswith('the prediction looks like ray distance')
    z = geometry.rays(CAMERA)[..., 2].double()
    expected = z.log().std(correction=0)  # by hand: all the error there is
    assert verdict.error_as_depth == pytest.approx(float(expected), abs=1e-6)


def test_a_truth_that_is_ray_distance_is_caught():
    depth = truth()
    verdict = check_quantity(depth, ray(depth), CAMERA)
    assert verdict.slope == pytest.approx(-1, abs=1e-5)
    assert verdict.swapped == 'truth'
    assert verdict.error_truth_as_ray == pytest.approx(0, abs=1e-6)
    assert not verdict.fits_better_as_ray


def test_the_better_fit_is_where_the_slope_says():
    depth, z = truth(), geometry.rays(CAMERA)[..., 2]
    for power in (0.4, 0.6):
        verdict = check_quantity(depth / z**power, depth, CAMERA)
        assert verdict.slope == pytest.approx(power, abs=1e-4)
        assert verdict.fits_better_as_ray == (power > 0.5)


def test_an_ordinary_error_is_no_swap_and_many_noisy_frames_are():
    honest, swapped = [], []
    for seed in range(12):
        depth = truth(seed)
        noisy, noisy_ray = (x * noise(100 + seed, 0.1) for x in (depth, ray(depth)))
        honest.append(quantity_evidence(noisy, depth, CAMERA))
        swapped.append(quantity_evidence(noisy_ray, depth, CAMERA))
    assert quantity_verdict(honest).swapped == ''
    verdict = quantity_verdict(swapped)
    assert verdict.swapped == 'prediction'
    assert verdict.frames == 12
    depth = truth()
    one = check_quantity(ray(depth) * noise(0, 0.3), depth, CAMERA)
    assert one.swapped == ''  # one noisy frame is no proof, though it fits better
    assert one.fits_better_as_ray


def test_narrow_views_and_empty_frames_tell_nothing():
    narrow = Camera(5000, 5000, 31.5, 23.5, 64, 48)
    verdict = check_quantity(ray(truth(), narrow), truth(), narrow)
    assert (verdict.frames, verdict.swapped) == (0, '')
    assert math.isnan(verdict.slope)
    assert quantity_verdict([]).swapped == ''
    nothing = check_quantity(torch.full((48, 64), math.nan), truth(), CAMERA)
    assert (nothing.frames, nothing.swapped, nothing.warning()) == (0, '', '')


def test_holes_are_left_out():
    depth = truth()
    prediction = ray(depth)
    prediction[::2] = math.nan
    prediction[1, :5] = math.inf
    depth = depth.clone()
    depth[:, ::3] = math.nan
    assert check_quantity(prediction, depth, CAMERA).slope == pytest.approx(1, abs=1e-5)


def test_large_images_are_looked_at_here_and_there():
    large = Camera(550, 550, 319.5, 239.5, 640, 480)
    depth = 1 + 9 * torch.rand(480, 640, generator=torch.Generator().manual_seed(0))
    evidence = quantity_evidence(ray(depth, large), depth, large)
    assert 10_000 < evidence.pixels < 40_000
    z = geometry.rays(large)[..., 2].double()
    assert evidence.xx == pytest.approx(float(z.log().var(correction=0)), rel=0.02)
    assert quantity_verdict([evidence]).slope == pytest.approx(1, abs=1e-5)
