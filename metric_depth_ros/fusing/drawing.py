"""Surfaces and points drawn by a z-buffer, in plain torch: no window, no graphics driver.

What is nearest wins a pixel by one scatter: a depth's bits, which order as depths do, and below
them the number of the triangle or point.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import rigid
from ..types import Camera

_NEAR = 0.01  # metres
_NOTHING = torch.iinfo(torch.int64).max
_MAX_TESTS = 1 << 21  # pixels asked of triangles at once
_EDGE = 1e-4  # so that no gap opens between two triangles


@dataclass(frozen=True)
class Drawn:
    """What a camera sees of a surface.

    triangles: (F, 3) of the surface. winner: (H, W) which of them; -1 where there is none.
    weights: (H, W, 3) of its corners, summing to 1. depth: (H, W) metres along z, NaN where there
        is nothing.
    """

    triangles: Tensor
    winner: Tensor
    weights: Tensor
    depth: Tensor

    @property
    def seen(self) -> Tensor:
        """(H, W) bool, pixels that show the surface."""
        return self.winner >= 0

    def interpolate(self, values: Tensor) -> Tensor:
        """(H, W, C) float32 of values at the vertices (V, C); 0 where there is nothing."""
        out = torch.zeros(*self.winner.shape, values.shape[1])
        seen = self.seen
        corners = values.float()[self.triangles[self.winner[seen]]]
        out[seen] = (corners * self.weights[seen][..., None]).sum(1)
        return out


def draw_surface(
    vertices: Tensor,  # (V, 3) float32 metres, world
    triangles: Tensor,  # (F, 3), counter-clockwise from outside
    camera: Camera,
    world_from_camera: Tensor,  # (4, 4) float64
) -> Drawn:
    """The front of a surface as a pinhole camera sees it; its back is not drawn.

    So a room looked at from outside opens like a doll's house.
    """
    place = _in_camera(vertices, world_from_camera)
    corners = place[triangles]
    a, b, c = corners.unbind(1)
    facing = (torch.linalg.cross(b - a, c - a) * a).sum(-1) < 0
    kept = (facing & (corners[..., 2] > _NEAR).all(-1)).nonzero()[:, 0]
    corners = corners[kept]
    pixels = _pixels(corners, camera)
    size = (camera.height, camera.width)
    buffer = torch.full((camera.height * camera.width,), _NOTHING)
    for chosen, u, v in _boxes(pixels, size):
        weights, depth = _barycentric(pixels[chosen], corners[chosen], u, v)
        inside = (weights >= -_EDGE).all(-1) & (u < size[1]) & (v < size[0])
        key = _key(depth, chosen[:, None].expand_as(depth))
        target = (v * size[1] + u)[inside]
        buffer.scatter_reduce_(0, target, key[inside], 'amin')
    hit = (buffer != _NOTHING).nonzero()[:, 0]
    index = buffer[hit] & 0xFFFFFFFF
    weights, depth = _barycentric(
        pixels[index], corners[index], (hit % size[1])[:, None], (hit // size[1])[:, None]
    )
    winner = torch.full_like(buffer, -1)
    winner[hit] = kept[index]
    all_weights = torch.zeros(len(buffer), 3)
    all_weights[hit] = weights[:, 0].clamp_min(0)
    all_weights[hit] /= all_weights[hit].sum(-1, keepdim=True)
    all_depth = torch.full((len(buffer),), torch.nan)
    all_depth[hit] = depth[:, 0]
    return Drawn(triangles, winner.view(size), all_weights.view(*size, 3), all_depth.view(size))


def draw_points(
    points: Tensor,  # (N, 3) float32 metres, world
    width: float,  # metres
    camera: Camera,
    world_from_camera: Tensor,  # (4, 4) float64
) -> Tensor:
    """(H, W) which point a pinhole camera sees, each a square so wide; -1 where there is none."""
    place = _in_camera(points, world_from_camera)
    kept = (place[:, 2] > _NEAR).nonzero()[:, 0]
    place = place[kept]
    centre = _pixels(place, camera)
    reach = width / 2 * camera.fx / place[:, 2].clamp_min(_NEAR)
    # At least the pixel that it falls into.
    corners = torch.stack((centre - reach[:, None], centre + reach[:, None]), 1)
    corners = torch.where((reach < 0.5)[:, None, None], centre[:, None].round(), corners)
    buffer = torch.full((camera.height * camera.width,), _NOTHING)
    for chosen, u, v in _boxes(corners, (camera.height, camera.width)):
        high = corners[chosen, 1]
        inside = (u <= high[:, :1]) & (v <= high[:, 1:]) & (u < camera.width) & (v < camera.height)
        key = _key(place[chosen, 2:3].expand(u.shape), chosen[:, None].expand(u.shape))
        buffer.scatter_reduce_(0, (v * camera.width + u)[inside], key[inside], 'amin')
    winner = torch.full_like(buffer, -1)
    hit = buffer != _NOTHING
    winner[hit] = kept[buffer[hit] & 0xFFFFFFFF]
    return winner.view(camera.height, camera.width)


def _in_camera(points: Tensor, world_from_camera: Tensor) -> Tensor:
    pose = rigid.inverse(world_from_camera).to(points)
    return points @ pose[:3, :3].T + pose[:3, 3]


def _pixels(points: Tensor, camera: Camera) -> Tensor:
    focal = points.new_tensor((camera.fx, camera.fy))
    centre = points.new_tensor((camera.cx, camera.cy))
    return points[..., :2] / points[..., 2:].clamp_min(_NEAR) * focal + centre


def _boxes(corners: Tensor, size: tuple[int, int]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Which shapes (M,), and pixels u, v (M, K) that hold their boxes inside the image.

    Shapes of about one size come together, so that K is small for the many that are small.

    Args:
        corners: (N, C, 2) pixels. size: height, width.
    """
    last = corners.new_tensor((size[1] - 1, size[0] - 1))
    low = corners.amin(1).ceil().clamp_min(0)
    extent = (corners.amax(1).floor().clamp_max(last) - low + 1).amin(1)
    longest = (corners.amax(1).floor().clamp_max(last) - low + 1).amax(1)
    side = 1
    shown = extent >= 1
    while bool(shown.any()):
        chosen = (shown & (longest <= side)).nonzero()[:, 0]
        shown &= longest > side
        steps = torch.arange(side)
        v, u = (grid.flatten() for grid in torch.meshgrid(steps, steps, indexing='ij'))
        for some in chosen.split(max(1, _MAX_TESTS // side**2)):
            left, top = low[some].long().unbind(-1)
            yield some, left[:, None] + u, top[:, None] + v
        side *= 2


def _barycentric(pixels: Tensor, corners: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """(M, K, 3) weights of the corners in space, and (M, K) depth, where pixels lie on triangles.

    Args:
        pixels: (M, 3, 2). corners: (M, 3, 3) metres. u, v: (M, K).
    """
    a, b, c = pixels.unbind(1)

    def area(p: Tensor, q: Tensor) -> Tensor:
        along = (q - p)[:, None]
        return along[..., 0] * (v - p[:, None, 1]) - along[..., 1] * (u - p[:, None, 0])

    flat = torch.stack((area(b, c), area(c, a), area(a, b)), -1)
    flat = flat / flat.sum(-1, keepdim=True)
    over_z = flat / corners[:, None, :, 2]
    total = over_z.sum(-1)
    return over_z / total[..., None], 1 / total


def _key(depth: Tensor, index: Tensor) -> Tensor:
    bits = depth.float().contiguous().view(torch.int32).long()
    return (bits << 32) | index
