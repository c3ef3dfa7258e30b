"""Is a depth map along z, or along the ray? Catches one taken for the other.

Ray distance is depth / z of the unit ray: equal at the centre of the image, larger towards its
edges. A prediction that errs by exactly that pattern is no bad prediction, it is misread.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import geometry
from ..types import Camera

# A view so narrow that both are the same to within this much (of ln) tells nothing.
_TELLING = 0.003
# What makes a verdict: read so, the error falls by half; or a little, and so many frames agree
# about it. A bad guess has slopes too, of whatever the scene is like, but gains nothing by them.
_CLEAR_DROP, _SMALL_DROP = 0.5, 0.05
_FRAMES, _AGREEING = 10, 0.8
_ROUNDING = 1e-5
_PIXELS = 20_000  # of a frame: plenty


@dataclass(frozen=True)
class QuantityVerdict:
    """What predicted and true depth are, relative to each other, each frame's scale forgiven.

    slope: of ln(prediction / truth) over ln(ray distance / depth): 0 where both are the same
        quantity, 1 where the prediction is ray distance and the truth depth, -1 the other way.
        The fit as ray distance is the better one exactly where it is above one half.
    error_as_depth: RMS of ln(prediction / truth), taken as it is.
    error_as_ray: the same with the prediction read as ray distance.
    error_truth_as_ray: the same with the truth read as ray distance.
    frames: how many were looked at.
    swapped: '' if all is well, or nothing can be told; 'prediction' if it is clearly ray
        distance where depth is expected; 'truth' if that is.
    """

    slope: float
    error_as_depth: float
    error_as_ray: float
    error_truth_as_ray: float
    frames: int
    swapped: str

    @property
    def fits_better_as_ray(self) -> bool:
        """Whether the prediction is nearer to the truth read as ray distance."""
        return self.error_as_ray < self.error_as_depth

    def warning(self) -> str:
        """One line to print; empty if all is well."""
        if not self.swapped:
            return ''
        better = self.error_as_ray if self.swapped == 'prediction' else self.error_truth_as_ray
        other = 'depth along z' if self.swapped == 'prediction' else 'the prediction is not'
        return (
            f'the {self.swapped} looks like ray distance, {other}: read so, the error (RMS of '
            f'ln, scale forgiven) is {better:.4f} instead of {self.error_as_depth:.4f}'
        )


@dataclass(frozen=True)
class QuantityEvidence:
    """What one frame tells, of x = ln(ray distance / depth) and y = ln(prediction / truth).

    xx, xy, yy: variances and covariance over the pixels. pixels: how many were looked at.
    """

    pixels: int
    xx: float
    xy: float
    yy: float


def quantity_evidence(prediction: Tensor, truth: Tensor, camera: Camera) -> QuantityEvidence:
    """Look at one frame; at about 20,000 of its pixels.

    Args:
        prediction, truth: (H, W), metres, both said to be along z; pixels without either are left
            out.
        camera: of the frame.
    """
    stride = max(1, round(math.sqrt(truth.numel() / _PIXELS)))
    few = (slice(stride // 2, None, stride),) * 2
    d, t = prediction[few].to(torch.float64), truth[few].to(torch.float64)
    z = geometry.rays(camera, device=truth.device)[few][..., 2].to(torch.float64)
    usable = (d > 0) & (d < torch.inf) & (t > 0) & (t < torch.inf) & (z > 0)
    count = int(usable.sum())
    if not count:
        return QuantityEvidence(0, 0.0, 0.0, 0.0)
    x, y = -z[usable].log(), (d[usable] / t[usable]).log()
    x, y = x - x.mean(), y - y.mean()
    return QuantityEvidence(count, *(float(a @ b) / count for a, b in ((x, x), (x, y), (y, y))))


def quantity_verdict(evidence: Sequence[QuantityEvidence]) -> QuantityVerdict:
    """What the frames of a set tell together; every pixel counts alike."""
    telling = [e for e in evidence if e.xx > _TELLING**2]
    if not telling:
        return QuantityVerdict(math.nan, math.nan, math.nan, math.nan, 0, '')
    count = sum(e.pixels for e in telling)
    xx, xy, yy = (sum(e.pixels * getattr(e, name) for e in telling) / count
                  for name in ('xx', 'xy', 'yy'))  # fmt: skip
    as_depth, as_ray, truth_as_ray = (
        math.sqrt(max(0.0, yy - 2 * k * xy + k * k * xx)) for k in (0, 1, -1)
    )
    swapped = ''
    for name, sign, error in (('prediction', 1, as_ray), ('truth', -1, truth_as_ray)):
        agreeing = sum(0.5 < sign * e.xy / e.xx < 1.5 for e in telling)
        many = len(telling) >= _FRAMES and agreeing >= _AGREEING * len(telling)
        drop = _SMALL_DROP if many else _CLEAR_DROP
        # below the rounding of float32 nothing is worth a word
        if as_depth > _ROUNDING and error < (1 - drop) * as_depth:
            swapped = name
    return QuantityVerdict(xy / xx, as_depth, as_ray, truth_as_ray, len(telling), swapped)


def check_quantity(prediction: Tensor, truth: Tensor, camera: Camera) -> QuantityVerdict:
    """Whether one prediction fits the truth better as ray distance than as depth.

    Args: as of `quantity_evidence`.
    """
    return quantity_verdict([quantity_evidence(prediction, truth, camera)])
