"""Random cameras, how they are turned, and how far they stand from things."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from ..errors import MetricDepthError
from ..types import Camera
from .builder import seeded
from .scene import Kind, Scenes

# Horizontal fields of view that training never sees and held-out frames always have, degrees.
HELDOUT_FOV = (70.0, 80.0)
LENSES = ('none', 'plumb_bob', 'equidistant', 'rational_polynomial')
# How far a camera keeps from every surface, metres.
CLEARANCE = 0.25
CLEARANCE_OUTDOORS = 0.6


def random_camera(
    width: int,
    height: int,
    generator: Generator,
    *,
    fov_deg: tuple[float, float] = (40.0, 110.0),
    lens: str = 'mixed',
    split: str | None = None,
) -> Camera:
    """A camera with an off-centre principal point and, mostly, a distorted lens.

    Args:
        fov_deg: range of the horizontal field of view, degrees.
        lens: a distortion model, or 'mixed': half of them rectified.
        split: 'train' leaves out HELDOUT_FOV, 'heldout' takes nothing else, None does neither.

    Raises:
        MetricDepthError: an unknown lens, or a range that the split leaves empty.
    """
    if lens != 'mixed' and lens not in LENSES:
        raise MetricDepthError(f'lens is {lens!r}, expected mixed, {", ".join(LENSES)}')
    random = seeded(generator)
    fov = math.radians(_fov(random.random(), fov_deg, split))
    if lens == 'mixed':
        lens = random.choices(LENSES, (0.5, 0.25, 0.15, 0.1))[0]
    cx = (width - 1) / 2 + width * random.gauss(0, 0.02)
    cy = (height - 1) / 2 + height * random.gauss(0, 0.02)
    half = width / 2
    focal = half / (fov / 2) if lens == 'equidistant' else half / math.tan(fov / 2)
    aspect = 1 + random.gauss(0, 0.003)
    # Coefficients as lenses of that field of view have them: their effect at the corner is
    # bounded, so that every pixel has one ray.
    corner = 1.12 * math.hypot(width / 2, height / 2) / focal
    k1, k2 = random.uniform(-0.11, 0.05) / corner**2, random.uniform(-0.005, 0.01) / corner**4
    p1, p2 = random.gauss(0, 0.0007), random.gauss(0, 0.0007)
    distortion: tuple[float, ...] = {
        'none': (),
        'plumb_bob': (k1, k2, p1, p2, 0.0),
        'rational_polynomial': (k1 + 0.02, k2, p1, p2, 0.0, 0.02, 0.0, 0.0),
        'equidistant': (random.uniform(-0.03, 0.03), random.uniform(-0.005, 0.005), 0.0, 0.0),
    }[lens]
    return Camera(focal, focal * aspect, cx, cy, width, height, lens, distortion)


def _fov(position: float, fov_deg: tuple[float, float], split: str | None) -> float:
    """The angle at `position` (0 to 1) of the range's parts that belong to the split."""
    low, high = fov_deg
    inside = (max(low, HELDOUT_FOV[0]), min(high, HELDOUT_FOV[1]))
    if split == 'heldout':
        parts = [inside]
    elif split == 'train':
        parts = [(low, min(high, HELDOUT_FOV[0])), (max(low, HELDOUT_FOV[1]), high)]
    else:
        parts = [(low, high)]
    parts = [part for part in parts if part[1] >= part[0]]
    if not parts:
        raise MetricDepthError(
            f'fov_deg is {fov_deg}, which holds no angle of split {split!r}: '
            f'{HELDOUT_FOV} degrees are held out'
        )
    rest = position * sum(b - a for a, b in parts)
    for a, b in parts:
        if rest <= b - a:
            return a + rest
        rest -= b - a
    return parts[-1][1]


def look(position: Tensor, yaw: Tensor, pitch: Tensor, roll: Tensor) -> Tensor:
    """(B, 4, 4) world_from_camera of optical frames at position (B, 3).

    yaw about the world's z, 0 looks along x; pitch > 0 looks up; roll > 0 turns clockwise as
    the camera sees it; radians, (B,).
    """
    zero = torch.zeros_like(yaw)
    forward = torch.stack([yaw.cos() * pitch.cos(), yaw.sin() * pitch.cos(), pitch.sin()], -1)
    level = torch.stack([yaw.sin(), -yaw.cos(), zero], -1)
    down = torch.linalg.cross(forward, level)
    c, s = roll.cos()[..., None], roll.sin()[..., None]
    right, down = c * level + s * down, c * down - s * level
    pose = torch.eye(4).expand(*yaw.shape, 4, 4).clone().to(position)
    pose[..., :3, 0], pose[..., :3, 1], pose[..., :3, 2] = right, down, forward
    pose[..., :3, 3] = position
    return pose


def clearance(scenes: Scenes, position: Tensor) -> Tensor:
    """(B, M) about how far positions (B, M, 3) are from the nearest surface; < 0 inside a thing.

    Distances to bounding boxes, which is what a camera should keep from anything.
    """
    offset = position[:, None] - scenes.centre[:, :, None]
    local = offset @ scenes.rotation
    beyond = local.abs() - scenes.half_size[:, :, None]
    outside = beyond.clamp(min=0).norm(dim=-1) + beyond.amax(-1).clamp(max=0)
    kind = scenes.kind[..., None]
    solid = (kind != Kind.NONE) & (kind != Kind.ROOM)
    distance = torch.where(solid, outside, torch.inf).amin(1)
    in_room = torch.where(kind == Kind.ROOM, -outside, -torch.inf).amax(1)
    return torch.where(scenes.outdoor[:, None], distance, torch.minimum(distance, in_room))
