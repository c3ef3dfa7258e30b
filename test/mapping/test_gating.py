"""Which pixels are fused and what they count for, against hand-computed values."""

from __future__ import annotations

import math

import pytest
import torch

from metric_depth_ros import geometry
from metric_depth_ros.mapping import MappingError
from metric_depth_ros.mapping.gating import Gates, Weighting, gate, viewing_cosine
from metric_depth_ros.types import Camera, DepthPrediction

CAMERA = Camera(100.0, 100.0, 19.5, 14.5, 40, 30)


def prediction(depth: torch.Tensor, std: torch.Tensor | float = 0.01) -> DepthPrediction:
    std = torch.full_like(depth, std) if isinstance(std, float) else std
    return DepthPrediction(depth, std, CAMERA)


def plane(slope: float) -> torch.Tensor:
    """Depth of the plane z = 2 + slope * x."""
    ray = geometry.rays(CAMERA)
    return 2 / (1 - slope * ray[..., 0] / ray[..., 2])


def test_every_pixel_is_used_or_counted_under_its_first_reason():
    depth, std = torch.full((30, 40), 2.0), torch.full((30, 40), 0.01)
    for row, value in enumerate((math.nan, math.inf, 0.0, -1.0)):
        depth[row, 0] = value
    depth[4, 0], depth[5, 0] = 0.05, 11.0
    for row, value in enumerate((-0.1, 0.6, math.inf), start=6):
        std[row, 0] = value
    std[0, 0] = -1.0  # has no depth in the first place
    gated = gate(prediction(depth, std), Gates(max_jump=math.inf))
    counts = gated.counts
    assert (counts.no_depth, counts.range, counts.std, counts.edges) == (4, 2, 3, 0)
    assert counts.used == 1200 - 9 == int(gated.depth.isfinite().sum())
    assert gated.depth[:9, 0].isnan().all()
    assert torch.equal(gated.depth[:, 1:], depth[:, 1:])


def test_unknown_std_is_assumed_and_zero_is_taken_at_its_word():
    std = torch.full((30, 40), math.nan)
    std[0] = 0.0
    gated = gate(prediction(torch.full((30, 40), 2.0), std), Gates(assumed_relative_std=0.03))
    assert gated.counts.used == 1200
    assert gated.std[0].eq(0).all()
    torch.testing.assert_close(gated.std[1:], torch.full((29, 40), 0.06))


def test_both_sides_of_a_step_are_edges_but_no_plane_is():
    depth = torch.full((30, 40), 2.0)
    depth[:, 20:] = 3.0
    gated = gate(prediction(depth), Gates())
    assert gated.counts.edges == 60
    assert gated.depth[:, 19:21].isnan().all()
    assert gate(prediction(plane(3.0)), Gates()).counts.edges == 0  # 72 degrees


def test_a_flying_pixel_goes_and_noise_within_its_std_stays():
    depth = torch.full((30, 40), 2.0)
    depth[15, 20] = 2.4
    assert gate(prediction(depth), Gates()).depth[15, 20].isnan()
    noisy = 2 + 0.1 * torch.randn(30, 40, generator=torch.Generator().manual_seed(0))
    assert gate(prediction(noisy, 0.1), Gates()).counts.edges < 120
    assert gate(prediction(noisy, 0.001), Gates()).counts.edges > 400


def test_viewing_cosine_of_a_slanted_plane():
    slope = 2.0
    normal = torch.tensor((slope, 0.0, -1.0)) / math.hypot(slope, 1)
    expected = (geometry.rays(CAMERA) @ normal).abs()
    found = viewing_cosine(plane(slope), CAMERA)
    torch.testing.assert_close(found[5:-5, 5:-5], expected[5:-5, 5:-5], atol=0.01, rtol=0)


def test_weight_is_inverse_variance_up_to_a_cap():
    depth = torch.full((30, 40), 2.0)
    std = torch.full((30, 40), 0.02)
    std[0], std[1] = 0.0, 0.005
    weight = Weighting(angle=False, range=False, min_std=0.01).of(depth, std, CAMERA, 0.05)
    assert weight[:2].eq(1).all()
    torch.testing.assert_close(weight[2:], torch.full((28, 40), 0.25))


def test_weight_falls_where_a_pixel_covers_more_than_a_voxel():
    near, far = torch.full((30, 40), 2.0), torch.full((30, 40), 4.0)
    weighting = Weighting(std=False, angle=False)
    assert weighting.of(near, near, CAMERA, 0.02).eq(1).all()  # a pixel covers 2 cm
    torch.testing.assert_close(weighting.of(far, far, CAMERA, 0.02), torch.full((30, 40), 0.25))


def test_gated_pixels_weigh_nothing_and_uniform_ones_the_same():
    depth = plane(1.0)
    depth[3, 4] = math.nan
    std = torch.full_like(depth, 0.3)
    for weighting in (Weighting(), Weighting.uniform()):
        assert weighting.of(depth, std, CAMERA, 0.01)[3, 4] == 0
    assert Weighting.uniform().of(depth, std, CAMERA, 0.01).sum() == 1199


@pytest.mark.parametrize(
    ('make', 'name'),
    [
        (lambda: Gates(max_depth=0.0), 'max_depth'),
        (lambda: Gates(min_depth=5.0, max_depth=4.0), 'min_depth'),
        (lambda: Gates(max_relative_std=math.nan), 'max_relative_std'),
        (lambda: Weighting(min_std=0.0), 'min_std'),
    ],
)
def test_impossible_limits_are_refused(make, name):
    with pytest.raises(MappingError, match=name):
        make()
