"""One model on one set of frames: every frame's scores, what had none, and their means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .boundaries import BoundaryScores, mean_boundaries
from .frame_scores import FrameScores
from .metrics import PROTOCOLS, Protocol, best_constant, median_depth, row_means
from .quantity import QuantityVerdict, quantity_verdict
from .results import Result

# What is scored unless a protocol is asked for: depth at its word, and with its scale forgiven.
DEFAULT_PROTOCOLS = (PROTOCOLS['plain'], PROTOCOLS['plain-median'])


@dataclass(frozen=True)
class Moment:
    """When and where a frame was taken.

    stamp: seconds. sequence: frames of one sequence follow each other in time; '' of none.
    pose: 16 numbers, row by row, of world_from_camera; None where unknown.
    """

    stamp: float
    sequence: str
    pose: tuple[float, ...] | None = None


@dataclass(frozen=True)
class EvaluatedFrame:
    """A frame that was scored.

    seconds: what its prediction took, None if nobody measured. moment: None if nobody knows.
    """

    name: str
    scored: FrameScores
    seconds: float | None = None
    moment: Moment | None = None

    @property
    def abs_rel(self) -> float:
        """By the first protocol; NaN without any prediction."""
        return next(iter(self.scored.scores.values())).abs_rel


@dataclass(frozen=True)
class Unscored:
    """A frame that could not be scored, and why, in one line."""

    name: str
    reason: str


@dataclass(frozen=True)
class Evaluation:
    """What came out of one model on one set of frames, in the order of the set."""

    model: str
    data: str
    protocols: tuple[Protocol, ...]
    frames: tuple[EvaluatedFrame, ...]
    unscored: tuple[Unscored, ...] = ()

    def results(self) -> list[Result]:
        """Scores over all frames by every protocol; [] without frames."""
        if not self.frames:
            return []
        return [
            Result(
                self.model,
                self.data,
                protocol.name,
                len(self.frames),
                protocol.pool([frame.scored.scores[protocol.name] for frame in self.frames]),
            )
            for protocol in self.protocols
        ]

    def boundaries(self) -> BoundaryScores | None:
        """Mean over the frames whose edges were looked at; None without any."""
        drawn = [frame.scored.boundaries for frame in self.frames]
        known = [scores for scores in drawn if scores is not None]
        return mean_boundaries(known) if known else None

    def quantity(self) -> QuantityVerdict:
        """Whether predictions or truths look like ray distance where depth is meant."""
        evidence = (frame.scored.quantity for frame in self.frames)
        return quantity_verdict([e for e in evidence if e is not None])


def warnings(evaluations: Sequence[Evaluation]) -> list[str]:
    """A line for each whose numbers are not what they seem, because depth was misread."""
    found = ((e, e.quantity().warning()) for e in evaluations)
    return [f'{e.model} on {e.data}: {warning}' for e, warning in found if warning]


def all_results(evaluations: Sequence[Evaluation]) -> list[Result]:
    """Results of all, those of the baselines after the models of each set."""
    found: list[Result] = []
    for data in dict.fromkeys(evaluation.data for evaluation in evaluations):
        of_data = [evaluation for evaluation in evaluations if evaluation.data == data]
        for evaluation in of_data:
            found += evaluation.results()
        found += _baselines(of_data)
    return found


def chosen_frames(frames: Sequence[EvaluatedFrame]) -> dict[str, EvaluatedFrame]:
    """The median, best and worst frame by AbsRel; fewer of fewer than three frames."""
    ranked = sorted((f for f in frames if f.abs_rel == f.abs_rel), key=lambda f: f.abs_rel)
    if not ranked:
        return {}
    chosen = {'median': ranked[len(ranked) // 2]}
    for name, frame in (('best', ranked[0]), ('worst', ranked[-1])):
        if frame.name not in [other.name for other in chosen.values()]:
            chosen[name] = frame
    return chosen


def _baselines(evaluations: Sequence[Evaluation]) -> list[Result]:
    """Of every frame that any of the models of one set was scored on."""
    frames = {frame.name: frame for evaluation in evaluations for frame in evaluation.frames}
    truths = _of_one_size([frame.scored.thin[2] for frame in frames.values()])
    if not truths:
        return []
    first = evaluations[0]
    rows = row_means(truths)
    guesses = {
        'best constant': torch.full_like(truths[0], best_constant(truths)),
        'median depth': torch.full_like(truths[0], median_depth(truths)),
        'per-row mean': rows[:, None].expand(truths[0].shape),
    }
    results = []
    for protocol in first.protocols:
        # What is kept of the frames is cropped already, and is what the protocol compares.
        here = _on_what_is_kept(protocol)
        for name, guess in guesses.items():
            scores = here.pool([here.score(guess, truth) for truth in truths])
            results.append(Result(name, first.data, protocol.name, len(truths), scores))
    return results


def _on_what_is_kept(protocol: Protocol) -> Protocol:
    return replace(protocol, crop='none', quantity='depth')


def _of_one_size(truths: Sequence[Tensor]) -> list[Tensor]:
    """Those that have any depth, (h, w) each, on the grid of the smallest; nearest pixels."""
    known = [truth for truth in truths if bool(torch.isfinite(truth).any())]
    if not known:
        return []
    height, width = (min(truth.shape[axis] for truth in known) for axis in (0, 1))
    sized = [
        truth[_spread(truth.shape[0], height)][:, _spread(truth.shape[1], width)]
        for truth in known
    ]
    return [truth for truth in sized if bool(torch.isfinite(truth).any())]


def _spread(length: int, count: int) -> Tensor:
    """(count,) indices of `length`, evenly spread."""
    return ((torch.arange(count) + 0.5) * length / count).long()
