"""Random subsets of masked sets, batched."""

from __future__ import annotations

import torch
from torch import Tensor


def random_subset(mask: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Choose `count` members of each set at random, without repetition.

    Args:
        mask: (B, N) bool, the members.
        count: how many; at most N are returned.
    Returns:
        (B, n) indices and (B, n) bool, n = min(count, N). A set with fewer members fills its row
        with non-members, for which the bool is False.
    """
    scores = torch.rand(mask.shape, generator=generator, device=generator.device)
    scores = scores.to(mask.device).masked_fill(~mask, -1)
    scores, indices = scores.topk(min(count, mask.shape[1]), dim=1, sorted=False)
    return indices, scores >= 0
