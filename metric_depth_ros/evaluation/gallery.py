"""A few telling frames as pictures: of a replay, read back from its bag, or predicted again."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from ..bags.reader import Bag, BagError, BagFrame, BagMessage, deserialize
from ..messages import depth_from_message
from ..types import DepthPrediction
from .evaluate import predict_again
from .evaluation import EvaluatedFrame, Evaluation, chosen_frames
from .frame_scores import aligned
from .frame_sets import FrameSet
from .metrics import PLAIN, Scores
from .page import Picture
from .pictures import save_clouds, save_comparison, save_overview
from .recording import DEPTH_TOPIC, UNCERTAINTY_TOPIC, recorded_name
from .replay import FrameRecord, ReplayReport
from .sources import Source

# Camera_info and true depth of an image are recorded within this time of it.
_AROUND_NS = 1_000_000_000


def save_gallery(report: ReplayReport, recording: Path, folder: Path) -> list[Path]:
    """Draw the best, the median and the worst frame by AbsRel, and the median one's cloud.

    Without true depth: the first, the middle and the last frame.

    Args:
        report: of the replay that wrote `recording`.
        recording: the bag with the predictions.
        folder: where to put the pictures.

    Returns:
        The files written; none where nothing was predicted.
    """
    files: list[Path] = []
    with Bag(recording) as bag:
        for name, record in choose_frames(report).items():
            frame, prediction = _read_back(bag, report, record)
            show = (frame.frame, prediction, frame.depth, _title(report, name, record))
            files.append(folder / f'frame_{name}.png')
            save_comparison(files[-1], *show)
            if name in ('median', 'middle'):
                files += [folder / 'cloud_side.png', folder / 'overview.png']
                save_clouds(files[-2], *show)
                save_overview(files[-1], *show)
    return files


def choose_frames(report: ReplayReport) -> dict[str, FrameRecord]:
    """The frames worth a picture: median, best, worst; or middle, first, last without truth."""
    scored = [f for f in report.processed if f.scores]
    if scored:
        scored.sort(key=lambda f: f.scores[PLAIN.name].abs_rel)
        names, frames = ('best', 'median', 'worst'), tuple(scored)
    else:
        names, frames = ('first', 'middle', 'last'), report.processed
    if not frames:
        return {}
    chosen = {names[1]: frames[len(frames) // 2]}
    for name, frame in ((names[0], frames[0]), (names[2], frames[-1])):
        if frame not in chosen.values():  # a bag may have one frame or two
            chosen[name] = frame
    return chosen


def save_frames(
    source: Source, frames: FrameSet, evaluation: Evaluation, folder: Path
) -> tuple[Picture, ...]:
    """Draw the best, the median and the worst frame of an evaluation by its first protocol.

    Depth is shown as that protocol aligns it.

    Args:
        source, frames: what was evaluated; the few frames are predicted once more.
        folder: where to put the pictures; made if need be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    chosen = {
        frame.name: (rank, frame) for rank, frame in chosen_frames(evaluation.frames).items()
    }
    pictures: dict[str, Picture] = {}
    for found in predict_again(source, frames, chosen):
        rank, frame = chosen[found.name]
        path = folder / f'{_file_name(evaluation)}_{rank}.jpg'
        sample, prediction = found.sample, found.prediction
        depth, std = aligned(
            prediction.depth, prediction.std, sample.depth, evaluation.protocols[0]
        )
        shown = replace(prediction, depth=depth, std=std)
        save_comparison(path, sample.frame, shown, sample.depth)
        pictures[rank] = Picture(_caption(rank, frame, evaluation), path)
    return tuple(pictures[rank] for rank in ('best', 'median', 'worst') if rank in pictures)


def _caption(rank: str, frame: EvaluatedFrame, evaluation: Evaluation) -> str:
    scores = frame.scored.scores[evaluation.protocols[0].name]
    return f'{rank} of {len(evaluation.frames)} frames, {frame.name}: {_numbers(scores)}'


def _file_name(evaluation: Evaluation) -> str:
    return re.sub(r'\W+', '-', f'{evaluation.model} {evaluation.data}').strip('-')


def _numbers(scores: Scores) -> str:
    return f'AbsRel {scores.abs_rel:.3f}, RMSE {scores.rmse:.2f} m, δ1 {scores.delta1:.3f}'


def _read_back(
    bag: Bag, report: ReplayReport, record: FrameRecord
) -> tuple[BagFrame, DepthPrediction]:
    start, stop = record.recorded_ns - _AROUND_NS, record.recorded_ns + _AROUND_NS
    topics = replace(
        report.topics,
        image=recorded_name(report.topics.image),
        camera_info=recorded_name(report.topics.camera_info),
        depth=recorded_name(report.topics.depth) if report.topics.depth else None,
    )
    for frame in bag.frames(topics, start_ns=start, stop_ns=stop):
        if frame.frame.stamp_ns == record.stamp_ns:
            break
    else:
        raise BagError(f'{bag.path}: the image of stamp {record.stamp_ns} is not in it')
    newest: dict[str, BagMessage] = {}
    for message in bag.messages(
        (DEPTH_TOPIC, UNCERTAINTY_TOPIC), record.recorded_ns, record.recorded_ns + 1
    ):
        newest[message.topic] = message
    depth, std = (
        depth_from_message(deserialize(newest[topic]))
        for topic in (DEPTH_TOPIC, UNCERTAINTY_TOPIC)
    )
    camera, stamp_ns = frame.frame.camera, record.stamp_ns
    return frame, DepthPrediction(depth, std, camera, stamp_ns, record.frame_id)


def _title(report: ReplayReport, name: str, record: FrameRecord) -> str:
    title = f'{report.model} on {report.bag.name}, {name} frame'
    if not record.scores:
        return title
    return f'{title}: {_numbers(record.scores[PLAIN.name])}'
