"""Gaussians as the .ply that viewers of 3D Gaussian splatting open (layout of Kerbl et al. 2023).

float32, little-endian, one vertex each: x y z, nx ny nz (always 0), f_dc_0..2, opacity,
scale_0..2, rot_0..3. What is stored are the free parameters: f_dc is the coefficient of the
constant spherical harmonic, opacity a logit, scale a natural logarithm, rot a quaternion w x y z.
There is no f_rest: colours do not depend on the viewing direction (harmonics of degree 0).
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from .gaussians import Gaussians
from .saving import write_whole
from .view import MappingError

_POSITION = ('x', 'y', 'z')
_NORMAL = ('nx', 'ny', 'nz')
_COLOUR = ('f_dc_0', 'f_dc_1', 'f_dc_2')
_OPACITY = ('opacity',)
_SCALE = ('scale_0', 'scale_1', 'scale_2')
_ROTATION = ('rot_0', 'rot_1', 'rot_2', 'rot_3')
_WRITTEN = (*_POSITION, *_NORMAL, *_COLOUR, *_OPACITY, *_SCALE, *_ROTATION)
_TYPES = {
    'float': '<f4', 'float32': '<f4', 'double': '<f8', 'float64': '<f8',
    'uchar': 'u1', 'uint8': 'u1', 'char': 'i1', 'int8': 'i1',
    'short': '<i2', 'int16': '<i2', 'ushort': '<u2', 'uint16': '<u2',
    'int': '<i4', 'int32': '<i4', 'uint': '<u4', 'uint32': '<u4',
}  # fmt: skip
_MAX_HEADER = 1 << 16


def write_splat_ply(path: Path, gaussians: Gaussians) -> int:
    """Write all Gaussians whose numbers are finite; how many they are.

    Raises:
        MappingError: the file could not be written; what was at `path` before is still there.
    """
    finite = gaussians[gaussians.finite()]
    rows = torch.cat(
        (
            finite.means,
            torch.zeros_like(finite.means),
            finite.f_dc,
            finite.opacity_logits[:, None],
            finite.log_scales,
            finite.quaternions,
        ),
        1,
    )
    header = [
        'ply',
        'format binary_little_endian 1.0',
        f'element vertex {len(finite)}',
        *(f'property float {name}' for name in _WRITTEN),
        'end_header',
    ]
    content = rows.detach().cpu().numpy().astype('<f4').tobytes()

    def write(file: BinaryIO) -> None:
        file.write('\n'.join(header).encode('ascii') + b'\n')
        file.write(content)

    write_whole(path, write)
    return len(finite)


def read_splat_ply(path: Path) -> Gaussians:
    """The Gaussians of a 3DGS .ply, with the colour they have on average over all directions.

    Raises:
        MappingError: not a binary little-endian .ply of Gaussians, or cut short.
        OSError: the file cannot be read.
    """
    content = path.read_bytes()
    end = content.find(b'end_header\n', 0, _MAX_HEADER)
    if not content.startswith(b'ply\n') or end < 0:
        raise MappingError(f'{path} is no .ply file, expected a header from ply to end_header')
    count, layout = _layout(path, content[:end].decode('ascii', 'replace').splitlines())
    body = content[end + len(b'end_header\n') :]
    if len(body) < count * layout.itemsize:
        raise MappingError(
            f'{path} ends after {len(body)} bytes of Gaussians, expected {count * layout.itemsize}'
        )
    vertices = np.frombuffer(body, layout, count)

    def columns(names: tuple[str, ...]) -> torch.Tensor:
        return torch.from_numpy(np.stack([vertices[name] for name in names], 1).astype('f4'))

    return Gaussians(
        means=columns(_POSITION),
        log_scales=columns(_SCALE),
        quaternions=columns(_ROTATION),
        opacity_logits=columns(_OPACITY)[:, 0],
        f_dc=columns(_COLOUR),
    )


def _layout(path: Path, header: list[str]) -> tuple[int, np.dtype]:
    """Number of vertices and the layout of one."""
    if 'format binary_little_endian 1.0' not in header:
        raise MappingError(f'{path} is not binary little-endian, which 3DGS .ply files are')
    words = [line.split() for line in header]
    elements = [i for i, word in enumerate(words) if word[:1] == ['element']]
    first = words[elements[0]] if elements else []
    if len(first) != 3 or first[1] != 'vertex' or not first[2].isdigit():
        raise MappingError(f'{path} does not begin with vertices, expected "element vertex N"')
    last = elements[1] if len(elements) > 1 else len(words)
    properties = [word for word in words[elements[0] : last] if word[:1] == ['property']]
    for word in properties:
        if len(word) != 3 or word[1] not in _TYPES:
            name = ' '.join(word[1:])
            raise MappingError(f'{path} has the property {name!r}, expected a number')
    layout = np.dtype([(name, _TYPES[kind]) for _, kind, name in properties])
    missing = set(_WRITTEN) - set(_NORMAL) - set(layout.names or ())
    if missing:
        raise MappingError(f'{path} has no {", ".join(sorted(missing))}: it holds no Gaussians')
    return int(first[2]), layout
