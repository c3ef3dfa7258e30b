"""How far predicted depth is from true depth, in the numbers that papers print.

Definitions are those of Eigen, Puhrsch and Fergus, "Depth Map Prediction from a Single Image using
a Multi-Scale Deep Network" (NIPS 2014), and of the KITTI depth benchmark for SILog. Nothing here
is clipped, cropped or aligned: that is a protocol's affair. Everything is computed in float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields, replace

import torch
from torch import Tensor
from torch.linalg import vecdot

from ..alignment import BLOCK
from ..errors import MetricDepthError


class MetricsError(MetricDepthError):
    """Nothing to compare, or things that cannot be compared."""


@dataclass(frozen=True)
class Scores:
    """How far predicted depth d is from true depth t; of one frame, or of many.

    abs_rel: mean |d - t| / t.  sq_rel: mean (d - t)^2 / t, metres.  rmse: metres.
    rmse_log: of natural logarithms.  log10: mean |log10 d - log10 t|.
    silog: 100 sqrt(mean e^2 - (mean e)^2) with e = ln d - ln t; a common scale does not change it.
    delta1, delta2, delta3: share of pixels with max(d / t, t / d) < 1.25, 1.25^2, 1.25^3.
    coverage: share of the pixels with true depth that have a prediction; the other numbers
        are of those alone.
    log_bias: mean e, the logarithm of the scale that is wrong: 0.095 is ten percent too far.
    pixels: how many have true depth that counts, or the sum of their weights.
    """

    abs_rel: float
    sq_rel: float
    rmse: float
    rmse_log: float
    silog: float
    log10: float
    delta1: float
    delta2: float
    delta3: float
    coverage: float = 1.0
    log_bias: float = 0.0
    pixels: float = 0.0


def metric_names() -> tuple[str, ...]:
    """Names of all metrics, in the order of Scores."""
    return tuple(field.name for field in fields(Scores))


def measure(prediction: Tensor, truth: Tensor, weight: Tensor | None = None) -> Tensor:
    """(..., 12) float64 metrics in the order of Scores; of each image of a batch on its own.

    Args:
        prediction: (..., N) metres, positive; NaN = no estimate.
        truth: (..., N) metres, positive; NaN = unknown.
        weight: (..., N) how much each pixel counts, not negative; a mask will do. None is 1.
    """
    sums = torch.zeros((), dtype=torch.float64, device=truth.device)
    offset: Tensor | None = None
    # blocks that fit into the cache are several times as fast as whole images
    for start in range(0, truth.shape[-1], BLOCK):
        block = (..., slice(start, start + BLOCK))
        d, t = prediction[block].to(torch.float64), truth[block].to(torch.float64)
        if weight is None and not bool((d + t).sum().isnan()):
            w, pixels = None, torch.ones_like(t).sum(-1)  # the usual case, and much faster
        else:
            d, t, w, pixels = _paired(d, t, None if weight is None else weight[block])
        log_error = (d / t).log()
        if offset is None:
            offset = log_error.mean(-1, keepdim=True)
        sums = sums + _sums(d, t, w, log_error, log_error - offset, pixels)
    if offset is None:
        return torch.full((*truth.shape[:-1], len(metric_names())), torch.nan)
    pixels, total, *rest = sums.unbind(-1)
    rest = [x / total for x in rest]
    abs_rel, sq_rel, square, log_square, log_abs, off_square, off, *deltas = rest
    # mean e^2 - (mean e)^2, from errors less a guess of their mean: no cancellation to speak of
    variance = (off_square - off.square()).clamp_min(0)
    return torch.stack(
        (
            abs_rel,
            sq_rel,
            square.sqrt(),
            log_square.sqrt(),
            100 * variance.sqrt(),
            log_abs / math.log(10),
            *deltas,
            total / pixels,
            off + offset.squeeze(-1),
            pixels,
        ),
        dim=-1,
    )


def _paired(d: Tensor, t: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Depths and their weights, 0 where either is NaN, and the sum of weights of all truth.

    Depths are ones where the weight is 0: NaN times 0 would be NaN.
    """
    w = torch.ones_like(t) if weight is None else weight.to(torch.float64)
    expected = torch.where(torch.isnan(t), 0.0, w)
    w = torch.where(torch.isnan(d), 0.0, expected)
    counts = w > 0
    return torch.where(counts, d, 1.0), torch.where(counts, t, 1.0), w, expected.sum(-1)


