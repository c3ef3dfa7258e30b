"""Everything to judge depth with, in one place; each name is documented where it is defined."""

from __future__ import annotations

from .baselines import best_constant, median_depth, row_means
from .protocols import PLAIN, PLAIN_MEDIAN, PROTOCOLS, Protocol
from .scores import (
    POOLINGS,
    MetricsError,
    Scores,
    mean_scores,
    measure,
    metric_names,
    pixel_scores,
    pool_scores,
    score,
)
from .uncertainty import (
    CONFIDENCE_LEVELS,
    UncertaintyScores,
    confident_rmse,
    rank_correlation,
    score_uncertainty,
    sparsification_curve,
    sparsification_error,
)

__all__ = [
    'CONFIDENCE_LEVELS',
    'PLAIN',
    'PLAIN_MEDIAN',
    'POOLINGS',
    'PROTOCOLS',
    'MetricsError',
    'Protocol',
    'Scores',
    'UncertaintyScores',
    'best_constant',
    'confident_rmse',
    'mean_scores',
    'measure',
    'median_depth',
    'metric_names',
    'pixel_scores',
    'pool_scores',
    'rank_correlation',
    'row_means',
    'score',
    'score_uncertainty',
    'sparsification_curve',
    'sparsification_error',
]
