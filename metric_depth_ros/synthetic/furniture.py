"""Things in rooms, of the sizes they have in reality.

Each function draws one thing around the origin of the builder's current frame, standing on z = 0
and looking along x. It returns nothing: where things stand is the layout's business.
"""

from __future__ import annotations

from .builder import Material, SceneBuilder
from .clutter import small_thing


def legs(b: SceneBuilder, dx: float, dy: float, height: float, thick: float, m: Material) -> None:
    for x in (-dx, dx):
        for y in (-dy, dy):
            b.box((x, y, height / 2), (thick, thick, height), m)


def table(b: SceneBuilder, *, clutter: int = 0) -> None:
    r = b.random
    deep, wide, high = r.uniform(0.6, 0.95), r.uniform(0.8, 2.0), r.uniform(0.68, 0.78)
    top = b.material('wood')
    b.box((0, 0, high - 0.02), (deep, wide, 0.04), top)
    legs(b, deep / 2 - 0.06, wide / 2 - 0.06, high - 0.04, 0.05, b.material('metal'))
    for _ in range(clutter):
        x, y = r.uniform(-0.35, 0.35) * deep, r.uniform(-0.42, 0.42) * wide
        with b.at(x, y, high, r.uniform(-3, 3)):
            small_thing(b)


def laden_table(b: SceneBuilder) -> None:
    table(b, clutter=b.random.randint(0, 4))


def crowded_table(b: SceneBuilder) -> None:
    """What an arm sorts: more on it than there is room for side by side."""
    table(b, clutter=b.random.randint(8, 20))


def desk(b: SceneBuilder) -> None:
    """A table with a monitor, a keyboard and clutter; the seat is on the x side."""
    r = b.random
    deep, wide, high = r.uniform(0.65, 0.85), r.uniform(1.2, 1.8), r.uniform(0.7, 0.76)
    b.box((0, 0, high - 0.015), (deep, wide, 0.03), b.material('wood'))
    side = b.material('wood')
    for y in (-wide / 2 + 0.02, wide / 2 - 0.02):
        b.box((0, y, high / 2 - 0.02), (deep - 0.05, 0.03, high - 0.03), side)
    dark = b.material('metal', tint=0.8)
    for shift in (0.0,) if r.random() < 0.6 else (-0.3, 0.3):
        with b.at(-deep / 2 + 0.22, shift, high, r.uniform(-0.2, 0.2)):
            b.box((0, 0, 0.01), (0.2, 0.24, 0.02), dark)
            b.box((-0.02, 0, 0.12), (0.03, 0.05, 0.22), dark)
            b.box((0, 0, 0.32), (0.03, 0.54, 0.32), dark, front=b.material('screen', scale=0))
    b.box((deep / 2 - 0.2, 0, high + 0.01), (0.14, 0.43, 0.02), dark)
    for _ in range(r.randint(0, 3)):
        with b.at(
            r.uniform(-0.2, 0.25), r.choice((-1, 1)) * r.uniform(0.35, 0.5) * wide * 0.9, high
        ):
            small_thing(b)


def chair(b: SceneBuilder) -> None:
    r = b.random
    seat, high = r.uniform(0.4, 0.47), r.uniform(0.43, 0.48)
    cloth, frame = b.material('fabric'), b.material('wood')
    b.box((0, 0, high - 0.025), (seat, seat, 0.05), cloth)
    b.box((-seat / 2 + 0.02, 0, high + 0.25), (0.035, seat, r.uniform(0.3, 0.45)), cloth)
    legs(b, seat / 2 - 0.03, seat / 2 - 0.03, high - 0.05, 0.04, frame)
    for y in (-seat / 2 + 0.03, seat / 2 - 0.03):
        b.box((-seat / 2 + 0.02, y, high + 0.1), (0.03, 0.03, 0.3), frame)


