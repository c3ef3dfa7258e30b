"""Rooms: walls with doors and windows, furniture along the walls and in the middle.

Training and held-out rooms differ in textures (textures.TRAIN, HELDOUT), in what stands in them
(see Style) and in their proportions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from . import furniture as f
from .builder import Material, SceneBuilder
from .clutter import crates
from .content import Content
from .people import person

Thing = Callable[[SceneBuilder], None]


@dataclass(frozen=True)
class Style:
    """One kind of room.

    length, width, height: metres, ranges. along_walls, in_middle: what may stand there, and
    `density`: how many metres of wall, and square metres of floor, one thing takes.
    """

    length: tuple[float, float]
    width: tuple[float, float]
    height: tuple[float, float]
    along_walls: tuple[Thing, ...]
    in_middle: tuple[Thing, ...]
    density: tuple[float, float]


def laden_table(b: SceneBuilder) -> None:
    f.table(b, clutter=b.random.randint(1, 5))


LIVING = Style(
    (3.2, 7.5), (2.8, 5.5), (2.4, 3.0),
    (f.sofa, f.cabinet, f.shelf, f.plant, f.floor_lamp, f.cabinet, f.chair, f.bin_),
    (f.table, f.chair, laden_table, f.sofa, f.stool, f.plant, person),
    (1.7, 7.0),
)  # fmt: skip
OFFICE = Style(
    (3.5, 9.0), (3.0, 7.0), (2.5, 3.2),
    (f.desk, f.cabinet, f.shelf, f.desk, f.bin_, f.cabinet),
    (f.desk, f.office_chair, f.office_chair, laden_table, f.chair, person, f.cabinet),
    (1.9, 5.0),
)  # fmt: skip
BEDROOM = Style(
    (3.0, 5.0), (2.6, 4.2), (2.4, 2.8),
    (f.cabinet, f.shelf, f.chair, f.desk, f.floor_lamp, f.plant),
    (f.bed, f.bed, f.chair, f.stool),
    (2.0, 8.0),
)  # fmt: skip
CORRIDOR = Style(
    (6.0, 20.0), (1.5, 2.6), (2.4, 3.0),
    (f.cabinet, f.bin_, f.plant, crates, f.chair),
    (person,),
    (6.0, 25.0),
)  # fmt: skip
STORE = Style(
    (6.0, 16.0), (5.0, 12.0), (3.2, 6.0),
    (f.pallet_rack, crates, f.cabinet, f.pallet_rack, f.shelf),
    (crates, f.pallet_rack, person, laden_table, crates),
    (2.8, 9.0),
)  # fmt: skip
HALL = Style(
    (7.0, 15.0), (6.0, 12.0), (3.0, 5.0),
    (f.cabinet, laden_table, f.shelf, f.chair, f.desk),
    (f.cabinet, f.chair, laden_table, f.office_chair, person, crates, f.desk),
    (3.0, 8.0),
)  # fmt: skip
SALON = Style(
    (4.0, 8.5), (3.4, 6.0), (2.6, 3.4),
    (f.piano, f.armchair, f.shelf, f.plant, f.cabinet),
    (f.round_table, f.armchair, f.stool, person, f.round_table),
    (2.0, 6.0),
)  # fmt: skip
WORKSHOP = Style(
    (5.0, 11.0), (4.0, 9.0), (2.8, 4.5),
    (f.barrel, f.shelf, laden_table, f.barrel, f.cabinet),
    (f.barrel, f.stool, f.round_table, person, laden_table),
    (2.2, 6.0),
)  # fmt: skip
STYLES = {
    'train': (LIVING, OFFICE, LIVING, OFFICE, BEDROOM, CORRIDOR, STORE, HALL),
    'heldout': (SALON, WORKSHOP, SALON),
}


class Floor:
    """Which places of the floor are taken: discs, so that things rarely stand in each other."""

    def __init__(self) -> None:
        self.taken: list[tuple[float, float, float]] = []

    def take(self, x: float, y: float, radius: float) -> bool:
        if any(math.hypot(x - u, y - v) < radius + r for u, v, r in self.taken):
            return False
        self.taken.append((x, y, radius))
        return True


# Radius of the disc that a thing needs, metres; 0.45 where it is not named.
ROOM_NEEDED: dict[Thing, float] = {
    f.sofa: 0.95, f.bed: 1.15, f.table: 0.85, laden_table: 0.85, f.desk: 0.8, f.shelf: 0.55,
    f.cabinet: 0.6, f.pallet_rack: 1.25, person: 0.35, f.piano: 0.8, f.round_table: 0.6,
    f.armchair: 0.5, f.bin_: 0.25, f.stool: 0.25, f.floor_lamp: 0.25, f.plant: 0.3, f.chair: 0.35,
}  # fmt: skip


def furnish(random: Random, split: str, content: Content | None = None) -> SceneBuilder:
    """One room with everything in it; its floor is z = 0, its middle x = y = 0."""
    b = SceneBuilder(random, split, outdoor=False, content=content)
    style = random.choice(STYLES[split])
    length, width = random.uniform(*style.length), random.uniform(*style.width)
    height = random.uniform(*style.height)
    wall = b.material('wall', gloss=0)
    floor = b.material('floor', gloss=random.choice((0.0, 0.3, 0.8)))
    ceiling = b.material('ceiling', tint=0.1, gloss=0)
    b.room((0, 0, height / 2), (length, width, height), wall, top=ceiling, bottom=floor)
    taken = Floor()
    if random.random() < 0.35:
        alcove(b, taken, length, width, height)
    bright = light(b, length, width, height)
    doors_and_windows(b, taken, length, width, height, bright)
    along = round(2 * (length + width) / style.density[0])
    for _ in range(along):
        stand_along_wall(b, taken, random.choice(style.along_walls), length, width)
    for _ in range(max(1, round(length * width / style.density[1]))):
        stand_in_middle(b, taken, random.choice(style.in_middle), length, width)
    return b


def light(b: SceneBuilder, length: float, width: float, height: float) -> bool:
    """Lamps below the ceiling and daylight; True where the sun shines in."""
    r = b.random
    warm = r.uniform(0.7, 1.0)
    count = 1 if length * width < 18 else r.randint(2, 3)
    power = r.uniform(0.5, 2.0) * max(2.0, length * width * 0.4) / count
    for i in range(count):
        x = (i + 0.5) / count * length - length / 2 + r.uniform(-0.3, 0.3)
        y, z = r.uniform(-0.2, 0.2) * width, height - r.uniform(0.12, 0.5)
        b.lights.lamps.append(((x, y, z), (power, power * (0.75 + 0.25 * warm), power * warm)))
        shade = b.material('ceiling', tint=0.05)
        b.box(
            (x, y, height - 0.03), (r.uniform(0.2, 1.2), r.uniform(0.1, 0.5), 0.06), shade, glow=4
        )
    bounce = r.uniform(0.12, 0.5)
    b.lights.ambient_up = (bounce, bounce * 0.97, bounce * 0.92)
    b.lights.ambient_down = (0.75 * bounce, 0.73 * bounce, 0.69 * bounce)
    sunny = r.random() < 0.5
    if sunny:
        strength = r.uniform(1.0, 4.0)
        b.lights.sun = (strength, strength * 0.92, strength * 0.8)
        b.lights.lamps = [
            (place, (0.3 * red, 0.3 * green, 0.3 * blue))
            for place, (red, green, blue) in b.lights.lamps
        ]
    return sunny


def alcove(b: SceneBuilder, taken: Floor, length: float, width: float, height: float) -> None:
    """A block in one corner, or a column: rooms are not always rectangles."""
    r = b.random
    m = b.material('wall', gloss=0)
    if r.random() < 0.6:
        lx, ly = r.uniform(0.15, 0.4) * length, r.uniform(0.15, 0.4) * width
        x, y = r.choice((-1, 1)) * (length - lx) / 2, r.choice((-1, 1)) * (width - ly) / 2
        b.box((x, y, height / 2), (lx, ly, height), m)
        taken.take(x, y, max(lx, ly) / 2)
    else:
        size = r.uniform(0.25, 0.5)
        x, y = r.uniform(-0.3, 0.3) * length, r.uniform(-0.3, 0.3) * width
        b.box((x, y, height / 2), (size, size, height), m)
        taken.take(x, y, size)


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
                taken.take(x - s * along + c * 0.4, y + c * along + s * 0.4, 0.5)
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
    with b.at(-thick - deep + 0.45, along + r.uniform(-0.5, 0.5), 0):
        r.choice((f.cabinet, f.shelf, f.chair, f.plant, f.table))(b)


def windows(b: SceneBuilder, span: float, height: float, sunny: bool) -> None:
    """Openings of a wall to the outside, with frames and sills."""
    r = b.random
    count = max(1, int(span / r.uniform(1.5, 3.0)))
    sill, wide = r.uniform(0.5, 1.0), min(r.uniform(0.8, 1.6), span / count - 0.3)
    if wide < 0.4 or r.random() < 0.4:
        return
    high = min(r.uniform(1.1, 1.6), height - sill - 0.2)
    thick = 0.2
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


def stand_along_wall(
    b: SceneBuilder, taken: Floor, thing: Thing, length: float, width: float
) -> None:
    """Looking into the room, its back near the wall."""
    r = b.random
    x, y, yaw, span = r.choice(walls(length, width))
    need = ROOM_NEEDED.get(thing, 0.45)
    if span < 2 * need:
        return
    along, off = r.uniform(-1, 1) * (span / 2 - need), 0.08 + min(0.45, need * 0.6)
    if thing in (f.shelf, f.cabinet):
        off = 0.32
    c, s = math.cos(yaw), math.sin(yaw)
    place = (x + c * off - s * along, y + s * off + c * along)
    if taken.take(*place, need * 0.9):
        with b.at(*place, 0, yaw + r.choice((0, 0, r.uniform(-0.1, 0.1)))):
            thing(b)


def stand_in_middle(
    b: SceneBuilder, taken: Floor, thing: Thing, length: float, width: float
) -> None:
    r = b.random
    need = ROOM_NEEDED.get(thing, 0.45)
    for _ in range(3):
        x = r.uniform(-1, 1) * max(0.0, length / 2 - need - 0.1)
        y = r.uniform(-1, 1) * max(0.0, width / 2 - need - 0.1)
        if taken.take(x, y, need):
            yaw = r.choice((0, 1, 2, 3)) * math.pi / 2 + r.choice((0.0, r.uniform(-0.8, 0.8)))
            with b.at(x, y, 0, yaw):
                thing(b)
            return
