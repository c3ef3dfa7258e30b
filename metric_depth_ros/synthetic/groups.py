"""Things that stand together because people use them together.

As in furniture, each function draws one group around the origin; its parts are placed one by one.
"""

from __future__ import annotations

import math

from . import fittings as x
from . import furniture as f
from .builder import SceneBuilder, Thing
from .people import sitter


def seat(b: SceneBuilder, chair: Thing, dx: float, dy: float, yaw: float) -> None:
    """A chair, mostly straight and tucked in; now and then somebody sits on it."""
    r = b.random
    taken = r.random() < 0.12
    turn = 0.0 if taken else r.choice((0.0, r.gauss(0, 0.15), r.uniform(-0.9, 0.9)))
    with b.at(dx + r.gauss(0, 0.04), dy + r.gauss(0, 0.04), 0, yaw + turn):
        b.place(chair, 0, 0)
        if taken:
            b.place(sitter, 0, 0)


def dining(b: SceneBuilder) -> None:
    """A table with two to six chairs."""
    r = b.random
    b.place(f.laden_table, 0, 0)
    for side in (-1, 1):
        for along in (-0.4, 0.4):
            if r.random() < 0.8:
                yaw = math.pi if side > 0 else 0.0
                seat(b, f.chair, side * r.uniform(0.45, 0.75), along, yaw)


def desk_place(b: SceneBuilder) -> None:
    """A desk with its chair, perhaps a pedestal and a bin."""
    r = b.random
    b.place(f.desk, 0, 0)
    seat(b, r.choice((f.office_chair, f.office_chair, f.chair)), r.uniform(0.55, 0.9), 0, math.pi)
    if r.random() < 0.4:
        b.place(x.pedestal, 0.05, r.choice((-1, 1)) * 0.35)
    elif r.random() < 0.5:
        b.place(f.bin_, 0.2, r.choice((-1, 1)) * 0.45)


def desk_pair(b: SceneBuilder) -> None:
    """Two desks face to face."""
    for yaw in (0.0, math.pi):
        with b.at(0.42 * math.cos(yaw), 0, 0, yaw):
            desk_place(b)


def meeting(b: SceneBuilder) -> None:
    """A long table with chairs on both sides."""
    r = b.random
    count = r.randint(2, 3)
    for i in range(count):
        b.place(f.laden_table, 0, (i - (count - 1) / 2) * 1.5)
    for i in range(2 * count):
        for side in (-1, 1):
            if r.random() < 0.75:
                yaw = math.pi if side > 0 else 0.0
                along = (i - count + 0.5) * 0.72
                seat(b, f.chair, side * r.uniform(0.55, 0.8), along, yaw)


def sofa_corner(b: SceneBuilder) -> None:
    """A sofa at its wall, a low table before it on a rug."""
    r = b.random
    b.place(f.sofa, 0, 0)
    if r.random() < 0.6:
        b.place(x.rug, 1.1, 0)
    if r.random() < 0.8:
        b.place(x.coffee_table, r.uniform(0.95, 1.2), r.uniform(-0.2, 0.2))


def bed_place(b: SceneBuilder) -> None:
    """A bed, its head at the wall, with night tables."""
    b.place(f.bed, 0, 0)
    for y in (-1.2, 1.2):
        if b.random.random() < 0.7:
            b.place(x.night_table, -0.8, y)


def kitchen(b: SceneBuilder) -> None:
    """A run of units and a fridge at its end."""
    b.place(x.kitchen_run, 0, 0)
    if b.random.random() < 0.7:
        b.place(x.fridge, 0, 1.55)


def rack_row(b: SceneBuilder) -> None:
    """Two pallet racks in a row."""
    for y in (-1.3, 1.3):
        b.place(f.pallet_rack, 0, y)


def chair_rows(b: SceneBuilder) -> None:
    """As for an audience; held out of training, like what follows."""
    for i in range(2):
        for j in range(3):
            seat(b, f.chair, (i - 0.5) * 0.95, (j - 1) * 0.6, 0.0)


def canteen(b: SceneBuilder) -> None:
    """A round table with stools."""
    b.place(f.round_table, 0, 0)
    for i in range(4):
        if b.random.random() < 0.8:
            yaw = i * math.pi / 2 + b.random.uniform(-0.3, 0.3)
            b.place(f.stool, 0.75 * math.cos(yaw), 0.75 * math.sin(yaw))


GROUPS: frozenset[Thing] = frozenset(
    (dining, desk_place, desk_pair, meeting, sofa_corner, bed_place, kitchen, rack_row,
     chair_rows, canteen)
)  # fmt: skip
