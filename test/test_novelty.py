"""Novelty: how far a frame is from those a model was calibrated on."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from metric_depth_ros.errors import MetricDepthError
from metric_depth_ros.methods.grin import Grin, GrinConfig
from metric_depth_ros.novelty import LARGEST, Gaussian, Novelty, describe, fit_gaussian, picture
from metric_depth_ros.types import Conditioning


def view(image: Tensor, valid: Tensor | None = None) -> Conditioning:
    h, w = image.shape[-2:]
    rays = torch.zeros(3, h, w)
    rays[2] = 1
    valid = torch.ones(h, w, dtype=torch.bool) if valid is None else valid
    return Conditioning(image, rays, valid)


def noise(seed: int, size: tuple[int, int] = (32, 64), contrast: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return contrast * (2 * torch.rand(3, *size, generator=generator) - 1)


def test_distance_is_that_of_mahalanobis() -> None:
    random = np.random.default_rng(0)
    mixing = random.normal(size=(5, 5))
    values = random.normal(size=(20_000, 5)) @ mixing + 3
    gaussian = fit_gaussian(torch.from_numpy(values))
    assert gaussian.distance(torch.from_numpy(values)).median() == pytest.approx(1, abs=1e-5)
    # The fit shrinks correlations by a tenth: so does the truth here.
    covariance = np.cov(values.T)
    covariance = 0.9 * covariance + 0.1 * np.diag(covariance.diagonal())
    away = random.normal(size=(7, 5)) * 4
    usual, far = (
        np.sqrt(
            np.einsum(
                'ni,ij,nj->n', x - values.mean(0), np.linalg.inv(covariance), x - values.mean(0)
            )
        )
        for x in (values, away)
    )
    np.testing.assert_allclose(
        gaussian.distance(torch.from_numpy(away)), far / np.median(usual), rtol=1e-3
    )


def test_few_values_and_values_that_never_change_still_fit() -> None:
    values = torch.randn(4, 9, generator=torch.Generator().manual_seed(0))
    values[:, 3] = 2.0
    gaussian = fit_gaussian(values)
    assert gaussian.distance(values).isfinite().all()
    other = values[0].clone()
    other[3] = 5.0
    assert gaussian.distance(other) > 5


def test_what_cannot_be_said_is_as_new_as_can_be() -> None:
    gaussian = Gaussian(torch.zeros(2), torch.eye(2))
    assert gaussian.distance(torch.tensor([math.nan, 0.0])) == LARGEST
    assert gaussian.distance(torch.tensor([1e9, 0.0])) == LARGEST
    assert gaussian.distance(torch.tensor([3.0, 4.0])) == 5


def test_a_picture_in_numbers() -> None:
    image = torch.zeros(3, 16, 32)
    image[:, :, 1::2] = 0.5  # columns of one pixel: detail at the first scale alone
    mean, contrast, colour, *detail = picture(view(image)).tolist()
    assert mean == pytest.approx(0.25)
    assert contrast == pytest.approx(0.25)
    assert colour == 0
    assert detail[0] == pytest.approx(math.log(0.501))
    assert detail[1:] == pytest.approx([math.log(0.001)] * 3)
    image[0] += 0.3
    assert picture(view(image))[2] == pytest.approx((0.2 + 0.1 + 0.1) / 3)


def test_what_is_outside_the_picture_does_not_count() -> None:
    valid = torch.zeros(32, 64, dtype=torch.bool)
    valid[:, :48] = True
    one, other = noise(1), noise(1)
    other[:, ~valid] = 0.9
    torch.testing.assert_close(picture(view(one, valid)), picture(view(other, valid)))
    assert not torch.allclose(picture(view(one)), picture(view(other)))


def test_features_of_grin_do_not_depend_on_what_is_outside_and_come_with_the_description() -> None:
    method = Grin(GrinConfig.tiny()).eval()
    conditioning = view(noise(2))
    described = describe(method, conditioning)
    assert len(described) == 2
    assert described[1].shape == (GrinConfig.tiny().global_width,)
    assert not torch.allclose(described[1], describe(method, view(noise(3)))[1])


def fitted(method: Grin) -> Novelty:
    described = [describe(method, view(noise(k, contrast=0.3))) for k in range(80)]
    return Novelty(*(fit_gaussian(torch.stack(kind)) for kind in zip(*described, strict=True)))


def test_a_frame_of_another_kind_is_new_and_one_of_the_same_is_not() -> None:
    torch.manual_seed(0)
    method = Grin(GrinConfig.tiny()).eval()
    novelty = fitted(method)
    same = torch.stack([novelty.of(method, view(noise(k, contrast=0.3))) for k in range(300, 330)])
    assert same.median(0).values.tolist() == pytest.approx([1, 1], abs=0.25)
    other = novelty.of(method, view(noise(1, contrast=0.9)))
    assert other.min() > 2 * same.max()


def test_novelty_without_features_is_of_the_picture_alone() -> None:
    method = Grin(GrinConfig.tiny()).eval()
    both = fitted(method)
    conditioning = view(noise(1))
    picture_alone = Novelty(both.picture).of(method, conditioning)
    assert picture_alone.tolist() == [both.of(method, conditioning)[0].item(), 1.0]


@pytest.mark.parametrize(
    ('mean', 'whitening', 'message'),
    [
        (torch.zeros(2, 2), torch.eye(2), 'mean is torch.float32 of shape'),
        (torch.zeros(2), torch.eye(3), 'whitening is torch.float32 of shape'),
        (torch.zeros(2, dtype=torch.int64), torch.eye(2), 'mean is torch.int64'),
        (torch.zeros(0), torch.zeros(0, 0), 'expected a mean of D'),
        (torch.tensor([0.0, math.nan]), torch.eye(2), 'mean holds numbers that are not finite'),
    ],
)
def test_gaussians_that_cannot_be(mean: Tensor, whitening: Tensor, message: str) -> None:
    with pytest.raises(MetricDepthError, match=message):
        Gaussian(mean, whitening)


def test_novelty_of_another_model_says_so() -> None:
    method = Grin(GrinConfig.tiny()).eval()
    usual = fit_gaussian(torch.stack([picture(view(noise(k))) for k in range(9)]))
    with pytest.raises(MetricDepthError, match='picture has 2 numbers, expected 7'):
        Novelty(Gaussian(torch.zeros(2), torch.eye(2)))
    novelty = Novelty(usual, Gaussian(torch.zeros(5), torch.eye(5)))
    with pytest.raises(MetricDepthError, match='fitted to 5 features, but the method has'):
        novelty.of(method, view(noise(0)))
    with pytest.raises(MetricDepthError, match='1 frames to fit novelty to'):
        fit_gaussian(torch.zeros(1, 7))
