"""How far an error bar is to be trusted: does it rank the errors, and is its size right?

All functions are pure, work on (N,) pixels and in float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

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
