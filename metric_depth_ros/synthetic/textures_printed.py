"""Texture families of what people print, hang up and lay down; see textures.py."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from .textures import SIZE, Texture, axes, colour, noise, paint, uniform, whole


def photograph(generator: Generator) -> Texture:
    """A landscape or something like it: bands and blobs with soft edges, in a frame or not."""
    x, y = axes()
    ridge = uniform(generator, 0.3, 0.7) + 0.08 * noise(generator, 1.6, (1e-3, 1))
    sky = torch.lerp(colour(generator, 0.4, 0.95, 0.6), colour(generator, 0.2, 0.8, 0.9),
                     y.expand(SIZE, SIZE)[..., None])  # fmt: skip
    land = paint(colour(generator, 0.04, 0.5, 0.7), 0.4 * noise(generator, 1.2))
    picture = torch.where((y < ridge)[..., None], land, sky)
    for _ in range(whole(generator, 0, 4)):
        cx, cy, r = (uniform(generator, *span) for span in ((0, 1), (0, 0.7), (0.05, 0.25)))
        near = torch.exp(-((((x - cx) ** 2 + (y - cy) ** 2) / r**2) ** 2))
        picture = torch.lerp(picture, colour(generator, 0.03, 0.9, 0.9), near[..., None])
    return Texture(_framed(picture, uniform(generator, 0, 0.06), generator), (0.6, 0.5))


def page(generator: Generator) -> Texture:
    """Text with headings and a figure or two."""
    x, y = axes()
    rows, columns = whole(generator, 14, 45), whole(generator, 1, 3)
    paper, ink = colour(generator, 0.6, 0.95, 0.1), colour(generator, 0.02, 0.3, 0.6)
    line = ((y * rows).floor() * columns + (x * columns).floor()).long()
    length = 0.3 + 0.65 * torch.rand((rows + 1) * columns, generator=generator)[line].sqrt()
    words = noise(generator, 0.3, (1e-2, 1)) > -1.2
    written = ((y * rows) % 1 < 0.5) & ((x * columns) % 1 < length) & ((x * columns) % 1 > 0.08)
    picture = torch.where((written & words)[..., None], ink, paper.expand(SIZE, SIZE, 3))
    if uniform(generator, 0, 1) < 0.6:
        low, left = uniform(generator, 0.1, 0.6), uniform(generator, 0, 0.5)
        inside = (y > low) & (y < low + 0.3) & (x > left) & (x < left + 0.45)
        figure = paint(colour(generator, 0.1, 0.8, 0.9), 0.5 * noise(generator, 1.4))
        picture = torch.where(inside[..., None], figure, picture)
    return Texture(_framed(picture, uniform(generator, 0, 0.03), generator), (0.3, 0.42))


def collage(generator: Generator) -> Texture:
    """Pictures and cards over one another: a pin-board, a shop window, a stack of packages."""
    x, y = axes()
    picture = paint(colour(generator, 0.1, 0.8, 0.4), 0.08 * noise(generator, 0.8))
    for _ in range(whole(generator, 8, 24)):
        wide, high = uniform(generator, 0.08, 0.4), uniform(generator, 0.08, 0.4)
        left, low = uniform(generator, -0.1, 0.95), uniform(generator, -0.1, 0.95)
        inside = (x > left) & (x < left + wide) & (y > low) & (y < low + high)
        card = colour(generator, 0.03, 0.95, 0.9)
        stripe = ((y - low) * whole(generator, 1, 40)) % 1 < uniform(generator, 0, 0.7)
        other = torch.where(stripe[..., None], colour(generator, 0.03, 0.95, 0.6), card)
        picture = torch.where(inside[..., None], other.expand(SIZE, SIZE, 3), picture)
    return Texture(picture, (1.0, 0.8))


def window_of_a_program(generator: Generator) -> Texture:
    """A monitor that is off, shows a picture, or shows dark text on light or the reverse."""
    x, y = axes()
    fate = uniform(generator, 0, 1)
    if fate < 0.35:
        sheen = 0.02 + 0.03 * (x + y).expand(SIZE, SIZE)
        return Texture(sheen[..., None].expand(SIZE, SIZE, 3).contiguous(), (0.5, 0.3))
    if fate < 0.6:
        return Texture(photograph(generator).albedo, (0.5, 0.3))
    return Texture(page(generator).albedo, (0.5, 0.3))


def rug(generator: Generator) -> Texture:
    """Frames within frames of colour, with a figure; woven."""
    x, y = axes()
    edge = torch.maximum((x - 0.5).abs(), (y - 0.5).abs())
    count = whole(generator, 3, 8)
    tones = torch.stack([colour(generator, 0.05, 0.6, 0.8) for _ in range(count + 1)])
    bands = torch.rand(count, generator=generator).sort().values * 0.5
    picture = tones[torch.bucketize(edge.contiguous(), bands)]
    figure = torch.sin(x * 6.2832 * whole(generator, 2, 12)) * torch.sin(
        y * 6.2832 * whole(generator, 2, 12)
    )
    picture = torch.where((figure > 0.5)[..., None], colour(generator, 0.05, 0.7, 0.8), picture)
    return Texture(paint(picture, 0.14 * noise(generator, 0.2)), (2.0, 2.0))


def dotted(generator: Generator) -> Texture:
    """Wallpaper, curtains and shirts with a small repeated figure."""
    x, y = axes()
    columns, rows = 2 * whole(generator, 3, 12), 2 * whole(generator, 3, 12)
    shift = 0.5 * ((y * rows).floor() % 2)
    u, v = (x * columns + shift) % 1 - 0.5, (y * rows) % 1 - 0.5
    size, power = uniform(generator, 0.12, 0.4), uniform(generator, 0.7, 4)
    inside = (u.abs() / size) ** power + (v.abs() / size) ** power < 1
    base, figure = colour(generator, 0.1, 0.85, 0.5), colour(generator, 0.1, 0.85, 0.6)
    picture = torch.where(inside[..., None], figure, base.expand(SIZE, SIZE, 3))
    side = uniform(generator, 0.5, 2.0)
    return Texture(paint(picture, 0.06 * noise(generator, 0.6)), (side, side))


def carton(generator: Generator) -> Texture:
    """Corrugated board with tape, a label and print."""
    x, y = axes()
    base = torch.tensor([0.5, 0.36, 0.22]) * uniform(generator, 0.7, 1.3)
    picture = paint(base, 0.06 * noise(generator, 0.9) + 0.03 * noise(generator, 0.4, (1, 12)))
    tape = ((x - 0.5).abs() < 0.04).expand(SIZE, SIZE)
    picture = torch.where(tape[..., None], picture * 1.25, picture)
    left, low = uniform(generator, 0.05, 0.6), uniform(generator, 0.05, 0.6)
    label = (x > left) & (x < left + 0.3) & (y > low) & (y < low + 0.2)
    picture = torch.where(label[..., None], 0.8, picture)
    text = label & ((y * 60) % 1 < 0.45) & (x > left + 0.03)
    picture = torch.where(text[..., None], 0.1, picture)
    return Texture(picture.clamp(0, 1), (0.6, 0.6))


def _framed(picture: Tensor, width: float, generator: Generator) -> Tensor:
    x, y = axes()
    edge = torch.minimum(torch.minimum(x, 1 - x), torch.minimum(y, 1 - y)) < width
    return torch.where(edge[..., None], colour(generator, 0.03, 0.9, 0.3), picture).clamp(0, 1)
