"""BetterDepth: a diffusion model that adds the details a coarse depth lacks.

Zhang et al., BetterDepth: Plug-and-Play Diffusion Refiner for Zero-Shot Monocular Depth
Estimation, NeurIPS 2024. A denoiser as Marigold's (Ke et al. 2024) sees the latents of the coarse
depth between those of the image and the noisy ones. It learns to stay with the coarse depth where
that is right (see training/objectives/betterdepth.py), so any other coarse model can take its
place afterwards.

The paper is affine-invariant. Here the range that normalised the coarse depth also brings the
samples back, so that they are metres wherever the coarse depth is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..errors import MetricDepthError
from ..nn.latent import (
    LatentConfig,
    LatentNetwork,
    first_convolution,
    make_scheduler,
    widen,
)
from ..nn.latent_method import LatentMethodConfig, checked_steps
from ..types import CoarseDepth, Conditioning

# The shares of the pixels below the two ends of the range, as Marigold has them.
PERCENTILES = (0.02, 0.98)
_SMALLEST_RANGE = 1e-6  # a wall seen head on has none
_QUANTITIES = {1: 'depth', 0: 'the logarithm of depth', -1: 'disparity'}


@dataclass(frozen=True)
class BetterDepthConfig(LatentMethodConfig):
    """Every choice of the method and of its objective. The defaults are the paper's.

    latent: the network; in a checkpoint it lies in the public layout beside this.
    conditioned: show the denoiser the coarse depth; without, Table 5's #1.
    pre_align: fit the coarse depth to the truth in training (Eq. 3); without, Table 5's #2.
    patch_mask: learn only where both are alike (Eq. 4-6); without, Table 5's #3.
    patch, tolerance: w, pixels, and eta, per pixel in the range [-1, 1].
    power: of depth, what is refined: 1 for depth, -1 for disparity, as relative models say it, and
        0 for the logarithm of depth, whose error is the same relative error everywhere.
    near, far: metres along z; metric depth is clipped to them.
    beyond: metres along z from which a sample counts as infinitely far.
    mean_ensemble: predict the mean of the samples (appendix E) rather than their median.
    tiled: encode and decode large images tile by tile, for less memory.
    num_steps, num_samples: of the sampler and of draws, unless the caller says otherwise.
    working_pixels: area of the images the network is made for, pixels.
    """

    latent: LatentConfig = field(default_factory=lambda: LatentConfig.stable_diffusion_2(12))
    conditioned: bool = True
    pre_align: bool = True
    patch_mask: bool = True
    patch: int = 8
    tolerance: float = 0.1
    power: int = 1
    near: float = 0.1
    far: float = 100.0
    beyond: float = 80.0
    mean_ensemble: bool = False
    tiled: bool = False
    num_steps: int = 50
    num_samples: int = 10
    working_pixels: int = 768 * 576

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect('power', self.power in _QUANTITIES, '-1, 0, 1')
        self.expect('patch', self.patch >= 1, '1 or more')
        self.expect('tolerance', self.tolerance > 0, 'above 0')
        self.expect('near', 0 < self.near < self.far, f'above 0, below far {self.far}')
        self.expect('far', self.far < math.inf, 'a finite number')

    @classmethod
    def paper(cls) -> BetterDepthConfig:
        """Stable Diffusion 2, its first convolution widened to 12 channels."""
        return cls()

    @classmethod
    def small(cls) -> BetterDepthConfig:
        """A network that CPU cores train, beginning with metricgold-small."""
        return cls(
            latent=LatentConfig.small(12),
            tolerance=0.3,  # a blur of some pixels is much next to patches of 8
            power=0,
            num_steps=2,
            num_samples=4,
            working_pixels=128 * 96,
        )

    @classmethod
    def tiny(cls) -> BetterDepthConfig:
        """`small`, shrunk to where a test can afford it."""
        return cls(
            latent=LatentConfig.tiny(12),
            power=0,
            num_steps=2,
            num_samples=2,
            working_pixels=48 * 32,
        )


@dataclass(frozen=True)
class CodeRange:
    """Ends of the range that codes -1 and 1 stand for, (B, 1, 1) each."""

    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, values: Tensor, known: Tensor) -> CodeRange:
        """Between the PERCENTILES of the known values (B, h, w) of each image; NaN if none is."""
        rows = torch.where(known, values, torch.nan).flatten(1).float()
        low, high = (rows.nanquantile(share, dim=1)[:, None, None] for share in PERCENTILES)
        return cls(low, torch.maximum(high, low + _SMALLEST_RANGE))

    def encode(self, values: Tensor) -> Tensor:
        """Values (B, h, w) to codes, beyond [-1, 1] outside of the range."""
        return 2 * (values - self.low) / (self.high - self.low) - 1

    def decode(self, codes: Tensor) -> Tensor:
        """Codes to values, the inverse of encode."""
        return (codes + 1) / 2 * (self.high - self.low) + self.low


class BetterDepth(nn.Module):
    """BetterDepth as a DepthMethod.

    Args:
        config: says everything, sizes of the network included.
        latent: the network, of the sizes in config.latent; a random one if None.

    Raises:
        LatentError: the network is not one of image, coarse and noisy depth latents.
    """

    Config: ClassVar[type[BetterDepthConfig]] = BetterDepthConfig
    PRESETS: ClassVar[dict[str, Callable[[], BetterDepthConfig]]] = {
        'betterdepth': BetterDepthConfig.paper,
        'betterdepth-small': BetterDepthConfig.small,
    }
    SOURCE = 'Zhang et al. 2024, BetterDepth'
    takes_rays = False
    takes_targets = False
    takes_coarse = True
    needs_metric_coarse = True
    multiple_of = 8

    def __init__(self, config: BetterDepthConfig, latent: LatentNetwork | None = None) -> None:
        super().__init__()
        self.config = config
        self.latent = LatentNetwork(config.latent) if latent is None else latent
        self.latent.check_channels(_in_channels(self.latent, config), 'BetterDepth')
        self.working_pixels, self.num_samples = config.working_pixels, config.num_samples
        self.takes_mean = config.mean_ensemble
        self.metric = True
        self.latent.vae.requires_grad_(False)
        if config.tiled:
            self.latent.vae.enable_tiling()

    @classmethod
    def on(cls, latent: LatentNetwork, config: BetterDepthConfig) -> BetterDepth:
        """BetterDepth with the weights of another latent network, as training begins.

        Args:
            latent: of Stable Diffusion, whose first convolution is repeated; of Marigold or
                MetricGold, which see an image already, so that what they make of the noisy latents
                is divided between those and the coarse ones; or of BetterDepth, as it is.
        """
        wanted = _in_channels(latent, config)
        found, depth = latent.unet.config.in_channels, latent.vae.config.latent_channels
        if found == 2 * depth and wanted == 3 * depth:
            image, noisy = latent.unet.conv_in.weight.split(depth, dim=1)
            first_convolution(latent, torch.cat([image, noisy / 2, noisy / 2], dim=1))
        elif found != wanted:
            widen(latent, wanted)
        # So that few steps begin with noise alone, as they are trained at their first time.
        scheduler = {**latent.config.scheduler, 'timestep_spacing': 'trailing'}
        latent.config = replace(latent.config, scheduler=scheduler)
        latent.scheduler = make_scheduler(scheduler)
        return cls(replace(config, latent=latent.config), latent)

    # ---- what is refined ---------------------------------------------------------------------

    def quantity(self, depth: Tensor) -> Tensor:
        """Metres along z in the quantity that is refined; any infinity as `far`.

        Metres, 1 / metres, or the logarithm of metres over `near`, by the config's power.
        """
        depth = depth.clamp(self.config.near, self.config.far)
        if self.config.power == 0:
            return (depth / self.config.near).log()
        return depth.reciprocal() if self.config.power < 0 else depth

    def metres(self, quantity: Tensor) -> Tensor:
        """Metres along z of that quantity; +inf from `beyond` on."""
        if self.config.power == 0:
            depth = self.config.near * quantity.exp()
        elif self.config.power < 0:
            depth = quantity.clamp(min=1 / self.config.far).reciprocal()
        else:
            depth = quantity
        depth = depth.clamp(self.config.near, self.config.far)
        return torch.where(depth >= self.config.beyond, torch.inf, depth)

    def coarse_quantity(self, coarse: CoarseDepth) -> Tensor:
        """The coarse depth in that quantity; a relative one is that up to scale and shift.

        Raises:
            MetricDepthError: a relative one of another quantity.
        """
        if coarse.metric:
            return self.quantity(coarse.values)
        found = -1 if coarse.disparity else 1
        if found != self.config.power:
            kind = 'disparity' if coarse.disparity else 'depth'
            raise MetricDepthError(
                f'the coarse depth is relative {kind}, but this BetterDepth refines '
                f'{_QUANTITIES[self.config.power]}: choose a metric coarse model, or give its '
                f'scale'
            )
        return coarse.values

    def fill(self, codes: Tensor, known: Tensor) -> Tensor:
        """Codes clipped to [-1, 1], those that are not known at the far end."""
        far = -1.0 if self.config.power < 0 else 1.0
        return torch.where(known, codes.clamp(-1, 1), far)

    def condition(self, image: Tensor, coarse_codes: Tensor) -> Tensor:
        """Latents that stand before the noisy ones, of image (B, 3, h, w), codes (B, h, w)."""
        latents = self.latent.encode(image)
        if not self.config.conditioned:
            return latents
        return torch.cat([latents, self.latent.encode_depth(coarse_codes)], dim=1)

    # ---- inference ---------------------------------------------------------------------------

    @torch.no_grad()
    def draw(
        self,
        conditioning: Conditioning,
        num_samples: int,
        generator: torch.Generator,
        *,
        num_steps: int | None = None,
        targets: Tensor | None = None,
    ) -> Tensor:
        """Samples of the depth; see DepthMethod.

        Args:
            conditioning: with metric coarse depth; h and w multiples of `multiple_of`.
            num_steps: of the sampler; None for the config's.
            targets: ignored, whole images only.
        Raises:
            MetricDepthError: no coarse depth, or a relative one; a size that does not fit, no
                sample, or as many steps as there are not.
        """
        coarse = _given(conditioning)
        if not coarse.metric:
            raise MetricDepthError(
                'the coarse depth of BetterDepth is relative, expected metres: choose a metric '
                'coarse model, or give its scale'
            )
        refined = self.refine(conditioning, num_samples, generator, num_steps=num_steps)
        return torch.where(conditioning.valid, self.metres(refined), torch.nan)

    @torch.no_grad()
    def refine(
        self,
        conditioning: Conditioning,
        num_samples: int,
        generator: torch.Generator,
        *,
        num_steps: int | None = None,
    ) -> Tensor:
        """(S, h, w) float32 samples in the coarse depth's own quantity, metric or relative.

        No alignment: the coarse depth's own percentiles are the range (Section 3.4). What the
        network does not get to see of the coarse depth, because they cut it off or because the
        autoencoder loses it, is given back where a sample agrees with what it does see.
        NaN if there is no coarse depth at any pixel.

        Args, Raises: see draw; the coarse depth may be relative.
        """
        coarse = _given(conditioning)
        num_steps = checked_steps(self, conditioning, num_samples, num_steps)
        values = self.coarse_quantity(coarse)
        known = values.isfinite() & conditioning.valid
        if not known.any():
            return values.new_full((num_samples, *values.shape), torch.nan)
        span = CodeRange.of(values[None], known[None])
        whole = span.encode(values)
        coarse_codes = self.fill(whole, known)
        codes = self.sample_codes(
            conditioning.image, coarse_codes[0], num_samples, num_steps, generator
        )
        if self.config.conditioned:
            shown = self.latent.decode_depth(self.latent.encode_depth(coarse_codes))
            agrees = known & ((codes - shown).abs() <= self.config.tolerance)
            codes = torch.where(agrees, codes + whole - shown, codes)
        return span.decode(codes)

    @torch.no_grad()
    def sample_codes(
        self,
        image: Tensor,
        coarse_codes: Tensor,
        num_samples: int,
        num_steps: int,
        generator: torch.Generator,
    ) -> Tensor:
        """(S, h, w) float32 codes in [-1, 1] of image (3, h, w) and coarse codes (h, w)."""
        condition = self.condition(image[None], coarse_codes[None])
        return self.latent.sample_depth(condition, num_samples, num_steps, generator)


def _in_channels(latent: LatentNetwork, config: BetterDepthConfig) -> int:
    """Of the denoiser: latents of the image, of the coarse depth, and noisy ones."""
    return (3 if config.conditioned else 2) * latent.vae.config.latent_channels


def _given(conditioning: Conditioning) -> CoarseDepth:
    if conditioning.coarse is None:
        raise MetricDepthError(
            'BetterDepth refines a coarse depth, but there is none: give it a coarse model'
        )
    return conditioning.coarse
