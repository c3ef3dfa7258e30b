"""What scenes of distance fields look like: materials that fill space, and light on them.

Patterns are functions of the point itself, so that every shape is as if cut from a block.
"""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass
from random import Random

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from .distance_fields import Vector

NOISE_SIZE = 32


class SolidNoise:
    """Smooth noise in space with features of about a unit, deviation about 1, period 32."""

    def __init__(self, generator: Generator, device: torch.device | str) -> None:
        volume = torch.randn(1, 1, NOISE_SIZE, NOISE_SIZE, NOISE_SIZE, generator=generator)
        self.volume = F.pad(1.6 * volume, (0, 1, 0, 1, 0, 1), mode='circular').to(device)

    def __call__(self, points: Tensor) -> Tensor:
        """(N,) at points (3, N)."""
        cell = points.remainder(NOISE_SIZE)
        whole = cell.floor()
        part = cell - whole
        smooth = whole + part * part * (3 - 2 * part)
        grid = (smooth * (2 / NOISE_SIZE) - 1).T.reshape(1, 1, 1, -1, 3)
        return F.grid_sample(self.volume, grid, align_corners=True).flatten()

    def fractal(self, points: Tensor, footprint: Tensor, octaves: int = 5) -> Tensor:
        """(N,) sum of octaves; those finer than the footprint (N,) fade out."""
        total, amplitude = torch.zeros_like(footprint), 0.75
        for octave in range(octaves):
            frequency = 2.03**octave
            kept = (1.6 - 2 * frequency * footprint).clamp(0, 1)
            total = total + amplitude * kept * self(points * frequency + 7.3 * octave)
            amplitude *= 0.55
        return total


@dataclass(frozen=True)
class Material:
    """Two colours (linear reflectance) and the pattern by which they alternate.

    size: metres of a feature. turn: radians about z by which the pattern is turned. gloss: 0 to 1.
    """

    pattern: str
    low: Vector
    high: Vector
    size: float
    gloss: float = 0.0
    turn: float = 0.0
    glow: float = 0.0


PATTERNS = (
    'plain',
    'cloudy',
    'marble',
    'stripes',
    'checks',
    'speckle',
    'rings',
    'masonry',
    'veins',
)


def pattern(name: str, noise: SolidNoise, p: Tensor, footprint: Tensor) -> Tensor:
    """(N,) share of the high colour, 0 to 1, at points p (3, N) in units of a feature.

    footprint: (N,) size of a pixel there, in the same units.
    """
    sharp = (1.2 - 1.5 * footprint).clamp(0, 1)
    rough = noise.fractal(p, footprint)
    x, y, z = p
    if name == 'plain':
        return 0.5 + 0.12 * rough
    if name == 'cloudy':
        return 0.5 + 0.35 * rough
    if name == 'marble':
        return 0.5 + 0.5 * sharp * torch.sin(math.tau * (0.5 * x + 0.3 * z) + 2.5 * rough)
    if name == 'stripes':
        edge = torch.sin(math.tau * (0.5 * x + 0.5 * z) + 0.1 * rough) * 6
        return 0.5 + 0.5 * sharp * edge.clamp(-1, 1) + 0.04 * rough
    if name == 'checks':
        waves = (math.pi * (p + 0.23)).sin() * 8
        return 0.5 + 0.5 * sharp * waves.clamp(-1, 1).prod(0) + 0.06 * rough
    if name == 'speckle':
        grains = noise.fractal(p * 3, footprint * 3, octaves=3)
        return 0.3 + 0.6 * sharp * ((grains - 0.6) * 3).clamp(0, 1) + 0.08 * rough
    if name == 'rings':
        radius = ((y + 0.4 * rough) ** 2 + (z + 3.7 + 0.05 * x) ** 2).sqrt()
        grain = noise.fractal(p * p.new_tensor([[0.5], [9.0], [9.0]]), footprint * 6, octaves=2)
        return 0.5 + 0.4 * sharp * torch.sin(math.tau * radius * 1.5) + 0.2 * grain
    if name == 'masonry':
        return _masonry(noise, p, sharp) + 0.1 * rough
    # veins: thin lines where the noise crosses 0
    return 0.75 - 0.65 * sharp * (1 - 6 * rough.abs()).clamp(0, 1) + 0.05 * rough


def _masonry(noise: SolidNoise, p: Tensor, sharp: Tensor) -> Tensor:
    """Courses of stones, each in a tone of its own, with mortar (dark) between."""
    x, y, z = p
    course = (z * 2).floor()
    along = x + y + 0.5 * course.remainder(2) + 0.11
    stone = torch.stack([along.floor() * 3.7, course * 5.3, torch.zeros_like(z)])
    gap = torch.minimum(
        0.5 - ((z * 2).frac() - 0.5).abs(), 1 - 2 * (along.remainder(1) - 0.5).abs()
    )
    tone = 0.65 + 0.15 * noise(stone)
    return torch.where(gap < 0.07, 0.65 - 0.6 * sharp, tone)


