"""Texture families of floors, walls, ground and house fronts; see textures.py."""

from __future__ import annotations

import torch
from torch import Generator

from .textures import SIZE, Texture, axes, colour, laid, noise, paint, uniform, whole


def linoleum(generator: Generator) -> Texture:
    """Sheet flooring: nearly one colour, faintly mottled or speckled."""
    mottled = 0.04 * noise(generator, 0.9, (1, uniform(generator, 1, 4)))
    specks = 0.25 * (noise(generator, 0.25) > 2.2).float()
    grain = mottled + (specks if uniform(generator, 0, 1) < 0.5 else 0.0)
    return Texture(paint(colour(generator, 0.15, 0.7, 0.3), grain), (2.0, 2.0))


def carpet_tiles(generator: Generator) -> Texture:
    """Squares of 0.5 m, each turned or toned a little differently."""
    base = colour(generator, 0.06, 0.35, 0.3)
    grain = 0.15 * noise(generator, 0.2) + 0.05 * noise(generator, 0.5, (6, 1))
    picture = laid(generator, 4, 4, (0.012, 0.012), 0, base, base * 0.7, 0.12, grain)
    return Texture(picture, (2.0, 2.0))


def metro_tiles(generator: Generator) -> Texture:
    """Glazed wall tiles of 0.2 x 0.1 m, or smaller."""
    wide = uniform(generator, 0.1, 0.25)
    base, line = colour(generator, 0.4, 0.9, 0.3), colour(generator, 0.2, 0.7, 0.1)
    shift = 0.5 if uniform(generator, 0, 1) < 0.5 else 0.0
    grain = 0.03 * noise(generator, 1.2)
    picture = laid(generator, 8, 16, (0.04, 0.08), shift, base, line, 0.06, grain)
    return Texture(picture, (8 * wide, 8 * wide))


def boards(generator: Generator) -> Texture:
    """Upright or level boards, painted: panelling, sheds, siding."""
    x, y = axes()
    count, width = 2 * whole(generator, 5, 10), uniform(generator, 0.08, 0.2)
    level = uniform(generator, 0, 1) < 0.5
    place = ((y if level else x) * count).expand(SIZE, SIZE)
    tone = 1 + 0.08 * torch.randn(count, 1, generator=generator)[place.long()]
    base = colour(generator, 0.15, 0.85, 0.4)
    grain = 0.05 * noise(generator, 0.9, (1, 8) if level else (8, 1))
    picture = paint(base * tone, grain)
    picture = torch.where((place % 1 < 0.07)[..., None], picture * 0.5, picture)
    return Texture(picture, (count * width, count * width))


def old_plaster(generator: Generator) -> Texture:
    """Render with patches, streaks of rain and cracks."""
    base, under = colour(generator, 0.3, 0.8, 0.3), colour(generator, 0.2, 0.6, 0.2)
    bare = (noise(generator, 1.6) > uniform(generator, 1.2, 2.4))[..., None]
    streaks = 0.07 * noise(generator, 1.0, (10, 1)) + 0.04 * noise(generator, 0.4)
    crack = noise(generator, 1.8).abs() < 0.012
    picture = torch.where(bare, under, base.expand(SIZE, SIZE, 3))
    picture = torch.where(crack[..., None], picture * 0.6, picture)
    return Texture(paint(picture, streaks), (3.0, 3.0))


def patched_asphalt(generator: Generator) -> Texture:
    """A worn road: patches, filled cracks, dark and pale tracks."""
    base = colour(generator, 0.07, 0.3, 0.05)
    grain = 0.12 * noise(generator, 0.2) + 0.1 * noise(generator, 1.2, (1, 6))
    patch = 1 + 0.25 * torch.sign(noise(generator, 2.2) - 1).clamp(min=0)
    crack = noise(generator, 1.5).abs() < 0.015
    picture = paint(base * patch[..., None], grain)
    return Texture(torch.where(crack[..., None], picture * 0.4, picture), (5.0, 5.0))


def slabs(generator: Generator) -> Texture:
    """Concrete slabs or small setts in courses."""
    rows, side = 2 * whole(generator, 2, 6), uniform(generator, 0.1, 0.5)
    grain = 0.1 * noise(generator, 0.5) + 0.06 * noise(generator, 1.4)
    base = colour(generator, 0.15, 0.5, 0.15)
    gap = uniform(generator, 0.02, 0.1)
    picture = laid(generator, rows, rows, (gap, gap), 0.0, base, base * 0.45, 0.1, grain)
    return Texture(picture, (rows * side, rows * side))


