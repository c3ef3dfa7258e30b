"""The coarse depth that a refiner learns to refine: a model's, or the truth made coarse.

A model of the size of Depth Anything looks at every batch as it was augmented, so that what it
says is what the refiner will get. Where there is no such model, the truth with blurred edges and
an uneven scale stands in for one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..precision import AUTO, PRECISIONS, computing
from ..types import CoarseDepth, Conditioning
from .batch import Batch
from .fields import RecipeError

_SKY_M = 100.0  # what a coarse model says of the sky: very far
_COARSEST = (3, 4)  # rows and columns of the distortion before it is drawn up to the image


@dataclass(frozen=True)
class BlurredTruth:
    """Metric depth with its edges blurred and its scale uneven.

    blur: standard deviation of the Gaussian that blurs the logarithm of depth, pixels.
    distortion: standard deviation of the logarithm of a smooth factor on depth.
    """

    blur: float
    distortion: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.blur <= 100:
            raise RecipeError(f'coarse.blur is {self.blur}, expected above 0, at most 100 pixels')
        if not 0 <= self.distortion <= 2:
            raise RecipeError(f'coarse.distortion is {self.distortion}, expected 0 to 2')

    def describe(self) -> str:
        """What it is, in a few words."""
        return f'the truth, blurred by {self.blur:g} pixels and distorted by {self.distortion:.0%}'


@dataclass(frozen=True)
class CoarseModel:
    """What a model says.

    model: as of `metric-depth predict --coarse`. scale, precision: as of its --scale, --precision.
    """

    model: str
    scale: float | None = None
    precision: str = AUTO

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            expected = ', '.join(PRECISIONS)
            raise RecipeError(
                f'coarse.precision is {self.precision!r}, expected one of {expected}'
            )

    def describe(self) -> str:
        """What it is, in a few words."""
        return f'of {self.model}'


CoarseSettings = BlurredTruth | CoarseModel

# Batch and a generator on the CPU -> coarse depth (B, h, w) of that batch, without gradient.
MakeCoarse = Callable[[Batch, torch.Generator], CoarseDepth]


def coarse_settings(raw: object, where: str) -> CoarseSettings:
    """The settings that a mapping says, as YAML gives it.

    Raises:
        RecipeError: a field is missing, unknown, of another type or senseless.
    """
    from .fields import build

    settings: CoarseSettings = build(
        CoarseModel if isinstance(raw, dict) and 'model' in raw else BlurredTruth, raw, where
    )
    return settings


def make_coarse(settings: CoarseSettings | None, device: torch.device) -> MakeCoarse | None:
    """What says the coarse depth of a batch; None where the recipe has none.

    Raises:
        MetricDepthError: the model cannot be loaded.
    """
    if settings is None:
        return None
    if isinstance(settings, BlurredTruth):
        return lambda batch, generator: blurred_truth(batch, settings, generator)
    from ..predictor import load_coarse

    predictor = load_coarse(
        settings.model, device=device, scale=settings.scale, precision=settings.precision
    )
    method: Any = predictor.method
    disparity = bool(getattr(method, 'disparity', False))

    def say(batch: Batch, generator: torch.Generator) -> CoarseDepth:
        seed = int(torch.randint(2**31, (), generator=generator))
        own = torch.Generator(device).manual_seed(seed)
        # Not Predictor.draw: one draw an image, and other noise for each, which is augmentation.
        with torch.inference_mode(), computing(method, predictor.dtype, device):
            values = [
                method.draw(Conditioning(image, rays, inside), 1, own)[0]
                for image, rays, inside in zip(batch.image, batch.rays, batch.inside, strict=True)
            ]
        # a copy outside of inference mode: a loss may need it for its gradient
        said = torch.stack(values).float().clone()
        return CoarseDepth(said, predictor.metric, disparity, model=predictor.name)

    return say


@torch.no_grad()
def blurred_truth(batch: Batch, settings: BlurredTruth, generator: torch.Generator) -> CoarseDepth:
    """Coarse depth (B, h, w) of the batch; NaN outside and where no truth is near.

    Args:
        generator: on the CPU, of the distortion.
    """
    depth = batch.ray_distance * batch.rays[:, 2]
    depth = torch.where(batch.ray_distance.isposinf(), _SKY_M, depth)
    known = (batch.valid | batch.ray_distance.isposinf()) & (depth > 0)
    logarithm = torch.where(known, depth, 1.0).log()
    weight = _blurred(known.float(), settings.blur)
    smooth = _blurred(logarithm * known, settings.blur) / weight.clamp(min=1e-6)
    noise = torch.randn((len(depth), 1, *_COARSEST), generator=generator).to(depth.device)
    factor = F.interpolate(noise, depth.shape[-2:], mode='bicubic')[:, 0] * settings.distortion
    values = (smooth + factor).exp()
    return CoarseDepth(torch.where(batch.inside & (weight > 1e-3), values, torch.nan))


def _blurred(values: Tensor, sigma: float) -> Tensor:
    """(B, h, w) after a Gaussian of `sigma` pixels; 0 beyond the border."""
    reach = max(1, round(3 * sigma))
    offsets = torch.arange(-reach, reach + 1, device=values.device)
    kernel = torch.exp(-0.5 * (offsets / sigma).square())
    kernel = (kernel / kernel.sum()).to(values.dtype)
    rows = F.conv2d(values[:, None], kernel[None, None, None], padding=(0, reach))
    return F.conv2d(rows, kernel[None, None, :, None], padding=(reach, 0))[:, 0]
