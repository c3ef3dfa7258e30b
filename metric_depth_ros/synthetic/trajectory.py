"""A camera that moves smoothly through a scene without touching anything."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from ..errors import MetricDepthError
from ..types import Camera, Frame
from .cameras import CLEARANCE, clearance, look, random_camera
from .content import Content
from .generate import make_scenes
from .render import Appearance, render
from .scene import Scenes
from .views import random_pose

# Paths tried; each further one is a little shorter, so that the last ones barely move.
CANDIDATES = 48
OPTICAL_FRAME = 'camera_optical_frame'


@dataclass(frozen=True)
class SequenceFrame:
    """One frame of a moving camera with the truth about it.

    depth, ray_distance: (H, W) float32 metres, as in render.Rendered. world_from_camera: (4, 4)
    float64, of the optical frame.
    """

    frame: Frame
    depth: Tensor
    ray_distance: Tensor
    world_from_camera: Tensor


def trajectory(
    scene: Scenes,
    frames: int,
    rate: float,
    generator: Generator,
    *,
    camera: Camera | None = None,
    content: Content | None = None,
    kind: str = 'both',
) -> Tensor:
    """(frames, 4, 4) world_from_camera: a smooth path through one scene.

    The camera sways along sums of sines around a good first view, at walking speed, and keeps
    CLEARANCE from everything where the scene allows it.

    Args:
        scene: one scene. rate: frames a second. kind: see random_pose.
    """
    cameras = None if camera is None else [camera]
    start = random_pose(scene, generator, cameras, content=content, kind=kind)[0].cpu()
    outdoor = bool(scene.outdoor[0])
    time = torch.arange(frames) / rate
    shrink = torch.logspace(0, -2.5, CANDIDATES)[:, None, None]
    reach = torch.tensor([6.0, 1.5, 0.1] if outdoor else [1.2, 1.0, 0.15])
    speed = 1.2 if outdoor else 0.45
    sway = _sway(time, CANDIDATES, 3, speed / reach, generator)
    along = start[:3, 2] * torch.tensor([1.0, 1.0, 0.0])
    along = along / along.norm().clamp(min=1e-6)
    across = torch.stack([-along[1], along[0], along[2]])
    axes = torch.stack([along, across, torch.tensor([0.0, 0.0, 1.0])])
    paths = start[:3, 3] + (shrink * sway * reach) @ axes
    free = clearance(scene, paths.flatten(0, 1)[None].to(scene.device))[0].cpu()
    free = free.reshape(CANDIDATES, frames).amin(1)
    good = (free > min(CLEARANCE, float(free.max()))).nonzero()[:, 0]
    path = paths[good[0]] if len(good) else paths[int(free.argmax())]

    forward, right = start[:3, 2], start[:3, 0]
    yaw = math.atan2(forward[1], forward[0])
    pitch = math.asin(float(forward[2].clamp(-1, 1)))
    level = torch.tensor([math.sin(yaw), -math.cos(yaw), 0.0])
    roll = math.copysign(math.acos(float((right @ level).clamp(-1, 1))), -float(right[2]))
    # Radians a second stay below about half a radian: what a hand or a robot does.
    swing = torch.tensor([0.5, 0.08, 0.05])
    turn = _sway(time, 1, 3, 0.2 / swing.clamp(min=0.15), generator)[0] * swing
    return look(path, yaw + turn[:, 0], pitch + turn[:, 1], roll + turn[:, 2])


def sequence(
    kind: str,
    frames: int,
    width: int,
    height: int,
    generator: Generator,
    *,
    rate: float = 10.0,
    camera: Camera | None = None,
    split: str = 'train',
    fov_deg: tuple[float, float] = (40.0, 110.0),
    lens: str = 'mixed',
    appearance: Appearance | None = None,
    content: Content | None = None,
    start_ns: int = 0,
    frame_id: str = OPTICAL_FRAME,
    device: torch.device | str = 'cpu',
) -> Iterator[SequenceFrame]:
    """A camera moving through one scene, frame by frame.

    Args:
        kind: see make_scenes. rate: frames a second. camera: of width x height,
            or None for a random one of the split, within fov_deg and with that lens.
        start_ns: stamp of the first frame, nanoseconds.

    Raises:
        MetricDepthError: fewer frames than one, a rate that is not positive, or a camera of
            another size.
    """
    if frames < 1 or not rate > 0:
        raise MetricDepthError(f'{frames} frames at {rate} Hz, expected at least 1 and a rate > 0')
    if camera is not None and (camera.width, camera.height) != (width, height):
        raise MetricDepthError(
            f'camera is {camera.width} x {camera.height}, expected {width} x {height}'
        )
    scene = make_scenes(kind, 1, generator, split=split, content=content).to(device)
    camera = camera or random_camera(
        width, height, generator, fov_deg=fov_deg, lens=lens, split=split
    )
    poses = trajectory(scene, frames, rate, generator, camera=camera, content=content, kind=kind)
    # The same clouds, exposure and colours in every frame; the noise alone is new.
    look_seed = int(torch.randint(2**62, (), generator=generator))
    for index, pose in enumerate(poses):
        steady = torch.Generator().manual_seed(look_seed)
        rendered = render(
            scene, [camera], pose[None], steady, appearance, noise_generator=generator
        )
        stamp_ns = start_ns + round(index * 1e9 / rate)
        yield SequenceFrame(
            Frame(rendered.image[0].cpu(), camera, stamp_ns, frame_id),
            rendered.depth[0].cpu(),
            rendered.ray_distance[0].cpu(),
            pose.double(),
        )


def _sway(time: Tensor, count: int, channels: int, rate: Tensor, generator: Generator) -> Tensor:
    """(count, T, channels) sums of three sines that start at 0 and stay within about 1.

    rate: (channels,) radians a second of the slowest sine.
    """
    phase = 2 * math.pi * torch.rand(count, 1, channels, 3, generator=generator)
    factor = torch.tensor([1.0, 1.7, 3.1]) * (0.8 + 0.4 * torch.rand(3, generator=generator))
    weight = torch.tensor([0.6, 0.25, 0.05])
    angle = time[None, :, None, None] * rate[:, None] * factor + phase
    return ((angle.sin() - phase.sin()) * weight).sum(-1)
