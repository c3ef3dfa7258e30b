"""Rays against primitives: closed forms, and the fast way against the plain one."""

from __future__ import annotations

import math
from random import Random

import pytest
import torch
import torch.nn.functional as F

from metric_depth_ros.synthetic import make_scenes, random_pose
from metric_depth_ros.synthetic.builder import Material, SceneBuilder, stack
from metric_depth_ros.synthetic.raycast import cast, cast_all_pairs, surface
from metric_depth_ros.synthetic.scene import Scenes

PLAIN = Material(0)
BOTH_WAYS = pytest.mark.parametrize('trace', [cast, cast_all_pairs])


def scene(*shapes: tuple) -> Scenes:
    """One scene of (method name, *arguments, {keywords}) in the world's frame."""
    builder = SceneBuilder(Random(0), 'train', outdoor=True)
    for name, *rest in shapes:
        more = rest.pop() if isinstance(rest[-1], dict) else {}
        getattr(builder, name)(*rest, PLAIN, **more)
    return stack([builder])


def along(trace, scenes: Scenes, origin, direction) -> float:
    towards = F.normalize(torch.tensor(direction, dtype=torch.float32), dim=0)
    hits = trace(scenes, torch.tensor([origin]), towards[None, None, None])
    return float(hits.ray_distance)


@BOTH_WAYS
def test_box(trace):
    s = scene(('box', (5.0, 0.0, 1.0), (2.0, 4.0, 1.0)))
    assert along(trace, s, (0.0, 0.0, 1.0), (1, 0, 0)) == pytest.approx(4)
    assert along(trace, s, (5.0, 0.0, 1.0), (1, 0, 0)) == pytest.approx(1)  # from the inside
    assert along(trace, s, (5.0, 0.0, 9.0), (0, 0, -1)) == pytest.approx(7.5)
    assert along(trace, s, (0.0, 0.0, 1.0), (-1, 0, 0)) == math.inf  # behind
    assert along(trace, s, (0.0, 2.01, 1.0), (1, 0, 0)) == math.inf  # grazing, outside
    assert along(trace, s, (0.0, 1.99, 1.0), (1, 0, 0)) == pytest.approx(4)  # grazing, inside
    slanted = along(trace, s, (0.0, 0.0, 1.0), (4, 1, 0))
    assert slanted == pytest.approx(math.hypot(4, 1), rel=1e-6)


@BOTH_WAYS
def test_turned_box_shows_its_corner(trace):
    s = scene(('box', (5.0, 0.0, 0.0), (2.0, 2.0, 2.0), {'yaw': math.pi / 4}))
    expected = 5 - math.sqrt(2)
    assert along(trace, s, (0.0, 0.0, 0.0), (1, 0, 0)) == pytest.approx(expected, rel=1e-5)


@BOTH_WAYS
def test_sphere_and_ellipsoid(trace):
    s = scene(('ellipsoid', (5.0, 0.0, 0.0), (2.0, 2.0, 2.0)))
    assert along(trace, s, (0.0, 0.0, 0.0), (1, 0, 0)) == pytest.approx(4)
    assert along(trace, s, (0.0, 0.6, 0.0), (1, 0, 0)) == pytest.approx(5 - 0.8, rel=1e-6)
    assert along(trace, s, (5.0, 0.0, 0.0), (0, 1, 0)) == pytest.approx(1)
    assert along(trace, s, (0.0, 1.001, 0.0), (1, 0, 0)) == math.inf
    flat = scene(('ellipsoid', (5.0, 0.0, 0.0), (2.0, 2.0, 0.5)))
    assert along(trace, flat, (5.0, 0.0, 3.0), (0, 0, -1)) == pytest.approx(2.75)


@BOTH_WAYS
def test_cylinder(trace):
    s = scene(('cylinder', (5.0, 0.0, 1.0), 0.5, 2.0))
    assert along(trace, s, (0.0, 0.0, 1.0), (1, 0, 0)) == pytest.approx(4.5)
    assert along(trace, s, (0.0, 0.3, 1.0), (1, 0, 0)) == pytest.approx(5 - 0.4, rel=1e-6)
    assert along(trace, s, (5.0, 0.2, 4.0), (0, 0, -1)) == pytest.approx(2)  # its cap
    assert along(trace, s, (5.0, 0.0, 1.0), (0, 0, 1)) == pytest.approx(1)  # from the inside
    assert along(trace, s, (0.0, 0.0, 2.01), (1, 0, 0)) == math.inf
    assert along(trace, s, (0.0, 0.51, 1.0), (1, 0, 0)) == math.inf


@BOTH_WAYS
def test_thin_pole_far_away_keeps_its_digits(trace):
    s = scene(('cylinder', (400.0, 0.0, 0.0), 0.03, 10.0))
    assert along(trace, s, (0.0, 0.0, 0.0), (1, 0, 0)) == pytest.approx(399.97, abs=2e-3)
    assert along(trace, s, (0.0, 0.032, 0.0), (1, 0, 0)) == math.inf


