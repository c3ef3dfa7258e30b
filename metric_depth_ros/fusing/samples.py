"""A few of the fused frames kept, small, to judge the map by and to show it beside."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..mapping import View
from ..mapping.gating import Gates
from ..mapping.image_scores import depth_l1, psnr, ssim
from ..mapping.key_frame import KeyFrame, key_frame
from ..mapping.mapper import Added, Mapper
from ..types import DepthPrediction
from .recordings import Recorded

_PIXELS = 320 * 240


@dataclass(frozen=True)
class Sample:
    """A fused frame. view: rectified and small, where the map has put it; its depth is what was
    fused. truth: (H, W) true depth of it, NaN where there is none. held_out: the Gaussians were
    not made to look like it."""

    name: str
    view: KeyFrame
    truth: Tensor
    held_out: bool


class Samples:
    """An observer of `fuse` that keeps frames evenly over time, at most `most` and half of them
    at least; and as many again that are no key frames of the Gaussians."""

    def __init__(self, gates: Gates, most: int = 16) -> None:
        self._gates = gates
        self._kept = {False: _Even(most), True: _Even(most)}

    def __call__(self, recorded: Recorded, view: View, added: Added) -> None:
        held_out = added.seeded is None
        for kept in (self._kept[False], *([self._kept[True]] if held_out else [])):
            if kept.wants_next():
                kept.frames.append(self._sample(recorded, view, held_out))

    @property
    def all(self) -> list[Sample]:
        """Frames of all kinds, in order of time."""
        return self._kept[False].frames

    @property
    def held_out(self) -> list[Sample]:
        """Frames that are no key frames, in order of time."""
        return self._kept[True].frames

    def _sample(self, recorded: Recorded, view: View, held_out: bool) -> Sample:
        small, _ = key_frame(view, self._gates, _PIXELS)
        truth = torch.full_like(small.depth, torch.nan)
        if recorded.depth is not None:
            frame = recorded.frame
            exact = torch.zeros_like(recorded.depth)
            known = DepthPrediction(recorded.depth, exact, frame.camera, frame.stamp_ns)
            with_truth = replace(view, prediction=known)
            truth = key_frame(with_truth, self._gates, _PIXELS)[0].depth
        return Sample(recorded.name, small, truth, held_out)


class _Even:
    """Frames at even steps; at the limit every second one goes and the step doubles."""

    def __init__(self, most: int) -> None:
        self.frames: list[Sample] = []
        self._most, self._step, self._count = most, 1, 0

    def wants_next(self) -> bool:
        wanted = self._count % self._step == 0
        self._count += 1
        if wanted and len(self.frames) == self._most:
            del self.frames[1::2]
            self._step *= 2
            wanted = (self._count - 1) % self._step == 0
        return wanted


@dataclass(frozen=True)
class SurfaceScore:
    """The map's surface as frames that are in it see it, against their true depth.

    error_m: mean absolute difference. median_m: signed, positive where the map is too far.
    abs_rel: mean of |difference| / truth. covered: share of the pixels with true depth that show
    surface. views: how many frames were asked.
    """

    error_m: float
    median_m: float
    abs_rel: float
    covered: float
    views: int


def score_surface(mapper: Mapper, samples: list[Sample]) -> SurfaceScore | None:
    """None where no sample has true depth, or none sees the surface.

    Poses are the ones that the map was made with, so this judges depth, and poses only as far as
    frames contradict each other.
    """
    known = [sample for sample in samples if bool(sample.truth.isfinite().any())]
    ours, truth = [], []
    for sample in known:
        seen = sample.truth.isfinite()
        depth = mapper.volume.render(sample.view.camera, sample.view.world_from_camera)
        ours.append(depth[seen])
        truth.append(sample.truth[seen])
    if not known:
        return None
    depth, true = torch.cat(ours), torch.cat(truth)
    hit = depth.isfinite()
    if not bool(hit.any()):
        return None
    error = depth[hit] - true[hit]
    return SurfaceScore(
        error_m=float(error.abs().mean()),
        median_m=float(error.median()),
        abs_rel=float((error.abs() / true[hit]).mean()),
        covered=float(hit.float().mean()),
        views=len(known),
    )


@dataclass(frozen=True)
class SplatScore:
    """Gaussians against photographs: means over the views.

    psnr: dB. depth_l1: metres, against true depth where there is any, else against what was
    fused; NaN where neither is known. held_out: whether the views are none of those that the
    Gaussians were fitted to.
    """

    psnr: float
    ssim: float
    depth_l1: float
    views: int
    held_out: bool


def score_splat(mapper: Mapper, samples: Samples) -> SplatScore | None:
    """By held-out frames where there are any; None without Gaussians."""
    if mapper.splat is None or not len(mapper.splat.gaussians):
        return None
    rows = []
    views = samples.held_out or samples.all
    for sample in views:
        view = sample.view
        seen = mapper.splat.render(view.camera, view.world_from_camera)
        colour = seen.colour.cpu()
        truth = sample.truth if bool(sample.truth.isfinite().any()) else view.depth
        rows.append(
            (
                psnr(colour, view.image, view.seen),
                float(ssim(colour, view.image, view.seen)),
                depth_l1(seen.depth.cpu(), truth),
            )
        )
    table = torch.tensor(rows, dtype=torch.float64)
    decibel, similarity, metres = table.nanmean(0).tolist()
    return SplatScore(decibel, similarity, metres, len(rows), bool(samples.held_out))
