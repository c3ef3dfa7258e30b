"""Where rays meet a scene of distance fields, which way its surfaces face, what shades them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from .distance_fields import Field, Vector
from .field_look import Material

# Beyond it there is sky, metres.
FAR = 300.0
MAX_STEPS = 130
# A ray this near to a surface has arrived, metres, and metres a metre of ray; then it is polished.
TOLERANCE = 2e-4
# A ray that creeps along a surface must move on: its least step is a share of its length, which
# grows with every step. By the time it comes near to a pixel, only few rays are left.
LEAST_STEP, LEAST_STEP_GROWTH = 1e-4, 1.06
# Nearer than this to a thing's bounding sphere its own field is evaluated, metres.
BOUND_MARGIN = 0.1


@dataclass(frozen=True)
class Solid:
    """A shape and what it is made of."""

    field: Field
    material: Material


@dataclass(frozen=True)
class Thing:
    """Solids in a frame of their own, all within `radius` of `middle` (above its origin)."""

    solids: tuple[Solid, ...]
    middle: float
    radius: float
    position: Vector = (0.0, 0.0, 0.0)
    yaw: float = 0.0

    def local(self, points: Tensor) -> Tensor:
        x, y, z = (axis - shift for axis, shift in zip(points, self.position, strict=True))
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        return torch.stack([cos * x + sin * y, cos * y - sin * x, z])

    def distances(self, points: Tensor) -> Tensor:
        """(S, N) to each of its solids, or less."""
        here = self.local(points)
        return torch.stack([solid.field(here) for solid in self.solids])

    def beyond_bound(self, points: Tensor) -> Tensor:
        x, y, z = (axis - shift for axis, shift in zip(points, self.position, strict=True))
        return (x * x + y * y + (z - self.middle) ** 2).sqrt() - self.radius


@dataclass(frozen=True)
class Plane:
    """Half of space is solid: where normal . point < offset."""

    normal: Vector
    offset: float
    material: Material


@dataclass(frozen=True)
class FieldScene:
    """One scene: planes, shapes without bounds (vaults, terrain), and things with bounds."""

    planes: tuple[Plane, ...]
    solids: tuple[Solid, ...]
    things: tuple[Thing, ...]

    @cached_property
    def materials(self) -> tuple[Material, ...]:
        """Of every surface, in the order in which `nearest` counts them."""
        shapes = [*self.solids, *(solid for thing in self.things for solid in thing.solids)]
        of_planes = tuple(plane.material for plane in self.planes)
        return of_planes + tuple(solid.material for solid in shapes)

    def heights(self, points: Tensor) -> Tensor:
        """(P, N) signed distances of points (3, N) to the planes."""
        normals = points.new_tensor([plane.normal for plane in self.planes]).reshape(-1, 3)
        offsets = points.new_tensor([plane.offset for plane in self.planes])
        return normals @ points - offsets[:, None]

    def shape_distance(self, points: Tensor) -> Tensor:
        """(N,) distance to everything but the planes, or less."""
        best = torch.full_like(points[0], FAR)
        for solid in self.solids:
            best = torch.minimum(best, solid.field(points))
        for thing in self.things:
            bound = thing.beyond_bound(points)
            far = bound >= BOUND_MARGIN
            near = (~far & (bound < best)).nonzero()[:, 0]
            best = torch.where(far, torch.minimum(best, bound), best)
            if len(near):
                detail = thing.distances(points[:, near]).amin(0)
                best[near] = torch.minimum(best[near], detail)
        return best

    def distance(self, points: Tensor) -> Tensor:
        """(N,) distance of points (3, N) to the nearest surface, or less."""
        best = self.shape_distance(points)
        return torch.minimum(best, self.heights(points).amin(0)) if self.planes else best

    def nearest(self, points: Tensor) -> Tensor:
        """(N,) index in `materials` of the surface on which points (3, N) lie."""
        distances = [self.heights(points)] if self.planes else []
        distances += [solid.field(points)[None] for solid in self.solids]
        for thing in self.things:
            own = points.new_full((len(thing.solids), points.shape[1]), torch.inf)
            near = (thing.beyond_bound(points) < BOUND_MARGIN).nonzero()[:, 0]
            if len(near):
                own[:, near] = thing.distances(points[:, near])
            distances.append(own)
        return torch.cat(distances).argmin(0)


def trace(scene: FieldScene, origin: Tensor, directions: Tensor) -> Tensor:
    """(N,) length of the rays along unit directions (3, N) from origin (3,); +inf for the sky.

    Planes are met exactly, shapes by stepping as far as their fields allow.
    """
    result = torch.full_like(directions[0], torch.inf)
    ray = torch.arange(directions.shape[1], device=directions.device)
    every_direction, origin = directions, origin[:, None]
    length = torch.full_like(result, 0.02)
    before, distance_before = length, torch.full_like(length, torch.inf)
    last_steps = torch.zeros(4, len(ray), device=directions.device)
    on_shape = torch.zeros_like(ray, dtype=torch.bool)
    least = LEAST_STEP
    for _ in range(MAX_STEPS):
        points = origin + length * directions
        distance = scene.shape_distance(points)
        step, above_plane = _to_planes(scene, points, directions)
        on_plane = above_plane < TOLERANCE
        arrived = (distance < TOLERANCE * (1 + length)) | on_plane
        result[ray[arrived]] = length[arrived]
        on_shape[ray] = arrived & ~on_plane
        last_steps[:, ray] = torch.stack([before, distance_before, length, distance])
        going = (~arrived & (length < FAR)).nonzero()[:, 0]
        if not len(going):
            break
        ray, directions = ray[going], directions[:, going]
        before, distance_before = length[going], distance[going]
        forward = torch.maximum(distance_before, least * before)
        length = before + torch.minimum(forward, step[going])
        least *= LEAST_STEP_GROWTH
    else:
        result[ray] = length
    if on_shape.any():
        result[on_shape] = _polish(
            scene, origin, every_direction[:, on_shape], last_steps[:, on_shape]
        )
    return torch.where(result < FAR, result, torch.inf)


def _to_planes(scene: FieldScene, points: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """How far the rays may go before they meet a plane, and how far points are above the planes
    that they approach; both (N,), +inf where they approach none.
    """
    if not scene.planes:
        nowhere = torch.full_like(points[0], torch.inf)
        return nowhere, nowhere
    normals = points.new_tensor([plane.normal for plane in scene.planes])
    approach = -(normals @ directions)
    height = torch.where(approach > 1e-7, scene.heights(points), torch.inf)
    return (height / approach.clamp(min=1e-7)).amin(0).clamp(min=0), height.amin(0)


def _polish(
    scene: FieldScene,
    origin: Tensor,
    directions: Tensor,
    last_steps: Tensor,
) -> Tensor:
    """Lengths at which the distance is 0, by the secant through the last two steps of a ray."""
    first, first_distance, last, last_distance = last_steps
    near, near_distance, far, far_distance = first, first_distance, last, last_distance
    limit = far + 0.05 * (1 + far)
    for _ in range(4):
        change = far_distance - near_distance
        flat = change.abs() < 1e-9
        guess = far - far_distance * (far - near) / torch.where(flat, 1.0, change)
        guess = torch.where(flat | ~guess.isfinite(), far, guess)
        guess = torch.minimum(torch.maximum(guess, first), limit)
        near, near_distance = far, far_distance
        far, far_distance = guess, scene.shape_distance(origin + guess * directions)
    return torch.where(far_distance.abs() <= last_distance.abs(), far, last)


def normals(scene: FieldScene, points: Tensor, length: Tensor) -> Tensor:
    """(3, N) unit normals at points (3, N) seen from `length` metres, by differences."""
    width = 4e-4 * (1 + 0.5 * length)
    total = torch.zeros_like(points)
    for corner in ((1.0, -1.0, -1.0), (-1.0, -1.0, 1.0), (-1.0, 1.0, -1.0), (1.0, 1.0, 1.0)):
        way = points.new_tensor(corner)[:, None]
        total += way * scene.distance(points + width * way)
    return F.normalize(total, dim=0)


def occlusion(scene: FieldScene, points: Tensor, normal: Tensor) -> Tensor:
    """(N,) share of the light from all around that reaches points, 0 to 1: what the distance
    falls short of along the normal is taken up by other surfaces.
    """
    blocked = torch.zeros_like(points[0])
    for reach, weight in ((0.04, 0.25), (0.15, 0.35), (0.5, 0.4)):
        free = scene.distance(points + reach * normal).clamp(min=0)
        blocked += weight * (1 - free / reach).clamp(0, 1)
    return 1 - 0.85 * blocked


def light_reaches(
    scene: FieldScene,
    points: Tensor,
    normal: Tensor,
    toward: Tensor,
    limit: Tensor,
    softness: float,
) -> Tensor:
    """(N,) share of a light that points (3, N) see, 0 to 1, softly between.

    toward: (3, N) unit directions to it. limit: (N,) metres to it. softness: its size as seen,
    radians.
    """
    share = torch.ones_like(points[0])
    start = points + 0.01 * normal
    length = torch.full_like(share, 0.02)
    active = ((normal * toward).sum(0) > 0).nonzero()[:, 0]
    for _ in range(28):
        if not len(active):
            break
        here = length[active]
        distance = scene.distance(start[:, active] + here * toward[:, active])
        passing = (0.5 + 0.5 * distance / (softness * here)).clamp(0, 1)
        share[active] = torch.minimum(share[active], passing)
        length[active] = here + distance.clamp(min=0.02, max=6.0) + 0.02 * here
        active = active[(passing > 0.02) & (length[active] < limit[active])]
    return share
