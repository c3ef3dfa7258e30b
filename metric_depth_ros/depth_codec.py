"""Metres <-> the code a network works in: exact inverse pairs, nothing learned.

A codec maps a distance in [near, far] to a code in [0, 1], monotonically. What the distance is
(z-depth or ray_distance) is the caller's business.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import MetricDepthError


class DepthCodecError(MetricDepthError):
    """A codec that cannot be: says which value, and what was expected."""


@dataclass(frozen=True)
class LogBase:
    """Logarithm of an affine distance, GRIN Eq. 3 and 4.

        code = log_b((b - 1) (d - near) / (far - near) + 1)

    The base b says how distances share the code: b -> 1 is linear (and base 1 is taken as just
    that), b = far / near is exactly logarithmic, so that an error of the code is the same
    relative error at every distance; larger bases spread the near range further.

    Args:
        near, far: metres, 0 < near < far.
        base: b >= 1.

    Raises:
        DepthCodecError: near, far or base is out of its range.
    """

    near: float
    far: float
    base: float

    def __post_init__(self) -> None:
        if not 0 < self.near < self.far < math.inf:
            raise DepthCodecError(
                f'depth range is {self.near} to {self.far} m, expected 0 < near < far'
            )
        if not 1 <= self.base < math.inf:
            raise DepthCodecError(f'code base is {self.base}, expected 1 (linear) or more')

    def encode(self, distance: Tensor) -> Tensor:
        """Metres to code; distances outside [near, far] are clipped to it, NaN stays NaN."""
        unit = (distance.clamp(self.near, self.far) - self.near) / (self.far - self.near)
        if self.base == 1:
            return unit
        return torch.log1p((self.base - 1) * unit) / math.log(self.base)

    def decode(self, code: Tensor) -> Tensor:
        """Code to metres; codes outside [0, 1] are clipped to it, NaN stays NaN."""
        code = code.clamp(0, 1)
        if self.base == 1:
            unit = code
        else:
            unit = torch.expm1(code * math.log(self.base)) / (self.base - 1)
        return unit * (self.far - self.near) + self.near
