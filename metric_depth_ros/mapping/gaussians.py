"""A scene as 3D Gaussians, each a soft coloured ellipsoid (Kerbl et al. 2023, Section 4).

The numbers kept are the ones an optimiser may move freely, and the ones a 3DGS .ply holds: the
logarithm of the scales, the logit of the opacity, a quaternion of any length, and the colour's
coefficient of the constant spherical harmonic. Colour does not depend on the viewing direction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional as F

from .view import MappingError

# The constant spherical harmonic Y_00 = 1 / (2 sqrt(pi)); colour = 1/2 + Y_00 f_dc.
SH_CONSTANT = 0.5 / math.sqrt(math.pi)


@dataclass(frozen=True)
class Gaussians:
    """N Gaussians in the world frame, metres.

    Raises:
        MappingError: the tensors do not have the shapes below.
    """

    means: Tensor  # (N, 3) metres
    log_scales: Tensor  # (N, 3) natural logarithm of the standard deviations along the own axes
    quaternions: Tensor  # (N, 4) w x y z, of any length but 0: own axes to the world's
    opacity_logits: Tensor  # (N,)
    f_dc: Tensor  # (N, 3) RGB coefficients of SH_CONSTANT

    def __post_init__(self) -> None:
        count = self.means.shape[0]
        for name, shape in (
            ('means', (count, 3)),
            ('log_scales', (count, 3)),
            ('quaternions', (count, 4)),
            ('opacity_logits', (count,)),
            ('f_dc', (count, 3)),
        ):
            found = tuple(getattr(self, name).shape)
            if found != shape:
                raise MappingError(f'{name} of Gaussians have shape {found}, expected {shape}')

    @classmethod
    def empty(cls, *, device: torch.device | str = 'cpu') -> Gaussians:
        """None at all."""
        shapes = ((3,), (3,), (4,), (), (3,))
        return cls(*(torch.zeros(0, *shape, device=device) for shape in shapes))

    @classmethod
    def of(
        cls,
        means: Tensor,  # (N, 3) metres
        scales: Tensor,  # (N, 3) metres, positive
        quaternions: Tensor,  # (N, 4)
        opacities: Tensor,  # (N,) in (0, 1)
        colours: Tensor,  # (N, 3) RGB in [0, 1]
    ) -> Gaussians:
        """Gaussians with these scales, opacities and colours."""
        f_dc = (colours - 0.5) / SH_CONSTANT
        return cls(means, scales.log(), quaternions, torch.logit(opacities), f_dc)

    @property
    def scales(self) -> Tensor:
        """(N, 3) metres, one standard deviation along each own axis."""
        return self.log_scales.exp()

    @property
    def opacities(self) -> Tensor:
        """(N,) in (0, 1)."""
        return torch.sigmoid(self.opacity_logits)

    @property
    def colours(self) -> Tensor:
        """(N, 3) RGB, 0 or more; above 1 is whiter than white."""
        return (0.5 + SH_CONSTANT * self.f_dc).clamp_min(0.0)

    def __len__(self) -> int:
        return self.means.shape[0]

    def __getitem__(self, chosen: Tensor) -> Gaussians:
        """The Gaussians that a bool mask (N,) or indices (M,) choose."""
        return Gaussians(*(value[chosen] for value in self.tensors()))

    def tensors(self) -> tuple[Tensor, ...]:
        """All parameters, in the order of the fields."""
        return tuple(getattr(self, field.name) for field in fields(self))

    def copy(self) -> Gaussians:
        """The same numbers, which an optimiser that goes on does not change."""
        return Gaussians(*(value.detach().clone() for value in self.tensors()))

    def joined(self, other: Gaussians) -> Gaussians:
        """These and then the others."""
        pairs = zip(self.tensors(), other.tensors(), strict=True)
        return Gaussians(*(torch.cat(pair) for pair in pairs))

    def finite(self) -> Tensor:
        """(N,) bool, Gaussians all of whose numbers are finite."""
        columns = [value if value.ndim == 2 else value[:, None] for value in self.tensors()]
        return torch.cat(columns, 1).isfinite().all(1)


def rotation_matrices(quaternions: Tensor) -> Tensor:
    """(..., 3, 3) rotations of quaternions (..., 4) w x y z of any length but 0."""
    w, x, y, z = F.normalize(quaternions, dim=-1).unbind(-1)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return torch.stack([torch.stack(row, -1) for row in rows], -2)
