"""Scenes by kind and split."""

from __future__ import annotations

from torch import Generator

from ..errors import MetricDepthError
from .builder import seeded, stack
from .content import Content
from .indoor import furnish
from .materials import SPLITS
from .outdoor import lay_out
from .scene import Scenes

KINDS = ('indoor', 'close', 'outdoor', 'both', 'road')


def make_scenes(
    kind: str,
    count: int,
    generator: Generator,
    *,
    split: str = 'train',
    content: Content | None = None,
) -> Scenes:
    """Random scenes.

    Args:
        kind: 'indoor'; 'close', rooms with more small things in them, for views from within an
            arm's reach; 'outdoor'; 'both' (two thirds indoor); or 'road', of what is outdoors the
            wide roads that vehicles drive.
        count: how many.
        generator: on the CPU.
        split: 'train', or 'heldout' for textures and layouts that 'train' never shows.
        content: what the scenes hold; everything if None.

    Raises:
        MetricDepthError: an unknown kind or split, or a count below 1.
    """
    if kind not in KINDS:
        raise MetricDepthError(f'scene kind is {kind!r}, expected one of {", ".join(KINDS)}')
    if split not in SPLITS:
        raise MetricDepthError(f'split is {split!r}, expected one of {", ".join(SPLITS)}')
    if count < 1:
        raise MetricDepthError(f'scene count is {count}, expected at least 1')
    builders = []
    for _ in range(count):
        random = seeded(generator)
        outdoor = random.random() < {'indoor': 0.0, 'close': 0.0, 'both': 1 / 3}.get(kind, 1.0)
        builders.append(
            lay_out(random, split, content, wide=kind == 'road')
            if outdoor
            else furnish(random, split, content, crowded=kind == 'close')
        )
    return stack(builders)
