"""Shapes as signed distance fields, and what builds larger shapes of them.

A field takes points (3, N) in metres and gives (N,) metres: negative inside, 0 on the surface and,
outside, never more than the distance to it, so that a ray may always step that far (Hart 1996,
"Sphere tracing"). Shapes stand in their own frame, z up; `moved` puts them elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Field = Callable[[Tensor], Tensor]
Vector = tuple[float, float, float]


# --- shapes -----------------------------------------------------------------------------------


def sphere(radius: float) -> Field:
    return lambda points: _length(*points) - radius


def box(half: Vector, rounding: float = 0.0) -> Field:
    """A box of half sizes `half`, which contains its rounded edges."""
    inner = [size - rounding for size in half]

    def field(points: Tensor) -> Tensor:
        beyond = [axis.abs() - size for axis, size in zip(points, inner, strict=True)]
        inside = torch.maximum(torch.maximum(beyond[0], beyond[1]), beyond[2]).clamp(max=0)
        return _length(*(axis.clamp(min=0) for axis in beyond)) + inside - rounding

    return field


def ellipsoid(half: Vector) -> Field:
    """Exact on its surface, a lower bound elsewhere."""

    def field(points: Tensor) -> Tensor:
        scaled = [axis / size for axis, size in zip(points, half, strict=True)]
        return (_length(*scaled) - 1) * min(half)

    return field


def capsule(start: Vector, end: Vector, radius: float, end_radius: float | None = None) -> Field:
    """A thick line; of another radius at its end if `end_radius` is given."""
    change = 0.0 if end_radius is None else end_radius - radius
    axis = [b - a for a, b in zip(start, end, strict=True)]
    squared = sum(part * part for part in axis)
    shrink = 1 / math.sqrt(1 + change * change / squared)

    def field(points: Tensor) -> Tensor:
        offset = [p - a for p, a in zip(points, start, strict=True)]
        along = _dot(offset, axis).div(squared).clamp(0, 1)
        distance = _length(*(p - along * a for p, a in zip(offset, axis, strict=True)))
        return (distance - radius - change * along) * shrink

    return field


def cylinder(radius: float, half_height: float, rounding: float = 0.0) -> Field:
    """Upright, around the origin."""

    def field(points: Tensor) -> Tensor:
        x, y, z = points
        sideways = _length(x, y) - (radius - rounding)
        upwards = z.abs() - (half_height - rounding)
        inside = torch.maximum(sideways, upwards).clamp(max=0)
        return _length(sideways.clamp(min=0), upwards.clamp(min=0)) + inside - rounding

    return field


def cone(bottom: float, top: float, half_height: float) -> Field:
    """Upright, cut off flat, of radius `bottom` at -half_height and `top` at +half_height."""
    slope_x, slope_z = top - bottom, 2 * half_height
    norm = math.hypot(slope_x, slope_z)

    def field(points: Tensor) -> Tensor:
        x, y, z = points
        side = ((_length(x, y) - bottom) * slope_z - (z + half_height) * slope_x) / norm
        return torch.maximum(side, z.abs() - half_height)

    return field


def torus(major: float, minor: float) -> Field:
    """A ring that lies flat around the origin."""

    def field(points: Tensor) -> Tensor:
        x, y, z = points
        return _length(_length(x, y) - major, z) - minor

    return field


def tunnel(half_width: float, springing: float) -> Field:
    """The inside of an endless round-vaulted passage along y, without a floor.

    The walls are upright up to `springing`, where the half circle of the vault starts.
    """

    def field(points: Tensor) -> Tensor:
        x, _, z = points
        return _length(x, (z - springing).clamp(min=0)) - half_width

    return field


def height_field(height: Callable[[Tensor, Tensor], Tensor], steepness: float) -> Field:
    """Ground of height(x, y), whose slope never exceeds `steepness`."""
    shrink = 1 / math.sqrt(1 + steepness**2)
    return lambda points: (points[2] - height(points[0], points[1])) * shrink


# --- combinations -----------------------------------------------------------------------------


def moved(field: Field, offset: Vector, yaw: float = 0.0, pitch: float = 0.0) -> Field:
    """The shape, first pitched (about its y axis, radians), then turned about z, then moved."""
    cos, sin = math.cos(yaw), math.sin(yaw)
    tilt_cos, tilt_sin = math.cos(pitch), math.sin(pitch)

    def there(points: Tensor) -> Tensor:
        x, y, z = (axis - shift for axis, shift in zip(points, offset, strict=True))
        if yaw:
            x, y = cos * x + sin * y, cos * y - sin * x
        if pitch:
            x, z = tilt_cos * x - tilt_sin * z, tilt_sin * x + tilt_cos * z
        return field(torch.stack([x, y, z]))

    return there


def union(*fields: Field) -> Field:
    def field(points: Tensor) -> Tensor:
        distance = fields[0](points)
        for other in fields[1:]:
            distance = torch.minimum(distance, other(points))
        return distance

    return field


def smooth_union(width: float, *fields: Field) -> Field:
    """Shapes that flow into each other where they are nearer than about `width` (Quilez)."""

    def field(points: Tensor) -> Tensor:
        distance = fields[0](points)
        for other in fields[1:]:
            further = other(points)
            blend = (width - (distance - further).abs()).clamp(min=0)
            distance = torch.minimum(distance, further) - blend * blend / (4 * width)
        return distance

    return field


def carved(field: Field, *tools: Field) -> Field:
    """The shape without what the tools take away."""

    def rest(points: Tensor) -> Tensor:
        distance = field(points)
        for tool in tools:
            distance = torch.maximum(distance, -tool(points))
        return distance

    return rest


def outside(field: Field) -> Field:
    """Everything that the shape is not."""
    return lambda points: -field(points)


def repeated(field: Field, axis: int, spacing: float, count: int) -> Field:
    """`count` copies along one axis, the middle at the origin, of a shape even in that axis."""
    last = (count - 1) / 2

    def copies(points: Tensor) -> Tensor:
        parts = list(points)
        nearest = (parts[axis] / spacing + last).round().clamp(0, count - 1) - last
        parts[axis] = parts[axis] - spacing * nearest
        return field(torch.stack(parts))

    return copies


def _length(*parts: Tensor) -> Tensor:
    total = parts[0] * parts[0]
    for part in parts[1:]:
        total = total + part * part
    return total.sqrt()


def _dot(parts: list[Tensor], weights: list[float]) -> Tensor:
    return sum((p * w for p, w in zip(parts, weights, strict=True)), torch.zeros_like(parts[0]))
