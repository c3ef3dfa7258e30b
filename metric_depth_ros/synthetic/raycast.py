"""Rays against primitives, exactly.

Every primitive is convex, so a ray meets it in one interval [near, far]. In the primitive's unit
frame (an affine map, which leaves the parameter along the ray as it is) there are only three
shapes: the cube, the cylinder and the sphere.

`cast_all_pairs` tests every ray against every primitive and is there to be read. `cast` gives
the same answer several times faster: it cuts the image into tiles and tests a tile's rays only
against the primitives that reach into the pyramid around them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from .scene import Kind, Scenes

# A surface nearer than this to the ray's origin is the one the ray starts from.
NEAREST = 1e-4
TILE = 8
NOTHING = 0x7F800000 << 32  # the key of +inf


@dataclass(frozen=True)
class Hits:
    """The first surface along each ray.

    ray_distance: (B, H, W) float32 metres, +inf where there is nothing.
    primitive: (B, H, W) int64 index into the scene, -1 where there is nothing.
    """

    ray_distance: Tensor
    primitive: Tensor


@dataclass(frozen=True)
class Surface:
    """The place that was hit; meaningless where `Hits.primitive` is -1.

    position: (B, H, W, 3) metres, world. normal: (B, H, W, 3) unit, towards the viewer's side.
    local: (B, H, W, 3) metres, in the primitive's frame.
    local_normal: (B, H, W, 3) outward, in the primitive's unit frame (not of unit length).
    """

    position: Tensor
    normal: Tensor
    local: Tensor
    local_normal: Tensor


def cast(scenes: Scenes, origins: Tensor, directions: Tensor) -> Hits:
    """The first surface that each ray meets.

    Args:
        scenes: B scenes.
        origins: (B, 3) metres, world; one for each scene.
        directions: (B, H, W, 3) finite unit vectors, world. Neighbours should point to similar
            directions: the speed, not the result, depends on it.
    """
    in_view, index = _in_view(scenes, origins, directions)
    hits = _cast_tiles(in_view, origins, directions)
    primitive = index.gather(1, hits.primitive.clamp(min=0).flatten(1))
    primitive = torch.where(hits.primitive < 0, -1, primitive.reshape(hits.primitive.shape))
    return Hits(hits.ray_distance, primitive)


def _in_view(scenes: Scenes, origins: Tensor, directions: Tensor) -> tuple[Scenes, Tensor]:
    """The scenes' primitives that any ray may meet, order kept, and (B, n) which they were."""
    whole = directions.flatten(1, 2).transpose(1, 2)[:, None]
    reached = _reached(scenes, origins, whole)[:, 0]
    count = max(1, int(reached.sum(1).max()))
    index = (~reached).sort(dim=1, stable=True).indices[:, :count]
    row = torch.arange(len(index), device=index.device)[:, None]
    kind = torch.where(reached[row, index], scenes.kind[row, index], int(Kind.NONE))
    chosen = replace(
        scenes,
        kind=kind,
        centre=scenes.centre[row, index],
        rotation=scenes.rotation[row, index],
        half_size=scenes.half_size[row, index],
        num_rooms=int((kind == Kind.ROOM).sum(1).max()),
    )
    return chosen, index


def cast_all_pairs(scenes: Scenes, origins: Tensor, directions: Tensor) -> Hits:
    """`cast` without any culling: the readable oracle, rays x primitives."""
    batch, height, width, _ = directions.shape
    to_local = scenes.local_from_world()
    start = _local_origins(scenes, to_local, origins)[..., None]
    local = to_local @ directions.reshape(batch, 1, -1, 3).transpose(-1, -2)
    distance = torch.full(local.shape[:2] + local.shape[3:], torch.inf, device=local.device)
    for kind in (Kind.BOX, Kind.CYLINDER, Kind.ELLIPSOID):
        mask = (scenes.kind == kind)[..., None]
        distance = torch.where(mask, _first(*_interval(kind, start, local)), distance)
    best, primitive = distance.min(1)
    return _finish(scenes, start, local, best, primitive, (height, width))


