"""Poses in ROS messages <-> (4, 4) float64 rigid motions.

A pose of nav_msgs/Odometry or geometry_msgs/PoseStamped is that of a body in the frame of its
header; one of tf2_msgs/TFMessage is that of its child_frame_id. The camera is seldom that body:
the transform from body to optical frame is the caller's to add.

What is sent is made of the classes of either library, found by their ROS 2 names:

    odometry_message(pose, header, 'camera', typestore.types.__getitem__)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import rigid
from .frames import stamp_ns
from .pixels import MessageError

TypeNamed = Callable[[str], Any]

_UNIT_TOLERANCE = 0.1  # drivers round quaternions; beyond this the numbers are no rotation


@dataclass(frozen=True)
class StampedPose:
    """Where `child` is in `parent` at a time.

    parent_from_child: (4, 4) float64, metres. child is empty where the message names none.
    """

    stamp_ns: int
    parent: str
    child: str
    parent_from_child: Tensor


def pose_from_message(message: Any) -> StampedPose:
    """Of nav_msgs/Odometry, geometry_msgs/PoseStamped or PoseWithCovarianceStamped.

    Raises:
        MessageError: numbers that are not finite, or a quaternion that is not of unit length.
    """
    pose = message.pose
    while hasattr(pose, 'pose'):  # with a covariance
        pose = pose.pose
    child = getattr(message, 'child_frame_id', '')
    return _stamped(message.header, child, pose.position, pose.orientation)


def poses_from_transforms(message: Any) -> list[StampedPose]:
    """Of tf2_msgs/TFMessage, one a transform.

    Raises:
        MessageError: as `pose_from_message`.
    """
    return [
        _stamped(
            each.header, each.child_frame_id, each.transform.translation, each.transform.rotation
        )
        for each in message.transforms
    ]


def _stamped(header: Any, child: str, position: Any, orientation: Any) -> StampedPose:
    translation = torch.tensor([position.x, position.y, position.z], dtype=torch.float64)
    turn = torch.tensor(
        [orientation.x, orientation.y, orientation.z, orientation.w], dtype=torch.float64
    )
    name = f'pose of {child or "the body"} in {header.frame_id or "a frame without a name"}'
    if not bool(torch.isfinite(translation).all() and torch.isfinite(turn).all()):
        raise MessageError(
            f'{name} is {translation.tolist()}, {turn.tolist()}, expected finite numbers'
        )
    if abs(float(turn.norm()) - 1) > _UNIT_TOLERANCE:
        raise MessageError(f'{name} has quaternion {turn.tolist()}, expected one of length 1')
    return StampedPose(stamp_ns(header), header.frame_id, child, rigid.rigid(translation, turn))


def pose_message(pose: Tensor, type_named: TypeNamed) -> Any:
    """geometry_msgs/Pose of (4, 4)."""
    return type_named('geometry_msgs/msg/Pose')(
        position=_vector(pose, 'Point', type_named), orientation=_quaternion(pose, type_named)
    )


def pose_stamped_message(pose: Tensor, header: Any, type_named: TypeNamed) -> Any:
    """geometry_msgs/PoseStamped; the frame of the header is the parent."""
    return type_named('geometry_msgs/msg/PoseStamped')(
        header=header, pose=pose_message(pose, type_named)
    )


def path_message(poses: Sequence[Any], header: Any, type_named: TypeNamed) -> Any:
    """nav_msgs/Path of messages that `pose_stamped_message` made."""
    return type_named('nav_msgs/msg/Path')(header=header, poses=list(poses))


def transform_message(pose: Tensor, header: Any, child: str, type_named: TypeNamed) -> Any:
    """geometry_msgs/TransformStamped of parent_from_child (4, 4)."""
    transform = type_named('geometry_msgs/msg/Transform')(
        translation=_vector(pose, 'Vector3', type_named), rotation=_quaternion(pose, type_named)
    )
    return type_named('geometry_msgs/msg/TransformStamped')(
        header=header, child_frame_id=child, transform=transform
    )


def odometry_message(
    pose: Tensor,
    header: Any,
    child: str,
    type_named: TypeNamed,
    *,
    position_std: float = 0.0,
    rotation_std: float = 0.0,
) -> Any:
    """nav_msgs/Odometry of parent_from_child (4, 4); the twist is not known and stays 0.

    Args:
        position_std, rotation_std: metres and radians, the same along every axis; 0 for unknown.
    """
    variances = [position_std**2] * 3 + [rotation_std**2] * 3
    zero = np.zeros(36)

    def vector() -> Any:
        return type_named('geometry_msgs/msg/Vector3')(x=0.0, y=0.0, z=0.0)

    twist = type_named('geometry_msgs/msg/Twist')(linear=vector(), angular=vector())
    return type_named('nav_msgs/msg/Odometry')(
        header=header,
        child_frame_id=child,
        pose=type_named('geometry_msgs/msg/PoseWithCovariance')(
            pose=pose_message(pose, type_named), covariance=np.diag(variances).reshape(-1)
        ),
        twist=type_named('geometry_msgs/msg/TwistWithCovariance')(twist=twist, covariance=zero),
    )


def _vector(pose: Tensor, name: str, type_named: TypeNamed) -> Any:
    x, y, z = pose[:3, 3].tolist()
    return type_named(f'geometry_msgs/msg/{name}')(x=x, y=y, z=z)


def _quaternion(pose: Tensor, type_named: TypeNamed) -> Any:
    x, y, z, w = rigid.quaternion(pose).tolist()
    return type_named('geometry_msgs/msg/Quaternion')(x=x, y=y, z=z, w=w)
