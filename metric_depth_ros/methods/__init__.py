"""Depth methods, one paper a file. METHODS is the only registry of the package."""

from __future__ import annotations

from .grin import Grin

# Name in a checkpoint's config.json -> class. Each class has `Config`, its architecture.
METHODS: dict[str, type] = {'grin': Grin}
