"""The texture bank: every texture of a split with its mip levels, and how a pixel looks it up.

Textures are looked up by metric surface coordinates at the mip level that matches the pixel's
footprint (Williams, "Pyramidal parametrics", 1983): no aliasing, at the price of eight reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from . import chance, textures, textures_heldout, textures_train
from .raycast import gather
from .scene import Face, Kind, Scenes

SPLITS = {'train': textures_train.TRAIN, 'heldout': textures_heldout.HELDOUT}
# How many different textures a role has: of each of its families, and at least.
MEMBERS, FEWEST = 3, 7
LEVELS = 8  # 256 texels down to 2


@dataclass(frozen=True)
class TextureBank:
    """M textures.

    texels: (total, 3) uint8, all levels of all textures one after another, square root of the
        linear albedo. period: (M, 2) metres. mean: (M, 3) linear albedo on average.
    roles: which textures may serve as what.
    """

    texels: Tensor
    period: Tensor
    mean: Tensor
    roles: dict[str, range]

    def to(self, device: torch.device | str) -> TextureBank:
        return TextureBank(
            self.texels.to(device), self.period.to(device), self.mean.to(device), self.roles
        )


@lru_cache(maxsize=4)
def texture_bank(split: str, device: str = 'cpu') -> TextureBank:
    """Every texture of a split; drawn at the first call (about a second), the same always."""
    if device != 'cpu':
        return texture_bank(split).to(device)
    generator = torch.Generator().manual_seed(list(SPLITS).index(split))
    drawn: list[textures.Texture] = []
    roles: dict[str, range] = {}
    for role, families in SPLITS[split].items():
        count = max(FEWEST, MEMBERS * len(families))
        roles[role] = range(len(drawn), len(drawn) + count)
        drawn += [families[i % len(families)](generator) for i in range(count)]
    period = torch.tensor([texture.period for texture in drawn])
    mean = torch.stack([texture.albedo.mean((0, 1)) for texture in drawn])
    return TextureBank(_mip_levels([t.albedo for t in drawn]), period, mean, roles)


def _mip_levels(albedos: list[Tensor]) -> Tensor:
    level = torch.stack(albedos).permute(0, 3, 1, 2)
    parts = []
    for _ in range(LEVELS):
        code = (level.clamp(0, 1).sqrt() * 255).round().to(torch.uint8)
        parts.append(code.permute(0, 2, 3, 1).reshape(-1, 3))
        level = F.avg_pool2d(level, 2)
    return torch.cat(parts)


def face_of(kind: Tensor, local_normal: Tensor) -> Tensor:
    """Which Face a hit (...,) with outward local normal (..., 3) lies on."""
    x, _, z = local_normal.unbind(-1)
    size = local_normal.abs().amax(-1)
    flat = (kind == Kind.BOX) | (kind == Kind.ROOM) | (kind == Kind.CYLINDER)
    face = torch.full_like(kind, int(Face.SIDE))
    face = torch.where(
        (x >= size) & ((kind == Kind.BOX) | (kind == Kind.ROOM)), int(Face.FRONT), face
    )
    face = torch.where((z >= size) & flat, int(Face.TOP), face)
    return torch.where((-z >= size) & flat, int(Face.BOTTOM), face)


def surface_coordinates(
    kind: Tensor, local: Tensor, local_normal: Tensor, half_size: Tensor
) -> tuple[Tensor, Tensor]:
    """Metric (right, up) coordinates on a surface, and the face's extent there, (..., 2) each."""
    x, y, z = local.unbind(-1)
    hx, hy, hz = half_size.unbind(-1)
    axis = local_normal.abs().argmax(-1)
    box_u = torch.where(axis == 0, y, x)
    box_v = torch.where(axis == 2, y, z)
    width = torch.where(axis == 0, hy, hx)
    height = torch.where(axis == 2, hy, hz)
    around = torch.atan2(y, x) * torch.maximum(hx, hy)
    # A sphere's parallels: height along the surface would need asin, which nobody would see.
    curved = (kind == Kind.ELLIPSOID) | ((kind == Kind.CYLINDER) & (axis != 2))
    u, v = torch.where(curved, around, box_u), torch.where(curved, z, box_v)
    width = torch.where(curved, torch.pi * hx, width)
    height = torch.where(curved, hz, height)
    return torch.stack([u, v], -1), 2 * torch.stack([width, height], -1)


