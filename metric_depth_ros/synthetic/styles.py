"""Kinds of rooms: their sizes and what stands in them."""

from __future__ import annotations

from dataclasses import dataclass

from . import fittings as x
from . import furniture as f
from . import groups as g
from .builder import Thing
from .clutter import crates, floor_thing
from .people import person


@dataclass(frozen=True)
class Style:
    """One kind of room.

    length, width, height: metres, ranges. first: what such a room cannot do without; each goes
    to a wall where it can. along_walls: its share of the walls is `fill` at most. middle: groups
    on the free floor, one for `space` square metres. loose: what stands about.
    """

    length: tuple[float, float]
    width: tuple[float, float]
    height: tuple[float, float]
    first: tuple[Thing, ...]
    along_walls: tuple[Thing, ...]
    middle: tuple[Thing, ...]
    loose: tuple[Thing, ...]
    fill: tuple[float, float] = (0.2, 0.8)
    space: float = 12.0


# Deep x wide, metres, of the floor that a thing takes; half a metre either way if not named.
FOOTPRINTS: dict[Thing, tuple[float, float]] = {
    f.sofa: (0.95, 2.2), f.bed: (2.1, 1.9), f.table: (0.9, 1.8), f.laden_table: (0.9, 1.8),
    f.desk: (0.8, 1.7), f.shelf: (0.4, 1.1), f.cabinet: (0.6, 1.3), f.pallet_rack: (1.1, 2.6),
    f.piano: (0.8, 1.5), f.round_table: (1.2, 1.2), f.armchair: (0.9, 0.9), f.bin_: (0.4, 0.4),
    f.plant: (0.6, 0.6), f.office_chair: (0.65, 0.65), crates: (0.6, 0.6),
    x.wardrobe: (0.62, 1.8), x.lockers: (0.5, 1.8), x.kitchen_run: (0.62, 2.4),
    x.tv_unit: (0.45, 1.8), x.lab_bench: (0.8, 2.0), x.whiteboard: (0.6, 1.6),
    x.stairs: (3.2, 1.5), x.pallet: (1.3, 0.9), x.trolley: (0.6, 1.1), x.pedestal: (0.8, 0.5),
    x.toilet: (0.72, 0.6), x.basin: (0.45, 0.7), x.bath_tub: (0.74, 1.72), x.fridge: (0.65, 0.65),
    g.dining: (2.0, 1.9), g.desk_place: (1.9, 1.8), g.desk_pair: (3.4, 1.8),
    g.meeting: (2.2, 4.2), g.sofa_corner: (2.3, 2.2), g.bed_place: (2.2, 3.0),
    g.kitchen: (0.7, 3.8), g.rack_row: (1.2, 5.2), g.chair_rows: (2.0, 1.9),
    g.canteen: (2.0, 2.0), floor_thing: (0.7, 0.7), f.crowded_table: (0.9, 1.8),
}  # fmt: skip
# How far behind its origin a thing has its back, metres; half its depth if not named.
BACKS: dict[Thing, float] = {
    g.desk_place: 0.42, g.sofa_corner: 0.5, g.bed_place: 1.1, g.kitchen: 0.33,
}  # fmt: skip

