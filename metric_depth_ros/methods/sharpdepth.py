"""SharpDepth: a coarse metric depth with the edges of a diffusion model's.

Pham et al., SharpDepth: Sharpening Metric Depth Predictions Using Diffusion Distillation, CVPR
2025. Where a coarse depth and the depth of a generative teacher differ, the latents of the coarse
one are drowned in noise (Eq. 4), and a denoiser makes them anew in one step. Depth is along z.

The teacher is the model itself with its gate open, noise alone and no coarse depth (but see
`teacher_time`): in training an exponential average of it (Table 3, H), at inference its own
weights, so that a checkpoint holds one denoiser. The frozen denoiser that the model begins as,
and that scores what it makes (Eq. 5), is part of training only.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..alignment import align_scale_shift
from ..errors import MetricDepthError
from ..looks import looks
from ..nn.latent import LatentConfig, LatentNetwork, widen
from ..nn.latent_method import LatentMethodConfig
from ..nn.sampling import check_draw
from ..types import Conditioning

# Codes from here on are above 0, as the fits want what they fit.
_CODE_OFFSET = 2.0
_SMALLEST = 1e-6


@dataclass(frozen=True)
class SharpDepthConfig(LatentMethodConfig):
    """Every choice of the method and of its objective. The defaults are the paper's.

    latent: the network; in a checkpoint it lies in the public layout beside this.
    log_depth: code the logarithm of depth rather than depth itself.
    beyond: metres along z from which a sample counts as infinitely far.
    pretraining: learn to be the denoiser that is distilled, from ground truth (Eq. 2), as Lotus
        once did; then there is neither gate nor coarse depth in the loss.
    gate: e of Eq. 4 everywhere in the place of the difference map: 1 for noise alone (Table 3, A),
        0 for the coarse latents alone (B).
    refinement_time: that the denoiser is told when it refines, as a share of the schedule: 1 is
        the last, the only one that Lotus knows; a denoiser of all times may be told one at which
        it keeps most of what it is given.
    teacher_time: share of the schedule at which the teacher begins. 1 is the paper's, noise alone;
        an earlier one begins with the coarse latents under the noise of that time, so that a
        teacher too weak to find the layout by itself differs from the coarse depth at edges.
    agreement: e below which a pixel takes part in the return to metres.
    sds_weight, reconstruction_weight: lambdas of Eq. 7; 0 for C and D of Table 3.
    distillation_times: of the noise in Eq. 5, as shares of the schedule; the paper prints none,
        these are DreamFusion's.
    teacher_decay: of the average that is the teacher in training; 1 for the pretrained one (G).
    num_steps: refinements, each with the one before as its teacher, unless the caller says
        otherwise.
    num_samples: looks at an image; the paper takes one, of which no spread can be had.
    working_pixels: area of the images the network is made for, pixels.
    """

    latent: LatentConfig = field(default_factory=LatentConfig.stable_diffusion_2)
    log_depth: bool = False
    beyond: float = math.inf
    pretraining: bool = False
    gate: float | None = None
    refinement_time: float = 1.0
    teacher_time: float = field(default=1.0, metadata={'later': True})
    agreement: float = 0.5
    sds_weight: float = 1.0
    reconstruction_weight: float = 0.3
    distillation_times: tuple[float, float] = (0.02, 0.98)
    teacher_decay: float = 0.999
    num_steps: int = 1
    num_samples: int = 4
    working_pixels: int = 768 * 576

    def __post_init__(self) -> None:
        super().__post_init__()
        low, high = self.distillation_times
        self.expect('distillation_times', 0 <= low < high <= 1, 'two growing shares of 0 to 1')
        self.expect_shares('gate', 'refinement_time', 'teacher_time', 'agreement', 'teacher_decay')

    @classmethod
    def paper(cls) -> SharpDepthConfig:
        """Lotus, which is Stable Diffusion 2 fine-tuned."""
        return cls()

    @classmethod
    def small(cls) -> SharpDepthConfig:
        """On a small network that denoises the logarithm of depth at all times."""
        return cls(
            latent=LatentConfig.small(),
            log_depth=True,
            beyond=80.0,
            refinement_time=0.1,
            teacher_time=0.2,
            distillation_times=(0.02, 0.2),
            teacher_decay=0.995,
            working_pixels=128 * 96,
        )

    @classmethod
    def tiny(cls) -> SharpDepthConfig:
        """The paper's, shrunk to where a test can afford it."""
        return cls(latent=LatentConfig.tiny(), num_samples=2, working_pixels=48 * 32)


