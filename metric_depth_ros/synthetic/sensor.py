"""What a camera does to light: optics, exposure, noise, mosaic, colour, tone, sharpening, JPEG.

The order is that of a real camera's pipeline. Each effect is one switch of Sensor, its strength
drawn anew for every image; the draws happen whether an effect is on or off, so that switching
one off leaves the others as they were.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from .jpeg import jpeg
from .optics import blur, motion_blur, vignette


@dataclass(frozen=True)
class Sensor:
    """Strength of each effect; 0 switches it off.

    exposure: stops, deviation around the automatic one; some images clip, some stay dark.
    white_balance: relative deviation of the channels' gains, mostly along warm to cold.
    gamma: relative deviation of the tone curve's exponent around 1 / 2.2.
    contrast: deviation of the steepness of the tone curve in mid grey.
    saturation: deviation of the colours' strength; a share of images is nearly grey.
    vignette: largest share of light lost in the corners.
    blur: largest deviation of the defocus, pixels.
    motion: largest length of motion blur, pixels.
    noise: largest deviation of the noise, grey levels of 255 in mid grey; shot and read noise.
    chroma_noise: largest deviation of coarse colour noise, grey levels of 255.
    mosaic: share of images taken through a Bayer mosaic.
    sharpening: largest strength of the sharpening halo.
    jpeg: share of images compressed as JPEG of quality 30 to 95.
    """

    exposure: float = 0.6
    white_balance: float = 0.12
    gamma: float = 0.15
    contrast: float = 0.2
    saturation: float = 0.3
    vignette: float = 0.4
    blur: float = 1.1
    motion: float = 4.0
    noise: float = 7.0
    chroma_noise: float = 4.0
    mosaic: float = 0.25
    sharpening: float = 0.6
    jpeg: float = 0.5

    @classmethod
    def ideal(cls) -> Sensor:
        """Everything off: for comparisons between frames."""
        return cls(*(0.0 for _ in fields(cls)))


def expose(
    radiance: Tensor,
    sensor: Sensor,
    generator: Generator,
    noise_generator: Generator | None = None,
) -> Tensor:
    """(B, H, W, 3) linear radiance -> (B, H, W, 3) uint8, a picture as a camera delivers it.

    noise_generator: draws the noise, if that is to change while everything else stays.
    """
    draw = _Draw(len(radiance), generator, radiance.device)
    light = _through_the_lens(radiance.permute(0, 3, 1, 2), sensor, draw)
    light = _on_the_sensor(light, sensor, draw, noise_generator or generator)
    picture = _developed(light, sensor, draw)
    return (picture * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


class _Draw:
    """One random number an image, (B, C, 1, 1), drawn on the CPU to be the same everywhere."""

    def __init__(self, batch: int, generator: Generator, device: torch.device) -> None:
        self.batch, self.generator, self.device = batch, generator, device

    def normal(self, channels: int = 1) -> Tensor:
        size = (self.batch, channels, 1, 1)
        return torch.randn(size, generator=self.generator).to(self.device)

    def uniform(self, low: float = 0.0, high: float = 1.0) -> Tensor:
        drawn = torch.rand((self.batch, 1, 1, 1), generator=self.generator)
        return (low + (high - low) * drawn).to(self.device)


def _through_the_lens(picture: Tensor, sensor: Sensor, draw: _Draw) -> Tensor:
    # Never quite zero: a pixel integrates light over its area, and lenses are not perfect.
    defocus, falloff = 0.42 + 0.58 * draw.uniform() ** 3, draw.uniform() ** 2
    # Most frames of a hand-held camera are sharp; the rest are smeared.
    length, angle = (2.5 * draw.uniform() - 1.5).clamp(min=0), draw.uniform(0, math.pi)
    if sensor.motion:
        picture = motion_blur(picture, sensor.motion * length, angle)
    if sensor.blur:
        picture = blur(picture, sensor.blur * defocus)
    if sensor.vignette:
        picture = picture * vignette(picture, sensor.vignette * falloff)
    return picture


def _on_the_sensor(picture: Tensor, sensor: Sensor, draw: _Draw, noise_from: Generator) -> Tensor:
    """Linear values of 0 to 1, with the light's colour as the white balance left it."""
    stops, cast, rest = draw.normal(), draw.normal(), draw.normal(3)
    grain, share, mosaic = draw.uniform() ** 3, draw.uniform(), draw.uniform()
    picture = picture * automatic_exposure(picture) * 2 ** (sensor.exposure * stops)
    warm = torch.tensor([1.0, 0.05, -1.0], device=picture.device)[:, None, None]
    gains = (sensor.white_balance * (cast * warm + 0.3 * rest)).exp()
    picture = (picture * gains).clamp(0, 4)
    if sensor.noise:
        picture = picture + noise(picture, sensor.noise / 255 * grain, share, noise_from)
    if sensor.mosaic:
        chosen = mosaic < sensor.mosaic
        picture = torch.where(chosen, demosaic(picture), picture)
    return picture.clamp(min=0)


