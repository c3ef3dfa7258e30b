"""Larger furniture and what is built in: kitchens, wardrobes, racks, benches, stairs.

As in furniture, each function draws one thing on z = 0 around the origin, looking along x.
"""

from __future__ import annotations

from .builder import SceneBuilder
from .clutter import small_thing
from .furniture import legs


def radiator(b: SceneBuilder, wide: float = 1.0) -> None:
    """On a wall at x = 0."""
    m = b.material('ceiling', tint=0.05, gloss=0.3)
    b.box((0.08, 0, 0.38), (0.08, wide, 0.5), m)
    for i in range(5):
        b.box((0.125, (i - 2) * wide / 5.2, 0.38), (0.02, wide / 14, 0.48), m)


def pedestal(b: SceneBuilder) -> None:
    """A drawer unit on castors, as it goes below desks."""
    r = b.random
    deep, wide, high = r.uniform(0.5, 0.8), r.uniform(0.4, 0.45), r.uniform(0.5, 0.65)
    m = b.material('car' if r.random() < 0.5 else 'wood', tint=0.6)
    b.box((0, 0, 0.03 + high / 2), (deep, wide, high), m, front=b.material('front', scale=0))
    metal = b.material('metal', tint=0.6)
    drawers = r.randint(2, 4)
    for i in range(drawers):
        z = 0.03 + (i + 0.7) * high / drawers
        b.box((deep / 2 + 0.012, 0, z), (0.02, r.uniform(0.1, 0.2), 0.015), metal)


def wardrobe(b: SceneBuilder) -> None:
    """Doors with handles, 1.9 to 2.2 m high."""
    r = b.random
    deep, high, doors = r.uniform(0.5, 0.62), r.uniform(1.9, 2.2), r.randint(2, 4)
    wide = doors * r.uniform(0.42, 0.5)
    m, metal = b.material('wood'), b.material('metal')
    b.box((0, 0, high / 2), (deep, wide, high), m)
    leaf = m if r.random() < 0.5 else b.material('wood')
    for i in range(doors):
        y = (i + 0.5) * wide / doors - wide / 2
        b.box(
            (deep / 2 + 0.008, y, high / 2 + 0.03), (0.018, wide / doors - 0.008, high - 0.1), leaf
        )
        side = 0.4 if i % 2 == 0 else -0.4
        b.box((deep / 2 + 0.03, y + side * wide / doors, 1.05), (0.025, 0.015, 0.16), metal)


def lockers(b: SceneBuilder) -> None:
    m, metal = b.material('car', tint=0.4), b.material('metal')
    count = b.random.randint(2, 5)
    for i in range(count):
        y = (i + 0.5 - count / 2) * 0.4
        b.box((0, y, 0.95), (0.48, 0.392, 1.7), m)
        b.box((0.25, y + 0.13, 1.05), (0.02, 0.02, 0.1), metal)
    legs(b, 0.2, count * 0.2 - 0.05, 0.1, 0.04, metal)


def kitchen_run(b: SceneBuilder) -> None:
    """Units with a worktop, hob, sink and wall cupboards, 2.4 m wide, back at x = -0.3."""
    r = b.random
    unit, top, metal = b.material('wood'), b.material('wood', gloss=0.5), b.material('metal')
    dark = b.material('metal', tint=0.8, gloss=0.8)
    b.box((-0.03, 0, 0.05), (0.5, 2.4, 0.1), dark)
    b.box((0, 0, 0.89), (0.62, 2.42, 0.04), top)
    oven = r.randrange(4)
    for i in range(4):
        y = (i - 1.5) * 0.6
        b.box((0, y, 0.48), (0.58, 0.594, 0.76), dark if i == oven else unit)
        b.box((0.305, y, 0.78), (0.03, 0.25, 0.015), metal)
    b.box((0, (oven - 1.5) * 0.6, 0.915), (0.5, 0.56, 0.01), dark)
    sink = ((oven + 2) % 4 - 1.5) * 0.6
    b.box((0, sink, 0.912), (0.42, 0.5, 0.006), metal)
    b.rod((-0.2, sink, 0.91), (-0.2, sink, 1.2), 0.015, metal)
    b.rod((-0.2, sink, 1.2), (-0.02, sink, 1.18), 0.012, metal)
    for _ in range(r.randint(1, 4)):
        with b.at(r.uniform(-0.15, 0.15), r.uniform(-1.1, 1.1), 0.91, r.uniform(-3, 3)):
            small_thing(b)
    if r.random() < 0.75:
        for i in range(4):
            if i != oven:
                b.box((-0.13, (i - 1.5) * 0.6, 1.75), (0.34, 0.594, 0.7), unit)
        b.box((-0.1, (oven - 1.5) * 0.6, 1.6), (0.4, 0.58, 0.12), metal)


