"""GRIN: metric depth by diffusion over a set of pixels, conditioned on image and viewing rays.

Guizilini et al., GRIN: Zero-Shot Metric Depth with Pixel-Level Diffusion, 2024. The network
works in ray_distance, coded by a logarithm (Eq. 3); what leaves `draw` is z-depth in metres.

A pixel is a token: its noisy code, the image around it and its ray. Nothing else says where it
is, so any set of pixels is an input: a random few with ground truth in training, all of them or a
region of interest at inference, by the same code.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..depth_codec import LogBase
from ..looks import mirrored
from ..nn import sampling
from ..nn.fastdepth import DepthPrior
from ..nn.fourier import ray_feature_width, ray_features
from ..nn.mobilenet import PretrainedMaps
from ..nn.patches import PatchEmbedding, at_pixels
from ..nn.pyramid import ConcatenatePyramid, TopDownPyramid
from ..nn.refinement import Refinement
from ..nn.resnet import ResNet18
from ..nn.rin import Rin
from ..nn.subset import random_subset
from ..types import Conditioning
from .grin_config import GrinConfig as GrinConfig
from .grin_tokens import Scene, Tokens

# Bounds the memory of `draw`: samples are taken so many tokens at a time.
TOKENS_PER_PASS = 2**18
# Of the encoder's merged features, in pixels.
MERGED_STRIDE = 4


class Grin(nn.Module):
    """GRIN as a DepthMethod."""

    Config: ClassVar[type[GrinConfig]] = GrinConfig
    PRESETS: ClassVar[dict[str, Callable[[], GrinConfig]]] = {
        'grin': GrinConfig.paper,
        'grin-small': GrinConfig.small,
    }
    SOURCE = 'Guizilini et al. 2024, GRIN; its authors published no weights'
    MAY_BEGIN_ANEW: ClassVar[tuple[str, ...]] = ('refinement', 'pretrained', 'prior')
    takes_rays = True
    takes_targets = True
    multiple_of = 32

    def __init__(self, config: GrinConfig) -> None:
        super().__init__()
        self.config = config
        self.codec = LogBase(config.near, config.far, config.code_base)
        self.working_pixels, self.num_samples = config.working_pixels, config.num_samples
        width = config.rin.token_width
        geometry = ray_feature_width(config.ray_bands, config.centre_bands)

        channels = 6 if config.encoder_takes_rays else 3
        self.encoder = ResNet18(config.encoder_width, channels, config.encoder_group_norm)
        self.pretrained: PretrainedMaps | None = None
        if config.pretrained_scales:
            self.pretrained = PretrainedMaps(
                self.encoder.channels, config.pretrained_scales, config.style_noise
            )
        self.prior = DepthPrior(config.depth_prior) if config.depth_prior else None
        widths = self.encoder.channels, config.global_width
        self.pyramid: nn.Module = ConcatenatePyramid(*widths)
        if config.top_down:
            self.pyramid = TopDownPyramid(*widths, config.encoder_group_norm)
        self.to_global = nn.Linear(config.global_width + geometry, width)

        self.patches: PatchEmbedding | None = None
        if config.local_width:
            self.patches = PatchEmbedding(
                3, config.local_kernel, config.local_width, config.local_padding
            )
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
            codes = 1 if config.regression_upsampling == 'bilinear' else MERGED_STRIDE**2
            self.regression = nn.Conv2d(config.global_width, codes, 1)
            nn.init.normal_(self.regression.weight, std=0.01)
        self.refinement: Refinement | None = None
        if config.refine_width:
            self.refinement = Refinement(config.global_width, MERGED_STRIDE, config.refine_width)

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

    def gamma(self, t: Tensor) -> Tensor:
        """Signal's share of the variance at time t, 0 (data) to 1 (noise)."""
        return sampling.sigmoid_gamma(t, *self.config.noise_schedule)

    # ---- the network -------------------------------------------------------------------------

    def encode(
        self,
        image: Tensor,
        rays: Tensor,
        valid: Tensor,
        hidden: Tensor | None = None,
        generator: torch.Generator | None = None,
        *,
        regress: bool = True,
    ) -> Scene:
        """Everything that depends on image and camera alone.

        Args:
            image: (B, 3, h, w) RGB in [-1, 1]; h and w multiples of `multiple_of`.
            rays: (B, 3, h, w) unit viewing rays.
            valid: (B, h, w) bool; what image and rays hold elsewhere has no influence.
            hidden: (B,) bool, images that the encoder does not see, but the pretrained network;
                or (N,) of one image, which is then encoded in N ways.
            generator: of the config's style_noise, in training; None for none of it.
            regress: ask the regression head and the depth prior, which features do without.
        """
        seen = valid[:, None]
        image, rays = image.where(seen, 0), rays.where(seen, 0)
        beside = () if self.pretrained is None else self.pretrained(image, generator)
        said = None
        if regress and self.prior is not None and not self.training:
            said = self.prior.look(image)
        shown = image
        if hidden is not None:
            shown = torch.where(hidden[:, None, None, None], 0, image)
            image, rays, seen = (x.expand(len(hidden), -1, -1, -1) for x in (image, rays, seen))
        stacked = torch.cat([shown, rays], dim=1) if self.config.encoder_takes_rays else shown
        # Channels last is the faster layout for convolutions, on a CPU by a third.
        stacked = stacked.contiguous(memory_format=torch.channels_last)
        merged = self.pyramid(self.encoder(stacked, beside))
        regression = self._regress(merged, image) if regress else None
        if regression is not None and said is not None:
            regression = self._with_prior(regression, said, rays[:, 2], seen[:, 0])

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
            regression=regression,
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
        geometry = self._geometry(at_pixels(scene.rays, pixels))
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

    def _regress(self, merged: Tensor, image: Tensor) -> Tensor | None:
        if self.regression is None:
            return None
        codes = self.regression(merged).float()
        # What changes evenly from cell to cell, and what each cell says of its own pixels.
        mean = codes.mean(dim=1, keepdim=True)
        if self.config.regression_upsampling == 'shuffle':
            code = F.pixel_shuffle(codes, MERGED_STRIDE)
        else:
            code = F.interpolate(mean, image.shape[-2:], mode='bilinear', align_corners=False)
        if self.config.regression_upsampling == 'smooth':
            code = code + F.pixel_shuffle(codes - mean, MERGED_STRIDE)
        if self.refinement is not None:
            code = self.refinement(code, image, merged)
        return code[:, 0]

    def _with_prior(self, code: Tensor, said: Tensor, z: Tensor, valid: Tensor) -> Tensor:
        """Codes (B, h, w), corrected by what the depth prior said; z is that of the unit rays."""
        ray_distance = self.from_code(code)
        factor = self.prior(ray_distance * z, said, valid)  # type: ignore[misc]
        return torch.where(factor == 1, code, self.to_code(ray_distance * factor))

    def _geometry(self, rays: Tensor) -> Tensor:
        config = self.config
        return ray_features(rays, config.ray_bands, config.centre_bands, config.max_octave)

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
        sampling.check_draw(conditioning, num_samples, num_steps, multiple_of=self.multiple_of)
        valid = conditioning.valid
        h, w = valid.shape

        # All randomness, before anything depends on which pixels are asked for.
        noise = torch.randn((num_samples, h * w), generator=generator, device=generator.device)
        if self.config.paired_noise:
            noise[1::2] = -noise[: 2 * (num_samples // 2) : 2]
        noise = noise.to(valid.device).unflatten(1, (h, w))
        count = h * w if self.config.read_pixels is None else self.config.read_pixels
        chosen, chosen_valid = random_subset(valid.flatten()[None], count, generator)
        asked = valid if targets is None else valid & targets
        if not asked.any():
            return torch.full_like(noise, math.nan)
        read = torch.zeros_like(valid.flatten())
        read[chosen[chosen_valid]] = True
        read = read.view(h, w)
        if self.config.read_pixels is None:
            read &= asked

        depth = torch.empty_like(noise)
        # Of four samples two see the mirrored image, and two an image hidden from the encoder.
        number = torch.arange(num_samples, device=valid.device)
        flips = (number % 2 == 1) & self.config.mirror_samples
        hides = (number % 4 >= 2) & self.config.hide_samples
        for flip in flips.unique().tolist():
            samples = flips == flip
            depth[samples] = self._draw_view(
                conditioning, flip, hides[samples], noise[samples], read, asked, num_steps,
                generator,
            )  # fmt: skip
        return depth

    def _draw_view(
        self,
        conditioning: Conditioning,
        flip: bool,
        hides: Tensor,
        noise: Tensor,
        read: Tensor,
        asked: Tensor,
        num_steps: int,
        generator: torch.Generator,
    ) -> Tensor:
        """Samples of the image or, if `flip`, of the mirrored one; as `draw` returns them.

        Args:
            hides: (S,) bool, samples of an image that is hidden from the encoder.
            noise: (S, h, w) x_1, whatever is asked for.
            read, asked: (h, w) bool, valid pixels that the latents read, and that are predicted.
        """
        if flip:
            conditioning = mirrored(conditioning)
            noise, read, asked = noise.flip(-1), read.flip(-1), asked.flip(-1)
        image, rays, valid = conditioning.image, conditioning.rays, conditioning.valid

        # 1. The tokens: pixels that are read, and pixels that are asked for.
        pixels = (read | asked).flatten().nonzero()[:, 0]
        looks, look_of = hides.unique(return_inverse=True)
        scene = self.encode(image[None], rays[None], valid[None], looks)
        every = pixels.expand(len(looks), -1)
        tokens = self.tokens(scene, every, read.flatten()[every], *self._cells(scene, generator))

        # 2. Denoise, as many samples at a time as memory should hold.
        step = max(1, TOKENS_PER_PASS // tokens.readable.shape[1])
        parts = zip(look_of.split(step), noise.flatten(1)[:, pixels].split(step), strict=True)
        codes = [self._sample_codes(tokens.rows(look), part, num_steps) for look, part in parts]

        # 3. Back to metres along z.
        z_depth = self._z_depth(torch.cat(codes), rays[2].flatten()[pixels])
        depth = torch.full_like(noise, math.nan)
        depth[:, asked] = z_depth[:, asked.flatten()[pixels]]
        return depth.flip(-1) if flip else depth

    @torch.no_grad()
    def regress(self, conditioning: Conditioning) -> Tensor | None:
        """(h, w) metres along z that the encoder's head says alone; None without that head.

        NaN where not valid, +inf beyond the range of the config.
        """
        image, rays, valid = conditioning.image, conditioning.rays, conditioning.valid
        code = self.encode(image[None], rays[None], valid[None]).regression
        if code is None:
            return None
        return torch.where(valid, self._z_depth(code[0], rays[2]), torch.nan)

    @torch.no_grad()
    def features(self, conditioning: Conditioning) -> Tensor:
        """(global_width,) mean of the encoder's merged features over the valid pixels."""
        image, rays, valid = conditioning.image, conditioning.rays, conditioning.valid
        scene = self.encode(image[None], rays[None], valid[None], regress=False)
        return scene.merged[0].flatten(1)[:, scene.global_valid[0]].mean(1)

    def _cells(
        self, scene: Scene, generator: torch.Generator
    ) -> tuple[Tensor | None, Tensor | None]:
        """The global tokens that are kept at inference, as `tokens` takes them."""
        if self.config.read_globals is None:
            return None, None
        return random_subset(scene.global_valid, self.config.read_globals, generator)

    def _z_depth(self, code: Tensor, z: Tensor) -> Tensor:
        """Codes to metres along z, +inf beyond the range; z is that of the unit ray."""
        ray_distance = self.from_code(code)
        return torch.where(ray_distance < self.config.beyond, ray_distance * z, torch.inf).float()

    def _sample_codes(self, tokens: Tokens, noise: Tensor, num_steps: int) -> Tensor:
        """(S, L) noise to (S, L) codes; tokens of S images."""
        latents: Tensor | None = None

        def predict_data(noisy: Tensor, t: Tensor, gamma: Tensor) -> Tensor:
            nonlocal latents
            output, latents = self.denoise(tokens, noisy, t.expand(len(noisy)), latents)
            return self.predicted_data(noisy, output, gamma)

        centre, code_limit = tokens.centre, torch.ones_like(tokens.centre)
        lowest, highest = self.to_data(-code_limit, centre), self.to_data(code_limit, centre)
        if not self.config.clip_data:
            lowest, highest = -torch.inf * code_limit, torch.inf * code_limit
        data = sampling.ddim(predict_data, noise, num_steps, lowest, highest, self.gamma)
        return self.from_data(data, centre)
