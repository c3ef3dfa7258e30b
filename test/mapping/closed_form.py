"""A furnished room whose surface is known in closed form, and cameras that go round it.

Nothing in it is parallel to the axes of the world, where voxels would lie exactly on walls.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from random import Random

import torch
from torch import Tensor

from metric_depth_ros import geometry
from metric_depth_ros.mapping import View
from metric_depth_ros.synthetic.builder import Material, SceneBuilder, stack
from metric_depth_ros.synthetic.raycast import cast
from metric_depth_ros.types import Camera, DepthPrediction, Frame

ROOM = ((0.0, 0.0, 1.3), (5.0, 4.0, 2.6))
BOXES = (
    ((1.2, 0.6, 0.4), (0.8, 0.6, 0.8), 0.4),
    ((-1.0, 1.0, 0.25), (0.6, 0.9, 0.5), -0.3),
    ((0.3, -1.2, 0.5), (0.5, 0.5, 1.0), 0.1),
)
BALL = ((-0.9, -0.8, 0.45), 0.45)
CAMERA = Camera(140.0, 141.0, 79.0, 60.0, 160, 120)
FISHEYE = Camera(60.0, 60.5, 79.0, 60.0, 160, 120, 'equidistant', (0.01, -0.005, 0.0, 0.0))


def world_from_room() -> Tensor:
    """(4, 4) float64, a turn about a skew axis and a shift."""
    axis = torch.tensor((0.2, -0.3, 0.25), dtype=torch.float64)
    x, y, z = axis.tolist()
    skew = torch.tensor(((0, -z, y), (z, 0, -x), (-y, x, 0)), dtype=torch.float64)
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = torch.linalg.matrix_exp(skew)
    pose[:3, 3] = torch.tensor((0.313, -0.177, 0.419))
    return pose


def poses(count: int) -> list[Tensor]:
    """world_from_camera of cameras along the walls that look at what stands in the middle."""
    found = []
    for index in range(count):
        angle = 2 * math.pi * index / count
        eye = (2 * math.cos(angle), 1.5 * math.sin(angle), 1.6 + 0.2 * math.sin(3 * angle))
        target = (0.4 * math.cos(angle + 2), 0.4 * math.sin(angle + 2), 0.5)
        found.append(world_from_room() @ looking(eye, target))
    return found


def looking(eye: tuple[float, ...], target: tuple[float, ...]) -> Tensor:
    """(4, 4) float64 pose of an optical frame at `eye`, z up in the image."""
    place, aim = (torch.tensor(p, dtype=torch.float64) for p in (eye, target))
    forward = (aim - place) / (aim - place).norm()
    right = torch.linalg.cross(forward, torch.tensor((0.0, 0.0, 1.0), dtype=torch.float64))
    right = right / right.norm()
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = torch.stack((right, torch.linalg.cross(forward, right), forward), 1)
    pose[:3, 3] = place
    return pose


def truth(camera: Camera, world_from_camera: list[Tensor]) -> Iterator[Tensor]:
    """(H, W) float32 exact depth along z from each pose; NaN where the lens has no ray."""
    builder = SceneBuilder(Random(0), 'train', outdoor=False)
    plain = Material(0)
    builder.room(*ROOM, plain)
    for centre, size, yaw in BOXES:
        builder.box(centre, size, plain, yaw=yaw)
    builder.ellipsoid(BALL[0], (2 * BALL[1],) * 3, plain)
    scene = stack([builder])
    ray = geometry.rays(camera)
    safe = torch.where(ray.isfinite(), ray, torch.tensor((0.0, 0.0, 1.0)))
    for pose in world_from_camera:
        local = torch.linalg.inv(world_from_room()) @ pose
        direction = (safe.double() @ local[:3, :3].T).float()
        hits = cast(scene, local[:3, 3].float()[None], direction[None])
        yield geometry.depth_from_ray_distance(hits.ray_distance[0], ray)


def view(camera: Camera, pose: Tensor, depth: Tensor, std: Tensor | float = 0.0) -> View:
    """A view in one colour, (200, 100, 50)."""
    image = torch.tensor((200, 100, 50), dtype=torch.uint8).expand(*depth.shape, 3)
    std = torch.full_like(depth, std) if isinstance(std, float) else std
    return View(Frame(image, camera), DepthPrediction(depth, std, camera), pose)


def distance(points: Tensor) -> Tensor:
    """(N,) signed metres of points (N, 3) of the world to the nearest surface; > 0 in the air."""
    pose = world_from_room()
    place = (points.double() - pose[:3, 3]) @ pose[:3, :3]
    ball = (place - torch.tensor(BALL[0])).norm(dim=-1) - BALL[1]
    boxes = [_to_box(place, *box) for box in BOXES]
    return torch.stack([-_to_box(place, *ROOM), ball, *boxes]).amin(0)


def _to_box(
    points: Tensor,
    centre: tuple[float, ...],
    size: tuple[float, ...],
    yaw: float = 0.0,
) -> Tensor:
    x, y, z = (points - torch.tensor(centre)).unbind(-1)
    c, s = math.cos(yaw), math.sin(yaw)
    local = torch.stack((c * x + s * y, c * y - s * x, z), -1)
    beyond = local.abs() - torch.tensor(size) / 2
    return beyond.clamp(min=0).norm(dim=-1) + beyond.amax(-1).clamp(max=0)
