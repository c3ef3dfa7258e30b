"""Roads as vehicles drive them, along x: wider and more open than the streets of old towns."""

from __future__ import annotations

import math
from random import Random

from . import street as s
from .builder import Material, SceneBuilder, Thing
from .people import person

# Half of what is laid along the road, metres.
REACH = 200.0


def avenue(b: SceneBuilder) -> None:
    """Three to six lanes, perhaps divided, buildings well behind the kerb, gaps between them."""
    r = b.random
    lanes, lane = r.randint(3, 6), r.uniform(3.0, 3.7)
    strip = r.choice((0.0, 0.0, r.uniform(1.5, 6.0)))
    wide = lanes * lane + strip
    # Vehicles are at y = 0, so that it is the road that lies to the left or right of them.
    middle = r.uniform(-1, 1) * (wide / 2 - 2.5)
    s.ground(b, 'road')
    with b.at(0, middle):
        _lines(b, wide, lanes, strip)
        if strip:
            _divider(b, strip)
        for i in range(lanes):
            side = -1 if i < lanes / 2 else 1
            y = side * ((i % math.ceil(lanes / 2) + 0.5) * lane + strip / 2)
            traffic(b, y, 0.0 if side < 0 else math.pi, r.uniform(12, 45))
        for side in (-1, 1):
            walk = r.uniform(2.0, 6.0)
            _strip(b, side * wide / 2, side, walk, 'pavement')
            along(b, side * (wide / 2 + 0.8), -side, (s.street_lamp, tall_tree, s.sign), 14, 32)
            _roadside(b, side * (wide / 2 + walk), side)


def suburb(b: SceneBuilder) -> None:
    """A street of houses that stand back behind lawns, hedges and cars in drives."""
    r = b.random
    wide = r.uniform(5.5, 10.0)
    s.ground(b, 'lawn')
    b.box((0, 0, 0.0), (2 * REACH, wide, 0.06), b.material('road', gloss=0))
    if r.random() < 0.5:
        _lines(b, wide, 2, 0.0)
    for side in (-1, 1):
        if r.random() < 0.7:
            _strip(b, side * (wide / 2 + r.uniform(0, 2)), side, r.uniform(1.2, 2.2), 'pavement')
        if r.random() < 0.5:
            traffic(b, side * (wide / 2 - 1.1), 0.0 if side < 0 else math.pi, r.uniform(8, 25))
        along(
            b, side * (wide / 2 + 2.6), -side, (tall_tree, s.tree, s.hedge, s.street_lamp), 9, 26
        )
        x, back = -70.0, r.uniform(6, 16)
        while x < 80:
            house = r.uniform(9, 16)
            y = side * (wide / 2 + back + r.uniform(0, 4))
            with b.at(x + house / 2, y, 0, -side * math.pi / 2):
                s.house(b, house, r.uniform(8, 11), r.choice((1, 1, 2, 2, 3)))
            if r.random() < 0.5:
                drive = x + house + 1.8
                b.box((drive, side * (wide / 2 + back / 2), 0.02), (3.2, back, 0.06),
                      b.material('pavement', gloss=0))  # fmt: skip
                b.place(s.car, drive, side * (wide / 2 + 0.6 * back), 0.05, math.pi / 2)
            x += house + r.uniform(4, 12)


def crossing(b: SceneBuilder) -> None:
    """Two roads meet: open all around, houses at the corners, signals, waiting cars."""
    r = b.random
    one, other = r.uniform(7, 20), r.uniform(7, 20)
    where = r.uniform(-6, 22)
    s.ground(b, 'road')
    with b.at(where, r.uniform(-2, 2)):
        paint = b.material('ceiling', tint=0.1, gloss=0)
        for side in (-1, 1):
            s.zebra(b, side * (other / 2 + 3), one, paint)
            traffic(b, side * one / 4, 0.0 if side < 0 else math.pi, r.uniform(10, 40))
            with b.at(0, 0, 0, math.pi / 2):
                traffic(b, side * other / 4, 0.0 if side < 0 else math.pi, r.uniform(10, 40))
            for end in (-1, 1):
                walk, far = r.uniform(2, 6), 90.0
                corner = end * (other / 2 + far / 2), side * (one / 2 + far / 2)
                b.box((*corner, 0.06), (far, far, 0.12), b.material('pavement', gloss=0))
                near = end * (other / 2 + 0.6), side * (one / 2 + 0.6)
                b.place(
                    r.choice((s.traffic_light, s.sign, s.street_lamp)), *near, 0.1, r.uniform(0, 6)
                )
                b.place(
                    r.choice((person, s.bollard, s.dustbin)), near[0] + end, near[1] + side, 0.12
                )
                house = r.uniform(10, 24)
                place = end * (other / 2 + walk + house / 2), side * (one / 2 + walk)
                with b.at(*place, 0.1, -side * math.pi / 2):
                    if r.random() < 0.75:
                        s.house(b, house, r.uniform(8, 20), r.randint(1, 7))
                    else:
                        tall_tree(b)
                along(b, side * (one / 2 + 1.0), -side, (tall_tree, s.street_lamp, person), 15, 35)