def _sums(
    d: Tensor, t: Tensor, w: Tensor | None, log_error: Tensor, off: Tensor, pixels: Tensor
) -> Tensor:
    """(..., 12) weighted sums over the pixels of what the metrics are made of; None is 1."""

    def total(values: Tensor) -> Tensor:
        return values.sum(-1, dtype=torch.float64) if w is None else vecdot(w, values.to(w.dtype))

    def weighted(values: Tensor) -> Tensor:
        return values if w is None else w * values

    error = d - t
    relative, worst = error / t, torch.maximum(d / t, t / d)
    error_w, off_w = weighted(error), weighted(off)
    return torch.stack(
        (
            pixels,
            pixels if w is None else w.sum(-1),
            total(relative.abs()),
            vecdot(error_w, relative),
            vecdot(error_w, error),
            vecdot(weighted(log_error), log_error),
            total(log_error.abs()),
            vecdot(off_w, off),
            off_w.sum(-1),
            *(total(worst < 1.25**k) for k in (1, 2, 3)),
        ),
        dim=-1,
    )


def score(prediction: Tensor, truth: Tensor, weight: Tensor | None = None) -> Scores:
    """Scores of paired depths (N,), as `measure` takes them; NaN where there is no pair."""
    return Scores(*measure(prediction, truth, weight).tolist())


# --- many frames ------------------------------------------------------------------------------

# How frames become one number: 'image' is the mean of the frames' scores, every frame counting
# alike (Eigen's code, UniDepth, Marigold); 'pixel' is the score of all pixels of all frames
# together. They differ wherever frames differ in error and, for the roots, even where they do not.
POOLINGS = ('image', 'pixel')


def pool_scores(scores: Sequence[Scores], pooling: str) -> Scores:
    """One score of many frames, by one of POOLINGS.

    Raises:
        MetricsError: there are no scores, or no such pooling.
    """
    if pooling not in POOLINGS:
        raise MetricsError(f'pooling is {pooling!r}, expected one of {", ".join(POOLINGS)}')
    return mean_scores(scores) if pooling == 'image' else pixel_scores(scores)


def mean_scores(scores: Sequence[Scores]) -> Scores:
    """Mean over frames, every frame counting alike; frames without any prediction do not count.

    Only their coverage of 0 and their pixels do. `pixels` is the sum.

    Raises:
        MetricsError: there are no scores.
    """
    table = _table(scores)
    mean = Scores(*table.nanmean(dim=0).tolist())
    return replace(mean, pixels=float(table[:, -1].sum()))


def pixel_scores(scores: Sequence[Scores]) -> Scores:
    """Scores of the pixels of all frames taken together, from the scores of the frames.

    Raises:
        MetricsError: there are no scores.
    """
    table = _table(scores)
    column = dict(zip(metric_names(), table.unbind(1), strict=True))
    predicted = column['pixels'] * column['coverage']
    share = predicted / predicted.sum()

    def mean(values: Tensor) -> float:
        return float(torch.where(predicted > 0, share * values, 0.0).sum())

    if not float(predicted.sum()) > 0:
        return mean_scores(scores)  # no frame has a prediction: all is NaN, the coverage 0
    bias = mean(column['log_bias'])
    variance = mean((column['silog'] / 100).square() + (column['log_bias'] - bias).square())
    pixels = float(column['pixels'].sum())
    return Scores(
        **{name: mean(column[name]) for name in ('abs_rel', 'sq_rel', 'log10')},
        **{name: mean(column[name]) for name in ('delta1', 'delta2', 'delta3')},
        rmse=math.sqrt(mean(column['rmse'].square())),
        rmse_log=math.sqrt(mean(column['rmse_log'].square())),
        silog=100 * math.sqrt(variance),
        coverage=float(predicted.sum()) / pixels,
        log_bias=bias,
        pixels=pixels,
    )


def _table(scores: Sequence[Scores]) -> Tensor:
    """(frames, 12) float64."""
    if not scores:
        raise MetricsError('no frame was scored: expected at least one with true depth')
    return torch.tensor([astuple(s) for s in scores], dtype=torch.float64)
