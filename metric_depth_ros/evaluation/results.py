"""Scores gathered over a set of frames, and those of the trivial baselines beside them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .metrics import (
    PLAIN,
    PLAIN_MEDIAN,
    Scores,
    best_constant,
    mean_scores,
    median_depth,
    row_means,
)

PROTOCOLS = (PLAIN, PLAIN_MEDIAN)
# Baselines see about this many pixels of each frame: plenty for them, and long sets fit in memory.
_BASELINE_PIXELS = 5000


@dataclass(frozen=True)
class Result:
    """Mean scores of one model, or baseline, over the frames of one set."""

    model: str
    data: str
    protocol: str
    frames: int
    metrics: Scores


class Scoreboard:
    """Scores of one model on one set of frames, added one by one.

    Args:
        model, data: what to call the two in the results.
    """

    def __init__(self, model: str, data: str) -> None:
        self._model, self._data = model, data
        self._scores: list[dict[str, Scores]] = []
        self._truths: list[Tensor] = []

    def add(self, depth: Tensor, truth: Tensor) -> dict[str, Scores]:
        """Score a frame, (H, W) metres each, by every protocol; {} if no pixel of it counts."""
        if not bool(PLAIN.valid(truth).any()):
            return {}
        scores = {protocol.name: protocol.score(depth, truth) for protocol in PROTOCOLS}
        self._scores.append(scores)
        self._truths.append(_thinned(truth))
        return scores

    def results(self) -> list[Result]:
        """Mean scores by every protocol, of the model and of the baselines; [] without frames."""
        if not self._scores:
            return []
        means = {
            p.name: mean_scores([scores[p.name] for scores in self._scores]) for p in PROTOCOLS
        }
        count = len(self._scores)
        models = [Result(self._model, self._data, name, count, m) for name, m in means.items()]
        return [*models, *self._baselines()]

    def _baselines(self) -> list[Result]:
        truths = [t for t in self._truths if bool(torch.isfinite(t).any())]
        if not truths or len({t.shape for t in truths}) > 1:
            return []
        rows = row_means(truths)
        guesses = {
            'best constant': torch.full_like(truths[0], best_constant(truths)),
            'median depth': torch.full_like(truths[0], median_depth(truths)),
            'per-row mean': rows[:, None].expand(truths[0].shape),
        }
        results = []
        for protocol in PROTOCOLS:
            for name, guess in guesses.items():
                scores = mean_scores([protocol.score(guess, t) for t in truths])
                results.append(Result(name, self._data, protocol.name, len(truths), scores))
        return results


def _thinned(truth: Tensor) -> Tensor:
    """Every n-th pixel of every n-th row of the truth that counts, else NaN."""
    stride = max(1, round((truth.numel() / _BASELINE_PIXELS) ** 0.5))
    thin = truth[stride // 2 :: stride, stride // 2 :: stride]
    return torch.where(PLAIN.valid(thin), thin, torch.nan)
