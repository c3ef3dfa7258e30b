"""Texture families that training never sees; see textures.py."""

from __future__ import annotations

import torch
from torch import Generator

from .textures import SIZE, Family, Texture, axes, colour, noise, paint, uniform, whole


def terrazzo(generator: Generator) -> Texture:
    field = noise(generator, 0.9)
    picture = colour(generator, 0.45, 0.8, 0.15).expand(SIZE, SIZE, 3)
    for low in (0.9, 1.4, -1.6):
        chip = (field > low) & (field < low + 0.25)
        picture = torch.where(chip[..., None], colour(generator, 0.1, 0.8, 0.5), picture)
    return Texture(picture, (1.6, 1.6))


def checker(generator: Generator) -> Texture:
    x, y = axes()
    side = uniform(generator, 0.2, 0.5)
    odd = ((x * 4).floor() + (y * 4).floor()) % 2
    picture = torch.lerp(
        colour(generator, 0.5, 0.9, 0.1), colour(generator, 0.03, 0.4), odd[..., None]
    )
    return Texture(paint(picture, 0.04 * noise(generator, 1.0)), (4 * side, 4 * side))


def parquet(generator: Generator) -> Texture:
    """Basket weave of blocks of five staves of 0.07 m."""
    x, y = axes()
    turned = ((x * 4).floor() + (y * 4).floor()) % 2 > 0
    stave = torch.where(turned, (x * 20) % 1, (y * 20) % 1)
    number = torch.where(turned, (x * 20).floor() + 20 * (y * 4).floor(), (y * 20).floor() * 5)
    tone = 1 + 0.18 * torch.randn(500, generator=generator)[number.long() % 500]
    base = colour(generator, 0.15, 0.45, 0.2) * torch.tensor([1.3, 1.0, 0.65])
    picture = paint(base * tone[..., None], 0.06 * noise(generator, 0.7))
    return Texture(torch.where((stave < 0.07)[..., None], base * 0.4, picture), (1.4, 1.4))


def stones(generator: Generator) -> Texture:
    """Seamless cells around random points: natural stone, cobbles."""
    x, y = axes()
    points = torch.rand(90, 2, generator=generator)
    dx = (x[..., None] - points[:, 0]).abs()
    dy = (y[..., None] - points[:, 1]).abs()
    apart = torch.minimum(dx, 1 - dx) ** 2 + torch.minimum(dy, 1 - dy) ** 2
    nearest, which = apart.topk(2, largest=False)
    joint = nearest[..., 1].sqrt() - nearest[..., 0].sqrt() < 0.012
    tone = 1 + 0.25 * torch.randn(90, generator=generator)[which[..., 0]]
    base = colour(generator, 0.2, 0.5, 0.2)
    picture = paint(base * tone[..., None], 0.1 * noise(generator, 0.8))
    return Texture(torch.where(joint[..., None], base * 0.45, picture), (1.8, 1.8))


def damask(generator: Generator) -> Texture:
    x, y = axes()
    turn = 2 * torch.pi * whole(generator, 4, 7)
    figure = torch.sin(turn * x) * torch.sin(turn * y) + 0.4 * torch.sin(3 * turn * x + turn * y)
    picture = torch.lerp(
        colour(generator, 0.3, 0.7), colour(generator, 0.3, 0.8), (figure > 0.3).float()[..., None]
    )
    return Texture(paint(picture, 0.03 * noise(generator, 0.5)), (1.6, 1.6))


def plaid(generator: Generator) -> Texture:
    x, y = axes()
    bands = ((x * 6) % 1 < 0.4).float() * 0.4 + ((y * 6) % 1 < 0.4).float() * 0.4
    base, other = colour(generator, 0.1, 0.5, 0.8), colour(generator, 0.1, 0.7, 0.8)
    return Texture(
        paint(torch.lerp(base, other, bands[..., None]), 0.06 * noise(generator, 0.4)), (0.6, 0.6)
    )


def marble(generator: Generator) -> Texture:
    vein = torch.exp(-(noise(generator, 1.5).abs()) * 6)
    picture = torch.lerp(
        colour(generator, 0.5, 0.9, 0.15), colour(generator, 0.1, 0.5), 0.6 * vein[..., None]
    )
    return Texture(picture.clamp(0, 1), (2.0, 2.0))


def gravel(generator: Generator) -> Texture:
    grain = 0.35 * noise(generator, 0.5) + 0.1 * noise(generator, 1.4)
    return Texture(paint(colour(generator, 0.2, 0.5, 0.12), grain), (2.0, 2.0))


def ribbon_facade(generator: Generator) -> Texture:
    """Four storeys with one continuous band of windows each."""
    x, y = axes()
    storey, bay = uniform(generator, 3.0, 3.6), uniform(generator, 1.2, 1.8)
    u, v = (x * 6) % 1, (y * 4) % 1
    glass = ((v > 0.3) & (v < 0.78) & (u > 0.06)).expand(SIZE, SIZE)
    pane = ((x * 6).floor() + 6 * (y * 4).floor()).long()
    dark = (
        torch.tensor([0.06, 0.08, 0.1]) + 0.2 * torch.rand(24, 1, generator=generator)[pane] ** 2
    )
    wall = paint(colour(generator, 0.2, 0.75, 0.25), 0.06 * noise(generator, 1.2))
    return Texture(torch.where(glass[..., None], dark, wall), (6 * bay, 4 * storey))


def flush_door(generator: Generator) -> Texture:
    """A plain leaf with a small window."""
    x, y = axes()
    base = colour(generator, 0.15, 0.7, 0.5)
    window = ((x - 0.5).abs() < 0.15) & ((y - 0.75).abs() < 0.12)
    picture = paint(base, 0.04 * noise(generator, 1.0, (8, 1)))
    return Texture(torch.where(window[..., None], 0.12, picture), (0.85, 2.05))


def notices(generator: Generator) -> Texture:
    """A board with sheets of text."""
    x, y = axes()
    picture = colour(generator, 0.15, 0.5, 0.5).expand(SIZE, SIZE, 3)
    for _ in range(6):
        left, low = uniform(generator, 0.02, 0.7), uniform(generator, 0.02, 0.6)
        inside = (x > left) & (x < left + 0.25) & (y > low) & (y < low + 0.35)
        line = inside & ((y * 50) % 1 < 0.45) & (x > left + 0.03) & (x < left + 0.22)
        picture = torch.where(inside[..., None], colour(generator, 0.7, 0.95, 0.1), picture)
        picture = torch.where(line[..., None], 0.1, picture)
    return Texture(picture, (1.2, 0.9))


def pebbledash(generator: Generator) -> Texture:
    grain = 0.22 * noise(generator, 0.35)
    return Texture(paint(colour(generator, 0.3, 0.7, 0.2), grain), (1.2, 1.2))


# The same roles as textures_train.TRAIN.
HELDOUT: dict[str, tuple[Family, ...]] = {
    'wall': (pebbledash, damask, marble, stones),
    'floor': (parquet, checker, terrazzo),
    'ceiling': (pebbledash,),
    'wood': (marble, plaid),
    'fabric': (plaid, damask),
    'metal': (terrazzo, marble),
    'box': (plaid, marble, pebbledash),
    'front': (flush_door,),
    'door': (flush_door,),
    'picture': (notices,),
    'screen': (notices,),
    'books': (notices,),
    'road': (gravel, pebbledash),
    'pavement': (stones, terrazzo),
    'lawn': (gravel, stones),
    'facade': (ribbon_facade, stones),
    'shed': (stones, pebbledash),
    'leaves': (gravel,),
    'bark': (pebbledash,),
    'car': (marble,),
}
