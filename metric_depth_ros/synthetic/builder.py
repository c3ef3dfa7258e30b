"""Writing one scene down, primitive by primitive; `stack` makes a batch of tensors of several."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, TypedDict

import torch
from torch import Generator, Tensor

from .content import Content
from .materials import texture_bank
from .scene import Face, Kind, Lights, Scenes

if TYPE_CHECKING:
    from typing_extensions import Unpack

Vector = tuple[float, float, float]
# Draws something around the origin of the builder's frame, standing on z = 0, looking along x.
Thing = Callable[['SceneBuilder'], None]
WHITE: Vector = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Material:
    """A texture of the bank and how it is laid on.

    scale: stretches the texture's real size; 0 fits it to the face. gloss: 0 to 1.
    """

    texture: int
    tint: Vector = WHITE
    scale: float = 1.0
    gloss: float = 0.0


class Details(TypedDict, total=False):
    """What else a shape may be given: other materials on some faces, a turn, a glow."""

    top: Material | None
    bottom: Material | None
    front: Material | None
    yaw: float
    pitch: float
    roll: float
    glow: float


@dataclass
class SceneLights:
    """Light of one scene; the fields are those of scene.Lights."""

    sun_direction: Vector = (0.0, 0.0, 1.0)
    sun: Vector = (0.0, 0.0, 0.0)
    lamps: list[tuple[Vector, Vector]] = field(default_factory=list)
    ambient_up: Vector = (0.3, 0.3, 0.3)
    ambient_down: Vector = (0.2, 0.2, 0.2)
    zenith: Vector = (0.2, 0.4, 0.8)
    horizon: Vector = (0.7, 0.8, 0.9)
    clouds: float = 0.3
    haze: float = 0.0


class SceneBuilder:
    """Primitives of one scene, in the order they are added.

    Shapes are placed in the frame of the innermost `at`, so that a chair is described once,
    around its own origin, and stands anywhere.
    """

    def __init__(
        self, random: Random, split: str, *, outdoor: bool, content: Content | None = None
    ) -> None:
        self.random, self.split, self.outdoor = random, split, outdoor
        self.content = content or Content()
        self.lights = SceneLights()
        self.rows: list[list[float]] = []
        self.rooms: list[list[float]] = []
        self._origin: Vector = (0.0, 0.0, 0.0)
        self.yaw = 0.0
        self._roles = texture_bank(split).roles

    def material(
        self,
        role: str,
        *,
        tint: float = 0.2,
        scale: float | None = None,
        gloss: float | None = None,
    ) -> Material:
        """A random material for a role; its colour differs by up to `tint` from the texture's."""
        random = self.random
        value = random.uniform(1 - tint, 1 + 0.5 * tint)
        red, green, blue = (random.uniform(1 - tint / 2, 1 + tint / 2) for _ in range(3))
        return Material(
            random.choice(self._roles[role]),
            (value * red, value * green, value * blue),
            random.uniform(0.85, 1.15) if scale is None else scale,
            random.choice((0.0, 0.0, 0.3, 0.8)) if gloss is None else gloss,
        )

    @contextmanager
    def at(self, x: float, y: float, z: float = 0.0, yaw: float = 0.0) -> Iterator[None]:
        """Shapes added inside are placed around (x, y, z), turned by yaw (radians)."""
        outer = self._origin, self.yaw
        self._origin, self.yaw = self._world((x, y, z)), self.yaw + yaw
        try:
            yield
        finally:
            self._origin, self.yaw = outer

    def place(self, thing: Thing, x: float, y: float, z: float = 0.0, yaw: float = 0.0) -> None:
        """Draws one thing at (x, y, z), turned by yaw; without parts, the box around it."""
        first = len(self.rows)
        with self.at(x, y, z, yaw):
            thing(self)
            if not self.content.parts and len(self.rows) > first:
                self.rows[first:] = [self._box_around(self.rows[first:])]

    def _box_around(self, rows: list[list[float]]) -> list[float]:
        """A box of the largest row's material around all rows, turned like the current frame."""
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        low, high = [math.inf] * 3, [-math.inf] * 3
        for row in rows:
            x, y = row[1] - self._origin[0], row[2] - self._origin[1]
            centre = (c * x + s * y, c * y - s * x, row[3])
            turn = rotation_matrix(torch.tensor([row[4] - self.yaw, row[5], row[6]])).abs()
            for i, reach in enumerate((turn @ torch.tensor(row[7:10])).tolist()):
                low[i] = min(low[i], centre[i] - reach)
                high[i] = max(high[i], centre[i] + reach)
        largest = max(rows, key=lambda row: row[7] * row[8] * row[9])
        x, y, z = ((a + b) / 2 for a, b in zip(low, high, strict=True))
        place = (self._origin[0] + c * x - s * y, self._origin[1] + s * x + c * y, z)
        half = [(b - a) / 2 for a, b in zip(low, high, strict=True)]
        return [int(Kind.BOX), *place, self.yaw, 0.0, 0.0, *half, *largest[10:]]

    def box(
        self, centre: Vector, size: Vector, material: Material, **more: Unpack[Details]
    ) -> None:
        self._add(Kind.BOX, centre, size, material, **more)

    def cylinder(
        self,
        centre: Vector,
        radius: float,
        height: float,
        material: Material,
        **more: Unpack[Details],
    ) -> None:
        """Upright, unless turned."""
        self._add(Kind.CYLINDER, centre, (2 * radius, 2 * radius, height), material, **more)

    def rod(self, start: Vector, end: Vector, radius: float, material: Material) -> None:
        """A cylinder from one point to another: limbs, rails, cables."""
        dx, dy, dz = (b - a for a, b in zip(start, end, strict=True))
        length = math.sqrt(dx * dx + dy * dy + dz * dz)
        middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2, (start[2] + end[2]) / 2)
        slope = math.acos(dz / max(length, 1e-6))
        self.cylinder(middle, radius, length, material, yaw=math.atan2(dy, dx), pitch=slope)

    def ellipsoid(
        self, centre: Vector, size: Vector, material: Material, **more: Unpack[Details]
    ) -> None:
        self._add(Kind.ELLIPSOID, centre, size, material, **more)

    def room(
        self, centre: Vector, size: Vector, material: Material, **more: Unpack[Details]
    ) -> None:
        """Hollow; rooms that overlap are one space."""
        self._add(Kind.ROOM, centre, size, material, **more)

    def _world(self, point: Vector) -> Vector:
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        x, y, z = self._origin
        return (x + c * point[0] - s * point[1], y + s * point[0] + c * point[1], z + point[2])

    def _add(
        self,
        kind: Kind,
        centre: Vector,
        size: Vector,
        material: Material,
        *,
        top: Material | None = None,
        bottom: Material | None = None,
        front: Material | None = None,
        yaw: float = 0.0,
        pitch: float = 0.0,
        roll: float = 0.0,
        glow: float = 0.0,
    ) -> None:
        """size: full extents, metres. yaw, pitch, roll: radians about z, then y, then x."""
        faces = (material, top or material, bottom or material, front or material)
        x, y, z = self._world(centre)
        row = [int(kind), x, y, z, self.yaw + yaw, pitch, roll]
        row += [max(s, 1e-3) / 2 for s in size]
        row += [self.random.random(), self.random.random(), material.gloss, glow]
        for face in faces:
            row += (face.texture, face.scale, *face.tint)
        (self.rooms if kind == Kind.ROOM else self.rows).append(row)


