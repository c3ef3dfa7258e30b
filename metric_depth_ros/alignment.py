"""Fits of a prediction to true depth: scale, or scale and shift, in depth or in disparity.

All functions are pure and batched: prediction and truth are (..., N), one row an image, and rows
are fitted on their own. Weights (..., N) are 0 where a pixel does not count (a mask will do), and
a pixel also does not count where prediction or truth is not a finite positive number. Fits are
made in float64.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def align_none(prediction: Tensor, truth: Tensor, weight: Tensor | None = None) -> Tensor:
    """The prediction as it is."""
    return prediction


def align_median(prediction: Tensor, truth: Tensor, weight: Tensor | None = None) -> Tensor:
    """Prediction scaled so that its median is the one of truth (Zhou et al., CVPR 2017).

    Of the weights only whether they are 0 matters.
    """
    counts = _counts(prediction, truth, weight) > 0
    medians = (masked_median(x.to(torch.float64), counts) for x in (truth, prediction))
    ratio = next(medians) / next(medians)
    return prediction * ratio.unsqueeze(-1).to(prediction.dtype)


def align_scale(prediction: Tensor, truth: Tensor, weight: Tensor | None = None) -> Tensor:
    """Prediction times the s that makes the sum of w (s d - t)^2 smallest."""
    w = _counts(prediction, truth, weight)
    d, t = _filled(prediction, w), _filled(truth, w)
    scale = (w * d * t).sum(-1, keepdim=True) / (w * d * d).sum(-1, keepdim=True)
    return prediction * scale.to(prediction.dtype)


def align_scale_shift(prediction: Tensor, truth: Tensor, weight: Tensor | None = None) -> Tensor:
    """s d + b with the s and b that make the sum of w (s d + b - t)^2 smallest.

    The result may be negative: clamp it before taking logarithms. Source: the affine-invariant
    protocol of Ranftl et al. (MiDaS, TPAMI 2020) and Ke et al. (Marigold, CVPR 2024), here in
    depth.
    """
    scale, shift = _fit(prediction, truth, _counts(prediction, truth, weight))
    return prediction * scale.to(prediction.dtype) + shift.to(prediction.dtype)


def align_disparity(prediction: Tensor, truth: Tensor, weight: Tensor | None = None) -> Tensor:
    """Depth 1 / (s / d + b), with s and b that fit 1 / t best by least squares.

    Where the fitted disparity is not positive the depth is +inf. Source: MiDaS (TPAMI 2020).
    """
    return _align_power(prediction, truth, weight, -1.0)


def align_sqrt_disparity(
    prediction: Tensor, truth: Tensor, weight: Tensor | None = None
) -> Tensor:
    """Depth (s d^(-1/2) + b)^-2, with s and b that fit t^(-1/2) best by least squares.

    Square-root disparity is the quantity of DepthMaster (Section III-D), which is fitted there.
    Where the fit is not positive the depth is +inf.
    """
    return _align_power(prediction, truth, weight, -0.5)


# What to forgive a prediction before it is judged, by name.
ALIGNMENTS: dict[str, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {
    'none': align_none,
    'median': align_median,
    'scale': align_scale,
    'scale_shift': align_scale_shift,
    'scale_shift_disparity': align_disparity,
    'scale_shift_sqrt_disparity': align_sqrt_disparity,
}


def masked_median(values: Tensor, mask: Tensor) -> Tensor:
    """(...) median of values (..., N) where mask is True, of an even count the mean of the middle.

    NaN where nothing counts.
    """
    kept = torch.where(mask, values, torch.nan)
    low = kept.nanmedian(dim=-1, keepdim=True).values
    # torch gives the lower of the two middle values; find the upper one
    count, below = mask.sum(-1), (kept <= low).sum(-1)
    above = torch.where(kept > low, kept, torch.inf).amin(-1)
    low = low.squeeze(-1)
    high = torch.where((count % 2 == 0) & (below == count // 2), above, low)
    return (low + high) / 2


def _counts(prediction: Tensor, truth: Tensor, weight: Tensor | None) -> Tensor:
    """Weights in float64, 0 where prediction or truth is no finite positive number."""
    usable = torch.isfinite(prediction) & torch.isfinite(truth) & (prediction > 0) & (truth > 0)
    if weight is None:
        return usable.to(torch.float64)
    return torch.where(usable, weight.to(torch.float64), 0.0)


def _filled(values: Tensor, weight: Tensor) -> Tensor:
    """Values in float64, 1 where they do not count: NaN times 0 would be NaN."""
    return torch.where(weight > 0, values.to(torch.float64), 1.0)


def _fit(prediction: Tensor, truth: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and shift (..., 1) of the weighted least squares; scale 0 of a constant prediction."""
    d, t = _filled(prediction, weight), _filled(truth, weight)
    total = weight.sum(-1, keepdim=True)
    d_mean = (weight * d).sum(-1, keepdim=True) / total
    t_mean = (weight * t).sum(-1, keepdim=True) / total
    wd = weight * (d - d_mean)
    variance = (wd * (d - d_mean)).sum(-1, keepdim=True)
    scale = (wd * (t - t_mean)).sum(-1, keepdim=True) / variance
    scale = torch.where(variance > 0, scale, 0.0)
    return scale, t_mean - scale * d_mean


def _align_power(prediction: Tensor, truth: Tensor, weight: Tensor | None, power: float) -> Tensor:
    """Scale and shift fitted between powers of the depths."""
    weight = _counts(prediction, truth, weight)
    source = prediction.to(torch.float64).pow(power)
    scale, shift = _fit(source, truth.to(torch.float64).pow(power), weight)
    fitted = source * scale + shift
    depth = torch.where(fitted > 0, fitted.pow(1 / power), torch.inf)
    return torch.where(torch.isnan(fitted), torch.nan, depth).to(prediction.dtype)
