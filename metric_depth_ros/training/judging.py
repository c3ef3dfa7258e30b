"""How a method, or a baseline, does on a set of frames: what an ablation's table shows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import MetricDepthError
from ..evaluation.boundaries import mean_boundaries, score_boundaries
from ..evaluation.metrics import PLAIN, PLAIN_MEDIAN, Scores, mean_scores
from .batch import Batch
from .coarse import MakeCoarse
from .data import FramePool
from .schedule import seed_of
from .validation import predict

NEAR_M = 2.0

Pair = tuple[Tensor, Tensor]  # predicted and true depth (h, w), metres along z; NaN is none


@dataclass(frozen=True)
class SetScores:
    """Of one set of frames.

    plain, aligned: taken at its word, and with the scale of each frame forgiven.
    near_abs_rel: taken at its word, where the truth is nearer than NEAR_M; near_log_error: mean of
        |ln(depth / truth)| there, to which half as far is as wrong as twice as far.
    boundary_error: pixels; mean of accuracy and completeness of SharpDepth's pseudo depth
        boundaries. boundary_f1: Depth Pro's. NaN where no frame has an edge.
    """

    plain: Scores
    aligned: Scores
    near_abs_rel: float
    boundary_error: float
    boundary_f1: float
    near_log_error: float = math.nan


def judge_method(
    method: Any,
    pool: FramePool,
    *,
    seed: int,
    num_samples: int,
    regression: bool = False,
    coarse: MakeCoarse | None = None,
) -> SetScores:
    """Scores of a method on the frames of a pool that have truth.

    Args:
        regression: judge the head that regresses, without any diffusion.

    Raises:
        MetricDepthError: there is no such head.
    """

    def pairs() -> Iterable[Pair]:
        everything = range(len(pool))
        for frame in predict(
            method, pool, everything, seed=seed, num_samples=num_samples, coarse=coarse
        ):
            depth = frame.regression if regression else frame.depth
            if depth is None:
                raise MetricDepthError(
                    'the regression head is to be judged, but the method has none: expected a '
                    'config with a regression_weight above 0'
                )
            yield depth, frame.truth

    return judge(pairs())


def judge_coarse(pool: FramePool, coarse: MakeCoarse, *, seed: int) -> SetScores | None:
    """Scores of coarse depth as it is, the same that `judge_method` gives the method.

    None if it is relative: there are no metres to score.
    """
    pairs = []
    for i in range(len(pool)):
        generator = torch.Generator().manual_seed(seed_of(seed, 'coarse', i))
        batch = pool.batch([i])
        said = coarse(batch, generator)
        if not said.metric:
            return None
        pairs.append((said.values[0].cpu(), _true_depth(batch)))
    return judge(pairs)


def judge(pairs: Iterable[Pair]) -> SetScores:
    """Scores of pairs, those without truth left out; each frame counts the same."""
    plain, aligned, near, boundaries = [], [], [], []
    for depth, truth in pairs:
        if not PLAIN.valid(truth).any():
            continue
        plain.append(PLAIN.score(depth, truth))
        aligned.append(PLAIN_MEDIAN.score(depth, truth))
        near.append(_near_errors(depth, truth))
        boundaries.append(score_boundaries(depth, truth))
    edges = mean_boundaries(boundaries)
    near_abs_rel, near_log_error = torch.tensor(near).nanmean(dim=0).tolist()
    return SetScores(
        mean_scores(plain),
        mean_scores(aligned),
        near_abs_rel,
        (edges.pdbe_accuracy + edges.pdbe_completeness) / 2,
        edges.boundary_f1,
        near_log_error,
    )


def true_depths(pool: FramePool) -> Sequence[Tensor]:
    """(h, w) metres along z of every frame, NaN where there is none."""
    return [_true_depth(pool.batch([i])) for i in range(len(pool))]


def _true_depth(batch: Batch) -> Tensor:
    """(h, w) metres along z of a batch of one image."""
    return (batch.ray_distance * batch.rays[:, 2]).where(batch.valid, math.nan)[0]


def _near_errors(depth: Tensor, truth: Tensor) -> tuple[float, float]:
    """Absolute relative and absolute logarithmic error of what is near; NaN where nothing is."""
    near = PLAIN.valid(truth) & (truth < NEAR_M) & (depth > 0) & torch.isfinite(depth)
    if not near.any():
        return math.nan, math.nan
    ratio = (depth / truth)[near]
    return (ratio - 1).abs().mean().item(), ratio.log().abs().mean().item()
