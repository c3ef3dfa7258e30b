"""Streets, car parks and parks under the sky, around x = y = 0; streets run along x.

Training and held-out scenes differ in textures, in the things that stand in them and in layout:
a held-out scene is a yard, a square or a depot, which training never sees.
"""

from __future__ import annotations

import math
from random import Random

from . import furniture as f
from . import roads
from . import street as s
from .builder import Material, SceneBuilder, Thing
from .clutter import crates
from .content import Content
from .floor import Floor
from .people import people_walking, person


def lay_out(
    random: Random, split: str, content: Content | None = None, *, wide: bool = False
) -> SceneBuilder:
    """One outdoor scene, of `wide` roads alone; its ground is z = 0, pavements a little above."""
    b = SceneBuilder(random, split, outdoor=True, content=content)
    daylight(b)
    layouts = LAYOUTS[split] + (ROADS[split] if b.content.wide_roads else ())
    random.choice(ROADS[split] if wide else layouts)(b)
    horizon(b)
    return b


def daylight(b: SceneBuilder) -> None:
    """Sunny, cloudy or evening."""
    r = b.random
    yaw, rise = r.uniform(-math.pi, math.pi), math.asin(r.uniform(0.12, 0.95))
    b.lights.sun_direction = (
        math.cos(yaw) * math.cos(rise), math.sin(yaw) * math.cos(rise), math.sin(rise)
    )  # fmt: skip
    clouds = r.random()
    b.lights.clouds = clouds
    strength = r.uniform(1.2, 2.8) if clouds < 0.7 else r.choice((0.0, 0.3))
    warmth = math.exp(-rise * 3)
    b.lights.sun = (strength, strength * (0.95 - 0.25 * warmth), strength * (0.88 - 0.5 * warmth))
    grey = 0.5 + 0.5 * clouds
    blue = r.uniform(0.75, 1.0)
    b.lights.horizon = (0.75, 0.8, 0.85 + 0.1 * r.random())
    b.lights.zenith = (0.22 + 0.4 * clouds, 0.38 + 0.3 * clouds, 0.5 * blue + 0.3)
    sky = r.uniform(0.45, 0.8)
    b.lights.ambient_up = (sky * grey, sky * (grey * 0.9 + 0.1), sky)
    b.lights.ambient_down = (0.22 * sky, 0.21 * sky, 0.2 * sky)
    b.lights.haze = 10 ** r.uniform(-4, -2.3)


def street(b: SceneBuilder) -> None:
    """A road with lanes, pavements, parked and moving cars, houses on both sides."""
    r = b.random
    lane = r.uniform(2.7, 3.5)
    road = 2 * lane + r.choice((0.0, 2.2, 4.4))
    s.ground(b, 'road')
    markings(b, road, lane)
    kerb = r.uniform(0.08, 0.16)
    for side in (-1, 1):
        walk = r.uniform(1.5, 4.0)
        pavement = b.material('pavement', gloss=0)
        edge = side * road / 2
        b.box((0, edge + side * walk / 2, kerb / 2), (400, walk, kerb), pavement)
        furniture_line(b, edge + side * r.uniform(0.4, 0.8), kerb, -side)
        cars(b, edge - side * 1.1, side)
        setback = edge + side * walk
        if r.random() < 0.3:
            verge = b.material('lawn', gloss=0)
            deep = r.uniform(3, 8)
            b.box((0, setback + side * deep / 2, kerb / 2), (400, deep, kerb), verge)
            setback += side * deep
        houses(b, setback, side)
    for _ in range(r.randint(0, 2)):
        side = r.choice((-1, 1))  # keeps to the right
        heading = 0.0 if side < 0 else math.pi
        b.place(s.car, r.uniform(5, 30) * r.choice((-1, 1)), side * 0.5 * lane, 0, heading)
    if r.random() < 0.25:
        for i in range(4):
            b.place(s.cone, r.uniform(-2, 14), r.choice((-0.5, 0.5)) * road + i * 0.2)


def markings(b: SceneBuilder, road: float, lane: float) -> None:
    """Dashes of 3 m with gaps of 6 m in the middle, lines at the edges, perhaps a crossing."""
    r = b.random
    paint = b.material('ceiling', tint=0.1, gloss=0)
    for i in range(-4, 5):
        b.box((i * 9 + r.uniform(-0.2, 0.2), 0, 0.002), (3.0, 0.12, 0.006), paint)
    if r.random() < 0.5:
        for y in (-road / 2 + 0.3, road / 2 - 0.3):
            b.box((0, y, 0.002), (400, 0.12, 0.006), paint)
    if r.random() < 0.4:
        x = r.uniform(4, 14) * r.choice((-1, 1))
        s.zebra(b, x, road, paint)


