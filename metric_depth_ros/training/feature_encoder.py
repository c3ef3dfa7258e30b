"""Frozen encoders whose features another network's are to resemble.

An encoder is known by its name alone and never learns, so it is no part of a run's state.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import checkpoint
from ..errors import MetricDepthError
from ..methods.coarse import is_public
from ..methods.grin import Grin
from .batch import Batch

# (B, D, h', w') features of a batch, without gradient.
Encoder = Callable[[Batch], Tensor]

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, which all here expect


@functools.lru_cache(maxsize=2)
def load_encoder(name: str, device: torch.device) -> Encoder:
    """The encoder called `name`, in eval mode on the device; the last ones asked for are kept.

    Args:
        name: a checkpoint of GRIN; or a folder or a hub id of a vision transformer in the layout
            of transformers, such as facebook/dinov2-large.

    Raises:
        MetricDepthError: there is none, or it has no patches.
    """
    folder = checkpoint.find(name)
    if is_public(folder):
        return _of_transformer(folder, name, device)
    grin: Any = checkpoint.load(folder).method
    if not isinstance(grin, Grin):
        raise MetricDepthError(
            f'encoder {name!r} is a {type(grin).__name__}, expected a Grin or a vision transformer'
        )
    grin.to(device)

    @torch.no_grad()
    def encode(batch: Batch) -> Tensor:
        image, rays, inside = _resized(batch, grin.multiple_of)
        rays = F.normalize(rays, dim=1)
        return grin.encode(image, rays, inside[:, 0] > 0.5, regress=False).merged

    return encode


def _of_transformer(folder: Path, name: str, device: torch.device) -> Encoder:
    import transformers

    try:
        network = transformers.AutoModel.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_safetensors=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise MetricDepthError(
            f'encoder {name!r} cannot be read: {" ".join(str(error).split())[:300]}'
        ) from None
    patch = getattr(network.config, 'patch_size', None)
    if not isinstance(patch, int):
        raise MetricDepthError(
            f'encoder {name!r} is a {network.config.model_type}, which has no patch_size: '
            f'expected a vision transformer such as facebook/dinov2-large'
        )
    network.to(device).eval()
    mean, std = (torch.tensor(v, device=device)[:, None, None] for v in (_MEAN, _STD))

    @torch.no_grad()
    def encode(batch: Batch) -> Tensor:
        image, _, _ = _resized(batch, patch)
        h, w = (side // patch for side in image.shape[-2:])
        tokens = network(pixel_values=((image + 1) / 2 - mean) / std).last_hidden_state
        # what stands before the patches are tokens of the whole image
        return tokens[:, tokens.shape[1] - h * w :].mT.unflatten(2, (h, w))

    return encode


def _resized(batch: Batch, multiple: int) -> tuple[Tensor, Tensor, Tensor]:
    """Image, rays and inside (B, c, h', w'), with both sides the nearest multiple or the next."""
    size = [
        max(1, math.floor(side / multiple + 0.5)) * multiple for side in batch.image.shape[-2:]
    ]
    inside = batch.inside[:, None].to(batch.image.dtype)
    image, rays, inside = (
        values
        if list(values.shape[-2:]) == size
        else F.interpolate(values, size, mode='bilinear', antialias=True)
        for values in (batch.image, batch.rays, inside)
    )
    return image, rays, inside
