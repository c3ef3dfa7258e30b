"""What a lens and a moving hand do to light before it reaches the sensor."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

MOTION_REACH = 4  # pixels to either side


def vignette(picture: Tensor, strength: Tensor) -> Tensor:
    """(B, 1, H, W) share of light that arrives, falling with the squared distance from centre."""
    height, width = picture.shape[-2:]
    y = torch.linspace(-1, 1, height, device=picture.device)[:, None]
    x = torch.linspace(-1, 1, width, device=picture.device)[None]
    return 1 - strength * (x * x + y * y) / 2


def blur(picture: Tensor, deviation: Tensor) -> Tensor:
    """Gaussian blur with a deviation (B, 1, 1, 1) in pixels of its own for every image."""
    offsets = torch.arange(-3, 4, device=picture.device, dtype=picture.dtype)
    kernel = torch.exp(-0.5 * (offsets / deviation.reshape(-1, 1).clamp(min=0.1)) ** 2)
    kernel = kernel / kernel.sum(1, keepdim=True)
    return _filter(_filter(picture, kernel[:, :, None]), kernel[:, None, :])


def motion_blur(picture: Tensor, length: Tensor, angle: Tensor) -> Tensor:
    """Every image smeared along a line: length (B, 1, 1, 1) pixels, angle (B, 1, 1, 1) radians."""
    grid = torch.arange(-MOTION_REACH, MOTION_REACH + 1, device=picture.device).float()
    steps = torch.linspace(-0.5, 0.5, 4 * MOTION_REACH + 1, device=picture.device)
    travelled = length.reshape(-1, 1).clamp(max=2 * MOTION_REACH) * steps
    # Places along the line, each shared among the pixels around it as in bilinear interpolation.
    x, y = (
        (1 - (grid - travelled[..., None] * turn.reshape(-1, 1, 1)).abs()).clamp(min=0)
        for turn in (angle.cos(), angle.sin())
    )
    return _filter(picture, torch.einsum('bsy,bsx->byx', y, x) / len(steps))


def _filter(picture: Tensor, kernel: Tensor) -> Tensor:
    """Every image (C, H, W) of a batch with a kernel (B, h, w) of its own."""
    batch, channels, height, width = picture.shape
    rows, columns = kernel.shape[1] // 2, kernel.shape[2] // 2
    stacked = picture.reshape(1, -1, height, width)
    stacked = F.pad(stacked, (columns, columns, rows, rows), mode='replicate')
    weight = kernel.repeat_interleave(channels, 0)[:, None]
    return F.conv2d(stacked, weight, groups=batch * channels).reshape(picture.shape)
