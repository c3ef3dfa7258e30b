from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from metric_depth_ros.nn import sampling

MEAN, SPREAD = 0.3, 0.5  # of the data


def best_data(noisy: Tensor, gamma: Tensor) -> Tensor:
    """E[x_0 | x_t] for Gaussian data."""
    gain = gamma.sqrt() * SPREAD**2 / (gamma * SPREAD**2 + 1 - gamma)
    return MEAN + gain * (noisy - gamma.sqrt() * MEAN)


def through_noise(noisy: Tensor, t: Tensor, gamma: Tensor) -> Tensor:
    """The best predictor, seen through the noise parametrisation."""
    noise = (noisy - gamma.sqrt() * best_data(noisy, gamma)) / (1 - gamma).sqrt()
    return sampling.data_from_noise(noisy, noise, gamma)


def through_velocity(noisy: Tensor, t: Tensor, gamma: Tensor) -> Tensor:
    """The best predictor, seen through the velocity parametrisation."""
    data = best_data(noisy, gamma)
    noise = (noisy - gamma.sqrt() * data) / (1 - gamma).sqrt()
    return sampling.data_from_velocity(noisy, sampling.velocity(data, noise, gamma), gamma)


@pytest.mark.parametrize('predict', [through_noise, through_velocity])
def test_samples_of_a_gaussian(predict) -> None:
    noise = torch.randn(20000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noise = (noise - noise.mean()) / noise.std()
    samples = sampling.ddim(predict, noise, 200, lowest=-10, highest=10)
    assert samples.mean().item() == pytest.approx(MEAN, abs=0.005)
    assert samples.std().item() == pytest.approx(SPREAD, rel=0.02)
    # DDIM is monotone in one dimension: samples keep the order of their noise.
    assert samples[noise.argsort()].diff().min() >= -1e-9


def test_the_error_halves_with_twice_the_steps() -> None:
    noise = torch.tensor([1.0], dtype=torch.float64)  # one sigma away is where it should stay
    coarse, fine = (
        sampling.ddim(through_velocity, noise, n, lowest=-10, highest=10).item() - MEAN - SPREAD
        for n in (100, 200)
    )
    assert fine / coarse == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize('predict', [through_noise, through_velocity])
def test_one_step_is_the_mean(predict) -> None:
    """From pure noise, and in float32, where the noise parametrisation is ill-conditioned."""
    noise = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        sampling.ddim(predict, noise, 1), torch.full_like(noise, MEAN), atol=0.02, rtol=0
    )


def test_schedule() -> None:
    t = torch.linspace(0, 1, 101, dtype=torch.float64)
    gamma = sampling.sigmoid_gamma(t)
    assert gamma[0] == 1
    assert 0 < gamma[-1] < 1e-8
    assert (gamma.diff() < 0).all()
    assert gamma[50].item() == pytest.approx(0.5)

    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    expected = (sigmoid(3) - sigmoid(-1.5)) / (sigmoid(3) - sigmoid(-3))
    assert gamma[25].item() == pytest.approx(expected)


def test_parametrisations_invert() -> None:
    generator = torch.Generator().manual_seed(0)
    data, noise = torch.randn(2, 50, generator=generator, dtype=torch.float64)
    gamma = torch.linspace(0.01, 1, 50, dtype=torch.float64)
    noisy = sampling.add_noise(data, noise, gamma)
    torch.testing.assert_close(sampling.data_from_noise(noisy, noise, gamma), data)
    v = sampling.velocity(data, noise, gamma)
    torch.testing.assert_close(sampling.data_from_velocity(noisy, v, gamma), data)


def test_data_is_clipped_to_its_range() -> None:
    low, high = torch.tensor([-0.5, 0.0]), torch.tensor([0.25, 0.1])

    def far_out(noisy: Tensor, t: Tensor, gamma: Tensor) -> Tensor:
        return torch.tensor([-9.0, 9.0])

    samples = sampling.ddim(far_out, torch.zeros(2), 3, low, high)
    torch.testing.assert_close(samples, torch.tensor([-0.5, 0.1]))


def test_no_steps_are_refused() -> None:
    with pytest.raises(ValueError, match='num_steps is 0'):
        sampling.ddim(lambda x, t, gamma: x, torch.zeros(1), 0)
