"""The choices of GRIN, and the presets that are made of them.

Guizilini et al., GRIN: Zero-Shot Metric Depth with Pixel-Level Diffusion, 2024; the network is in
grin.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..errors import MetricDepthError
from ..nn.rin import RinConfig

# Of fields that older checkpoints lack; see checkpoint.py.
LATER = {'later': True}
# Fields that make no sense without another: what hides the image wants who sees it all the same,
# what starts from the regression's codes wants its head.
_NEEDED = {
    'depth_prior': 'regression_weight',
    'image_dropout': 'pretrained_scales',
    'style_noise': 'pretrained_scales',
    'hide_samples': 'pretrained_scales',
    'diffuse_residual': 'regression_weight',
    'refine_width': 'regression_weight',
}


@dataclass(frozen=True)
class GrinConfig:
    """Every choice of the architecture and of its objective. The defaults are the paper's.

    Fields that came after the first checkpoints carry metadata=LATER.

    near, far: metres of ray_distance; code_base: b of Eq. 3, 1 for linear.
    rin: sizes of the token network.
    encoder_width: channels of the first of the four encoder stages.
    encoder_group_norm: GroupNorm for BatchNorm in the encoder and the top-down merge.
    encoder_takes_rays: the encoder sees the rays below the image's channels.
    pretrained_scales: a frozen MobileNetV2 that has learned from photographs looks at the image,
        too, once for each of these, enlarged so many times (1 or 2), and its maps are added to
        the encoder's; () for none.
    depth_prior: at inference the regression head's shape is averaged with that of a frozen
        FastDepth, which has learned from real rooms, by how far the two agree, where this is the
        error presumed of the head's (standard deviation of log depth; 0 for none); the scale
        stays the head's; see nn/fastdepth.py.
    image_dropout: share of training images that the encoder itself does not see, so that what is
        predicted leans on what was learned from photographs.
    style_noise: how far training moves the mean and the deviation of each channel of the frozen
        network's maps, which are what rendered and real images differ in; see nn/mobilenet.py.
    global_width: channels of the merged feature map, C_g.
    top_down: merge the encoder's maps from coarse to fine rather than by concatenation.
    local_width, local_kernel: patch embedding of each pixel; width 0 for none (Table 4 A).
    use_global: global tokens (False: Table 4 B).
    pixel_features: add the merged map, sampled at the pixel, to the pixel's token.
    local_padding: of the image for the patches at its border, as torch.nn.functional.pad has it.
    ray_bands, centre_bands: Fourier bands of ray and of camera centre; max_octave: the highest of
        their frequencies, an octave being twice the lowest.
    noise_schedule: start, end and temperature of the sigmoid that gamma(t) is (Jabri et al. 2023).
    predict_velocity: the network predicts v instead of the noise.
    data_loss: the loss is on x_0 instead of on what the network predicts.
    absolute_loss: the loss is the error's size, not its square: what is predicted goes to the
        median of what may be, as that of the regression head does, not to its mean.
    regression_weight: of a dense L1 loss on a head of the encoder alone; 0 for no head.
    regression_upsampling: how that head reaches the image's pixels: 'bilinear' from one code a
        cell of the merged map, 'shuffle' from one code a pixel, or 'smooth' from one code a pixel
        whose means over the cells are interpolated: without steps where cells meet.
    refine_width: channels of the convolutions that look at that head's codes beside the image at
        its full size, and correct them; 0 for none.
    diffusion_share: share of training steps that denoise; the others train that head alone,
        which is what most of the accuracy hangs on and takes less than half of the time.
    diffuse_residual: the diffusion is about what that head leaves over, not about the code.
    data_scale: what the diffused quantity is divided by; noise and v presume data that spread
        about as far as the noise, by 1.
    self_conditioning: probability of a training step that starts from its own latents.
    train_pixels, train_globals: L and G, tokens of a training image.
    clip_sky: supervise infinitely far pixels at `far` instead of leaving them out (5.2).
    beyond: metres of ray_distance from which a sample counts as infinitely far.
    read_pixels: how many pixels the latents read at inference; None for all. With a number,
        each pixel's depth is the same whichever others are asked for.
    read_globals: how many global tokens the latents read at inference, a random few; None for all
        (supplement B).
    paired_noise: every second sample begins with the negated noise of the one before (antithetic
        variates, Hammersley and Morton 1956): what noise alone does to one, it undoes in the
        other, and their median is as steady as that of many more.
    mirror_samples: every second sample is one of the mirrored image, mirrored back.
    hide_samples: of four samples two are of an image that the encoder does not see, as with
        image_dropout.
    clip_data: the sampler keeps its x_0 to the range of the code.
    num_steps, num_samples: of the sampler (DDIM) and of draws, unless the caller says otherwise.
    working_pixels: area of the images the network is made for, pixels.
    """

    near: float = 0.1
    far: float = 200.0
    code_base: float = 10.0
    rin: RinConfig = field(default_factory=RinConfig)
    encoder_width: int = 64
    encoder_group_norm: bool = False
    encoder_takes_rays: bool = False
    pretrained_scales: tuple[int, ...] = field(default=(), metadata=LATER)
    depth_prior: float = field(default=0.0, metadata=LATER)
    image_dropout: float = field(default=0.0, metadata=LATER)
    style_noise: float = field(default=0.0, metadata=LATER)
    global_width: int = 512
    top_down: bool = False
    local_width: int = 128
    local_kernel: int = 9
    local_padding: str = field(default='reflect', metadata=LATER)
    use_global: bool = True
    pixel_features: bool = False
    ray_bands: int = 16
    centre_bands: int = 16
    max_octave: float = field(default=2.0, metadata=LATER)
    noise_schedule: tuple[float, float, float] = field(default=(-3.0, 3.0, 1.0), metadata=LATER)
    predict_velocity: bool = False
    data_loss: bool = False
    absolute_loss: bool = field(default=False, metadata=LATER)
    regression_weight: float = 0.0
    regression_upsampling: str = field(default='bilinear', metadata=LATER)
    refine_width: int = field(default=0, metadata=LATER)
    diffusion_share: float = field(default=1.0, metadata=LATER)
    diffuse_residual: bool = False
    data_scale: float = 1.0
    self_conditioning: float = 0.9
    train_pixels: int = 1024
    train_globals: int = 2048
    clip_sky: bool = True
    beyond: float = 150.0
    read_pixels: int | None = None
    read_globals: int | None = field(default=None, metadata=LATER)
    paired_noise: bool = field(default=False, metadata=LATER)
    mirror_samples: bool = field(default=False, metadata=LATER)
    hide_samples: bool = field(default=False, metadata=LATER)
    clip_data: bool = field(default=True, metadata=LATER)
    num_steps: int = 10
    num_samples: int = field(default=10, metadata={**LATER, 'before': 4})
    working_pixels: int = 640 * 512

    def __post_init__(self) -> None:
        if isinstance(self.rin, Mapping):  # as JSON has it
            object.__setattr__(self, 'rin', RinConfig(**self.rin))
        if not self.local_width and not self.use_global and not self.pixel_features:
            raise MetricDepthError(
                'GRIN config has no image input: set local_width, use_global or pixel_features'
            )
        start, end, temperature = self.noise_schedule
        if not start < end or temperature <= 0:
            raise MetricDepthError(
                f'GRIN config has noise_schedule {self.noise_schedule}, expected start < end and '
                f'a temperature above 0'
            )
        if self.local_padding not in ('reflect', 'replicate', 'constant'):
            raise MetricDepthError(
                f'GRIN config has local_padding {self.local_padding!r}, expected reflect, '
                f'replicate or constant'
            )
        if self.regression_upsampling not in ('bilinear', 'shuffle', 'smooth'):
            raise MetricDepthError(
                f'GRIN config has regression_upsampling {self.regression_upsampling!r}, '
                f'expected bilinear, shuffle or smooth'
            )
        object.__setattr__(self, 'pretrained_scales', tuple(self.pretrained_scales))
        if not set(self.pretrained_scales) <= {1, 2}:
            raise MetricDepthError(
                f'GRIN config has pretrained_scales {self.pretrained_scales}, expected some of '
                f'1 and 2'
            )
        if self.diffusion_share < 1 and not self.regression_weight:
            raise MetricDepthError(
                f'GRIN config has diffusion_share {self.diffusion_share}, expected 1 '
                f'or a regression_weight above 0'
            )
        for name, needed in _NEEDED.items():
            if getattr(self, name) and not getattr(self, needed):
                raise MetricDepthError(
                    f'GRIN config has {name} {getattr(self, name)} and {needed} '
                    f'{getattr(self, needed)}, expected {needed} with it'
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
            encoder_takes_rays=True,
            pretrained_scales=(1, 2),
            depth_prior=0.2,
            image_dropout=0.7,
            style_noise=0.3,
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
            regression_upsampling='smooth',
            refine_width=32,
            diffusion_share=0.1,
            diffuse_residual=True,
            absolute_loss=True,
            paired_noise=True,
            mirror_samples=True,
            hide_samples=True,
            data_scale=0.25,
            self_conditioning=0.5,
            train_pixels=512,
            train_globals=192,
            read_pixels=512,
            num_steps=2,
            num_samples=4,
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
            small, rin=rin, encoder_width=8, pretrained_scales=(), depth_prior=0.0,
            image_dropout=0.0, style_noise=0.0, hide_samples=False, global_width=16,
            local_width=8, local_kernel=3, ray_bands=4, diffusion_share=1.0, train_pixels=64,
            train_globals=16, read_pixels=64, refine_width=0, regression_upsampling='shuffle',
            absolute_loss=False, paired_noise=False, mirror_samples=False, working_pixels=32 * 64,
        )  # fmt: skip
