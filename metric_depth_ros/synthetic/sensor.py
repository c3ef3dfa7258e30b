"""What a camera does to light: exposure, colour, blur, vignette, noise, tone curve.

Each effect is one function and one switch of Sensor, drawn anew for every image.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Generator, Tensor


@dataclass(frozen=True)
class Sensor:
    """Strength of each effect; 0 switches it off.

    exposure: stops, deviation around the automatic one.
    white_balance: relative deviation of the channels' gains.
    gamma: relative deviation of the tone curve's exponent around 1 / 2.2.
    saturation: deviation of the colours' strength.
    vignette: largest share of light lost in the corners.
    blur: largest deviation of the blur, pixels.
    noise: largest deviation of the noise, grey levels of 255.
    """

    exposure: float = 0.5
    white_balance: float = 0.05
    gamma: float = 0.12
    saturation: float = 0.15
    vignette: float = 0.35
    blur: float = 0.7
    noise: float = 5.0

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
    batch = len(radiance)
    picture = radiance.permute(0, 3, 1, 2)
    draw = _Draw(batch, generator, picture.device)
    if sensor.blur:
        picture = blur(picture, sensor.blur * draw.uniform(0, 1) ** 2)
    if sensor.vignette:
        picture = picture * vignette(picture, sensor.vignette * draw.uniform(0, 1) ** 2)
    picture = picture * automatic_exposure(picture) * 2 ** (sensor.exposure * draw.normal())
    if sensor.white_balance:
        gains = 1 + sensor.white_balance * draw.normal(3)
        picture = picture * gains
    if sensor.saturation:
        grey = picture.mean(1, keepdim=True)
        picture = grey + (picture - grey) * (1 + sensor.saturation * draw.normal()).clamp(0, 1.6)
    picture = shoulder(picture.clamp(min=0))
    exponent = (1 + sensor.gamma * draw.normal()).clamp(0.6, 1.5) / 2.2
    picture = picture.clamp(1e-6, 1) ** exponent
    if sensor.noise:
        deviation = sensor.noise * draw.uniform(0, 1) ** 2 / 255
        picture = picture + noise(picture, deviation, noise_generator or generator)
    return (picture * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


class _Draw:
    """One random number an image, (B, C, 1, 1), drawn on the CPU to be the same everywhere."""

    def __init__(self, batch: int, generator: Generator, device: torch.device) -> None:
        self.batch, self.generator, self.device = batch, generator, device

    def normal(self, channels: int = 1) -> Tensor:
        size = (self.batch, channels, 1, 1)
        return torch.randn(size, generator=self.generator).to(self.device)

    def uniform(self, low: float, high: float) -> Tensor:
        drawn = torch.rand((self.batch, 1, 1, 1), generator=self.generator)
        return (low + (high - low) * drawn).to(self.device)


def automatic_exposure(picture: Tensor) -> Tensor:
    """(B, 1, 1, 1) gain that brings the mean and the highlights to where cameras put them."""
    grey = picture.mean(1).flatten(1)
    mean = grey.mean(1)
    bright = grey[:, :: max(1, grey.shape[1] // 512)].quantile(0.97, dim=1)
    gain = torch.minimum(0.2 / mean.clamp(min=1e-6), 1.4 / bright.clamp(min=1e-6))
    return gain[:, None, None, None]


def shoulder(picture: Tensor, knee: float = 0.7) -> Tensor:
    """Rolls highlights off smoothly above the knee instead of clipping them."""
    room = 1 - knee
    over = (picture - knee).clamp(min=0)
    return torch.where(picture > knee, knee + room * (1 - torch.exp(-over / room)), picture)


def vignette(picture: Tensor, strength: Tensor) -> Tensor:
    """(B, 1, H, W) share of light that arrives, falling with the squared distance from centre."""
    height, width = picture.shape[-2:]
    y = torch.linspace(-1, 1, height, device=picture.device)[:, None]
    x = torch.linspace(-1, 1, width, device=picture.device)[None]
    return 1 - strength * (x * x + y * y) / 2


def blur(picture: Tensor, deviation: Tensor) -> Tensor:
    """Gaussian blur with a deviation (B, 1, 1, 1) in pixels of its own for every image."""
    batch, channels, height, width = picture.shape
    offsets = torch.arange(-2, 3, device=picture.device, dtype=picture.dtype)
    kernel = torch.exp(-0.5 * (offsets / deviation.reshape(-1, 1).clamp(min=0.1)) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)
    stacked = F.pad(picture.reshape(1, -1, height, width), (2, 2, 2, 2), mode='replicate')
    stacked = F.conv2d(stacked, kernel[:, None, :, None], groups=batch * channels)
    stacked = F.conv2d(stacked, kernel[:, None, None, :], groups=batch * channels)
    return stacked.reshape(batch, channels, height, width)


def noise(picture: Tensor, deviation: Tensor, generator: Generator) -> Tensor:
    """Noise of a developed picture, (B, 3, H, W): half common to the channels, more in the dark.

    deviation: (B, 1, 1, 1) in mid grey, of a range of 1.
    """
    batch, channels, height, width = picture.shape
    white = torch.randn(batch, channels + 1, height, width, generator=generator)
    white = white.to(picture.device)
    mixed = 0.5 * white[:, :channels] + 0.85 * white[:, channels:]
    return mixed * deviation * (1.4 - 0.8 * picture)
