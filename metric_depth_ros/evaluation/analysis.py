"""Where a model errs: by distance, at edges, over time, and by what its error bar says."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .boundaries import BoundaryScores
from .evaluation import Evaluation
from .frame_scores import comparable
from .metrics import (
    MetricsError,
    UncertaintyScores,
    confident_rmse,
    score_uncertainty,
    sparsification_curve,
)
from .sequences import SequenceScores, score_sequences

# Metres; errors are told for the pixels between two neighbours.
DISTANCES_M = (0.1, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0, 10.0, 15.0, 20.0, 30.0, 50.0, 80.0,
               120.0, 200.0, 350.0)  # fmt: skip
_ENOUGH_PIXELS = 20  # to tell a mean of
_MOST_PIXELS = 200_000
_SHARES = tuple(step / 40 for step in range(1, 41))


@dataclass(frozen=True)
class DistanceError:
    """Of the pixels whose truth is between near and far, metres; pixels: how many were looked at.

    bias: median of (prediction - truth) / truth; above 0 is too far.
    """

    near: float
    far: float
    pixels: int
    abs_rel: float
    rmse: float
    bias: float


@dataclass(frozen=True)
class UncertaintyCurves:
    """What is left of the error when the least sure pixels are taken away.

    kept: shares of the pixels, growing to 1. sparsification: their mean absolute error over that
        of all, the surest kept first; oracle: the same with the error itself as the uncertainty.
    rmse: metres, of the surest share (GRIN Fig. 5b).
    """

    kept: tuple[float, ...]
    sparsification: tuple[float, ...]
    oracle: tuple[float, ...]
    rmse: tuple[float, ...]


@dataclass(frozen=True)
class Analysis:
    """Of one model on one set.

    uncertainty, curves: None where there is no error bar.
    boundaries: mean over frames; None where nobody asked.
    sequences: of which anything can be told.
    """

    by_distance: tuple[DistanceError, ...] = ()
    uncertainty: UncertaintyScores | None = None
    curves: UncertaintyCurves | None = None
    boundaries: BoundaryScores | None = None
    sequences: tuple[SequenceScores, ...] = ()


def analyse(evaluation: Evaluation, *, still: bool = False) -> Analysis:
    """By the first protocol; all but the boundaries on a few thousand pixels a frame.

    Args:
        still: nothing moves in this set, neither the camera nor the scene.
    """
    return replace(
        _analyse_pixels(evaluation),
        boundaries=evaluation.boundaries(),
        sequences=score_sequences(evaluation, still=still),
    )


def _analyse_pixels(evaluation: Evaluation) -> Analysis:
    """What pixels tell regardless of where and when they were; every pixel counts alike."""
    frames = [frame.scored for frame in evaluation.frames]
    try:
        d, s, t = comparable(frames, evaluation.protocols[0])
    except MetricsError:
        return Analysis()
    known = torch.isfinite(s)
    if int(known.sum()) < 2:
        return Analysis(_by_distance(d, t))
    few = _few(known)
    d_known, s_known, t_known = d[few], s[few], t[few]
    return Analysis(
        _by_distance(d, t),
        score_uncertainty(d_known, s_known, t_known),
        _curves((d_known - t_known).abs(), s_known),
    )


def _few(known: Tensor) -> Tensor:
    """Indices of at most so many True, the same every time."""
    index = known.nonzero()[:, 0]
    if len(index) <= _MOST_PIXELS:
        return index
    order = torch.randperm(len(index), generator=torch.Generator().manual_seed(0))
    return index[order[:_MOST_PIXELS]]


def _by_distance(depth: Tensor, truth: Tensor) -> tuple[DistanceError, ...]:
    found = []
    for near, far in itertools.pairwise(DISTANCES_M):
        within = (truth >= near) & (truth < far)
        count = int(within.sum())
        if count < _ENOUGH_PIXELS:
            continue
        d, t = depth[within].to(torch.float64), truth[within].to(torch.float64)
        relative = (d - t) / t
        found.append(
            DistanceError(
                near,
                far,
                count,
                float(relative.abs().mean()),
                float((d - t).square().mean().sqrt()),
                float(relative.median()),
            )
        )
    return tuple(found)


def _curves(error: Tensor, std: Tensor) -> UncertaintyCurves:
    ends = [max(1, round(share * len(error))) - 1 for share in _SHARES]
    if not bool((error > 0).any()):  # without any error there is no share of it
        flat = tuple(1.0 for _ in _SHARES)
        return UncertaintyCurves(_SHARES, flat, flat, tuple(0.0 for _ in _SHARES))
    return UncertaintyCurves(
        _SHARES,
        tuple(sparsification_curve(error, std)[ends].tolist()),
        tuple(sparsification_curve(error, error)[ends].tolist()),
        tuple(confident_rmse(error, std, share) for share in _SHARES),
    )
