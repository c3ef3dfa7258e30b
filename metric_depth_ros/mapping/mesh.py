"""Surfaces and clouds that come out of a map, and the PLY files every viewer opens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from .saving import write_whole
from .view import MappingError

_FLOATS = ('x', 'y', 'z', 'nx', 'ny', 'nz')
_COLOURS = ('red', 'green', 'blue')
_VERTEX = np.dtype([*((name, '<f4') for name in _FLOATS), *((name, 'u1') for name in _COLOURS)])
_FACE = np.dtype([('count', 'u1'), ('corners', '<i4', 3)])


@dataclass(frozen=True)
class Cloud:
    """Points (N, 3) float32 in metres, normals (N, 3) float32 out of the surface, colours (N, 3)
    uint8 RGB."""

    points: Tensor
    normals: Tensor
    colours: Tensor


@dataclass(frozen=True)
class Mesh:
    """A surface of triangles, counter-clockwise as seen from outside.

    vertices: (V, 3) float32, metres. triangles: (F, 3) int64, indices of vertices. normals: (V, 3)
    float32, unit, out of the surface. colours: (V, 3) uint8 RGB.
    """

    vertices: Tensor
    triangles: Tensor
    normals: Tensor
    colours: Tensor

    @classmethod
    def empty(cls) -> Mesh:
        """No vertices and no triangles."""
        none = torch.zeros(0, 3)
        return cls(none, none.long(), none, none.byte())

    def select(self, chosen: Tensor) -> Mesh:
        """The triangles where `chosen` (F,) bool says so, and the vertices that they need."""
        triangles = self.triangles[chosen]
        used, corners = torch.unique(triangles, return_inverse=True)
        return Mesh(
            self.vertices[used],
            corners.reshape(-1, 3),
            self.normals[used],
            self.colours[used],
        )


def join(meshes: Iterable[Mesh]) -> Mesh:
    """All triangles of several meshes in one."""
    parts = [mesh for mesh in meshes if len(mesh.vertices)] or [Mesh.empty()]
    first = np.cumsum([0, *(len(mesh.vertices) for mesh in parts)])
    return Mesh(
        torch.cat([mesh.vertices for mesh in parts]),
        torch.cat([mesh.triangles + int(n) for mesh, n in zip(parts, first[:-1], strict=True)]),
        torch.cat([mesh.normals for mesh in parts]),
        torch.cat([mesh.colours for mesh in parts]),
    )


def write_mesh(path: Path, mesh: Mesh) -> None:
    """Write a binary PLY file of vertices with normals and colours, and faces.

    Raises:
        MappingError: the file could not be written; what was there before is kept.
    """
    vertices = _vertices(mesh.vertices, mesh.normals, mesh.colours)
    faces = np.empty(len(mesh.triangles), dtype=_FACE)
    faces['count'] = 3
    faces['corners'] = mesh.triangles.numpy()
    _write(path, vertices, faces)


def write_cloud(path: Path, cloud: Cloud) -> None:
    """Write a binary PLY file of points with normals and colours.

    Raises:
        MappingError: the file could not be written; what was there before is kept.
    """
    _write(path, _vertices(cloud.points, cloud.normals, cloud.colours), None)


def read_mesh(path: Path) -> Mesh:
    """Read what `write_mesh` wrote.

    Raises:
        MappingError: the file is another kind of PLY, or cut short.
    """
    with path.open('rb') as file:
        header = _read_header(file)
        counts = [int(line.split()[2]) for line in header if line.startswith('element')]
        if len(counts) != 2 or header != _header(*counts):
            raise MappingError(f'{path} is no mesh that this program wrote')
        vertices = np.fromfile(file, _VERTEX, counts[0])
        faces = np.fromfile(file, _FACE, counts[1])
    if (len(vertices), len(faces)) != tuple(counts):
        raise MappingError(f'{path} is cut short, expected {counts[1]} triangles')

    def columns(names: Sequence[str]) -> Tensor:
        return torch.from_numpy(np.stack([vertices[name] for name in names], -1))

    return Mesh(
        columns(_FLOATS[:3]),
        torch.from_numpy(faces['corners'].astype(np.int64)),
        columns(_FLOATS[3:]),
        columns(_COLOURS),
    )


def _vertices(points: Tensor, normals: Tensor, colours: Tensor) -> np.ndarray:
    vertices = np.empty(len(points), dtype=_VERTEX)
    for axis in range(3):
        vertices[_FLOATS[axis]] = points.numpy()[:, axis]
        vertices[_FLOATS[3 + axis]] = normals.numpy()[:, axis]
        vertices[_COLOURS[axis]] = colours.numpy()[:, axis]
    return vertices


def _header(vertices: int, faces: int | None) -> list[str]:
    face = [f'element face {faces}', 'property list uchar int vertex_indices']
    return [
        'ply',
        'format binary_little_endian 1.0',
        f'element vertex {vertices}',
        *(f'property float {name}' for name in _FLOATS),
        *(f'property uchar {name}' for name in _COLOURS),
        *(face if faces is not None else ()),
        'end_header',
    ]


def _read_header(file: BinaryIO) -> list[str]:
    lines = []
    for line in iter(file.readline, b''):
        lines.append(line.decode('ascii', errors='replace').rstrip('\n'))
        if lines[-1] == 'end_header' or lines[0] != 'ply':
            break
    return lines


def _write(path: Path, vertices: np.ndarray, faces: np.ndarray | None) -> None:
    header = _header(len(vertices), None if faces is None else len(faces))

    def write(file: BinaryIO) -> None:
        file.write('\n'.join(header).encode('ascii') + b'\n')
        file.write(vertices.data)
        if faces is not None:
            file.write(faces.data)

    write_whole(path, write)
