"""Which pixels of a depth map a map may trust, and how much each one is worth."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .. import geometry
from ..types import Camera, DepthPrediction
from .view import MappingError

_NORMAL_REACH = 2  # pixels either side that a surface normal is taken over
_MIN_COSINE = 0.1  # 84 degrees: a surface seen flatter than this is as good as not seen


@dataclass(frozen=True)
class Gates:
    """Limits a pixel has to keep to be fused; inf turns one off.

    min_depth, max_depth: metres along z.
    max_relative_std: standard deviation over depth.
    max_jump: bend of inverse depth between three neighbours, relative; what is beyond lies at a
        depth edge, where pixels mix foreground and background. A plane, however slanted, has no
        bend; what three standard deviations explain is noise and passes.
    assumed_relative_std: standard deviation over depth where std is NaN (unknown).

    Raises:
        MappingError: a limit is not positive, or min_depth is not below max_depth.
    """

    min_depth: float = 0.1
    max_depth: float = 10.0
    max_relative_std: float = 0.25
    max_jump: float = 0.1
    assumed_relative_std: float = 0.05

    def __post_init__(self) -> None:
        for name in ('max_depth', 'max_relative_std', 'max_jump', 'assumed_relative_std'):
            _expect_positive(f'gate {name}', getattr(self, name))
        if not 0 <= self.min_depth < self.max_depth:
            raise MappingError(
                f'gate min_depth is {self.min_depth}, expected from 0 to max_depth, '
                f'{self.max_depth}'
            )


@dataclass(frozen=True)
class GateCounts:
    """Pixels of one view: each is used, or counted once under the first reason against it.

    no_depth: NaN, infinite, or not positive. range: nearer or further than the gates allow. std:
    too uncertain, infinite, or negative, which no deviation is. edges: at a depth edge.
    """

    pixels: int
    used: int
    no_depth: int
    range: int
    std: int
    edges: int


@dataclass(frozen=True)
class GatedDepth:
    """(H, W) depth and std in metres, both NaN where gated and nowhere else."""

    depth: Tensor
    std: Tensor
    counts: GateCounts


def gate(prediction: DepthPrediction, gates: Gates) -> GatedDepth:
    """The pixels that keep the limits, on the device of the prediction."""
    depth = prediction.depth
    std = torch.where(prediction.std.isnan(), gates.assumed_relative_std * depth, prediction.std)
    has_depth = depth.isfinite() & (depth > 0)
    in_range = (depth >= gates.min_depth) & (depth <= gates.max_depth)
    certain = (std >= 0) & (std <= gates.max_relative_std * depth) & std.isfinite()
    smooth = _bend(depth) <= gates.max_jump + 3 * std / depth

    left = torch.ones_like(has_depth)
    lost = []
    for passes in (has_depth, in_range, certain, smooth):
        kept = left & passes
        lost.append(int(left.sum() - kept.sum()))
        left = kept
    return GatedDepth(
        depth=torch.where(left, depth, torch.nan),
        std=torch.where(left, std, torch.nan),
        counts=GateCounts(left.numel(), int(left.sum()), *lost),
    )


def _bend(depth: Tensor) -> Tensor:
    """(H, W) largest second difference of inverse depth along rows and columns, times depth.

    Inverse depth is linear in the pixels of a plane. 0 where a neighbour is missing.
    """
    inverse = torch.where(depth.isfinite() & (depth > 0), 1 / depth, torch.nan)
    bend = torch.zeros_like(depth)
    across = (inverse[:, 2:] - 2 * inverse[:, 1:-1] + inverse[:, :-2]).abs().nan_to_num(0.0)
    down = (inverse[2:] - 2 * inverse[1:-1] + inverse[:-2]).abs().nan_to_num(0.0)
    bend[:, 1:-1] = across
    bend[1:-1] = torch.maximum(bend[1:-1], down)
    return bend * depth


@dataclass(frozen=True)
class Weighting:
    """What a pixel counts for in a map: at most 1, the product of three terms.

    std: (min_std / std)^2, the inverse variance, which is the best weight of independent errors.
    angle: cosine between the viewing ray and the surface's normal.
    range: (voxel_size / footprint)^2 where a pixel covers more than a voxel, footprint being
        depth / focal length: what was seen in finer detail shall not be blurred by what was not.
    min_std: metres; below it the first term is 1. Errors of the pose are never smaller.
    max_total: a voxel's weight stops growing here, so that the map can follow a changed world.

    A term that is False is 1.

    Raises:
        MappingError: min_std or max_total is not positive.
    """

    std: bool = True
    angle: bool = True
    range: bool = True
    min_std: float = 0.005
    max_total: float = 250.0

    def __post_init__(self) -> None:
        _expect_positive('weighting min_std', self.min_std)
        _expect_positive('weighting max_total', self.max_total)

    @classmethod
    def uniform(cls) -> Weighting:
        """Every pixel counts the same: the plain fusion of Curless and Levoy 1996."""
        return cls(std=False, angle=False, range=False)

    def of(self, depth: Tensor, std: Tensor, camera: Camera, voxel_size: float) -> Tensor:
        """(H, W) float32 in [0, 1], 0 where there is no depth.

        Args:
            depth, std: (H, W) metres, as `gate` leaves them.
        """
        weight = torch.ones_like(depth)
        if self.std:
            weight *= (self.min_std / std.clamp_min(self.min_std)) ** 2
        if self.angle:
            weight *= viewing_cosine(depth, camera)
        if self.range:
            footprint = depth / math.sqrt(camera.fx * camera.fy)
            weight *= (voxel_size / footprint).clamp_max(1.0) ** 2
        return torch.where(depth.isfinite(), weight, 0.0)


def viewing_cosine(depth: Tensor, camera: Camera) -> Tensor:
    """(H, W) cosine between ray and surface normal, at least 0.1; NaN where there is no depth.

    The normal is that of central differences over smoothed points, so that it follows the surface
    rather than the noise. 1 where the neighbours say nothing.
    """
    points = geometry.unproject(depth, camera)
    smooth = _box_mean(points)
    reach = _NORMAL_REACH
    padded = F.pad(smooth.permute(2, 0, 1), (reach,) * 4, mode='replicate').permute(1, 2, 0)
    across = padded[reach:-reach, 2 * reach :] - padded[reach:-reach, : -2 * reach]
    down = padded[2 * reach :, reach:-reach] - padded[: -2 * reach, reach:-reach]
    normal = torch.linalg.cross(across, down)
    ray = geometry.rays(camera, device=depth.device, dtype=depth.dtype)
    cosine = (normal * ray).sum(-1).abs() / normal.norm(dim=-1)
    cosine = cosine.nan_to_num(1.0).clamp_min(_MIN_COSINE)
    return torch.where(points[..., 2].isfinite(), cosine, torch.nan)


def _box_mean(points: Tensor) -> Tensor:
    """(H, W, 3) mean of the finite points around each pixel; NaN where there is none."""
    seen = points.isfinite().all(-1, keepdim=True)
    stacked = torch.cat((torch.where(seen, points, 0.0), seen.to(points.dtype)), -1)
    size = 2 * _NORMAL_REACH + 1
    mean = F.avg_pool2d(stacked.permute(2, 0, 1)[None], size, 1, _NORMAL_REACH)[0]
    return (mean[:3] / mean[3:]).permute(1, 2, 0)


def _expect_positive(name: str, value: float) -> None:
    if not value > 0:
        raise MappingError(f'{name} is {value}, expected a positive number')
