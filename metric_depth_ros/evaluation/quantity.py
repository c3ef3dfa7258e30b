"""Is a depth map along z, or along the ray? Catches one taken for the other.

Ray distance is depth / z of the unit ray: equal at the centre of the image, larger towards its
edges. A prediction that errs by exactly that pattern is no bad prediction, it is misread.
"""

from __future__ import annotations

import math
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


class QuantityCheck:
    """Tells depth from ray distance over the frames of a set, added one by one."""

    def __init__(self) -> None:
        self._sums = torch.zeros(4, dtype=torch.float64)  # pixels, and sums xx, xy, yy
        self._slopes: list[float] = []

    def add(self, prediction: Tensor, truth: Tensor, camera: Camera) -> None:
        """Look at one frame, (H, W) metres each; pixels without either are left out."""
        z = geometry.rays(camera, device=truth.device)[..., 2]
        usable = torch.isfinite(prediction) & torch.isfinite(truth)
        usable &= (prediction > 0) & (truth > 0) & (z > 0)
        if int(usable.sum()) < 2:
            return
        x = -z[usable].to(torch.float64).log()
        y = prediction[usable].to(torch.float64).log() - truth[usable].to(torch.float64).log()
        x, y = x - x.mean(), y - y.mean()
        sums = torch.stack((torch.tensor(float(len(x))), x @ x, x @ y, y @ y)).cpu()
        self._sums += sums
        if math.sqrt(float(sums[1] / sums[0])) > _TELLING:
            self._slopes.append(float(sums[2] / sums[1]))

    def verdict(self) -> QuantityVerdict:
        """Of all frames so far; everything is NaN without any."""
        count, xx, xy, yy = self._sums.tolist()
        frames = len(self._slopes)
        if not count or not frames:
            return QuantityVerdict(math.nan, math.nan, math.nan, math.nan, 0, '')
        as_depth, as_ray, truth_as_ray = (
            math.sqrt(max(0.0, yy - 2 * k * xy + k * k * xx) / count) for k in (0, 1, -1)
        )
        swapped = ''
        for name, sign, error in (('prediction', 1, as_ray), ('truth', -1, truth_as_ray)):
            agreeing = sum(0.5 < sign * slope < 1.5 for slope in self._slopes)
            many = frames >= _FRAMES and agreeing >= _AGREEING * frames
            drop = _SMALL_DROP if many else _CLEAR_DROP
            # below the rounding of float32 nothing is worth a word
            if as_depth > _ROUNDING and error < (1 - drop) * as_depth:
                swapped = name
        return QuantityVerdict(xy / xx, as_depth, as_ray, truth_as_ray, frames, swapped)


def check_quantity(prediction: Tensor, truth: Tensor, camera: Camera) -> QuantityVerdict:
    """Whether one prediction fits the truth better as ray distance than as depth.

    Args:
        prediction, truth: (H, W), metres, both said to be along z.
        camera: of the frame.
    """
    check = QuantityCheck()
    check.add(prediction, truth, camera)
    return check.verdict()
