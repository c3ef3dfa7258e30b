"""Public datasets as manifests: one small module a dataset, each with its IMPORTER."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

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

IMPORTERS: dict[str, Importer] = {
    importer.name: importer
    for importer in (
        import_module(f'.{name}', __name__).IMPORTER
        for name in _MODULES
        if find_spec(f'{__name__}.{name}') is not None
    )
}

__all__ = ['IMPORTERS', 'Entry', 'Importer', 'ImporterError', 'Problem']
