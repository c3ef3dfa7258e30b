"""Where cameras stand and look: as people and robots hold them, and never uselessly."""

from __future__ import annotations

from random import Random

import pytest
import torch
import torch.nn.functional as F

from metric_depth_ros import geometry
from metric_depth_ros.synthetic import Content, make_scenes, random_pose
from metric_depth_ros.synthetic.builder import SceneBuilder, stack
from metric_depth_ros.synthetic.cameras import clearance, look
from metric_depth_ros.synthetic.raycast import cast
from metric_depth_ros.synthetic.scene import Kind
from metric_depth_ros.synthetic.views import _few_rays, _flaws
from metric_depth_ros.types import Camera

CAMERA = Camera(16, 16, 15.5, 11.5, 32, 24)
COUNT = 64


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def views(kind: str, content: Content | None = None):
    generator = seeded(3)
    scenes = make_scenes(kind, COUNT, generator)
    return scenes, random_pose(scenes, generator, [CAMERA] * COUNT, content=content, kind=kind)


def distances(scenes, pose):
    rays = geometry.rays(CAMERA).expand(len(scenes), -1, -1, -1)
    directions = F.normalize(torch.einsum('bij,bhwj->bhwi', pose[:, :3, :3], rays), dim=-1)
    return cast(scenes, pose[:, :3, 3], directions).ray_distance.flatten(1)


@pytest.mark.parametrize(('kind', 'low', 'high'), [('indoor', 0.1, 2.0), ('outdoor', 0.2, 2.7)])
def test_views_are_of_hands_and_robots(kind, low, high):
    scenes, pose = views(kind)
    height = pose[:, 2, 3]
    assert (height > low).all()
    assert (height < high).all()
    assert (height < 0.8).float().mean() > 0.1  # robots
    assert (height > 1.1).float().mean() > 0.3  # people
    pitch = torch.asin(pose[:, 2, 2]).rad2deg()
    assert -35 < pitch.median() < 0
    down = 0.12 if kind == 'indoor' else 0.04  # vehicles look ahead
    assert (pitch < -20).float().mean() > down  # looking down is common,
    assert (pitch > 15).float().mean() < 0.15  # up is not
    roll = torch.asin(pose[:, 2, 0].clamp(-1, 1)).abs().rad2deg()
    assert 0.5 < roll.median() < 6
    assert roll.max() > 6
    assert (clearance(scenes, pose[:, None, :3, 3])[:, 0] > 0).all()


@pytest.mark.parametrize('kind', ['indoor', 'outdoor'])
def test_natural_views_are_less_wild_than_the_widest(kind):
    """AbsRel of each view's own median, the spread that a model has to explain."""

    def spread(content):
        ray_distance = distances(*views(kind, content))
        seen = ray_distance < (20 if kind == 'indoor' else 200)
        spreads = []
        for distance, mask in zip(ray_distance, seen, strict=True):
            found = distance[mask]
            spreads.append(((found - found.median()).abs() / found).mean())
        return torch.stack(spreads).mean()

    assert spread(Content()) < 0.9 * spread(Content(natural_views=False))


def test_roads_seen_from_vehicles_are_wider_and_looked_at_from_all_sides() -> None:
    def looked(content):
        scenes, pose = views('outdoor', content)
        ray_distance = distances(scenes, pose)
        middle = torch.stack([d[d < 1000].median() for d in ray_distance])
        aside = pose[:, 1, 2].abs() > 0.6  # roads run along x
        level = torch.asin(pose[:, 2, 2]).rad2deg().abs() < 6
        return middle.median(), aside.float().mean(), level.float().mean()

    near, _, few = looked(Content(wide_roads=False, vehicle_views=False))
    far, aside, level = looked(Content())
    assert far > 1.15 * near
    assert 0.2 < aside < 0.7
    assert level > 1.2 * few


def test_on_roads_only_vehicles_look_level_and_from_their_height() -> None:
    scenes, pose = views('road')
    assert scenes.outdoor.all()
    height = pose[:, 2, 3]
    assert (height > 1.15).all()
    assert (height < 2.35).all()
    pitch = torch.asin(pose[:, 2, 2]).rad2deg()
    assert (pitch.abs() < 8).all()
    assert pitch.std() > 0.5
    aside = pose[:, 1, 2].abs() > 0.6
    assert 0.2 < aside.float().mean() < 0.55

    def middle(kind):
        return torch.stack([d[d < 1000].median() for d in distances(*views(kind))]).median()

    assert middle('road') > 1.2 * middle('outdoor')


def test_close_views_are_of_what_is_within_reach() -> None:
    scenes, pose = views('close')
    assert not scenes.outdoor.any()

    def middles(kind: str) -> torch.Tensor:
        return torch.stack([d.median() for d in distances(*views(kind))])

    close = middles('close')
    assert (close < 1.0).float().mean() > 0.4
    assert (middles('indoor') < 1.0).float().mean() < 0.1
    assert close.quantile(0.1) < 0.6
    pitch = torch.asin(pose[:, 2, 2]).rad2deg()
    assert (pitch < -30).float().mean() > 0.3  # as an arm looks
    assert ((pose[:, 2, 3] < 0.4) & (pitch > -30)).float().mean() > 0.08  # as a low robot does
    assert (clearance(scenes, pose[:, None, :3, 3])[:, 0] > 0).all()


def test_close_rooms_hold_more_small_things() -> None:
    def small(kind: str) -> float:
        scenes, _ = views(kind)
        size = scenes.half_size.amax(-1) * 2
        solid = (scenes.kind != Kind.NONE) & (scenes.kind != Kind.ROOM)
        return (solid & (size < 0.3)).float().sum(1).mean().item()

    assert small('close') > small('indoor') + 5


def test_useless_views_are_told_from_useful_ones():
    b = SceneBuilder(Random(0), 'train', outdoor=False)
    b.room((0, 0, 1.25), (6, 5, 2.5), b.material('wall'))
    b.box((1.5, 0, 0.5), (0.6, 0.6, 1.0), b.material('wood'))
    scenes = stack([b])
    rays = _few_rays(CAMERA)[None]

    def flaws(x, y, z, yaw, pitch):
        angles = (torch.tensor([a]) for a in (yaw, pitch, 0.0))
        return float(_flaws(scenes, look(torch.tensor([[x, y, z]]), *angles), rays)[0])

    assert flaws(-1.0, 0.0, 1.2, 0.0, -0.3) == 0  # the box on its floor, from 2 m
    assert flaws(2.55, 0.0, 1.2, 0.0, 0.0) > 0  # a wall, from 0.45 m
    assert flaws(1.5, 0.0, 0.5, 0.0, 0.0) > 1  # inside of the box
    assert flaws(0.85, 0.0, 0.6, 0.0, 0.0) > 0  # the box, from 0.35 m


def test_views_depend_on_the_seed_alone():
    (_, first), (_, again) = views('both'), views('both')
    assert torch.equal(first, again)
