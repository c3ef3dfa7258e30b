"""Viewpoints to look at a map from: the same for surface, cloud and Gaussians, run after run.

They stand still with regard to where the camera was first, and to the vertical.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..mapping.trajectory import Trajectory
from ..types import Camera

FOV_DEG = 35.0
_ELEVATION_DEG = 40.0
_SIDE_DEG = 65.0  # of the first view to either side; from further round walls show their backs
_LEVEL = 0.05  # what cameras' own up counts beside their being held level
_SNAP_DEG = 10.0  # an axis of the world that is so near to the vertical is the vertical
_TRIM = 0.04  # share of points left out at either end of an axis: specks far off
_MARGIN = 1.06


@dataclass(frozen=True)
class Viewpoint:
    """name: as in 'seen from above'. world_from_camera: (4, 4) float64.

    pixels_per_metre: at the centre of the map.
    """

    name: str
    camera: Camera
    world_from_camera: Tensor
    pixels_per_metre: float


@dataclass(frozen=True)
class Level:
    """Axes of a map: up, forward as the camera looked first but level, right. (3,) float64."""

    up: Tensor
    forward: Tensor
    right: Tensor

    @classmethod
    def of(cls, trajectory: Trajectory) -> Level:
        """Of at least one pose.

        Cameras are held upright and seldom rolled, so the vertical is the direction that their
        horizontal axes are most nearly perpendicular to; where they never turn, their mean up.
        """
        rotations = trajectory.world_from_camera[:, :3, :3]
        right, upright, forward = rotations[:, :, 0], -rotations[:, :, 1], rotations[0, :, 2]
        mean = upright.mean(0)
        mean = mean / mean.norm().clamp_min(1e-9)
        eye = torch.eye(3, dtype=torch.float64)
        spread = right.T @ right / len(right) + _LEVEL * (eye - torch.outer(mean, mean))
        up = torch.linalg.eigh(spread).eigenvectors[:, 0]
        up = up if float(up @ mean) >= 0 else -up
        axis = int(up.abs().argmax())
        if float(up[axis].abs()) > math.cos(math.radians(_SNAP_DEG)):
            up = eye[axis] * up[axis].sign()
        ahead = forward - (forward @ up) * up
        if float(ahead.norm()) < 0.1:  # it looked straight up or down
            ahead = rotations[0, :, 0] - (rotations[0, :, 0] @ up) * up
        ahead = ahead / ahead.norm()
        return cls(up, ahead, torch.linalg.cross(ahead, up))


def viewpoints(
    points: Tensor, trajectory: Trajectory, width: int, height: int
) -> tuple[Viewpoint, ...]:
    """From above, from behind the first camera, from its left and from its right.

    Args:
        points: (N, 3) of the map, at least one; all but a few far ones are in sight, and so is
            the trajectory, of at least one pose.
        width, height: pixels.
    """
    level = Level.of(trajectory)
    points = torch.cat((_trimmed(points.double()), trajectory.world_from_camera[:, :3, 3]))
    slope = math.radians(_ELEVATION_DEG)

    def oblique(along: Tensor) -> Tensor:
        return math.cos(slope) * along - math.sin(slope) * level.up

    side = math.radians(_SIDE_DEG)
    left = math.cos(side) * level.forward + math.sin(side) * level.right
    right = math.cos(side) * level.forward - math.sin(side) * level.right
    looks = {
        'from above': (-level.up, level.forward),
        'from behind the first view': (oblique(level.forward), level.up),
        'from its left': (oblique(left), level.up),
        'from its right': (oblique(right), level.up),
    }
    return tuple(
        _fitted(name, points, forward, up, width, height) for name, (forward, up) in looks.items()
    )


def _trimmed(points: Tensor) -> Tensor:
    if len(points) < 100:
        return points
    some = points[:: -(-len(points) // 100_000)]  # quantile() takes no more than 16 million
    low, high = some.quantile(_TRIM, dim=0), some.quantile(1 - _TRIM, dim=0)
    inside = ((some >= low) & (some <= high)).all(-1)
    return some[inside] if bool(inside.any()) else some


def _fitted(
    name: str, points: Tensor, forward: Tensor, up: Tensor, width: int, height: int
) -> Viewpoint:
    """Looking along `forward`, just far enough off to see all points."""
    focal = width / 2 / math.tan(math.radians(FOV_DEG) / 2)
    camera = Camera(focal, focal, (width - 1) / 2, (height - 1) / 2, width, height)
    right = torch.linalg.cross(forward, up)
    right = right / right.norm()
    axes = torch.stack((right, torch.linalg.cross(forward, right), forward), -1)
    middle = (points.amin(0) + points.amax(0)) / 2
    for _ in range(4):  # centring needs the distance, which needs the centre
        x, y, z = ((points - middle) @ axes).unbind(-1)
        distance = _MARGIN * float(
            torch.maximum(x.abs() * focal / (width / 2), y.abs() * focal / (height / 2))
            .sub(z).max()
        )  # fmt: skip
        distance = max(distance, 0.1)
        for values, axis in ((x, 0), (y, 1)):
            seen = values / (distance + z).clamp_min(0.01)
            middle = middle + axes[:, axis] * float(seen.amin() + seen.amax()) / 2 * distance
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = axes
    pose[:3, 3] = middle - distance * forward
    return Viewpoint(name, camera, pose, focal / distance)
