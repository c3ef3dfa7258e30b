"""Images of scenes of distance fields, with exact depth: a style apart from `render_batch`."""

from __future__ import annotations

import math
from random import Random

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from .. import geometry
from ..errors import MetricDepthError
from ..types import Camera
from . import sphere_tracing
from .cameras import look, random_camera
from .field_look import Lighting, SolidNoise, albedo, sky
from .field_scenes import RECIPES, Setting
from .render import Rendered
from .sensor import Sensor, expose
from .sphere_tracing import FieldScene

KINDS = ('indoor', 'outdoor', 'both')
VIEWS_TRIED = 24
CLEARANCE = 0.3


@torch.no_grad()
def render_fields_batch(
    batch_size: int,
    width: int,
    height: int,
    generator: Generator,
    *,
    kind: str = 'both',
    fov_deg: tuple[float, float] = (40.0, 110.0),
    lens: str = 'mixed',
    device: torch.device | str = 'cpu',
) -> Rendered:
    """`batch_size` images, each of a scene and with a camera of its own.

    Meant to judge what was trained on `render_batch`: other shapes, materials and light.

    Args:
        generator: on the CPU. kind: 'indoor', 'outdoor' or 'both' (two thirds indoor).
        fov_deg, lens: see `random_camera`; no angle is left out.

    Raises:
        MetricDepthError: an unknown kind or lens, or a batch size below 1.
    """
    if kind not in KINDS:
        raise MetricDepthError(f'scene kind is {kind!r}, expected one of {", ".join(KINDS)}')
    if batch_size < 1:
        raise MetricDepthError(f'batch size is {batch_size}, expected at least 1')
    views, cameras, poses = [], [], []
    for _ in range(batch_size):
        random = Random(int(torch.randint(2**62, (), generator=generator)))
        outdoor = random.random() < {'indoor': 0.0, 'outdoor': 1.0, 'both': 1 / 3}[kind]
        setting = random.choice(RECIPES['outdoor' if outdoor else 'indoor'])(random)
        camera = random_camera(width, height, generator, fov_deg=fov_deg, lens=lens)
        pose = _pose(setting, random).to(device)
        noise = SolidNoise(generator, device)
        views.append(_view(setting.scene, setting.lighting, noise, camera, pose))
        cameras.append(camera)
        poses.append(pose)
    radiance, ray_distance = (torch.stack(parts) for parts in zip(*views, strict=True))
    forward = torch.stack([geometry.rays(camera)[..., 2] for camera in cameras]).to(device)
    return Rendered(
        image=expose(radiance, Sensor(), generator),
        depth=ray_distance * forward,
        ray_distance=ray_distance,
        valid=ray_distance.isfinite(),
        cameras=tuple(cameras),
        world_from_camera=torch.stack(poses),
    )


def _pose(setting: Setting, random: Random) -> Tensor:
    """(4, 4) world_from_camera of the first view drawn that is free and sees typical depths."""
    for _ in range(VIEWS_TRIED):
        x, y, z, yaw, pitch = setting.view(random)
        angles = [torch.tensor([angle]) for angle in (yaw, pitch, random.gauss(0, 0.05))]
        pose = look(torch.tensor([[x, y, z]]), *angles)[0]
        if float(setting.scene.distance(pose[:3, 3:])) < CLEARANCE:
            continue
        aside = torch.linspace(-0.5, 0.5, 5)
        probes = torch.cartesian_prod(aside, aside, torch.ones(1))
        directions = pose[:3, :3] @ F.normalize(probes, dim=1).T
        middle = sphere_tracing.trace(setting.scene, pose[:3, 3], directions).median()
        if setting.typical[0] < middle < setting.typical[1]:
            break
    return pose


def _view(
    scene: FieldScene, lighting: Lighting, noise: SolidNoise, camera: Camera, pose: Tensor
) -> tuple[Tensor, Tensor]:
    """Radiance (H, W, 3) and ray distance (H, W); +inf for the sky, NaN where there is no ray."""
    camera_rays = geometry.rays(camera, device=pose.device)
    size = camera_rays.shape[:2]
    seen = camera_rays.isfinite().all(-1).flatten()
    directions = F.normalize(pose[:3, :3] @ camera_rays.reshape(-1, 3)[seen].T, dim=0)
    origin = pose[:3, 3]
    length = sphere_tracing.trace(scene, origin, directions)
    radiance = sky(lighting, noise, directions)
    found = length.isfinite()
    if found.any():
        pixel = math.sqrt(1 / (camera.fx * camera.fy))
        radiance[found] = shade(
            scene, lighting, noise, origin, directions[:, found], length[found], pixel
        )
    ray_distance = torch.full_like(seen, torch.nan, dtype=torch.float32)
    ray_distance[seen] = length
    picture = torch.zeros(len(seen), 3, device=pose.device)
    picture[seen] = radiance
    return picture.reshape(*size, 3), ray_distance.reshape(size)


def shade(
    scene: FieldScene,
    lighting: Lighting,
    noise: SolidNoise,
    origin: Tensor,
    directions: Tensor,
    length: Tensor,
    pixel: float,
) -> Tensor:
    """(N, 3) radiance of what rays along directions (3, N) meet after length (N,) metres.

    pixel: radians that a pixel spans.
    """
    points = origin[:, None] + length * directions
    normal = sphere_tracing.normals(scene, points, length)
    facing = -(normal * directions).sum(0)
    normal = torch.where(facing < 0, -normal, normal)
    footprint = pixel * length / facing.abs().clamp(min=0.15)
    surface = scene.nearest(points)
    colour, gloss = points.new_zeros(len(length), 3), torch.zeros_like(length)
    for index in surface.unique().tolist():
        here = surface == index
        colour[here] = albedo(scene.materials[index], noise, points[:, here], footprint[here])
        gloss[here] = scene.materials[index].gloss
    above, below = points.new_tensor(lighting.above), points.new_tensor(lighting.below)
    up = (0.5 + 0.5 * normal[2])[:, None]
    arriving = (below + (above - below) * up) * sphere_tracing.occlusion(scene, points, normal)[
        :, None
    ]
    shine = torch.zeros_like(arriving)
    lights = [(points.new_tensor(place)[:, None] - points, c, True) for place, c in lighting.lamps]
    if max(lighting.sun) > 0:
        sun = points.new_tensor(lighting.sun_direction)[:, None].expand_as(points)
        lights.append((sun, lighting.sun, False))
    for number, (offset, strength, is_lamp) in enumerate(lights):
        away = offset.norm(dim=0)
        toward = offset / away
        light = (normal * toward).sum(0).clamp(min=0)
        if number == 0:
            limit = away - 0.05 if is_lamp else torch.full_like(away, 60.0)
            light = light * sphere_tracing.light_reaches(
                scene, points, normal, toward, limit, 0.08 if is_lamp else 0.02
            )
        if is_lamp:
            light = light / (away * away + 0.3)
        half = F.normalize(toward - directions, dim=0)
        highlight = (normal * half).sum(0).clamp(min=0).pow(40) * light * gloss
        arriving = arriving + light[:, None] * points.new_tensor(strength)
        shine = shine + highlight[:, None] * points.new_tensor(strength)
    radiance = colour * arriving + shine
    haze = (1 - torch.exp(-length / lighting.haze))[:, None]
    return radiance + (above - radiance) * haze
