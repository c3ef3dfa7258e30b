"""Depth metrics of one frame, their mean over frames, trivial baselines, and error bars judged.

All functions are pure and take z-depth in metres. Definitions are those of Eigen, Puhrsch and
Fergus, "Depth Map Prediction from a Single Image using a Multi-Scale Deep Network" (NIPS 2014),
and of the KITTI depth benchmark for SILog.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields, replace

import torch
from torch import Tensor

from ..errors import MetricDepthError


class MetricsError(MetricDepthError):
    """Nothing to compare, or things that cannot be compared."""


@dataclass(frozen=True)
class Scores:
    """How far predicted depth d is from true depth t; of one frame, or the mean over frames.

    abs_rel: mean |d - t| / t.  sq_rel: mean (d - t)^2 / t, metres.  rmse: metres.
    rmse_log: of natural logarithms.  log10: mean |log10 d - log10 t|.
    silog: 100 sqrt(mean e^2 - (mean e)^2) with e = ln d - ln t; a common scale does not change it.
    delta1, delta2, delta3: share of pixels with max(d / t, t / d) < 1.25, 1.25^2, 1.25^3.
    coverage: share of the pixels with true depth that have a prediction; the other numbers
        are of those alone.
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


def score(prediction: Tensor, truth: Tensor) -> Scores:
    """Scores of paired depths (N,), metres, all finite and positive; NaN for an empty pair.

    Computed in float64.
    """
    d, t = prediction.to(torch.float64), truth.to(torch.float64)
    error = d - t
    log_error = torch.log(d) - torch.log(t)
    ratio = torch.maximum(d / t, t / d)
    # mean e^2 - (mean e)^2 without the cancellation
    variance = (log_error - log_error.mean()).square().mean()
    values = torch.stack(
        (
            (error.abs() / t).mean(),
            (error.square() / t).mean(),
            error.square().mean().sqrt(),
            log_error.square().mean().sqrt(),
            100 * variance.sqrt(),
            log_error.abs().mean() / torch.log(t.new_tensor(10.0)),
            *((ratio < 1.25**k).to(torch.float64).mean() for k in (1, 2, 3)),
        )
    )
    return Scores(*values.tolist())


def align_median(prediction: Tensor, truth: Tensor) -> Tensor:
    """Prediction (N,) scaled so that its median is the one of truth (N,) (Zhou et al. 2017)."""
    return prediction * (truth.median() / prediction.median())


@dataclass(frozen=True)
class EvaluationProtocol:
    """Which pixels count, and what is forgiven before they are compared.

    A pixel counts where the truth lies within [min_depth, max_depth] metres. The prediction,
    with max_depth for +inf (beyond range), is aligned and then clamped to the same range, as is
    usual. Where it is NaN the pixel is left out and shows in `coverage`.
    """

    name: str
    min_depth: float
    max_depth: float
    align: Callable[[Tensor, Tensor], Tensor] | None = None

    def valid(self, truth: Tensor) -> Tensor:
        """Pixels of `truth` (H, W), metres, that count."""
        return (truth >= self.min_depth) & (truth <= self.max_depth)  # False for NaN

    def score(self, prediction: Tensor, truth: Tensor) -> Scores:
        """Scores of one frame, (H, W) metres each.

        Raises:
            MetricsError: the sizes differ, or no pixel of the truth counts.
        """
        if prediction.shape != truth.shape:
            raise MetricsError(
                f'prediction of shape {tuple(prediction.shape)} and truth of shape '
                f'{tuple(truth.shape)}: expected the same'
            )
        valid = self.valid(truth)
        count = int(valid.sum())
        if count == 0:
            raise MetricsError(
                f'no pixel of the truth lies within {self.min_depth} to {self.max_depth} m'
            )
        pixels = (valid & ~torch.isnan(prediction)).flatten().nonzero().squeeze(1)
        d, t = prediction.flatten()[pixels], truth.flatten()[pixels]
        d = torch.where(torch.isinf(d), self.max_depth, d)
        if self.align is not None:
            d = self.align(d, t)
        d = d.clamp(self.min_depth, self.max_depth)
        return replace(score(d, t), coverage=len(d) / count)


# No alignment: metric depth is taken at its word. Up to 80 m, as on KITTI.
PLAIN = EvaluationProtocol('plain', min_depth=0.1, max_depth=80.0)
# The same with the scale of each frame forgiven: what is left is the error of shape.
PLAIN_MEDIAN = EvaluationProtocol('plain-median', 0.1, 80.0, align_median)


def mean_scores(scores: Sequence[Scores]) -> Scores:
    """Mean over frames, every frame counting alike; frames without any prediction do not count.

    Only their coverage of 0 does.

    Raises:
        MetricsError: there are no scores.
    """
    if not scores:
        raise MetricsError('no frame was scored: expected at least one with true depth')
    table = torch.tensor([astuple(s) for s in scores], dtype=torch.float64)
    return Scores(*table.nanmean(dim=0).tolist())


