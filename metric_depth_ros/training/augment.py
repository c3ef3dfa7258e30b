"""How a batch is changed each time it is seen: size, place, mirroring and colour (GRIN, 5.2).

A frame carries its camera as a map of rays, one a pixel. Whatever moves the pixels moves the rays
along, and nothing else needs to know: the paper's "images and intrinsics are resized" is one
sampling of both. Depth is picked from the nearest pixel and never blended: halfway between an
edge and what lies behind it there is nothing.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .batch import Batch
from .recipe import Augmentation

# Below this scale an image is averaged to half its size before it is sampled, against aliasing.
_HALVE_BELOW = 0.6
_LUMA = (0.299, 0.587, 0.114)
# Of one patch: its size over that of the image, and how many an image has at most.
_PATCH = (0.04, 0.35)
_PATCHES = 3
# Size of what counts as fine structure, pixels, and how strongly it is printed on.
_FINE = 9
_IMPRINT = (0.3, 1.2)
# Height of a band over that of the image, and what it is a multiple of, pixels.
_BAND = 2 / 3
_BAND_MULTIPLE = 32


def augment(
    batch: Batch, width: int, height: int, settings: Augmentation, generator: torch.Generator
) -> Batch:
    """Images of width x height: each resized, placed, mirrored and coloured at random.

    Args:
        generator: on the CPU, so that a run is the same on every device.
    """
    count, device = len(batch.image), batch.image.device
    high, wide = batch.image.shape[-2:]
    low, top = settings.resize
    drawn = torch.rand(4, count, generator=generator)
    scale = min(width / wide, height / high) * (low + (top - low) * drawn[0])
    x = _source_pixels(wide, width, scale, drawn[1])
    y = _source_pixels(high, height, scale, drawn[2])
    flip = drawn[3] < settings.flip
    x = torch.where(flip[:, None], wide - 1 - x, x)

    image, rays, seen = _smooth(batch, x.to(device), y.to(device), scale)
    rays = rays * _unit(rays, flip.to(device))
    ray_distance, valid = _nearest(batch, x.to(device), y.to(device))
    inside = (_within(y, high)[:, :, None] & _within(x, wide)[:, None]).to(device) & seen
    if settings.colour:
        image = jitter_colour(image, settings.colour, generator)
    if settings.imprints:
        image = imprint_details(image, settings.imprints, generator)
    if settings.sharpness:
        image = sharpen(image, settings.sharpness, generator)
    if settings.contrast != (1.0, 1.0):
        image = spread_values(image, settings.contrast, generator)
    if settings.patches:
        image = paint_patches(image, settings.patches, generator)
    return Batch(image, rays, ray_distance, valid & inside, inside)


def cut_band(batch: Batch, share: float, generator: torch.Generator) -> Batch:
    """All images of the batch, or in `share` of all calls bands of them, anywhere in height.

    Cameras on vehicles see 16:9 or 3:1, and little of the ground close by.
    """
    high = batch.image.shape[-2]
    band = max(1, round(_BAND * high / _BAND_MULTIPLE)) * _BAND_MULTIPLE
    chance, place = torch.rand(2, generator=generator).tolist()
    if band >= high or chance >= share:
        return batch
    top = int(place * (high - band + 1))
    return batch.rows(slice(top, top + band))


def _source_pixels(source: int, target: int, scale: Tensor, share: Tensor) -> Tensor:
    """(B, target) pixel of the source, along one axis, that each pixel of the target shows.

    The resized axis is scale * source pixels long and lies anywhere within the target or, if it
    is longer, the target anywhere within it: `share`, 0 to 1, says where.
    """
    offset = share * (target - scale * source)
    centres = torch.arange(target) + 0.5
    return (centres - offset[:, None]) / scale[:, None] - 0.5


def _within(pixels: Tensor, size: int) -> Tensor:
    """Which lie between the first and the last pixel's centre: beyond, nothing is known."""
    return (pixels > -1e-3) & (pixels < size - 1 + 1e-3)


