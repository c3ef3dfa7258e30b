"""GRIN: metric depth by diffusion over a set of pixels, conditioned on image and viewing rays.

Guizilini et al., GRIN: Zero-Shot Metric Depth with Pixel-Level Diffusion, 2024. The network
works in ray_distance, coded by a logarithm (Eq. 3); what leaves `draw` is z-depth in metres.

A pixel is a token: its noisy code, the image around it and its ray. Nothing else says where it
is, so any set of pixels is an input: a random few with ground truth in training, all of them or a
region of interest at inference, by the same code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..depth_codec import LogBase
from ..errors import MetricDepthError
from ..nn import sampling
from ..nn.fourier import ray_feature_width, ray_features
from ..nn.pyramid import ConcatenatePyramid, TopDownPyramid
from ..nn.resnet import ResNet18
from ..nn.rin import Rin, RinConfig
from ..nn.subset import random_subset
from ..types import Conditioning

# Bounds the memory of `draw`: samples are taken so many tokens at a time.
TOKENS_PER_PASS = 2**18


@dataclass(frozen=True)
class GrinConfig:
    """Every choice of the architecture and of its objective. The defaults are the paper's.

    near, far: metres of ray_distance; code_base: b of Eq. 3, 1 for linear.
    rin: sizes of the token network.
    encoder_width: channels of the first of the four encoder stages.
    encoder_group_norm: GroupNorm for BatchNorm in the encoder.
    encoder_takes_rays: the encoder sees the rays below the image's channels.
    global_width: channels of the merged feature map, C_g.
    top_down: merge the encoder's maps from coarse to fine rather than by concatenation.
    local_width, local_kernel: patch embedding of each pixel; width 0 for none (Table 4 A).
    use_global: global tokens (False: Table 4 B).
    pixel_features: add the merged map, sampled at the pixel, to the pixel's token.
    ray_bands, centre_bands: Fourier bands of ray and of camera centre.
    predict_velocity: the network predicts v instead of the noise.
    data_loss: the loss is on x_0 instead of on what the network predicts.
    regression_weight: of a dense L1 loss on a head of the encoder alone; 0 for no head.
    diffuse_residual: the diffusion is about what that head leaves over, not about the code.
    data_scale: what the diffused quantity is divided by; noise and v presume data that spread
        about as far as the noise, by 1.
    self_conditioning: probability of a training step that starts from its own latents.
    train_pixels, train_globals: L and G, tokens of a training image.
    clip_sky: supervise infinitely far pixels at `far` instead of leaving them out (5.2).
    beyond: metres of ray_distance from which a sample counts as infinitely far.
    read_pixels: how many pixels the latents read at inference; None for all. With a number,
        each pixel's depth is the same whichever others are asked for.
    num_steps: of the sampler, unless the caller says otherwise.
    working_pixels: area of the images the network is made for, pixels.
    """

    near: float = 0.1
    far: float = 200.0
    code_base: float = 10.0
    rin: RinConfig = field(default_factory=RinConfig)
    encoder_width: int = 64
    encoder_group_norm: bool = False
    encoder_takes_rays: bool = False
    global_width: int = 512
    top_down: bool = False
    local_width: int = 128
    local_kernel: int = 9
    use_global: bool = True
    pixel_features: bool = False
    ray_bands: int = 16
    centre_bands: int = 16
    predict_velocity: bool = False
    data_loss: bool = False
    regression_weight: float = 0.0
    diffuse_residual: bool = False
    data_scale: float = 1.0
    self_conditioning: float = 0.9
    train_pixels: int = 1024
    train_globals: int = 2048
    clip_sky: bool = True
    beyond: float = 150.0
    read_pixels: int | None = None
    num_steps: int = 10
    working_pixels: int = 640 * 512

    def __post_init__(self) -> None:
        if isinstance(self.rin, Mapping):  # as JSON has it
            object.__setattr__(self, 'rin', RinConfig(**self.rin))
        if not self.local_width and not self.use_global and not self.pixel_features:
            raise MetricDepthError(
                'GRIN config has no image input: set local_width, use_global or pixel_features'
            )
        if self.diffuse_residual and not self.regression_weight:
            raise MetricDepthError(
                'GRIN config has diffuse_residual, expected a regression_weight above 0'
            )

    @classmethod
    def paper(cls) -> GrinConfig:
        """The network of the paper: 342 million parameters, 640x512."""
        return cls()

    @classmethod
    def small(cls) -> GrinConfig:
        """A network that two CPU cores train in an hour and run in a fraction of a second.

        The encoder holds most of the capacity, because what a few latents can say of a pixel is
        limited; a base of far / near makes an error of the code the same relative error at 1 m
        and at 50 m.
        """
        return cls(
            code_base=2000.0,
            rin=RinConfig(
                token_width=64,
                latent_width=128,
                num_latents=32,
                blocks=2,
                depth=2,
                token_heads=2,
                latent_heads=4,
                mlp_ratio=2,
                linear_attention=False,
            ),
            encoder_width=32,
            encoder_group_norm=True,
            encoder_takes_rays=True,
            global_width=64,
            top_down=True,
            local_width=32,
            local_kernel=9,
            pixel_features=True,
            ray_bands=8,
            centre_bands=0,
            predict_velocity=True,
            data_loss=True,
            regression_weight=5.0,
            diffuse_residual=True,
            data_scale=0.25,
            self_conditioning=0.5,
            train_pixels=512,
            train_globals=192,
            read_pixels=512,
            num_steps=2,
            working_pixels=128 * 96,
        )

    @classmethod
    def tiny(cls) -> GrinConfig:
        """`small`, shrunk to where a test can afford it."""
        small = cls.small()
        rin = replace(
            small.rin, token_width=32, latent_width=32, num_latents=8, blocks=1, depth=1,
            token_heads=2, latent_heads=2, head_width=16,
        )  # fmt: skip
        return replace(
            small, rin=rin, encoder_width=8, global_width=16, local_width=8, local_kernel=3,
            ray_bands=4, train_pixels=64, train_globals=16, read_pixels=64, working_pixels=32 * 64,
        )  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """What depends on image and camera alone: computed once, shared by all steps and samples.

    image, rays: (B, 3, h, w), 0 outside the valid pixels.
    merged: (B, global_width, h/4, w/4) features of the encoder.
    regression: (B, h, w) codes in [-1, 1] that the encoder alone suggests; None without the head.
    global_tokens: (B, M, token_width); global_valid: (B, M) bool, False in the padding.
    """

    image: Tensor
    rays: Tensor
    merged: Tensor
    regression: Tensor | None
    global_tokens: Tensor
    global_valid: Tensor


@dataclass(frozen=True)
class Tokens:
    """Conditioned tokens of one set of pixels, before any noise.

    local: (B, L, token_width), one per pixel. scene: (B, G, token_width) global ones.
    readable: (B, L + G) bool, which of them the latents may read.
    centre: (B, L) code that the diffusion is about: 0, or the regression's.
    """

    local: Tensor
    scene: Tensor
    readable: Tensor
    centre: Tensor

    def expand(self, samples: int) -> Tokens:
        """The tokens of one image, seen `samples` times over."""
        return Tokens(
            self.local.expand(samples, -1, -1),
            self.scene.expand(samples, -1, -1),
            self.readable.expand(samples, -1),
            self.centre.expand(samples, -1),
        )


def _at_pixels(maps: Tensor, pixels: Tensor) -> Tensor:
    """(B, C, h, w) at (B, L) flat indices -> (B, L, C)."""
    index = pixels[:, None].expand(-1, maps.shape[1], -1)
    return maps.flatten(2).gather(2, index).transpose(1, 2)


class PatchEmbedding(nn.Module):
    """A k x k convolution evaluated at chosen pixels only, F_loc of GRIN 4.2."""

    def __init__(self, channels: int, kernel: int, width: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.project = nn.Linear(channels * kernel**2, width)

    def forward(self, image: Tensor, pixels: Tensor) -> Tensor:
        """image: (B, C, h, w); pixels: (B, L) flat indices in h x w -> (B, L, width)."""
        k, width = self.kernel, image.shape[-1]
        padded = F.pad(image, [k // 2] * 4, mode='reflect')
        stride = padded.shape[-1]
        corner = pixels // width * stride + pixels % width
        step = torch.arange(k, device=image.device)
        offsets = (step[:, None] * stride + step).flatten()
        index = (corner[..., None] + offsets).flatten(1)
        patches = padded.flatten(2).gather(2, index[:, None].expand(-1, padded.shape[1], -1))
        return self.project(patches.unflatten(2, (-1, k * k)).transpose(1, 2).flatten(2))


class Grin(nn.Module):
    """GRIN as a DepthMethod."""

    Config: ClassVar[type[GrinConfig]] = GrinConfig
    PRESETS: ClassVar[dict[str, Callable[[], GrinConfig]]] = {
        'grin': GrinConfig.paper,
        'grin-small': GrinConfig.small,
    }
    SOURCE = 'Guizilini et al. 2024, GRIN; its authors published no weights'
    takes_rays = True
    multiple_of = 32

    def __init__(self, config: GrinConfig) -> None:
        super().__init__()
        self.config = config
        self.codec = LogBase(config.near, config.far, config.code_base)
        self.working_pixels = config.working_pixels
        width = config.rin.token_width
        geometry = ray_feature_width(config.ray_bands, config.centre_bands)

        channels = 6 if config.encoder_takes_rays else 3
        self.encoder = ResNet18(config.encoder_width, channels, config.encoder_group_norm)
        pyramid = TopDownPyramid if config.top_down else ConcatenatePyramid
        self.pyramid = pyramid(self.encoder.channels, config.global_width)
        self.to_global = nn.Linear(config.global_width + geometry, width)

        self.patches: PatchEmbedding | None = None
        if config.local_width:
            self.patches = PatchEmbedding(3, config.local_kernel, config.local_width)
        # One linear layer on (noisy code, patch, geometry) in the paper; in two parts here,
        # because only the noisy code changes from step to step.
        self.to_local = nn.Linear(config.local_width + geometry, width)
        self.embed_noisy = nn.Linear(1, width, bias=False)
        bound = (1 + self.to_local.in_features) ** -0.5
        nn.init.uniform_(self.embed_noisy.weight, -bound, bound)  # as in the one layer
        self.from_merged = nn.Linear(config.global_width, width) if config.pixel_features else None

        self.rin = Rin(config.rin)
        to_output = nn.Linear(width, 1)
        nn.init.zeros_(to_output.weight)
        self.head = nn.Sequential(nn.LayerNorm(width), to_output)
        self.regression: nn.Module | None = None
        if config.regression_weight:
            self.regression = nn.Conv2d(config.global_width, 1, 1)
            nn.init.normal_(self.regression.weight, std=0.01)

    # ---- codes -------------------------------------------------------------------------------

    def to_code(self, ray_distance: Tensor) -> Tensor:
        """Metres of ray_distance to codes in [-1, 1]."""
        return 2 * self.codec.encode(ray_distance) - 1

    def from_code(self, code: Tensor) -> Tensor:
        """Codes in [-1, 1] to metres of ray_distance."""
        return self.codec.decode((code + 1) / 2)

    def to_data(self, code: Tensor, centre: Tensor) -> Tensor:
        """Codes to x_0, the quantity that is diffused: in the paper the code itself."""
        return (code - centre) / self.config.data_scale

    def from_data(self, data: Tensor, centre: Tensor) -> Tensor:
        """x_0 to codes."""
        return data * self.config.data_scale + centre

    # ---- the network -------------------------------------------------------------------------

    def encode(self, image: Tensor, rays: Tensor, valid: Tensor) -> Scene:
        """Everything that depends on image and camera alone.

        Args:
            image: (B, 3, h, w) RGB in [-1, 1]; h and w multiples of `multiple_of`.
            rays: (B, 3, h, w) unit viewing rays.
            valid: (B, h, w) bool; what image and rays hold elsewhere has no influence.
        """
        seen = valid[:, None]
        image, rays = image.where(seen, 0), rays.where(seen, 0)
        stacked = torch.cat([image, rays], dim=1) if self.config.encoder_takes_rays else image
        merged = self.pyramid(self.encoder(stacked))

        # The camera resized to the features: the mean ray of each cell, and enough of it seen.
        size = merged.shape[-2:]
        cell_rays = F.normalize(F.interpolate(rays, size=size, mode='area'), dim=1)
        share_seen = F.interpolate(seen.to(image.dtype), size=size, mode='area')
        geometry = self._geometry(cell_rays.flatten(2).transpose(1, 2))
        features = merged.flatten(2).transpose(1, 2)
        return Scene(
            image=image,
            rays=rays,
            merged=merged,
            regression=self._regress(merged, image.shape[-2:]),
            global_tokens=self.to_global(torch.cat([features, geometry], dim=-1)),
            global_valid=(share_seen >= 0.5).flatten(1),
        )

    def tokens(
        self,
        scene: Scene,
        pixels: Tensor,
        readable: Tensor,
        global_cells: Tensor | None = None,
        global_readable: Tensor | None = None,
    ) -> Tokens:
        """Conditioned tokens of any set of pixels.

        Args:
            pixels: (B, L) flat indices in h x w.
            readable: (B, L) bool, which of them the latents may read.
            global_cells: (B, G) indices of the global tokens to keep; None for all.
            global_readable: (B, G) bool beside it; None for all that are valid.
        """
        geometry = self._geometry(_at_pixels(scene.rays, pixels))
        parts = [geometry]
        if self.patches is not None:
            parts.insert(0, self.patches(scene.image, pixels))
        local = self.to_local(torch.cat(parts, dim=-1))
        if self.from_merged is not None:
            local = local + self.from_merged(self._sample(scene, pixels))

        context, context_readable = scene.global_tokens, scene.global_valid
        if not self.config.use_global:
            context, context_readable = context[:, :0], context_readable[:, :0]
        elif global_cells is not None:
            index = global_cells[..., None].expand(-1, -1, context.shape[-1])
            context = context.gather(1, index)
            context_readable = context_readable.gather(1, global_cells)
            if global_readable is not None:
                context_readable = context_readable & global_readable
        if self.config.diffuse_residual and scene.regression is not None:
            # Detached: the head learns the code, the diffusion what the head leaves over.
            centre = scene.regression.detach().flatten(1).gather(1, pixels)
        else:
            centre = torch.zeros_like(local[..., 0])
        return Tokens(local, context, torch.cat([readable, context_readable], dim=1), centre)

    def denoise(
        self, tokens: Tokens, noisy: Tensor, t: Tensor, previous: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """One pass of the token network.

        Args:
            noisy: (B, L) noisy codes x_t. t: (B,) in [0, 1]. previous: latents of the last pass.
        Returns:
            (B, L) predicted noise, or velocity if the config says so, and the latents.
        """
        local = tokens.local + self.embed_noisy(noisy[..., None])
        x, latents = self.rin(
            torch.cat([local, tokens.scene], dim=1), t, previous, tokens.readable
        )
        return self.head(x[:, : noisy.shape[1]])[..., 0], latents

    def predicted_data(self, noisy: Tensor, output: Tensor, gamma: Tensor) -> Tensor:
        """x_0 from what `denoise` returns."""
        if self.config.predict_velocity:
            return sampling.data_from_velocity(noisy, output, gamma)
        return sampling.data_from_noise(noisy, output, gamma)

    def _regress(self, merged: Tensor, size: Sequence[int]) -> Tensor | None:
        if self.regression is None:
            return None
        code = self.regression(merged).float()
        return F.interpolate(code, size=size, mode='bilinear', align_corners=False)[:, 0]

    def _geometry(self, rays: Tensor) -> Tensor:
        return ray_features(rays, self.config.ray_bands, self.config.centre_bands)

    def _sample(self, scene: Scene, pixels: Tensor) -> Tensor:
        """The merged map at pixel centres, (B, L, global_width)."""
        h, w = scene.rays.shape[-2:]
        x = (2 * (pixels % w) + 1) / w - 1
        y = (2 * (pixels // w) + 1) / h - 1
        grid = torch.stack([x, y], dim=-1).to(scene.merged.dtype)[:, None]
        sampled = F.grid_sample(scene.merged, grid, padding_mode='border', align_corners=False)
        return sampled[:, :, 0].transpose(1, 2)

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
        """Samples of the depth (GRIN 4.5).

        Args:
            conditioning: h and w multiples of `multiple_of`.
            num_samples: S, at least 1.
            num_steps: of the sampler; None for the config's.
            targets: (h, w) bool, the pixels to predict; None for all valid ones.
        Returns:
            (S, h, w) float32 depth in metres along z; NaN where not valid or not asked for, +inf
            beyond the range of the config.
        Raises:
            MetricDepthError: a size that does not fit, no sample or no step asked for.
        """
        num_steps = self.config.num_steps if num_steps is None else num_steps
        self._check_draw(conditioning, num_samples, num_steps)
        valid = conditioning.valid
        h, w = valid.shape
        depth = conditioning.image.new_full((num_samples, h * w), math.nan, dtype=torch.float32)

        # 1. All randomness, before anything depends on which pixels are asked for.
        noise = torch.randn((num_samples, h * w), generator=generator, device=generator.device)
        noise = noise.to(valid.device)
        count = h * w if self.config.read_pixels is None else self.config.read_pixels
        chosen, chosen_valid = random_subset(valid.flatten()[None], count, generator)
        asked = valid if targets is None else valid & targets
        if not asked.any():
            return depth.unflatten(1, (h, w))

        # 2. The tokens: pixels that are read, and pixels that are asked for.
        read = torch.zeros_like(valid.flatten())
        read[chosen[chosen_valid]] = True
        if self.config.read_pixels is None:
            read &= asked.flatten()
        pixels = (read | asked.flatten()).nonzero()[:, 0]
        scene = self.encode(conditioning.image[None], conditioning.rays[None], valid[None])
        tokens = self.tokens(scene, pixels[None], read[pixels][None])

        # 3. Denoise, as many samples at a time as memory should hold.
        step = max(1, TOKENS_PER_PASS // tokens.readable.shape[1])
        codes = torch.cat(
            [self._sample_codes(tokens, part, num_steps) for part in noise[:, pixels].split(step)]
        )

        # 4. Back to metres along z.
        wanted = asked.flatten()[pixels]
        z = conditioning.rays[2].flatten()[pixels]
        ray_distance = self.from_code(codes)
        z_depth = torch.where(ray_distance < self.config.beyond, ray_distance * z, torch.inf)
        depth[:, pixels[wanted]] = z_depth[:, wanted].float()
        return depth.unflatten(1, (h, w))

    def _sample_codes(self, tokens: Tokens, noise: Tensor, num_steps: int) -> Tensor:
        """(S, L) noise to (S, L) codes."""
        tokens = tokens.expand(len(noise))
        latents: Tensor | None = None

        def predict_data(noisy: Tensor, t: Tensor, gamma: Tensor) -> Tensor:
            nonlocal latents
            output, latents = self.denoise(tokens, noisy, t.expand(len(noisy)), latents)
            return self.predicted_data(noisy, output, gamma)

        centre, code_limit = tokens.centre, torch.ones_like(tokens.centre)
        lowest, highest = self.to_data(-code_limit, centre), self.to_data(code_limit, centre)
        data = sampling.ddim(predict_data, noise, num_steps, lowest, highest)
        return self.from_data(data, centre)

    def _check_draw(self, conditioning: Conditioning, num_samples: int, num_steps: int) -> None:
        h, w = conditioning.valid.shape
        if h % self.multiple_of or w % self.multiple_of:
            raise MetricDepthError(
                f'conditioning is {w}x{h}, expected multiples of {self.multiple_of} pixels'
            )
        for name, value in (('num_samples', num_samples), ('num_steps', num_steps)):
            if value < 1:
                raise MetricDepthError(f'{name} is {value}, expected at least 1')


def parameter_breakdown(model: Any) -> dict[str, int]:
    """Parameters of each top-level module: what the count is made of."""
    return {
        name: sum(p.numel() for p in child.parameters()) for name, child in model.named_children()
    }
