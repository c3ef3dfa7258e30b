"""Guesses that look at no image: what any model has to beat.

All know the truth of the very frames they are scored on, which no model does.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def median_depth(truths: Sequence[Tensor]) -> float:
    """Median of all true depths (H, W), metres; NaN = unknown."""
    return float(torch.cat([t[torch.isfinite(t)] for t in truths]).median())


def best_constant(truths: Sequence[Tensor]) -> float:
    """The one depth in metres whose AbsRel, averaged over frames, is the smallest there is.

    AbsRel of c over a frame of n pixels is the sum of |c - t| / (n t): a weighted absolute
    deviation, which the weighted median with weights 1 / (n t) makes smallest.
    """
    depths = [t[torch.isfinite(t)].to(torch.float64) for t in truths]
    weights = torch.cat([1 / (len(t) * t) for t in depths])
    values, order = torch.cat(depths).sort()
    half = weights[order].cumsum(0)
    return float(values[torch.searchsorted(half, half[-1:] / 2)])


def row_means(truths: Sequence[Tensor]) -> Tensor:
    """(H,) mean depth of each row over all frames (H, W), metres; rows never seen get the mean."""
    stack = torch.stack([t.to(torch.float64) for t in truths])
    stack = torch.where(torch.isfinite(stack), stack, torch.nan)
    rows = stack.nanmean(dim=(0, 2))
    return torch.where(torch.isnan(rows), stack.nanmean(), rows).to(torch.float32)
