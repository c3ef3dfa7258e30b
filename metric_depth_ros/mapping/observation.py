"""What one view says of points in space: how far in front of a surface, and how surely."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from .. import geometry
from ..types import Camera
from .gating import GateCounts, GatedDepth, Gates, Weighting, gate
from .view import View

_POOL = 16  # pixels of the coarse map of distances that finds what may be in view
_SURE = 3.0  # standard deviations


@dataclass(frozen=True)
class Sdf:
    """Signed distances of points to the surface that a view saw, along its rays.

    index: (N,) which of the points; the others are not in the image or have no pixel to trust.
    pixel: (N,) their flat pixels. distance: (N,) metres, positive in front. weight: (N,). empty:
    (N,) metres in front of the surface beyond which space is surely empty.
    """

    index: Tensor
    pixel: Tensor
    distance: Tensor
    weight: Tensor
    empty: Tensor


@dataclass(frozen=True)
class Observation:
    """One view made ready for a map, on the map's device.

    world_from_camera: (4, 4) float64. depth: (H, W) metres, NaN where gated. table: (H * W, 5) see
    _pixel_table. colours: (H * W, 3) float, 0 to 255.
    """

    camera: Camera
    world_from_camera: Tensor
    depth: Tensor
    table: Tensor
    colours: Tensor
    counts: GateCounts

    @classmethod
    def of(
        cls,
        view: View,
        gates: Gates,
        weighting: Weighting,
        voxel_size: float,
        device: torch.device,
    ) -> Observation:
        """Gate and weigh the pixels of a view."""
        prediction = view.prediction
        gated = gate(
            replace(prediction, depth=prediction.depth.to(device), std=prediction.std.to(device)),
            gates,
        )
        weight = weighting.of(gated.depth, gated.std, prediction.camera, voxel_size)
        return cls(
            camera=prediction.camera,
            world_from_camera=view.world_from_camera.to(device),
            depth=gated.depth,
            table=_pixel_table(gated, weight),
            colours=view.frame.image.to(device).reshape(-1, 3).float(),
            counts=gated.counts,
        )

    @property
    def centre(self) -> Tensor:
        """(3,) float64, where the camera was, metres in the world."""
        return self.world_from_camera[:3, 3]

    def surface(self) -> Tensor:
        """(N, 3) float64 points of all usable pixels in the world."""
        points = geometry.unproject(self.depth, self.camera).reshape(-1, 3)
        points = points[points[:, 2].isfinite()].double()
        return points @ self.world_from_camera[:3, :3].T + self.centre

    def sdf(self, points: Tensor) -> Sdf:
        """Signed distances of points (N, 3) of the world, as far as they are in the image."""
        local = self._to_camera(points)
        u, v = geometry.project(local, self.camera).unbind(-1)
        column, row = u.round(), v.round()  # NaN fails the comparisons
        inside = (column >= 0) & (column < self.camera.width)
        inside &= (row >= 0) & (row < self.camera.height) & (local[:, 2] > 0)
        index = inside.nonzero()[:, 0]
        local, column, row = local[index], column[index], row[index]
        pixel = (row * self.camera.width + column).long()
        inverse, slope_u, slope_v, weight, empty = self.table.index_select(0, pixel).unbind(-1)
        # Between pixel centres depth follows the plane around the pixel.
        inverse = inverse + slope_u * (u[index] - column) + slope_v * (v[index] - row)
        distance = (1 / (inverse * local[:, 2]) - 1) * local.norm(dim=-1)
        return Sdf(index, pixel, distance, weight, empty)

    def may_see(self, centres: Tensor, radius: float, margin: float, *, empty: bool) -> Tensor:
        """(N,) bool: which spheres around centres (N, 3) may the view say something about?

        Args:
            margin: metres behind the surface (and in front of it) that count as seen.
            empty: is the space in front of that of interest?
        """
        points = self._to_camera(centres)
        distance = points.norm(dim=-1)
        pixels = geometry.project(points, self.camera)
        spread = radius * max(self.camera.fx, self.camera.fy) / distance.clamp_min(radius)
        size = pixels.new_tensor((self.camera.width, self.camera.height))
        seen = ((pixels > -spread[:, None]) & (pixels < size + spread[:, None])).all(-1)

        furthest, nearest = self._coarse_distance()
        rows, columns = furthest.shape
        cell = (pixels / _POOL).nan_to_num(0.0).long()
        u, v = cell[:, 0].clamp(0, columns - 1), cell[:, 1].clamp(0, rows - 1)
        small = spread < _POOL  # what is larger than the coarse map looks around is let pass
        limit = torch.where(small, furthest[v, u], furthest.max())
        seen &= distance - radius < limit + margin
        if not empty:
            limit = torch.where(small, nearest[v, u], nearest.min())
            seen &= distance + radius > limit - margin
        return seen | (distance < 2 * radius)

    def _to_camera(self, points: Tensor) -> Tensor:
        """(N, 3) float32 points of the world in the optical frame."""
        return (points - self.centre.float()) @ self.world_from_camera[:3, :3].float()

    def _coarse_distance(self) -> tuple[Tensor, Tensor]:
        """Furthest and nearest ray distance around every _POOL-th pixel; 0 and inf where none."""
        ray = geometry.rays(self.camera, device=self.depth.device)
        distance = self.depth / ray[..., 2]
        seen = distance.isfinite()

        def pooled(values: Tensor) -> Tensor:
            cells = F.max_pool2d(values[None], _POOL, ceil_mode=True)
            return F.max_pool2d(cells, 3, 1, 1)[0]

        furthest = pooled(torch.where(seen, distance, 0.0))
        return furthest, -pooled(torch.where(seen, -distance, -torch.inf))


def _pixel_table(gated: GatedDepth, weight: Tensor) -> Tensor:
    """(H * W, 5) of every pixel: inverse depth, its slopes along u and v, weight, and how far in
    front of the surface, in metres, space is surely empty.

    Inverse depth of a plane is linear in the pixels. Slopes are 0 beside pixels without depth.
    """
    inverse = 1 / gated.depth
    slope_u, slope_v = torch.zeros_like(inverse), torch.zeros_like(inverse)
    slope_u[:, 1:-1] = (inverse[:, 2:] - inverse[:, :-2]) / 2
    slope_v[1:-1] = (inverse[2:] - inverse[:-2]) / 2
    slopes = (slope_u.nan_to_num(0.0), slope_v.nan_to_num(0.0))
    return torch.stack((inverse, *slopes, weight, _SURE * gated.std), -1).reshape(-1, 5)
