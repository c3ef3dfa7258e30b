"""Fits of a prediction to true depth: scale, or scale and shift, in depth or in disparity.

All functions are pure and batched: prediction and truth are (..., N), one row an image, and rows
are fitted on their own. Weights (..., N) are 0 where a pixel does not count (a mask will do), and
a pixel also does not count where prediction or truth is not a finite positive number. Fits are
made in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

BLOCK = 1 << 14


def align_none(prediction: Tensor, truth: Tensor, weight: Tensor | None = None) -> Tensor:
    """The prediction as it is."""
    return prediction


def align_median(prediction: Tensor, truth: Tensor, weight: Tensor | None = None) -> Tensor:
    """Prediction scaled so that its median is the one of truth (Zhou et al., CVPR 2017).

    Of the weights only whether they are 0 matters.
    """
    usable = _usable(prediction, truth)
    if weight is not None:
        usable &= weight > 0
    counts = None if bool(usable.all()) else usable
    ratio = masked_median(truth, counts) / masked_median(prediction, counts)
    return prediction * ratio.unsqueeze(-1).to(prediction.dtype)


def align_scale(prediction: Tensor, truth: Tensor, weight: Tensor | None = None) -> Tensor:
    """Prediction times the s that makes the sum of w (s d - t)^2 smallest."""
    over = under = torch.zeros((), dtype=torch.float64, device=truth.device)
    for d, t, w in _blocks(prediction, truth, weight):
        over, under = over + _dot(w * d, t), under + _dot(w * d, d)
    return prediction * (over / under).to(prediction.dtype)


def align_scale_shift(prediction: Tensor, truth: Tensor, weight: Tensor | None = None) -> Tensor:
    """s d + b with the s and b that make the sum of w (s d + b - t)^2 smallest.

    The result may be negative: clamp it before taking logarithms. Source: the affine-invariant
    protocol of Ranftl et al. (MiDaS, TPAMI 2020) and Ke et al. (Marigold, CVPR 2024), here in
    depth.
    """
    scale, shift = _fit(prediction, truth, weight, 1.0)
    return prediction * scale.to(prediction.dtype) + shift.to(prediction.dtype)


def align_disparity(prediction: Tensor, truth: Tensor, weight: Tensor | None = None) -> Tensor:
    """Depth 1 / (s / d + b), with s and b that fit 1 / t best by least squares.

    Where the fitted disparity is not positive the depth is +inf. Source: MiDaS (TPAMI 2020).
    """
    scale, shift = _fit(prediction, truth, weight, -1.0)
    fitted = prediction.reciprocal() * scale.to(prediction.dtype) + shift.to(prediction.dtype)
    return fitted.clamp_min_(0).reciprocal_()


def align_sqrt_disparity(
    prediction: Tensor, truth: Tensor, weight: Tensor | None = None
) -> Tensor:
    """Depth (s d^(-1/2) + b)^-2, with s and b that fit t^(-1/2) best by least squares.

    Square-root disparity is the quantity of DepthMaster (Section III-D), which is fitted there.
    Where the fit is not positive the depth is +inf.
    """
    scale, shift = _fit(prediction, truth, weight, -0.5)
    fitted = prediction.rsqrt() * scale.to(prediction.dtype) + shift.to(prediction.dtype)
    return fitted.clamp_min_(0).square_().reciprocal_()


# What to forgive a prediction before it is judged, by name.
ALIGNMENTS: dict[str, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {
    'none': align_none,
    'median': align_median,
    'scale': align_scale,
    'scale_shift': align_scale_shift,
    'scale_shift_disparity': align_disparity,
    'scale_shift_sqrt_disparity': align_sqrt_disparity,
}


def masked_median(values: Tensor, mask: Tensor | None = None) -> Tensor:
    """(...) float64 median of values (..., N), of an even count the mean of the middle two.

    Args:
        mask: (..., N) bool, which values count; None for all. NaN where none does.
    """
    kept = values if mask is None else torch.where(mask, values, torch.nan)
    low = kept.median(-1, keepdim=True)[0] if mask is None else kept.nanmedian(-1, keepdim=True)[0]
    # torch gives the lower of the two middle values; find the upper one
    count = torch.tensor(values.shape[-1]) if mask is None else mask.sum(-1)
    above = torch.where(kept > low, kept, torch.inf).amin(-1)
    split = (kept <= low).sum(-1) * 2 == count
    low = low.squeeze(-1)
    return (low.to(torch.float64) + torch.where(split, above, low)) / 2


def _usable(prediction: Tensor, truth: Tensor) -> Tensor:
    """Where both are finite positive numbers."""
    return (prediction > 0) & (prediction < torch.inf) & (truth > 0) & (truth < torch.inf)


def _blocks(
    prediction: Tensor, truth: Tensor, weight: Tensor | None, power: float = 1.0
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Blocks (..., n) in float64 of both depths to a power, and of the weights.

    Depths are 1 where the weight is 0: NaN times 0 would be NaN. Blocks that fit into the cache
    are several times as fast as whole images.
    """
    for start in range(0, truth.shape[-1], BLOCK):
        block = (..., slice(start, start + BLOCK))
        d, t = prediction[block], truth[block]
        usable = _usable(d, t)
        w = usable.to(torch.float64)
        if weight is not None:
            w = torch.where(usable, weight[block].to(torch.float64), 0.0)
        d, t = (torch.where(w > 0, x.to(torch.float64), 1.0) for x in (d, t))
        yield (d, t, w) if power == 1 else (d.pow(power), t.pow(power), w)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """(..., 1)"""
    return torch.linalg.vecdot(a, b).unsqueeze(-1)


def _fit(
    prediction: Tensor, truth: Tensor, weight: Tensor | None, power: float
) -> tuple[Tensor, Tensor]:
    """Scale and shift (..., 1) of the least squares between powers of the depths.

    The scale of a constant prediction is 0.
    """
    zero = torch.zeros((), dtype=torch.float64, device=truth.device)
    total = d_sum = t_sum = squares = variance = covariance = zero
    for d, t, w in _blocks(prediction, truth, weight, power):
        total = total + w.sum(-1, keepdim=True)
        d_sum, t_sum, squares = d_sum + _dot(w, d), t_sum + _dot(w, t), squares + _dot(w * d, d)
    d_mean, t_mean = d_sum / total, t_sum / total
    for d, t, w in _blocks(prediction, truth, weight, power):
        centred = d - d_mean
        weighted = w * centred
        variance = variance + _dot(weighted, centred)
        covariance = covariance + _dot(weighted, t - t_mean)
    # of a constant only rounding varies
    scale = torch.where(variance > 1e-24 * squares, covariance / variance, 0.0)
    return scale, t_mean - scale * d_mean