def fridge(b: SceneBuilder) -> None:
    r = b.random
    high = r.choice((0.85, 1.5, 1.8))
    m, metal = b.material('ceiling', tint=0.15, gloss=0.8), b.material('metal')
    b.box((0, 0, high / 2 + 0.02), (0.6, 0.6, high), m)
    split = 0.6 * high
    for low, top in ((0.05, split), (split + 0.01, high)):
        b.box((0.315, 0, (low + top) / 2), (0.04, 0.595, top - low), m)
        b.box((0.35, 0.25, (low + top) / 2), (0.03, 0.02, 0.25), metal)


def tv_unit(b: SceneBuilder) -> None:
    r = b.random
    wide, high = r.uniform(1.2, 1.9), r.uniform(0.35, 0.55)
    b.box((0, 0, high / 2), (0.42, wide, high), b.material('wood'))
    for i in range(3):
        place = (0.22, (i - 1) * wide / 3, high / 2)
        b.box(place, (0.016, wide / 3 - 0.01, high - 0.04), b.material('wood'))
    dark, long = b.material('metal', tint=0.8), r.uniform(0.7, 1.3)
    b.box((-0.02, 0, high + 0.01), (0.2, 0.4, 0.02), dark)
    b.box((-0.04, 0, high + 0.05), (0.04, 0.06, 0.08), dark)
    front = b.material('screen', scale=0)
    b.box((-0.03, 0, high + 0.08 + long * 0.28), (0.04, long, long * 0.56), dark, front=front)


def whiteboard(b: SceneBuilder) -> None:
    """On legs with castors, 1.8 m high."""
    m = b.material('metal')
    wide = b.random.uniform(1.0, 1.8)
    b.box((0, 0, 1.3), (0.03, wide, 1.0), m, front=b.material('ceiling', tint=0.05, gloss=0.5))
    b.box((0.04, 0, 0.8), (0.06, wide * 0.6, 0.02), m)
    for y in (-wide / 2, wide / 2):
        b.box((0, y, 0.95), (0.04, 0.04, 1.75), m)
        b.box((0, y, 0.06), (0.55, 0.05, 0.05), m)


def lab_bench(b: SceneBuilder) -> None:
    """A work bench with instruments and a shelf above."""
    r = b.random
    wide = r.uniform(1.4, 2.2)
    m, top = b.material('metal'), b.material('wood')
    b.box((0, 0, 0.88), (0.75, wide, 0.04), top)
    legs(b, 0.33, wide / 2 - 0.06, 0.86, 0.05, m)
    b.box((0, 0, 0.25), (0.65, wide - 0.1, 0.03), m)
    for y in (-wide / 2 + 0.05, wide / 2 - 0.05):
        b.box((-0.34, y, 1.25), (0.04, 0.04, 0.7), m)
    b.box((-0.24, 0, 1.4), (0.28, wide, 0.03), top)
    for z in (0.9, 0.9, 1.415, 0.265):
        x, y = (0.05 if z < 1 else -0.24), r.uniform(-0.4, 0.4) * wide
        size = (r.uniform(0.15, 0.26), r.uniform(0.2, 0.45), r.uniform(0.12, 0.35))
        case = b.material('car', tint=0.6)
        front = b.material('screen', scale=0) if r.random() < 0.5 else case
        b.box((x, y, z + size[2] / 2), size, case, front=front)
    with b.at(0.15, r.uniform(-0.35, 0.35) * wide, 0.9):
        small_thing(b)


def coffee_table(b: SceneBuilder) -> None:
    r = b.random
    deep, wide, high = r.uniform(0.5, 0.7), r.uniform(0.8, 1.2), r.uniform(0.36, 0.48)
    m = b.material('wood')
    b.box((0, 0, high - 0.02), (deep, wide, 0.04), m)
    legs(b, deep / 2 - 0.05, wide / 2 - 0.05, high - 0.04, 0.05, m)
    with b.at(r.uniform(-0.15, 0.15), r.uniform(-0.3, 0.3), high, r.uniform(-3, 3)):
        small_thing(b)


