"""Things outdoors, of the sizes they have in reality; the conventions are furniture's."""

from __future__ import annotations

import math

from .builder import Material, SceneBuilder


def ground(b: SceneBuilder, role: str) -> None:
    b.box((0, 0, -0.5), (6000, 6000, 1.0), b.material(role, gloss=0))


def zebra(b: SceneBuilder, x: float, road: float, paint: Material) -> None:
    """A crossing for people, over a road along x that is so wide."""
    count = int(road)
    for i in range(count):
        b.box((x, (i + 0.5) / count * road - road / 2, 0.003), (3.0, 0.5, 0.008), paint)


def car(b: SceneBuilder) -> None:
    """3.8 to 4.9 m long, 1.7 to 1.9 m wide, 1.4 to 1.8 m high, with wheels, windows and lamps."""
    r = b.random
    long, wide, high = r.uniform(3.8, 4.9), r.uniform(1.7, 1.9), r.uniform(1.4, 1.8)
    paint = b.material('car', tint=0.7, gloss=1.0)
    glass = b.material('metal', tint=0.9, gloss=1.0)
    glass = type(glass)(glass.texture, (0.08, 0.09, 0.1), glass.scale, 1.0)
    waist = high * 0.56
    nose = long * r.uniform(0.2, 0.28)
    back = r.choice((0.0, 0.0, long * r.uniform(0.08, 0.16)))  # no boot, or one
    cabin = long - nose - back
    shift = (back - nose) / 2
    b.box((0, 0, (0.2 + waist * 0.9) / 2), (long, wide, waist * 0.9 - 0.2), paint)
    b.box((-0.02, 0, waist * 0.9), (long * 0.985, wide * 0.95, waist * 0.2), paint)
    top = cabin * 0.62
    roof = shift - cabin * 0.06
    b.box((roof, 0, (waist + high) / 2), (top, wide * 0.84, high - waist), glass, top=paint)
    b.box((roof, 0, high - 0.03), (top * 1.02, wide * 0.86, 0.06), paint)
    # The windscreen and the rear window: slabs below the slopes from the roof's ends down.
    for end in (-1, 1):
        rise, run = high - 0.03 - waist, end * (shift - roof) + (cabin - top) / 2
        tall, thick = math.hypot(run, rise), 0.3
        middle = roof + end * (top + run) / 2
        place = (
            middle - end * rise / tall * thick / 2,
            0,
            waist + rise / 2 - run / tall * thick / 2,
        )
        pane = (thick, wide * 0.83, tall)
        b.box(place, pane, glass, pitch=-end * math.atan2(run, rise))
    for along in (-0.5, 0.05, 0.5):
        place = (roof + along * top, 0, (waist + high) / 2)
        b.box(place, (0.07, wide * 0.855, high - waist), paint)
    tyre = type(glass)(glass.texture, (0.05, 0.05, 0.05), 1.0, 0.0)
    rim = b.material('metal', tint=0.2)
    for x in (-long * 0.31, long * 0.31):
        for side in (-1, 1):
            b.cylinder((x, side * (wide / 2 - 0.09), 0.32), 0.32, 0.22, tyre, roll=math.pi / 2)
            b.cylinder((x, side * (wide / 2 - 0.08), 0.32), 0.19, 0.22, rim, roll=math.pi / 2)
    lamp = b.material('ceiling', tint=0.1)
    red = type(glass)(glass.texture, (0.5, 0.03, 0.03), 1.0, 0.8)
    for y in (-wide * 0.37, wide * 0.37):
        b.box((long / 2, y, waist * 0.75), (0.06, 0.34, 0.13), lamp)
        b.box((-long / 2, y, waist * 0.8), (0.06, 0.24, 0.14), red)
        b.box((shift + cabin * 0.36, y * 1.5, waist + 0.06), (0.12, 0.16, 0.12), paint)
    for end in (-1, 1):
        b.box((end * long / 2, 0, waist * 0.45), (0.05, 0.5, 0.11), lamp)
        b.box((end * (long / 2 - 0.03), 0, 0.3), (0.12, wide * 0.96, 0.16), glass)


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


def cone(b: SceneBuilder) -> None:
    """Traffic cones stand in the way of robots."""
    if not b.content.clutter:
        return
    m = b.material('car', tint=0.2)
    orange = type(m)(m.texture, (0.9, 0.25, 0.05))
    b.box((0, 0, 0.02), (0.36, 0.36, 0.04), orange)
    for i in range(4):
        b.cylinder((0, 0, 0.1 + i * 0.15), 0.13 - i * 0.03, 0.15, orange)