def furniture_line(b: SceneBuilder, y: float, z: float, side: int) -> None:
    """Lamps, trees, signs, bins and people along the kerb."""
    r = b.random
    x = r.uniform(-28, -20)
    kinds: tuple[Thing, ...] = (
        s.tree, s.street_lamp, s.sign, s.bollard, s.dustbin, person, s.bench, s.bicycle,
        s.traffic_light, people_walking, person, crates,
    )  # fmt: skip
    main = r.choice(kinds[:3])
    while x < 30:
        x += r.uniform(4, 12)
        thing = main if r.random() < 0.5 else r.choice(kinds)
        b.place(thing, x, y + r.uniform(-0.1, 0.5) * -side, z, side * math.pi / 2)


def cars(b: SceneBuilder, y: float, side: int) -> None:
    """Parked along the kerb."""
    r = b.random
    if r.random() < 0.3:
        return
    x = r.uniform(-22, -16)
    while x < 24:
        if r.random() < 0.45:
            b.place(s.car, x, y + r.uniform(-0.1, 0.1), 0, 0.0 if side < 0 else math.pi)
        x += r.uniform(5.2, 7.0)


def houses(b: SceneBuilder, y: float, side: int) -> None:
    r = b.random
    x = -60.0
    while x < 70:
        wide = r.uniform(8, 20)
        if r.random() < 0.85:
            with b.at(x + wide / 2, y + side * r.choice((0.0, 0.0, r.uniform(0, 2))), 0,
                      -side * math.pi / 2):  # fmt: skip
                s.house(b, wide, r.uniform(8, 12), r.randint(1, 6))
        elif r.random() < 0.6:
            b.place(s.tree, x + wide / 2, y + side * r.uniform(2, 6))
        x += wide + r.choice((0.0, 0.0, r.uniform(1, 5)))


def car_park(b: SceneBuilder) -> None:
    """Rows of bays of 2.5 x 5 m, a hall at one side."""
    r = b.random
    s.ground(b, 'road')
    paint = b.material('ceiling', tint=0.1, gloss=0)
    for row in (-1, 1):
        y = row * r.uniform(5.0, 7.0)
        for i in range(-5, 6):
            b.box((i * 2.5, y, 0.002), (0.1, 5.0, 0.006), paint)
            if r.random() < 0.5 and i < 5:
                yaw = r.choice((-1, 1)) * math.pi / 2 + r.uniform(-0.05, 0.05)
                b.place(s.car, i * 2.5 + 1.25, y + r.uniform(-0.3, 0.3), 0, yaw)
    side = r.choice((-1, 1))
    with b.at(r.uniform(-10, 10), side * r.uniform(14, 22), 0, -side * math.pi / 2):
        shed(b)
    scatter(b, (s.street_lamp, person, s.tree, s.bollard, s.cone), 9, 20, clear=3)


def shed(b: SceneBuilder) -> None:
    """A hall: a large plain building with gates."""
    r = b.random
    wide, deep, high = r.uniform(15, 35), r.uniform(10, 20), r.uniform(4, 8)
    b.box((-deep / 2, 0, high / 2), (deep, wide, high), b.material('shed', gloss=0))
    for i in range(3):
        gate = b.material('front', scale=0)
        b.box((0, (i - 1) * wide / 3, 1.75), (0.15, 3.2, 3.5), gate)


def park(b: SceneBuilder) -> None:
    """A lawn with a path, trees, bushes, benches, people, a fence."""
    r = b.random
    s.ground(b, 'lawn')
    path = b.material(r.choice(('pavement', 'road')), gloss=0)
    b.box((0, 0, 0.01), (400, r.uniform(1.5, 4.0), 0.03), path, yaw=r.uniform(-0.1, 0.1))
    scatter(
        b,
        (s.tree, s.tree, s.tree, s.bush, s.bench, person, s.street_lamp, s.dustbin, s.hedge,
         people_walking, s.bicycle),
        34, 26, clear=2,
    )  # fmt: skip
    if r.random() < 0.7:
        side = r.choice((-1, 1))
        with b.at(r.uniform(-5, 5), side * r.uniform(5, 12), 0, math.pi / 2):
            s.fence(b, r.uniform(10, 30))
    for _ in range(r.randint(1, 3)):
        yaw, far = r.uniform(-math.pi, math.pi), r.uniform(20, 60)
        with b.at(far * math.cos(yaw), far * math.sin(yaw), 0, yaw + math.pi):
            s.house(b, r.uniform(8, 16), 9.0, r.randint(1, 4))