def office_chair(b: SceneBuilder) -> None:
    cloth, frame = b.material('fabric'), b.material('metal', tint=0.7)
    for i in range(3):
        b.box((0, 0, 0.06), (0.6, 0.05, 0.04), frame, yaw=i * 1.047)
    b.cylinder((0, 0, 0.25), 0.03, 0.38, frame)
    b.box((0, 0, 0.47), (0.48, 0.48, 0.07), cloth)
    b.box((-0.23, 0, 0.8), (0.06, 0.44, 0.55), cloth, pitch=-0.12)
    for y in (-0.26, 0.26):
        b.box((0, y, 0.68), (0.25, 0.05, 0.03), frame)


def sofa(b: SceneBuilder) -> None:
    r = b.random
    wide, deep = r.uniform(1.4, 2.3), r.uniform(0.8, 0.95)
    m = b.material('fabric')
    b.box((0, 0, 0.21), (deep, wide, 0.3), m)
    b.box((-deep / 2 + 0.12, 0, 0.5), (0.24, wide, 0.65), m)
    for y in (-wide / 2 + 0.1, wide / 2 - 0.1):
        b.box((0, y, 0.33), (deep, 0.2, 0.55), m)
    for i in range(2):
        b.box((0.08, (i - 0.5) * (wide - 0.4) / 2, 0.43), (deep - 0.3, wide / 2 - 0.23, 0.14), m)
    if r.random() < 0.6:
        y = r.uniform(-0.3, 0.3) * wide
        b.ellipsoid((-0.12, y, 0.6), (0.2, 0.42, 0.4), b.material('fabric'), pitch=-0.3)


def bed(b: SceneBuilder) -> None:
    r = b.random
    wide = r.choice((0.9, 1.4, 1.6, 1.8))
    b.box((0, 0, 0.15), (2.05, wide + 0.08, 0.3), b.material('wood'))
    b.box((0, 0, 0.4), (2.0, wide, 0.22), b.material('fabric'))
    b.box((-1.04, 0, 0.5), (0.06, wide + 0.1, 1.0), b.material('wood'))
    pillow = b.material('fabric', tint=0.1)
    for y in (0.0,) if wide < 1.2 else (-wide / 4, wide / 4):
        b.ellipsoid((-0.72, y, 0.54), (0.45, 0.65, 0.18), pillow)


def cabinet(b: SceneBuilder) -> None:
    r = b.random
    deep, wide = r.uniform(0.35, 0.6), r.uniform(0.4, 1.4)
    high = r.choice((r.uniform(0.6, 0.95), r.uniform(1.1, 1.5), r.uniform(1.8, 2.1)))
    m = b.material('wood')
    b.box((0, 0, high / 2), (deep, wide, high), m, front=b.material('front', scale=0))
    if high < 1.6:
        for _ in range(r.randint(0, 2)):
            with b.at(0, r.uniform(-0.4, 0.4) * wide, high, r.uniform(-1, 1)):
                small_thing(b)


def shelf(b: SceneBuilder) -> None:
    """A bookcase: boards, sides, and books or boxes on most boards."""
    r = b.random
    deep, wide, step = r.uniform(0.25, 0.38), r.uniform(0.7, 1.2), r.uniform(0.33, 0.4)
    count = r.randint(3, 5)
    m = b.material('wood')
    high = count * step + 0.05
    for y in (-wide / 2, wide / 2):
        b.box((0, y, high / 2), (deep, 0.025, high), m)
    b.box((-deep / 2, 0, high / 2), (0.012, wide, high), m)
    for i in range(count + 1):
        z = 0.04 + i * step
        b.box((0, 0, z), (deep, wide, 0.022), m)
        if i < count and r.random() < 0.8:
            share = r.uniform(0.4, 0.95) * wide
            back = b.material('books', scale=0)
            tall = step - 0.06
            b.box(
                (-0.03, (share - wide) / 2 + 0.02, z + 0.01 + tall / 2),
                (deep - 0.1, share, tall),
                m,
                front=back,
            )


