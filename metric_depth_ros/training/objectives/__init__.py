"""Training objectives, one a method: `loss(method, batch, generator)` -> named scalars."""

from __future__ import annotations

from . import grin, metricgold

# By the names of METHODS; 'loss' is what is minimised, the other entries are its parts.
OBJECTIVES = {'grin': grin.loss, 'metricgold': metricgold.loss}
