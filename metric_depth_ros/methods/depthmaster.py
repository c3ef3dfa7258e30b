"""DepthMaster: a latent diffusion model tamed to say depth in one deterministic step.

Song et al., DepthMaster: Taming Diffusion Models for Monocular Depth Estimation, 2025. The
denoiser of a text-to-image model reads the latents of the image alone, at time 1, and says those
of the square root of disparity (Eq. 1 and 2). In the first stage of training its middle block is
aligned to a better encoder (III-B); in the second a Fourier module and losses on pixels bring the
details back (III-C to III-E).

What it says is known up to a scale and a shift for each image. Here both are those that fit the
square root of disparity of a metric coarse model best; the network does not see that model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..alignment import align_scale_shift, masked_median
from ..errors import MetricDepthError
from ..looks import looks
from ..nn.latent import LatentConfig, LatentNetwork, first_convolution, widen
from ..nn.latent_method import LatentMethodConfig
from ..nn.sampling import check_draw
from ..types import CoarseDepth, Conditioning

_FIT_ROUNDS = 5
# Of Cauchy's weights, in standard deviations: as good as least squares, nearly, where errors are
# normal (Holland and Welsch 1977).
_CAUCHY = 2.385
_NORMAL_SIGMA = 1.4826  # standard deviations of a normal distribution in its median deviation


@dataclass(frozen=True)
class DepthMasterConfig(LatentMethodConfig):
    """Every choice of the method and of its objective. The defaults are the paper's second stage.

    latent: the network; in a checkpoint it lies in the public layout beside this.
    power: the quantity that is coded is depth to this power: the square root of disparity; 1 is
        depth, -1 disparity (Table III).
    low, high: shares of the pixels whose quantity is below what is coded -1 and 1.
    near, far: metres along z that depth is clipped to before; the paper prints 80 m for streets.
    clip_sky: supervise infinitely far pixels at `far` instead of leaving them out.
    beyond: metres along z from which a prediction counts as infinitely far.
    fourier: whether the denoiser has the module of III-C.
    iterations: how often the denoiser is fed what it said ('Iterative' of Table II has 4).
    denoise: the denoising paradigm of Table II instead: noisy depth latents beside the image's.
    num_steps: of its sampler.
    latent_weight, alignment_weight: of Eq. 9, the first stage. pixel_weight, gradient_weight: of
        Eq. 10, the second; the paper calls the weights that are not 1 lambda.
    huber_delta: of Eq. 8; the paper does not print it. standard_huber: Huber's own loss instead.
    encoder: the frozen model that the middle block is aligned to in training: a checkpoint of
        ours, a hub id or a folder in the layout of transformers.
    encoder_width: channels of its features.
    num_samples: looks at the image that a prediction is made of, unless the caller says otherwise.
    working_pixels: area of the images the network is made for, pixels.
    tiled: encode and decode large images tile by tile, for less memory.
    """

    latent: LatentConfig = field(default_factory=lambda: LatentConfig.stable_diffusion_2(4))
    power: float = -0.5
    low: float = 0.02
    high: float = 0.98
    near: float = 0.1
    far: float = 80.0
    clip_sky: bool = True
    beyond: float = 80.0
    fourier: bool = True
    iterations: int = 1
    denoise: bool = False
    num_steps: int = 4
    latent_weight: float = 0.0
    alignment_weight: float = 0.0
    pixel_weight: float = 1.0
    gradient_weight: float = 0.001
    huber_delta: float = 0.1
    standard_huber: bool = False
    encoder: str = 'facebook/dinov2-large'
    encoder_width: int = 1024
    num_samples: int = 4
    working_pixels: int = 640 * 480
    tiled: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect('power', self.power != 0, 'anything but 0')
        self.expect('low', 0 <= self.low < self.high <= 1, 'from 0 on, below high')
        self.expect('near', 0 < self.near < self.far, 'above 0, below far')
        self.expect('iterations', self.iterations >= 1, 'at least 1')
        for name in ('latent', 'alignment', 'pixel', 'gradient'):
            self.expect(f'{name}_weight', getattr(self, f'{name}_weight') >= 0, '0 or more')
        in_pixels = self.pixel_weight + self.gradient_weight > 0
        self.expect('denoise', not (self.denoise and in_pixels), 'no losses on pixels beside it')
        self.expect('denoise', not (self.denoise and self.iterations > 1), 'iterations 1')

    @classmethod
    def paper(cls) -> DepthMasterConfig:
        """Stable Diffusion 2 with the Fourier module, as the second stage trains it."""
        return cls()

    @classmethod
    def small(cls) -> DepthMasterConfig:
        """A network that CPU cores train, aligned to the encoder of the small GRIN."""
        return cls(
            latent=LatentConfig.small(4),
            gradient_weight=3.0,
            encoder='grin-small',
            encoder_width=64,
            working_pixels=128 * 96,
        )

    @classmethod
    def tiny(cls) -> DepthMasterConfig:
        """`small`, shrunk to where a test can afford it."""
        return cls(
            latent=LatentConfig.tiny(4),
            gradient_weight=3.0,
            encoder='grin-small',
            encoder_width=64,
            num_samples=2,
            working_pixels=48 * 32,
        )


class DepthMaster(nn.Module):
    """DepthMaster as a DepthMethod.

    projector: the layers that carry features of the middle block to those of the encoder; only
        training has and needs them, see `on`.

    Args:
        config: says everything, sizes of the network included.
        latent: the network, of the sizes in config.latent; a random one if None.

    Raises:
        LatentError: the network takes other latents than those of the image.
    """

    Config: ClassVar[type[DepthMasterConfig]] = DepthMasterConfig
    PRESETS: ClassVar[dict[str, Callable[[], DepthMasterConfig]]] = {
        'depthmaster': DepthMasterConfig.paper,
        'depthmaster-small': DepthMasterConfig.small,
    }
    SOURCE = 'Song et al. 2025, DepthMaster'
    takes_rays = False
    takes_targets = False
    takes_coarse = True
    needs_metric_coarse = True
    learns_from_coarse = False
    multiple_of = 8
    TRAINING_ONLY = ('projector',)

    def __init__(self, config: DepthMasterConfig, latent: LatentNetwork | None = None) -> None:
        super().__init__()
        self.config = config
        self.latent = LatentNetwork(config.latent) if latent is None else latent
        self.latent.check_channels(_in_channels(self.latent, config), 'DepthMaster')
        if config.fourier:
            self.latent.enhance()
        self.working_pixels, self.num_samples = config.working_pixels, config.num_samples
        self.projector: nn.Module | None = None
        self.metric = True
        self.latent.vae.requires_grad_(False)
        if config.tiled:
            self.latent.vae.enable_tiling()

    @classmethod
    def on(cls, latent: LatentNetwork, config: DepthMasterConfig) -> DepthMaster:
        """DepthMaster with the weights of another latent network, as training begins.

        Args:
            latent: of Stable Diffusion 2 or of DepthMaster, as it is; of Marigold or MetricGold:
                from their first convolution the part is taken that reads the image.
        """
        wanted, found = _in_channels(latent, config), latent.unet.config.in_channels
        if found == 2 * wanted:
            first_convolution(latent, latent.unet.conv_in.weight.detach()[:, :wanted])
        elif found != wanted:
            widen(latent, wanted)
        method = cls(DepthMasterConfig(**{**vars(config), 'latent': latent.config}), latent)
        if config.alignment_weight:
            width = latent.unet.config.block_out_channels[-1]
            method.projector = projector(width, config.encoder_width)
        return method

    # ---- codes -------------------------------------------------------------------------------

    def to_code(self, depth: Tensor, known: Tensor) -> Tensor:
        """Depth to codes in [-1, 1], by the percentiles of each image.

        Args:
            depth: (B, h, w) metres along z. known: (B, h, w) bool, of which the percentiles are.
        """
        config = self.config
        quantity = depth.float().clamp(config.near, config.far) ** config.power
        levels = quantity.new_tensor((config.low, config.high))
        among = quantity.where(known, torch.nan).flatten(1)
        low, high = among.nanquantile(levels, dim=1).nan_to_num()[..., None, None]
        return (2 * (quantity - low) / (high - low).clamp(min=1e-6) - 1).clamp(-1, 1)

    def to_metres(self, code: Tensor, coarse: CoarseDepth) -> Tensor:
        """(h, w) metres along z of codes (h, w), with the scale and shift of the coarse depth.

        +inf from `beyond` on; NaN all over where the coarse depth says nothing.

        Raises:
            MetricDepthError: the coarse depth is not metric.
        """
        if not coarse.metric:
            raise MetricDepthError(
                'the coarse depth is relative, expected metres: DepthMaster finds none by itself'
            )
        config = self.config
        known = torch.isfinite(coarse.values) & (coarse.values > 0)
        there = torch.where(known, coarse.values, 1.0).clamp(config.near, config.far)
        wanted = torch.where(known, there**config.power, torch.nan)
        quantity = fit(code.flatten(), wanted.flatten()).view_as(code)
        depth = (quantity.clamp(min=0) ** (1 / config.power)).clamp(min=config.near)
        return torch.where(depth >= config.beyond, torch.inf, depth)

    @torch.no_grad()
    def reconstruct(self, code: Tensor) -> Tensor:
        """(B, h, w) codes that the autoencoder leaves of codes (B, h, w): 'I2L' of Table II.

        No prediction can be better.
        """
        return self.latent.decode_depth(self.latent.encode_depth(code))

    # ---- the network -------------------------------------------------------------------------

    def step(self, image_latents: Tensor) -> Tensor:
        """Latents of the image (B, C, ...) to those of its depth: Eq. 2.

        The paper iterates on what the denoiser said alone, without the image beside it.
        """
        t = torch.ones((), dtype=torch.long, device=image_latents.device)
        latents = image_latents
        for _ in range(self.config.iterations):
            latents = self.latent.predict(latents, t, latents[:, :0])
        return latents

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
        """Depth of several looks at the image, the plain one first; see DepthMethod and `looks`.

        Args:
            conditioning: with a metric coarse depth; h and w multiples of `multiple_of`.
            generator: chooses the looks; makes the noise if the config denoises.
            num_steps: None, or 1, the one step there is; if the config denoises, of the sampler.
            targets: ignored, whole images only.
        Raises:
            MetricDepthError: a size that does not fit, no coarse depth or one that is not metric,
                no sample, or more than the one step.
        """
        coarse = self._check_draw(conditioning, num_samples, num_steps)
        samples = []
        if self.config.denoise:
            steps = num_steps or self.config.num_steps
            for code in self._denoised(conditioning.image, num_samples, steps, generator):
                samples.append(self.to_metres(code, coarse))
        else:
            around = looks(conditioning, num_samples, generator, multiple_of=self.multiple_of)
            for look in around:
                code = self.code(look.conditioning.image)
                guide = look.conditioning.coarse or coarse
                samples.append(look.back(self.to_metres(code, guide)))
        return torch.where(conditioning.valid, torch.stack(samples), torch.nan)

    def code(self, image: Tensor) -> Tensor:
        """(h, w) float32 codes in [-1, 1] of the image (3, h, w) in [-1, 1]."""
        return self.latent.decode_depth(self.step(self.latent.encode(image[None])))[0]

    def _denoised(
        self, image: Tensor, num_samples: int, num_steps: int, generator: torch.Generator
    ) -> Tensor:
        """(S, h, w) codes of the denoising paradigm."""
        condition = self.latent.encode(image[None])
        return self.latent.sample_depth(condition, num_samples, num_steps, generator)

    def _check_draw(
        self, conditioning: Conditioning, num_samples: int, num_steps: int | None
    ) -> CoarseDepth:
        check_draw(conditioning, num_samples, 1, multiple_of=self.multiple_of)
        most = self.latent.num_train_steps if self.config.denoise else 1
        if num_steps is not None and not 1 <= num_steps <= most:
            raise MetricDepthError(
                f'num_steps is {num_steps}, expected 1 to {most} of this DepthMaster: leave it out'
            )
        if conditioning.coarse is None:
            raise MetricDepthError(
                'DepthMaster takes its metres from a coarse depth: give it a coarse model'
            )
        return conditioning.coarse


def projector(width: int, encoder_width: int) -> nn.Module:
    """The MLP of III-B on features (..., width), three layers deep as REPA's (Yu et al. 2024)."""
    return nn.Sequential(
        nn.Linear(width, encoder_width),
        nn.SiLU(),
        nn.Linear(encoder_width, encoder_width),
        nn.SiLU(),
        nn.Linear(encoder_width, encoder_width),
    )


def fit(code: Tensor, quantity: Tensor) -> Tensor:
    """Scale times code plus shift, robustly closest to `quantity`, in the code's dtype.

    Least squares, then again with Cauchy's weights, which the pixels lose that do not fit: those
    at edges, which a coarse model draws elsewhere, and things that it does not see at all.

    Args:
        code: (N,) in [-1, 1]. quantity: (N,) positive; NaN where there is none.
    """
    positive = code + 2  # what align_scale_shift takes; the shift makes up for it
    weight = torch.isfinite(quantity).float()
    fitted = align_scale_shift(positive, quantity, weight)
    for _ in range(_FIT_ROUNDS):
        error = (fitted - quantity).abs()
        sigma = _NORMAL_SIGMA * masked_median(error, torch.isfinite(error))
        relative = error / (_CAUCHY * sigma).clamp(min=1e-9).to(error.dtype)
        weight = (1 / (1 + relative.square())).nan_to_num()
        fitted = align_scale_shift(positive, quantity, weight)
    return fitted


def _in_channels(latent: LatentNetwork, config: DepthMasterConfig) -> int:
    return latent.vae.config.latent_channels * (2 if config.denoise else 1)
