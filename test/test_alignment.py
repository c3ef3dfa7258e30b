"""Fits against numpy's least squares and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from metric_depth_ros.alignment import (
    ALIGNMENTS,
    BLOCK,
    align_disparity,
    align_median,
    align_scale,
    align_scale_shift,
    align_sqrt_disparity,
    masked_median,
)


def depths(count: int = 501, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    truth = 1 + 9 * torch.rand(count, generator=generator, dtype=torch.float64)
    noise = torch.rand(count, generator=generator, dtype=torch.float64)
    return 0.4 * truth + 0.7 + noise, truth


def least_squares(source: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    root = weight.sqrt().numpy()
    design = np.stack((source.numpy(), np.ones(len(source))), 1) * root[:, None]
    scale, shift = np.linalg.lstsq(design, target.numpy() * root, rcond=None)[0]
    return source * scale + shift


@pytest.mark.parametrize('weighted', [False, True])
@pytest.mark.parametrize('count', [501, 2 * BLOCK + 7])
def test_scale_and_shift_are_numpy_s(weighted: bool, count: int):
    prediction, truth = depths(count)
    ones = torch.ones_like(truth)
    weight = ones + truth if weighted else ones
    given = weight if weighted else None
    for align, power in (
        (align_scale_shift, 1.0), (align_disparity, -1.0), (align_sqrt_disparity, -0.5),
    ):  # fmt: skip
        expected = least_squares(prediction**power, truth**power, weight) ** (1 / power)
        torch.testing.assert_close(align(prediction, truth, given), expected, rtol=1e-9, atol=0)


def test_scale_by_hand():
    # s = (1 * 2 + 2 * 5) / (1 + 4) = 2.4; with weights 3 and 1: (6 + 10) / (3 + 4)
    prediction, truth = torch.tensor([1.0, 2.0]), torch.tensor([2.0, 5.0])
    assert align_scale(prediction, truth).tolist() == pytest.approx([2.4, 4.8])
    weighted = align_scale(prediction, truth, torch.tensor([3.0, 1.0]))
    assert weighted.tolist() == pytest.approx([16 / 7, 32 / 7])


def test_medians_are_numpy_s_of_even_counts_too():
    for count in (4, 5, 6, 501, 502):
        prediction, truth = depths(count)
        scale = np.median(truth.numpy()) / np.median(prediction.numpy())
        torch.testing.assert_close(align_median(prediction, truth), prediction * scale)
    ties = torch.tensor([3.0, 1.0, 3.0, 3.0])
    assert masked_median(ties).item() == 3
    halves = torch.tensor([[1.0, 2.0, 4.0, 9.0], [7.0, 5.0, 1.0, 1.0]])
    mask = torch.tensor([[True, True, True, True], [True, True, False, False]])
    assert masked_median(halves, mask).tolist() == [3.0, 6.0]
    assert math.isnan(masked_median(ties, torch.zeros(4, dtype=torch.bool)).item())


@pytest.mark.parametrize('name', [name for name in ALIGNMENTS if name != 'none'])
def test_what_does_not_count_changes_nothing(name: str):
    align = ALIGNMENTS[name]
    prediction, truth = depths()
    expected = align(prediction, truth, None)
    worse, holes = prediction.repeat(2), truth.repeat(2)
    worse[501:] = torch.tensor([math.nan, math.inf, 0.0, -1.0, 5.0])[torch.arange(501) % 5]
    holes[505::5] = math.nan  # where the prediction is sound
    torch.testing.assert_close(align(worse, holes, None)[:501], expected)
    masked = torch.arange(1002) < 501
    torch.testing.assert_close(align(prediction.repeat(2), holes * 3, masked)[:501] / 3,
                               expected, rtol=1e-9, atol=0)  # fmt: skip


@pytest.mark.parametrize('name', list(ALIGNMENTS))
def test_a_batch_is_its_images(name: str):
    align = ALIGNMENTS[name]
    rows = [depths(seed=seed) for seed in range(3)]
    prediction, truth = (torch.stack(x) for x in zip(*rows, strict=True))
    together = align(prediction, truth, None)
    for row, (d, t) in zip(together, rows, strict=True):
        torch.testing.assert_close(row, align(d, t, None), rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ('name', 'distort'),
    [
        ('median', lambda t: 3 * t),
        ('scale', lambda t: 3 * t),
        ('scale_shift', lambda t: 3 * t + 2),
        ('scale_shift_disparity', lambda t: 1 / (3 / t + 2)),
        ('scale_shift_sqrt_disparity', lambda t: (3 * t**-0.5 + 2) ** -2),
    ],
)
def test_forgives_what_it_says(name: str, distort):
    _, truth = depths()
    torch.testing.assert_close(ALIGNMENTS[name](distort(truth), truth, None), truth)


def test_a_constant_becomes_the_mean():
    truth = torch.tensor([1.0, 2.0, 6.0])
    assert align_scale_shift(torch.full((3,), 0.7), truth).tolist() == pytest.approx([3, 3, 3])
    harmonic = 3 / (1 + 1 / 2 + 1 / 6)
    assert align_disparity(torch.full((3,), 0.7), truth).tolist() == pytest.approx([harmonic] * 3)


def test_disparity_that_is_not_positive_is_beyond_range():
    # 1 / d = (1, 2), 1 / t = (1, 3): s = 2, b = -1; a pixel of weight 0 with 1 / d = 0.25 gets
    # the disparity -0.5
    prediction, truth = torch.tensor([1.0, 0.5, 4.0]), torch.tensor([1.0, 1 / 3, 1.0])
    fitted = align_disparity(prediction, truth, torch.tensor([1, 1, 0]))
    assert fitted[:2].tolist() == pytest.approx([1, 1 / 3])
    assert fitted[2] == math.inf