LIVING = Style(
    (3.4, 7.0), (3.0, 5.2), (2.4, 2.8), (g.sofa_corner, x.tv_unit),
    (f.cabinet, f.shelf, f.plant, f.floor_lamp, f.cabinet, f.shelf, f.plant),
    (g.dining,), (floor_thing, f.chair, person, f.stool, floor_thing),
)  # fmt: skip
OFFICE = Style(
    (3.5, 9.0), (3.0, 6.5), (2.5, 3.0), (g.desk_place, g.desk_place),
    (g.desk_place, f.cabinet, f.shelf, f.bin_, x.lockers, x.whiteboard, f.plant),
    (g.desk_pair, g.desk_pair, g.meeting),
    (f.office_chair, x.pedestal, floor_thing, person, crates),
)  # fmt: skip
LAB = Style(
    (5.0, 12.0), (4.5, 9.0), (2.7, 3.8), (x.lab_bench,),
    (x.lab_bench, f.cabinet, f.shelf, f.desk, x.lockers, x.whiteboard, crates, f.bin_),
    (g.desk_pair, f.laden_table, x.trolley),
    (x.pedestal, floor_thing, floor_thing, crates, person, x.trolley, f.office_chair),
    (0.2, 0.7), 25.0,
)  # fmt: skip
KITCHEN = Style(
    (2.8, 5.5), (2.4, 4.2), (2.4, 2.7), (g.kitchen,),
    (f.cabinet, x.fridge, f.shelf, f.bin_), (g.dining,),
    (person, f.chair, f.bin_, floor_thing), (0.1, 0.5), 9.0,
)  # fmt: skip
BEDROOM = Style(
    (3.0, 5.0), (2.7, 4.2), (2.4, 2.7), (g.bed_place, x.wardrobe),
    (f.cabinet, f.shelf, g.desk_place, f.plant, f.chair), (x.rug,),
    (f.chair, floor_thing, f.stool), (0.1, 0.6),
)  # fmt: skip
BATHROOM = Style(
    (2.0, 3.4), (1.7, 2.6), (2.3, 2.6), (x.toilet, x.basin, x.bath_tub),
    (f.cabinet, f.bin_), (), (floor_thing, f.stool), (0.0, 0.3),
)  # fmt: skip
CORRIDOR = Style(
    (6.0, 25.0), (1.4, 2.6), (2.4, 3.0), (),
    (f.cabinet, f.bin_, f.plant, crates, f.chair, x.lockers), (),
    (person, floor_thing), (0.0, 0.25),
)  # fmt: skip
STORE = Style(
    (7.0, 20.0), (6.0, 14.0), (3.2, 6.5), (f.pallet_rack, f.pallet_rack),
    (f.pallet_rack, crates, f.pallet_rack, x.pallet, f.shelf),
    (g.rack_row, g.rack_row, x.pallet), (crates, person, x.trolley, x.pallet),
    (0.3, 0.9), 18.0,
)  # fmt: skip
HALL = Style(
    (7.0, 18.0), (6.0, 13.0), (3.0, 6.0), (),
    (f.cabinet, f.chair, x.stairs, f.plant, x.whiteboard, f.bin_, f.laden_table),
    (g.dining, g.meeting, f.laden_table), (person, person, floor_thing, f.plant, crates),
    (0.1, 0.5), 30.0,
)  # fmt: skip
SALON = Style(
    (4.0, 8.5), (3.4, 6.0), (2.6, 3.4), (f.piano,),
    (f.armchair, f.shelf, f.plant, f.cabinet, f.armchair),
    (g.canteen, f.armchair), (f.armchair, floor_thing, person), (0.2, 0.6), 12.0,
)  # fmt: skip
WORKSHOP = Style(
    (5.0, 11.0), (4.0, 9.0), (2.8, 4.5), (x.lab_bench,),
    (f.barrel, f.shelf, f.laden_table, f.barrel, f.cabinet),
    (f.laden_table, x.trolley), (f.barrel, floor_thing, person, f.stool, crates), (0.2, 0.7), 14.0,
)  # fmt: skip
CANTEEN = Style(
    (6.0, 14.0), (5.0, 9.0), (2.6, 3.6), (),
    (f.cabinet, f.plant, f.bin_, x.fridge, x.tv_unit),
    (g.canteen, g.canteen, g.chair_rows), (person, f.stool, floor_thing), (0.1, 0.4), 9.0,
)  # fmt: skip
STYLES = {
    'train': (LIVING, LIVING, OFFICE, OFFICE, LAB, LAB, KITCHEN, BEDROOM, BATHROOM, CORRIDOR,
              STORE, HALL),
    'heldout': (SALON, WORKSHOP, CANTEEN),
}  # fmt: skip
