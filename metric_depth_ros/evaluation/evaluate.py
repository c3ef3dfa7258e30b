"""A source of predictions on a set of frames, scored frame by frame; resumable."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from ..errors import MetricDepthError
from ..types import DepthPrediction
from .datasets import Sample
from .evaluation import DEFAULT_PROTOCOLS, EvaluatedFrame, Evaluation, Moment, Unscored
from .frame_scores import score_frame
from .frame_sets import FrameFile, FrameSet
from .metrics import Protocol
from .score_cache import ScoreCache
from .sources import Source


@dataclass(frozen=True)
class PredictedFrame:
    """A frame, its truth, and what a source says of it."""

    name: str
    sample: Sample
    prediction: DepthPrediction


def evaluate(
    source: Source,
    frames: FrameSet,
    *,
    protocols: Sequence[Protocol] = DEFAULT_PROTOCOLS,
    boundaries: bool = False,
    cache: ScoreCache | None = None,
    progress: Callable[[], None] | None = None,
) -> Evaluation:
    """Score every frame that can be scored, and name the others.

    Args:
        protocols: all with one crop, range and quantity; the first one orders the frames.
        boundaries: also score how well edges are drawn.
        cache: frames that are in it are not predicted again; new ones are added.
        progress: called after every frame.
    """
    scored: list[EvaluatedFrame] = []
    unscored: list[Unscored] = []
    for file in frames:
        found = cache.get(file.name, file.mark) if cache is not None else None
        if found is None:
            try:
                found = _score(source, file, protocols, boundaries)
            except (MetricDepthError, OSError) as error:
                unscored.append(Unscored(file.name, ' '.join(str(error).split())))
            else:
                if cache is not None:
                    cache.put(found, file.mark)
        if found is not None:
            scored.append(found)
        if progress is not None:
            progress()
    return Evaluation(source.name, frames.name, tuple(protocols), tuple(scored), tuple(unscored))


def predict_again(
    source: Source, frames: FrameSet, names: Collection[str]
) -> Iterator[PredictedFrame]:
    """Frames by name, with their predictions; a source says the same every time."""
    for file in frames:
        if file.name in names:
            sample = file.read()
            yield PredictedFrame(file.name, sample, source.predict(file.name, sample.frame))


def cache_settings(
    source: Source, frames: FrameSet, protocols: Sequence[Protocol], *, boundaries: bool = False
) -> object:
    """Everything but the frame that scores depend on, as ScoreCache wants it."""
    return source.name, source.identity, frames.name, tuple(protocols), boundaries


def _score(
    source: Source, file: FrameFile, protocols: Sequence[Protocol], boundaries: bool
) -> EvaluatedFrame:
    sample = file.read()
    start = time.perf_counter()
    prediction = source.predict(file.name, sample.frame)
    seconds = time.perf_counter() - start
    scored = score_frame(
        prediction.depth,
        prediction.std,
        sample.depth,
        sample.frame.camera,
        protocols,
        boundaries=boundaries,
        edges=sample.edges,
    )
    pose = None if sample.pose is None else tuple(sample.pose.flatten().tolist())
    moment = Moment(sample.frame.stamp_ns / 1e9, sample.sequence, pose)
    return EvaluatedFrame(file.name, scored, seconds, moment)
