"""Texture families: square, seamless pictures of real size, drawn once per process.

A family is a function (generator) -> Texture; each call draws another member of it. Training
families (here, textures_built.py, textures_printed.py) and held-out ones (textures_heldout.py)
are disjoint, so that accuracy on the held-out ones tells whether depth was read from structure
or from a texture known by heart.

Sizes are those of the real thing, because they are what makes metric scale visible: tiles 0.2 to
0.6 m, bricks 0.25 x 0.075 m with joints, planks 0.1 to 0.2 m, storeys of about 3 m.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

SIZE = 256  # texels, both ways


@dataclass(frozen=True)
class Texture:
    """albedo: (SIZE, SIZE, 3) linear RGB in [0, 1], row 0 at the top.

    period: metres that one repetition is wide and high.
    """

    albedo: Tensor
    period: tuple[float, float]


Family = Callable[[Generator], Texture]


def uniform(generator: Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def whole(generator: Generator, low: int, high: int) -> int:
    """A whole number in [low, high]."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def noise(
    generator: Generator, slope: float = 1.0, stretch: tuple[float, float] = (1, 1)
) -> Tensor:
    """(SIZE, SIZE) seamless noise with spectrum frequency^-slope, mean 0, deviation 1.

    stretch: > 1 draws features out along (rows, columns).
    """
    fy = torch.fft.fftfreq(SIZE)[:, None] * SIZE * stretch[0]
    fx = torch.fft.rfftfreq(SIZE)[None] * SIZE * stretch[1]
    frequency = (fx * fx + fy * fy).sqrt()
    frequency[0, 0] = torch.inf
    white = torch.randn(SIZE, SIZE, generator=generator)
    field = torch.fft.irfft2(torch.fft.rfft2(white) * frequency**-slope, s=(SIZE, SIZE))
    return field / field.std()


def axes() -> tuple[Tensor, Tensor]:
    """Texel coordinates in [0, 1): columns (1, SIZE) to the right, rows (SIZE, 1) upwards."""
    step = (torch.arange(SIZE) + 0.5) / SIZE
    return step[None], 1 - step[:, None]


def colour(generator: Generator, low: float, high: float, saturation: float = 0.3) -> Tensor:
    """(3,) a random colour of brightness low to high, mostly warm or neutral."""
    value = uniform(generator, low, high)
    hue = torch.rand(3, generator=generator)
    # Pinks and purples are rarer on things than browns, yellows and blues.
    if hue.argmin() == 1 and uniform(generator, 0, 1) < 0.8:
        hue = torch.stack([hue[0], hue.median(), hue[2]])
    warm = torch.tensor([0.6, 0.5, 0.4]) * uniform(generator, 0, 1) + hue * 0.6
    tone = 1 + saturation * (warm - warm.mean()) * 2
    return (value * tone).clamp(0.01, 0.97)


def paint(base: Tensor, variation: Tensor) -> Tensor:
    """base (3,) or (SIZE, SIZE, 3) modulated by variation (SIZE, SIZE) around 0."""
    return (base * (1 + variation[..., None])).clamp(0, 1)


def cells(columns: int, rows: int, joint: tuple[float, float], shift: float) -> tuple:
    """A wall of rows x columns, each row shifted: (is_joint, cell number) as (SIZE, SIZE)."""
    x, y = axes()
    row = (y * rows).floor()
    across = (x * columns + row * shift) % columns
    column = across.floor()
    inside_x, inside_y = across % 1, (y * rows) % 1
    is_joint = (inside_x < joint[0]) | (inside_y < joint[1])
    return is_joint, (row * columns + column).long()


def laid(
    generator: Generator,
    columns: int,
    rows: int,
    joint: tuple[float, float],
    shift: float,
    base: Tensor,
    joint_colour: Tensor,
    spread: float,
    grain: Tensor,
) -> Tensor:
    is_joint, cell = cells(columns, rows, joint, shift)
    tone = 1 + spread * torch.randn(rows * columns, 1, generator=generator)
    picture = paint(base * tone[cell], grain)
    return torch.where(is_joint[..., None], paint(joint_colour, grain), picture)


