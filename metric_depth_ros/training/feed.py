"""What the loop eats: batches from all sources of a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from .augment import augment, cut_band
from .batch import Batch
from .coarse import MakeCoarse
from .data import FramePool
from .recipe import Recipe, Stage, SyntheticData
from .schedule import Schedule, seed_of
from .sparse import sparsify


class Feed:
    """Batches as `recipe` says, from one pool of frames for each of its sources.

    coarse: adds the coarse depth to them, see make_coarse.
    """

    def __init__(
        self, recipe: Recipe, pools: Sequence[FramePool], coarse: MakeCoarse | None = None
    ) -> None:
        self.recipe, self.pools = recipe, pools
        self.coarse = coarse
        stages = recipe.stages or (Stage(recipe.steps),)
        everything = tuple(source.weight for source in recipe.data)
        self._stage = [stage for stage in stages for _ in range(stage.steps)]
        weights = np.array([stage.weights or everything for stage in self._stage])
        sizes = [len(pool) for pool in pools]
        self.schedule = Schedule(sizes, weights, recipe.batch_size, seed=recipe.seed)

    def batch(
        self,
        step: int,
        generator: torch.Generator,
        device: torch.device,
        *,
        part: int = 0,
        parts: int = 1,
    ) -> Batch:
        """The images of step number `step`, augmented; or one of `parts` equal parts of them.

        Args:
            generator: on the CPU, of the augmentation of this part.
        """
        recipe, stage = self.recipe, self._stage[step]
        width, height = stage.width or recipe.width, stage.height or recipe.height
        frames = [(s, f) for s, index in enumerate(self.schedule.step(step)) for f in index]
        batches = []
        for source, pool in enumerate(self.pools):
            index = [frame for owner, frame in frames[part::parts] if owner == source]
            if not index:
                continue
            batch = pool.batch(index, device=device)
            if recipe.supervision != 'dense' and isinstance(recipe.data[source], SyntheticData):
                seeds = [seed_of(recipe.seed, 'sparse', source, frame) for frame in index]
                batch = sparsify(batch, recipe.supervision, recipe.supervised_share, seeds)
            batches.append(augment(batch, width, height, recipe.augmentation, generator))
        whole = Batch.cat(batches)
        if recipe.augmentation.bands:
            whole = cut_band(whole, recipe.augmentation.bands, generator)
        if self.coarse is None:
            return whole
        return replace(whole, coarse=self.coarse(whole, generator))
