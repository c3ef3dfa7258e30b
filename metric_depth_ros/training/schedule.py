"""Which frames a step sees."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


def seed_of(*parts: object) -> int:
    """A seed for a generator from whatever tells one use of it from another."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, 'little') >> 1


class Schedule:
    """The frames of every step of a run: a function of the step, so that a run can be resumed.

    Each batch takes from every source in proportion to its weight, to within one image, and so
    is balanced between indoor and outdoor, real and synthetic (GRIN, Section 5.2). A source's
    frames come in a random order, all of them once before any comes again, and in another order
    then.

    Args:
        sizes: frames of each source.
        weights: of each source, at each step: (steps, sources), a row may have any sum above 0.
    """

    def __init__(
        self, sizes: Sequence[int], weights: np.ndarray, batch_size: int, *, seed: int
    ) -> None:
        self.sizes, self.seed = tuple(sizes), seed
        self._taken = _shares(weights, batch_size)

    def step(self, step: int) -> list[list[int]]:
        """For each source, the frames of it that step number `step` sees."""
        return [
            [self._frame(source, int(n)) for n in range(*self._taken[step : step + 2, source])]
            for source in range(len(self.sizes))
        ]

    def _frame(self, source: int, number: int) -> int:
        """The frame that is seen as number `number` of its source."""
        epoch, place = divmod(number, self.sizes[source])
        return int(_order(self.sizes[source], self.seed, source, epoch)[place])


@lru_cache(maxsize=32)
def _order(size: int, seed: int, source: int, epoch: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed_of(seed, 'order', source, epoch))
    return torch.randperm(size, generator=generator)


def _shares(weights: np.ndarray, batch_size: int) -> np.ndarray:
    """(steps + 1, sources) images taken of each source before each step."""
    taken = np.zeros((len(weights) + 1, weights.shape[1]), dtype=np.int64)
    owed = np.zeros(weights.shape[1])
    before = None
    for step, row in enumerate(weights):
        if before is not None and not np.array_equal(row, before):
            owed[:] = 0  # nothing is owed to a source that is out of the mixture
        before = row
        owed = owed + batch_size * row / row.sum()
        count = np.floor(np.maximum(owed, 0)).astype(np.int64)
        while (missing := batch_size - count.sum()) != 0:
            least = np.where(count > 0, owed - count, np.inf)
            chosen = np.argmax(owed - count) if missing > 0 else np.argmin(least)
            count[chosen] += np.sign(missing)
        owed -= count
        taken[step + 1] = taken[step] + count
    return taken
