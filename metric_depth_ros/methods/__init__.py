"""Depth methods, one paper a file. METHODS is the only registry of the package."""

from __future__ import annotations

from typing import Any

from .betterdepth import BetterDepth
from .depthmaster import DepthMaster
from .grin import Grin
from .metricgold import MetricGold
from .sharpdepth import SharpDepth

# Name in a checkpoint's config.json -> class: an nn.Module that is a DepthMethod, made from one
# `config` of its class `Config`; PRESETS names some of those, SOURCE is where the method is from.
METHODS: dict[str, type[Any]] = {
    'grin': Grin,
    'metricgold': MetricGold,
    'betterdepth': BetterDepth,
    'sharpdepth': SharpDepth,
    'depthmaster': DepthMaster,
}
