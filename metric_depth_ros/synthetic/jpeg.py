"""JPEG's loss, without its bytes: 8 x 8 cosine transforms, quantised as the standard's tables say.

Runs on whole batches on any device, with a quality of its own for every image.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

# ITU-T T.81, annex K.1: tables for luminance and chrominance at quality 50.
LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56), (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99), (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99), (47, 66, 99, 99, 99, 99, 99, 99),
) + ((99,) * 8,) * 4  # fmt: skip


def jpeg(picture: Tensor, quality: Tensor) -> Tensor:
    """(B, 3, H, W) in [0, 1] as it comes back from a JPEG file, chroma at half resolution (4:2:0).

    quality: (B, 1, 1, 1), 1 to 100 as in libjpeg.
    """
    height, width = picture.shape[-2:]
    padded = F.pad(picture * 255, (0, -width % 16, 0, -height % 16), mode='replicate')
    red, green, blue = padded.unbind(1)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    chroma = torch.stack([(blue - luma) * 0.564, (red - luma) * 0.713], 1)
    luma = _quantise(luma[:, None] - 128, _table(LUMINANCE, quality)) + 128
    chroma = _quantise(F.avg_pool2d(chroma, 2), _table(CHROMINANCE, quality))
    chroma = F.interpolate(chroma, padded.shape[-2:], mode='bilinear', align_corners=False)
    (y,), (cb, cr) = luma.unbind(1), chroma.unbind(1)
    colours = torch.stack([y + 1.402 * cr, y - 0.344 * cb - 0.714 * cr, y + 1.772 * cb], 1)
    return colours[..., :height, :width] / 255


def _table(base: tuple[tuple[int, ...], ...], quality: Tensor) -> Tensor:
    """(B, 1, 8, 1, 8) steps of quantisation, scaled by quality as libjpeg scales them."""
    quality = quality.reshape(-1, 1, 1).clamp(1, 100)
    scale = torch.where(quality < 50, 50 / quality, 2 - quality / 50)
    steps = (torch.tensor(base, device=quality.device) * scale).round().clamp(min=1)
    return steps[:, None, :, None, :]


def _quantise(plane: Tensor, table: Tensor) -> Tensor:
    """Rounds the cosine coefficients of every 8 x 8 block of (B, C, H, W)."""
    batch, channels, height, width = plane.shape
    cosines = _cosines().to(plane)
    blocks = plane.reshape(batch * channels, height // 8, 8, width // 8, 8)
    waves = torch.einsum('ux,brxcy,vy->brucv', cosines, blocks, cosines)
    steps = table.repeat_interleave(channels, 0)
    waves = (waves / steps).round() * steps
    return torch.einsum('ux,brucv,vy->brxcy', cosines, waves, cosines).reshape(plane.shape)


def _cosines() -> Tensor:
    """(8, 8) orthonormal type-II cosine transform."""
    n = torch.arange(8.0)
    rows = torch.cos(math.pi * (n[None] + 0.5) * n[:, None] / 8) / 2
    rows[0] /= math.sqrt(2)
    return rows
