"""Which texture families may serve as what in training; see textures_heldout.HELDOUT."""

from __future__ import annotations

from . import textures as t
from . import textures_built as built
from . import textures_printed as printed
from .textures import Family

TRAIN: dict[str, tuple[Family, ...]] = {
    'wall': (
        t.plaster, t.lacquer, t.plaster, t.stripes, t.bricks, t.concrete, t.plaster,
        built.boards, built.metro_tiles, built.old_plaster, printed.dotted,
    ),
    'floor': (
        t.planks, t.tiles, t.carpet, t.concrete, built.linoleum, built.carpet_tiles,
        printed.rug, built.linoleum,
    ),
    'ceiling': (t.plaster, built.boards, t.plaster),
    'wood': (t.wood, t.lacquer, t.wood, built.boards),
    'fabric': (t.fabric, t.fabric, t.carpet, built.hide, printed.dotted, t.stripes),
    'metal': (t.steel, t.lacquer),
    'box': (t.lacquer, t.wood, t.corrugated, printed.carton, printed.collage, printed.carton),
    'front': (t.drawers,),
    'door': (t.panel_door,),
    'picture': (t.poster, printed.photograph, printed.page, printed.collage),
    'screen': (t.screen, printed.window_of_a_program),
    'books': (t.books,),
    'road': (t.asphalt, built.patched_asphalt, t.concrete, built.patched_asphalt),
    'pavement': (t.paving, built.slabs, t.concrete, built.slabs),
    'lawn': (t.grass, built.soil),
    'facade': (
        t.facade, built.brick_front, built.glass_front, t.facade, built.brick_front, t.bricks,
        built.old_plaster,
    ),
    'shed': (t.corrugated, t.bricks, t.concrete, built.boards),
    'leaves': (t.foliage, built.hedge),
    'bark': (t.bark,),
    'car': (t.lacquer,),
}  # fmt: skip