def _developed(picture: Tensor, sensor: Sensor, draw: _Draw) -> Tensor:
    strength, grey_share, harsh = draw.normal(), draw.uniform(), draw.uniform()
    exponent, steep, halo = draw.normal(), draw.normal(), draw.uniform() ** 2
    blotches, in_file, quality = draw.uniform() ** 3, draw.uniform(), 95 - 65 * draw.uniform() ** 2
    coarse = draw.normal(3 * 12 * 16).reshape(-1, 3, 12, 16)
    if sensor.saturation:
        amount = (1 + sensor.saturation * strength).clamp(0, 1.7)
        amount = torch.where(grey_share < 0.1 * min(1.0, sensor.saturation), 0.05, amount)
        grey = luminance(picture)
        picture = (grey + (picture - grey) * amount).clamp(min=0)
    # Cheap cameras clip, better ones roll highlights off.
    picture = torch.where(harsh < 0.4, picture, shoulder(picture))
    power = (1 + sensor.gamma * exponent).clamp(0.6, 1.5) / 2.2
    picture = picture.clamp(1e-6, 1) ** power
    if sensor.contrast:
        picture = s_curve(picture, sensor.contrast * steep)
    if sensor.sharpening:
        picture = (picture + sensor.sharpening * halo * (picture - _soft(picture))).clamp(0, 1)
    if sensor.chroma_noise:
        colours = coarse - coarse.mean(1, keepdim=True)
        size = picture.shape[-2:]
        colours = F.interpolate(colours, size, mode='bicubic', align_corners=False)
        picture = (picture + sensor.chroma_noise / 255 * blotches * colours).clamp(0, 1)
    if sensor.jpeg:
        picture = torch.where(in_file < sensor.jpeg, jpeg(picture, quality), picture)
    return picture


def automatic_exposure(picture: Tensor) -> Tensor:
    """(B, 1, 1, 1) gain that brings the mean and the highlights to where cameras put them."""
    grey = picture.mean(1).flatten(1)
    mean = grey.mean(1)
    bright = grey[:, :: max(1, grey.shape[1] // 512)].quantile(0.95, dim=1)
    gain = torch.minimum(0.22 / mean.clamp(min=1e-6), 2.0 / bright.clamp(min=1e-6))
    return gain[:, None, None, None]


def luminance(picture: Tensor) -> Tensor:
    """(B, 1, H, W) of linear RGB, Rec. 709."""
    weights = picture.new_tensor([0.2126, 0.7152, 0.0722])[:, None, None]
    return (picture * weights).sum(1, keepdim=True)


def shoulder(picture: Tensor, knee: float = 0.7) -> Tensor:
    """Rolls highlights off smoothly above the knee instead of clipping them."""
    room = 1 - knee
    over = (picture - knee).clamp(min=0)
    return torch.where(picture > knee, knee + room * (1 - torch.exp(-over / room)), picture)


def s_curve(picture: Tensor, steepness: Tensor) -> Tensor:
    """Values in [0, 1] pushed apart (> 0) or together (< 0) around mid grey; keeps mid grey.

    Apart, black and white stay where they are; together, blacks turn milky as in glare.
    """
    apart = picture * picture * (3 - 2 * picture)
    together = 0.5 + (picture - 0.5) * (1 + 0.8 * steepness.clamp(-0.8, 0))
    more = torch.lerp(picture, apart, (2 * steepness).clamp(0, 1))
    return torch.where(steepness > 0, more, together)


def noise(light: Tensor, deviation: Tensor, share: Tensor, generator: Generator) -> Tensor:
    """Noise of a linear picture (B, 3, H, W): shot noise and, in the dark, read noise.

    deviation: (B, 1, 1, 1) of the developed picture in mid grey, of a range of 1.
    share: (B, 1, 1, 1) of the noise that the channels have in common, 0 to 1: scaled down or
        denoised pictures keep little colour in their noise.
    """
    batch, channels, height, width = light.shape
    white = torch.randn(batch, channels + 1, height, width, generator=generator)
    white = white.to(light.device)
    mixed = (1 - share).sqrt() * white[:, :channels] + share.sqrt() * white[:, channels:]
    # Where the developed value is v, the linear one is v^2.2 and its slope 2.2 v^1.2: at v = 0.5
    # that is 0.96, so that linear and developed deviations are alike.
    variance = light.clamp(0, 1) / 0.218 + 0.03
    return mixed * deviation * variance.sqrt()


def demosaic(picture: Tensor) -> Tensor:
    """What is left of a picture after an RGGB Bayer mosaic and bilinear interpolation."""
    height, width = picture.shape[-2:]
    odd_y = torch.arange(height, device=picture.device)[:, None] % 2 > 0
    odd_x = torch.arange(width, device=picture.device)[None] % 2 > 0
    masks = torch.stack([~odd_y & ~odd_x, odd_y ^ odd_x, odd_y & odd_x]).to(picture)
    kernel = picture.new_tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]])
    kernel = kernel.expand(3, 1, 3, 3)
    # Dividing by the weight of the pixels that were there is bilinear inside and right at edges.
    seen = F.conv2d(picture * masks, kernel, padding=1, groups=3)
    there = F.conv2d(masks[None], kernel, padding=1, groups=3)
    return torch.where(masks > 0, picture, seen / there)


def _soft(picture: Tensor) -> Tensor:
    """Mean of 3 x 3 pixels."""
    return F.avg_pool2d(F.pad(picture, (1, 1, 1, 1), mode='replicate'), 3, 1)
