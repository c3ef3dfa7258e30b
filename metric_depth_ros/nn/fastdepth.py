"""FastDepth (Wofk et al. 2019), the small network that it is after pruning.

It is here for what it has learned from real rooms and a depth camera (NYU Depth V2), so its
weights are given and stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Channels after each layer of its encoder, a MobileNet (Howard et al. 2017, Table 1), and of its
# decoder (Wofk et al. 2019, Fig. 2), as pruning left them (Section III-C).
_ENCODER = (16, 56, 88, 120, 144, 256, 408, 376, 272, 288, 296, 328, 480, 512)
_DECODER = (200, 256, 120, 56, 16)
_HALVING = (2, 4, 6, 12)  # layers of the encoder behind the first, which halves, too
_SKIPS = {1: 5, 2: 3, 3: 1}  # layer of the decoder: layer of the encoder that is added to it

_STRIDE = 32  # its sides are multiples of
_PIXELS = 256 * 192  # of an image as large as those that it has learned from, undistorted
# What rooms are made of, metres: farther it has seen nothing, nearer hardly anything.
_NEAREST, _FARTHEST = 0.3, 10.0
# From so much of the farthest on it counts for less and less.
_FADES = 0.7
# Of an image that has less of a room it knows nothing, of one that is all room as much as it can.
_ROOM_SHARE = 0.9
_LARGEST_WEIGHT = 0.5


class Separable(nn.Module):
    """A depthwise convolution and one of 1x1."""

    def __init__(self, in_channels: int, channels: int, size: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(
            in_channels, in_channels, size, stride, padding=size // 2, groups=in_channels
        )
        self.pointwise = nn.Conv2d(in_channels, channels, 1)

    def forward(self, x: Tensor, activation: Callable[[Tensor], Tensor]) -> Tensor:
        return activation(self.pointwise(activation(self.depthwise(x))))


class FastDepth(nn.Module):
    """(B, 3, h, w) in [-1, 1], h and w multiples of 32 -> (B, 1, h, w) depth in metres.

    Every batch norm is folded into the convolution before it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, _ENCODER[0], 3, stride=2, padding=1)
        self.encoder = nn.ModuleList(
            Separable(_ENCODER[n - 1], _ENCODER[n], 3, 2 if n in _HALVING else 1)
            for n in range(1, len(_ENCODER))
        )
        widths = (_ENCODER[-1], *_DECODER)
        self.decoder = nn.ModuleList(
            Separable(widths[n], widths[n + 1], 5) for n in range(len(_DECODER))
        )
        self.head = nn.Conv2d(_DECODER[-1], 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = F.relu6(self.stem((image + 1) / 2))
        seen = [x]
        for layer in self.encoder:
            x = layer(x, F.relu6)
            seen.append(x)
        for number, layer in enumerate(self.decoder):
            x = F.interpolate(layer(x, F.relu), scale_factor=2, mode='nearest')
            if number in _SKIPS:
                x = x + seen[_SKIPS[number]]
        return F.relu(self.head(x))


class DepthPrior(nn.Module):
    """What a frozen FastDepth knows of the shape of rooms, and how much of it to believe.

    Two estimates of log depth are averaged, each weighted by one over its variance. The own one's
    is presumed; the other's is small in a room like those it has learned from and can be anything
    elsewhere. What the two differ by tells: weight = error^2 / mean square difference. How large
    all is in metres stays the own one's to say: it knows the camera, so their median difference
    is left out.

    Args:
        error: standard deviation of the own log depth, its scale aside, that is presumed.
    """

    def __init__(self, error: float) -> None:
        super().__init__()
        self.error = error
        self.network = FastDepth().requires_grad_(False)

    def look(self, image: Tensor) -> Tensor:
        """Depth along z, (B, h, w), up to a scale, if the image is one of a room.

        It has learned from images of one size, 224x224, and is shown others at about that.

        Args:
            image: (B, 3, h, w) in [-1, 1].
        """
        size = image.shape[-2:]
        scale = math.sqrt(_PIXELS / (size[0] * size[1]))
        known = [max(1, round(side * scale / _STRIDE)) * _STRIDE for side in size]
        image = F.interpolate(image, known, mode='bicubic', align_corners=False)
        image = image.clamp(-1, 1).contiguous(memory_format=torch.channels_last)
        return F.interpolate(self.network(image), size, mode='area')[:, 0]

    def forward(self, own: Tensor, said: Tensor, valid: Tensor) -> Tensor:
        """What to multiply the own depth by, (B, h, w); 1 wherever nothing is to be believed.

        Args:
            own: (B, h, w) metres along z, whatever where not valid. said: (B, h, w) of `look`, or
                of one image for all. valid: (B, h, w) bool.
        """
        near = valid & (own > _NEAREST) & (own < _FARTHEST)
        own = own.where(near, _FARTHEST)
        difference = (said.clamp(_NEAREST, 2 * _FARTHEST) / own).log()
        median = difference.where(near, torch.nan).flatten(1).nanmedian(dim=1).values
        difference = (difference - median[:, None, None]).where(near, 0)
        count = near.sum(dim=(1, 2))
        share = count / valid.sum(dim=(1, 2)).clamp(min=1)
        room = ((share - _ROOM_SHARE) / (1 - _ROOM_SHARE)).clamp(0, 1)
        variance = difference.square().sum(dim=(1, 2)) / count.clamp(min=1)
        weight = room * (self.error**2 / variance.clamp(min=1e-6)).clamp(max=_LARGEST_WEIGHT)
        fades = ((_FARTHEST / own).log() / -math.log(_FADES)).clamp(0, 1)
        return (weight[:, None, None] * fades * difference).exp()
