"""Scenes of distance fields by recipe, and where a camera may stand in them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

import torch
from torch import Tensor

from .distance_fields import (
    Field,
    box,
    carved,
    cylinder,
    height_field,
    moved,
    outside,
    repeated,
    smooth_union,
    torus,
    tunnel,
    union,
)
from .field_look import Lighting, Material, daylight, lamplight, material
from .field_things import car, chair, person, rock, shelf, small_thing, sofa, table, tree
from .sphere_tracing import FieldScene, Plane, Solid, Thing

View = tuple[float, float, float, float, float]


@dataclass(frozen=True)
class Setting:
    """A scene, its light, and a draw of views: x, y, z, yaw and pitch of a camera.

    typical: metres between which half of what the camera sees should lie.
    """

    scene: FieldScene
    lighting: Lighting
    view: Callable[[Random], View]
    typical: tuple[float, float]


def room(random: Random) -> Setting:
    """A furnished room, or a table in it from near."""
    x, y, high = random.uniform(1.5, 4.0), random.uniform(1.5, 3.5), random.uniform(2.3, 3.2)
    planes = _floor_and_walls(random, x, y, high)
    long, deep = random.uniform(1.0, 1.8), random.uniform(0.6, 0.9)
    height = random.gauss(0.75, 0.03)
    place = (random.uniform(-0.3, 0.3), random.uniform(-0.3, 0.3))
    turn = random.uniform(0, 3)
    things = [_put(table(random, long, deep, height), *place, yaw=turn)]
    for _ in range(random.randint(4, 12)):
        a, b = random.uniform(-0.4, 0.4) * long, random.uniform(-0.4, 0.4) * deep
        c, s = math.cos(turn), math.sin(turn)
        at = (place[0] + c * a - s * b, place[1] + s * a + c * b, height)
        things.append(_put(small_thing(random), *at, yaw=random.uniform(0, 6)))
    things.append(_put(sofa(random), -x + 0.55, random.uniform(-0.3, 0.3)))
    things += [
        _put(shelf(random), random.uniform(-0.7, 0.7) * x, a * (y - 0.2), yaw=-a * math.pi / 2)
        for a in (-1, 1)
    ]
    for make in [chair] * random.randint(1, 4) + [person] * random.randint(0, 2):
        spot = random.uniform(-0.8, 0.8) * x, random.uniform(-0.8, 0.8) * y
        things.append(_put(make(random), *spot, yaw=random.uniform(0, 6)))
    door = moved(box((0.05, 0.45, 1.02), 0.02), (x, random.uniform(-0.6, 0.6) * y, 1.0))
    solids = (Solid(door, material(random, ('plain', 'rings'), value=0.6)),)
    close = random.random() < 0.35

    def view(random: Random) -> View:
        if close:
            way = random.uniform(0, math.tau)
            far, up = random.uniform(0.5, 1.2), random.uniform(0.15, 0.7)
            at = place[0] - far * math.cos(way), place[1] - far * math.sin(way)
            return *at, height + up, way, -math.atan2(up, far)
        at = random.uniform(-0.85, 0.85) * x, random.uniform(-0.85, 0.85) * y
        yaw = math.atan2(random.gauss(0, 1) - at[1], random.gauss(0, 1) - at[0])
        return *at, _eye(random), yaw, random.gauss(-0.18, 0.15)

    lamps = [(random.uniform(-1, 1), random.uniform(-1, 1), high - 0.2)]
    if random.random() < 0.5:
        lamps.append((0.8 * x, -0.8 * y, 1.6))
    typical = (0.4, 2.5) if close else (0.9, 6.0)
    return Setting(
        FieldScene(planes, solids, tuple(things)), lamplight(random, lamps), view, typical
    )


def vault(random: Random) -> Setting:
    """A vaulted passage, crossed by others, between columns; people walk there."""
    wide, spring = random.uniform(1.1, 2.5), random.uniform(1.6, 2.6)
    every = 2 * wide + random.uniform(0.8, 2.0)
    crossing = moved(tunnel(0.8 * wide, spring), (0, 0, 0), yaw=math.pi / 2)
    air: list[Field] = [tunnel(wide, spring)]
    if random.random() < 0.8:
        air.append(repeated(crossing, 1, every, 7))
    end = 3.5 * every
    planes = (
        _floor(random),
        Plane((0.0, 1.0, 0.0), -end, _wall(random)),
        Plane((0.0, -1.0, 0.0), -end, _wall(random)),
        Plane((1.0, 0.0, 0.0), -wide - 3, _wall(random)),
        Plane((-1.0, 0.0, 0.0), -wide - 3, _wall(random)),
    )
    column = union(
        moved(cylinder(0.16, spring / 2), (0, 0, spring / 2)),
        moved(torus(0.17, 0.05), (0, 0, spring)),
        moved(box((0.24, 0.24, 0.1), 0.03), (0, 0, 0.1)),
    )
    row = repeated(column, 1, every, 6)
    sides = union(moved(row, (wide - 0.1, 0, 0)), moved(row, (0.1 - wide, 0, 0)))
    solids = (Solid(outside(union(*air)), _wall(random)), Solid(sides, _wall(random)))
    things = [
        _put(
            make(random),
            random.uniform(-0.6, 0.6) * wide,
            random.uniform(-6, 6),
            yaw=random.uniform(0, 6),
        )
        for make in random.choices((person, chair, small_thing, rock), (5, 2, 1, 1), k=4)
    ]

    def view(random: Random) -> View:
        yaw = random.choice((-1, 1)) * math.pi / 2 + random.gauss(0, 0.5)
        return (
            random.uniform(-0.6, 0.6) * wide,
            random.uniform(-5, 5),
            _eye(random),
            yaw,
            random.gauss(-0.08, 0.12),
        )

    lamps = [
        (0.0, random.uniform(-2, 2), spring + 0.4),
        (0.0, every, spring),
        (0.0, -every, spring),
    ]
    return Setting(
        FieldScene(planes, solids, tuple(things)), lamplight(random, lamps), view, (0.9, 9.0)
    )


def terrain(random: Random) -> Setting:
    """Hills with rocks and trees."""
    waves = [
        (
            length,
            random.uniform(0, math.tau),
            random.uniform(0, math.tau),
            random.uniform(0.01, 0.024),
        )
        for length in (90.0, 47.0, 21.0, 11.0, 5.0, 2.3)
    ]

    def height(x: Tensor, y: Tensor) -> Tensor:
        total = torch.zeros_like(x)
        for length, way, phase, share in waves:
            along = (x * math.cos(way) + y * math.sin(way)) * (math.tau / length)
            total = total + share * length * torch.sin(along + phase)
        return total

    def ground(x: float, y: float) -> float:
        return float(height(torch.tensor(x), torch.tensor(y)))

    soil = material(
        random,
        ('cloudy', 'speckle', 'veins'),
        hue=(0.06, 0.3),
        strength=0.5,
        value=0.42,
        size=(0.2, 1.5),
        gloss=0.0,
    )
    things = []
    for make in [tree] * random.randint(3, 10) + [rock] * random.randint(3, 9) + [person]:
        way, far = (
            random.uniform(0, math.tau),
            math.exp(random.uniform(math.log(2.5), math.log(45))),
        )
        at = far * math.cos(way), far * math.sin(way)
        things.append(_put(make(random), *at, ground(*at), random.uniform(0, 6)))

    def view(random: Random) -> View:
        at = random.gauss(0, 1.5), random.gauss(0, 1.5)
        return *at, ground(*at) + _eye(random), random.uniform(0, 6.3), random.gauss(-0.1, 0.12)

    steepness = sum(share * math.tau for *_, share in waves)
    scene = FieldScene((), (Solid(height_field(height, 0.7 * steepness), soil),), tuple(things))
    return Setting(scene, daylight(random), view, (2.0, 60.0))


def canyon(random: Random) -> Setting:
    """A street between rows of houses with windows, with cars, trees and people."""
    half = random.uniform(5, 11)
    ground = Plane(
        (0.0, 0.0, 1.0),
        0.0,
        material(random, ('speckle', 'cloudy', 'masonry'), strength=0.15, value=0.45, gloss=0.1),
    )
    things: list[Thing] = []
    for side in (-1, 1):
        along = -50.0
        while along < 60:
            front = random.uniform(7, 16)
            tall = 3.1 * random.randint(2, 7)
            house = _house(random, front, tall)
            yaw = -side * math.pi / 2
            things.append(_put(house, along + front / 2, side * (half + 5), yaw=yaw))
            along += front + random.choice((0.0, 0.0, 0.0, 3.0))
    for make in random.choices((car, person, tree), (3, 4, 2), k=random.randint(5, 14)):
        side = random.choice((-1, 1))
        off = {car: half - 3.2, person: half - 1.0, tree: half - 1.8}[make]
        yaw = random.choice((0.0, math.pi)) if make is car else random.uniform(0, 6)
        things.append(_put(make(random), random.uniform(-25, 25), side * off, yaw=yaw))

    def view(random: Random) -> View:
        yaw = random.choice((0.0, math.pi)) + random.gauss(0, 0.5)
        at = random.uniform(-8, 8), random.uniform(-0.6, 0.6) * half
        return *at, _eye(random), yaw, random.gauss(0.0, 0.1)

    scene = FieldScene((ground,), (), tuple(things))
    return Setting(scene, daylight(random), view, (2.5, 60.0))


RECIPES = {'indoor': (room, room, vault), 'outdoor': (terrain, canyon)}


def _put(thing: Thing, x: float, y: float, z: float = 0.0, yaw: float = 0.0) -> Thing:
    return replace(thing, position=(x, y, z), yaw=yaw)


def _eye(random: Random) -> float:
    """Height of a camera: held in a hand, or on a robot."""
    return random.uniform(1.2, 1.75) if random.random() < 0.6 else random.uniform(0.3, 1.1)


def _floor(random: Random) -> Plane:
    look = material(random, value=0.5, strength=0.5, size=(0.1, 0.6), gloss=0.3)
    return Plane((0.0, 0.0, 1.0), 0.0, look)


def _wall(random: Random) -> Material:
    return material(
        random,
        ('plain', 'plain', 'cloudy', 'stripes', 'masonry', 'veins'),
        strength=0.35,
        value=0.72,
        contrast=0.12,
        size=(0.1, 0.8),
        gloss=0.1,
    )


def _floor_and_walls(random: Random, x: float, y: float, high: float) -> tuple[Plane, ...]:
    walls = _wall(random)
    return (
        _floor(random),
        Plane((0.0, 0.0, -1.0), -high, material(random, ('plain',), strength=0.1, value=0.85)),
        Plane((1.0, 0.0, 0.0), -x, walls),
        Plane((-1.0, 0.0, 0.0), -x, walls),
        Plane((0.0, 1.0, 0.0), -y, walls),
        Plane((0.0, -1.0, 0.0), -y, _wall(random)),
    )


def _house(random: Random, front: float, tall: float) -> Thing:
    """Its front looks along x; 10 m deep, with a window every storey of 3.1 m."""
    storeys, columns = round(tall / 3.1), max(1, int(front / random.uniform(2.2, 3.5)))
    window = box((0.3, 0.55, 0.8), 0.05)
    rows = repeated(repeated(window, 1, front / columns, columns), 2, 3.1, storeys)
    shape = moved(box((5.0, front / 2, tall / 2), 0.08), (0, 0, tall / 2))
    facade = carved(shape, moved(rows, (5.0, 0, tall / 2)))
    glass = moved(box((4.85, front / 2 - 0.3, tall / 2 - 0.3)), (0, 0, tall / 2))
    roof = moved(cylinder(0.4, 0.8), (2.0, 0.2 * front, tall + 0.5))
    return Thing(
        (
            Solid(smooth_union(0.1, facade, roof), _wall(random)),
            Solid(glass, material(random, ('plain',), hue=(0.5, 0.65), value=0.3, gloss=1.0)),
        ),
        tall / 2,
        math.hypot(5.0, front / 2, tall / 2 + 1.3),
    )