@dataclass(frozen=True)
class Finish:
    """How each face of each primitive uses its texture: albedo = factor * texel + offset.

    factor, offset: (B, N, 4, 3). scale: (B, N, 4) of the texture's real size, 0 = fits the face.
    dirt: (B, N, 4) strength of the stains.
    """

    factor: Tensor
    offset: Tensor
    scale: Tensor
    dirt: Tensor

    def packed(self) -> Tensor:
        """(B, N * 4, 8): one look-up a pixel instead of four."""
        single = torch.stack([self.scale, self.dirt], -1)
        return torch.cat([self.factor, self.offset, single], -1).flatten(1, 2)


def finish(scenes: Scenes, bank: TextureBank, *, variation: bool, textured: bool) -> Finish:
    """What a scene makes of the bank's textures.

    variation: recoloured, scaled, paler or stronger, stained, some painted over in one colour,
        differently in every scene, alike for all things of one texture in a scene.
    textured: without, every face has its texture's mean colour.
    """
    mean, tint = bank.mean[scenes.texture], scenes.tint
    contrast = torch.full_like(scenes.texture_scale, 1.0 if textured else 0.0)
    dirt = torch.zeros_like(contrast)
    if not variation:
        return Finish(contrast[..., None] * tint, (1 - contrast[..., None]) * mean * tint,
                      scenes.texture_scale, dirt)  # fmt: skip
    seed = chance.scene_seed(scenes)[:, None, None] * 1009 + scenes.texture
    fitted = scenes.texture_scale == 0
    outdoor = scenes.outdoor[:, None, None]
    bright = 0.3 * chance.normal(seed, 0)
    channels = torch.stack([chance.normal(seed, i) for i in (1, 2, 3)], -1)
    channels = torch.where(outdoor, 0.05, 0.07)[..., None] * channels
    tint = tint * (bright[..., None] + channels).exp()
    # Most surfaces that people build are almost uniform; most of what grows is not.
    pale = chance.uniform(seed, 4) < torch.where(outdoor, 0.2, 0.5)
    strength = torch.where(
        pale, chance.uniform(seed, 5, 0.0, 0.3), chance.uniform(seed, 6, 0.4, 1.3)
    )
    strength = torch.where(fitted, chance.uniform(seed, 6, 0.7, 1.2), strength)
    painted = pale & ~fitted & (chance.uniform(seed, 7) < torch.where(outdoor, 0.1, 0.4))
    value = 0.9 - 0.75 * chance.uniform(seed, 8) ** 1.5
    hue = torch.stack([chance.uniform(seed, i) for i in (9, 10, 11)], -1)
    vivid = chance.uniform(seed, 12)[..., None] ** 4  # most paint is white, grey or cream
    paint = value[..., None] * torch.lerp(torch.ones_like(hue), hue, 0.8 * vivid)
    contrast = contrast * strength
    factor = torch.where(painted[..., None], 0.2, 1.0) * contrast[..., None]
    offset = torch.where(painted[..., None], paint, mean) - factor * mean
    scale = scenes.texture_scale * (0.25 * chance.normal(seed, 13)).exp()
    primitive = (scenes.texture_offset[..., 0] * 2**20).long()[..., None] + seed
    tint = tint * (0.05 * chance.normal(primitive, 14))[..., None].exp()
    dirt = 0.16 * chance.uniform(primitive, 15) ** 2
    return Finish(factor * tint, offset * tint, scale, dirt)