def surface(scenes: Scenes, hits: Hits, origins: Tensor, directions: Tensor) -> Surface:
    """Position, normal and local coordinates of what was hit; arguments as for `cast`."""
    found = hits.primitive >= 0
    distance = torch.where(found, hits.ray_distance, 1.0)[..., None]
    position = origins[:, None, None] + distance * directions
    to_local = gather(scenes.local_from_world(), hits.primitive)
    centre = gather(scenes.centre, hits.primitive)
    # Sums of products: batched products of matrices this small are slow.
    unit = (to_local * (position - centre)[..., None, :]).sum(-1)
    kind = gather(scenes.kind, hits.primitive)
    local_normal = _unit_normal(kind, unit)
    normal = (to_local * local_normal[..., None]).sum(-2)
    facing = torch.where((normal * directions).sum(-1, keepdim=True) > 0, -normal, normal)
    local = unit * gather(scenes.half_size, hits.primitive)
    return Surface(position, F.normalize(facing, dim=-1), local, local_normal)


def gather(values: Tensor, primitive: Tensor) -> Tensor:
    """values (B, N, ...) of each pixel's primitive (B, H, W), -1 read as 0 -> (B, H, W, ...)."""
    batch, count = values.shape[:2]
    first = torch.arange(batch, device=values.device)[:, None, None] * count
    index = (primitive.clamp(min=0) + first).reshape(-1)
    return values.flatten(0, 1).index_select(0, index).reshape(*primitive.shape, *values.shape[2:])


def _cast_tiles(scenes: Scenes, origins: Tensor, directions: Tensor) -> Hits:
    batch, height, width, _ = directions.shape
    tiles = _to_tiles(directions)  # (B, T, 3, rays of a tile)
    count = tiles.shape[1]
    to_local = scenes.local_from_world()
    start = _local_origins(scenes, to_local, origins)
    reached = _reached(scenes, origins, tiles)

    best = torch.full((batch * count, tiles.shape[-1]), NOTHING, device=tiles.device)
    flat_tiles, flat_local = tiles.flatten(0, 1), to_local.flatten(0, 1)
    flat_start = start.flatten(0, 1)
    for kind in (Kind.BOX, Kind.CYLINDER, Kind.ELLIPSOID):
        scene, tile, primitive = (reached & (scenes.kind == kind)[:, None]).nonzero().unbind(1)
        if not len(scene):
            continue
        row, pair = scene * count + tile, scene * scenes.kind.shape[1] + primitive
        local = torch.bmm(flat_local.index_select(0, pair), flat_tiles.index_select(0, row))
        distance = _first(*_interval(kind, flat_start.index_select(0, pair)[..., None], local))
        keys = _key(distance, primitive[:, None])
        best.scatter_reduce_(0, row[:, None].expand_as(keys), keys, 'amin')

    distance, primitive = _from_key(best)
    rooms = slice(0, scenes.num_rooms)
    all_rays = directions.reshape(batch, 1, -1, 3).transpose(-1, -2)
    return _finish(
        scenes,
        start[:, rooms, :, None],
        to_local[:, rooms] @ all_rays,
        _from_tiles(distance.reshape(batch, count, -1), height, width).flatten(1),
        _from_tiles(primitive.reshape(batch, count, -1), height, width).flatten(1),
        (height, width),
    )


def _key(distance: Tensor, primitive: Tensor) -> Tensor:
    """One int64 that orders by distance (>= 0, bits of a float32), then by primitive."""
    return (distance.contiguous().view(torch.int32).long() << 32) | primitive


def _from_key(key: Tensor) -> tuple[Tensor, Tensor]:
    return (key >> 32).to(torch.int32).view(torch.float32), key & 0xFFFFFFFF


