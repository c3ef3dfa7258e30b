"""Views of the widest range of depths: near clutter before far walls.

The smaller part of natural views is drawn like this, as robots do drive up to things.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from .cameras import CLEARANCE, CLEARANCE_OUTDOORS, clearance, look
from .raycast import cast, gather
from .scene import SKY_DISTANCE, Kind, Scenes

# Views tried before the best of them is taken.
ATTEMPTS = 6


def widest_pose(scenes: Scenes, generator: Generator, rays: Tensor) -> Tensor:
    """(B, 4, 4) world_from_camera: of ATTEMPTS views the one that sees most.

    Structure at several depths, floor, no wall that fills the view; never inside of a thing.

    Args:
        rays: (B, h, w, 3) a few rays of each camera.
    """
    best = _try_pose(scenes, generator)
    best_score = _worth(scenes, best, rays)
    for _ in range(ATTEMPTS - 1):
        pose = _try_pose(scenes, generator)
        score = _worth(scenes, pose, rays)
        best = torch.where((score > best_score)[:, None, None], pose, best)
        best_score = torch.maximum(score, best_score)
    return best


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