def seeded(generator: Generator) -> Random:
    """A fast source of single numbers, seeded from a torch generator."""
    return Random(int(torch.randint(2**62, (), generator=generator)))


def stack(builders: Sequence[SceneBuilder]) -> Scenes:
    """Pads the scenes to a common number of rooms and of other primitives."""
    num_rooms = max(len(b.rooms) for b in builders)
    num_rest = max(len(b.rows) for b in builders)
    padding = [-1, *[0] * 6, *[1] * 3, *[0] * 4, *[0, 1, 1, 1, 1] * 4]
    flat = array('d')  # much faster to fill than a tensor
    for b in builders:
        for rows, count in ((b.rooms, num_rooms), (b.rows, num_rest)):
            for row in rows:
                flat.extend(row)
            flat.extend(padding * (count - len(rows)))
    table = torch.frombuffer(flat, dtype=torch.float64).reshape(len(builders), -1, len(padding))
    numbers = table.float()
    faces = numbers[..., 14:].unflatten(-1, (len(Face), 5))
    return Scenes(
        kind=table[..., 0].long(),
        centre=numbers[..., 1:4],
        rotation=rotation_matrix(numbers[..., 4:7]),
        half_size=numbers[..., 7:10],
        texture=faces[..., 0].long(),
        tint=faces[..., 2:],
        texture_scale=faces[..., 1],
        texture_offset=numbers[..., 10:12],
        gloss=numbers[..., 12],
        glow=numbers[..., 13],
        outdoor=torch.tensor([b.outdoor for b in builders]),
        lights=_stack_lights([b.lights for b in builders]),
        num_rooms=num_rooms,
        split=builders[0].split,
    )


def _stack_lights(lights: Sequence[SceneLights]) -> Lights:
    count = max([1, *(len(light.lamps) for light in lights)])
    dark = ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    lamps = torch.tensor([[*x.lamps, *[dark] * (count - len(x.lamps))] for x in lights])

    def column(name: str) -> Tensor:
        return torch.tensor([getattr(light, name) for light in lights], dtype=torch.float32)

    sun_direction = column('sun_direction')
    return Lights(
        sun_direction=sun_direction / sun_direction.norm(dim=-1, keepdim=True),
        sun=column('sun'),
        lamp_position=lamps[:, :, 0].float(),
        lamp=lamps[:, :, 1].float(),
        ambient_up=column('ambient_up'),
        ambient_down=column('ambient_down'),
        zenith=column('zenith'),
        horizon=column('horizon'),
        clouds=column('clouds'),
        haze=column('haze'),
    )


def rotation_matrix(angles: Tensor) -> Tensor:
    """(..., 3) yaw, pitch, roll in radians -> (..., 3, 3) = Rz(yaw) Ry(pitch) Rx(roll)."""
    (cz, cy, cx), (sz, sy, sx) = angles.cos().unbind(-1), angles.sin().unbind(-1)
    rows = [
        torch.stack([cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx], -1),
        torch.stack([sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx], -1),
        torch.stack([-sy, cy * sx, cy * cx], -1),
    ]
    return torch.stack(rows, -2)