@dataclass(frozen=True)
class Comparison:
    """A coarse depth beside a teacher's that was fitted to it (Section 4.1).

    quantity: (B, h, w) of the coarse depth, metres or their logarithm; the teacher's where there
        is none.
    difference: (B, h, w) e, from 0 to 1 in each image; 1 where there is no coarse depth.
    known: (B, h, w) bool, where there is.
    low, high: (B, 1, 1) quantities that the codes -1 and 1 stand for.
    """

    quantity: Tensor
    difference: Tensor
    known: Tensor
    low: Tensor
    high: Tensor

    @property
    def code(self) -> Tensor:
        """(B, h, w) of the quantity, in [-1, 1]."""
        unit = (self.quantity - self.low) / (self.high - self.low).clamp(min=_SMALLEST)
        return (2 * unit - 1).clamp(-1, 1)


class Distillation(nn.Module):
    """The denoisers that only training needs, of which no gradient is taken.

    prior: f_G of Eq. 5, as the model was before. teacher: G of the averaged weights, that the
    difference maps are of.
    """

    seen: Tensor

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.prior = copy.deepcopy(unet).requires_grad_(False)
        self.teacher = copy.deepcopy(unet).requires_grad_(False)
        self.register_buffer('seen', _sign(unet).clone())

    @torch.no_grad()
    def follow(self, unet: nn.Module, decay: float) -> None:
        """Move the teacher towards the model, once for each step that the model has taken.

        Called as often as a step has parts: whether there was a step since, the weights of the
        last layer tell.
        """
        if torch.equal(self.seen, _sign(unet)):
            return
        for average, value in zip(self.teacher.parameters(), unet.parameters(), strict=True):
            average.lerp_(value, 1 - decay)
        self.seen.copy_(_sign(unet))


