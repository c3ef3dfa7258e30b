"""Things outdoors, of the sizes they have in reality; the conventions are furniture's."""

from __future__ import annotations

import math

from .builder import SceneBuilder


def car(b: SceneBuilder) -> None:
    """3.8 to 4.9 m long, 1.7 to 1.9 m wide, 1.4 to 1.8 m high, with wheels, windows and lamps."""
    r = b.random
    long, wide, high = r.uniform(3.8, 4.9), r.uniform(1.7, 1.9), r.uniform(1.4, 1.8)
    paint = b.material('car', tint=0.7, gloss=1.0)
    glass = b.material('metal', tint=0.9, gloss=1.0)
    glass = type(glass)(glass.texture, (0.08, 0.09, 0.1), glass.scale, 1.0)
    waist = high * 0.58
    b.box((0, 0, (0.22 + waist) / 2), (long, wide, waist - 0.22), paint)
    cabin = long * r.uniform(0.45, 0.65)
    shift = -long * r.uniform(0.03, 0.12)
    b.box((shift, 0, (waist + high) / 2), (cabin, wide * 0.86, high - waist), glass, top=paint)
    b.box((shift, 0, high - 0.03), (cabin * 0.9, wide * 0.88, 0.07), paint)
    for side in (-1, 0.1, 1):
        place = (shift + side * cabin * 0.47, 0, (waist + high) / 2)
        b.box(place, (0.09, wide * 0.88, high - waist), paint)
    tyre = type(glass)(glass.texture, (0.05, 0.05, 0.05), 1.0, 0.0)
    for x in (-long * 0.31, long * 0.31):
        for y in (-wide / 2 + 0.09, wide / 2 - 0.09):
            b.cylinder((x, y, 0.32), 0.32, 0.22, tyre, roll=math.pi / 2)
    lamp = b.material('ceiling', tint=0.1)
    for y in (-wide * 0.36, wide * 0.36):
        b.box((long / 2, y, waist * 0.78), (0.06, 0.32, 0.14), lamp)


def van(b: SceneBuilder) -> None:
    """Held out of training: a delivery van of 5.5 x 2.0 x 2.5 m."""
    paint = b.material('car', tint=0.4, gloss=0.8)
    dark = type(paint)(paint.texture, (0.06, 0.06, 0.07), 1.0, 0.6)
    b.box((-0.5, 0, 1.4), (4.3, 2.0, 2.2), paint)
    b.box((2.2, 0, 0.8), (1.1, 1.95, 1.1), paint)
    b.box((1.75, 0, 1.7), (0.8, 1.85, 0.75), dark, pitch=0.35)
    for x in (-1.7, 1.7):
        for y in (-0.9, 0.9):
            b.cylinder((x, y, 0.34), 0.34, 0.24, dark, roll=math.pi / 2)


def tree(b: SceneBuilder) -> None:
    r = b.random
    trunk, crown = r.uniform(1.6, 3.0), r.uniform(2.0, 5.0)
    b.cylinder(
        (0, 0, trunk / 2 + 0.3), r.uniform(0.09, 0.25), trunk + 0.6, b.material('bark', gloss=0)
    )
    leaves = b.material('leaves', tint=0.3, gloss=0)
    for _ in range(r.randint(3, 5)):
        size = crown * r.uniform(0.45, 0.8)
        spread = crown * 0.25
        place = (
            r.uniform(-spread, spread),
            r.uniform(-spread, spread),
            trunk + crown * r.uniform(0.2, 0.75),
        )
        b.ellipsoid(place, (size, size, size * r.uniform(0.7, 1.1)), leaves, yaw=r.uniform(0, 3))


def bush(b: SceneBuilder) -> None:
    r = b.random
    leaves = b.material('leaves', tint=0.3, gloss=0)
    for _ in range(3):
        size = r.uniform(0.6, 1.3)
        b.ellipsoid(
            (r.uniform(-0.5, 0.5), r.uniform(-0.5, 0.5), size * 0.35),
            (size, size, size * 0.9),
            leaves,
        )


def street_lamp(b: SceneBuilder) -> None:
    m = b.material('metal')
    high = b.random.uniform(4.5, 8.0)
    b.cylinder((0, 0, high / 2), 0.07, high, m)
    b.box((0.5, 0, high), (1.1, 0.06, 0.06), m)
    b.box((0.95, 0, high - 0.02), (0.45, 0.18, 0.1), m)


def sign(b: SceneBuilder) -> None:
    m = b.material('metal')
    b.cylinder((0, 0, 1.25), 0.035, 2.5, m)
    b.box(
        (0.04, 0, 2.3),
        (0.02, 0.6, 0.6),
        m,
        front=b.material('picture', scale=0),
        roll=b.random.choice((0, 0.785)),
    )


def bollard(b: SceneBuilder) -> None:
    b.cylinder((0, 0, 0.45), 0.07, 0.9, b.material('metal'))


def dustbin(b: SceneBuilder) -> None:
    m = b.material('car', tint=0.6)
    b.box((0, 0, 0.5), (0.6, 0.55, 0.95), m)
    b.box((0, 0, 1.0), (0.66, 0.6, 0.07), m)


def bench(b: SceneBuilder) -> None:
    m = b.material('wood')
    for x in (-0.15, 0, 0.15):
        b.box((x, 0, 0.45), (0.12, 1.7, 0.04), m)
    for z in (0.62, 0.8):
        b.box((-0.26, 0, z), (0.04, 1.7, 0.12), m)
    for y in (-0.7, 0.7):
        b.box((-0.05, y, 0.22), (0.45, 0.06, 0.44), b.material('metal'))


def fence(b: SceneBuilder, length: float) -> None:
    """Posts and rails along y."""
    m = b.material('wood')
    high = b.random.uniform(0.9, 1.8)
    for z in (high * 0.3, high * 0.6, high * 0.9):
        b.box((0, 0, z), (0.04, length, 0.12), m)
    count = min(7, max(2, int(length / 2)))
    for i in range(count):
        b.box((0, (i / (count - 1) - 0.5) * length, high / 2), (0.1, 0.1, high), m)


def house(b: SceneBuilder, wide: float, deep: float, storeys: int) -> None:
    """Front along x at x = 0, extends to -x; with a door, a plinth and a roof edge."""
    r = b.random
    high = storeys * 3.0 + r.uniform(0.2, 0.8)
    front = b.material('facade', gloss=0)
    b.box((-deep / 2, 0, high / 2), (deep, wide, high), front, top=b.material('shed'))
    trim = b.material('wall', gloss=0)
    b.box((-deep / 2, 0, high), (deep + 0.5, wide + 0.3, 0.25), trim)
    b.box((-deep / 2, 0, 0.2), (deep + 0.08, wide + 0.04, 0.4), trim)
    y = r.uniform(-0.35, 0.35) * wide
    b.box((0.03, y, 1.1), (0.1, 1.1, 2.2), b.material('wood'), front=b.material('door', scale=0))
    b.box((0.5, y, 2.5), (1.2, 1.8, 0.1), trim)
    b.box((0.3, y, 0.08), (0.6, 1.4, 0.16), trim)
