"""Small things: on tables and cabinets, and what lies about on floors.

As in furniture, each function draws one thing on z = 0 around the origin.
"""

from __future__ import annotations

import math

from .builder import Material, SceneBuilder


def small_thing(b: SceneBuilder) -> None:
    """Something that stands on a table."""
    if b.content.clutter:
        b.random.choice(ON_TABLES)(b)


def floor_thing(b: SceneBuilder) -> None:
    """Something that stands or lies on the floor."""
    if b.content.clutter:
        b.random.choice(ON_FLOORS)(b)


def book(b: SceneBuilder) -> None:
    r = b.random
    z = 0.0
    for _ in range(r.choice((1, 1, 2, 4))):
        thick = r.uniform(0.012, 0.05)
        size = (r.uniform(0.14, 0.22), r.uniform(0.2, 0.3), thick)
        b.box((0, 0, z + thick / 2), size, b.material('box', tint=0.5), yaw=r.uniform(-0.4, 0.4))
        z += thick


def paper(b: SceneBuilder) -> None:
    for _ in range(b.random.randint(1, 2)):
        sheet = b.material('ceiling', tint=0.1, gloss=0)
        place = (b.random.uniform(-0.1, 0.1), b.random.uniform(-0.1, 0.1), 0.002)
        b.box(place, (0.21, 0.297, 0.004), sheet, yaw=b.random.uniform(-0.6, 0.6))


def mug(b: SceneBuilder) -> None:
    m = b.material('box', tint=0.6)
    b.cylinder((0, 0, 0.048), 0.04, 0.096, m)
    b.box((0.052, 0, 0.05), (0.03, 0.012, 0.055), m)


def bottle(b: SceneBuilder) -> None:
    m = b.material('box', tint=0.6)
    b.cylinder((0, 0, 0.1), 0.035, 0.2, m)
    b.cylinder((0, 0, 0.24), 0.014, 0.1, m)


def fruit(b: SceneBuilder) -> None:
    size = b.random.uniform(0.07, 0.12)
    b.ellipsoid((0, 0, size / 2), (size, size, size), b.material('box', tint=0.6))


def bowl(b: SceneBuilder) -> None:
    size = b.random.uniform(0.15, 0.3)
    b.ellipsoid((0, 0, 0.03), (size, size, 0.1), b.material('box', tint=0.4))


def carton(b: SceneBuilder) -> None:
    r = b.random
    high = r.uniform(0.08, 0.3)
    size = (r.uniform(0.1, 0.3), r.uniform(0.1, 0.3), high)
    b.box((0, 0, high / 2), size, b.material('box'))


def laptop(b: SceneBuilder) -> None:
    m = b.material('metal', tint=0.6)
    b.box((0, 0, 0.01), (0.23, 0.33, 0.018), m)
    lid = b.material('screen', scale=0)
    b.box((-0.15, 0, 0.12), (0.01, 0.33, 0.23), m, front=lid, pitch=-0.3)


def phone(b: SceneBuilder) -> None:
    dark = b.material('metal', tint=0.8)
    b.box((0, 0, 0.02), (0.18, 0.16, 0.04), dark)
    b.box((0, -0.05, 0.055), (0.2, 0.045, 0.03), dark)


def desk_lamp(b: SceneBuilder) -> None:
    m = b.material('metal')
    b.cylinder((0, 0, 0.01), 0.08, 0.02, m)
    b.rod((0, 0, 0), (-0.05, 0, 0.3), 0.01, m)
    b.rod((-0.05, 0, 0.3), (0.16, 0, 0.42), 0.01, m)
    b.cylinder((0.18, 0, 0.4), 0.06, 0.08, m, pitch=0.4)


def pot_plant(b: SceneBuilder) -> None:
    b.cylinder((0, 0, 0.06), 0.06, 0.12, b.material('box'))
    leaves = b.material('leaves', tint=0.3)
    for x in (-0.04, 0.05):
        b.ellipsoid((x, x, 0.2), (0.15, 0.15, 0.2), leaves, pitch=4 * x)


def ball(b: SceneBuilder) -> None:
    size = b.random.uniform(0.15, 0.3)
    b.ellipsoid((0, 0, size / 2), (size, size, size), b.material('box', tint=0.6))


def backpack(b: SceneBuilder) -> None:
    m = b.material('fabric', tint=0.6)
    b.ellipsoid((0, 0, 0.24), (0.3, 0.36, 0.54), m)
    b.ellipsoid((0.13, 0, 0.16), (0.14, 0.28, 0.26), m)


def shoes(b: SceneBuilder) -> None:
    m = b.material('box', tint=0.7)
    for y in (-0.07, 0.07):
        b.box((0, y, 0.025), (0.28, 0.09, 0.05), m)
        b.ellipsoid((-0.06, y, 0.06), (0.15, 0.09, 0.1), m)


def cable(b: SceneBuilder) -> None:
    """Lies in bends on the floor."""
    r = b.random
    tone = r.choice((0.06, 0.06, 0.5, 0.8))
    m = Material(b.material('metal').texture, (tone, tone, tone))
    radius, yaw = r.uniform(0.004, 0.009), 0.0
    x, y = -0.6, 0.0
    for _ in range(r.randint(3, 5)):
        yaw += r.uniform(-0.7, 0.7)
        far = r.uniform(0.25, 0.5)
        u, v = x + far * math.cos(yaw), y + far * math.sin(yaw)
        b.rod((x, y, radius), (u, v, radius), radius, m)
        x, y = u, v


def socket_strip(b: SceneBuilder) -> None:
    white = b.material('ceiling', tint=0.1)
    b.box((0, 0, 0.02), (0.05, 0.35, 0.04), white)
    b.rod((0, 0.17, 0.01), (0.3, 0.7, 0.01), 0.005, white)


def crates(b: SceneBuilder) -> None:
    """A stack of cartons."""
    if not b.content.clutter:
        return
    r = b.random
    z = 0.0
    for _ in range(r.choice((1, 1, 2, 3))):
        size = (r.uniform(0.25, 0.6), r.uniform(0.3, 0.6), r.uniform(0.2, 0.45))
        place = (r.uniform(-0.05, 0.05), r.uniform(-0.05, 0.05), z + size[2] / 2)
        b.box(place, size, b.material('box'), yaw=r.uniform(-0.3, 0.3))
        z += size[2]


def toolbox(b: SceneBuilder) -> None:
    m = b.material('car', tint=0.5)
    b.box((0, 0, 0.1), (0.22, 0.45, 0.2), m)
    b.box((0, 0, 0.235), (0.03, 0.22, 0.02), m)
    for y in (-0.1, 0.1):
        b.box((0, y, 0.215), (0.03, 0.02, 0.03), m)


ON_TABLES = (
    book, book, paper, mug, mug, bottle, fruit, bowl, carton, laptop, phone, desk_lamp, pot_plant,
)  # fmt: skip
ON_FLOORS = (
    crates, crates, ball, backpack, shoes, cable, cable, socket_strip, toolbox, carton, book,
)  # fmt: skip
