"""Light: the sky, the sun and the lamps on a surface, shadows, darkened corners, haze."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from . import chance
from .raycast import Surface, cast
from .scene import Lights, Scenes

# The sun as a point: near enough for float32, far enough for parallel shadows.
SUN_DISTANCE = 400.0
# A lamp is no point: its light stops growing nearer than this.
LAMP_RADIUS = 0.25
# Shadows and darkened corners are worked out for every second pixel both ways.
SHADOW_STEP = 2
AMBIENT_STEP = 2


def irradiance(
    scenes: Scenes,
    surface: Surface,
    occlusion: Tensor,
    *,
    shadows: bool = True,
    soft: bool = True,
) -> Tensor:
    """Light that falls on each pixel's surface, (B, H, W, 3).

    occlusion: (B, H, W) share of the ambient light that arrives, 0 to 1 and beyond.
    soft: edges of shadows as of lamps with a size of their own.
    """
    lights, normal, position = scenes.lights, surface.normal, surface.position
    up = 0.5 + 0.5 * normal[..., 2:]
    total = torch.lerp(_pixel(lights.ambient_down), _pixel(lights.ambient_up), up)
    total = total * occlusion[..., None]

    sun = (normal * _pixel(lights.sun_direction)).sum(-1).clamp(min=0)
    if shadows and bool((lights.sun > 0).any()):
        place = lights.sun_direction * SUN_DISTANCE
        sun = sun * _lit(scenes, place, surface, soft)
    total = total + sun[..., None] * _pixel(lights.sun)

    for index in range(lights.lamp.shape[1]):
        place = lights.lamp_position[:, index]
        if not bool((lights.lamp[:, index] > 0).any()):
            continue
        offset = _pixel(place) - position
        squared = (offset * offset).sum(-1)
        cosine = (normal * offset).sum(-1).clamp(min=0) / squared.sqrt().clamp(min=1e-3)
        strength = cosine / (squared + LAMP_RADIUS**2)
        if shadows and index == 0:
            strength = strength * _lit(scenes, place, surface, soft)
        total = total + strength[..., None] * _pixel(lights.lamp[:, index])
    return total


def _lit(scenes: Scenes, place: Tensor, surface: Surface, soft: bool) -> Tensor:
    """1 where the light at place (B, 3) sees the surface (B, H, W), else 0.

    Looked at in every second pixel both ways and interpolated: a quarter of the rays.
    """
    size = surface.position.shape[1:3]
    position = surface.position[:, ::SHADOW_STEP, ::SHADOW_STEP]
    offset = position - _pixel(place)
    distance = offset.norm(dim=-1)
    hits = cast(scenes, place, offset / distance.clamp(min=1e-6)[..., None])
    lit = (hits.ray_distance > distance - 0.01 - 1e-4 * distance).float()
    if soft:
        lit = _softened(lit, position, surface.normal[:, ::SHADOW_STEP, ::SHADOW_STEP], scenes)
    return F.interpolate(lit[:, None], size, mode='bilinear', align_corners=False)[:, 0]


def _softened(lit: Tensor, position: Tensor, normal: Tensor, scenes: Scenes) -> Tensor:
    """Mean over neighbours in one plane, wide in some scenes: shadows blur, silhouettes do not."""
    height, width = lit.shape[1:]
    reach = max(1, width // 40)
    values = torch.cat([position.movedim(-1, 1), lit[:, None]], 1)
    padded = F.pad(values, (2 * reach,) * 4, mode='replicate')
    normal = normal.movedim(-1, 1).contiguous()
    total, weights = lit.clone(), torch.ones_like(lit)
    scene_width = chance.uniform(chance.scene_seed(scenes), 20)[:, None, None]
    for down, right in ((1, 1), (1, -1), (-1, 1), (-1, -1), (2, 0), (-2, 0), (0, 2), (0, -2)):
        top, left = (2 + down) * reach, (2 + right) * reach
        there = padded[:, :, top : top + height, left : left + width]
        offset = there[:, :3] - values[:, :3]
        apart = (offset * normal).sum(1).abs()
        weight = scene_width * (1 - apart * 10).clamp_(min=0)
        total += weight * there[:, 3]
        weights += weight
    return total / weights


def unevenness(scenes: Scenes, position: Tensor) -> Tensor:
    """(B, H, W) factor on a room's ambient light: bright by the window, dim in the far corner."""
    seed = chance.scene_seed(scenes)
    turn = chance.uniform(seed, 21, 0, 2 * torch.pi)
    slope = 0.35 * chance.uniform(seed, 22) ** 2 * (~scenes.outdoor)
    rise = 0.3 * chance.normal(seed, 23) * (~scenes.outdoor)
    direction = torch.stack([slope * turn.cos(), slope * turn.sin(), rise], -1)
    middle = position.new_tensor([0.0, 0.0, 1.2])
    return ((position - middle) * _pixel(direction)).sum(-1).clamp(-1.5, 1.2).exp()


