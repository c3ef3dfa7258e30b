"""Training objectives, one a method: `loss(method, batch, generator)` -> named scalars."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from . import betterdepth, depthmaster, grin, metricgold, sharpdepth

# By the names of METHODS; 'loss' is what is minimised, the other entries are its parts.
OBJECTIVES: dict[str, Callable[..., dict[str, Tensor]]] = {
    'grin': grin.loss,
    'metricgold': metricgold.loss,
    'betterdepth': betterdepth.loss,
    'sharpdepth': sharpdepth.loss,
    'depthmaster': depthmaster.loss,
}
