"""The error bar: what std is of samples, and that a fitted one holds the share it promises."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from metric_depth_ros.calibration import (
    Calibration,
    disagreement,
    edges,
    fit_calibration,
    fit_novelty_powers,
    spread,
)
from metric_depth_ros.errors import MetricDepthError
from metric_depth_ros.types import CoarseDepth


def within(std: Tensor, depth: Tensor, truth: Tensor) -> float:
    return float(((truth - depth).abs() < std).float().mean())


def test_std_is_scaled_spread_with_a_floor() -> None:
    samples = torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1)  # median 2, standard deviation 1
    std = Calibration(std_scale=3.0, std_floor=2.0).std(torch.full((1, 1), 2.0), samples)
    torch.testing.assert_close(std, torch.full((1, 1), 5.0))  # hypot(3 * 1, 2 * 2)


def test_one_sample_has_the_usual_relative_error() -> None:
    depth = torch.tensor([[2.0, torch.inf, torch.nan]])
    std = Calibration(std_single=0.2).std(depth, depth[None])
    torch.testing.assert_close(std, torch.tensor([[0.4, torch.nan, torch.nan]]), equal_nan=True)


@pytest.mark.filterwarnings('error')
def test_one_sample_has_no_spread() -> None:
    assert spread(torch.ones(2, 3), torch.ones(1, 2, 3)).isnan().all()
    assert torch.equal(spread(torch.ones(2, 3), torch.ones(2, 2, 3)), torch.zeros(2, 3))


def test_a_sample_beyond_the_range_leaves_the_std_finite() -> None:
    samples = torch.tensor([4.0, 4.0, 4.0, torch.inf]).view(4, 1, 1)
    std = Calibration(std_floor=0.1).std(torch.full((1, 1), 4.0), samples)
    torch.testing.assert_close(std, torch.full((1, 1), 0.4))


def test_fit_finds_the_noise_it_was_given() -> None:
    generator = torch.Generator().manual_seed(0)
    count = 50_000
    depth = 1 + 9 * torch.rand(count, generator=generator)
    spread = depth * (0.01 + 0.1 * torch.rand(count, generator=generator))
    sigma = torch.hypot(4.0 * spread, 0.05 * depth)
    truth = depth + sigma * torch.randn(count, generator=generator)
    fitted = fit_calibration(depth, spread, torch.zeros_like(depth), truth)

    # Random depths side by side are all edge, and the fit saw none.
    std = replace(fitted, edge_power=0.0).of_spread(depth[None], spread[None])[0]
    torch.testing.assert_close(std, sigma, rtol=0.12, atol=0)
    assert abs(within(std, depth, truth) - 0.6827) < 0.005


def test_fit_finds_that_errors_grow_with_depth_and_at_edges() -> None:
    generator = torch.Generator().manual_seed(1)
    count = 60_000
    depth = torch.exp(4 * torch.rand(count, generator=generator))  # 1 to 55 m
    edge = torch.where(torch.rand(count, generator=generator) < 0.3, 0.63, 0.0)
    spread = 0.02 * depth
    sigma = 0.05 * depth * depth.sqrt() * torch.where(edge > 0, 8.0, 1.0)  # 8 = 64 ** 0.5
    truth = depth + sigma * torch.randn(count, generator=generator)
    fitted = fit_calibration(depth, spread, edge, truth)
    assert abs(fitted.edge_power - 0.5) < 0.03
    flat = torch.stack([torch.full((3, 3), d) for d in (1.5, 4.0, 15.0, 40.0)])
    std = torch.stack([fitted.of_spread(d, 0.02 * d) for d in flat])[:, 1, 1]
    expected = 0.05 * torch.tensor([1.5, 4.0, 15.0, 40.0]) ** 1.5
    torch.testing.assert_close(std, expected, rtol=0.15, atol=0)


def test_depths_that_are_hardly_seen_go_with_their_neighbours() -> None:
    generator = torch.Generator().manual_seed(2)
    count = 30_000
    depth = torch.cat([1 + 9 * torch.rand(count, generator=generator), torch.full((60,), 55.0)])
    spread = 0.02 * depth
    truth = depth + 0.3 * depth * torch.randn(len(depth), generator=generator)
    fitted = fit_calibration(depth, spread, torch.zeros_like(depth), truth)
    seen = torch.tensor([0.2, 0.3, 2.0, 8.0, 60.0])
    std = torch.stack([fitted.of_spread(d.view(1, 1), 0.02 * d.view(1, 1))[0, 0] for d in seen])
    torch.testing.assert_close(std / seen, torch.full((5,), 0.3), rtol=0.15, atol=0)
    assert fitted.std_single == pytest.approx(0.3, rel=0.15)


def test_range_and_edge_factors_by_hand() -> None:
    calibration = Calibration(
        std_scale=1.0, std_floor=0.0, range_depths=(1.0, 4.0), range_factors=(2.0, 8.0),
        edge_power=0.5,
    )  # fmt: skip
    depth = torch.tensor([0.5, 1.0, 2.0, 4.0, 50.0])
    each = [calibration.of_spread(d.view(1, 1), torch.full((1, 1), 3.0)) for d in depth]
    # a factor of 2 to the power 1, 1, 2, 3, 3
    assert [float(std) for std in each] == pytest.approx([6, 6, 12, 24, 24])
    step = torch.tensor([[1.0, 1.0, torch.e, torch.e]])
    std = calibration.of_spread(step, torch.ones_like(step))
    assert float(std[0, 1]) == pytest.approx(2 * math.sqrt(101), rel=1e-5)
    assert float(std[0, 0]) == pytest.approx(2, rel=1e-5)


def test_edges_by_hand() -> None:
    nan, inf = torch.nan, torch.inf
    depth = torch.tensor([[1.0, 1.0, 2.0, 2.0, nan, 4.0, inf, 9.0, 9.0]])
    ln2, ln10 = math.log(2), math.log(10)
    found = edges(depth)[0]
    expected = torch.tensor([0.0, ln2, ln2, 0.0, ln2, ln10, ln10, ln10, 0.0])
    known = [0, 1, 2, 3, 5, 6, 7, 8]
    torch.testing.assert_close(found[known], expected[known])
    tall = edges(torch.tensor([[1.0, 1.0], [1.0, 1.0], [1.0, 1.5]]))
    assert tall[0].tolist() == [0.0, 0.0]
    assert tall[1:].flatten().tolist() == pytest.approx([math.log(1.5)] * 4)
    assert edges(torch.full((2, 2), nan)).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize(
    ('numbers', 'message'),
    [
        ({'std_scale': -1.0}, 'std_scale is -1.0, expected a finite number from 0 on'),
        ({'edge_power': math.nan}, 'edge_power is nan'),
        ({'std_coarse': -0.5}, 'std_coarse is -0.5, expected a finite number from 0 on'),
        ({'range_factors': (1.0, 2.0)}, 'expected as many depths above 0 m as range_factors'),
        ({'range_depths': (2.0, 1.0), 'range_factors': (1.0, 1.0)}, 'expected growing depths'),
        ({'range_factors': (0.0,)}, 'expected numbers above 0'),
        ({'range_depths': ('1',)}, r"range_depths\[0\] is '1'"),
    ],
)
def test_numbers_that_cannot_be(numbers: dict, message: str) -> None:
    with pytest.raises(MetricDepthError, match=message):
        Calibration(**numbers)


def test_fit_turns_to_the_floor_when_the_spread_says_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    depth = torch.ones(20_000)
    spread = torch.rand(20_000, generator=generator)
    truth = depth + 0.2 * torch.randn(20_000, generator=generator)
    fitted = fit_calibration(depth, spread, torch.zeros_like(depth), truth)
    std = fitted.of_spread(torch.ones(1, 2), torch.tensor([[0.1, 0.9]]))
    torch.testing.assert_close(std, torch.full((1, 2), 0.2), rtol=0.1, atol=0)


# --- of what refines a coarse depth ----------------------------------------------------------


def test_disagreement_by_hand() -> None:
    nan, inf = torch.nan, torch.inf
    depth = torch.tensor([[2.0, 2.0, 2.0, 2.0, nan, 2.0]])
    coarse = torch.tensor([[2.0, 1.5, nan, inf, 1.0, 7.0]])
    found = disagreement(depth, CoarseDepth(coarse))
    assert found.tolist() == [[0.0, 0.5, 0.0, 2.0, 0.0, 2.0]]  # at most the depth itself
    assert disagreement(depth, None).tolist() == [[0.0] * 6]


def test_what_agrees_but_for_scale_and_shift_does_not_disagree() -> None:
    depth = torch.tensor([[1.0, 2.0, 4.0, 5.0, 8.0, 10.0]])
    for coarse, off in (
        (CoarseDepth(3 / depth + 0.25, metric=False, disparity=True), 1e-5),
        (CoarseDepth(0.5 * depth + 2, metric=False), 1e-5),
    ):
        assert disagreement(depth, coarse).max() < off
    bent = CoarseDepth(depth.sqrt(), metric=False)
    assert disagreement(depth, bent).max() > 0.1


def test_disagreement_widens_the_error_bar() -> None:
    samples = torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1)
    depth = torch.full((1, 1), 2.0)
    coarse = CoarseDepth(torch.full((1, 1), 3.5))
    calibration = Calibration(std_scale=3.0, std_floor=2.0, std_coarse=8.0)
    std = calibration.std(depth, samples, coarse)
    torch.testing.assert_close(std, torch.full((1, 1), 13.0))  # hypot(3 * 1, 2 * 2, 8 * 1.5)
    torch.testing.assert_close(calibration.std(depth, samples), torch.full((1, 1), 5.0))
    alone = replace(calibration, std_single=2.5).std(depth, depth[None], coarse)
    torch.testing.assert_close(alone, torch.full((1, 1), 13.0))  # hypot(2.5 * 2, 8 * 1.5)


def test_fit_finds_how_far_to_trust_the_coarse_depth() -> None:
    generator = torch.Generator().manual_seed(3)
    count = 50_000
    depth = 1 + 9 * torch.rand(count, generator=generator)
    spread = depth * (0.01 + 0.05 * torch.rand(count, generator=generator))
    differs = depth * 0.3 * torch.rand(count, generator=generator)
    sigma = torch.hypot(2.0 * spread, 0.5 * differs)
    truth = depth + sigma * torch.randn(count, generator=generator)
    none = torch.zeros_like(depth)
    fitted = replace(fit_calibration(depth, spread, none, truth, differs), edge_power=0.0)
    std = fitted.of_spread(depth[None], spread[None], differs[None])[0]
    torch.testing.assert_close(std, sigma, rtol=0.12, atol=0)
    alone = fitted.std(depth[None], depth[None, None], CoarseDepth((depth - differs)[None]))[0]
    assert abs(within(alone, depth, truth) - 0.6827) < 0.005
    assert (alone / sigma).log().std() < 0.35
    blind = replace(fit_calibration(depth, spread, none, truth), edge_power=0.0)
    assert blind.std_coarse == 0
    off = (blind.of_spread(depth[None], spread[None])[0] / sigma).log().abs().mean()
    assert off > 3 * (std / sigma).log().abs().mean()


def test_fit_leaves_a_coarse_depth_that_says_nothing() -> None:
    generator = torch.Generator().manual_seed(4)
    depth = torch.full((20_000,), 2.0)
    spread, differs = (torch.rand(20_000, generator=generator) for _ in range(2))
    truth = depth + spread * torch.randn(20_000, generator=generator)
    fitted = fit_calibration(depth, spread, torch.zeros_like(depth), truth, differs)
    assert fitted.std_scale == pytest.approx(1.0, rel=0.1)
    assert fitted.std_coarse < 0.15


def test_a_name_that_is_none() -> None:
    with pytest.raises(MetricDepthError, match='fitted_over is 3, expected a name'):
        Calibration(fitted_over=3)  # type: ignore[arg-type]


def test_novelty_widens_what_is_new_and_narrows_nothing() -> None:
    calibration = Calibration(novelty_picture=2.0, novelty_features=0.5)
    assert calibration.heeds_novelty
    assert not Calibration().heeds_novelty
    assert calibration.widening(None) == 1
    assert calibration.widening(torch.tensor([0.3, 0.9])) == 1
    assert calibration.widening(torch.tensor([3.0, 4.0])) == pytest.approx(9 * 2)
    depth, samples = torch.full((3, 3), 2.0), torch.tensor([1.0, 2.0, 3.0])[:, None, None]
    samples = samples.expand(3, 3, 3)
    new = torch.tensor([3.0, 4.0])
    for count in (1, 3):
        usual = calibration.std(depth, samples[:count])
        torch.testing.assert_close(
            calibration.std(depth, samples[:count], novelty=new), 18 * usual
        )


def test_the_powers_of_novelty_are_found() -> None:
    generator = torch.Generator().manual_seed(3)
    novelty = torch.exp(torch.randn(4000, 2, generator=generator))
    grown = novelty.clamp(min=1)
    noise = torch.exp(0.5 * torch.randn(4000, generator=generator))
    sigmas = 0.7 * grown[:, 0] ** 1.5 * grown[:, 1] ** 0.4 * noise
    sigmas[5] = torch.nan  # a frame without truth
    assert fit_novelty_powers(novelty, sigmas) == pytest.approx((1.5, 0.4), abs=0.06)
    # What makes errors smaller is no reason for a narrower bar.
    picture, features = fit_novelty_powers(novelty, grown[:, 0] ** 1.5 / grown[:, 1])
    assert picture == pytest.approx(1.5, abs=0.1)
    assert features == 0
    assert fit_novelty_powers(torch.ones(9, 2), torch.rand(9) + 1) == (0, 0)


def test_a_known_widening_is_not_fitted_again() -> None:
    generator = torch.Generator().manual_seed(4)
    depth = 1 + 9 * torch.rand(30_000, generator=generator)
    widening = torch.where(torch.rand(30_000, generator=generator) < 0.3, 4.0, 1.0)
    truth = depth + 0.1 * depth * widening * torch.randn(30_000, generator=generator)
    nothing = torch.zeros_like(depth)
    fitted = fit_calibration(depth, 0.01 * depth, nothing, truth, widening=widening)
    usual = fitted.of_spread(depth[None, :1], 0.01 * depth[None, :1])
    torch.testing.assert_close(usual, 0.1 * depth[None, :1], rtol=0.1, atol=0)
