"""Odometry in a room whose depth and poses are exact, and on depth of no use at all."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from metric_depth_ros import geometry, rigid
from metric_depth_ros.mapping import MappingError
from metric_depth_ros.mapping.gating import Gates
from metric_depth_ros.mapping.odometry import OdometryConfig, RgbdOdometry
from metric_depth_ros.mapping.registration import agreement, depth_image, guess_by_features
from metric_depth_ros.mapping.trajectory import drift, trajectory_of
from metric_depth_ros.types import Camera, DepthPrediction, Frame

pytest.importorskip('open3d')

CAMERA = Camera(140.0, 140.0, 79.5, 59.5, 160, 120)
LENS = Camera(140.0, 140.0, 79.5, 59.5, 160, 120, 'plumb_bob', (-0.25, 0.06, 0.0, 0.0))


# Half of a room's length, width and height, metres; the camera moves about its middle.
ROOM = torch.tensor([2.5, 1.8, 1.3], dtype=torch.float64)


@dataclass(frozen=True)
class Seen:
    """A frame of the room with the truth about it."""

    frame: Frame
    depth: Tensor
    world_from_camera: Tensor


def seen_from(world_from_camera: Tensor, camera: Camera, stamp_ns: int) -> Seen:
    """The inside of a box with blotches of all sizes on its walls."""
    local = geometry.rays(camera, dtype=torch.float64)
    ray = local @ world_from_camera[:3, :3].T
    origin = world_from_camera[:3, 3]
    reach = torch.where(ray > 0, ROOM - origin, -ROOM - origin) / ray
    distance, wall = reach.min(-1)
    hit = origin + ray * distance[..., None]
    generator = torch.Generator().manual_seed(1)
    shade = torch.zeros(hit.shape[:2], dtype=torch.float64)
    for _ in range(24):
        wave = 8 * torch.randn(3, generator=generator, dtype=torch.float64)
        shade += (hit @ wave + 3 * wall).sin() * (hit @ wave.flip(0)).cos()
    grey = (128 + 22 * shade).clamp(0, 255).byte()
    return Seen(
        Frame(grey[..., None].repeat(1, 1, 3), camera, stamp_ns),
        (distance * local[..., 2]).float(),
        world_from_camera,
    )


def walk(camera: Camera, frames: int) -> list[Seen]:
    """8 cm and 3 degrees a frame, looking at a corner."""
    poses = []
    for index in range(frames):
        yaw = math.radians(-60 + 3 * index)
        forward = torch.tensor([math.cos(yaw), math.sin(yaw), -0.25], dtype=torch.float64)
        forward /= forward.norm()
        right = torch.tensor([math.sin(yaw), -math.cos(yaw), 0.0], dtype=torch.float64)
        pose = torch.eye(4, dtype=torch.float64)
        pose[:3, :3] = torch.stack((right, torch.linalg.cross(forward, right), forward), dim=1)
        pose[:3, 3] = torch.tensor([0.06 * index, 0.05 * index, 0.01 * index])
        poses.append(pose)
    return [seen_from(pose, camera, index * 200_000_000) for index, pose in enumerate(poses)]


@pytest.fixture(scope='module')
def moving() -> list[Seen]:
    return walk(CAMERA, 6)


def prediction(seen: Seen, std: float = 0.005) -> DepthPrediction:
    """Exact depth that says of itself that it is good to `std` of it."""
    return DepthPrediction(seen.depth, std * seen.depth, seen.frame.camera, seen.frame.stamp_ns)


def track(odometry: RgbdOdometry, seen: list[Seen]) -> list[tuple[int, Tensor]]:
    poses = []
    for each in seen:
        found = odometry.track(each.frame, prediction(each))
        assert found.ok, found.why
        assert found.why == ''
        poses.append((each.frame.stamp_ns, found.world_from_camera))
    return poses


def truth(seen: list[Seen]) -> list[tuple[int, Tensor]]:
    return [(each.frame.stamp_ns, each.world_from_camera) for each in seen]


def begun(seen: Seen) -> RgbdOdometry:
    return RgbdOdometry(world_from_camera=seen.world_from_camera)


def test_it_follows_the_camera(moving: list[Seen]) -> None:
    found = drift(trajectory_of(track(begun(moving[0]), moving)), trajectory_of(truth(moving)))
    assert found.length_m > 0.2
    assert found.end_m < 0.02 * found.length_m
    assert found.end_deg < 0.5


def test_a_distorted_camera_is_rectified_first() -> None:
    seen = walk(LENS, 3)
    found = drift(trajectory_of(track(begun(seen[0]), seen)), trajectory_of(truth(seen)))
    assert found.end_m < 0.03 * found.length_m
    # The same frames taken for a pinhole's go astray.
    wrong = RgbdOdometry()
    poses = []
    for each in seen:
        frame = replace(each.frame, camera=CAMERA)
        answer = wrong.track(frame, replace(prediction(each), camera=CAMERA))
        poses.append((frame.stamp_ns, answer.world_from_camera))
    assert drift(trajectory_of(poses), trajectory_of(truth(seen))).end_m > 2 * found.end_m


def test_a_map_pulls_the_pose_to_it(moving: list[Seen]) -> None:
    """A first frame with bent depth leads all that follow astray; a map that is right does not."""

    def model(camera: Camera, world_from_camera: Tensor) -> Tensor:
        return seen_from(world_from_camera, camera, 0).depth

    bent = prediction(moving[0], 0.01)
    slope = torch.linspace(-0.01, 0.01, CAMERA.width)
    bent = replace(bent, depth=bent.depth * (1 + slope))
    errors = []
    for known in (None, model):
        odometry = RgbdOdometry(model=known, world_from_camera=moving[0].world_from_camera)
        odometry.track(moving[0].frame, bent)
        found = odometry.track(moving[1].frame, prediction(moving[1]))
        assert found.ok, found.why
        error = rigid.inverse(moving[1].world_from_camera) @ found.world_from_camera
        errors.append((rigid.distance(error), rigid.angle(error)))
    (alone_m, alone_rad), (mapped_m, mapped_rad) = errors
    assert mapped_m < 0.2 * alone_m
    assert mapped_rad < 0.2 * alone_rad


def test_a_map_that_is_elsewhere_changes_nothing(moving: list[Seen]) -> None:
    """Of another place, or of nothing at all."""

    def nothing(camera: Camera, world_from_camera: Tensor) -> Tensor:
        return torch.full((camera.height, camera.width), torch.nan)

    def elsewhere(camera: Camera, world_from_camera: Tensor) -> Tensor:
        return seen_from(world_from_camera, camera, 0).depth + 0.5

    alone = track(begun(moving[0]), moving[:3])
    for model in (nothing, elsewhere):
        odometry = RgbdOdometry(model=model, world_from_camera=moving[0].world_from_camera)
        for (_, ours), (_, theirs) in zip(track(odometry, moving[:3]), alone, strict=True):
            # Open3D adds up in another order on every run of several threads.
            assert rigid.distance(rigid.inverse(ours) @ theirs) < 5e-4


def test_bad_depth_is_lost_and_found_again(moving: list[Seen]) -> None:
    odometry = begun(moving[0])
    good = odometry.track(moving[0].frame, prediction(moving[0]))
    blind = torch.full_like(moving[1].depth, torch.nan)
    generator = torch.Generator().manual_seed(0)
    noise = 5 * torch.rand(blind.shape, generator=generator) + 0.2
    for depth, std, why in (
        (blind, blind, r'0.0 % of the pixels'),
        (moving[1].depth, moving[1].depth, 'may be trusted'),  # as uncertain as it is deep
        (torch.full_like(blind, torch.inf), blind, '0.0 % of the pixels'),
        (noise, 0.01 * noise, 'fits the key frame|may be trusted'),
    ):
        lost = odometry.track(moving[1].frame, DepthPrediction(depth, std, CAMERA))
        assert not lost.ok
        assert torch.equal(lost.world_from_camera, good.world_from_camera)
        assert re.search(why, lost.why), lost.why
        assert '\n' not in lost.why
    assert odometry.lost == 4
    again = odometry.track(moving[1].frame, prediction(moving[1]))
    assert again.ok
    error = rigid.inverse(moving[1].world_from_camera) @ again.world_from_camera
    assert rigid.distance(error) < 0.01
    assert odometry.lost == 0


def test_a_jump_is_not_a_motion(moving: list[Seen]) -> None:
    odometry = RgbdOdometry(OdometryConfig(max_step_m=0.005))
    odometry.track(moving[0].frame, prediction(moving[0]))
    lost = odometry.track(moving[3].frame, prediction(moving[3]))
    assert not lost.ok
    assert 'a jump of' in lost.why
    odometry.restart(moving[3].world_from_camera)
    anew = odometry.track(moving[3].frame, prediction(moving[3]))
    assert anew.ok
    assert torch.equal(anew.world_from_camera, moving[3].world_from_camera)


def test_another_camera_is_not_followed(moving: list[Seen]) -> None:
    odometry = RgbdOdometry()
    odometry.track(moving[0].frame, prediction(moving[0]))
    other = replace(CAMERA, fx=150.0)
    frame = Frame(moving[1].frame.image, other)
    with pytest.raises(MappingError, match='another camera than the image'):
        odometry.track(frame, prediction(moving[1]))
    lost = odometry.track(frame, replace(prediction(moving[1]), camera=other))
    assert not lost.ok
    assert 'another than before' in lost.why


def test_features_give_a_guess_from_afar(moving: list[Seen]) -> None:
    gates = Gates()
    first, last = (
        depth_image(each.frame, prediction(each), gates, 160 * 120)
        for each in (moving[0], moving[-1])
    )
    motion = rigid.inverse(moving[0].world_from_camera) @ moving[-1].world_from_camera
    guess = guess_by_features(last, first)
    assert guess is not None
    error = rigid.inverse(motion) @ guess
    assert rigid.distance(error) < 0.5 * rigid.distance(motion)
    # The truth agrees best, whichever way one goes from it.
    best = agreement(last, first, motion)
    assert best.surface > 0.9
    for shift in ((0.05, 0.0, 0.0), (0.0, -0.05, 0.0), (0.0, 0.0, 0.05)):
        aside = motion.clone()
        aside[:3, 3] += torch.tensor(shift)
        assert agreement(last, first, aside).cost > best.cost
    plain = depth_image(
        Frame(torch.full((120, 160, 3), 90).byte(), CAMERA),
        prediction(moving[0]),
        gates,
        160 * 120,
    )
    assert guess_by_features(plain, first) is None


def test_limits_are_checked() -> None:
    with pytest.raises(MappingError, match='min_fitness is 2'):
        OdometryConfig(min_fitness=2)
    with pytest.raises(MappingError, match='max_step_m is 0'):
        OdometryConfig(max_step_m=0)
    with pytest.raises(MappingError, match='rotation'):
        RgbdOdometry(world_from_camera=torch.ones(4, 4, dtype=torch.float64))
