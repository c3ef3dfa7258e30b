"""Latent diffusion as Stable Diffusion does it: autoencoder, denoiser, scheduler, empty prompt.

The classes are diffusers' own, so that public weights fit as they are; here is what the latent
depth methods do with them. Depth is a picture of three equal channels to the autoencoder, and what
it says is the mean of three (Ke et al. 2024, Marigold, Section 3.2).
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import MetricDepthError
from .fourier_enhancement import FourierEnhancement, after

# Bounds the memory of sampling: so many pixels of samples are decoded at a time.
PIXELS_PER_PASS = 2**21


class LatentError(MetricDepthError):
    """A latent network that cannot be, or a folder that does not hold one."""


class MissingLibraryError(LatentError):
    """diffusers is not installed."""


@dataclass(frozen=True)
class LatentConfig:
    """Sizes of a latent network, in diffusers' own words.

    unet, vae, scheduler: what the config.json of UNet2DConditionModel, of AutoencoderKL and of the
        scheduler say; what they leave out has diffusers' defaults.
    prompt: tokens and channels of the embedding of the empty prompt.
    """

    unet: Mapping[str, Any]
    vae: Mapping[str, Any]
    scheduler: Mapping[str, Any]
    prompt: tuple[int, int]

    @classmethod
    def stable_diffusion_2(cls, in_channels: int = 8) -> LatentConfig:
        """Stable Diffusion 2 with a first convolution of `in_channels`, as Marigold has it."""
        across, plain = 'CrossAttnDownBlock2D', 'DownBlock2D'
        return cls(
            unet={
                'sample_size': 96,
                'in_channels': in_channels,
                'out_channels': 4,
                'down_block_types': (across, across, across, plain),
                'up_block_types': ('UpBlock2D', *['CrossAttnUpBlock2D'] * 3),
                'block_out_channels': (320, 640, 1280, 1280),
                'layers_per_block': 2,
                'attention_head_dim': (5, 10, 20, 20),
                'cross_attention_dim': 1024,
                'use_linear_projection': True,
            },
            vae={
                'sample_size': 768,
                'down_block_types': ('DownEncoderBlock2D',) * 4,
                'up_block_types': ('UpDecoderBlock2D',) * 4,
                'block_out_channels': (128, 256, 512, 512),
                'layers_per_block': 2,
                'latent_channels': 4,
                'scaling_factor': 0.18215,
            },
            scheduler=_SCHEDULER,
            prompt=(2, 1024),
        )

    @classmethod
    def small(cls, in_channels: int = 8) -> LatentConfig:
        """A network that CPU cores can train: latents of a quarter of the image's size."""
        return cls._of_widths((16, 32, 48), (48, 96, 128), 8, in_channels)

    @classmethod
    def tiny(cls, in_channels: int = 8) -> LatentConfig:
        """`small`, shrunk to where a test can afford it."""
        return cls._of_widths((8, 8, 16), (8, 16), 4, in_channels)

    @classmethod
    def _of_widths(
        cls, vae: tuple[int, ...], unet: tuple[int, ...], groups: int, in_channels: int
    ) -> LatentConfig:
        plain = len(unet) - 1
        return cls(
            unet={
                'sample_size': 32,
                'in_channels': in_channels,
                'out_channels': 4,
                'down_block_types': ('DownBlock2D',) * plain + ('CrossAttnDownBlock2D',),
                'up_block_types': ('CrossAttnUpBlock2D',) + ('UpBlock2D',) * plain,
                'block_out_channels': unet,
                'layers_per_block': 1,
                'norm_num_groups': groups,
                'attention_head_dim': 4,
                'cross_attention_dim': 16,
                'use_linear_projection': True,
            },
            vae={
                'sample_size': 128,
                'down_block_types': ('DownEncoderBlock2D',) * len(vae),
                'up_block_types': ('UpDecoderBlock2D',) * len(vae),
                'block_out_channels': vae,
                'layers_per_block': 1,
                'latent_channels': 4,
                'norm_num_groups': groups,
                'scaling_factor': 1.0,
                'mid_block_add_attention': False,
            },
            # from the noisiest time down, so that few steps begin where noise is all there is
            scheduler={**_SCHEDULER, 'timestep_spacing': 'trailing'},
            prompt=(2, 16),
        )


_SCHEDULER: dict[str, Any] = {
    '_class_name': 'DDIMScheduler',
    'num_train_timesteps': 1000,
    'beta_start': 0.00085,
    'beta_end': 0.012,
    'beta_schedule': 'scaled_linear',
    'prediction_type': 'v_prediction',
    'clip_sample': False,
    'set_alpha_to_one': False,
    'steps_offset': 1,
}