def traffic_light(b: SceneBuilder) -> None:
    m = b.material('metal', tint=0.8)
    b.cylinder((0, 0, 1.6), 0.06, 3.2, m)
    b.box((0.1, 0, 2.8), (0.2, 0.3, 0.9), m)
    for i, tint in enumerate(((0.1, 0.8, 0.2), (0.3, 0.2, 0.02), (0.3, 0.02, 0.02))):
        b.cylinder((0.21, 0, 2.53 + 0.27 * i), 0.1, 0.06, type(m)(m.texture, tint), pitch=1.571)


def bicycle(b: SceneBuilder) -> None:
    """Two wheels, a frame, a saddle and a handlebar."""
    dark = b.material('metal', tint=0.8)
    tyre = type(dark)(dark.texture, (0.06, 0.06, 0.06))
    m = b.material('car', tint=0.6)
    for x in (-0.52, 0.52):
        b.cylinder((x, 0, 0.34), 0.34, 0.03, tyre, roll=math.pi / 2)
    b.rod((-0.52, 0, 0.34), (-0.05, 0, 0.3), 0.015, m)
    b.rod((-0.05, 0, 0.3), (0.38, 0, 0.78), 0.018, m)
    b.rod((-0.05, 0, 0.3), (-0.2, 0, 0.92), 0.018, m)
    b.rod((-0.17, 0, 0.8), (0.38, 0, 0.82), 0.018, m)
    b.rod((0.52, 0, 0.34), (0.36, 0, 1.0), 0.018, m)
    b.box((-0.2, 0, 0.95), (0.26, 0.14, 0.06), dark)
    b.box((0.36, 0, 1.02), (0.05, 0.55, 0.03), dark)


def hedge(b: SceneBuilder) -> None:
    r = b.random
    long, high = r.uniform(3.0, 9.0), r.uniform(0.7, 1.8)
    leaves = b.material('leaves', tint=0.3, gloss=0)
    b.box((0, 0, high / 2), (r.uniform(0.5, 0.9), long, high), leaves)


def rock(b: SceneBuilder) -> None:
    r = b.random
    m = b.material('bark', gloss=0)
    for _ in range(r.randint(1, 3)):
        size = r.uniform(0.15, 1.0)
        place = (r.uniform(-0.4, 0.4), r.uniform(-0.4, 0.4), size * 0.15)
        more = (size, size * r.uniform(0.6, 1.2), size * r.uniform(0.4, 0.8))
        b.ellipsoid(place, more, m, yaw=r.uniform(0, 3), pitch=r.uniform(-0.4, 0.4))


def log(b: SceneBuilder) -> None:
    long = b.random.uniform(1.0, 3.5)
    b.rod((-long / 2, 0, 0.14), (long / 2, 0, 0.16), 0.15, b.material('bark', gloss=0))


def stall(b: SceneBuilder) -> None:
    """Held out of training: a market stall with a roof on posts."""
    r = b.random
    wood, cloth = b.material('wood'), b.material('fabric', tint=0.6)
    b.box((0, 0, 0.45), (0.9, 2.2, 0.9), wood)
    for x in (-0.8, 0.8):
        for y in (-1.2, 1.2):
            b.box((x, y, 1.15), (0.06, 0.06, 2.3), wood)
    b.box((0, 0, 2.4), (2.0, 2.7, 0.08), cloth, pitch=0.15)
    for i in range(3):
        b.box((r.uniform(-0.2, 0.2), (i - 1) * 0.7, 1.0), (0.5, 0.5, 0.2), b.material('box'))


def planter(b: SceneBuilder) -> None:
    """Held out of training."""
    b.box((0, 0, 0.3), (0.9, 0.9, 0.6), b.material('wall', gloss=0))
    b.ellipsoid((0, 0, 1.0), (1.0, 1.0, 1.1), b.material('leaves', tint=0.3, gloss=0))


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
    sill = b.material('ceiling', tint=0.2, gloss=0)
    glass = type(sill)(b.material('metal').texture, (0.07, 0.08, 0.1), 1.0, 1.0)
    if r.random() < 0.5:  # a shop window or a garage besides the door
        side = -1 if y > 0 else 1
        size, front = ((2.6, 2.0), b.material('front', scale=0))
        if r.random() < 0.6:
            front = glass
        place = y + side * (wide * 0.2 + 1.6)
        b.box((0.0, place, 0.4 + size[1] / 2), (0.1, size[0] + 0.2, size[1] + 0.2), sill)
        b.box((0.02, place, 0.4 + size[1] / 2), (0.1, size[0], size[1]), glass, front=front)
    if storeys > 1 and r.random() < 0.3:  # a balcony
        place = r.uniform(-0.3, 0.3) * wide
        b.box((0.6, place, 3.2), (1.2, 2.6, 0.15), trim)
        for z in (3.6, 4.1):
            b.box((1.17, place, z), (0.04, 2.6, 0.06), sill)
