"""One image looked at in several ways: as it is, mirrored, and at slightly lower resolutions.

A method of one deterministic step says one depth for one image. What it says of an image that
shows the same scene otherwise should be the same; where it is not, the method does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from . import geometry
from .types import CoarseDepth, Conditioning

LOWEST_RESOLUTION = 0.75


@dataclass(frozen=True)
class Look:
    """One way to look at a view.

    conditioning: the view so seen, (h', w'): image, rays, valid and coarse depth alike.
    size: (h, w) of the original.
    """

    conditioning: Conditioning
    size: tuple[int, int]
    mirrored: bool

    def back(self, values: Tensor) -> Tensor:
        """What is said of each pixel (h', w') of this look, (h, w) for those of the original.

        Nothing is invented between two surfaces, as in geometry.resample_values. What has the size
        of the original already is mirrored alone.
        """
        if self.mirrored:
            values = values.flip(-1)
        return _resized(values, self.size)


def looks(
    conditioning: Conditioning,
    num_samples: int,
    generator: torch.Generator,
    *,
    multiple_of: int = 1,
) -> Iterator[Look]:
    """`num_samples` ways to look: plain and mirrored, then pairs of both at lower resolutions.

    Args:
        conditioning: (h, w), both multiples of `multiple_of`, as those of all looks are.
        generator: chooses the resolutions, from three quarters of the original's on.
    """
    size = (conditioning.image.shape[-2], conditioning.image.shape[-1])
    seen = conditioning
    for index in range(num_samples):
        if index >= 2 and index % 2 == 0:
            share = torch.rand((), generator=generator, device=generator.device)
            resolution = float(1 - (1 - LOWEST_RESOLUTION) * share)
            h, w = (_lower(side, resolution, multiple_of) for side in size)
            seen = _smaller(conditioning, (h, w))
        is_mirrored = index % 2 == 1
        yield Look(mirrored(seen) if is_mirrored else seen, size, is_mirrored)


def _lower(side: int, resolution: float, multiple_of: int) -> int:
    """A share of the side, at least one multiple less and at least one."""
    multiples = min(round(side * resolution / multiple_of), side // multiple_of - 1)
    return max(1, multiples) * multiple_of


def _smaller(conditioning: Conditioning, size: tuple[int, int]) -> Conditioning:
    h, w = size
    # A pixel is seen through the lens if all of what it is made of is.
    valid = _interpolated(conditioning.valid[None].float(), size)[0] > 0.999
    rays = F.normalize(_interpolated(conditioning.rays, size), dim=0)
    return replace(
        conditioning,
        image=geometry.resize_image(conditioning.image, w, h),
        rays=torch.where(valid, rays, 0.0),
        valid=valid,
        coarse=_with_values(conditioning.coarse, lambda values: _resized(values, size)),
    )


def mirrored(conditioning: Conditioning) -> Conditioning:
    """The view as a mirror at its camera's x = 0 plane shows it, its columns in reverse order."""
    x, y, z = conditioning.rays.flip(-1)
    return replace(
        conditioning,
        image=conditioning.image.flip(-1),
        rays=torch.stack((-x, y, z)),
        valid=conditioning.valid.flip(-1),
        coarse=_with_values(conditioning.coarse, lambda values: values.flip(-1)),
    )


def _with_values(
    coarse: CoarseDepth | None, change: Callable[[Tensor], Tensor]
) -> CoarseDepth | None:
    return None if coarse is None else replace(coarse, values=change(coarse.values))


def _interpolated(values: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(values[None], size, mode='bilinear', align_corners=False)[0]


def _resized(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Values (h, w) at the pixels of an image of another size that shows the same."""
    h, w = size
    if values.shape == (h, w):
        return values
    pixels = geometry.pixel_grid(w, h, device=values.device)
    scale = pixels.new_tensor((values.shape[1] / w, values.shape[0] / h))
    return geometry.resample_values(values, (pixels + 0.5) * scale - 0.5)