def bounce(scenes: Scenes, lit: Tensor, found: Tensor) -> Tensor:
    """Light that surfaces throw on others nearby in the image, (B, H, W, 3).

    lit: (B, H, W, 3) light that leaves the surfaces. A blurred copy of the image stands for the
    surroundings of every point: a red wall reddens the floor next to it.
    """
    size = lit.shape[1:3]
    values = torch.cat([lit, torch.ones_like(lit[..., :1])], -1) * found[..., None]
    pooled = F.adaptive_avg_pool2d(values.movedim(-1, 1), (6, 8))
    spread = F.avg_pool2d(F.pad(pooled, (1, 1, 1, 1), mode='replicate'), 3, 1)
    around = spread[:, :3] / spread[:, 3:].clamp(min=1e-3)
    around = F.interpolate(around, size, mode='bilinear', align_corners=False)
    share = torch.where(scenes.outdoor, 0.15, 0.5)
    return around.movedim(1, -1) * share[:, None, None, None]


def weather(scenes: Scenes) -> Lights:
    """The scenes' lights on another day: outdoors, some are overcast and some lie in the dark."""
    lights, seed = scenes.lights, chance.scene_seed(scenes)
    kind = chance.uniform(seed, 30)
    overcast = (scenes.outdoor & (kind < 0.25))[:, None]
    night = (scenes.outdoor & (kind > 0.92))[:, None]
    grey = lights.horizon.mean(-1, keepdim=True).expand(-1, 3)
    dusk = lights.zenith.new_tensor([0.02, 0.025, 0.04])
    sun = torch.where(overcast, 0.08 * lights.sun, torch.where(night, 0.0, lights.sun))
    ambient = lights.ambient_up.mean(-1, keepdim=True).expand(-1, 3)
    turn = chance.uniform(seed, 31, 0, 2 * torch.pi)
    far = chance.uniform(seed, 32, 2, 8)
    above = chance.uniform(seed, 33, 4, 7)
    lamp_place = torch.stack([far * turn.cos(), far * turn.sin(), above], -1)
    lamp_position, lamp = lights.lamp_position.clone(), lights.lamp.clone()
    lamp_position[:, 0] = torch.where(night, lamp_place, lamp_position[:, 0])
    lamp[:, 0] = torch.where(night, lamp.new_tensor([6.0, 4.8, 3.2]), lamp[:, 0])
    return replace(
        lights,
        sun=sun,
        lamp_position=lamp_position,
        lamp=lamp,
        ambient_up=torch.where(overcast, 1.1 * ambient,
                               torch.where(night, 1.5 * dusk, lights.ambient_up)),
        ambient_down=torch.where(night, dusk, lights.ambient_down),
        zenith=torch.where(overcast, 0.9 * grey, torch.where(night, dusk, lights.zenith)),
        horizon=torch.where(overcast, grey, torch.where(night, 2 * dusk, lights.horizon)),
        clouds=torch.where(overcast[:, 0], 1.0, lights.clouds),
    )  # fmt: skip