class SharpDepth(nn.Module):
    """SharpDepth as a DepthMethod.

    Args:
        config: says everything, sizes of the network included.
        latent: the network, of the sizes in config.latent; a random one if None.

    Raises:
        LatentError: the network is not one of image and depth latents.
    """

    Config: ClassVar[type[SharpDepthConfig]] = SharpDepthConfig
    PRESETS: ClassVar[dict[str, Callable[[], SharpDepthConfig]]] = {
        'sharpdepth': SharpDepthConfig.paper,
        'sharpdepth-small': SharpDepthConfig.small,
    }
    SOURCE = 'Pham et al. 2025, SharpDepth'
    takes_rays = False
    takes_targets = False
    takes_coarse = True
    needs_metric_coarse = True
    multiple_of = 8
    TRAINING_ONLY = ('distillation',)  # not part of a checkpoint

    def __init__(self, config: SharpDepthConfig, latent: LatentNetwork | None = None) -> None:
        super().__init__()
        self.config = config
        self.latent = LatentNetwork(config.latent) if latent is None else latent
        self.latent.check_channels(2 * self.latent.vae.config.latent_channels, 'SharpDepth')
        self.latent.vae.requires_grad_(False)
        self.distillation: Distillation | None = None
        self.working_pixels, self.num_samples = config.working_pixels, config.num_samples
        self.metric = True

    @classmethod
    def on(cls, latent: LatentNetwork, config: SharpDepthConfig) -> SharpDepth:
        """SharpDepth as training begins, with the weights of a pretrained denoiser of depth.

        Args:
            latent: of Lotus, Marigold or MetricGold.
        """
        wanted = 2 * latent.vae.config.latent_channels
        if latent.unet.config.in_channels != wanted:
            widen(latent, wanted)
        method = cls(SharpDepthConfig(**{**vars(config), 'latent': latent.config}), latent)
        if not config.pretraining:
            method.distillation = Distillation(latent.unet)
        return method

    # ---- Section 4.1 -------------------------------------------------------------------------

    def compare(self, teacher: Tensor, coarse: Tensor) -> Comparison:
        """The difference map of a teacher's codes (B, h, w) and coarse depth, metres along z.

        The teacher is fitted to the coarse depth by least squares, scale and shift; the difference
        is divided by its largest.
        """
        quantity = self._quantity(coarse)
        known = torch.isfinite(quantity) & (quantity > 0)
        some = known.flatten(1).any(1)[:, None, None]
        aligned = torch.where(some, _fitted(teacher, quantity, known), teacher)
        quantity = torch.where(known, quantity, aligned)
        difference = (aligned - quantity).abs()
        difference = difference / _extreme(difference, torch.amax).clamp(min=_SMALLEST)
        counts = known | ~some
        nearer, farther = torch.minimum(aligned, quantity), torch.maximum(aligned, quantity)
        low = _extreme(nearer.where(counts, torch.inf), torch.amin)
        high = _extreme(farther.where(counts, -torch.inf), torch.amax)
        return Comparison(quantity, difference.where(known, 1.0), known, low, high)

    def gated(self, comparison: Comparison, noise: Tensor) -> Tensor:
        """(B, C, ...) latents of the coarse depth, noise where it is not to be trusted."""
        latents = self.latent.encode_depth(comparison.code)
        difference = comparison.difference
        if self.config.gate is not None:
            difference = torch.full_like(difference, self.config.gate)
        return gate(latents, difference, noise.to(latents.dtype))

    def teach(
        self, noise: Tensor, condition: Tensor, coarse: Tensor, *, unet: nn.Module | None = None
    ) -> Tensor:
        """(B, h, w) codes of the depth that a denoiser says with the gate open, in one step.

        Args:
            noise: (B, C, ...), all that is given at a `teacher_time` of 1. condition: latents of
                the image.
            coarse: (B, h, w) metres along z; an earlier time begins with its latents.
            unet: another denoiser than the model's.
        """
        time = self.config.teacher_time
        if time < 1:
            latents = self.latent.encode_depth(self.code_of(coarse, coarse > 0))
            t = self._time(time, latents)
            noise = self.latent.add_noise(latents, noise.to(latents.dtype), t)
        return self.latent.decode_depth(self._one_step(noise, condition, time, unet))

    def refine(self, gated: Tensor, condition: Tensor) -> Tensor:
        """Clean latents of depth of what `gated` makes."""
        return self._one_step(gated, condition, self.config.refinement_time, None)

    def _one_step(
        self, noisy: Tensor, condition: Tensor, time: float, unet: nn.Module | None
    ) -> Tensor:
        t = self._time(time, noisy)
        output = self.latent.predict(noisy, t, condition, unet=unet)
        return self.latent.original(output, noisy, t)

    def _time(self, share: float, like: Tensor) -> Tensor:
        """(B,) times of the schedule, for latents (B, C, ...)."""
        last = max(1, round(share * self.latent.num_train_steps)) - 1
        return torch.full((len(like),), last, device=like.device)

    def to_metres(self, code: Tensor, comparison: Comparison) -> Tensor:
        """(B, h, w) metres along z of codes, by least squares to the coarse depth (Section 5.1).

        Scale and shift are fitted where coarse and teacher agree, or if they nowhere do, where
        there is a coarse depth.
        """
        agree = comparison.known & (comparison.difference < self.config.agreement)
        few = agree.flatten(1).sum(1)[:, None, None] < 2
        quantity = _fitted(code, comparison.quantity, torch.where(few, comparison.known, agree))
        depth = quantity.exp() * _SMALLEST if self.config.log_depth else quantity
        depth = torch.where(depth > 0, depth, torch.nan)
        return torch.where(depth >= self.config.beyond, torch.inf, depth)

    def code_of(self, depth: Tensor, known: Tensor) -> Tensor:
        """(B, h, w) codes in [-1, 1] of known depth between its extremes; 1 where unknown."""
        quantity = self._quantity(depth)
        low = _extreme(quantity.where(known, torch.inf), torch.amin)
        high = _extreme(quantity.where(known, -torch.inf), torch.amax)
        unit = (quantity - low) / (high - low).clamp(min=_SMALLEST)
        return torch.where(known, 2 * unit - 1, 1.0)

    def _quantity(self, depth: Tensor) -> Tensor:
        """What codes are affine in, above 0; infinitely far is as far as there is."""
        farthest = _extreme(depth.where(depth.isfinite(), 0), torch.amax)
        depth = torch.where(depth.isposinf(), farthest, depth)
        return (depth / _SMALLEST).log() if self.config.log_depth else depth

    # ---- inference ---------------------------------------------------------------------------

    @torch.no_grad()
    def sharpen(self, image: Tensor, coarse: Tensor, noise: Tensor) -> Tensor:
        """(B, h, w) float32 sharpened depth, metres along z.

        Args:
            image: (B, 3, h, w) in [-1, 1]. coarse: (B, h, w) metres along z, NaN where unknown.
            noise: (1 + N, B, C, h / stride, w / stride), the teacher's and that of N refinements.
        """
        condition = self.latent.encode(image)
        noise = noise.to(condition)
        code = self.teach(noise[0], condition, coarse)
        for of_refinement in noise[1:]:
            comparison = self.compare(code, coarse)
            gated = self.gated(comparison, of_refinement)
            code = self.latent.decode_depth(self.refine(gated, condition))
        depth = self.to_metres(code, comparison)
        if self.config.beyond == math.inf:
            return torch.where(coarse.isposinf(), torch.inf, depth)
        return depth

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
        """Samples of the depth, one for each look; see DepthMethod and looks.

        Args:
            conditioning: h and w multiples of `multiple_of`, with a metric coarse depth.
            num_steps: refinements; None for the config's.
            targets: ignored, whole images only.
        Raises:
            MetricDepthError: a size that does not fit, no sample, no step, or no coarse depth in
                metres.
        """
        num_steps = self.config.num_steps if num_steps is None else num_steps
        check_draw(conditioning, num_samples, num_steps, multiple_of=self.multiple_of)
        _check_coarse(conditioning)
        samples = []
        for look in looks(conditioning, num_samples, generator, multiple_of=self.multiple_of):
            image, coarse = look.conditioning.image, look.conditioning.coarse
            assert coarse is not None
            noise = self.noise(image[None], num_steps, generator)
            values = coarse.values.where(look.conditioning.valid, torch.nan)
            samples.append(look.back(self.sharpen(image[None], values[None], noise)[0]))
        return torch.where(conditioning.valid, torch.stack(samples), torch.nan)

    def noise(self, image: Tensor, num_steps: int, generator: torch.Generator) -> Tensor:
        """Noise for `sharpen` of images (B, 3, h, w), on their device."""
        h, w = (side // self.latent.stride for side in image.shape[-2:])
        channels = self.latent.vae.config.latent_channels
        shape = (1 + num_steps, len(image), channels, h, w)
        noise = torch.randn(shape, generator=generator, device=generator.device)
        return noise.to(image.device)


def gate(latents: Tensor, difference: Tensor, noise: Tensor) -> Tensor:
    """Noise-aware gating, Eq. 4: latents (B, C, h', w') give way to noise where depths differ.

    Args:
        difference: (B, h, w) e in [0, 1]; its mean over the pixels of a latent counts.
    """
    size = (latents.shape[-2], latents.shape[-1])
    share = F.adaptive_avg_pool2d(difference[:, None], size).to(latents.dtype)
    return share * noise + (1 - share) * latents


def _fitted(code: Tensor, quantity: Tensor, counts: Tensor) -> Tensor:
    """Codes (B, h, w) by the scale and shift that fit the quantity best where it counts."""
    rows = ((code + _CODE_OFFSET).flatten(1), quantity.flatten(1), counts.flatten(1))
    return align_scale_shift(*rows).view_as(code)


def _extreme(values: Tensor, kind: Callable[..., Tensor]) -> Tensor:
    """(B, 1, 1) largest or smallest of (B, h, w)."""
    return kind(values, dim=(1, 2), keepdim=True)


def _sign(unet: nn.Module) -> Tensor:
    """A few weights that every step changes."""
    weight: Tensor = unet.conv_out.bias  # type: ignore[union-attr, assignment]
    return weight.detach()


def _check_coarse(conditioning: Conditioning) -> None:
    coarse = conditioning.coarse
    if coarse is None or not coarse.metric:
        found = 'no coarse depth' if coarse is None else 'a relative coarse depth'
        raise MetricDepthError(
            f'SharpDepth is given {found}, expected one in metres: choose a metric coarse model'
        )
