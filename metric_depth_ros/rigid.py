"""Rigid motions: (4, 4) float64 matrices a_from_b that take points of frame b to frame a, metres.

Quaternions are (x, y, z, w), as ROS and the TUM trajectory format have them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_STRAIGHT = 1e-9  # radians; below this the axis of a rotation has no meaning


def rigid(translation: Tensor, quaternion: Tensor) -> Tensor:
    """(..., 4, 4) of a translation (..., 3) and a quaternion (..., 4) of any length but 0."""
    x, y, z, w = (quaternion / quaternion.norm(dim=-1, keepdim=True)).unbind(-1)
    rotation = torch.stack(
        (
            1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
            2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
            2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
        ),
        dim=-1,
    ).unflatten(-1, (3, 3))  # fmt: skip
    pose = torch.eye(4, dtype=rotation.dtype).repeat(*rotation.shape[:-2], 1, 1)
    pose[..., :3, :3] = rotation
    pose[..., :3, 3] = translation
    return pose


def quaternion(pose: Tensor) -> Tensor:
    """(4,) unit quaternion, w >= 0, of the rotation of a motion (4, 4)."""
    r = pose[:3, :3]
    trace = r.trace()
    # The largest of the four components is found first, so that nothing is divided by almost 0.
    squares = torch.stack((*(1 + 2 * r.diagonal() - trace), 1 + trace)).clamp(min=0) / 4
    largest = int(squares.argmax())
    x, y, z = r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]
    xy, xz, yz = r[0, 1] + r[1, 0], r[0, 2] + r[2, 0], r[1, 2] + r[2, 1]
    products = torch.stack(
        (
            torch.stack((4 * squares[0], xy, xz, x)),
            torch.stack((xy, 4 * squares[1], yz, y)),
            torch.stack((xz, yz, 4 * squares[2], z)),
            torch.stack((x, y, z, 4 * squares[3])),
        )
    )[largest]
    unit = products / products.norm()
    return -unit if unit[3] < 0 else unit


def inverse(pose: Tensor) -> Tensor:
    """(..., 4, 4) b_from_a of a_from_b."""
    back = pose.clone()
    back[..., :3, :3] = pose[..., :3, :3].mT
    back[..., :3, 3] = -(pose[..., :3, :3].mT @ pose[..., :3, 3:])[..., 0]
    return back


def angle(pose: Tensor) -> float:
    """Radians, 0 to pi, that a motion (4, 4) rotates by."""
    vector = quaternion(pose)
    return 2 * math.atan2(float(vector[:3].norm()), float(vector[3]))


def distance(pose: Tensor) -> float:
    """Metres between the origins of the two frames of a motion (4, 4)."""
    return float(pose[:3, 3].norm())


def interpolate(first: Tensor, second: Tensor, share: float) -> Tensor:
    """The pose `share` of the way from `first` (0) to `second` (1); beyond them it goes on alike.

    Rotation turns about one axis at an even rate (slerp, Shoemake 1985); translation is linear.
    """
    between = torch.eye(4, dtype=torch.float64)
    between[:3, :3] = first[:3, :3].T @ second[:3, :3]
    turn = quaternion(between)
    half = math.atan2(float(turn[:3].norm()), float(turn[3]))
    scale = math.sin(half * share) / math.sin(half) if half > _STRAIGHT else share
    part = torch.cat((turn[:3] * scale, turn.new_tensor([math.cos(half * share)])))
    pose = first.clone()
    pose[:3, :3] = first[:3, :3] @ rigid(torch.zeros(3, dtype=torch.float64), part)[:3, :3]
    pose[:3, 3] = torch.lerp(first[:3, 3], second[:3, 3], share)
    return pose
