"""Image scores against closed forms and SciPy's filters."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from metric_depth_ros.mapping import MappingError
from metric_depth_ros.mapping.image_scores import depth_l1, psnr, ssim


def pictures(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    truth = torch.rand(24, 32, 3, generator=generator)
    return (truth + 0.1 * torch.randn(24, 32, 3, generator=generator)).clamp(0, 1), truth


def test_psnr_of_a_constant_error() -> None:
    truth = torch.full((4, 5, 3), 0.5)
    assert psnr(truth + 0.1, truth) == pytest.approx(20.0, abs=1e-5)
    assert psnr(truth, truth) == math.inf


def test_psnr_counts_valid_pixels_alone() -> None:
    truth = torch.zeros(2, 2, 3)
    image = truth.clone()
    image[0] = 0.1
    image[1] = 1.0
    valid = torch.tensor([[True, True], [False, False]])
    assert psnr(image, truth, valid) == pytest.approx(20.0, abs=1e-5)


def test_ssim_is_that_of_gaussian_filters() -> None:
    """SciPy's filters in float64 on the means, variances and covariance of Wang et al."""
    image, truth = (x.double().numpy() for x in pictures())

    def mean(x: np.ndarray) -> np.ndarray:
        return gaussian_filter(x, 1.5, truncate=3.5, axes=(0, 1))[5:-5, 5:-5]

    a, b = mean(image), mean(truth)
    var_a, var_b = mean(image**2) - a * a, mean(truth**2) - b * b
    covariance = mean(image * truth) - a * b
    luminance = (2 * a * b + 1e-4) / (a * a + b * b + 1e-4)
    structure = (2 * covariance + 9e-4) / (var_a + var_b + 9e-4)
    expected = (luminance * structure).mean()
    assert 0.5 < expected < 0.99
    assert ssim(*pictures()).item() == pytest.approx(expected, abs=1e-5)


def test_ssim_of_two_greys_is_the_closed_form() -> None:
    """Without variance only luminance is left: (2ab + C1) / (a^2 + b^2 + C1)."""
    a, b, c1 = 0.25, 0.75, 1e-4
    found = ssim(torch.full((16, 16, 3), a), torch.full((16, 16, 3), b))
    assert found.item() == pytest.approx((2 * a * b + c1) / (a * a + b * b + c1), abs=1e-4)


def test_ssim_counts_windows_at_valid_pixels_alone() -> None:
    image, truth = pictures()
    image[:, :16] = truth[:, :16]
    valid = torch.zeros(24, 32, dtype=torch.bool)
    valid[:, :11] = True  # the last window reaches 5 pixels further, to column 15
    assert ssim(image, truth, valid).item() == pytest.approx(1.0, abs=1e-6)
    assert ssim(image, truth).item() < 0.99


def test_depth_l1_is_over_pixels_with_both() -> None:
    depth = torch.tensor([[1.0, 2.0, torch.nan, 5.0]])
    truth = torch.tensor([[1.5, 1.9, 3.0, torch.inf]])
    assert depth_l1(depth, truth) == pytest.approx(0.3, abs=1e-6)
    assert math.isnan(depth_l1(depth[:, 2:], truth[:, 2:]))


def test_what_cannot_be_scored_is_refused() -> None:
    image, truth = pictures()
    with pytest.raises(MappingError, match=r'shape \(23, 32, 3\), expected \(24, 32, 3\)'):
        psnr(image[1:], truth)
    with pytest.raises(MappingError, match='no pixel counts'):
        psnr(image, truth, torch.zeros(24, 32, dtype=torch.bool))
    with pytest.raises(MappingError, match='image is 32x10, SSIM expects at least 11'):
        ssim(image[:10], truth[:10])
    with pytest.raises(MappingError, match='no window counts'):
        ssim(image, truth, torch.zeros(24, 32, dtype=torch.bool))
