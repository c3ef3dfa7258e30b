"""How steady a model is along the sequences of a set: drift, agreement of views, flicker.

Made of the few thousand pixels that are kept of every frame (`FrameScores.thin`), so nothing is
predicted again. Definitions: `temporal`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import geometry
from .evaluation import EvaluatedFrame, Evaluation
from .protocols import Protocol
from .temporal import (
    Consistency,
    Flicker,
    ScaleDrift,
    flicker,
    frame_scale,
    reprojection_consistency,
    scale_drift,
)


@dataclass(frozen=True)
class SequenceScores:
    """One model on one sequence of a set, with depth as the first protocol compares it.

    frames: how many of the sequence were scored.
    drift: None where the stamps tell no time, or where the protocol aligns the scale away.
    consistency: mean over the pairs of neighbouring frames with poses that see the same; None
        without any.
    flicker: None unless the scene and the camera are said to stand still.
    """

    sequence: str
    frames: int
    drift: ScaleDrift | None
    consistency: Consistency | None
    flicker: Flicker | None


def score_sequences(evaluation: Evaluation, *, still: bool = False) -> tuple[SequenceScores, ...]:
    """Scores of every sequence of two frames or more of which anything can be told.

    Args:
        still: nothing moves in this set, neither the camera nor the scene.
    """
    protocol = evaluation.protocols[0]
    by_name: dict[str, list[EvaluatedFrame]] = {}
    for frame in evaluation.frames:
        if frame.moment is not None and (frame.moment.sequence or still):
            by_name.setdefault(frame.moment.sequence, []).append(frame)
    found = (
        SequenceScores(
            name,
            len(frames),
            _drift(frames, protocol),
            _consistency(frames, protocol),
            _flicker(frames) if still else None,
        )
        for name, frames in by_name.items()
    )
    return tuple(s for s in found if any((s.drift, s.consistency, s.flicker)))


def _drift(frames: Sequence[EvaluatedFrame], protocol: Protocol) -> ScaleDrift | None:
    if protocol.alignment != 'none':
        return None
    scales = [frame_scale(frame.scored.thin[0], frame.scored.thin[2]) for frame in frames]
    start = _moment_stamp(frames[0])
    drift = scale_drift(scales, [_moment_stamp(frame) - start for frame in frames])
    return None if math.isnan(drift.drift) else drift


def _moment_stamp(frame: EvaluatedFrame) -> float:
    return math.nan if frame.moment is None else frame.moment.stamp


def _consistency(frames: Sequence[EvaluatedFrame], protocol: Protocol) -> Consistency | None:
    pairs = [_agreement(a, b, protocol) for a, b in itertools.pairwise(frames)]
    known = [pair for pair in pairs if pair is not None and pair.overlap > 0]
    if not known:
        return None
    count = len(known)
    return Consistency(
        mean=sum(pair.mean for pair in known) / count,
        median=sum(pair.median for pair in known) / count,
        agreeing=sum(pair.agreeing for pair in known) / count,
        overlap=sum(pair.overlap for pair in known) / count,
    )


def _agreement(
    first: EvaluatedFrame, second: EvaluatedFrame, protocol: Protocol
) -> Consistency | None:
    """Of two neighbours; None without poses or cameras, or where the cameras differ."""
    a, b = first.moment, second.moment
    camera = first.scored.thin_camera
    if a is None or b is None or a.pose is None or b.pose is None:
        return None
    if camera is None or camera != second.scored.thin_camera:
        return None
    (depth, truth), (other, other_truth) = (_depths(f, protocol) for f in (first, second))
    poses = (torch.tensor(pose, dtype=torch.float64).reshape(4, 4) for pose in (a.pose, b.pose))
    return reprojection_consistency(
        depth, other, camera, *poses, truth=truth, other_truth=other_truth
    )


def _depths(frame: EvaluatedFrame, protocol: Protocol) -> tuple[Tensor, Tensor]:
    """Kept prediction and truth (h, w), metres along z."""
    maps = frame.scored.thin[[0, 2]]
    camera = frame.scored.thin_camera
    if protocol.quantity == 'ray_distance' and camera is not None:
        maps = geometry.depth_from_ray_distance(maps, geometry.rays(camera))
    return maps[0], maps[1]


def _flicker(frames: Sequence[EvaluatedFrame]) -> Flicker | None:
    maps = [frame.scored.thin[0] for frame in frames]
    if len(maps) < 2 or len({tuple(each.shape) for each in maps}) > 1:
        return None
    found = flicker(torch.stack(maps))
    return None if math.isnan(found.spread) else found
