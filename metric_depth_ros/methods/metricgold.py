"""MetricGold: metric depth by latent diffusion of its logarithm.

Shah and Krishna, MetricGold: Leveraging Text-To-Image Latent Diffusion Models for Metric Depth
Estimation, 2024. A text-to-image model denoises the latents of a depth map beside those of the
image, as Marigold does (Ke et al. 2024); but the depth is metric, coded by its logarithm (Eq. 3),
so that rooms and streets share one range and nothing is aligned afterwards. Depth is along z.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..depth_codec import LogBase
from ..nn.latent import LatentConfig, LatentNetwork, widen
from ..nn.latent_method import LatentMethodConfig, checked_steps
from ..types import Conditioning


@dataclass(frozen=True)
class MetricGoldConfig(LatentMethodConfig):
    """Every choice of the method and of its objective. The defaults are the paper's.

    latent: the network; in a checkpoint it lies in the public layout beside this.
    near, far: d_min and d_max of Eq. 1-3, metres along z; the paper does not print them.
    log_code: code the logarithm of depth (Eq. 3) rather than depth itself (Eq. 2).
    beyond: metres along z from which a sample counts as infinitely far.
    clip_sky: supervise infinitely far pixels at `far` instead of leaving them out.
    multi_resolution: strength of Marigold's annealed multi-resolution noise, 0 for plain noise.
    train_vae: train the autoencoder beside the denoiser; the paper keeps that of Stable Diffusion.
    vae_share: share of the training steps that do.
    kl_weight: of the autoencoder's divergence from a normal distribution, per latent.
    tiled: encode and decode large images tile by tile, for less memory.
    num_steps, num_samples: of the sampler and of draws (Marigold's), unless the caller says
        otherwise.
    working_pixels: area of the images the network is made for, pixels.
    """

    latent: LatentConfig = field(default_factory=LatentConfig.stable_diffusion_2)
    near: float = 0.1
    far: float = 100.0
    log_code: bool = True
    beyond: float = 80.0
    clip_sky: bool = True
    multi_resolution: float = 0.9
    train_vae: bool = False
    vae_share: float = 1.0
    kl_weight: float = 1e-4
    tiled: bool = False
    num_steps: int = 50
    num_samples: int = 10
    working_pixels: int = 768 * 576

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect_shares('multi_resolution', 'vae_share')

    @classmethod
    def paper(cls) -> MetricGoldConfig:
        """Stable Diffusion 2, as Marigold has widened it."""
        return cls()

    @classmethod
    def small(cls) -> MetricGoldConfig:
        """A network, autoencoder included, that CPU cores train from scratch."""
        return cls(
            latent=LatentConfig.small(),
            train_vae=True,
            vae_share=1.0,
            num_steps=4,
            num_samples=4,
            working_pixels=128 * 96,
        )

    @classmethod
    def tiny(cls) -> MetricGoldConfig:
        """`small`, shrunk to where a test can afford it."""
        return cls(
            latent=LatentConfig.tiny(),
            train_vae=True,
            num_steps=2,
            num_samples=2,
            working_pixels=48 * 32,
        )


class MetricGold(nn.Module):
    """MetricGold as a DepthMethod.

    Args:
        config: says everything, sizes of the network included.
        latent: the network, of the sizes in config.latent; a random one if None.

    Raises:
        LatentError: the network is not one of image and depth latents.
        DepthCodecError: the range is none.
    """

    Config: ClassVar[type[MetricGoldConfig]] = MetricGoldConfig
    PRESETS: ClassVar[dict[str, Callable[[], MetricGoldConfig]]] = {
        'metricgold': MetricGoldConfig.paper,
        'metricgold-small': MetricGoldConfig.small,
    }
    SOURCE = 'Shah and Krishna 2024, MetricGold, after Marigold (Ke et al. 2024)'
    takes_rays = False
    takes_targets = False
    multiple_of = 8

    def __init__(self, config: MetricGoldConfig, latent: LatentNetwork | None = None) -> None:
        super().__init__()
        self.codec = LogBase(config.near, config.far, config.far / config.near)
        if not config.log_code:
            self.codec = LogBase(config.near, config.far, 1.0)
        self.config = config
        self.latent = LatentNetwork(config.latent) if latent is None else latent
        self.latent.check_channels(2 * self.latent.vae.config.latent_channels, 'MetricGold')
        self.working_pixels, self.num_samples = config.working_pixels, config.num_samples
        self.metric = True  # Marigold's weights, opened as these, make it False
        self.latent.vae.requires_grad_(config.train_vae)
        if config.tiled:
            self.latent.vae.enable_tiling()

    @classmethod
    def on(cls, latent: LatentNetwork, config: MetricGoldConfig) -> MetricGold:
        """MetricGold with the weights of another latent network, as fine-tuning begins.

        Args:
            latent: of Stable Diffusion 2, widened here, or of Marigold, as it is.
        """
        wanted = 2 * latent.vae.config.latent_channels
        if latent.unet.config.in_channels != wanted:
            widen(latent, wanted)
        fields = {**vars(config), 'latent': latent.config}
        return cls(MetricGoldConfig(**fields), latent)

    # ---- codes -------------------------------------------------------------------------------

    def to_code(self, depth: Tensor) -> Tensor:
        """Metres along z to codes in [-1, 1]: Eq. 1 and 3, or 2."""
        return 2 * self.codec.encode(depth) - 1

    def from_code(self, code: Tensor) -> Tensor:
        """Codes in [-1, 1] to metres along z."""
        return self.codec.decode((code + 1) / 2)

    @torch.no_grad()
    def reconstruct(self, depth: Tensor) -> Tensor:
        """(B, h, w) metres that the autoencoder leaves of depth (B, h, w) within the range.

        No sample can be better: "the primary performance bottleneck" (2.3).
        """
        latents = self.latent.encode_depth(self.to_code(depth))
        return self.from_code(self.latent.decode_depth(latents))

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
            conditioning: h and w multiples of `multiple_of`.
            num_steps: of the sampler; None for the config's.
            targets: ignored, whole images only.
        Raises:
            MetricDepthError: a size that does not fit, no sample, or as many steps as there are
                not.
        """
        num_steps = checked_steps(self, conditioning, num_samples, num_steps)
        codes = self.sample_codes(conditioning.image, num_samples, num_steps, generator)
        depth = self.from_code(codes)
        depth = torch.where(depth < self.config.beyond, depth, torch.inf)
        return torch.where(conditioning.valid, depth, torch.nan)

    @torch.no_grad()
    def sample_codes(
        self, image: Tensor, num_samples: int, num_steps: int, generator: torch.Generator
    ) -> Tensor:
        """(S, h, w) float32 codes in [-1, 1] of the image (3, h, w) in [-1, 1]."""
        condition = self.latent.encode(image[None])
        return self.latent.sample_depth(condition, num_samples, num_steps, generator)