def plaster(generator: Generator) -> Texture:
    grain = 0.05 * noise(generator, 1.2) + 0.03 * noise(generator, 0.3)
    return Texture(paint(colour(generator, 0.45, 0.85, 0.2), grain), (2.0, 2.0))


def stripes(generator: Generator) -> Texture:
    x, _ = axes()
    count = whole(generator, 8, 20)
    wave = ((x * count) % 1 < uniform(generator, 0.3, 0.7)).float().expand(SIZE, SIZE)
    base = colour(generator, 0.4, 0.8)
    other = colour(generator, 0.3, 0.8)
    picture = torch.lerp(base, other, wave[..., None])
    return Texture(paint(picture, 0.03 * noise(generator, 0.5)), (1.5, 1.5))


def planks(generator: Generator) -> Texture:
    rows = whole(generator, 8, 14)
    width = uniform(generator, 0.1, 0.2)
    base = colour(generator, 0.12, 0.45, 0.2) * torch.tensor([1.35, 1.0, 0.65])
    grain = 0.12 * noise(generator, 1.1, (1, 8)) + 0.05 * noise(generator, 0.6)
    joint = (0.012, 0.06)
    picture = laid(generator, 2, rows, joint, 0.63, base, base * 0.35, 0.14, grain)
    return Texture(picture, (2.4, rows * width))


def wood(generator: Generator) -> Texture:
    base = colour(generator, 0.1, 0.55, 0.2) * torch.tensor([1.3, 1.0, 0.65])
    grain = 0.16 * noise(generator, 1.2, (10, 1)) + 0.05 * noise(generator, 0.8)
    return Texture(paint(base, grain), (1.2, 1.2))


def tiles(generator: Generator) -> Texture:
    count, side = 4, uniform(generator, 0.2, 0.6)
    joint = 0.008 / side + 0.01
    grain = 0.05 * noise(generator, 1.1) + 0.02 * noise(generator, 0.4)
    base, line = colour(generator, 0.25, 0.8, 0.25), colour(generator, 0.15, 0.6, 0.1)
    picture = laid(generator, count, count, (joint, joint), 0, base, line, 0.05, grain)
    return Texture(picture, (count * side, count * side))


def bricks(generator: Generator) -> Texture:
    grain = 0.1 * noise(generator, 0.7)
    base = colour(generator, 0.15, 0.4, 0.2) * torch.tensor([1.5, 0.85, 0.65])
    line = colour(generator, 0.35, 0.6, 0.1)
    picture = laid(generator, 6, 20, (0.045, 0.15), 0.5, base, line, 0.15, grain)
    return Texture(picture, (6 * 0.215, 20 * 0.075))


def concrete(generator: Generator) -> Texture:
    grain = 0.1 * noise(generator, 1.4) + 0.05 * noise(generator, 0.5)
    return Texture(paint(colour(generator, 0.25, 0.6, 0.08), grain), (3.0, 3.0))


def carpet(generator: Generator) -> Texture:
    grain = 0.16 * noise(generator, 0.2) + 0.08 * noise(generator, 1.3)
    return Texture(paint(colour(generator, 0.08, 0.45, 0.4), grain), (1.0, 1.0))


def fabric(generator: Generator) -> Texture:
    x, y = axes()
    weave = torch.sin(2 * torch.pi * 32 * x) * torch.sin(2 * torch.pi * 32 * y)
    grain = 0.08 * weave + 0.1 * noise(generator, 1.2)
    return Texture(paint(colour(generator, 0.06, 0.6, 0.6), grain), (0.5, 0.5))


def lacquer(generator: Generator) -> Texture:
    return Texture(
        paint(colour(generator, 0.2, 0.9, 0.6), 0.02 * noise(generator, 1.2)), (1.5, 1.5)
    )


def steel(generator: Generator) -> Texture:
    grain = 0.05 * noise(generator, 0.8, (1, 16))
    return Texture(paint(colour(generator, 0.25, 0.6, 0.05), grain), (1.0, 1.0))


