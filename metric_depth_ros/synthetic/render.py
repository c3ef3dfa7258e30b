"""Images with exact depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from .. import geometry
from ..types import Camera
from . import light, materials, sensor
from .cameras import random_camera
from .content import Content
from .generate import make_scenes
from .raycast import cast, gather, surface
from .scene import SKY_DISTANCE, Scenes
from .views import random_pose

CHUNK_RAYS = 40_000


@dataclass(frozen=True)
class Appearance:
    """What makes a picture look real; each a switch, each off leaves depth as it is.

    textures: pictures on surfaces, not one mean colour each.
    variation: colours, contrast, scale and stains that differ from scene to scene.
    shadows, soft_shadows: of the sun and of the first lamp; with edges that are not sharp.
    occlusion: corners that less ambient light reaches.
    unevenness: ambient light that fades across a room, as from a window.
    bounce: light and colour from surfaces nearby.
    gloss: sky, sun and lamps mirrored in floors, furniture and cars.
    haze: distance takes on the horizon's colour.
    weather: overcast days and nights outdoors.
    sensor: what the camera does to the light, with switches of its own.
    """

    textures: bool = True
    variation: bool = True
    shadows: bool = True
    soft_shadows: bool = True
    occlusion: bool = True
    unevenness: bool = True
    bounce: bool = True
    gloss: bool = True
    haze: bool = True
    weather: bool = True
    sensor: sensor.Sensor = field(default_factory=sensor.Sensor)

    @classmethod
    def plain(cls) -> Appearance:
        """Everything off: Lambert's law, one colour a surface, an ideal camera."""
        off = {f.name: False for f in fields(cls) if f.name != 'sensor'}
        return cls(**off, sensor=sensor.Sensor.ideal())


@dataclass(frozen=True)
class Rendered:
    """B frames with the truth about them.

    image: (B, H, W, 3) uint8 RGB. depth: (B, H, W) float32, metres along z. ray_distance:
    (B, H, W) float32, metres along the pixel's ray. Both are +inf where there is only sky and
    NaN where the lens gives the pixel no ray. valid: (B, H, W) bool, where both are finite.
    world_from_camera: (B, 4, 4) float32, of the optical frame.
    """

    image: Tensor
    depth: Tensor
    ray_distance: Tensor
    valid: Tensor
    cameras: tuple[Camera, ...]
    world_from_camera: Tensor


@torch.no_grad()
def render(
    scenes: Scenes,
    cameras: Sequence[Camera],
    world_from_camera: Tensor,
    generator: Generator,
    appearance: Appearance | None = None,
    *,
    noise_generator: Generator | None = None,
) -> Rendered:
    """One image of each scene.

    Args:
        scenes: B scenes. cameras: B cameras of one image size.
        world_from_camera: (B, 4, 4) poses of the optical frames.
        generator: on the CPU; draws what differs from image to image (clouds, exposure, noise).
        noise_generator: draws the noise instead, so that the frames of a sequence share the rest.
    """
    appearance = appearance or Appearance()
    camera_rays = torch.stack([geometry.rays(camera) for camera in cameras]).to(scenes.device)
    seen = camera_rays.isfinite().all(-1)
    forward = camera_rays.new_tensor([0.0, 0.0, 1.0])
    safe = torch.where(seen[..., None], camera_rays, forward)
    pose = world_from_camera.to(scenes.device, torch.float32)
    directions = F.normalize(torch.einsum('bij,bhwj->bhwi', pose[:, :3, :3], safe), dim=-1)
    origins = pose[:, :3, 3]

    clouds = _cloud_noise(len(scenes), generator).to(scenes.device)
    views = [
        _view(scenes[some], origins[some], directions[some], clouds[some], appearance)
        for some in _chunks(directions)
    ]
    radiance = torch.cat([view[0] for view in views])
    ray_distance = torch.cat([view[1] for view in views])
    valid = seen & ray_distance.isfinite()
    ray_distance = torch.where(seen, ray_distance, torch.nan)
    radiance = torch.where(seen[..., None], radiance, 0.0)
    return Rendered(
        image=sensor.expose(radiance, appearance.sensor, generator, noise_generator),
        depth=ray_distance * camera_rays[..., 2],
        ray_distance=ray_distance,
        valid=valid,
        cameras=tuple(cameras),
        world_from_camera=pose,
    )


