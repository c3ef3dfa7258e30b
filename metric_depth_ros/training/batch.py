"""What a training step sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Images of one size with their rays and ground truth; smaller ones are padded.

    image: (B, 3, h, w) float, RGB in [-1, 1].
    rays: (B, 3, h, w) float, unit viewing rays.
    ray_distance: (B, h, w) float, metres along the ray; +inf where there is nothing (sky), NaN
        where nothing is known.
    valid: (B, h, w) bool, pixels with ground truth of finite distance.
    inside: (B, h, w) bool, pixels that have a ray and are not padding.
    """

    image: Tensor
    rays: Tensor
    ray_distance: Tensor
    valid: Tensor
    inside: Tensor

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        return Batch(*(getattr(self, f.name).to(device) for f in fields(self)))

    @classmethod
    def cat(cls, parts: Sequence[Batch]) -> Batch:
        """One batch of the images of several."""
        if len(parts) == 1:
            return parts[0]
        return cls(*(torch.cat([getattr(p, f.name) for p in parts]) for f in fields(cls)))