@BOTH_WAYS
def test_rooms_that_overlap_are_one_space(trace):
    s = scene(
        ('room', (0.0, 0.0, 1.5), (4.0, 4.0, 3.0)),
        ('room', (2.1, 0.0, 1.0), (0.3, 0.9, 2.0)),  # a doorway through a wall of 0.2 m
        ('room', (4.2, 0.0, 1.5), (4.0, 4.0, 3.0)),
    )
    start = (-1.0, 0.0, 1.0)
    assert along(trace, s, start, (1, 0, 0)) == pytest.approx(7.2)  # through the doorway
    assert along(trace, s, (-1.0, 1.0, 1.0), (1, 0, 0)) == pytest.approx(3)  # beside it
    assert along(trace, s, (-1.0, 0.0, 2.5), (1, 0, 0)) == pytest.approx(3)  # above it
    assert along(trace, s, start, (0, 0, -1)) == pytest.approx(1)
    assert along(trace, s, (-9.0, 0.0, 1.0), (1, 0, 0)) == math.inf  # walls face inwards


@BOTH_WAYS
def test_the_nearest_wins(trace):
    s = scene(
        ('box', (8.0, 0.0, 0.0), (2.0, 20.0, 9.0)),
        ('ellipsoid', (3.0, 0.0, 0.0), (2.0, 2.0, 2.0)),
        ('cylinder', (5.0, 0.0, 0.0), 0.5, 2.0),
    )
    hits = trace(s, torch.zeros(1, 3), torch.tensor([[[[1.0, 0.0, 0.0], [0.8, 0.6, 0.0]]]]))
    assert hits.primitive.tolist() == [[[1, 0]]]
    torch.testing.assert_close(hits.ray_distance, torch.tensor([[[2.0, 8.75]]]))


def views(count: int, height: int, width: int, seed: int):
    generator = torch.Generator().manual_seed(seed)
    scenes = make_scenes('both', count, generator)
    pose = random_pose(scenes, generator)
    y, x = torch.meshgrid(
        torch.linspace(-0.8, 0.8, height), torch.linspace(-1, 1, width), indexing='ij'
    )
    rays = F.normalize(torch.stack([x, y, torch.ones_like(x)], -1), dim=-1)
    directions = torch.einsum('bij,hwj->bhwi', pose[:, :3, :3], rays)
    return scenes, pose[:, :3, 3], F.normalize(directions, dim=-1)


@pytest.mark.parametrize('size', [(24, 32), (13, 21)])
def test_fast_is_plain(size):
    scenes, origins, directions = views(6, *size, seed=2)
    fast, plain = cast(scenes, origins, directions), cast_all_pairs(scenes, origins, directions)
    torch.testing.assert_close(fast.ray_distance, plain.ray_distance, rtol=1e-5, atol=1e-5)
    assert (fast.primitive == plain.primitive).float().mean() > 0.999


def test_fast_is_plain_for_rays_all_around():
    scenes, origins, _ = views(4, 8, 8, seed=3)
    scattered = torch.randn(4, 16, 16, 3, generator=torch.Generator().manual_seed(0))
    directions = F.normalize(scattered, dim=-1)
    fast, plain = cast(scenes, origins, directions), cast_all_pairs(scenes, origins, directions)
    torch.testing.assert_close(fast.ray_distance, plain.ray_distance, rtol=1e-5, atol=1e-5)


def test_batch_is_single():
    scenes, origins, directions = views(5, 16, 16, seed=4)
    batch = cast(scenes, origins, directions)
    for i in range(5):
        one = cast(scenes[i], origins[i : i + 1], directions[i : i + 1])
        torch.testing.assert_close(one.ray_distance[0], batch.ray_distance[i])


def test_hits_lie_on_the_primitive_and_normals_face_the_viewer():
    scenes, origins, directions = views(6, 24, 32, seed=5)
    hits = cast(scenes, origins, directions)
    place = surface(scenes, hits, origins, directions)
    found = hits.primitive >= 0
    assert found.float().mean() > 0.5
    torch.testing.assert_close(place.normal.norm(dim=-1)[found], torch.ones(int(found.sum())))
    assert ((place.normal * directions).sum(-1)[found] <= 1e-6).all()

    row = torch.arange(6)[:, None, None].expand_as(hits.primitive)[found]
    which = hits.primitive[found]
    rotation, centre = scenes.rotation[row, which], scenes.centre[row, which]
    local = torch.einsum('nji,nj->ni', rotation, place.position[found] - centre)
    unit = local / scenes.half_size[row, which]
    largest = unit.abs().amax(-1)
    round_one = unit[:, :2].norm(dim=-1)
    level = torch.stack(
        [largest, torch.maximum(round_one, unit[:, 2].abs()), unit.norm(dim=-1), largest]
    )
    on = level.gather(0, scenes.kind[row, which][None])[0]
    # A centimetre of a slab of 6 mm is not small; judge by metres, not by units.
    slack = 2e-3 * hits.ray_distance[found] / scenes.half_size[row, which].amin(-1) + 1e-3
    assert ((on - 1).abs() < slack).all()


def test_normals_of_each_shape():
    s = scene(
        ('box', (5.0, 0.0, 0.0), (2.0, 2.0, 2.0)),
        ('ellipsoid', (0.0, 5.0, 0.0), (2.0, 2.0, 2.0)),
        ('cylinder', (-5.0, 0.0, 0.0), 1.0, 2.0),
        ('room', (0.0, 0.0, 0.0), (40.0, 40.0, 6.0)),
    )
    looks = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [-1.0, 0, 0], [0, 0, -1.0]])[None, None]
    hits = cast(s, torch.zeros(1, 3), looks)
    place = surface(s, hits, torch.zeros(1, 3), looks)
    torch.testing.assert_close(place.normal, -looks)
    assert hits.ray_distance.flatten().tolist() == pytest.approx([4, 4, 4, 3])
