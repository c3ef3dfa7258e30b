"""A block that weighs coarse structure against fine detail in the frequency domain.

Song et al. 2025, DepthMaster, Section III-C: after the middle block of a denoiser that takes one
step it does what many steps would do one after the other, low frequencies first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class FourierEnhancement(nn.Module):
    """Eq. 6 and 7: a spatial and a frequency pass, joined by a convolution.

    What is real has a symmetric spectrum: one half of it is transformed, real and imaginary part
    as channels. The paper does not say how the weights begin. Here the module begins as the
    identity, with nothing of the frequency pass, so that the second stage of training starts from
    what the first has learned.

    Args:
        channels: of the features, which it keeps.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.modulator = nn.Conv2d(2 * channels, 2 * channels, 1)
        self.activation = nn.SiLU()
        self.spatial = nn.Conv2d(channels, channels, 3, padding=1)
        self.join = nn.Conv2d(2 * channels, channels, 1)
        for convolution in (self.spatial, self.join):  # of the join the first, spatial half
            nn.init.dirac_(convolution.weight)
            nn.init.zeros_(convolution.bias)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) -> the same shape."""
        return self.join(torch.cat([self.spatial(features), self.frequency(features)], dim=1))

    def frequency(self, features: Tensor) -> Tensor:
        """F_f of Eq. 6, (B, C, h, w). The transforms are made in float32."""
        spectrum = torch.fft.rfft2(features.float(), norm='ortho')
        parts = torch.cat([spectrum.real, spectrum.imag], dim=1).to(features.dtype)
        real, imaginary = self.activation(self.modulator(parts)).float().chunk(2, dim=1)
        modulated = torch.complex(real, imaginary)
        back = torch.fft.irfft2(modulated, s=features.shape[-2:], norm='ortho')
        return back.to(features.dtype)


@contextmanager
def after(block: nn.Module, change: Callable[[Tensor], Tensor | None]) -> Iterator[None]:
    """Within, what `block` puts out goes through `change`; None leaves it as it is.

    The outermost `after` of a block sees its output first.
    """
    handle = block.register_forward_hook(lambda module, inputs, output: change(output))
    try:
        yield
    finally:
        handle.remove()
