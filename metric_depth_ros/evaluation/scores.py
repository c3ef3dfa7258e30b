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
    d, t = prediction.to(torch.float64), truth.to(torch.float64)
    expected = ~torch.isnan(t)
    known = expected & ~torch.isnan(d)
    wanted = expected.to(torch.float64)
    if weight is not None:
        wanted = torch.where(expected, weight.to(torch.float64), 0.0)
    if bool(known.all()):
        w = wanted
    else:  # NaN times 0 is NaN
        w = torch.where(known, wanted, 0.0)
        d, t = torch.where(known, d, 1.0), torch.where(known, t, 1.0)
    pixels, total = wanted.sum(-1), w.sum(-1)

    def mean(values: Tensor) -> Tensor:
        return torch.einsum('...n,...n->...', w, values) / total

    error, ratio = d - t, d / t
    square, log_error = error.square(), ratio.log()
    worst = torch.maximum(ratio, t / d)
    bias = mean(log_error)
    # mean e^2 - (mean e)^2 without the cancellation
    variance = mean((log_error - bias.unsqueeze(-1)).square())
    return torch.stack(
        (
            mean(error.abs() / t),
            mean(square / t),
            mean(square).sqrt(),
            mean(log_error.square()).sqrt(),
            100 * variance.sqrt(),
            mean(log_error.abs()) / math.log(10),
            *(mean((worst < 1.25**k).to(torch.float64)) for k in (1, 2, 3)),
            total / pixels,
            bias,
            pixels,
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