def albedo(material: Material, noise: SolidNoise, points: Tensor, footprint: Tensor) -> Tensor:
    """(N, 3) linear reflectance at points (3, N); footprint (N,) is a pixel's size in metres."""
    cos, sin = math.cos(material.turn), math.sin(material.turn)
    x, y, z = points
    turned = torch.stack([cos * x + sin * y, cos * y - sin * x, z]) / material.size
    share = pattern(material.pattern, noise, turned, footprint / material.size)[:, None]
    low, high = points.new_tensor(material.low), points.new_tensor(material.high)
    worn = noise.fractal(points * 0.9 + 11.0, footprint, octaves=4)[:, None]
    return ((low + (high - low) * share) * (1 + 0.1 * worn)).clamp(0.01, 0.95)


# --- choosing materials -----------------------------------------------------------------------


def tone(random: Random, hue: tuple[float, float], strength: float, value: float) -> Vector:
    """A colour of a hue in the range (0 to 1, red to red), of at most `strength` saturation."""
    colour = colorsys.hsv_to_rgb(
        random.uniform(*hue) % 1, random.uniform(0.2, 1) * strength, random.gauss(value, 0.08)
    )
    red, green, blue = (min(max(part, 0.02), 0.95) ** 2.0 for part in colour)
    return red, green, blue


def material(
    random: Random,
    patterns: tuple[str, ...] = PATTERNS,
    *,
    hue: tuple[float, float] = (0.0, 1.0),
    strength: float = 0.7,
    value: float = 0.6,
    contrast: float = 0.2,
    size: tuple[float, float] = (0.05, 0.5),
    gloss: float = 0.3,
) -> Material:
    """A random material of one of the patterns; value: about how bright, 0 to 1."""
    middle = random.uniform(*hue)
    hues = (middle - 0.04, middle + 0.04)
    return Material(
        random.choice(patterns),
        tone(random, hues, strength, max(0.1, value - contrast * random.random())),
        tone(random, hues, strength, min(0.95, value + contrast * random.random())),
        math.exp(random.uniform(math.log(size[0]), math.log(size[1]))),
        gloss * random.random(),
        random.choice((0.0, 0.0, random.uniform(0, math.pi))),
    )


# --- light ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lighting:
    """Light of one scene, linear RGB.

    sun: of a direction; black indoors. lamps: (place, colour at a metre), the first casts shadows.
    above, below: what arrives from all around, from up and down. haze: metres to 63 % of it.
    """

    sun_direction: Vector
    sun: Vector
    above: Vector
    below: Vector
    lamps: tuple[tuple[Vector, Vector], ...] = ()
    haze: float = math.inf
    cloudiness: float = 0.4


def daylight(random: Random) -> Lighting:
    elevation, azimuth = random.uniform(0.25, 1.2), random.uniform(0, math.tau)
    level = math.cos(elevation)
    direction = (level * math.cos(azimuth), level * math.sin(azimuth), math.sin(elevation))
    overcast = random.random() < 0.35
    strength = 0.0 if overcast else random.uniform(1.5, 3.5)
    warmth = 0.5 * math.exp(-2 * elevation)
    grey = random.uniform(0.7, 1.1)
    blue = 1.1 if overcast else random.uniform(1.2, 1.6)
    return Lighting(
        direction,
        (strength, strength * (1 - 0.5 * warmth), strength * (1 - warmth)),
        (grey, grey * (1 + blue) / 2, grey * blue),
        (0.25 * grey, 0.24 * grey, 0.2 * grey),
        haze=random.uniform(200, 1500),
        cloudiness=random.uniform(0.6, 1.0) if overcast else random.uniform(0, 0.6),
    )


def lamplight(random: Random, lamps: list[Vector]) -> Lighting:
    ambient = random.uniform(0.25, 0.6)
    warm = random.uniform(0.6, 1.0)
    colour = (1.0, 0.5 + 0.5 * warm, warm)
    lit = []
    for place in lamps:
        strength = random.uniform(1.5, 5.0) / max(1.0, math.sqrt(len(lamps)))
        lit.append((place, (strength, strength * colour[1], strength * colour[2])))
    above = (ambient, ambient * (1 + warm) / 2, ambient * warm)
    return Lighting(
        (0.0, 0.0, 1.0),
        (0.0, 0.0, 0.0),
        above,
        (0.6 * above[0], 0.55 * above[1], 0.5 * above[2]),
        tuple(lit),
    )


def sky(lighting: Lighting, noise: SolidNoise, directions: Tensor) -> Tensor:
    """(N, 3) radiance of the sky in directions (3, N): a gradient, clouds and the sun's glow."""
    up = directions[2].clamp(min=0)
    above = directions.new_tensor(lighting.above)
    white = above.mean() * directions.new_tensor([1.05, 1.05, 1.05])
    share = up.sqrt()[:, None]
    clear = white + (above * directions.new_tensor([0.55, 0.8, 1.05]) - white) * share
    flat = directions / (up + 0.15)
    still = torch.zeros_like(up)
    density = 0.5 + 0.45 * noise.fractal(flat * 1.3, still) + lighting.cloudiness - 0.6
    cover = (density * 1.8).clamp(0, 1)[:, None]
    cloud = white * (1.15 - 0.35 * cover)
    toward = directions.new_tensor(lighting.sun_direction) @ directions
    glow = toward.clamp(min=0).pow(24)[:, None] * directions.new_tensor(lighting.sun) * 0.3
    return clear + (cloud - clear) * cover + glow
