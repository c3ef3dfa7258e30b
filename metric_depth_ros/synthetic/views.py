"""Places from which to look: as hands and robots hold a camera."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from .. import geometry
from ..types import Camera
from .cameras import CLEARANCE, CLEARANCE_OUTDOORS, clearance, look
from .content import Content
from .raycast import cast, gather
from .scene import SKY_DISTANCE, Kind, Scenes

# Views tried before the best of them is taken; the size at which they are judged.
ATTEMPTS = 6
PROBE = (16, 12)


def random_pose(
    scenes: Scenes,
    generator: Generator,
    cameras: list[Camera] | None = None,
    *,
    content: Content | None = None,
) -> Tensor:
    """(B, 4, 4) world_from_camera: one view of each scene that is worth learning from.

    Hand-held and robots' heights (indoors 0.2 to 2 m, outdoors 0.3 to 2.2 m), pitch and roll;
    never inside of a thing; of several tries the one that sees most: structure at several
    depths, floor, no wall that fills the view.
    """
    count = len(scenes)
    cameras = cameras or [Camera(8, 8, 7.5, 5.5, *PROBE)] * count
    small = torch.stack([_few_rays(camera) for camera in cameras])
    small = torch.where(small.isfinite(), small, torch.tensor([0.0, 0.0, 1.0]))
    small = small.to(scenes.device)
    best, best_score = None, torch.full((count,), -torch.inf)
    for _ in range(ATTEMPTS):
        pose = _try_pose(scenes, generator)
        score = _worth(scenes, pose, small).cpu()
        if best is None:
            best = pose
        better = score > best_score
        best = torch.where(better[:, None, None].to(pose.device), pose, best)
        best_score = torch.where(better, score, best_score)
    assert best is not None
    return best


def _few_rays(camera: Camera) -> Tensor:
    """PROBE's number of the camera's rays, evenly spread, (h, w, 3)."""
    grid = geometry.pixel_grid(*PROBE) + 0.5
    size = torch.tensor([camera.width / PROBE[0], camera.height / PROBE[1]])
    return geometry.directions(grid * size - 0.5, camera)


def _try_pose(scenes: Scenes, generator: Generator) -> Tensor:
    count = len(scenes)
    device = scenes.device
    outdoor = scenes.outdoor.cpu()
    room = scenes.half_size[:, 0].cpu()
    wanted = torch.where(outdoor, CLEARANCE_OUTDOORS, CLEARANCE)
    place, clear = torch.zeros(count, 3), torch.full((count,), -torch.inf)
    for _ in range(4):  # of a few places, one with enough air around it
        u = torch.rand(count, 5, generator=generator)
        inside = (2 * u[:, :2] - 1) * (room[:, :2] - 0.35).clamp(min=0.05)
        street = torch.stack([u[:, 0] * 24 - 12, (u[:, 1] * 2 - 1) * 7], -1)
        low, high = torch.where(outdoor, 0.3, 0.2), torch.where(outdoor, 1.1, 0.9)
        robot = low + (high - low) * u[:, 2]
        hand = 1.0 + (torch.where(outdoor, 2.2, 2.0) - 1.0) * u[:, 3]
        height = torch.where(u[:, 4] < 0.4, robot, hand)
        height = torch.where(outdoor, height, torch.minimum(height, room[:, 2] * 2 - 0.3))
        tried = torch.cat([torch.where(outdoor[:, None], street, inside), height[:, None]], -1)
        air = clearance(scenes, tried[:, None].to(device))[:, 0].cpu()
        better = (air > clear) & (clear < wanted)
        place = torch.where(better[:, None], tried, place)
        clear = torch.where(better, air, clear)
    n = torch.randn(count, 2, generator=generator)
    t = torch.rand(count, 2, generator=generator)
    wide = torch.where(outdoor, 0.1, 0.2)
    # Higher cameras look further down.
    slope = torch.where(outdoor, 0.04, 0.09)
    pitch = -slope * (place[:, 2] - 0.5).clamp(min=0) - 0.02 + wide * n[:, 0]
    roll = torch.where(t[:, 1] < 0.2, 0.2, 0.035) * n[:, 1]
    yaw = 2 * math.pi * t[:, 0]
    return look(place, yaw, pitch.clamp(-0.9, 0.5), roll.clamp(-0.5, 0.5)).to(device)


def _worth(scenes: Scenes, pose: Tensor, rays: Tensor) -> Tensor:
    """(B,) how much a view teaches; a view from inside of a thing comes last."""
    directions = F.normalize(torch.einsum('bij,bhwj->bhwi', pose[:, :3, :3], rays), dim=-1)
    hits = cast(scenes, pose[:, :3, 3], directions)
    # What is seen through a window, and the sky, are not what makes a view worth having.
    furthest = torch.where(scenes.outdoor, 80.0, 12.0)[:, None]
    distance = torch.minimum(hits.ray_distance.flatten(1), furthest)
    low, middle, high = distance.quantile(
        torch.tensor([0.05, 0.5, 0.95], device=distance.device), dim=1
    )
    which = hits.primitive.flatten(1)
    position = pose[:, None, None, :3, 3] + hits.ray_distance[..., None] * directions
    floor = ((position[..., 2].abs() < 0.2) & (hits.primitive >= 0)).flatten(1).float().mean(1)
    ordered = which.sort(1).values
    things = 1 + (ordered[:, 1:] != ordered[:, :-1]).sum(1).float()
    largest = (ordered == ordered.mode(1, keepdim=True).values).float().mean(1)
    is_room = gather(scenes.kind, hits.primitive).flatten(1) == Kind.ROOM
    outside = torch.where(scenes.outdoor, SKY_DISTANCE, 25.0)[:, None]
    beyond = (hits.ray_distance.flatten(1) > outside).float().mean(1)
    most = torch.where(scenes.outdoor, 4.0, 2.5)
    score = torch.minimum(torch.log(high / low.clamp(min=0.1)), most) + 0.08 * things.clamp(max=20)
    score = score + 0.8 * torch.log(middle).clamp(-1, 2.7)
    score = score + (4 * floor).clamp(max=0.6)
    score = score - 3.0 * (middle < torch.where(scenes.outdoor, 2.0, 0.6)).float()
    score = score - 3.0 * ((largest > 0.75) & ~is_room.any(1)).float()
    score = score - 3.0 * (beyond > torch.where(scenes.outdoor, 0.6, 0.15)).float()
    clear = clearance(scenes, pose[:, None, :3, 3])[:, 0]
    wanted = torch.where(scenes.outdoor, CLEARANCE_OUTDOORS, CLEARANCE)
    return score - 20.0 * (wanted - clear).clamp(min=0)
