"""One line of a table of results."""

from __future__ import annotations

from dataclasses import dataclass

from .scores import Scores


@dataclass(frozen=True)
class Result:
    """Scores of one model, or baseline, over the frames of one set, pooled as `protocol` does."""

    model: str
    data: str
    protocol: str
    frames: int
    metrics: Scores
