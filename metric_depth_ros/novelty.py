"""How unlike the frames a model was calibrated on a frame is, so that the error bar can say so.

The spread of samples does not: a network that sees what it has never seen is as sure as ever. So a
frame is also described by a few numbers, and its novelty is how far they are from what is usual,
by the distance of Mahalanobis (1936; for networks Lee et al. 2018, A Simple Unified Framework for
Detecting Out-of-Distribution Samples). What a novelty means for errors, the calibration knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import MetricDepthError
from .types import Conditioning, DepthMethod

LARGEST = 100.0
_SCALES = 4
_PICTURE = 3 + _SCALES  # numbers
_LEAST_DETAIL = 1e-3  # difference of neighbours, of values in [-1, 1]; there is a logarithm
_SHRINKAGE = 0.1
_LEAST_VARIANCE = 1e-6  # of the largest, of what hardly varies


@runtime_checkable
class HasFeatures(Protocol):
    """A method that can say what its network makes of a view, whatever its size."""

    def features(self, conditioning: Conditioning) -> Tensor:
        """(D,) a mean over the view."""
        ...


@dataclass(frozen=True)
class Gaussian:
    """Of vectors of D values: mean (D,), and whitening (D, D), floating point.

    The whitening takes usual vectors, less their mean, to a length of 1 in the median.

    Raises:
        MetricDepthError: other shapes, or numbers that are not finite.
    """

    mean: Tensor
    whitening: Tensor

    def __post_init__(self) -> None:
        size = len(self.mean) if self.mean.ndim == 1 else 0
        expected = {'mean': (size,), 'whitening': (size, size)}
        for name, shape in expected.items():
            value = getattr(self, name)
            if not size or tuple(value.shape) != shape or not value.is_floating_point():
                raise MetricDepthError(
                    f'{name} is {value.dtype} of shape {tuple(value.shape)}, expected a mean of D '
                    f'floating-point numbers and a whitening of D x D'
                )
            if not bool(value.isfinite().all()):
                raise MetricDepthError(f'{name} holds numbers that are not finite')

    def distance(self, values: Tensor) -> Tensor:
        """(...) of values (..., D) from the mean, 1 is usual; LARGEST of values not finite."""
        whitened = (values.to(self.mean) - self.mean) @ self.whitening.T
        return whitened.norm(dim=-1).nan_to_num(LARGEST).clamp(max=LARGEST)


@dataclass(frozen=True)
class Novelty:
    """What is usual: of pictures, and of a network's features; None of a method that has none.

    Raises:
        MetricDepthError: what `picture` says of a picture is of another length.
    """

    picture: Gaussian
    features: Gaussian | None = None

    def __post_init__(self) -> None:
        if len(self.picture.mean) != _PICTURE:
            raise MetricDepthError(
                f'picture has {len(self.picture.mean)} numbers, expected {_PICTURE}'
            )

    def of(self, method: DepthMethod, conditioning: Conditioning) -> Tensor:
        """(2,) novelty of picture and features, 1 is usual, on the CPU.

        Raises:
            MetricDepthError: the method's features are not those it was fitted to.
        """
        described = describe(method, conditioning)
        values = [self.picture.distance(described[0]), torch.tensor(1.0)]
        if self.features is not None:
            size = len(self.features.mean)
            if len(described) < 2 or described[1].shape != (size,):
                raise MetricDepthError(
                    f'novelty is fitted to {size} features, but the method has '
                    f'{len(described[1]) if len(described) > 1 else "none"}'
                )
            values[1] = self.features.distance(described[1])
        return torch.stack(values)


def describe(method: DepthMethod, conditioning: Conditioning) -> list[Tensor]:
    """What a view is described by: `picture`, and the method's features if it has any."""
    described = [picture(conditioning)]
    if isinstance(method, HasFeatures):
        described.append(method.features(conditioning).float().cpu())
    return described


def picture(conditioning: Conditioning) -> Tensor:
    """(7,) brightness, contrast, colour, and logarithms of the detail at four scales.

    Detail is the mean difference of horizontal neighbours, at the view's size and each half as
    large as the one before.
    """
    image, valid = conditioning.image.float().cpu(), conditioning.valid.cpu()
    grey = image.mean(0)
    seen = grey[valid]
    values = [
        seen.mean(),
        seen.std(correction=0),
        (image - grey).abs().mean(0)[valid].mean(),
    ]
    level, weight = grey[None, None], valid[None, None].float()
    for scale in range(_SCALES):
        if scale:
            level, weight = (F.avg_pool2d(x, 2, ceil_mode=True) for x in (level, weight))
        known = weight > 0.99  # a pixel beside the border is no detail
        both = known[..., 1:] & known[..., :-1]
        detail = level.diff(dim=-1).abs()[both].mean()
        values.append((detail + _LEAST_DETAIL).log())
    return torch.stack(values)


def fit_gaussian(values: Tensor) -> Gaussian:
    """Of values (N, D), N at least 2; covariances shrunk, as N may be few times D or less.

    Raises:
        MetricDepthError: too few values, or none finite.
    """
    values = values[values.isfinite().all(1)].double()
    if len(values) < 2:
        raise MetricDepthError(f'{len(values)} frames to fit novelty to, expected 2 or more')
    mean = values.mean(0)
    covariance = torch.cov((values - mean).T).reshape(len(mean), len(mean))
    variance = covariance.diagonal()
    least = (_LEAST_VARIANCE * variance.max()).clamp(min=_LEAST_VARIANCE)
    shrunk = (1 - _SHRINKAGE) * covariance
    shrunk = shrunk + torch.diag(_SHRINKAGE * variance + least)
    whitening = torch.linalg.inv(torch.linalg.cholesky(shrunk))
    usual = ((values - mean) @ whitening.T).norm(dim=1).median()
    return Gaussian(mean.float(), (whitening / usual).float())
