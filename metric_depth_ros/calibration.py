"""From the spread of a model's samples to a standard deviation that is true.

The samples of a diffusion model agree with each other more than with the truth, so their spread
ranks errors but does not measure them. Two numbers, fitted once on scenes the model never saw
and stored in its checkpoint, mend that.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

ONE_SIGMA = 0.6827  # share of a Gaussian within one standard deviation


@dataclass(frozen=True)
class Calibration:
    """std = hypot(std_scale * spread, std_floor * depth); std_single * depth for one sample.

    std_scale has no unit, std_floor and std_single are metres per metre of depth. A single
    sample leaves no spread to look at: std_single is the model's usual relative error.
    """

    std_scale: float = 1.0
    std_floor: float = 0.01
    std_single: float = 0.3

    def std(self, depth: Tensor, samples: Tensor) -> Tensor:
        """(h, w) metres, one sigma, of the median `depth` (h, w) of `samples` (S, h, w).

        NaN where depth is not finite.
        """
        if samples.shape[0] == 1:
            return torch.where(torch.isfinite(depth), self.std_single * depth, torch.nan)
        return self.of_spread(depth, spread(depth, samples))

    def of_spread(self, depth: Tensor, spread: Tensor) -> Tensor:
        """(h, w) metres, one sigma, of the depth (h, w) of samples that spread so far (h, w)."""
        std = torch.hypot(self.std_scale * spread, self.std_floor * depth)
        return torch.where(torch.isfinite(depth), std, torch.nan)


def spread(depth: Tensor, samples: Tensor) -> Tensor:
    """(h, w) standard deviation, metres, over the samples (S, h, w), S > 1.

    A sample beyond the range (+inf) says nothing about how far off the others are: it counts as
    the median.
    """
    return torch.where(torch.isfinite(samples), samples, depth).std(dim=0)


def fit_calibration(depth: Tensor, spread: Tensor, truth: Tensor) -> Calibration:
    """The Calibration that is most likely to have made the errors, holding 68 % in one sigma.

    The ratio of floor to scale is the one of greatest likelihood under Laplace's distribution,
    whose tails are as heavy as those of depth errors; the scale then makes the share true.

    Args:
        depth, spread, truth: (N,) metres, finite, of pixels of held-out frames.
    """
    error, relative_spread = (depth - truth).abs() / depth, spread / depth
    best = (torch.inf, Calibration())
    for ratio in torch.logspace(-3, 1, 81).tolist():  # floor / scale
        shape = torch.hypot(relative_spread, torch.tensor(ratio))
        # -log likelihood of Laplace's distribution of widths c * shape, at its best c
        surprise = float(torch.log((error / shape).mean()) + torch.log(shape).mean())
        if surprise < best[0]:
            scale = _quantile(error / shape, ONE_SIGMA)
            best = (surprise, Calibration(scale, scale * ratio, _quantile(error, ONE_SIGMA)))
    return best[1]


def _quantile(values: Tensor, q: float) -> float:
    """As torch.quantile, for any number of values."""
    k = max(1, round(q * values.numel()))
    return float(values.kthvalue(k).values)
