"""Where a map of Gaussians has too few, and which of them it can do without.

Adaptive density control of Kerbl et al. 2023, Section 5.2: where the images pull hard at a
Gaussian the map is too coarse. A small one is cloned, a large one split in two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from .gaussians import Gaussians, rotation_matrices

_SHRINK = 1.6  # Kerbl et al.: the two halves are this much smaller than the whole


@dataclass(frozen=True)
class Density:
    """When Gaussians are added and removed.

    every: steps between two rounds.
    gradient: mean pull at a Gaussian's place in the image that calls for more, in loss per half
        image: Kerbl et al.'s tau_pos, but higher, as seeds are as dense as the pixels already.
    large: pixels; one that reaches further than this in an image is split rather than cloned.
    min_opacity: fainter ones are removed. max_scale: metres; so are larger ones.
    """

    every: int = 100
    gradient: float = 1e-3
    large: float = 10.0
    min_opacity: float = 0.05
    max_scale: float = 0.5


class Pull:
    """Mean pull of the images at each of N Gaussians, and how far each reached in one."""

    def __init__(self, count: int, device: torch.device) -> None:
        self._sum = torch.zeros(count, device=device)
        self._times = torch.zeros(count, device=device)
        self.reach = torch.zeros(count, device=device)

    def add(self, gradient: Tensor, radii: Tensor, width: int, height: int) -> None:
        """One image: gradient (N, 2) of the loss by pixels; radii (N,) pixels, 0 if not drawn."""
        half_image = gradient.new_tensor((width / 2, height / 2))
        self._sum += (gradient * half_image).norm(dim=1)
        self._times += radii > 0
        self.reach = torch.maximum(self.reach, radii)

    def mean(self) -> Tensor:
        """(N,) loss per half image."""
        return self._sum / self._times.clamp_min(1)


def worth_keeping(gaussians: Gaussians, density: Density) -> Tensor:
    """(N,) bool: opaque enough, not too large, and all numbers finite."""
    opaque = gaussians.opacities >= density.min_opacity
    small = gaussians.scales.amax(1) <= density.max_scale
    return opaque & small & gaussians.finite()


def densify(
    gaussians: Gaussians, pull: Pull, density: Density, room: int, generator: Generator
) -> tuple[Tensor, Gaussians]:
    """(N,) bool, which stay, and the Gaussians to add: clones, and the halves of those split.

    Args:
        room: how many more the map may hold. Where too many call for more, those that are pulled
            at hardest get it.
        generator: on the CPU; draws where the halves of a split lie.
    """
    mean = pull.mean()
    calling = torch.where(mean > density.gradient, mean, 0.0)
    count = min(int((calling > 0).sum()), max(room, 0))
    chosen = calling.topk(count).indices
    large = pull.reach[chosen] > density.large
    clones = gaussians[chosen[~large]]
    split = gaussians[chosen[large]]
    halves = _halves(split, generator).joined(_halves(split, generator))
    staying = torch.ones(len(gaussians), dtype=torch.bool, device=mean.device)
    staying[chosen[large]] = False
    return staying, clones.joined(halves)


def _halves(gaussians: Gaussians, generator: Generator) -> Gaussians:
    """One smaller Gaussian for each, at a place drawn from it."""
    own = torch.randn(gaussians.means.shape, generator=generator).to(gaussians.means)
    offset = rotation_matrices(gaussians.quaternions) @ (gaussians.scales * own)[..., None]
    return replace(
        gaussians,
        means=gaussians.means + offset[..., 0],
        log_scales=gaussians.log_scales - math.log(_SHRINK),
    )