def country_road(b: SceneBuilder) -> None:
    """Between fields, woods and rails; now and then a house."""
    r = b.random
    wide, lanes = r.uniform(5.0, 16.0), r.choice((2, 2, 3, 4))
    s.ground(b, 'lawn')
    with b.at(0, r.uniform(-1, 1) * (wide / 2 - 2.2)):
        b.box((0, 0, 0.0), (2 * REACH, wide, 0.06), b.material('road', gloss=0))
        _lines(b, wide, lanes, 0.0)
        for side in (-1, 1):
            traffic(b, side * wide / 4, 0.0 if side < 0 else math.pi, r.uniform(25, 90))
            edge = wide / 2 + r.uniform(0.5, 2.5)
            if r.random() < 0.4:
                _rail(b, side * edge)
            _roadside(b, side * (edge + r.uniform(0.5, 4)), side, houses=0.25)


def depot(b: SceneBuilder) -> None:
    """Held out of training: a wide yard road between halls, with containers and vans."""
    r = b.random
    s.ground(b, 'road')
    for side in (-1, 1):
        y = side * r.uniform(8, 22)
        x = -80.0
        while x < 90:
            long, high = r.uniform(15, 40), r.uniform(4, 9)
            place = (x + long / 2, y + side * 8, high / 2)
            b.box(place, (long, 16.0, high), b.material('shed', gloss=0))
            x += long + r.uniform(2, 14)
        for _ in range(r.randint(2, 6)):
            x, before = r.uniform(-50, 60), y - side * r.uniform(2, 5)
            if r.random() < 0.5:
                b.box(
                    (x, before, 1.3),
                    (r.choice((6.1, 12.2)), 2.44, 2.6),
                    b.material('car', tint=0.6),
                )
            else:
                b.place(s.van, x, before, 0, r.choice((0.0, math.pi)))
        along(b, side * 6.0, -side, (s.street_lamp, s.bollard, person), 12, 40)


def traffic(b: SceneBuilder, y: float, yaw: float, gap: float) -> None:
    """Cars in a lane, `gap` metres apart in the mean, none where the camera is."""
    r = b.random
    for direction in (-1, 1):
        x = r.uniform(5, 5 + gap)
        while x < 75:
            if r.random() < 0.7:
                b.place(
                    s.car if r.random() < 0.85 else lorry,
                    direction * x,
                    y + r.gauss(0, 0.2),
                    0,
                    yaw,
                )
            x += 7 + r.expovariate(1 / gap)


def along(
    b: SceneBuilder, y: float, side: int, kinds: tuple[Thing, ...], least: float, most: float
) -> None:
    """Things in a row, turned to `side`, `least` to `most` metres apart."""
    r = b.random
    main, step = r.choice(kinds), r.uniform(least, most)
    x = -60 + r.uniform(0, step)
    while x < 75:
        thing = main if r.random() < 0.75 else r.choice(kinds)
        b.place(thing, x, y + r.gauss(0, 0.2), 0.05, side * math.pi / 2)
        x += step * r.uniform(0.8, 1.2)


def tall_tree(b: SceneBuilder) -> None:
    """Of 7 to 16 m, its crown 4 to 9 m wide."""
    r = b.random
    trunk, crown = r.uniform(2.2, 4.5), r.uniform(4.0, 9.0)
    thick = r.uniform(0.12, 0.35)
    b.cylinder((0, 0, trunk / 2 + 0.5), thick, trunk + 1.0, b.material('bark', gloss=0))
    leaves = b.material('leaves', tint=0.35, gloss=0)
    for _ in range(r.randint(4, 7)):
        size, spread = crown * r.uniform(0.35, 0.65), crown * 0.3
        place = (
            r.uniform(-spread, spread),
            r.uniform(-spread, spread),
            trunk + crown * r.random(),
        )
        b.ellipsoid(place, (size, size, size * r.uniform(0.7, 1.2)), leaves, yaw=r.uniform(0, 3))


