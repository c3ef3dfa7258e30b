"""What a map is made of: a frame, its depth, and where the camera was."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import MetricDepthError
from ..types import DepthPrediction, Frame

_ROTATION_TOLERANCE = 1e-3


class MappingError(MetricDepthError):
    """A view, a pose or a map that cannot be: says which value, and what was expected."""


@dataclass(frozen=True)
class View:
    """One frame with its depth, seen from a known place.

    frame: (H, W, 3) uint8 RGB and its camera. prediction: of that frame, metres along z, and its
        standard deviation.
    world_from_camera: (4, 4) float64, the rigid motion from the optical frame (x right, y down,
        z forward) to the world's, metres.

    Raises:
        MappingError: frame and depth are not of one camera, or the pose is no rigid motion.
    """

    frame: Frame
    prediction: DepthPrediction
    world_from_camera: Tensor

    def __post_init__(self) -> None:
        if self.prediction.camera != self.frame.camera:
            raise MappingError('depth is of another camera than the image, expected the same')
        check_pose(self.world_from_camera)


def check_pose(world_from_camera: Tensor) -> None:
    """Nothing, or a MappingError unless the pose is a rigid motion (4, 4) float64."""
    pose = world_from_camera
    if tuple(pose.shape) != (4, 4) or pose.dtype != torch.float64:
        raise MappingError(
            f'pose is {pose.dtype} of shape {tuple(pose.shape)}, expected torch.float64 of '
            f'shape (4, 4)'
        )
    if not bool(torch.isfinite(pose).all()):
        raise MappingError(f'pose is {pose.tolist()}, expected finite numbers')
    rotation = pose[:3, :3]
    error = (rotation @ rotation.T - torch.eye(3, dtype=pose.dtype)).abs().max().item()
    last_row = pose.new_tensor([0.0, 0.0, 0.0, 1.0])
    rigid = error < _ROTATION_TOLERANCE and torch.linalg.det(rotation) > 0
    if not rigid or not torch.equal(pose[3], last_row):
        raise MappingError(f'pose is {pose.tolist()}, expected a rotation and a translation')
