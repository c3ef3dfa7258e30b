"""Random numbers that belong to a scene: the same in every frame of it, whoever renders it."""

from __future__ import annotations

import torch
from torch import Tensor

from .scene import Scenes

WORD = 0xFFFFFFFF


def scene_seed(scenes: Scenes) -> Tensor:
    """(B,) int64, from the scenes' own random fields, whatever they are batched with."""
    # The largest offset is the same however many rows of padding the batch adds.
    largest = scenes.texture_offset.amax(1).contiguous().view(torch.int32).long()
    return (largest[:, 0] * 0x9E3779B1 + largest[:, 1]) & WORD


def uniform(seed: Tensor, which: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Float32 in [low, high), of seed's shape; another `which` gives other numbers.

    A hash (the mixing steps of xxHash's finish), exact on every device.
    """
    word = (seed * 0x9E3779B1 + (which + 1) * 0x85EBCA77) & WORD
    for shift, factor in ((15, 0x85EBCA77), (13, 0xC2B2AE3D)):
        word = ((word ^ (word >> shift)) * factor) & WORD
    word = word ^ (word >> 16)
    return low + (high - low) * (word >> 8).float() / 2**24


def normal(seed: Tensor, which: int) -> Tensor:
    """About normal, mean 0, deviation 1, never beyond 3.5."""
    four = torch.stack([uniform(seed, 4 * which + i + 1000) for i in range(4)])
    return (four.sum(0) - 2) * 3**0.5
