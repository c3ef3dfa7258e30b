"""Rendered frames: depth that is exact for every camera, and pictures that depend on the seed."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from random import Random

import pytest
import torch

from metric_depth_ros import geometry
from metric_depth_ros.errors import MetricDepthError
from metric_depth_ros.synthetic import (
    Appearance,
    Content,
    Sensor,
    make_scenes,
    random_camera,
    random_pose,
    render,
    render_batch,
    sequence,
)
from metric_depth_ros.synthetic.builder import Material, SceneBuilder, stack
from metric_depth_ros.synthetic.cameras import look
from metric_depth_ros.types import Camera

LENSES = {
    'none': (),
    'plumb_bob': (-0.12, 0.02, 0.001, -0.001, 0.0),
    'rational_polynomial': (-0.05, 0.01, 0.0005, 0.0, 0.0, 0.03, 0.0, 0.0),
    'equidistant': (0.02, -0.004, 0.0, 0.0),
}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def camera_with(lens: str) -> Camera:
    return Camera(38.0, 39.0, 30.0, 25.0, 64, 48, lens, LENSES[lens])


def level_ground():
    builder = SceneBuilder(Random(0), 'train', outdoor=True)
    builder.box((0, 0, -0.5), (6000, 6000, 1), Material(0))
    return stack([builder])


@pytest.mark.parametrize('lens', LENSES)
def test_depth_of_the_ground_is_the_closed_form(lens):
    camera, high, pitch = camera_with(lens), 1.4, -0.5
    pose = look(torch.tensor([[3.0, -2.0, high]]), *(torch.tensor([a]) for a in (0.7, pitch, 0.1)))
    frame = render(level_ground(), [camera], pose, seeded(0))
    rays = geometry.rays(camera)
    down = -(rays.double() @ pose[0, :3, :3].T.double())[..., 2]
    expected = torch.where(down * 1000 > high, high / down, torch.inf)
    near = expected < 50
    assert near.float().mean() > 0.5
    torch.testing.assert_close(
        frame.ray_distance[0][near].double(), expected[near], rtol=1e-4, atol=0
    )
    z = expected * rays[..., 2]
    torch.testing.assert_close(frame.depth[0][near].double(), z[near], rtol=1e-4, atol=0)
    assert torch.equal(frame.valid[0], frame.depth[0].isfinite())
    assert (frame.depth[0][~near & ~frame.valid[0]] == math.inf).all()


@pytest.mark.parametrize('lens', LENSES)
def test_z_depth_and_ray_distance_agree_with_geometry(lens):
    generator = seeded(1)
    scenes = make_scenes('both', 2, generator)
    camera = camera_with(lens)
    pose = random_pose(scenes, generator, [camera] * 2)
    frame = render(scenes, [camera] * 2, pose, generator)
    again = geometry.ray_distance_from_depth(frame.depth, geometry.rays(camera))
    torch.testing.assert_close(again[frame.valid], frame.ray_distance[frame.valid])
    points = geometry.unproject(frame.depth, camera)[frame.valid]
    torch.testing.assert_close(
        points.norm(dim=-1), frame.ray_distance[frame.valid], rtol=1e-4, atol=1e-4
    )


def test_shapes_and_types():
    frame = render_batch(2, 40, 26, seeded(0), kind='both')
    assert frame.image.shape == (2, 26, 40, 3)
    assert frame.image.dtype == torch.uint8
    assert frame.depth.shape == (2, 26, 40)
    assert frame.depth.dtype == torch.float32
    assert frame.valid.dtype == torch.bool
    assert len(frame.cameras) == 2
    assert frame.world_from_camera.shape == (2, 4, 4)
    rotation = frame.world_from_camera[:, :3, :3]
    torch.testing.assert_close(
        rotation @ rotation.transpose(1, 2), torch.eye(3).expand(2, 3, 3), atol=1e-5, rtol=0
    )
    assert (torch.linalg.det(rotation) > 0).all()


def test_same_seed_same_bytes_and_another_seed_others():
    first, again, other = (render_batch(2, 32, 24, seeded(s)) for s in (3, 3, 4))
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.ray_distance.nan_to_num(-1), again.ray_distance.nan_to_num(-1))
    assert first.cameras == again.cameras
    assert not torch.equal(first.image, other.image)


def test_batch_is_single():
    generator = seeded(5)
    scenes = make_scenes('both', 3, generator)
    cameras = [random_camera(32, 24, generator) for _ in range(3)]
    pose = random_pose(scenes, generator, cameras)
    batch = render(scenes, cameras, pose, seeded(0))
    for i in range(3):
        one = render(scenes[i], [cameras[i]], pose[i : i + 1], seeded(0))
        torch.testing.assert_close(one.depth[0], batch.depth[i], equal_nan=True)


SWITCHES = [f.name for f in fields(Appearance) if f.name != 'sensor']


def views_of_six_scenes():
    generator = seeded(6)
    # Little sky: the exposure follows the whole image, and clouds are drawn for the batch.
    content = Content(wide_roads=False, vehicle_views=False)
    scenes = make_scenes('both', 6, generator, content=content)
    cameras = [random_camera(32, 24, generator) for _ in range(6)]
    return scenes, cameras, random_pose(scenes, generator, cameras, content=content)


@pytest.mark.parametrize('off', SWITCHES)
def test_every_switch_changes_the_picture_and_never_the_depth(off):
    views, ideal = views_of_six_scenes(), Sensor.ideal()
    full = render(*views, seeded(0), Appearance(sensor=ideal))
    less = render(*views, seeded(0), Appearance(**{off: False}, sensor=ideal))
    assert not torch.equal(full.image, less.image)
    assert torch.equal(full.depth.nan_to_num(-1), less.depth.nan_to_num(-1))


@pytest.mark.parametrize('on', ['variation', 'shadows', 'occlusion', 'bounce', 'gloss', 'haze'])
def test_every_switch_also_works_alone(on):
    views, plain = views_of_six_scenes(), Appearance.plain()
    less = render(*views, seeded(0), plain)
    more = render(*views, seeded(0), replace(plain, **{on: True}))
    assert not torch.equal(more.image, less.image)
    assert torch.equal(more.depth.nan_to_num(-1), less.depth.nan_to_num(-1))


def test_plain_is_one_colour_a_surface_under_lamberts_law():
    camera, generator = camera_with('none'), seeded(0)
    builder = SceneBuilder(Random(0), 'train', outdoor=True)
    builder.box((0, 0, -0.5), (6000, 6000, 1), builder.material('lawn', gloss=0.8))
    builder.lights.sun = (1.0, 1.0, 1.0)
    pose = look(torch.tensor([[0.0, 0.0, 1.5]]), *(torch.tensor([a]) for a in (0.0, -1.0, 0.0)))
    plain = render(stack([builder]), [camera], pose, generator, Appearance.plain())
    assert plain.valid.all()
    assert (plain.image == plain.image[0, 0, 0]).all()
    textured = render(
        stack([builder]), [camera], pose, generator, replace(Appearance.plain(), textures=True)
    )
    assert textured.image.float().std((1, 2)).max() > 3


def test_scenes_look_the_same_whatever_they_are_batched_with():
    scenes, cameras, pose = views_of_six_scenes()
    look_of = Appearance(sensor=Sensor.ideal(), haze=False)
    batch = render(scenes, cameras, pose, seeded(0), look_of)
    for i in (0, 5):
        one = render(scenes[i], [cameras[i]], pose[i : i + 1], seeded(0), look_of)
        ground = batch.valid[i]  # clouds are drawn for the batch
        apart = (one.image[0].int() - batch.image[i].int()).abs()[ground]
        assert apart.float().mean() < 0.5


def test_depth_of_training_views_is_that_of_rooms_and_streets():
    rooms = render_batch(24, 32, 24, seeded(7), kind='indoor')
    streets = render_batch(24, 32, 24, seeded(8), kind='outdoor')
    indoor = rooms.ray_distance[rooms.valid].median()
    outdoor = streets.ray_distance[streets.valid].median()
    assert 1.5 < indoor < 4.5
    assert 3.5 < outdoor < 16
    assert rooms.valid.float().mean() > 0.9
    for frames, low, high in ((rooms, 0.1, 2.1), (streets, 0.2, 2.3)):
        above = frames.world_from_camera[:, 2, 3]
        assert (above > low).all()
        assert (above < high).all()
        # A view teaches scale when the ground is in it.
        sees_ground = torch.stack([on_ground(frames, i).any() for i in range(24)])
        assert sees_ground.float().mean() > 0.7


def on_ground(frames, i: int) -> torch.Tensor:
    points = geometry.unproject(frames.depth[i], frames.cameras[i])
    pose = frames.world_from_camera[i]
    z = (points @ pose[:3, :3].T + pose[:3, 3])[..., 2]
    return (z.abs() < 0.05) & frames.valid[i]


def test_frames_of_a_sequence_agree_about_the_world():
    frames = list(sequence('indoor', 12, 64, 48, seeded(9), rate=5.0, lens='none'))
    first, later = frames[0], frames[-1]
    assert later.frame.stamp_ns - first.frame.stamp_ns == 11 * 200_000_000
    moved = (later.world_from_camera - first.world_from_camera)[:3, 3].norm()
    assert moved > 0.01
    camera = first.frame.camera
    world = geometry.unproject(first.depth, camera).double()
    pose, other = first.world_from_camera, later.world_from_camera
    world = world @ pose[:3, :3].T + pose[:3, 3]
    seen = ((world - other[:3, 3]) @ other[:3, :3]).float()
    pixel = geometry.project(seen, camera).round()
    u, v = pixel.unbind(-1)
    inside = (u >= 0) & (u < 64) & (v >= 0) & (v < 48) & first.depth.isfinite()
    measured = later.depth[v[inside].long(), u[inside].long()]
    ratio = measured / seen[..., 2][inside]
    assert inside.float().mean() > 0.3
    in_front = ratio < 0.9  # something now hides the point, which is as it should be
    assert in_front.float().mean() < 0.4
    assert (ratio[~in_front] - 1).abs().median() < 0.01  # half a pixel on slanted surfaces
    assert (ratio[~in_front] < 1.1).float().mean() > 0.95  # nobody sees through things


def test_sequences_are_smooth_and_repeatable():
    first, again = (list(sequence('outdoor', 8, 32, 24, seeded(1), rate=10.0)) for _ in range(2))
    assert all(
        torch.equal(a.frame.image, b.frame.image) for a, b in zip(first, again, strict=True)
    )
    place = torch.stack([f.world_from_camera[:3, 3] for f in first])
    speed = (place[1:] - place[:-1]).norm(dim=-1) * 10
    assert speed.max() < 4
    heading = torch.stack([f.world_from_camera[:3, 2] for f in first])
    turn = torch.acos((heading[1:] * heading[:-1]).sum(-1).clamp(-1, 1)) * 10
    assert turn.max() < 1.5


def test_bad_input_is_named():
    with pytest.raises(MetricDepthError, match="scene kind is 'garden'"):
        make_scenes('garden', 1, seeded(0))
    with pytest.raises(MetricDepthError, match="split is 'test'"):
        make_scenes('indoor', 1, seeded(0), split='test')
    with pytest.raises(MetricDepthError, match='expected 64 x 48'):
        next(sequence('indoor', 1, 64, 48, seeded(0), camera=Camera(9, 9, 4, 4, 10, 8)))
