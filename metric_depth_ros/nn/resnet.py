"""ResNet18 without its classifier (He et al. 2016): four feature maps of falling resolution.

Parameter names and shapes are those of torchvision's ResNet18, so its ImageNet weights load
strictly at width 64 with three input channels.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

GROUP_WIDTH = 8


def norm(channels: int, group_norm: bool) -> nn.Module:
    """GroupNorm of groups of GROUP_WIDTH channels, or BatchNorm."""
    if group_norm:
        return nn.GroupNorm(max(channels // GROUP_WIDTH, 1), channels)
    return nn.BatchNorm2d(channels)


def _conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a skip. `bn1`, `bn2` keep the pretrained weights' names."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, group_norm: bool) -> None:
        super().__init__()
        self.conv1 = _conv3x3(in_channels, out_channels, stride)
        self.bn1 = norm(out_channels, group_norm)
        self.conv2 = _conv3x3(out_channels, out_channels)
        self.bn2 = norm(out_channels, group_norm)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
                norm(out_channels, group_norm),
            )

    def forward(self, x: Tensor) -> Tensor:
        skip = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)) + skip)


class ResNet18(nn.Module):
    """(B, in_channels, h, w) -> four maps at strides 4, 8, 16, 32, widths w, 2w, 4w, 8w.

    Args:
        width: channels of the first stage; 64 is the published network.
        in_channels: 3 for an image; more if other maps are stacked below it.
        group_norm: GroupNorm for BatchNorm: independent of the batch, so a small batch trains
            well and one image at inference sees the same function.
    """

    def __init__(self, width: int = 64, in_channels: int = 3, group_norm: bool = False) -> None:
        super().__init__()
        self.channels = (width, 2 * width, 4 * width, 8 * width)
        self.conv1 = nn.Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = norm(width, group_norm)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = self._stage(width, width, 1, group_norm)
        self.layer2 = self._stage(width, 2 * width, 2, group_norm)
        self.layer3 = self._stage(2 * width, 4 * width, 2, group_norm)
        self.layer4 = self._stage(4 * width, 8 * width, 2, group_norm)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')

    @staticmethod
    def _stage(in_channels: int, out_channels: int, stride: int, group_norm: bool) -> nn.Module:
        return nn.Sequential(
            BasicBlock(in_channels, out_channels, stride, group_norm),
            BasicBlock(out_channels, out_channels, 1, group_norm),
        )

    def forward(self, x: Tensor, beside: Sequence[Tensor] = ()) -> list[Tensor]:
        """beside: maps to add to those of the first stages, before the next stage sees them."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        maps: list[Tensor] = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            if len(maps) < len(beside):
                x = x + beside[len(maps)]
            maps.append(x)
        return maps