def night_table(b: SceneBuilder) -> None:
    m = b.material('wood')
    b.box((0, 0, 0.27), (0.38, 0.42, 0.5), m, front=b.material('front', scale=0))
    with b.at(0, 0, 0.52):
        small_thing(b)


def trolley(b: SceneBuilder) -> None:
    """A cart with two or three shelves, as in labs and stores."""
    r = b.random
    m = b.material('metal')
    deep, wide = r.uniform(0.45, 0.6), r.uniform(0.65, 1.0)
    legs(b, deep / 2, wide / 2, 0.9, 0.03, m)
    for z in (0.15, 0.5, 0.85):
        b.box((0, 0, z), (deep, wide, 0.025), m)
        if r.random() < 0.6:
            with b.at(r.uniform(-0.08, 0.08), r.uniform(-0.2, 0.2), z + 0.013):
                small_thing(b)
    b.rod((-deep / 2, wide / 2 + 0.1, 0.95), (deep / 2, wide / 2 + 0.1, 0.95), 0.014, m)


def stairs(b: SceneBuilder) -> None:
    """Eight to twelve steps up towards -x, with a handrail."""
    r = b.random
    count, rise, tread, wide = r.randint(8, 12), r.uniform(0.16, 0.19), 0.27, r.uniform(0.9, 1.5)
    m, rail = b.material('floor'), b.material('metal')
    for i in range(count):
        high = (i + 1) * rise
        b.box(((count / 2 - i - 0.5) * tread, 0, high / 2), (tread, wide, high), m)
    for y in (-wide / 2, wide / 2):
        start, end = (count / 2 * tread, y, 0.9), (-count / 2 * tread, y, 0.9 + count * rise)
        b.rod(start, end, 0.022, rail)
        for share in (0.02, 0.35, 0.68):
            x, z = (0.5 - share) * count * tread, share * count * rise
            b.rod((x, y, z), (x, y, z + 0.92), 0.015, rail)


def pallet(b: SceneBuilder) -> None:
    """1.2 x 0.8 m, empty or with a load."""
    r = b.random
    m = b.material('wood')
    for y in (-0.35, 0, 0.35):
        b.box((0, y, 0.06), (1.2, 0.1, 0.1), m)
    for i in range(5):
        b.box(((i - 2) * 0.27, 0, 0.132), (0.14, 0.8, 0.022), m)
    if r.random() < 0.6:
        size = (r.uniform(0.7, 1.1), r.uniform(0.5, 0.75), r.uniform(0.3, 1.1))
        b.box((0, 0, 0.143 + size[2] / 2), size, b.material('box'))


def rug(b: SceneBuilder) -> None:
    r = b.random
    size = (r.uniform(1.2, 2.0), r.uniform(1.6, 2.6), 0.012)
    b.box((0, 0, 0.006), size, b.material('fabric', gloss=0))


def toilet(b: SceneBuilder) -> None:
    white = b.material('ceiling', tint=0.05, gloss=0.8)
    b.ellipsoid((0.02, 0, 0.3), (0.52, 0.36, 0.26), white)
    b.cylinder((0, 0, 0.15), 0.12, 0.3, white)
    b.cylinder((0.03, 0, 0.415), 0.19, 0.03, white)
    b.box((-0.26, 0, 0.6), (0.17, 0.38, 0.38), white)


def basin(b: SceneBuilder) -> None:
    white, metal = b.material('ceiling', tint=0.05, gloss=0.8), b.material('metal')
    b.box((0, 0, 0.8), (0.45, 0.58, 0.14), white)
    b.cylinder((-0.08, 0, 0.37), 0.09, 0.73, white)
    b.rod((-0.17, 0, 0.87), (-0.17, 0, 0.98), 0.013, metal)
    b.rod((-0.17, 0, 0.98), (-0.05, 0, 0.97), 0.012, metal)
    b.box((-0.215, 0, 1.5), (0.02, 0.5, 0.7), b.material('metal', gloss=1.0))


def bath_tub(b: SceneBuilder) -> None:
    white = b.material('ceiling', tint=0.05, gloss=0.8)
    b.box((0, 0, 0.09), (0.72, 1.7, 0.18), white)
    for x in (-0.34, 0.34):
        b.box((x, 0, 0.3), (0.07, 1.7, 0.52), white)
    for y in (-0.81, 0.81):
        b.box((0, y, 0.3), (0.72, 0.08, 0.52), white)
