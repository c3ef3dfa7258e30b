"""Sparse depth as a LiDAR beside the camera would give it."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from .. import geometry
from ..errors import MetricDepthError
from ..types import Camera

# Beams of a 64-line sensor: enough for a share of pixels that is then thinned to what is asked.
ELEVATION_DEG = (-25.0, 15.0)


def lidar_mask(
    camera: Camera,
    ray_distance: Tensor,
    generator: Generator,
    *,
    share: float = 0.02,
    beams: int = 32,
    max_range: float = 100.0,
    dropout: float = 0.1,
) -> Tensor:
    """Which pixels a spinning LiDAR, mounted about level with the camera, would measure.

    Returns fall on `beams` rings of equal elevation. Rings of a real sensor are level while the
    camera may be tilted: a random tilt of a few degrees stands for that. Surfaces beyond
    `max_range` return nothing, and far ones are lost more often.

    Args:
        ray_distance: (H, W) metres, not finite where there is nothing to measure.
        generator: on the CPU.
        share: of all pixels that are to be measured, at most; fewer if the rings do not reach.
        dropout: share of returns that are lost.

    Returns:
        (H, W) bool, only where ray_distance is finite and at most max_range.

    Raises:
        MetricDepthError: sizes that differ, or a share or dropout outside of [0, 1].
    """
    height, width = ray_distance.shape
    if (height, width) != (camera.height, camera.width):
        raise MetricDepthError(
            f"ray_distance is {height} x {width}, expected the camera's "
            f'{camera.height} x {camera.width}'
        )
    for name, value in (('share', share), ('dropout', dropout)):
        if not 0 <= value <= 1:
            raise MetricDepthError(f'{name} is {value}, expected 0 to 1')
    rays = geometry.rays(camera).to(ray_distance.device)
    ring, phase = _rings(rays, generator, beams)
    # Of each ring's pixels in a column the one nearest to the beam is hit.
    off_beam = (ring - ring.round()).abs()
    on_beam = (ring.round() >= 0) & (ring.round() < beams) & (off_beam * phase < 0.5)
    reachable = ray_distance.isfinite() & (ray_distance <= max_range)
    candidates = on_beam & reachable & rays.isfinite().all(-1)
    lost = dropout * (0.5 + ray_distance.nan_to_num(0, 0, 0) / max_range)
    drawn = torch.rand(height, width, generator=generator).to(ray_distance.device)
    candidates = candidates & (drawn >= lost)
    count = int(candidates.sum())
    wanted = round(share * height * width)
    if count <= wanted:
        return candidates
    order = torch.rand(count, generator=generator).to(ray_distance.device)
    chosen = torch.zeros_like(candidates)
    chosen[candidates] = order <= order.kthvalue(max(wanted, 1)).values
    return chosen & (wanted > 0)


def _rings(rays: Tensor, generator: Generator, beams: int) -> tuple[Tensor, Tensor]:
    """(H, W) number of the ring as a real number, and pixels that one ring step spans."""
    tilt = torch.randn(2, generator=generator).clamp(-2, 2) * math.radians(3)
    pitch, roll = float(tilt[0]), float(tilt[1])
    x, y, z = rays.unbind(-1)
    up = -y * math.cos(pitch) + z * math.sin(pitch)
    up = up * math.cos(roll) + x * math.sin(roll)
    elevation = torch.rad2deg(torch.asin(up.clamp(-1, 1)))
    low, high = ELEVATION_DEG
    ring = (elevation - low) / (high - low) * (beams - 1)
    step = (ring[1:] - ring[:-1]).abs().nanmedian().clamp(min=1e-6)
    return ring, (1 / step).expand_as(ring)
