"""A view as a map of Gaussians works on it: rectified, small enough, only the depth it trusts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .. import geometry
from ..types import Camera
from .gating import GateCounts, Gates, gate
from .view import View


@dataclass(frozen=True)
class KeyFrame:
    """One view of a pinhole camera, float32.

    image: (H, W, 3) RGB in [0, 1]. seen: (H, W) bool, pixels the photograph has; rectifying a
        lens leaves corners that it has not.
    depth, std: (H, W) metres along z and one sigma; both NaN where gated or not seen.
    world_from_camera, camera_from_world: (4, 4) float64.
    """

    camera: Camera
    image: Tensor
    seen: Tensor
    depth: Tensor
    std: Tensor
    world_from_camera: Tensor
    camera_from_world: Tensor


def key_frame(
    view: View, gates: Gates, max_pixels: int, device: torch.device | str = 'cpu'
) -> tuple[KeyFrame, GateCounts]:
    """The view rectified and resampled to at most about `max_pixels`, and what its gates let by.

    The image is reduced without aliasing; depth without inventing any between the surfaces.
    """
    source = view.frame.camera
    width, height = source.width, source.height
    if width * height > max_pixels:
        width, height = geometry.fit_size(width, height, max_pixels)
    target = geometry.resize_camera(geometry.rectified_camera(source), width, height)

    gated = gate(view.prediction, gates)
    depth, std = gated.depth.to(device), gated.std.to(device)
    image = view.frame.image.to(device).permute(2, 0, 1).float() / 255
    seen = torch.ones(height, width, dtype=torch.bool, device=device)
    if target != source:
        pixels = geometry.view_pixels(source, target, device=depth.device)
        depth, std = geometry.resample_depth(depth, std, pixels)
        reduced = geometry.resize_camera(source, width, height)
        pixels = geometry.view_pixels(reduced, target, device=depth.device)
        image = geometry.resample_image(geometry.resize_image(image, width, height), pixels)
        last = pixels.new_tensor((width - 1, height - 1))
        seen = ((pixels >= -0.5) & (pixels <= last + 0.5)).all(-1)
    pose = view.world_from_camera
    frame = KeyFrame(
        camera=target,
        image=image.clamp(0, 1).permute(1, 2, 0).contiguous(),
        seen=seen,
        depth=torch.where(seen, depth, torch.nan),
        std=torch.where(seen, std, torch.nan),
        world_from_camera=pose,
        camera_from_world=torch.linalg.inv(pose),
    )
    return frame, gated.counts
