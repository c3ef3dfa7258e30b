"""Frames spoiled in ways that no model is trained for: what an error bar has to notice.

The truth of a spoiled frame is still known, so that it tells how errors grow with novelty.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

# How much of a frame is spoiled, of noise and veil; a blur's reach in shares of the height.
_SHARE = (0.1, 1.0)
_BLUR = (0.03, 0.15)


def noise(image: Tensor, generator: Generator) -> Tensor:
    """Of a sensor that sees next to nothing."""
    spoiled = 2 * torch.rand(image.shape, generator=generator) - 1
    return torch.lerp(image, spoiled.to(image), _uniform(_SHARE, generator))


def veil(image: Tensor, generator: Generator) -> Tensor:
    """One colour over all: fog, glare, a hand before the lens."""
    colour = 2 * torch.rand(3, 1, 1, generator=generator) - 1
    return torch.lerp(image, colour.to(image).expand_as(image), _uniform(_SHARE, generator))


def blur(image: Tensor, generator: Generator) -> Tensor:
    """Of a lens that is out of focus, or wet."""
    reach = max(1, round(_uniform(_BLUR, generator) * image.shape[-2]))
    window = 2 * reach + 1
    padded = F.pad(image[None], [reach] * 4, mode='replicate')
    return F.avg_pool2d(padded, window, stride=1)[0]


def upside_down(image: Tensor, generator: Generator) -> Tensor:
    """Of a camera that nobody said is mounted so. The depth is not turned: it is what is wrong."""
    return image.flip(-2)


SPOILS = (noise, veil, blur, upside_down)


def spoil(image: Tensor, generator: Generator) -> Tensor:
    """The image (3, h, w), values in [-1, 1], spoiled in one of SPOILS, all as likely.

    Args:
        generator: on the CPU.
    """
    which = int(torch.randint(len(SPOILS), (), generator=generator))
    return SPOILS[which](image, generator)


def _uniform(limits: tuple[float, float], generator: Generator) -> float:
    low, high = limits
    return low + (high - low) * float(torch.rand((), generator=generator))