def _finish(
    scenes: Scenes,
    start: Tensor,
    local: Tensor,
    distance: Tensor,
    primitive: Tensor,
    size: tuple[int, int],
) -> Hits:
    """Adds the rooms' walls to the nearest solid (B, H * W) and shapes the result."""
    rooms = scenes.num_rooms
    if rooms:
        near, far = _interval(Kind.BOX, start[:, :rooms], local[:, :rooms])
        is_room = (scenes.kind[:, :rooms] == Kind.ROOM)[..., None]
        wall, room = _leave_rooms(torch.where(is_room, near, torch.inf), far)
        primitive = torch.where(wall < distance, room, primitive)
        distance = torch.minimum(wall, distance)
    primitive = torch.where(distance.isinf(), -1, primitive)
    return Hits(distance.reshape(-1, *size), primitive.reshape(-1, *size))


def _leave_rooms(near: Tensor, far: Tensor) -> tuple[Tensor, Tensor]:
    """Where rays leave the union of the rooms: (B, R, P) intervals -> (B, P) distance, room.

    Walks from room to overlapping room; a ray that starts in none of them meets no wall.
    """
    distance = torch.zeros_like(near[:, 0])
    room = torch.zeros_like(distance, dtype=torch.long)
    for _ in range(near.shape[1]):
        entered = (near <= distance[:, None]) & (far > distance[:, None])
        reach, index = torch.where(entered, far, 0.0).max(1)
        further = reach > distance
        if not further.any():
            break
        room = torch.where(further, index, room)
        distance = torch.where(further, reach, distance)
    return torch.where(distance > 0, distance, torch.inf), room


def _local_origins(scenes: Scenes, to_local: Tensor, origins: Tensor) -> Tensor:
    return (to_local @ (origins[:, None] - scenes.centre)[..., None])[..., 0]


