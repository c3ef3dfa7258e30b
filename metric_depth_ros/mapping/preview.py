"""A map made small enough to be looked at while it grows."""

from __future__ import annotations

import torch
from torch import Tensor

from .mesh import Cloud, Mesh

_MAX_CELLS = 1 << 20  # along one axis, so that three numbers fit into an int64


def thinned(cloud: Cloud, max_points: int) -> Cloud:
    """Every n-th point, so that there are at most `max_points`."""
    step = -(-len(cloud.points) // max_points) if len(cloud.points) > max_points else 1
    return Cloud(cloud.points[::step], cloud.normals[::step], cloud.colours[::step])


def coarser(mesh: Mesh, max_triangles: int, cell: float) -> Mesh:
    """The mesh with all vertices in a cell joined, in cells just large enough for the limit.

    Rossignac and Borrel, "Multi-resolution 3D approximations for rendering complex scenes" (1993).

    Args:
        cell: metres, the smallest cell that is tried; each further one is twice as wide.
    """
    while len(mesh.triangles) > max_triangles:
        mesh = _clustered(mesh, cell)
        cell *= 2
    return mesh


def _clustered(mesh: Mesh, cell: float) -> Mesh:
    lowest = mesh.vertices.amin(0)
    place = ((mesh.vertices - lowest) / cell).long().clamp_max(_MAX_CELLS - 1)
    code = (place[:, 0] * _MAX_CELLS + place[:, 1]) * _MAX_CELLS + place[:, 2]
    cells, member = torch.unique(code, return_inverse=True)
    count = torch.bincount(member, minlength=len(cells))[:, None]

    def mean(values: Tensor) -> Tensor:
        total = values.new_zeros(len(cells), 3, dtype=torch.float32)
        return total.index_add_(0, member, values.float()) / count

    corners = member[mesh.triangles]
    a, b, c = corners.unbind(-1)
    kept = corners[(a != b) & (b != c) & (c != a)]
    normals = torch.nn.functional.normalize(mean(mesh.normals), dim=-1)
    joined = Mesh(mean(mesh.vertices), kept, normals, mean(mesh.colours).round().byte())
    return joined.select(torch.ones(len(kept), dtype=torch.bool))
