"""Several feature maps of falling resolution into one, at the highest of their resolutions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .resnet import norm


def _resize(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[-2:], mode='bilinear', align_corners=False)


class ConcatenatePyramid(nn.Module):
    """Upsample all, concatenate, project (GRIN 4.3)."""

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(sum(channels), width, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        finest = maps[0]
        return self.project(torch.cat([finest, *(_resize(x, finest) for x in maps[1:])], dim=1))


class TopDownPyramid(nn.Module):
    """Coarse to fine, with a convolution at every level (Lin et al. 2017)."""

    def __init__(self, channels: Sequence[int], width: int, group_norm: bool = True) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels)
        self.smooths = nn.ModuleList(
            nn.Sequential(
                norm(width, group_norm),
                nn.ReLU(inplace=True),
                nn.Conv2d(width, width, 3, padding=1),
            )
            for _ in channels
        )
        for smooth in self.smooths:
            nn.init.zeros_(smooth[-1].weight)
        # Without it the sum's size drifts, and what reads it does not train.
        self.normalise = nn.Sequential(norm(width, group_norm), nn.ReLU(inplace=True))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        merged: Tensor | None = None
        levels = zip(maps, self.laterals, self.smooths, strict=True)
        for x, lateral, smooth in reversed(list(levels)):
            level = lateral(x)
            if merged is not None:
                level = level + _resize(merged, level)
            merged = level + smooth(level)
        if merged is None:
            raise ValueError('maps is empty, expected at least one feature map')
        return self.normalise(merged)