def _interval(kind: Kind, start: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """Where rays are inside the unit shape: start (..., 3, 1), direction (..., 3, P) -> (..., P).

    A ray that misses gets near > far.
    """
    x, y, z = direction.unbind(-2)
    ox, oy, oz = start.unbind(-2)
    if kind == Kind.BOX:
        near_x, far_x = _slab(ox, x)
        near_y, far_y = _slab(oy, y)
        near_z, far_z = _slab(oz, z)
        near = torch.maximum(torch.maximum(near_x, near_y), near_z)
        return near, torch.minimum(torch.minimum(far_x, far_y), far_z)
    if kind == Kind.CYLINDER:
        near, far = _round((ox, oy), (x, y))
        near_z, far_z = _slab(oz, z)
        return torch.maximum(near, near_z), torch.minimum(far, far_z)
    return _round((ox, oy, oz), (x, y, z))


def _slab(origin: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """Interval between two parallel planes at -1 and 1 (Kay and Kajiya, 1986)."""
    # The tiny addend turns 0 * inf of a ray within the plane into a plain large number.
    inverse = (direction + 1e-20).reciprocal_()
    middle = -origin * inverse
    half = inverse.abs_()
    return middle - half, middle + half


def _round(origin: tuple[Tensor, ...], direction: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Interval within distance 1 of the origin, in 2 or 3 dimensions.

    From the point of closest approach instead of the textbook's discriminant, which loses all
    its digits on a thin pole far away.
    """
    squared = sum((d * d for d in direction[1:]), direction[0] * direction[0]) + 1e-20
    along = sum(
        (o * d for o, d in zip(origin[1:], direction[1:], strict=True)), origin[0] * direction[0]
    )
    middle = -along / squared
    offset = [o + middle * d for o, d in zip(origin, direction, strict=True)]
    inside = 1.0 - sum((p * p for p in offset[1:]), offset[0] * offset[0])
    half = (inside.clamp(min=0) / squared).sqrt_()
    return torch.where(inside < 0, torch.inf, middle - half), middle + half


def _first(near: Tensor, far: Tensor) -> Tensor:
    """Distance to the first surface; from the inside, that is where the ray leaves."""
    distance = torch.where(near > NEAREST, near, far)
    return torch.where((near > far) | (far <= NEAREST), torch.inf, distance)


def _unit_normal(kind: Tensor, unit: Tensor) -> Tensor:
    """Outward normal in the unit frame at points (..., 3) of the unit shape's surface."""
    size = unit.abs()
    box = F.one_hot(size.argmax(-1), 3) * unit.sign()
    on_cap = size[..., 2] > unit[..., :2].norm(dim=-1)
    keep_z = unit.new_tensor([0.0, 0.0, 1.0])
    cylinder = unit * torch.where(on_cap[..., None], keep_z, 1.0 - keep_z)
    normal = torch.where((kind == Kind.CYLINDER)[..., None], cylinder, box)
    return torch.where((kind == Kind.ELLIPSOID)[..., None], unit, normal)


def _to_tiles(directions: Tensor) -> Tensor:
    """(B, H, W, 3) -> (B, tiles, 3, TILE * TILE); the border is repeated to fill the last ones."""
    batch, height, width, _ = directions.shape
    planes = directions.permute(0, 3, 1, 2)
    down, right = -height % TILE, -width % TILE
    if down or right:
        planes = F.pad(planes, (0, right, 0, down), mode='replicate')
    rows, columns = (height + down) // TILE, (width + right) // TILE
    tiles = planes.reshape(batch, 3, rows, TILE, columns, TILE).permute(0, 2, 4, 1, 3, 5)
    return tiles.reshape(batch, rows * columns, 3, TILE * TILE)


def _from_tiles(values: Tensor, height: int, width: int) -> Tensor:
    """(B, tiles, TILE * TILE) -> (B, H, W), the inverse of `_to_tiles`."""
    rows, columns = -(-height // TILE), -(-width // TILE)
    image = values.reshape(-1, rows, columns, TILE, TILE).transpose(2, 3)
    return image.reshape(-1, rows * TILE, columns * TILE)[:, :height, :width]


def _reached(scenes: Scenes, origins: Tensor, tiles: Tensor) -> Tensor:
    """(B, T, N) whether a primitive's box reaches into the pyramid around a tile's rays."""
    batch, count = tiles.shape[:2]
    normals = _pyramid(tiles).reshape(batch, count * 5, 3)
    offset = scenes.centre - origins[:, None]
    axes = scenes.rotation * scenes.half_size[..., None, :]
    depth = normals @ offset.transpose(-1, -2)
    extent = (normals[:, None] @ axes.permute(0, 3, 2, 1)).abs().sum(1)
    # The margin covers rounding, which would matter to a ray within the pyramid's very side.
    inside = depth + extent >= -1e-4 * (1 + depth.abs())
    reached = inside.reshape(batch, count, 5, -1).all(2)
    return reached & (scenes.kind != Kind.NONE)[:, None]


def _pyramid(tiles: Tensor) -> Tensor:
    """(B, T, 5, 3) inward normals of planes through the origin that hold a tile's rays between.

    Four sides and the half space in front. Rays too far apart for a pyramid get none (zeros).
    """
    axis = F.normalize(tiles.mean(-1), dim=-1)
    helper = F.one_hot(axis.abs().argmin(-1), 3).to(axis)
    right = F.normalize(torch.linalg.cross(axis, helper), dim=-1)
    up = torch.linalg.cross(axis, right)
    along, x, y = (torch.stack([axis, right, up], -2) @ tiles).unbind(-2)
    x, y = x / along, y / along
    planes = torch.stack(
        [
            right - x.amin(-1, keepdim=True) * axis,
            x.amax(-1, keepdim=True) * axis - right,
            up - y.amin(-1, keepdim=True) * axis,
            y.amax(-1, keepdim=True) * axis - up,
            axis,
        ],
        -2,
    )
    narrow = along.amin(-1) > 0.2
    return torch.where(narrow[..., None, None], planes, 0.0)