def lorry(b: SceneBuilder) -> None:
    """A cab and a box of 6 to 11 m."""
    r = b.random
    long, high = r.uniform(5.0, 9.0), r.uniform(2.4, 3.0)
    paint = b.material('car', tint=0.6, gloss=0.6)
    dark = Material(paint.texture, (0.06, 0.06, 0.07), 1.0, 0.6)
    b.box((-1.0, 0, 0.9 + high / 2), (long, 2.4, high), b.material('car', tint=0.4, gloss=0.3))
    b.box((long / 2 + 0.1, 0, 1.6), (1.8, 2.3, 2.3), paint, front=dark)
    b.box((-0.5, 0, 0.75), (long + 2.0, 2.0, 0.3), dark)
    for x in (-long * 0.4, -long * 0.25, long / 2):
        for y in (-1.05, 1.05):
            b.cylinder((x, y, 0.48), 0.48, 0.3, dark, roll=math.pi / 2)


def _strip(b: SceneBuilder, edge: float, side: int, wide: float, role: str) -> None:
    """A strip along the road, from its edge outwards, a kerb above the ground."""
    place = (0, edge + side * wide / 2, 0.05)
    b.box(place, (2 * REACH, wide, b.random.uniform(0.1, 0.3)), b.material(role, gloss=0))


def _lines(b: SceneBuilder, wide: float, lanes: int, strip: float) -> None:
    """Dashes between lanes, lines at the edges."""
    paint = b.material('ceiling', tint=0.1, gloss=0)
    lane = (wide - strip) / lanes
    for i in range(1, lanes):
        y = i * lane - wide / 2 + (strip if i * 2 > lanes else 0.0)
        if lanes == 2 and b.random.random() < 0.4:
            b.box((0, y, 0.032), (2 * REACH, 0.14, 0.006), paint)
            continue
        for k in range(-4, 5):
            b.box((k * 12.0, y, 0.032), (4.0, 0.14, 0.006), paint)
    for y in (-wide / 2 + 0.25, wide / 2 - 0.25):
        b.box((0, y, 0.032), (2 * REACH, 0.14, 0.006), paint)


def _divider(b: SceneBuilder, strip: float) -> None:
    b.box(
        (0, 0, 0.1),
        (2 * REACH, strip, 0.25),
        b.material(b.random.choice(('lawn', 'pavement')), gloss=0),
    )
    along(b, 0.0, 1, (tall_tree, s.hedge, s.street_lamp, s.bush), 8, 24)


def _roadside(b: SceneBuilder, y: float, side: int, houses: float = 0.6) -> None:
    """What stands beside a road: buildings set back, woods, hedges, or nothing for a while."""
    r = b.random
    x = -85.0
    _strip(b, y, side, r.uniform(2, 12), r.choice(('lawn', 'pavement')))
    while x < 95:
        wide, back = r.uniform(10, 35), side * _set_back(r)
        chance = r.random()
        if chance < houses:
            with b.at(x + wide / 2, y + back, 0, -side * math.pi / 2):
                s.house(b, wide, r.uniform(10, 25), r.choice((1, 1, 2, 3, 4, 6, 9)))
        elif chance < houses + 0.25:
            for _ in range(int(wide / 5)):
                b.place(tall_tree, x + wide * r.random(), y + back + side * 8 * r.random())
        elif chance < houses + 0.32:
            long = (wide, r.uniform(0.6, 1.2), r.uniform(0.8, 2.5))
            b.box((x + wide / 2, y + side, long[2] / 2), long, b.material('leaves', gloss=0))
        x += wide + r.choice((0.0, r.uniform(2, 20)))


def _set_back(r: Random) -> float:
    """Metres between the pavement and a building, half of them below 5."""
    return math.exp(r.uniform(math.log(1.0), math.log(25.0)))


def _rail(b: SceneBuilder, y: float) -> None:
    """A crash barrier."""
    m = b.material('metal', tint=0.3)
    b.box((0, y, 0.6), (2 * REACH, 0.06, 0.3), m)
    for i in range(-6, 7):
        b.box((i * 8.0, y, 0.35), (0.12, 0.1, 0.7), m)