def asphalt(generator: Generator) -> Texture:
    grain = 0.14 * noise(generator, 0.2) + 0.13 * noise(generator, 1.4)
    return Texture(paint(colour(generator, 0.06, 0.22, 0.05), grain), (4.0, 4.0))


def paving(generator: Generator) -> Texture:
    count, side = 6, uniform(generator, 0.25, 0.6)
    grain = 0.1 * noise(generator, 0.8)
    base = colour(generator, 0.2, 0.5, 0.12)
    picture = laid(generator, count, count, (0.04, 0.04), 0.5, base, base * 0.5, 0.08, grain)
    return Texture(picture, (count * side, count * side))


def grass(generator: Generator) -> Texture:
    grain = 0.35 * noise(generator, 0.3) + 0.18 * noise(generator, 1.2)
    base = torch.tensor([0.7, 1.0, 0.35]) * uniform(generator, 0.12, 0.3)
    return Texture(paint(base, grain), (2.5, 2.5))


def foliage(generator: Generator) -> Texture:
    grain = 0.5 * noise(generator, 0.7) + 0.2 * noise(generator, 0.2)
    base = torch.tensor([0.65, 1.0, 0.4]) * uniform(generator, 0.06, 0.2)
    return Texture(paint(base, grain), (2.0, 2.0))


def bark(generator: Generator) -> Texture:
    grain = 0.3 * noise(generator, 0.8, (5, 1))
    base = torch.tensor([1.2, 1.0, 0.8]) * uniform(generator, 0.07, 0.25)
    return Texture(paint(base, grain), (1.0, 1.0))


def facade(generator: Generator) -> Texture:
    """Four bays and four storeys of windows with frames and sills."""
    x, y = axes()
    bay, storey = uniform(generator, 2.2, 4.0), uniform(generator, 2.8, 3.4)
    wide, high = uniform(generator, 1.0, bay - 0.8) / bay, uniform(generator, 1.2, 1.7) / storey
    sill = 0.9 / storey
    u, v = (x * 4) % 1, (y * 4) % 1
    inside_x = ((u - 0.5).abs() < wide / 2).expand(SIZE, SIZE)
    inside = inside_x & (v > sill) & (v < sill + high)
    frame_x, frame_y = 0.07 / bay, 0.07 / storey
    glass = ((u - 0.5).abs() < wide / 2 - frame_x) & ((u - 0.5).abs() > frame_x / 2)
    glass = glass & (v > sill + frame_y) & (v < sill + high - frame_y)
    ledge = inside_x & (v > sill - 0.12 / storey) & (v <= sill)
    wall = colour(generator, 0.25, 0.7, 0.35)
    grain = 0.06 * noise(generator, 1.3) + 0.03 * noise(generator, 0.3)
    picture = paint(wall, grain)
    pane = ((x * 4).floor() + 4 * (y * 4).floor()).long()
    shade = torch.rand(16, 1, generator=generator)[pane]
    dark = torch.tensor([0.05, 0.06, 0.08]) + 0.18 * shade**3
    frame = colour(generator, 0.2, 0.85, 0.1)
    picture = torch.where((inside | ledge)[..., None], frame, picture)
    return Texture(torch.where(glass[..., None], dark, picture), (4 * bay, 4 * storey))


def books(generator: Generator) -> Texture:
    """Backs of books, for one shelf of a bookcase; fits 1.0 x 0.33 m."""
    x, y = axes()
    edges = torch.rand(38, generator=generator).sort().values
    book = torch.bucketize(x.expand(SIZE, SIZE).contiguous(), edges)
    tall = 0.65 + 0.3 * torch.rand(39, generator=generator)[book]
    tone = torch.stack([colour(generator, 0.04, 0.6, 0.8) for _ in range(39)])[book]
    label = ((y / tall - 0.7).abs() < 0.05) & (torch.rand(39, generator=generator)[book] < 0.5)
    tone = torch.where(label[..., None], 0.7, tone)
    return Texture(torch.where((y < tall)[..., None], tone, 0.03).clamp(0, 1), (1.0, 0.33))


