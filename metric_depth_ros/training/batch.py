"""What a training step sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..types import CoarseDepth


@dataclass(frozen=True)
class Batch:
    """Images of one size with their rays and ground truth; smaller ones are padded.

    image: (B, 3, h, w) float, RGB in [-1, 1].
    rays: (B, 3, h, w) float, unit viewing rays.
    ray_distance: (B, h, w) float, metres along the ray; +inf where there is nothing (sky), NaN
        where nothing is known.
    valid: (B, h, w) bool, pixels with ground truth of finite distance.
    inside: (B, h, w) bool, pixels that have a ray and are not padding.
    coarse: (B, h, w), what a refiner is given; None where the recipe has no coarse depth.
    """

    image: Tensor
    rays: Tensor
    ray_distance: Tensor
    valid: Tensor
    inside: Tensor
    coarse: CoarseDepth | None = None

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        coarse = self.coarse and replace(self.coarse, values=self.coarse.values.to(device))
        return Batch(**{name: getattr(self, name).to(device) for name in _TENSORS}, coarse=coarse)

    def rows(self, rows: slice) -> Batch:
        """Those rows of every image; for a batch that has no coarse depth yet."""
        return Batch(**{name: getattr(self, name)[..., rows, :] for name in _TENSORS})

    @classmethod
    def cat(cls, parts: Sequence[Batch]) -> Batch:
        """One batch of the images of several, none of which has coarse depth yet."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            **{name: torch.cat([getattr(p, name) for p in parts]) for name in _TENSORS},
            coarse=None,
        )


_TENSORS = ('image', 'rays', 'ray_distance', 'valid', 'inside')
