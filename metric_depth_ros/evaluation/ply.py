"""Clouds as binary PLY files, which every viewer of clouds opens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

_POSITION, _COLOUR = ('x', 'y', 'z'), ('red', 'green', 'blue')
_VERTEX = np.dtype(
    [*((name, '<f4') for name in _POSITION), *((name, 'u1') for name in _COLOUR), ('std', '<f4')]
)


def write_ply(path: Path, points: Tensor, image: Tensor, std: Tensor) -> None:
    """Write all finite points with their colour and standard deviation.

    Args:
        points: (H, W, 3) metres, NaN where there is none.
        image: (H, W, 3) uint8 RGB.
        std: (H, W) metres, one sigma; becomes the vertex property `std`.
    """
    xyz = points.numpy().reshape(-1, 3)
    seen = np.isfinite(xyz).all(axis=1)
    vertices = np.empty(int(seen.sum()), dtype=_VERTEX)
    for axis, name in enumerate(_POSITION):
        vertices[name] = xyz[seen, axis]
    for channel, name in enumerate(_COLOUR):
        vertices[name] = image.numpy().reshape(-1, 3)[seen, channel]
    vertices['std'] = std.numpy().reshape(-1)[seen]
    header = [
        'ply',
        'format binary_little_endian 1.0',
        f'element vertex {len(vertices)}',
        *(f'property float {name}' for name in _POSITION),
        *(f'property uchar {name}' for name in _COLOUR),
        'property float std',
        'end_header',
    ]
    path.write_bytes('\n'.join(header).encode('ascii') + b'\n' + vertices.tobytes())
