"""How steady depth is over time: drift of scale, flicker, and agreement between views.

All functions are pure and take z-depth in metres, NaN = none. Poses are world_from_camera (4, 4),
of optical frames.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import geometry
from ..alignment import masked_median
from ..types import Camera

# Two depths of one point agree within this share, unless the caller says otherwise.
TOLERANCE = 0.05


@dataclass(frozen=True)
class ScaleDrift:
    """How the scale of a prediction moves along a sequence.

    scales: (F,) median of prediction / truth of each frame; NaN where a frame has neither.
    drift: least-squares slope of ln scale over time, a second: 0.01 is one percent a second.
    wander: what the whole drift from the first to the last frame comes to, as |ln| of a ratio.
    jitter: standard deviation of ln scale around that line; 0.01 is one percent.
    """

    scales: tuple[float, ...]
    drift: float
    wander: float
    jitter: float


def frame_scale(prediction: Tensor, truth: Tensor) -> float:
    """Median of prediction / truth of one frame, of any shape; NaN where they share no pixel."""
    ratio = (prediction.to(torch.float64) / truth.to(torch.float64)).flatten()
    return float(masked_median(ratio, torch.isfinite(ratio)))


def scale_drift(scales: Sequence[float], stamps: Sequence[float]) -> ScaleDrift:
    """Drift of the scales of a sequence's frames (see `frame_scale`).

    Args:
        scales: one a frame, NaN = unknown.
        stamps: seconds, of the same frames.

    Returns:
        NaN where fewer than two frames of different stamps have a scale; jitter needs three.
    """
    log_scale = torch.tensor(list(scales), dtype=torch.float64).log()
    time = torch.tensor(list(stamps), dtype=torch.float64)
    known = torch.isfinite(log_scale)
    y, t = log_scale[known], time[known]
    if len(t) < 2 or float(t.max()) == float(t.min()):
        return ScaleDrift(tuple(scales), math.nan, math.nan, math.nan)
    t = t - t.mean()
    slope = float((t * y).sum() / t.square().sum())
    rest = y - y.mean() - slope * t
    jitter = math.sqrt(float(rest.square().sum()) / (len(t) - 2)) if len(t) > 2 else math.nan
    return ScaleDrift(tuple(scales), slope, abs(slope) * float(t.max() - t.min()), jitter)


@dataclass(frozen=True)
class Flicker:
    """How depth moves where nothing moves; both are of ln depth, so 0.01 is one percent.

    spread: root mean square over the pixels of the standard deviation over the frames.
    step: mean over pixels and pairs of consecutive frames of |ln d' - ln d|.
    """

    spread: float
    step: float


def flicker(depths: Tensor) -> Flicker:
    """Flicker of predictions of a static scene from a camera that stands still.

    The truth does not come into it: a prediction that is wrong, but always in the same way, does
    not flicker. Only pixels with a finite depth in every frame count.

    Args:
        depths: (F, H, W) metres, at least two frames.

    Returns:
        NaN where no pixel is there in every frame.
    """
    log_depth = depths.to(torch.float64).flatten(1)
    log_depth = log_depth[:, torch.isfinite(log_depth).all(0) & (log_depth > 0).all(0)].log()
    if not log_depth.numel():
        return Flicker(math.nan, math.nan)
    spread = log_depth.var(dim=0).mean().sqrt()
    return Flicker(float(spread), float(log_depth.diff(dim=0).abs().mean()))


@dataclass(frozen=True)
class Consistency:
    """How two frames agree about what both see.

    mean, median: of |depth carried over - depth there| / depth there.
    agreeing: share of those pixels where that is within the tolerance.
    overlap: share of the first frame's pixels with depth that were compared.
    """

    mean: float
    median: float
    agreeing: float
    overlap: float


def reprojection_consistency(
    depth: Tensor,
    other_depth: Tensor,
    camera: Camera,
    world_from_camera: Tensor,
    world_from_other: Tensor,
    *,
    truth: Tensor | None = None,
    other_truth: Tensor | None = None,
    tolerance: float = TOLERANCE,
) -> Consistency:
    """Carry one frame's points into another frame and compare with the depth found there.

    What one frame sees and another cannot (occluded, out of the picture) says nothing of
    consistency. With the truth of both frames, only points count that both truly see; without,
    all that fall into the other picture do, occluded ones among them: look at the median then.
    Both frames have one scale error in common, which goes unseen unless the camera moves.

    Args:
        depth, other_depth: (H, W) predictions, metres along z.
        camera: of both frames.
        world_from_camera, world_from_other: (4, 4) poses of the two frames.
        truth, other_truth: (H, W) true depths, or None.
        tolerance: relative, of `agreeing` and of what the truth calls visible.

    Returns:
        NaN where nothing was compared, with an overlap of 0.
    """
    other_from_camera = torch.linalg.inv(world_from_other.to(torch.float64)) @ (
        world_from_camera.to(torch.float64)
    )
    known = torch.isfinite(depth) & (depth > 0)
    difference = _carried_difference(depth, other_depth, camera, other_from_camera)
    if truth is not None and other_truth is not None:
        seen = _carried_difference(truth, other_truth, camera, other_from_camera)
        difference = difference.where(seen <= tolerance, torch.nan)
    difference = difference[torch.isfinite(difference)]
    if not len(difference):
        return Consistency(math.nan, math.nan, math.nan, 0.0)
    return Consistency(
        mean=float(difference.mean()),
        median=float(masked_median(difference)),
        agreeing=float((difference <= tolerance).to(torch.float64).mean()),
        overlap=len(difference) / int(known.sum()),
    )


def _carried_difference(
    depth: Tensor, other_depth: Tensor, camera: Camera, other_from_camera: Tensor
) -> Tensor:
    """(H, W) float64 relative difference, at each pixel of the first frame; NaN where none."""
    points = geometry.unproject(depth.to(torch.float64), camera)
    moved = points @ other_from_camera[:3, :3].T + other_from_camera[:3, 3]
    pixels = geometry.project(moved, camera)
    there, _ = geometry.resample_depth(
        other_depth.to(torch.float64), torch.zeros_like(other_depth, dtype=torch.float64), pixels
    )
    return ((moved[..., 2] - there) / there).abs()
