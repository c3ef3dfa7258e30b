"""What walls have: doors, passages, windows with what is seen through them, pictures."""

from __future__ import annotations

import math

from . import furniture as f
from .builder import Material, SceneBuilder
from .fittings import radiator
from .floor import Floor


def walls(length: float, width: float) -> tuple[tuple[float, float, float, float], ...]:
    """(x, y, yaw, length) of each wall's middle; yaw looks into the room."""
    return (
        (-length / 2, 0, 0, width),
        (length / 2, 0, math.pi, width),
        (0, -width / 2, math.pi / 2, length),
        (0, width / 2, -math.pi / 2, length),
    )


def doors_and_windows(
    b: SceneBuilder, taken: Floor, length: float, width: float, height: float, sunny: bool
) -> None:
    r = b.random
    frame = b.material('wood')
    board = b.material('wood')
    window_wall = r.randrange(4)
    skirting = r.uniform(0.05, 0.1) if r.random() < 0.7 else 0
    for index, (x, y, yaw, span) in enumerate(walls(length, width)):
        with b.at(x, y, 0, yaw):
            if skirting:
                b.box((0.008, 0, skirting / 2), (0.016, span, skirting), board)
            if index == window_wall:
                windows(b, span, height, sunny)
                continue
            along = 0.0
            if r.random() < 0.65 and span > 1.6:
                along = r.uniform(-1, 1) * (span / 2 - 0.7)
                if r.random() < 0.3:
                    doorway(b, along, frame)
                else:
                    door(b, along, frame)
                c, s = math.cos(yaw), math.sin(yaw)
                taken.take(x - s * along + c * 0.4, y + c * along + s * 0.4, 0.9, 0.9)
            for _ in range(r.randint(0, 2)):
                picture(b, r.uniform(-1, 1) * (span / 2 - 0.5), along)


def door(b: SceneBuilder, along: float, frame: Material) -> None:
    """A closed leaf of 2.0 to 2.1 x 0.8 to 0.9 m with frame and handle."""
    r = b.random
    wide, high = r.uniform(0.8, 0.9), r.uniform(2.0, 2.1)
    leaf = b.material('door', scale=0)
    b.box((0.01, along, high / 2), (0.04, wide, high), leaf)
    door_frame(b, along, wide, high, frame)
    metal = b.material('metal')
    side = along + r.choice((-1, 1)) * (wide / 2 - 0.08)
    b.box((0.06, side, 1.03), (0.02, 0.13, 0.02), metal)
    b.box((0.035, side, 1.0), (0.015, 0.04, 0.2), metal)


def door_frame(b: SceneBuilder, along: float, wide: float, high: float, frame: Material) -> None:
    for side in (-1, 1):
        place = (0.015, along + side * (wide / 2 + 0.035), high / 2)
        b.box(place, (0.07, 0.07, high), frame)
    b.box((0.015, along, high + 0.035), (0.07, wide + 0.14, 0.07), frame)


def doorway(b: SceneBuilder, along: float, frame: Material) -> None:
    """An open passage into another room."""
    r = b.random
    wide, high, thick = r.uniform(0.8, 1.4), r.uniform(2.0, 2.1), r.uniform(0.1, 0.3)
    wall = b.material('wall', gloss=0)
    floor = b.material('floor')
    b.room((-thick / 2, along, high / 2), (thick + 0.04, wide, high), wall, bottom=floor)
    door_frame(b, along, wide, high, frame)
    deep, across, tall = r.uniform(1.5, 6), r.uniform(2, 6), r.uniform(2.4, 3)
    x, y = -thick - deep / 2, along + r.uniform(-0.4, 0.4) * (across - wide)
    ceiling = b.material('ceiling')
    b.room((x, y, tall / 2), (deep, across, tall), wall, top=ceiling, bottom=floor)
    thing = r.choice((f.cabinet, f.shelf, f.chair, f.plant, f.table))
    b.place(thing, -thick - deep + 0.45, along + r.uniform(-0.5, 0.5))


def windows(b: SceneBuilder, span: float, height: float, sunny: bool) -> None:
    """Openings of a wall to the outside, with frames and sills."""
    r = b.random
    count = max(1, int(span / r.uniform(1.5, 3.0)))
    sill, wide = r.uniform(0.5, 1.0), min(r.uniform(0.8, 1.6), span / count - 0.3)
    if wide < 0.4 or r.random() < 0.4:
        return
    high = min(r.uniform(1.1, 1.6), height - sill - 0.2)
    thick = 0.2
    heated = r.random() < 0.5
    frame, stone = b.material('wood', tint=0.1), b.material('wood', tint=0.1)
    reveal = b.material('ceiling')
    ground = -r.choice((0.3, 0.3, 3.3, 6.5))
    out = b.material(r.choice(('lawn', 'pavement', 'road')), gloss=0)
    side = 4000.0
    b.room((-thick + 0.01 - side / 2, 0, ground + side / 2), (side, side, side), out, glow=0.8)
    for i in range(count):
        y, z = (i + 0.5) / count * span - span / 2, sill + high / 2
        b.room((-thick / 2, y, z), (thick + 0.04, wide, high), reveal)
        for place, size in (
            ((-0.1, y - wide / 2, z), (0.06, 0.08, high)),
            ((-0.1, y + wide / 2, z), (0.06, 0.08, high)),
            ((-0.1, y, z), (0.06, 0.06, high)),
            ((-0.1, y, sill + high), (0.06, wide, 0.08)),
            ((-0.1, y, sill), (0.06, wide, 0.1)),
        ):
            b.box(place, size, frame)
        b.box((0.06, y, sill - 0.02), (0.16, wide + 0.2, 0.03), stone)
        if heated and sill > 0.6:
            with b.at(0, y):
                radiator(b, wide * 0.8)
    backdrop(b, ground)
    if sunny:
        yaw, rise = b.yaw + math.pi + r.uniform(-0.9, 0.9), r.uniform(0.3, 1.0)
        b.lights.sun_direction = (
            math.cos(yaw) * math.cos(rise), math.sin(yaw) * math.cos(rise), math.sin(rise)
        )  # fmt: skip


def backdrop(b: SceneBuilder, ground: float) -> None:
    """What a window looks at: houses and trees some way off."""
    r = b.random
    for _ in range(r.randint(1, 3)):
        far, y = r.uniform(8, 40), r.uniform(-25, 25)
        if r.random() < 0.5:
            size = (8.0, r.uniform(8, 20), r.uniform(4, 14))
            b.box(
                (-far - 4, y, ground + size[2] / 2), size, b.material('facade', gloss=0), glow=0.8
            )
        else:
            b.cylinder((-far, y, ground + 1.2), 0.18, 2.4, b.material('bark', gloss=0), glow=0.8)
            size = (r.uniform(2.5, 5), r.uniform(2.5, 5), r.uniform(3, 6))
            b.ellipsoid(
                (-far, y, ground + 2 + size[2] / 2), size, b.material('leaves', gloss=0), glow=0.8
            )


def picture(b: SceneBuilder, along: float, door_at: float) -> None:
    """A poster, a picture or a board on the wall, not over the door."""
    r = b.random
    if door_at and abs(along - door_at) < 0.9:
        return
    wide, high = r.uniform(0.3, 1.2), r.uniform(0.3, 0.9)
    front = b.material('picture', scale=0)
    edge = b.material('wood')
    b.box((0.012, along, r.uniform(1.35, 1.75)), (0.024, wide, high), edge, front=front)
