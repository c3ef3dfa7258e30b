"""Rooms: walls with doors and windows, furniture along the walls and in the middle.

Training and held-out rooms differ in textures (textures.TRAIN, HELDOUT), in what stands in them
and in their proportions (styles).
"""

from __future__ import annotations

import math
from random import Random

from .builder import SceneBuilder, Thing
from .clutter import floor_thing
from .content import Content
from .floor import Floor
from .furniture import crowded_table
from .groups import GROUPS
from .openings import doors_and_windows, walls
from .styles import BACKS, FOOTPRINTS, STYLES, Style


def furnish(
    random: Random, split: str, content: Content | None = None, *, crowded: bool = False
) -> SceneBuilder:
    """One room with everything in it; its floor is z = 0, its middle x = y = 0.

    crowded: with tables full of small things, and more of them on the floor.
    """
    b = SceneBuilder(random, split, outdoor=False, content=content)
    style = random.choice(STYLES[split])
    length, width = random.uniform(*style.length), random.uniform(*style.width)
    height = random.uniform(*style.height)
    wall = b.material('wall', gloss=0)
    floor = b.material('floor', gloss=random.choice((0.0, 0.3, 0.8)))
    ceiling = b.material('ceiling', tint=0.1, gloss=0)
    b.room((0, 0, height / 2), (length, width, height), wall, top=ceiling, bottom=floor)
    taken = Floor()
    if random.random() < 0.25 and length * width > 12:
        alcove(b, taken, length, width, height)
    bright = light(b, length, width, height)
    doors_and_windows(b, taken, length, width, height, bright)
    if crowded:
        for thing in [crowded_table] * random.randint(1, 2) + [floor_thing] * random.randint(2, 5):
            stand_anywhere(b, taken, thing, length, width)
    equip(b, style, taken, length, width)
    return b


def equip(b: SceneBuilder, style: Style, taken: Floor, length: float, width: float) -> None:
    """Furniture: what the room is for, then along the walls, the middle, and what stands about."""
    r = b.random
    stand = stand_along_wall if b.content.arrangement else stand_anywhere
    for thing in style.first:
        for _ in range(4):
            if stand(b, taken, thing, length, width):
                break
    around = r.uniform(*style.fill) * 2 * (length + width)
    while style.along_walls and around > 0:
        thing = r.choice(style.along_walls)
        stand(b, taken, thing, length, width)
        around -= FOOTPRINTS.get(thing, (0.5, 0.5))[1] + 0.4
    if style.middle:
        for _ in range(min(6, max(1, round(length * width / style.space)))):
            stand_anywhere(b, taken, r.choice(style.middle), length, width)
    for _ in range(min(5, r.randint(0, 2) + round(length * width / 25))):
        stand_anywhere(b, taken, r.choice(style.loose), length, width)


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
        taken.take(x, y, lx, ly)
    else:
        size = r.uniform(0.25, 0.5)
        x, y = r.uniform(-0.3, 0.3) * length, r.uniform(-0.3, 0.3) * width
        b.box((x, y, height / 2), (size, size, height), m)
        taken.take(x, y, size + 0.3, size + 0.3)


def stand_along_wall(
    b: SceneBuilder, taken: Floor, thing: Thing, length: float, width: float
) -> bool:
    """Looking into the room, its back at the wall; False where there is no space for it."""
    r = b.random
    x, y, yaw, span = r.choice(walls(length, width))
    deep, wide = FOOTPRINTS.get(thing, (0.5, 0.5))
    if span < wide or (width if span == length else length) < deep + 0.6:
        return False
    along = r.uniform(-1, 1) * (span - wide) / 2
    c, s = math.cos(yaw), math.sin(yaw)
    middle = deep / 2 + 0.03
    if not taken.take(x + c * middle - s * along, y + s * middle + c * along, deep, wide, yaw):
        return False
    back = BACKS.get(thing, deep / 2) + 0.03
    with b.at(x + c * back - s * along, y + s * back + c * along, 0, yaw):
        draw(b, thing)
    return True


def stand_anywhere(
    b: SceneBuilder, taken: Floor, thing: Thing, length: float, width: float
) -> bool:
    """On the free floor, square to the walls or not; False where there is no space for it."""
    r = b.random
    deep, wide = FOOTPRINTS.get(thing, (0.5, 0.5))
    for _ in range(4):
        quarter = r.randrange(4)
        across, along = (deep, wide) if quarter % 2 == 0 else (wide, deep)
        free_x, free_y = length / 2 - across / 2 - 0.1, width / 2 - along / 2 - 0.1
        if free_x <= 0 or free_y <= 0:
            continue
        x, y = r.uniform(-free_x, free_x), r.uniform(-free_y, free_y)
        small = max(deep, wide) < 1.0
        yaw = quarter * math.pi / 2 + (r.uniform(-0.8, 0.8) if small else r.gauss(0, 0.04))
        if taken.take(x, y, across, along):
            with b.at(x, y, 0, yaw):
                draw(b, thing)
            return True
    return False


def draw(b: SceneBuilder, thing: Thing) -> None:
    """A thing here; the parts of a group (module groups) place themselves."""
    if thing in GROUPS:
        thing(b)
    else:
        b.place(thing, 0, 0)
