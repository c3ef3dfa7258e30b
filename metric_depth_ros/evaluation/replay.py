"""A bag played to a model: every frame predicted, recorded and scored.

Where the predictions come from is the caller's affair: `predict_frames` asks a predictor for every
frame; playing the bag to a running node yields the same Outcomes, some of them drops.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from ..bags.reader import Bag, BagFrame, Problem
from ..bags.topics import TF_TYPE, Topics
from ..types import DepthPrediction, Frame
from .metrics import (
    PLAIN,
    PLAIN_MEDIAN,
    EvaluationProtocol,
    Scores,
    best_constant,
    mean_scores,
    median_depth,
    row_means,
)
from .recording import Recorder

PROTOCOLS = (PLAIN, PLAIN_MEDIAN)
# Baselines see about this many pixels of each frame: plenty for them, and long bags fit in memory.
_BASELINE_PIXELS = 5000


@dataclass(frozen=True)
class Outcome:
    """What became of one frame; prediction is None where the frame was dropped.

    latency_s: from the frame going in to its depth coming out, seconds.
    """

    frame: BagFrame
    prediction: DepthPrediction | None
    latency_s: float | None


@dataclass(frozen=True)
class FrameRecord:
    """One frame in the report.

    latency_s: as of Outcome.
    scores: one for each of PROTOCOLS; empty without true depth or prediction.
    """

    stamp_ns: int
    frame_id: str
    recorded_ns: int
    dropped: bool
    latency_s: float | None
    scores: dict[str, Scores] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """Mean scores of one model, or baseline, over the frames of one bag."""

    model: str
    data: str
    protocol: str
    frames: int
    metrics: Scores


@dataclass(frozen=True)
class ReplayReport:
    """Everything a replay found out. duration_s: of the whole replay, by the wall clock."""

    bag: Path
    model: str
    topics: Topics
    frames: tuple[FrameRecord, ...]
    results: tuple[Result, ...]
    problems: tuple[Problem, ...]
    duration_s: float

    @property
    def processed(self) -> tuple[FrameRecord, ...]:
        """The frames that have a prediction."""
        return tuple(f for f in self.frames if not f.dropped)

    @property
    def dropped(self) -> tuple[FrameRecord, ...]:
        """The frames that have none."""
        return tuple(f for f in self.frames if f.dropped)

    @property
    def rate_hz(self) -> float:
        """Predictions per second of wall-clock time."""
        return len(self.processed) / self.duration_s

    def latency_s(self, quantile: float) -> float | None:
        """Quantile (0 to 1) of the latency, seconds; None without predictions."""
        latencies = [f.latency_s for f in self.frames if f.latency_s is not None]
        if not latencies:
            return None
        return float(torch.tensor(latencies, dtype=torch.float64).quantile(quantile))


def predict_frames(
    frames: Iterable[BagFrame], predictor: Callable[[Frame], DepthPrediction]
) -> Iterator[Outcome]:
    """The prediction of every frame, one after the other; nothing is dropped."""
    for frame in frames:
        start = time.perf_counter()
        prediction = predictor(frame.frame)
        yield Outcome(frame, prediction, time.perf_counter() - start)


def replay(
    bag: Bag,
    topics: Topics,
    outcomes: Iterable[Outcome],
    recorder: Recorder,
    *,
    model: str,
    progress: Callable[[Outcome], None] | None = None,
) -> ReplayReport:
    """Record and score what became of every frame of `bag`.

    Frames stream through: of each only its numbers and a thinned true depth are kept.

    Args:
        bag: the open bag that `outcomes` are made of; its transforms are copied.
        topics: what the frames were read from.
        outcomes: one for every frame, in order.
        recorder: open; gets the recorded messages and our topics of every frame.
        model: what to call the model in the report.
        progress: called after every frame.
    """
    start = time.perf_counter()
    for message in bag.messages([t for t, kind in bag.topics.items() if kind == TF_TYPE]):
        recorder.copy(message)
    records: list[FrameRecord] = []
    truths: list[Tensor] = []
    for outcome in outcomes:
        for message in outcome.frame.recorded:
            recorder.copy(message)
        if outcome.prediction is not None:
            frame = outcome.frame
            recorder.write(frame.frame, outcome.prediction, frame.recorded_ns)
        records.append(_record(outcome))
        if records[-1].scores and outcome.frame.depth is not None:
            truths.append(_thinned(outcome.frame.depth))
        if progress is not None:
            progress(outcome)
    data = bag.path.name
    results = [
        Result(model, data, protocol.name, len(truths), mean)
        for protocol in PROTOCOLS
        if (mean := _mean(records, protocol)) is not None
    ]
    return ReplayReport(
        bag=bag.path,
        model=model,
        topics=topics,
        frames=tuple(records),
        results=(*results, *_baselines(truths, data)),
        problems=tuple(bag.problems),
        duration_s=time.perf_counter() - start,
    )


def _record(outcome: Outcome) -> FrameRecord:
    frame, prediction, truth = outcome.frame.frame, outcome.prediction, outcome.frame.depth
    record = FrameRecord(
        stamp_ns=frame.stamp_ns,
        frame_id=frame.frame_id,
        recorded_ns=outcome.frame.recorded_ns,
        dropped=prediction is None,
        latency_s=outcome.latency_s,
    )
    if prediction is None or truth is None or not bool(PLAIN.valid(truth).any()):
        return record
    scores = {p.name: p.score(prediction.depth, truth) for p in PROTOCOLS}
    return replace(record, scores=scores)


def _mean(records: Iterable[FrameRecord], protocol: EvaluationProtocol) -> Scores | None:
    scores = [r.scores[protocol.name] for r in records if r.scores]
    return mean_scores(scores) if scores else None


def _thinned(truth: Tensor) -> Tensor:
    """Every n-th pixel of every n-th row of the truth that counts, else NaN."""
    stride = max(1, round((truth.numel() / _BASELINE_PIXELS) ** 0.5))
    thin = truth[stride // 2 :: stride, stride // 2 :: stride]
    return torch.where(PLAIN.valid(thin), thin, torch.nan)


def _baselines(truths: list[Tensor], data: str) -> list[Result]:
    """Scores of the trivial baselines on the thinned truths."""
    truths = [t for t in truths if bool(torch.isfinite(t).any())]
    if not truths or len({t.shape for t in truths}) > 1:
        return []
    rows = row_means(truths)
    guesses = {
        'best constant': torch.full_like(truths[0], best_constant(truths)),
        'median depth': torch.full_like(truths[0], median_depth(truths)),
        'per-row mean': rows[:, None].expand(truths[0].shape),
    }
    return [
        Result(
            name,
            data,
            protocol.name,
            len(truths),
            mean_scores([protocol.score(guess, t) for t in truths]),
        )
        for protocol in PROTOCOLS
        for name, guess in guesses.items()
    ]