class LatentNetwork(nn.Module):
    """Autoencoder and denoiser with the schedule they were trained for.

    enhancement: after the denoiser's middle block, None where there is none; see `enhance`.

    Args:
        config: sizes; the weights are random.

    Raises:
        LatentError: diffusers is not installed, or knows no network of such sizes.
    """

    empty_prompt: Tensor
    enhancement: FourierEnhancement | None

    def __init__(self, config: LatentConfig) -> None:
        super().__init__()
        diffusers = import_diffusers()
        self.config = config
        try:
            self.unet = diffusers.UNet2DConditionModel.from_config(dict(config.unet))
            self.vae = diffusers.AutoencoderKL.from_config(dict(config.vae))
        except (TypeError, ValueError) as error:
            raise LatentError(f'no latent network has these sizes: {error}') from None
        self.enhancement = None
        self.scheduler = make_scheduler(config.scheduler)
        self.register_buffer('empty_prompt', torch.zeros(1, *config.prompt))

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return next(self.unet.parameters()).dtype

    @property
    def stride(self) -> int:
        """Pixels of the image to one of the latents."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def num_train_steps(self) -> int:
        """Times that the schedule has."""
        return self.scheduler.config.num_train_timesteps

    def encode(self, image: Tensor) -> Tensor:
        """(B, 3, h, w) in [-1, 1] -> (B, C, h/stride, w/stride) latents, the most likely ones."""
        latents = self.vae.encode(image.to(self.dtype)).latent_dist.mode()
        return latents * self.vae.config.scaling_factor

    def encode_depth(self, code: Tensor) -> Tensor:
        """(B, h, w) codes in [-1, 1] -> latents of them."""
        return self.encode(code[:, None].expand(-1, 3, -1, -1))

    def decode(self, latents: Tensor) -> Tensor:
        """Latents -> (B, 3, h, w), about [-1, 1]."""
        return self.vae.decode(latents / self.vae.config.scaling_factor, return_dict=False)[0]

    def decode_depth(self, latents: Tensor) -> Tensor:
        """Latents -> (B, h, w) codes clipped to [-1, 1], in float32."""
        return self.decode(latents).float().mean(dim=1).clamp(-1, 1)

    def predict(
        self, noisy: Tensor, t: Tensor, condition: Tensor, *, unet: nn.Module | None = None
    ) -> Tensor:
        """What the denoiser says of noisy latents (B, C, ...): what `target` is of true ones.

        Args:
            t: (B,) or scalar times. condition: (B, D, ...) latents that stand before the noisy.
            unet: another denoiser of the same sizes, to be asked instead.
        """
        options: dict[str, Any] = {}
        if self.unet.config.class_embed_type == 'projection':
            options['class_labels'] = self._depth_task(noisy)
        prompt = self.empty_prompt.to(noisy.dtype).expand(len(noisy), -1, -1)
        joined = torch.cat([condition, noisy], dim=1)
        unet = self.unet if unet is None else unet
        with contextlib.ExitStack() as stack:
            if self.enhancement is not None:
                stack.enter_context(after(unet.mid_block, self.enhancement))
            return unet(joined, t, prompt, return_dict=False, **options)[0]

    def enhance(self) -> None:
        """Put a new FourierEnhancement, as yet the identity, after the denoiser's middle block."""
        weight = self.unet.conv_in.weight
        module = FourierEnhancement(self.unet.config.block_out_channels[-1])
        self.enhancement = module.to(weight.device, weight.dtype)

    def sample(
        self, condition: Tensor, noise: Tensor, num_steps: int, generator: torch.Generator
    ) -> Tensor:
        """Carry noise to latents, as the scheduler does it.

        Args:
            condition, noise: (B, D, ...) and (B, C, ...).
            num_steps: how often the denoiser is asked, at most num_train_steps.
            generator: of what noise a scheduler adds on its way; DDIM adds none.
        """
        scheduler = make_scheduler(self.scheduler.config)  # it keeps state; each call its own
        scheduler.set_timesteps(num_steps, device=noise.device)
        latents = noise * scheduler.init_noise_sigma
        for t in scheduler.timesteps:
            output = self.predict(latents, t, condition)
            latents = scheduler.step(output, t, latents, generator=generator).prev_sample
        return latents

    def sample_depth(
        self, condition: Tensor, num_samples: int, num_steps: int, generator: torch.Generator
    ) -> Tensor:
        """(S, h, w) float32 codes in [-1, 1]: depth that is sampled beside `condition`.

        Args:
            condition: (1, D, ...) latents, of one image. num_steps: see sample.
        """
        # 1. All noise, in one draw.
        shape = (num_samples, self.vae.config.latent_channels, *condition.shape[-2:])
        noise = torch.randn(
            shape, generator=generator, device=generator.device, dtype=condition.dtype
        ).to(condition.device)

        # 2. Denoise and decode, as many samples at a time as memory should hold.
        pixels = math.prod(condition.shape[-2:]) * self.stride**2
        codes = []
        for part in noise.split(max(1, PIXELS_PER_PASS // pixels)):
            beside = condition.expand(len(part), -1, -1, -1)
            codes.append(self.decode_depth(self.sample(beside, part, num_steps, generator)))
        return torch.cat(codes)

    def add_noise(self, data: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Latents x_t at the times t (B,)."""
        return self.scheduler.add_noise(data, noise, t)

    def target(self, data: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What `predict` should say, by the scheduler's prediction_type."""
        kind = self.scheduler.config.prediction_type
        if kind == 'v_prediction':
            alphas = self.scheduler.alphas_cumprod.to(data.device)[t].to(data.dtype)
            alphas = alphas[:, None, None, None]
            return alphas.sqrt() * noise - (1 - alphas).sqrt() * data
        return noise if kind == 'epsilon' else data

    def original(self, output: Tensor, noisy: Tensor, t: Tensor) -> Tensor:
        """The clean latents that `predict`'s output means for noisy ones at the times t (B,)."""
        kind = self.scheduler.config.prediction_type
        if kind == 'sample':
            return output
        alphas = self.scheduler.alphas_cumprod.to(noisy.device)[t].to(noisy.dtype)
        alphas = alphas[:, None, None, None]
        if kind == 'v_prediction':
            return alphas.sqrt() * noisy - (1 - alphas).sqrt() * output
        return (noisy - (1 - alphas).sqrt() * output) / alphas.sqrt()

    def check_channels(self, in_channels: int, method: str) -> None:
        """Raise LatentError unless the denoiser takes so many channels."""
        found = self.unet.config.in_channels
        if found != in_channels:
            raise LatentError(
                f'unet takes {found} channels, expected {in_channels} for {method}: load a '
                f'checkpoint of that method, or widen a Stable Diffusion of 4 with widen()'
            )

    def _depth_task(self, noisy: Tensor) -> Tensor:
        """Lotus's task embedding (He et al. 2024): its denoiser also learned to repaint images."""
        task = noisy.new_tensor([[1.0, 0.0]])
        return torch.cat([task.sin(), task.cos()], dim=-1).expand(len(noisy), -1)


def widen(network: LatentNetwork, in_channels: int) -> None:
    """Widen the denoiser's first convolution to a multiple of the channels it has, in place.

    Weights are repeated and divided by how often, so that activations keep their size (Ke et al.
    2024, Marigold, Section 3.2).

    Raises:
        LatentError: `in_channels` is not a multiple.
    """
    old = network.unet.conv_in
    copies, rest = divmod(in_channels, old.in_channels)
    if rest or not copies:
        raise LatentError(
            f'unet takes {old.in_channels} channels, which cannot be widened to {in_channels}: '
            f'expected a multiple'
        )
    with torch.no_grad():
        first_convolution(network, old.weight.repeat(1, copies, 1, 1) / copies)


def first_convolution(network: LatentNetwork, weight: Tensor) -> None:
    """Give the denoiser a first convolution of other input channels, in place; its bias stays.

    Args:
        weight: (out, in, 3, 3) of it.
    """
    old = network.unet.conv_in
    in_channels = weight.shape[1]
    new = nn.Conv2d(
        in_channels, old.out_channels, old.kernel_size, old.stride, old.padding,
        device=old.weight.device, dtype=old.weight.dtype,
    )  # fmt: skip
    with torch.no_grad():
        new.weight.copy_(weight)
        new.bias.copy_(old.bias)
    network.unet.conv_in = new
    network.unet.register_to_config(in_channels=in_channels)
    unet = {**network.config.unet, 'in_channels': in_channels}
    sizes = network.config
    network.config = LatentConfig(unet, sizes.vae, sizes.scheduler, sizes.prompt)


def multi_resolution_noise(
    shape: torch.Size,
    strength: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Standard normal noise that is coarse as well as fine, on the generator's device.

    Source: Ke et al. 2024, Marigold, Section 3.3: noise of ever halved size, drawn up and added
    with weight strength**i, then brought back to unit variance.

    Args:
        shape: (B, C, h, w). strength: (B,) 0 for plain noise, to below 1.
    """
    device = generator.device
    weight = strength.to(device)[:, None, None, None]
    noise = torch.randn(shape, generator=generator, device=device)
    h, w = shape[-2:]
    level = 1
    while min(h, w) > 1:
        h, w = max(1, h // 2), max(1, w // 2)
        coarse = torch.randn((*shape[:2], h, w), generator=generator, device=device)
        noise = noise + weight**level * F.interpolate(coarse, shape[-2:], mode='bilinear')
        level += 1
    plain = weight == 0
    return torch.where(plain, noise, noise / noise.std(dim=(1, 2, 3), keepdim=True))


def make_scheduler(config: Mapping[str, Any]) -> Any:
    """The sampler that a scheduler's config.json asks for: LCM where it says so, else DDIM.

    What the config says of the noise is kept: any scheduler of Stable Diffusion will do.
    """
    diffusers = import_diffusers()
    name = 'LCMScheduler' if config.get('_class_name') == 'LCMScheduler' else 'DDIMScheduler'
    kind = getattr(diffusers, name)
    known = kind._get_init_keys(kind)
    return kind.from_config({k: v for k, v in config.items() if k in known})


@functools.cache
def import_diffusers() -> Any:
    """The library.

    Raises:
        MissingLibraryError: it is not installed.
    """
    try:
        import diffusers
    except ImportError:
        raise MissingLibraryError(
            "latent methods need diffusers: pip install 'metric_depth_ros[models]'"
        ) from None
    return diffusers
