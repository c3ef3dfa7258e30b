"""What a map says at chosen pixels, and around them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def at_pixels(maps: Tensor, pixels: Tensor) -> Tensor:
    """(B, C, h, w) at (B, L) flat indices -> (B, L, C)."""
    index = pixels[:, None].expand(-1, maps.shape[1], -1)
    return maps.flatten(2).gather(2, index).transpose(1, 2)


class PatchEmbedding(nn.Module):
    """A k x k convolution evaluated at chosen pixels only, F_loc of GRIN 4.2 (see grin.py)."""

    def __init__(self, channels: int, kernel: int, width: int, padding: str = 'reflect') -> None:
        super().__init__()
        self.kernel, self.padding = kernel, padding
        self.project = nn.Linear(channels * kernel**2, width)

    def forward(self, image: Tensor, pixels: Tensor) -> Tensor:
        """image: (B, C, h, w); pixels: (B, L) flat indices in h x w -> (B, L, width)."""
        k, width = self.kernel, image.shape[-1]
        padded = F.pad(image, [k // 2] * 4, mode=self.padding)
        stride = padded.shape[-1]
        corner = pixels // width * stride + pixels % width
        step = torch.arange(k, device=image.device)
        offsets = (step[:, None] * stride + step).flatten()
        index = (corner[..., None] + offsets).flatten(1)
        patches = padded.flatten(2).gather(2, index[:, None].expand(-1, padded.shape[1], -1))
        return self.project(patches.unflatten(2, (-1, k * k)).transpose(1, 2).flatten(2))