def trail(b: SceneBuilder) -> None:
    """Off the road: a track between trees, rocks, logs and mounds."""
    r = b.random
    s.ground(b, 'lawn')
    track = b.material(r.choice(('road', 'pavement', 'bark')), gloss=0)
    yaw = r.uniform(-0.15, 0.15)
    for y in (-0.8, 0.8) if r.random() < 0.5 else (0.0,):
        b.box((0, y, 0.005), (300, r.uniform(0.4, 0.7) if y else 2.2, 0.02), track, yaw=yaw)
    earth = b.material('lawn', gloss=0)
    for _ in range(r.randint(3, 8)):
        far, around = r.uniform(7, 40), r.uniform(-math.pi, math.pi)
        size = (r.uniform(3, 14), r.uniform(3, 14), r.uniform(0.4, 3.0))
        b.ellipsoid((far * math.cos(around), far * math.sin(around), 0), size, earth)
    wild = (s.tree, s.tree, s.tree, s.tree, s.bush, s.bush, s.rock, s.rock, s.log, person)
    scatter(b, wild, 45, 26, clear=1.5)
    if r.random() < 0.5:
        with b.at(0, r.choice((-1, 1)) * r.uniform(3, 7), 0, math.pi / 2):
            s.fence(b, r.uniform(15, 30))


def square(b: SceneBuilder) -> None:
    """A market square with stalls, planters and people between houses; held out of training."""
    r = b.random
    s.ground(b, 'pavement')
    for yaw in (0.0, math.pi / 2, math.pi, -math.pi / 2):
        far = r.uniform(16, 32)
        with b.at(far * math.cos(yaw), far * math.sin(yaw), 0, yaw + math.pi):
            for i in range(r.randint(1, 3)):
                with b.at(0, (i - 1) * 14.0):
                    s.house(b, r.uniform(9, 13.5), 9.0, r.randint(2, 5))
    things = (s.stall, s.planter, person, people_walking, s.bench, s.street_lamp, s.dustbin, s.car)
    scatter(b, things, 26, 18, clear=2)


def yard(b: SceneBuilder) -> None:
    """A paved yard between buildings, with vans, barrels and crates; held out of training."""
    r = b.random
    s.ground(b, 'pavement')
    for yaw in (0.0, math.pi / 2, math.pi, -math.pi / 2):
        if r.random() < 0.75:
            far = r.uniform(9, 25)
            with b.at(far * math.cos(yaw), far * math.sin(yaw), 0, yaw + math.pi):
                s.house(b, r.uniform(12, 30), 8.0, r.randint(1, 5))
    scatter(b, (s.van, f.barrel, crates, person, s.bollard, s.bush, s.van), 24, 15, clear=2.5)


def scatter(
    b: SceneBuilder, things: tuple[Thing, ...], count: int, radius: float, *, clear: float
) -> None:
    """Stands things around at random, denser near the middle, none within `clear` metres of it."""
    r = b.random
    taken = Floor()
    for _ in range(count):
        far, yaw = clear + (radius - clear) * r.random() ** 0.8, r.uniform(-math.pi, math.pi)
        x, y = far * math.cos(yaw), far * math.sin(yaw)
        if taken.take(x, y, 2.4, 2.4):
            b.place(r.choice(things), x, y, 0, r.uniform(-math.pi, math.pi))


def horizon(b: SceneBuilder) -> None:
    """Woods, hills and blocks far away: streets do not end in nothing."""
    r = b.random
    for _ in range(r.randint(3, 7)):
        yaw, far = r.uniform(-math.pi, math.pi), r.uniform(80, 250)
        x, y = far * math.cos(yaw), far * math.sin(yaw)
        if r.random() < 0.5:
            size = (r.uniform(15, 60), r.uniform(15, 60), r.uniform(6, 30))
            facade: Material = b.material('facade', gloss=0)
            b.box((x, y, size[2] / 2), size, facade, yaw=r.uniform(0, 3))
        else:
            size = (r.uniform(30, 90), r.uniform(30, 90), r.uniform(12, 40))
            b.ellipsoid((x, y, 0), size, b.material('leaves', gloss=0, scale=6.0))


LAYOUTS: dict[str, tuple[Thing, ...]] = {
    'train': (street, street, street, street, car_park, park, trail),
    'heldout': (yard, square),
}
# Of content's wide_roads.
ROADS: dict[str, tuple[Thing, ...]] = {
    'train': (
        roads.avenue, roads.avenue, roads.avenue, roads.suburb, roads.suburb, roads.suburb,
        roads.crossing, roads.crossing, roads.country_road, roads.country_road,
    ),
    'heldout': (roads.depot, roads.depot),
}  # fmt: skip
