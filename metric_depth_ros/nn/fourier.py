"""Fourier features of low-dimensional coordinates."""

from __future__ import annotations

import math

import torch
from torch import Tensor

MAX_OCTAVE = 2.0  # GRIN's "maximum frequency of 2": the bands span pi to 2^2 pi


def fourier_features(x: Tensor, num_bands: int, max_octave: float = MAX_OCTAVE) -> Tensor:
    """Sines and cosines at `num_bands` frequencies, each group led by the value itself.

    Frequencies are pi * 2 ** linspace(0, max_octave, num_bands). The value stands once with the
    sines and once with the cosines, which is what GRIN's D = 2 (3 (N_o + 1) + 3 (N_r + 1)) counts.

    Args:
        x: (..., C).
    Returns:
        (..., 2 C (num_bands + 1)): per group (sine, cosine), per coordinate, value then bands.
    """
    octaves = torch.linspace(0, max_octave, num_bands, device=x.device, dtype=x.dtype)
    angles = x[..., None] * (math.pi * 2**octaves)
    sines = torch.cat([x[..., None], angles.sin()], dim=-1)
    cosines = torch.cat([x[..., None], angles.cos()], dim=-1)
    return torch.cat([sines.flatten(-2), cosines.flatten(-2)], dim=-1)


def ray_features(
    rays: Tensor, ray_bands: int, centre_bands: int, max_octave: float = MAX_OCTAVE
) -> Tensor:
    """Embedding of viewing rays and of the camera centre they start from (GRIN 4.2).

    With one camera its centre is the origin; it is embedded all the same, so that a network
    trained on one view reads the embedding that several views would have.

    Args:
        rays: (..., 3) unit viewing rays.
    Returns:
        (..., 6 (centre_bands + ray_bands + 2)).
    """
    centre = fourier_features(torch.zeros_like(rays), centre_bands, max_octave)
    return torch.cat([centre, fourier_features(rays, ray_bands, max_octave)], dim=-1)


def ray_feature_width(ray_bands: int, centre_bands: int) -> int:
    """Number of features `ray_features` returns."""
    return 6 * (centre_bands + ray_bands + 2)
