"""Public datasets as manifests: one small module a dataset, each with its IMPORTER."""

from __future__ import annotations

from importlib import import_module

from .entry import Entry, Importer, ImporterError, Problem

_MODULES = (
    'booster',
    'ddad',
    'diode',
    'eth3d',
    'hypersim',
    'ibims',
    'kitti',
    'middlebury',
    'nuscenes',
    'nyu',
    'scannet',
    'sintel',
    'spring',
    'sunrgbd',
    'tartanair',
    'tum',
    'unrealstereo',
    'vkitti2',
)

_FOUND: tuple[Importer, ...] = tuple(
    import_module(f'.{name}', __name__).IMPORTER for name in _MODULES
)
IMPORTERS: dict[str, Importer] = {importer.name: importer for importer in _FOUND}

__all__ = ['IMPORTERS', 'Entry', 'Importer', 'ImporterError', 'Problem']
