"""Depth of a map as any camera would see it: rays marched to where the distance changes sign."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import geometry
from ..types import Camera
from .block_grid import RESOLUTION, VOXELS, BlockGrid

_REFINEMENTS = 3
_CAUTION = 0.5  # of a voxel's distance a ray runs on: along another ray it may have been longer


def cast(
    grid: BlockGrid,
    camera: Camera,
    world_from_camera: Tensor,
    near: float,
    far: float,
    truncation: float,
) -> Tensor:
    """(H, W) float32 depth along z of the first surface seen from in front; NaN where none.

    Voxels of weight 0 or less do not exist. Rays run from `near` to `far` metres along z, at most
    to twice `far` along a slanted ray: by half a block where there is none, else by half the
    distance that the voxel says, at least by a voxel. Between the last two samples the crossing
    is found by trilinear interpolation and the secant.

    Args:
        world_from_camera: (4, 4) float64. truncation: metres, the unit of the voxels' distances.
    """
    ray = geometry.rays(camera, device=grid.device).reshape(-1, 3)
    chosen = (ray[:, 2] > 0).nonzero()[:, 0]  # False for NaN
    pose = world_from_camera.to(grid.device, torch.float32)
    direction = ray[chosen] @ pose[:3, :3].T
    origin, slope = pose[:3, 3], ray[chosen, 2]
    depth = torch.full((len(ray),), torch.nan, device=grid.device)

    distance, end = near / slope, (far / slope).clamp(max=2 * far)
    sdf_before = torch.full_like(distance, torch.nan)
    before = distance.clone()
    hit = torch.zeros_like(chosen, dtype=torch.bool)
    active = torch.arange(len(chosen), device=grid.device)
    while len(active):
        at = origin + direction[active] * distance[active, None]
        sdf, in_block = _nearest(grid, at)
        crossed = (sdf_before[active] > 0) & (sdf <= 0)
        hit[active[crossed]] = True
        active, sdf, in_block = active[~crossed], sdf[~crossed], in_block[~crossed]
        sdf_before[active], before[active] = sdf, distance[active]
        known = (_CAUTION * truncation * sdf).nan_to_num(0.0).clamp_min(grid.voxel_size)
        distance[active] += torch.where(in_block, known, RESOLUTION / 2 * grid.voxel_size)
        active = active[distance[active] <= end[active]]
    found = _refine(grid, origin, direction[hit], before[hit], distance[hit])
    depth[chosen[hit]] = found * slope[hit]
    return depth.reshape(camera.height, camera.width)


def _nearest(grid: BlockGrid, points: Tensor) -> tuple[Tensor, Tensor]:
    """sdf (N,) of the voxels nearest to points (N, 3), NaN where unseen, and who is in a block."""
    return _lookup(grid, (points / grid.voxel_size).round().long())


def _lookup(grid: BlockGrid, voxels: Tensor) -> tuple[Tensor, Tensor]:
    """sdf (N,) of voxels (N, 3) int64, NaN where unseen, and which are in a block."""
    block = voxels.div(RESOLUTION, rounding_mode='floor')
    slots, there = grid.find(block)
    x, y, z = (voxels - block * RESOLUTION).unbind(-1)
    index = slots * VOXELS + (z * RESOLUTION + y) * RESOLUTION + x
    index = torch.where(there, index, 0)
    seen = there & (grid.values('weight')[index, 0] > 0)
    return torch.where(seen, grid.values('tsdf')[index, 0], torch.nan), there


def _trilinear(grid: BlockGrid, points: Tensor) -> Tensor:
    """sdf (N,) between the eight voxels around points (N, 3); NaN where one is unseen."""
    place = points / grid.voxel_size
    corner = place.floor()
    part = place - corner
    steps = torch.tensor((0, 1), device=points.device)
    total = torch.zeros(len(points), device=points.device)
    for step in torch.cartesian_prod(steps, steps, steps):
        share = torch.where(step == 1, part, 1 - part).prod(-1)
        total += share * _lookup(grid, corner.long() + step)[0]
    return total


def _refine(
    grid: BlockGrid, origin: Tensor, direction: Tensor, low: Tensor, high: Tensor
) -> Tensor:
    """(N,) distance where the surface is, between low (in front of it) and high (behind it).

    NaN where the voxels around were not all seen, or do not agree that there is a surface.
    """

    def sdf(distance: Tensor) -> Tensor:
        return _trilinear(grid, origin + direction * distance[:, None])

    # The nearest voxel changed sign; the interpolated value may do so up to a voxel beside.
    at_low, at_high = sdf(low), sdf(high)
    low = torch.where(at_low > 0, low, low - grid.voxel_size)
    high = torch.where(at_high <= 0, high, high + grid.voxel_size)
    at_low, at_high = sdf(low), sdf(high)
    for _ in range(_REFINEMENTS):
        middle = low + (high - low) * at_low / (at_low - at_high)
        at_middle = sdf(middle)
        front = at_middle > 0
        low, at_low = torch.where(front, middle, low), torch.where(front, at_middle, at_low)
        high, at_high = torch.where(front, high, middle), torch.where(front, at_high, at_middle)
    found = low + (high - low) * at_low / (at_low - at_high)
    return torch.where((at_low > 0) & (at_high <= 0), found, torch.nan)
