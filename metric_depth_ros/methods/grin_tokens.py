"""What GRIN's network makes of an image and of a set of its pixels; the network is in grin.py."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


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

    def rows(self, which: Tensor) -> Tokens:
        """Those of the images `which` (S,), once for each sample of them."""
        return Tokens(
            self.local[which], self.scene[which], self.readable[which], self.centre[which]
        )