def _smooth(batch: Batch, x: Tensor, y: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Image, rays and inside at columns x (B, w) and rows y (B, h), interpolated."""
    high, wide = batch.image.shape[-2:]
    along, down = (2 * x + 1) / wide - 1, (2 * y + 1) / high - 1
    grid = torch.stack(
        (along[:, None].expand(-1, y.shape[1], -1), down[:, :, None].expand(-1, -1, x.shape[1])),
        dim=-1,
    )
    maps = torch.cat((batch.image, batch.rays, batch.inside[:, None].float()), dim=1)
    sampled = _bilinear(maps, grid)
    image = sampled[:, :3]
    if (small := (scale < _HALVE_BELOW).nonzero()[:, 0]).numel():
        small = small.to(image.device)
        halved = F.interpolate(batch.image[small], (high // 2, wide // 2), mode='area')
        image[small] = _bilinear(halved, grid[small])
    return image, sampled[:, 3:6], sampled[:, 6] > 0.999


def _bilinear(maps: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(maps, grid, padding_mode='border', align_corners=False)


def _unit(rays: Tensor, flip: Tensor) -> Tensor:
    """(B, 3, h, w) factors that make rays unit vectors again, and mirror those of `flip`."""
    # Written out, because norms over a dimension that is not the last take ten times as long.
    inverse = (rays.square().sum(1, keepdim=True)).clamp_(min=1e-12).rsqrt_()
    sign = torch.ones_like(rays[:, :, :1, :1])
    sign[flip, 0] = -1
    return inverse * sign


def _nearest(batch: Batch, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """ray_distance and valid of the pixels nearest to columns x and rows y."""
    high, wide = batch.ray_distance.shape[-2:]
    column = x.round().long().clamp(0, wide - 1)[:, None]
    row = y.round().long().clamp(0, high - 1)[:, :, None]
    flat = (row * wide + column).flatten(1)
    shape = flat.shape[:1] + (y.shape[1], x.shape[1])
    return (
        batch.ray_distance.flatten(1).gather(1, flat).view(shape),
        batch.valid.flatten(1).gather(1, flat).view(shape),
    )


def jitter_colour(image: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """(B, 3, h, w) in [-1, 1] with another brightness, contrast, saturation, tint and gamma.

    All but the gamma are one linear map of the colours.
    """
    count = len(image)

    def around_one(spread: float, channels: int = 1) -> Tensor:
        uniform = 2 * torch.rand(count, channels, 1, generator=generator) - 1
        return torch.exp(strength * spread * uniform)

    contrast, saturation, gamma = around_one(0.25), around_one(0.4), around_one(0.3)
    gain = around_one(0.25) * around_one(0.1, 3)  # brightness and tint
    grey = torch.tensor(_LUMA).expand(3, 3)
    colours = contrast * gain * (saturation * torch.eye(3) + (1 - saturation) * grey)
    # x in [0, 1] goes to colours @ x + (1 - contrast) / 2; the image is 2 x - 1.
    constant = colours.sum(2, keepdim=True) / 2 + (1 - contrast) / 2
    device = image.device
    changed = torch.baddbmm(constant.to(device), (colours / 2).to(device), image.flatten(2))
    changed = changed.clamp_(1e-4, 1).pow_(gamma.to(device))
    return (2 * changed - 1).view_as(image)


def spread_values(
    image: Tensor, factor: tuple[float, float], generator: torch.Generator
) -> Tensor:
    """(B, 3, h, w) in [-1, 1], the values of each image spread about their mean, and clipped.

    Rendered light is softer than real light: shadows and highlights of real pictures clip.
    """
    low, high = factor
    share = torch.rand(len(image), 1, 1, 1, generator=generator).to(image.device)
    mean = image.mean(dim=(1, 2, 3), keepdim=True)
    return (mean + (image - mean) * low * (high / low) ** share).clamp_(-1, 1)


def sharpen(image: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """(B, 3, h, w) in [-1, 1] with what differs from the mean of 3 x 3 pixels raised.

    Each by up to `strength`. Frames are rendered small, as a camera blurs them; a real picture
    that is scaled down to their size is much sharper.
    """
    share = torch.rand(len(image), 1, 1, 1, generator=generator).to(image.device)
    soft = F.avg_pool2d(image, 3, 1, 1, count_include_pad=False)
    return (image + strength * share * (image - soft)).clamp_(-1, 1)


def imprint_details(image: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """(B, 3, h, w) in [-1, 1]; `share` of the images have another's fine structure printed on.

    Prints, stains and shadows have edges where depth has none. Here these are of the image
    before it in the batch, upside down or not.
    """
    count = len(image)
    u = torch.rand(3, count, 1, 1, 1, generator=generator).to(image.device)
    other = image.roll(1, dims=0)
    other = torch.where(u[0] < 0.5, other.flip(-2), other)
    coarse = F.avg_pool2d(other, _FINE, 1, _FINE // 2, count_include_pad=False)
    low, high = _IMPRINT
    strength = (low + (high - low) * u[1]) * (u[2] < share)
    return (image + strength * (other - coarse)).clamp_(-1, 1)


def paint_patches(image: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """(B, 3, h, w) in [-1, 1] with patches of one colour, on `share` of the images.

    Random erasing (Zhong et al. 2020): what is behind is to be told from what is around. Most
    are white, as lamps, screens and panels are that are too bright for a camera, and that are
    no sky; half of them are ellipses.
    """
    count, _, high, wide = image.shape
    low, top = _PATCH
    y, x = torch.arange(high)[:, None] / high, torch.arange(wide)[None] / wide
    wanted = torch.rand(count, generator=generator) < share
    for _ in range(_PATCHES):
        u = torch.rand(9, count, 1, 1, generator=generator)
        half_x, half_y = (low * (top / low) ** u[:2]) / 2
        across, down = (x - u[2]) / half_x, (y - u[3]) / half_y
        ellipse, box = across**2 + down**2, torch.maximum(across.abs(), down.abs())
        inside = torch.where(u[4] < 0.5, ellipse, box) < 1
        white, colour = 0.8 + 0.2 * u[6:9], 2 * u[6:9] - 1
        paint = torch.where(u[5] < 0.6, white, colour).permute(1, 0, 2, 3)
        inside = inside[:, None] & wanted[:, None, None, None]
        image = torch.where(inside.to(image.device), paint.to(image.device), image)
    return image
