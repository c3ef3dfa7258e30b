"""Ground truth as sparse as a robot's, of frames that were rendered with all of it (GRIN, 4.1).

The paper's claim is that a set of scattered pixels teaches as well as a dense depth map. So the
pixels that are left out are gone: for every loss, and every time the frame is seen.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .batch import Batch

# A spinning sensor of 32 beams, level with the camera to within a few degrees.
_BEAMS = 32
_ELEVATION_DEG = (-25.0, 15.0)
_TILT_DEG = 3.0
_MAX_RANGE = 100.0


def sparsify(batch: Batch, supervision: str, share: float, seeds: list[int]) -> Batch:
    """The batch with the ground truth of a few pixels: of about `share` of all, at most.

    Args:
        supervision: 'random', any pixels; 'lidar', pixels on scan lines, never of the sky.
        seeds: of each image; the same seed, the same pixels.
    """
    scores = torch.stack(
        [
            torch.rand(batch.valid.shape[1:], generator=torch.Generator().manual_seed(seed))
            for seed in seeds
        ]
    )
    candidates = batch.inside
    if supervision == 'lidar':
        near = batch.ray_distance <= _MAX_RANGE
        candidates = batch.valid & near & _on_beam(batch.rays, seeds)
    scores = scores.to(candidates.device).where(candidates, 2.0).flatten(1)
    wanted = max(1, round(share * scores.shape[1]))
    limit = scores.kthvalue(wanted, dim=1, keepdim=True).values.clamp(max=1.0)
    kept = (scores <= limit).view_as(candidates)
    return Batch(
        batch.image,
        batch.rays,
        batch.ray_distance.where(kept, torch.nan),
        batch.valid & kept,
        batch.inside,
    )


def _on_beam(rays: Tensor, seeds: list[int]) -> Tensor:
    """(B, h, w) bool, pixels that a scan line crosses.

    Lines are level with the sensor, which a few degrees of pitch and roll tell from the camera.
    """
    tilt = torch.stack(
        [torch.randn(2, generator=torch.Generator().manual_seed(seed + 1)) for seed in seeds]
    )
    tilt = tilt.clamp(-2, 2) * math.radians(_TILT_DEG)
    pitch, roll = (angle[:, None, None].to(rays.device) for angle in tilt.unbind(1))
    x, y, z = rays.unbind(1)
    up = (z * pitch.sin() - y * pitch.cos()) * roll.cos() + x * roll.sin()
    elevation = torch.rad2deg(torch.asin(up.clamp(-1, 1)))
    low, high = _ELEVATION_DEG
    line = (elevation - low) / (high - low) * (_BEAMS - 1)
    lines_per_row = (line[:, 1:] - line[:, :-1]).abs().flatten(1).median(1).values
    rows_off = (line - line.round()).abs() / lines_per_row.clamp(min=1e-6)[:, None, None]
    return (line > -0.5) & (line < _BEAMS - 0.5) & (rows_off < 0.5)