def ambient_occlusion(
    position: Tensor, normal: Tensor, valid: Tensor, *, radius: float = 0.5
) -> Tensor:
    """Share of the ambient light that arrives, from neighbouring pixels, (B, H, W).

    A neighbour that rises above the surface's horizon within `radius` metres takes light away
    (Mittring, "Finding next gen", 2007, in its cosine-weighted form).
    """
    size = position.shape[1:3]
    position, normal = (
        values[:, ::AMBIENT_STEP, ::AMBIENT_STEP].movedim(-1, 1).contiguous()
        for values in (position, normal)
    )
    height, width = position.shape[2:]
    blocked = torch.zeros_like(position[:, 0])
    step = max(1, width // 40)
    padded = F.pad(position, (2 * step,) * 4, mode='replicate')
    for down, right in ((1, 0), (-1, 0), (0, 1), (0, -1), (2, 2), (-2, 2), (2, -2), (-2, -2)):
        top, left = (2 + down) * step, (2 + right) * step
        offset = padded[:, :, top : top + height, left : left + width] - position
        squared = (offset * offset).sum(1) + 1e-6
        rise = (offset * normal).sum(1) * squared.rsqrt() - 0.1
        blocked += rise.clamp_(min=0) * (radius**2 / (radius**2 + squared))
    open_sky = 1 - (0.25 * blocked).clamp_(max=0.7)
    full = F.interpolate(open_sky[:, None], size, mode='bilinear', align_corners=False)[:, 0]
    return torch.where(valid, full, 1.0)


def gloss(lights: Lights, surface: Surface, directions: Tensor, share: Tensor) -> Tensor:
    """Reflected sky or room light at grazing angles, (B, H, W, 3); share (B, H, W).

    Schlick's Fresnel term; what is mirrored is the ambient light, the sun and the lamps.
    """
    cosine = (-(surface.normal * directions).sum(-1)).clamp(0, 1)
    fresnel = 0.04 + 0.96 * (1 - cosine) ** 5
    mirrored = (
        directions - 2 * (surface.normal * directions).sum(-1, keepdim=True) * surface.normal
    )
    up = 0.5 + 0.5 * mirrored[..., 2:]
    around = torch.lerp(_pixel(lights.ambient_down), _pixel(lights.ambient_up), up)
    highlight = (mirrored * _pixel(lights.sun_direction)).sum(-1).clamp(min=0) ** 60
    around = around + 0.5 * highlight[..., None] * _pixel(lights.sun)
    for index in range(lights.lamp.shape[1]):
        if not bool((lights.lamp[:, index] > 0).any()):
            continue
        offset = _pixel(lights.lamp_position[:, index]) - surface.position
        squared = (offset * offset).sum(-1)
        cosine = (mirrored * offset).sum(-1).clamp(min=0) * squared.clamp(min=1e-6).rsqrt()
        seen = 4 * cosine**100 / (squared + 1)
        around = around + seen[..., None] * _pixel(lights.lamp[:, index])
    return around * (share * fresnel)[..., None]


def sky(lights: Lights, directions: Tensor, cloud_noise: Tensor) -> Tensor:
    """Colour of the sky along unit directions (B, H, W, 3).

    cloud_noise: (B, 1, S, S) seamless noise around 0, a plane of clouds seen from below.
    """
    height = directions[..., 2].clamp(min=0)
    colour = torch.lerp(_pixel(lights.horizon), _pixel(lights.zenith), height[..., None] ** 0.6)
    plane = directions[..., :2] / (height[..., None] + 0.15) * 0.6
    folded = (plane.remainder(4.0) - 2).abs() - 1  # mirrored repetition within grid_sample
    noise = F.grid_sample(cloud_noise, folded, align_corners=True)[:, 0]
    cover = torch.sigmoid(3 * (noise - 2.5 + 5 * lights.clouds[:, None, None]))
    cover = cover * (height * 8).clamp(max=1)
    white = 1.1 * lights.horizon.amax(-1)[:, None, None, None] * (0.85 + 0.1 * noise[..., None])
    colour = torch.lerp(colour, white.expand_as(colour), 0.85 * cover[..., None])
    glow = (directions * _pixel(lights.sun_direction)).sum(-1).clamp(min=0)
    return colour + (0.3 * glow**20 + 2 * glow**800)[..., None] * _pixel(lights.sun) * 0.5


def haze(lights: Lights, colour: Tensor, ray_distance: Tensor) -> Tensor:
    """Air in front of a surface takes on the horizon's colour with distance."""
    clear = torch.exp(-lights.haze[:, None, None] * ray_distance)[..., None]
    return torch.lerp(_pixel(lights.horizon), colour, clear)


def _pixel(values: Tensor) -> Tensor:
    """(B, C) -> (B, 1, 1, C)."""
    return values[:, None, None]
