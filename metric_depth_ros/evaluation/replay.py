"""A bag played to a model: every frame predicted, recorded and scored.

Where the predictions come from is the caller's affair: `predict_frames` asks a predictor for every
frame; playing the bag to a running node yields the same Outcomes, some of them drops.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ..bags.reader import Bag, BagFrame, Problem
from ..bags.topics import TF_TYPE, Topics
from ..types import DepthPrediction, Frame
from .evaluation import DEFAULT_PROTOCOLS, EvaluatedFrame, Evaluation, Moment, all_results
from .frame_scores import score_frame
from .metrics import MetricsError, Scores
from .recording import Recorder
from .results import Result


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
    scores: one for each of DEFAULT_PROTOCOLS; empty without true depth or prediction.
    """

    stamp_ns: int
    frame_id: str
    recorded_ns: int
    dropped: bool
    latency_s: float | None
    scores: dict[str, Scores] = field(default_factory=dict)


@dataclass(frozen=True)
class ReplayReport:
    """Everything a replay found out.

    evaluation: of the frames with a prediction and true depth.
    results: of the model and of the baselines.
    duration_s: of the whole replay, by the wall clock.
    """

    bag: Path
    model: str
    topics: Topics
    frames: tuple[FrameRecord, ...]
    evaluation: Evaluation
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

    Frames stream through: of each only its numbers and few of its pixels are kept.

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
    scored: list[EvaluatedFrame] = []
    for outcome in outcomes:
        frame, prediction = outcome.frame, outcome.prediction
        for message in frame.recorded:
            recorder.copy(message)
        found = None
        if prediction is not None:
            recorder.write(frame.frame, prediction, frame.recorded_ns)
            found = _score(outcome, bag.path.stem)
        if found is not None:
            scored.append(found)
        records.append(
            FrameRecord(
                stamp_ns=frame.frame.stamp_ns,
                frame_id=frame.frame.frame_id,
                recorded_ns=frame.recorded_ns,
                dropped=prediction is None,
                latency_s=outcome.latency_s,
                scores={} if found is None else found.scored.scores,
            )
        )
        if progress is not None:
            progress(outcome)
    evaluation = Evaluation(model, bag.path.name, DEFAULT_PROTOCOLS, tuple(scored))
    return ReplayReport(
        bag=bag.path,
        model=model,
        topics=topics,
        frames=tuple(records),
        evaluation=evaluation,
        results=tuple(all_results([evaluation])),
        problems=tuple(bag.problems),
        duration_s=time.perf_counter() - start,
    )


def _score(outcome: Outcome, sequence: str) -> EvaluatedFrame | None:
    """The scores of a predicted frame; None if no pixel has true depth that counts."""
    frame, prediction = outcome.frame, outcome.prediction
    if prediction is None or frame.depth is None:
        return None
    try:
        scored = score_frame(
            prediction.depth,
            prediction.std,
            frame.depth,
            frame.frame.camera,
            DEFAULT_PROTOCOLS,
            boundaries=True,
        )
    except MetricsError:
        return None
    stamp = frame.frame.stamp_ns / 1e9
    return EvaluatedFrame(f'{stamp:.6f}', scored, outcome.latency_s, Moment(stamp, sequence))