def _view(
    scenes: Scenes, origins: Tensor, directions: Tensor, clouds: Tensor, appearance: Appearance
) -> tuple[Tensor, Tensor]:
    """Radiance (B, H, W, 3) and ray distance (B, H, W), +inf where there is sky."""
    if appearance.weather:
        scenes = replace(scenes, lights=light.weather(scenes))
    hits = cast(scenes, origins, directions)
    ray_distance = torch.where(hits.ray_distance < SKY_DISTANCE, hits.ray_distance, torch.inf)
    found = ray_distance.isfinite()
    place = surface(scenes, hits, origins, directions)
    cosine = (place.normal * directions).sum(-1).abs().clamp(min=0.05)
    distance = torch.where(found, ray_distance, 1.0)
    footprint = distance * _pixel_angle(directions) / cosine.sqrt()
    colour = materials.albedo(
        scenes, hits.primitive, place.local, place.local_normal, footprint,
        variation=appearance.variation, textured=appearance.textures,
    )  # fmt: skip
    ambient = torch.ones_like(ray_distance)
    if appearance.occlusion:
        ambient = light.ambient_occlusion(place.position, place.normal, found)
    if appearance.unevenness:
        ambient = ambient * light.unevenness(scenes, place.position)
    arriving = light.irradiance(
        scenes, place, ambient, shadows=appearance.shadows, soft=appearance.soft_shadows
    )
    if appearance.bounce:
        arriving = arriving + light.bounce(scenes, colour * arriving, found)
    radiance = colour * (arriving + gather(scenes.glow, hits.primitive)[..., None])
    if appearance.gloss:
        share = gather(scenes.gloss, hits.primitive)
        radiance = radiance + light.gloss(scenes.lights, place, directions, share)
    if appearance.haze:
        radiance = light.haze(scenes.lights, radiance, distance)
    if not found.all():
        sky = light.sky(scenes.lights, directions, clouds)
        radiance = torch.where(found[..., None], radiance, sky)
    return radiance, ray_distance


def _chunks(directions: Tensor) -> list[slice]:
    """Images to handle at once: on a CPU, few enough for its caches."""
    batch, height, width, _ = directions.shape
    size = batch
    if directions.device.type == 'cpu':
        size = max(1, CHUNK_RAYS // (height * width))
    return [slice(i, i + size) for i in range(0, batch, size)]


@torch.no_grad()
def render_batch(
    batch_size: int,
    width: int,
    height: int,
    generator: Generator,
    *,
    kind: str = 'both',
    split: str = 'train',
    fov_deg: tuple[float, float] = (40.0, 110.0),
    lens: str = 'mixed',
    appearance: Appearance | None = None,
    content: Content | None = None,
    device: torch.device | str = 'cpu',
) -> Rendered:
    """`batch_size` images, each of a scene and with a camera of its own; see `make_scenes`."""
    scenes = make_scenes(kind, batch_size, generator, split=split, content=content).to(device)
    cameras = [
        random_camera(width, height, generator, fov_deg=fov_deg, lens=lens, split=split)
        for _ in range(batch_size)
    ]
    pose = random_pose(scenes, generator, cameras, content=content, kind=kind)
    return render(scenes, cameras, pose, generator, appearance)


def _pixel_angle(directions: Tensor) -> Tensor:
    """(B, 1, 1) radians that a pixel spans, on average over the image."""
    step = (directions[:, :, 1:] - directions[:, :, :-1]).norm(dim=-1)
    return step.mean((1, 2), keepdim=True)


def _cloud_noise(batch: int, generator: Generator) -> Tensor:
    """(B, 1, 64, 64) noise of several octaves, mean 0, deviation about 1."""
    total = torch.zeros(batch, 1, 64, 64)
    for octave in range(4):
        size = 4 << octave
        coarse = torch.randn(batch, 1, size, size, generator=generator)
        fine = F.interpolate(coarse, (64, 64), mode='bicubic', align_corners=False)
        total += 0.6**octave * fine
    return total / 1.2