def albedo(
    scenes: Scenes,
    primitive: Tensor,
    local: Tensor,
    local_normal: Tensor,
    footprint: Tensor,
    *,
    variation: bool = True,
    textured: bool = True,
) -> Tensor:
    """Colour of what each pixel sees, (B, H, W, 3) linear RGB.

    Args:
        primitive: (B, H, W) index; -1 is read as 0.
        local, local_normal: (B, H, W, 3), see raycast.Surface.
        footprint: (B, H, W) metres of surface that a pixel covers.
        variation, textured: see `finish`.
    """
    bank = texture_bank(scenes.split, str(scenes.device))
    kind = gather(scenes.kind, primitive)
    face = face_of(kind, local_normal)
    metric, extent = surface_coordinates(
        kind, local, local_normal, gather(scenes.half_size, primitive)
    )
    index = primitive.clamp(min=0) * 4 + face
    texture = gather(scenes.texture.flatten(1, 2), index)
    used = gather(finish(scenes, bank, variation=variation, textured=textured).packed(), index)
    factor, offset = used[..., :3], used[..., 3:6]
    scale, dirt = used[..., 6:7], used[..., 7:]

    period = bank.period[texture] * scale
    fitted = scale == 0
    shift = gather(scenes.texture_offset, primitive)
    uv = torch.where(fitted, metric / extent + 0.5, metric / period.clamp(min=1e-6) + shift)
    period = torch.where(fitted, extent, period)
    texel = period.amin(-1) / textures.SIZE
    level = torch.log2((footprint / texel).clamp(1e-3, 1e6))
    colour = factor * sample(bank, texture, uv, level) + offset
    if variation:
        colour = colour * (1 + dirt * stains(metric / 2.5 + 4 * shift))
    return colour.clamp(0, 0.97)


@lru_cache(maxsize=2)
def _stain_noise(device: str) -> Tensor:
    """(1, 1, 64, 64) seamless low-frequency noise, deviation 1."""
    generator = torch.Generator().manual_seed(17)
    field = textures.noise(generator, 1.6)[None, None]
    return F.avg_pool2d(field, textures.SIZE // 64).to(device)


def stains(place: Tensor) -> Tensor:
    """Noise at (B, H, W, 2) places in periods: wear, dirt and light that no lamp explains."""
    folded = (place.remainder(2.0) - 1).abs() * 2 - 1  # mirrored repetition within grid_sample
    field = _stain_noise(str(place.device)).expand(len(place), -1, -1, -1)
    return F.grid_sample(field, folded, align_corners=False, padding_mode='border')[
        :, 0, ..., None
    ]


def sample(bank: TextureBank, texture: Tensor, uv: Tensor, level: Tensor) -> Tensor:
    """Bilinear look-up: texture and level (...,), uv (..., 2) in periods -> (..., 3) linear."""
    count = len(bank.period)
    # Level l starts after all textures' finer levels: a geometric series of quarters.
    sizes = [textures.SIZE >> i for i in range(LEVELS)]
    starts = torch.tensor([sum(s * s for s in sizes[:i]) * count for i in range(LEVELS)])
    which = level.round().clamp(0, LEVELS - 1).long()
    side = torch.tensor(sizes, device=uv.device)[which]
    start = starts.to(uv.device)[which] + texture * side * side
    x = uv[..., 0] * side - 0.5
    y = -uv[..., 1] * side - 0.5
    x0, y0 = x.floor(), y.floor()
    fx, fy = (x - x0)[..., None], (y - y0)[..., None]
    left, top = x0.long(), y0.long()
    mask = side - 1  # sides are powers of two, so that & wraps around

    def texel(column: Tensor, row: Tensor) -> Tensor:
        index = start + (row & mask) * side + (column & mask)
        return bank.texels.index_select(0, index.reshape(-1)).reshape(*index.shape, 3).float()

    upper = torch.lerp(texel(left, top), texel(left + 1, top), fx)
    lower = torch.lerp(texel(left, top + 1), texel(left + 1, top + 1), fx)
    return (torch.lerp(upper, lower, fy) / 255).square()
