"""Which pixels of an image to predict: a mask, a box, or a list of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import MetricDepthError
from .types import Camera


class TargetsError(MetricDepthError):
    """Pixels that cannot be asked for: there are none, or they are not in the image."""


@dataclass(frozen=True)
class Box:
    """The `width` columns from `left` on and the `height` rows from `top` on, pixels."""

    left: int
    top: int
    width: int
    height: int


Targets = Tensor | Box | Sequence[Sequence[int]]


def target_mask(targets: Targets, camera: Camera) -> Tensor:
    """(H, W) bool of the camera's image: which pixels are asked for.

    Args:
        targets: (H, W) bool; a Box; or whole pixels, (N, 2) of any integer dtype or a list of
            (u, v) = (column, row).

    Raises:
        TargetsError: no pixel is asked for, or one outside the image.
    """
    if isinstance(targets, Box):
        mask = _box_mask(targets, camera)
    elif isinstance(targets, Tensor) and targets.dtype == torch.bool:
        mask = targets.cpu()
        if mask.shape != (camera.height, camera.width):
            raise TargetsError(
                f'the mask of pixels to predict has shape {tuple(mask.shape)}, expected '
                f'({camera.height}, {camera.width}) like the image'
            )
    else:
        mask = _pixel_mask(targets, camera)
    if not bool(mask.any()):
        raise TargetsError('no pixel is asked for: expected at least one to predict')
    return mask


def _box_mask(box: Box, camera: Camera) -> Tensor:
    if box.width < 1 or box.height < 1:
        raise TargetsError(f'{box} holds no pixel, expected a width and a height of at least 1')
    right, bottom = box.left + box.width, box.top + box.height
    if min(box.left, box.top) < 0 or right > camera.width or bottom > camera.height:
        raise TargetsError(
            f'{box} reaches outside the image of {camera.width}x{camera.height} pixels'
        )
    mask = torch.zeros(camera.height, camera.width, dtype=torch.bool)
    mask[box.top : bottom, box.left : right] = True
    return mask


def _pixel_mask(targets: Tensor | Sequence[Sequence[int]], camera: Camera) -> Tensor:
    pixels = torch.as_tensor(targets).cpu()
    if pixels.numel() == 0:
        raise TargetsError('no pixel is asked for: expected at least one to predict')
    if pixels.is_floating_point() or pixels.ndim != 2 or pixels.shape[1] != 2:
        raise TargetsError(
            f'the pixels to predict are {pixels.dtype} of shape {tuple(pixels.shape)}, expected '
            f'whole numbers of shape (N, 2), columns u and rows v'
        )
    u, v = pixels.long().unbind(1)
    outside = (u < 0) | (v < 0) | (u >= camera.width) | (v >= camera.height)
    if bool(outside.any()):
        raise TargetsError(
            f'pixel {tuple(pixels[outside][0].tolist())} to predict is outside the image of '
            f'{camera.width}x{camera.height} pixels'
        )
    mask = torch.zeros(camera.height, camera.width, dtype=torch.bool)
    mask[v, u] = True
    return mask
