"""The map that the node and `metric-depth fuse` grow: surface, trajectory, key frames, files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip('open3d')

from metric_depth_ros.mapping import MappingError, View
from metric_depth_ros.mapping.mapper import Mapper, MapSettings
from metric_depth_ros.mapping.mesh import read_mesh
from metric_depth_ros.mapping.preview import coarser, thinned
from metric_depth_ros.mapping.splat import SplatSettings
from metric_depth_ros.mapping.trajectory import read_trajectory

Views = Callable[[int], View]
SURFACE = MapSettings(voxel_size=0.05, splat=None)


def grown(views: Views, count: int, settings: MapSettings = SURFACE) -> Mapper:
    mapper = Mapper(settings)
    for view in map(views, range(count)):
        assert not mapper.add(view.frame, view.prediction, view.world_from_camera).why
    return mapper


def off_the_walls(points: torch.Tensor) -> torch.Tensor:
    """Metres from each point to the nearest of the corner's three planes."""
    return (points - torch.tensor([1.0, 0.7, 2.5])).abs().amin(-1)


def assert_same_points(points: torch.Tensor, expected: torch.Tensor) -> None:
    """In any order: that of marching cubes is its threads' affair."""
    torch.testing.assert_close(points.unique(dim=0), expected.unique(dim=0))


def test_surface_is_the_corner(corner_view: Views):
    mapper = grown(corner_view, 4)
    mesh, cloud = mapper.mesh(), mapper.cloud()
    assert len(mesh.triangles) > 1000
    for points in (mesh.vertices, cloud.points):
        assert off_the_walls(points).mean() < 0.01
    assert mapper.stats.frames == 4
    assert mapper.stats.path_m == pytest.approx(0.12)


def test_a_frame_without_pose_is_tracked(corner_view: Views):
    mapper = Mapper(replace(SURFACE, track_map=False))
    for number in range(4):
        view = corner_view(number)
        added = mapper.add(view.frame, view.prediction)
        assert not added.why
        error = added.world_from_camera[:3, 3] - view.world_from_camera[:3, 3]
        assert error.norm() < 0.02
    assert off_the_walls(mapper.mesh().vertices).mean() < 0.02


def test_a_map_of_tracked_frames_begins_where_it_is_told(corner_view: Views):
    mapper = Mapper(replace(SURFACE, track_map=False))
    begin = torch.eye(4, dtype=torch.float64)
    begin[:3, 3] = torch.tensor([5.0, -3.0, 1.0])
    mapper.start_at(begin)
    for number in range(2):
        view = corner_view(number)
        added = mapper.add(view.frame, view.prediction)
        assert not added.why
        error = added.world_from_camera[:3, 3] - (begin @ view.world_from_camera)[:3, 3]
        assert error.norm() < 0.02


def test_frames_of_no_use_are_refused_and_the_map_stays(corner_view: Views):
    mapper = grown(corner_view, 2)
    before = mapper.mesh().vertices
    view = corner_view(2)
    blind = replace(view.prediction, depth=torch.full_like(view.prediction.depth, torch.nan))
    assert 'no depth to fuse' in mapper.add(view.frame, blind, view.world_from_camera).why
    assert 'odometry is lost' in mapper.add(view.frame, blind).why
    with pytest.raises(MappingError, match='expected finite numbers'):
        mapper.add(view.frame, view.prediction, view.world_from_camera * torch.nan)
    assert (mapper.stats.frames, mapper.stats.useless, mapper.stats.lost) == (2, 1, 1)
    assert_same_points(mapper.mesh().vertices, before)


def test_key_frames_come_with_motion(corner_view: Views):
    settings = replace(
        SURFACE, splat=SplatSettings(max_gaussians=300), key_metres=0.07, key_degrees=90.0
    )
    mapper = grown(corner_view, 5, settings)  # 0.04 m from view to view
    assert mapper.stats.key_frames == 3
    assert mapper.stats.gaussians == 300
    assert mapper.stats.refused_gaussians > 0
    report = mapper.refine(1)
    assert report is not None
    assert report.steps == 1
    assert grown(corner_view, 1).refine(1) is None


def test_what_is_held_out_is_no_key_frame(corner_view: Views):
    mapper = Mapper(replace(SURFACE, splat=SplatSettings(max_gaussians=50), key_metres=0.0))
    for number in range(3):
        view = corner_view(number)
        pose = view.world_from_camera
        added = mapper.add(view.frame, view.prediction, pose, held_out=number == 1)
        assert (added.seeded is None) == (number == 1)
    assert (mapper.stats.frames, mapper.stats.key_frames) == (3, 2)


def test_files_hold_the_map(corner_view: Views, tmp_path: Path):
    mapper = grown(corner_view, 3, replace(SURFACE, splat=SplatSettings()))
    paths = mapper.save(tmp_path / 'map')
    assert [path.name for path in paths] == [
        'trajectory.txt', 'mesh.ply', 'cloud.ply', 'splat.ply',
    ]  # fmt: skip
    assert_same_points(read_mesh(paths[1]).vertices, mapper.mesh().vertices)
    poses = torch.stack([corner_view(n).world_from_camera for n in range(3)])
    trajectory = read_trajectory(paths[0])
    torch.testing.assert_close(trajectory.world_from_camera, poses, atol=1e-6, rtol=0)
    assert trajectory.stamps_ns[0] == 1_000_000_000
    assert {path.name for path in (tmp_path / 'map').iterdir()} == {p.name for p in paths}


def test_a_file_that_cannot_be_written_leaves_the_old_one(corner_view: Views, tmp_path: Path):
    mapper = grown(corner_view, 1)
    paths = mapper.save(tmp_path)
    old = paths[1].read_bytes()
    (tmp_path / 'mesh.ply.unfinished').symlink_to('/dev/full')  # where the new one is written
    view = corner_view(1)
    mapper.add(view.frame, view.prediction, view.world_from_camera)
    with pytest.raises(MappingError, match=r'could not write .*mesh\.ply: No space left'):
        mapper.save(tmp_path)
    assert paths[1].read_bytes() == old
    assert mapper.save(tmp_path / 'elsewhere')


def test_trajectory_is_bounded(corner_view: Views):
    mapper = Mapper(replace(SURFACE, max_poses=4))
    view = corner_view(0)
    for number in range(12):
        frame = replace(view.frame, stamp_ns=number)
        mapper.add(frame, view.prediction, view.world_from_camera)
    stamps = mapper.trajectory().stamps_ns
    assert len(stamps) <= 4
    assert (stamps[0], stamps[-1]) == (0, 11)


def test_preview_is_small_and_in_place(corner_view: Views):
    mapper = grown(corner_view, 4)
    whole = mapper.mesh()
    small = coarser(whole, 300, 0.1)
    assert 50 < len(small.triangles) <= 300
    assert off_the_walls(small.vertices).mean() < 0.05
    extent = whole.vertices.amax(0) - whole.vertices.amin(0)
    np.testing.assert_allclose(small.vertices.amax(0) - small.vertices.amin(0), extent, atol=0.5)
    assert coarser(whole, len(whole.triangles), 0.1) is whole
    cloud = mapper.cloud()
    assert len(thinned(cloud, 100).points) <= 100
    assert len(thinned(cloud, 10**6).points) == len(cloud.points)