def metric_names() -> tuple[str, ...]:
    """Names of all metrics, in the order of Scores."""
    return tuple(field.name for field in fields(Scores))


# --- baselines that keep everyone honest ------------------------------------------------------
# All know the truth of the very frames they are scored on, which no model does.


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


# --- error bars ---------------------------------------------------------------------------------

# Shares of the pixels, the surest first, of which UncertaintyScores has the RMSE.
CONFIDENCE_LEVELS = (1.0, 0.9, 0.75, 0.5, 0.25)


@dataclass(frozen=True)
class UncertaintyScores:
    """How true a standard deviation is (coverage), and how well it ranks errors (the rest).

    coverage_1, coverage_2: share of the errors within one and within two sigma; 0.683 and 0.954
        of a Gaussian.
    spearman: rank correlation of std with the absolute error, metres; spearman_relative: of
        std / depth with error / depth, which knows no merit in far things erring more.
    ause, ause_constant: area under the sparsification error (see `sparsification_error`) of the
        std, and of an error bar that is the same everywhere; ause_relative,
        ause_relative_constant: the same of the relative error and std.
    confident_rmse: metres, of the surest share of the pixels, by CONFIDENCE_LEVELS (GRIN Fig. 5b).
    """

    coverage_1: float
    coverage_2: float
    spearman: float
    spearman_relative: float
    ause: float
    ause_constant: float
    ause_relative: float
    ause_relative_constant: float
    confident_rmse: tuple[float, ...]


def score_uncertainty(prediction: Tensor, std: Tensor, truth: Tensor) -> UncertaintyScores:
    """Scores of an error bar on paired pixels (N,), metres, finite and positive, N > 1.

    The pixels are of all frames together: a robot has to rank one frame against another too.
    """
    d, s, t = (x.to(torch.float64) for x in (prediction, std, truth))
    error = (d - t).abs()
    constant = torch.ones_like(s)
    return UncertaintyScores(
        coverage_1=float((error <= s).to(torch.float64).mean()),
        coverage_2=float((error <= 2 * s).to(torch.float64).mean()),
        spearman=rank_correlation(s, error),
        spearman_relative=rank_correlation(s / d, error / d),
        ause=sparsification_error(error, s),
        ause_constant=sparsification_error(error, constant),
        ause_relative=sparsification_error(error / d, s / d),
        ause_relative_constant=sparsification_error(error / d, constant),
        confident_rmse=tuple(confident_rmse(error, s, share) for share in CONFIDENCE_LEVELS),
    )


def rank_correlation(a: Tensor, b: Tensor) -> float:
    """Spearman's rank correlation of two (N,), equal values sharing a rank; NaN of a constant."""
    ranks = torch.stack([_ranks(a), _ranks(b)])
    return float(torch.corrcoef(ranks)[0, 1])


def sparsification_curve(error: Tensor, uncertainty: Tensor) -> Tensor:
    """(N,) mean error of the k surest pixels over the mean of all, k = 1 to N.

    Pixels of equal uncertainty come in random order: the curve is its expectation, so that of a
    constant uncertainty is 1 everywhere.

    Args:
        error, uncertainty: (N,), error not negative.

    Source: Ilg et al., "Uncertainty Estimates and Multi-Hypotheses Networks for Optical Flow"
    (ECCV 2018).
    """
    error = error.to(torch.float64)
    _, tie, count = uncertainty.unique(return_inverse=True, return_counts=True)  # ascending
    tie_mean = error.new_zeros(len(count)).index_add(0, tie, error) / count
    kept = tie_mean.repeat_interleave(count).cumsum(0)
    return kept / torch.arange(1, len(error) + 1, device=error.device) / error.mean()


def sparsification_error(error: Tensor, uncertainty: Tensor) -> float:
    """AUSE: mean gap between the sparsification curve and that of sorting by the error itself.

    0 is the best there is. A constant uncertainty has 1 less the area of the oracle's curve, at
    most 1.

    Source: Ilg et al. (ECCV 2018).
    """
    gap = sparsification_curve(error, uncertainty) - sparsification_curve(error, error)
    return float(gap.mean())


def confident_rmse(error: Tensor, uncertainty: Tensor, share: float) -> float:
    """RMSE of the `share` (0 to 1] of the pixels with the least uncertainty (GRIN Fig. 5b)."""
    surest = uncertainty.argsort()[: max(1, round(share * len(error)))]
    return float(error[surest].to(torch.float64).square().mean().sqrt())


def _ranks(values: Tensor) -> Tensor:
    """(N,) ranks from 1, those of equal values their mean."""
    _, inverse, count = values.unique(return_inverse=True, return_counts=True)
    last = count.cumsum(0).to(torch.float64)
    return (last - (count - 1) / 2)[inverse]
