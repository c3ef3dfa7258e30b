"""MobileNetV2 without its classifier (Sandler et al. 2018), and its maps beside another encoder's.

It is here for what it has learned from photographs, so its weights are given and stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Expansion, channels, blocks and first stride of each stage (Sandler et al. 2018, Table 2).
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_LAST_OF_STRIDE = (2, 5, 12, 16)  # number of the last block at stride 4, 8, 16, 32


def _halving_padding(x: Tensor) -> Tensor:
    """Zeros for a 3x3 convolution of stride 2 over even sides, where TensorFlow has them."""
    return F.pad(x, (0, 1, 0, 1))


class InvertedResidual(nn.Module):
    """Widen, look at each channel's neighbourhood, narrow; a skip where the shapes allow it."""

    def __init__(self, in_channels: int, channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.halves = stride == 2
        self.skips = not self.halves and in_channels == channels
        self.expand = nn.Conv2d(in_channels, hidden, 1) if expansion > 1 else None
        self.depthwise = nn.Conv2d(
            hidden, hidden, 3, stride, padding=0 if self.halves else 1, groups=hidden
        )
        self.project = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = x if self.expand is None else F.relu6(self.expand(x))
        if self.halves:
            hidden = _halving_padding(hidden)
        out = self.project(F.relu6(self.depthwise(hidden)))
        return x + out if self.skips else out


class MobileNetV2(nn.Module):
    """(B, 3, h, w) in [-1, 1], h and w multiples of 32 -> maps at strides 4, 8, 16, 32.

    Every batch norm is folded into the convolution before it.
    """

    channels = (24, 32, 96, 320)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, stride=2)
        self.blocks = nn.ModuleList()
        width = 32
        for expansion, channels, count, first_stride in _STAGES:
            for number in range(count):
                stride = first_stride if number == 0 else 1
                self.blocks.append(InvertedResidual(width, channels, stride, expansion))
                width = channels

    def forward(self, image: Tensor) -> list[Tensor]:
        x = F.relu6(self.stem(_halving_padding(image)))
        maps = []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in _LAST_OF_STRIDE:
                maps.append(x)
        return maps


class PretrainedMaps(nn.Module):
    """What a frozen MobileNetV2 sees in an image, as something to add to an encoder's maps.

    Nothing at first: the encoder begins as the one without it. The network has learned from images
    larger than those that depth is computed from, so it looks at them enlarged, too.

    Args:
        channels: of the encoder's maps at strides 4, 8, 16, 32.
        scales: how many times the image is enlarged, each 1 or 2: the network looks once for each,
            with the same weights.
        style_noise: strength of `unsettled` where `forward` is given a generator.
    """

    def __init__(
        self, channels: Sequence[int], scales: Sequence[int], style_noise: float = 0.0
    ) -> None:
        super().__init__()
        self.style_noise = style_noise
        self.scales = tuple(scales)
        self.network = MobileNetV2().requires_grad_(False)
        self.project = nn.ModuleList()
        for scale in self.scales:
            # Enlarged twice, the image has its map of stride 8 where the encoder has stride 4.
            given = self.network.channels[scale - 1 :]
            pairs = zip(given, channels[: len(given)], strict=True)
            self.project.append(nn.ModuleList(nn.Conv2d(g, c, 1) for g, c in pairs))
        for parameter in self.project.parameters():
            nn.init.zeros_(parameter)

    def forward(self, image: Tensor, generator: torch.Generator | None = None) -> list[Tensor]:
        """(B, 3, h, w) in [-1, 1] -> maps of the encoder's channels at strides 4, 8, 16, ...

        generator: of the style noise, in training; None for none of it.
        """
        maps: dict[int, Tensor] = {}
        for scale, projections in zip(self.scales, self.project, strict=True):
            for level, x in enumerate(self._look(image, scale)):
                # One norm for all channels: maps of different depth come in different sizes. With
                # weights of its own its backward crashes in bf16 on a CPU, as none goes below.
                x = F.group_norm(x, 1)
                if self.style_noise and generator is not None:
                    x = unsettled(x, self.style_noise, generator)
                x = projections[level](x)
                maps[level] = maps[level] + x if level in maps else x
        return [maps[level] for level in sorted(maps)]

    def _look(self, image: Tensor, scale: int) -> list[Tensor]:
        if scale > 1:
            image = F.interpolate(image, scale_factor=scale, mode='bicubic', align_corners=False)
        image = image.clamp(-1, 1).contiguous(memory_format=torch.channels_last)
        return self.network(image)[scale - 1 :]


def unsettled(maps: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Each channel of each image scaled and shifted at random, as another style of images might.

    The mean and the deviation of a channel over an image say what kind of image it is, and are
    what differs between rendered scenes and photographs; who learns from the first should not
    rely on them. After Li et al., Uncertainty Modeling for Out-of-Distribution Generalization,
    2022, who draw as much of it as the batch has; here it is one strength for all channels.

    Args:
        maps: (B, C, h, w). generator: on the CPU or the device of the maps.
        strength: standard deviation of the shift, over the channel's deviation in the batch, and
            of the logarithm of the scale.
    """
    shape = (2, *maps.shape[:2], 1, 1)
    drawn = torch.randn(shape, generator=generator, device=generator.device)
    scale, shift = (strength * drawn).to(maps)
    deviation = maps.std(dim=(0, 2, 3), keepdim=True)
    return maps * scale.exp() + deviation * shift
