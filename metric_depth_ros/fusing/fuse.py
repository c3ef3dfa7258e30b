"""Frames of a recording through the map that the mapping node grows, and what became of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from itertools import islice

import torch
from torch import Tensor

from ..errors import MetricDepthError
from ..mapping import View
from ..mapping.gating import GateCounts
from ..mapping.mapper import Added, Mapper
from ..mapping.trajectory import Trajectory, seconds, trajectory_of
from ..types import DepthPrediction
from .recordings import Recorded, Unusable

# Called with every frame that was fused, the view that it became, and what the map said of it.
Observer = Callable[[Recorded, View, Added], None]
Predict = Callable[[Recorded], DepthPrediction]


class FuseError(MetricDepthError):
    """A recording that no map can be made of: says why."""


@dataclass(frozen=True)
class Fused:
    """What became of the frames.

    unused: frames that the map has nothing of. pixels: of all frames that had depth and a pose,
    used or not, and why. truth: the true poses of all frames that have one.
    interrupted: not all frames were asked for, somebody stopped it.
    """

    frames: int
    unused: tuple[Unusable, ...]
    pixels: GateCounts
    truth: Trajectory
    interrupted: bool


def true_depth(recorded: Recorded) -> DepthPrediction:
    """The recorded depth; its standard deviation is not known (NaN).

    Raises:
        FuseError: the frame has none.
    """
    if recorded.depth is None:
        raise FuseError('no true depth was recorded at its time')
    frame, unknown = recorded.frame, torch.full_like(recorded.depth, torch.nan)
    return DepthPrediction(recorded.depth, unknown, frame.camera, frame.stamp_ns, frame.frame_id)


def some_of(
    frames: Iterable[Recorded | Unusable], every: int = 1, most: int | None = None
) -> Iterator[Recorded | Unusable]:
    """Every n-th frame, `most` at the most."""
    return islice(islice(frames, 0, None, every), most)


def fuse(
    frames: Iterable[Recorded | Unusable],
    mapper: Mapper,
    predict: Predict,
    *,
    own_poses: bool = False,
    hold_out: int | None = None,
    observers: Sequence[Observer] = (),
    show: Callable[[], None] | None = None,
) -> Fused:
    """Add frame after frame to the map. A frame of no use costs itself, never the map.

    Interrupted from the keyboard, it ends with the map so far.

    Args:
        frames: in order of time.
        predict: the depth of a frame.
        own_poses: odometry says where the camera is; the first true pose, if there is one, only
            says where it begins, so that the map lies where it would with true poses.
        hold_out: every so manyth frame teaches the Gaussians nothing, for them to be judged by.
        observers: see Observer.
        show: called after every frame.

    Raises:
        FuseError: no frame could be fused: says why the first could not.
        MappingError, OSError: what the limit of memory drops, or an observer's file, cannot be
            written.
    """
    unused: list[Unusable] = []
    pixels: list[GateCounts] = []
    truth: list[tuple[int, Tensor]] = []
    count, newest_ns, interrupted = 0, -1, False
    try:
        for item in frames:
            if isinstance(item, Unusable):
                unused.append(item)
                continue
            count += 1
            stamp_ns = item.frame.stamp_ns
            if stamp_ns <= newest_ns:
                why = f'its stamp is not later than {seconds(newest_ns)} s, of the one before'
            else:
                newest_ns = stamp_ns
                if item.world_from_camera is not None:
                    truth.append((stamp_ns, item.world_from_camera))
                held_out = hold_out is not None and count % hold_out == 0
                why = _add(item, mapper, predict, own_poses, held_out, observers, pixels)
            if why:
                unused.append(Unusable(item.name, why))
            if show is not None:
                show()
    except KeyboardInterrupt:
        interrupted = True
    if not mapper.stats.frames:
        if interrupted:
            raise KeyboardInterrupt
        raise FuseError(
            f'no frame could be fused: {unused[0].name}: {unused[0].reason}'
            if unused
            else 'no frame could be fused: there is none'
        )
    return Fused(count, tuple(unused), _sum(pixels), trajectory_of(truth), interrupted)


def _sum(counts: list[GateCounts]) -> GateCounts:
    return GateCounts(*(sum(column) for column in zip(*map(astuple, counts), strict=True)))


def _add(
    item: Recorded,
    mapper: Mapper,
    predict: Predict,
    own_poses: bool,
    held_out: bool,
    observers: Sequence[Observer],
    pixels: list[GateCounts],
) -> str:
    """Add one frame; why the map learnt nothing of it, in one line, empty where it did."""
    pose = item.world_from_camera
    if not own_poses and pose is None:
        return item.why_no_pose or 'its pose is not known'
    try:
        prediction = predict(item)
    except FuseError as error:
        return str(error)
    if own_poses and pose is not None and not mapper.stats.frames:
        mapper.start_at(pose)
    used = None if own_poses else pose
    added = mapper.add(item.frame, prediction, used, held_out=held_out)
    if added.fused is not None:
        pixels.append(added.fused.gates)
    if not added.why:
        view = View(item.frame, prediction, added.world_from_camera)
        for observer in observers:
            observer(item, view, added)
    return added.why
