"""What the loop eats: batches from all sources of a recipe."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from .augment import augment
from .batch import Batch
from .data import FramePool
from .recipe import Recipe
from .schedule import Schedule, seed_of
from .sparse import sparsify


class Feed:
    """Batches as `recipe` says, from one pool of frames for each of its sources."""

    def __init__(self, recipe: Recipe, pools: Sequence[FramePool]) -> None:
        self.recipe, self.pools = recipe, pools
        weights = np.tile([source.weight for source in recipe.data], (recipe.steps, 1))
        sizes = [len(pool) for pool in pools]
        self.schedule = Schedule(sizes, weights, recipe.batch_size, seed=recipe.seed)

    def batch(self, step: int, generator: torch.Generator, device: torch.device) -> Batch:
        """The images of step number `step`, augmented.

        Args:
            generator: on the CPU, of the augmentation.
        """
        recipe = self.recipe
        parts = []
        for source, index in enumerate(self.schedule.step(step)):
            if not index:
                continue
            part = self.pools[source].batch(index, device=device)
            if recipe.supervision != 'dense':
                seeds = [seed_of(recipe.seed, 'sparse', source, frame) for frame in index]
                part = sparsify(part, recipe.supervision, recipe.supervised_share, seeds)
            parts.append(
                augment(part, recipe.width, recipe.height, recipe.augmentation, generator)
            )
        return Batch.cat(parts)
