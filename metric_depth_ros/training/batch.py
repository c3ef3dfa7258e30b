"""What a training step sees."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Images of one size with their rays and ground truth; smaller ones are padded.

    image: (B, 3, h, w) float, RGB in [-1, 1].
    rays: (B, 3, h, w) float, unit viewing rays.
    ray_distance: (B, h, w) float, metres along the ray; +inf where there is nothing (sky).
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
        return Batch(
            self.image.to(device),
            self.rays.to(device),
            self.ray_distance.to(device),
            self.valid.to(device),
            self.inside.to(device),
        )
