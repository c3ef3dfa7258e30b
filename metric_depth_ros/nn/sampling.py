"""Continuous-time diffusion: one schedule, two parametrisations, one deterministic sampler.

A noisy value is x_t = sqrt(gamma(t)) x_0 + sqrt(1 - gamma(t)) noise (GRIN Eq. 1), with t from 0
(data) to 1 (noise). A network predicts either the noise or the velocity
v = sqrt(gamma) noise - sqrt(1 - gamma) x_0 (Salimans and Ho 2022).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import MetricDepthError
from ..types import Conditioning

# gamma never quite reaches 0: the noise parametrisation divides by its root.
SMALLEST_GAMMA = 1e-9


def sigmoid_gamma(t: Tensor, start: float = -3.0, end: float = 3.0, tau: float = 1.0) -> Tensor:
    """Signal's share of the variance, 1 at t = 0 falling to (nearly) 0 at t = 1.

    Source: Jabri et al. 2023, the sigmoid schedule.
    """
    first = 1 / (1 + math.exp(-start / tau))
    last = 1 / (1 + math.exp(-end / tau))
    now = torch.sigmoid((t * (end - start) + start) / tau)
    return ((last - now) / (last - first)).clamp(SMALLEST_GAMMA, 1.0)


def add_noise(data: Tensor, noise: Tensor, gamma: Tensor) -> Tensor:
    """x_t; gamma broadcasts against data."""
    return gamma.sqrt() * data + (1 - gamma).sqrt() * noise


def velocity(data: Tensor, noise: Tensor, gamma: Tensor) -> Tensor:
    """v_t; gamma broadcasts against data."""
    return gamma.sqrt() * noise - (1 - gamma).sqrt() * data


def data_from_noise(noisy: Tensor, noise: Tensor, gamma: Tensor) -> Tensor:
    """x_0 from x_t and the predicted noise. Ill-conditioned as gamma nears 0: clip it."""
    return (noisy - (1 - gamma).sqrt() * noise) / gamma.sqrt()


def data_from_velocity(noisy: Tensor, v: Tensor, gamma: Tensor) -> Tensor:
    """x_0 from x_t and the predicted velocity."""
    return gamma.sqrt() * noisy - (1 - gamma).sqrt() * v


def ddim(
    predict_data: Callable[[Tensor, Tensor, Tensor], Tensor],
    noise: Tensor,
    num_steps: int,
    lowest: Tensor | float = -1.0,
    highest: Tensor | float = 1.0,
    schedule: Callable[[Tensor], Tensor] = sigmoid_gamma,
) -> Tensor:
    """Carry noise to data, deterministically (DDIM, Song et al. 2021, eta = 0).

    The steps are evenly spaced in t, from 1 to 0. x_0 is clipped to its range, and the noise that
    goes with the clipped x_0 is what is carried on. All randomness is in `noise`.

    Args:
        predict_data: (x_t, t, gamma) -> x_0, like x_t; t and gamma are scalars.
        noise: any shape, standard normal.
        num_steps: how often the network is asked, at least 1.
        lowest, highest: range of x_0; broadcast against noise.
        schedule: t -> gamma.
    Returns:
        x_0, like noise.
    """
    if num_steps < 1:
        raise ValueError(f'num_steps is {num_steps}, expected at least 1')
    times = torch.linspace(1, 0, num_steps + 1, device=noise.device)
    gammas = schedule(times)
    low = torch.as_tensor(lowest, dtype=noise.dtype, device=noise.device)
    high = torch.as_tensor(highest, dtype=noise.dtype, device=noise.device)
    x = noise
    for t, gamma, gamma_next in zip(times, gammas, gammas[1:], strict=False):
        data = predict_data(x, t, gamma)
        data = data.maximum(low).minimum(high)
        remaining_noise = (x - gamma.sqrt() * data) / (1 - gamma).sqrt()
        x = add_noise(data, remaining_noise, gamma_next)
    return x


def check_draw(
    conditioning: Conditioning,
    num_samples: int,
    num_steps: int,
    *,
    multiple_of: int,
    most_steps: int | None = None,
) -> None:
    """What every method needs to draw samples.

    Raises:
        MetricDepthError: a size that does not fit, no sample, no step or more than `most_steps`.
    """
    conditioning.expect_multiple_of(multiple_of)
    if num_samples < 1:
        raise MetricDepthError(f'num_samples is {num_samples}, expected at least 1')
    if num_steps < 1 or (most_steps is not None and num_steps > most_steps):
        expected = 'at least 1' if most_steps is None else f'1 to {most_steps}'
        raise MetricDepthError(f'num_steps is {num_steps}, expected {expected}')