def poster(generator: Generator) -> Texture:
    x, y = axes()
    picture = colour(generator, 0.1, 0.9, 0.8).expand(SIZE, SIZE, 3)
    for _ in range(whole(generator, 4, 12)):
        cx, cy = uniform(generator, 0, 1), uniform(generator, 0, 1)
        rx, ry = uniform(generator, 0.05, 0.4), uniform(generator, 0.05, 0.4)
        power = 2 if uniform(generator, 0, 1) < 0.5 else 8
        inside = ((x - cx) / rx).abs() ** power + ((y - cy) / ry).abs() ** power < 1
        picture = torch.where(inside[..., None], colour(generator, 0.03, 0.9, 0.9), picture)
    border = torch.minimum(torch.minimum(x, 1 - x), torch.minimum(y, 1 - y)) < 0.04
    frame = colour(generator, 0.03, 0.8, 0.2)
    picture = torch.where(border[..., None], frame, picture)
    return Texture(paint(picture, 0.06 * noise(generator, 1.0)), (0.6, 0.8))


def panel_door(generator: Generator) -> Texture:
    """A door with two panels; fits a leaf of about 0.85 x 2.05 m."""
    x, y = axes()
    base = colour(generator, 0.2, 0.85, 0.25)
    groove = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    for low, high in ((0.1, 0.45), (0.55, 0.93)):
        edge = torch.maximum(
            (x - 0.5).abs() / 0.34, (y - (low + high) / 2).abs() * 2 / (high - low)
        )
        groove |= (edge - 1).abs() < 0.05
    picture = paint(base, 0.03 * noise(generator, 1.1, (6, 1)))
    return Texture(torch.where(groove[..., None], picture * 0.55, picture), (0.85, 2.05))


def drawers(generator: Generator) -> Texture:
    """The front of a cabinet: doors or drawers with handles; fits the face."""
    x, y = axes()
    columns, rows = whole(generator, 1, 3), whole(generator, 1, 5)
    base = colour(generator, 0.15, 0.85, 0.3)
    u, v = (x * columns) % 1, (y * rows) % 1
    gap = ((u - 0.5).abs() > 0.5 - 0.012 * columns) | ((v - 0.5).abs() > 0.5 - 0.012 * rows)
    handle = ((u - 0.5).abs() < 0.15) & ((v - 0.75).abs() < 0.02 * rows)
    picture = paint(base, 0.04 * noise(generator, 1.2, (1, 6)))
    picture = torch.where(gap[..., None], base * 0.3, picture)
    return Texture(torch.where(handle[..., None], 0.35, picture), (0.8, 0.8))


def screen(generator: Generator) -> Texture:
    """A monitor with windows and lines of text."""
    x, y = axes()
    picture = colour(generator, 0.02, 0.5, 0.8).expand(SIZE, SIZE, 3)
    for _ in range(3):
        left, top = uniform(generator, 0, 0.6), uniform(generator, 0.4, 1)
        wide, high = uniform(generator, 0.2, 0.5), uniform(generator, 0.2, 0.6)
        inside = (x > left) & (x < left + wide) & (y < top) & (y > top - high)
        row = (y * 40).floor().long().expand(SIZE, SIZE)
        ends = torch.rand(41, generator=generator)[row] * wide + left
        text = inside & ((y * 40) % 1 < 0.5) & (x < ends)
        paper = colour(generator, 0.4, 0.95, 0.1)
        picture = torch.where(inside[..., None], paper, picture)
        picture = torch.where(text[..., None], paper * 0.2, picture)
    border = torch.minimum(torch.minimum(x, 1 - x), torch.minimum(y, 1 - y)) < 0.03
    return Texture(torch.where(border[..., None], 0.02, picture), (0.5, 0.3))


def corrugated(generator: Generator) -> Texture:
    x, _ = axes()
    wave = 0.25 * torch.sin(2 * torch.pi * 10 * x).expand(SIZE, SIZE)
    base = colour(generator, 0.15, 0.6, 0.6)
    return Texture(paint(base, wave + 0.08 * noise(generator, 1.2, (6, 1))), (2.5, 2.5))
