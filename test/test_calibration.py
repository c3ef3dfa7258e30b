"""The error bar: what std is of samples, and that a fitted one holds the share it promises."""

from __future__ import annotations

import torch

from metric_depth_ros.calibration import Calibration, fit_calibration


def test_std_is_scaled_spread_with_a_floor() -> None:
    samples = torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1)  # median 2, standard deviation 1
    std = Calibration(std_scale=3.0, std_floor=2.0).std(torch.full((1, 1), 2.0), samples)
    torch.testing.assert_close(std, torch.full((1, 1), 5.0))  # hypot(3 * 1, 2 * 2)


def test_one_sample_has_the_usual_relative_error() -> None:
    depth = torch.tensor([[2.0, torch.inf, torch.nan]])
    std = Calibration(std_single=0.2).std(depth, depth[None])
    torch.testing.assert_close(std, torch.tensor([[0.4, torch.nan, torch.nan]]), equal_nan=True)


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
    fitted = fit_calibration(depth, spread, truth)
    assert abs(fitted.std_scale - 4.0) < 0.2
    assert abs(fitted.std_floor - 0.05) < 0.02
    std = torch.hypot(fitted.std_scale * spread, fitted.std_floor * depth)
    within = ((truth - depth).abs() < std).float().mean()
    assert abs(within - 0.6827) < 0.005
    within_single = ((truth - depth).abs() < fitted.std_single * depth).float().mean()
    assert abs(within_single - 0.6827) < 0.005


def test_fit_turns_to_the_floor_when_the_spread_says_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    depth = torch.ones(20_000)
    spread = torch.rand(20_000, generator=generator)
    truth = depth + 0.2 * torch.randn(20_000, generator=generator)
    fitted = fit_calibration(depth, spread, truth)
    assert abs(fitted.std_floor - 0.2) < 0.02
    assert fitted.std_scale < 0.1