def plant(b: SceneBuilder) -> None:
    r = b.random
    high = r.uniform(0.3, 0.9)
    b.cylinder((0, 0, 0.16), 0.16, 0.32, b.material('box'))
    leaves = b.material('leaves', tint=0.3)
    for _ in range(4):
        size = r.uniform(0.2, 0.5)
        place = (r.uniform(-0.15, 0.15), r.uniform(-0.15, 0.15), 0.35 + r.uniform(0.2, 1) * high)
        b.ellipsoid(
            place, (size, size, size * r.uniform(0.6, 1.4)), leaves, pitch=r.uniform(-1, 1)
        )


def floor_lamp(b: SceneBuilder) -> None:
    m = b.material('metal')
    high = b.random.uniform(1.4, 1.8)
    b.cylinder((0, 0, 0.015), 0.14, 0.03, m)
    b.cylinder((0, 0, high / 2), 0.014, high, m)
    b.cylinder((0, 0, high), 0.18, 0.28, b.material('fabric', tint=0.1), glow=0.6)


def bin_(b: SceneBuilder) -> None:
    r = b.random
    radius, high = r.uniform(0.12, 0.22), r.uniform(0.3, 0.7)
    b.cylinder((0, 0, high / 2), radius, high, b.material('metal', tint=0.6))


def stool(b: SceneBuilder) -> None:
    high = b.random.uniform(0.42, 0.75)
    m = b.material('wood')
    b.cylinder((0, 0, high - 0.02), 0.18, 0.04, m)
    legs(b, 0.1, 0.1, high - 0.04, 0.035, b.material('metal'))


def pallet_rack(b: SceneBuilder) -> None:
    """Heavy shelving of a store: uprights, beams and loads."""
    r = b.random
    wide, deep, step = r.uniform(1.8, 2.7), r.uniform(0.6, 1.0), r.uniform(0.8, 1.4)
    steel = b.material('metal', tint=0.6)
    levels = 2
    legs(b, deep / 2, wide / 2, levels * step + 0.5, 0.07, steel)
    for i in range(levels + 1):
        z = 0.1 + i * step
        b.box((0, 0, z), (deep, wide, 0.08), steel)
        for j in range(2):
            if r.random() < 0.75:
                size = (deep * 0.8, wide * r.uniform(0.25, 0.42), step * r.uniform(0.3, 0.8))
                b.box((0, (j - 0.5) * wide / 2, z + 0.04 + size[2] / 2), size, b.material('box'))


def round_table(b: SceneBuilder) -> None:
    """Held out of training, like the things below."""
    r = b.random
    radius = r.uniform(0.4, 0.65)
    m = b.material('wood')
    b.cylinder((0, 0, 0.73), radius, 0.035, m)
    b.cylinder((0, 0, 0.36), 0.05, 0.7, m)
    b.cylinder((0, 0, 0.02), radius * 0.55, 0.04, m)
    for _ in range(r.randint(0, 2)):
        with b.at(r.uniform(-0.2, 0.2), r.uniform(-0.2, 0.2), 0.75):
            small_thing(b)


def armchair(b: SceneBuilder) -> None:
    m = b.material('fabric')
    b.cylinder((0, 0, 0.22), 0.42, 0.44, m)
    b.ellipsoid((-0.28, 0, 0.6), (0.3, 0.8, 0.7), m)
    for y in (-0.36, 0.36):
        b.ellipsoid((0, y, 0.5), (0.7, 0.22, 0.3), m)


def barrel(b: SceneBuilder) -> None:
    m = b.material('metal')
    b.cylinder((0, 0, 0.44), 0.29, 0.88, m)
    for z in (0.29, 0.59):
        b.cylinder((0, 0, z), 0.3, 0.025, m)


def piano(b: SceneBuilder) -> None:
    m = b.material('wood', gloss=0.8)
    b.box((-0.15, 0, 0.6), (0.35, 1.5, 1.2), m)
    b.box((0.15, 0, 0.66), (0.35, 1.45, 0.12), m)
    legs(b, 0.28, 0.68, 0.6, 0.08, m)
