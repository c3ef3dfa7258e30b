"""Fusion against surfaces known in closed form."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from metric_depth_ros import geometry
from metric_depth_ros.mapping import MappingError, View
from metric_depth_ros.mapping.block_grid import RESOLUTION, blocks_around
from metric_depth_ros.mapping.gating import Gates, Weighting
from metric_depth_ros.mapping.tsdf import TsdfVolume
from metric_depth_ros.types import Camera, DepthPrediction, Frame

from .closed_form import CAMERA, FISHEYE, distance, poses, truth, view

pytest.importorskip('open3d')

VOXEL = 0.04
SMALL = Camera(40.0, 40.0, 19.5, 14.5, 40, 30)
FORWARD = torch.eye(4, dtype=torch.float64)


def wall(depth: float, camera: Camera = SMALL, std: float = 0.0, pose: Tensor = FORWARD) -> View:
    """A wall straight ahead."""
    return view(camera, pose, torch.full((camera.height, camera.width), depth), std)


def moved(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Tensor:
    pose = FORWARD.clone()
    pose[:3, 3] = torch.tensor((x, y, z))
    return pose


@pytest.fixture(scope='module')
def exact() -> list[tuple[Tensor, Tensor]]:
    """(pose, true depth) of CAMERA."""
    places = poses(16)
    return list(zip(places, truth(CAMERA, places), strict=True))


@pytest.fixture(scope='module')
def room(exact) -> TsdfVolume:
    volume = TsdfVolume(VOXEL)
    for pose, depth in exact:
        volume.integrate(view(CAMERA, pose, depth))
    return volume


def test_mesh_of_true_depth_is_within_half_a_voxel(room):
    mesh = room.mesh()
    error = distance(mesh.vertices).abs()
    assert len(mesh.vertices) > 20_000
    assert error.mean() < 0.05 * VOXEL
    assert error.quantile(0.99) < 0.5 * VOXEL


def test_cloud_lies_on_the_surface_and_its_normals_look_into_the_air(room):
    cloud = room.cloud(min_views=3)
    assert distance(cloud.points).abs().mean() < 0.05 * VOXEL
    length = cloud.normals.norm(dim=-1)
    torch.testing.assert_close(length, torch.ones_like(length), atol=1e-3, rtol=0)
    outside = distance(cloud.points + VOXEL * cloud.normals)
    assert (outside > 0).float().mean() > 0.99
    assert cloud.colours.unique(dim=0).tolist() == [[200, 100, 50]]


def test_triangles_turn_counter_clockwise_as_seen_from_the_air(room):
    mesh = room.mesh(min_views=3)
    a, b, c = mesh.vertices[mesh.triangles].unbind(1)
    across = torch.linalg.cross(b - a, c - a)
    large = across.norm(dim=-1) > 0.1 * VOXEL**2
    agrees = (across * mesh.normals[mesh.triangles[:, 0]]).sum(-1)[large] > 0
    assert agrees.float().mean() > 0.99
    assert mesh.colours.unique(dim=0).tolist() == [[200, 100, 50]]


def test_fisheye_is_fused_as_it_is():
    places = poses(8)
    volume = TsdfVolume(2 * VOXEL)
    for pose, depth in zip(places, truth(FISHEYE, places), strict=True):
        volume.integrate(view(FISHEYE, pose, depth))
    error = distance(volume.mesh(min_views=2).vertices).abs()
    assert len(error) > 5000
    assert error.mean() < 0.5 * VOXEL


def test_weights_of_the_uncertainty_lower_the_error_of_noisy_depth(exact):
    """Noise from 3 mm to 6 cm, its deviation known; everything but the weighting is the same."""
    generator = torch.Generator().manual_seed(0)
    weighted = TsdfVolume(VOXEL)
    uniform = TsdfVolume(VOXEL, weighting=Weighting.uniform())
    for pose, depth in exact:
        coarse = torch.rand(1, 1, 4, 5, generator=generator)
        share = F.interpolate(coarse, depth.shape, mode='bilinear')[0, 0]
        std = 0.003 * 20**share
        noisy = depth + std * torch.randn(depth.shape, generator=generator)
        for volume in (weighted, uniform):
            volume.integrate(view(CAMERA, pose, noisy, std))
    with_std, without = (
        float(distance(volume.mesh(min_views=2).vertices).abs().mean())
        for volume in (weighted, uniform)
    )
    print(f'mean surface error {with_std * 1e3:.2f} mm weighted, {without * 1e3:.2f} mm uniform')
    assert with_std < 0.8 * without


@pytest.mark.parametrize('std', [0.02, 0.04])
def test_noise_beyond_the_truncation_does_not_shift_a_wall(std):
    """Errors away from the camera and towards it are cut off alike."""
    generator = torch.Generator().manual_seed(1)
    volume = TsdfVolume(0.01, gates=Gates(max_jump=math.inf))
    camera = Camera(80.0, 80.0, 19.5, 14.5, 40, 30)
    for _ in range(40):
        depth = 1.005 + std * torch.randn(30, 40, generator=generator)
        volume.integrate(view(camera, FORWARD, depth, std))
    depth = volume.render(camera, FORWARD, min_views=20)
    assert depth.isfinite().float().mean() > 0.5
    assert abs(float(depth.nanmedian()) - 1.005) < 0.005


def test_two_walls_fuse_to_their_weighted_mean():
    volume = TsdfVolume(0.02, weighting=Weighting(min_std=0.01, angle=False, range=False))
    volume.integrate(wall(1.00, std=0.01))
    volume.integrate(wall(1.03, std=0.02))  # a quarter of the weight
    depth = volume.render(SMALL, FORWARD)[10:20, 10:30]
    torch.testing.assert_close(depth, torch.full_like(depth, 1.006), atol=1e-3, rtol=0)


def test_render_is_the_depth_that_went_in(room, exact):
    for index in (1, 6):
        pose, depth = exact[index]
        rendered = room.render(CAMERA, pose)
        error = (rendered - depth).abs()
        assert rendered.isfinite().float().mean() > 0.9
        assert error.nanmedian() < 0.01 * VOXEL
        assert (error < 0.5 * VOXEL).sum() / error.isfinite().sum() > 0.97


def test_render_takes_any_lens(room):
    pose = poses(16)[3]
    expected = next(truth(FISHEYE, [pose]))
    rendered = room.render(FISHEYE, pose)
    error = (rendered - expected).abs()[30:90, 40:120]
    assert error.isfinite().float().mean() > 0.8  # the cameras have not seen all of the room
    assert error.nanmedian() < 0.02 * VOXEL
    assert rendered[geometry.rays(FISHEYE)[..., 2] <= 0].isnan().all()


@pytest.mark.parametrize(('carve', 'expected'), [(True, 2.005), (False, 1.005)])
def test_what_left_is_carved_away_unless_carving_is_off(carve, expected):
    volume = TsdfVolume(0.04, carve=carve)
    volume.integrate(wall(1.005))
    for _ in range(6):
        volume.integrate(wall(2.005))
    assert abs(float(volume.render(SMALL, FORWARD, min_views=0)[15, 20]) - expected) < 0.01


def test_extraction_keeps_what_was_seen_often_and_surely_enough():
    volume = TsdfVolume(0.02, weighting=Weighting(min_std=0.01, angle=False, range=False))
    volume.integrate(wall(1.005, std=0.02))
    volume.integrate(wall(1.005, std=0.02))
    everything = len(volume.mesh().vertices)
    assert everything > 1000
    assert len(volume.mesh(min_views=2).vertices) == everything
    assert len(volume.mesh(min_views=3).vertices) == 0
    assert len(volume.cloud(min_weight=0.49).points) > 1000
    assert len(volume.cloud(min_weight=0.51).points) == 0
    assert len(volume.mesh().vertices) == everything  # hiding has left no trace


def test_cameras_of_other_sizes_and_lenses_fuse_into_one_map(exact):
    volume = TsdfVolume(VOXEL)
    large = geometry.resize_camera(CAMERA, 320, 240)
    pose = exact[0][0]
    for camera in (CAMERA, large, FISHEYE):
        report = volume.integrate(view(camera, pose, next(truth(camera, [pose]))))
        assert report.gates.pixels == camera.width * camera.height
        assert report.voxels > 10_000
    assert distance(volume.mesh(min_views=2).vertices).abs().mean() < 0.5 * VOXEL


@pytest.mark.parametrize(
    ('depth', 'std', 'reason'),
    [
        (math.nan, 0.01, 'no_depth'),
        (0.0, 0.01, 'no_depth'),
        (math.inf, 0.01, 'no_depth'),
        (50.0, 0.01, 'range'),
        (1.0, -0.01, 'std'),
        (1.0, math.inf, 'std'),
    ],
)
def test_a_view_without_a_usable_pixel_changes_nothing_and_says_why(depth, std, reason):
    volume = TsdfVolume(0.02)
    volume.integrate(wall(1.0))
    before = volume.mesh()
    report = volume.integrate(wall(depth, std=std))
    assert (report.gates.used, report.voxels) == (0, 0)
    assert getattr(report.gates, reason) == report.gates.pixels == 1200
    # Open3D says the vertices in another order each time
    assert sorted(volume.mesh().vertices.tolist()) == sorted(before.vertices.tolist())


def test_an_empty_map_has_an_empty_surface():
    volume = TsdfVolume(0.02)
    assert len(volume.mesh().triangles) == len(volume.cloud().points) == 0
    assert volume.render(SMALL, FORWARD).isnan().all()


def test_a_refused_pose_never_reaches_the_map():
    depth = torch.ones(30, 40)
    frame = Frame(torch.zeros(30, 40, 3, dtype=torch.uint8), SMALL)
    pose = FORWARD.clone()
    pose[0, 3] = math.nan
    with pytest.raises(MappingError, match='finite'):
        View(frame, DepthPrediction(depth, depth, SMALL), pose)
    with pytest.raises(MappingError, match='rotation'):
        TsdfVolume(0.02).render(SMALL, 2 * FORWARD)


def test_a_pose_beyond_all_measure_is_refused_and_the_map_kept():
    volume = TsdfVolume(0.02)
    volume.integrate(wall(1.0))
    before = len(volume.mesh().vertices)
    with pytest.raises(MappingError, match='origin of the world'):
        volume.integrate(wall(1.0, pose=moved(x=1e9)))
    assert len(volume.mesh().vertices) == before


@pytest.mark.parametrize(
    ('arguments', 'name'),
    [
        ({'voxel_size': 0.0}, 'voxel_size'),
        ({'voxel_size': math.nan}, 'voxel_size'),
        ({'voxel_size': 0.02, 'truncation': 0.01}, 'truncation'),
        ({'voxel_size': 0.02, 'max_blocks': 0}, 'max_blocks'),
        ({'voxel_size': 0.02, 'device': 'meta'}, 'META'),
    ],
)
def test_impossible_volumes_are_refused(arguments, name):
    with pytest.raises(MappingError, match=name):
        TsdfVolume(**arguments)


def test_blocks_around_a_point_are_those_within_the_margin():
    found = blocks_around(torch.tensor([[0.05, 0.05, -0.01]]), 0.04, 0.08)
    assert {tuple(row) for row in found.tolist()} == {
        (i, j, k) for i in (0, 1) for j in (0, 1) for k in (-1, 0)
    }


def test_voxels_of_a_block_are_indexed_x_first():
    volume = TsdfVolume(0.01)
    volume.integrate(wall(1.0))
    grid = volume._grid
    blocks, slots = grid.blocks()
    points, index = grid.voxels(slots[:2])
    x, y, z = 3, 5, 6
    place = (blocks[1] * RESOLUTION + torch.tensor((x, y, z))) * 0.01
    found = points[RESOLUTION**3 + (z * RESOLUTION + y) * RESOLUTION + x]
    torch.testing.assert_close(found, place.float())
    assert index[RESOLUTION**3] == slots[1] * RESOLUTION**3


@pytest.mark.gpu
def test_cuda_makes_the_same_map(exact):
    volumes = [TsdfVolume(VOXEL, device=device) for device in ('cpu', 'cuda')]
    for pose, depth in exact[:4]:
        for volume in volumes:
            volume.integrate(view(CAMERA, pose, depth))
    on_cpu, on_cuda = volumes
    assert on_cpu.num_blocks == on_cuda.num_blocks
    assert distance(on_cuda.mesh().vertices).abs().mean() < 0.05 * VOXEL
    pose = exact[0][0]
    difference = (on_cpu.render(CAMERA, pose) - on_cuda.render(CAMERA, pose)).abs()
    assert difference.nanmedian() < 1e-4