def soil(generator: Generator) -> Texture:
    """Earth, dry grass, fallen leaves."""
    base = torch.tensor([1.2, 1.0, 0.65]) * uniform(generator, 0.1, 0.35)
    green = torch.tensor([0.7, 1.0, 0.4]) * uniform(generator, 0.1, 0.3)
    share = torch.sigmoid(3 * noise(generator, 1.4) + uniform(generator, -3, 3))
    grain = 0.3 * noise(generator, 0.4)
    return Texture(paint(torch.lerp(base, green, share[..., None]), grain), (3.0, 3.0))


def glass_front(generator: Generator) -> Texture:
    """A curtain wall: panes that mirror a sky that varies, between thin bars."""
    x, y = axes()
    columns, rows = whole(generator, 3, 8), whole(generator, 3, 6)
    u, v = (x * columns) % 1, (y * rows) % 1
    bar = (u < 0.06) | (v < uniform(generator, 0.04, 0.3))
    pane = ((x * columns).floor() + columns * (y * rows).floor()).long()
    shade = 0.6 + 0.8 * torch.rand(columns * rows, 1, generator=generator)[pane]
    mirrored = paint(colour(generator, 0.1, 0.45, 0.4), 0.3 * noise(generator, 1.6))
    frame = colour(generator, 0.1, 0.8, 0.2).expand(SIZE, SIZE, 3)
    picture = torch.where(bar[..., None], frame, mirrored * shade)
    return Texture(picture.clamp(0, 1), (columns * uniform(generator, 1.2, 2.5), rows * 3.3))


def brick_front(generator: Generator) -> Texture:
    """Brickwork or render with few windows of different sizes, some with shutters or arches."""
    x, y = axes()
    base = colour(generator, 0.15, 0.6, 0.3) * torch.tensor([1.25, 0.95, 0.8])
    line = base * uniform(generator, 1.0, 1.6)
    bay = uniform(generator, 2.5, 4.5)
    grain = 0.08 * noise(generator, 0.9)
    picture = laid(generator, 44, 84, (0.06, 0.15), 0.5, base, line, 0.1, grain)
    wide, high = uniform(generator, 0.12, 0.22), uniform(generator, 0.2, 0.28)
    u, v = (x * 3) % 1 - 0.5, (y * 3) % 1 - 0.55
    opening = (u.abs() < wide) & (v.abs() < high)
    shutter = (u.abs() < 2 * wide) & (v.abs() < high) & ~opening
    if uniform(generator, 0, 1) < 0.4:
        picture = torch.where(shutter[..., None], colour(generator, 0.05, 0.7, 0.7), picture)
    frame = opening & ((u.abs() > 0.85 * wide) | (v.abs() > 0.92 * high) | (u.abs() < 0.01))
    dark = paint(torch.tensor([0.08, 0.09, 0.11]), 0.6 * noise(generator, 1.2))
    picture = torch.where(opening[..., None], dark, picture)
    picture = torch.where(frame[..., None], colour(generator, 0.3, 0.9, 0.1), picture)
    return Texture(picture.clamp(0, 1), (3 * bay, 9.3))


def hide(generator: Generator) -> Texture:
    """Leather, vinyl and knitwear: one colour, creased."""
    crease = -0.3 * torch.exp(-noise(generator, 1.4).abs() * 8)
    grain = crease * uniform(generator, 0, 1) + 0.06 * noise(generator, 0.5)
    return Texture(paint(colour(generator, 0.04, 0.6, 0.6), grain), (1.0, 1.0))


def hedge(generator: Generator) -> Texture:
    """Leaves of two greens, browns or autumn's yellows, with gaps."""
    leaf = torch.tensor([uniform(generator, 0.5, 1.5), 1.0, 0.4])
    grain = 0.45 * noise(generator, 0.5)
    picture = paint(leaf * uniform(generator, 0.08, 0.25), grain)
    gap = noise(generator, 0.8) < -1.1
    return Texture(torch.where(gap[..., None], picture * 0.3, picture), (1.5, 1.5))
