"""The pictures of a replay: a few telling frames, read back from the bag that it wrote."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..bags.reader import Bag, BagError, BagFrame, BagMessage, deserialize
from ..messages import depth_from_message
from ..types import DepthPrediction
from .metrics import PLAIN
from .pictures import save_clouds, save_comparison, save_overview
from .recording import DEPTH_TOPIC, UNCERTAINTY_TOPIC, recorded_name
from .replay import FrameRecord, ReplayReport

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
    scores = record.scores[PLAIN.name]
    return (
        f'{title}: AbsRel {scores.abs_rel:.3f}, RMSE {scores.rmse:.2f} m, δ1 {scores.delta1:.3f}'
    )
