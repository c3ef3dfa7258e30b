"""What a volume does at its limit of blocks, and on disk."""

from __future__ import annotations

import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from metric_depth_ros.mapping import MappingError
from metric_depth_ros.mapping.block_grid import BYTES_PER_BLOCK
from metric_depth_ros.mapping.mesh import Mesh, join, read_mesh, write_cloud, write_mesh
from metric_depth_ros.mapping.tsdf import TsdfVolume
from metric_depth_ros.types import Camera

from .closed_form import view

o3d = pytest.importorskip('open3d')

VOXEL = 0.02
CAMERA = Camera(40.0, 40.0, 19.5, 14.5, 40, 30)


def along(x: float):
    """A view of the wall z = 1.005 m from (x, 0, 0)."""
    pose = torch.eye(4, dtype=torch.float64)
    pose[0, 3] = x
    return view(CAMERA, pose, torch.full((30, 40), 1.005))


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """No file of this process may grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def area(mesh: Mesh) -> float:
    a, b, c = mesh.vertices[mesh.triangles].unbind(1)
    return float(torch.linalg.cross(b - a, c - a).norm(dim=-1).sum()) / 2


def test_far_blocks_are_dropped_at_the_limit_and_counted():
    volume = TsdfVolume(VOXEL, max_blocks=150)
    dropped = 0
    for step in range(12):
        report = volume.integrate(along(0.5 * step))
        assert report.blocks == volume.num_blocks <= 150
        dropped += report.dropped
    assert dropped == volume.dropped > 200
    assert volume.refused == 0
    assert 'far ones dropped' in str(report)
    reach = volume.mesh().vertices[:, 0]
    assert 5.9 < reach.max() < 6.1
    assert reach.min() > 4.0


def test_a_view_larger_than_the_limit_keeps_what_is_near():
    volume = TsdfVolume(VOXEL, max_blocks=40)
    report = volume.integrate(along(0.0))
    assert report.refused > 0
    assert report.blocks <= 40
    offset = volume.mesh().vertices[:, :2].norm(dim=-1)
    assert len(offset) > 100
    assert offset.max() < 0.4


def test_the_surface_of_dropped_blocks_is_kept_on_disk_without_seams(tmp_path: Path):
    bounded = TsdfVolume(VOXEL, max_blocks=150, overflow=tmp_path / 'overflow')
    unbounded = TsdfVolume(VOXEL)
    for step in range(12):
        bounded.integrate(along(0.5 * step))
        unbounded.integrate(along(0.5 * step))
    assert len(bounded.overflow_parts) >= 2
    whole = unbounded.mesh()
    kept = bounded.save_mesh(tmp_path / 'map.ply')
    assert area(bounded.mesh()) < 0.5 * area(whole)
    assert area(kept) == pytest.approx(area(whole), rel=0.02)
    assert area(whole) == pytest.approx(6.46 * 0.72, rel=0.05)
    read = o3d.io.read_triangle_mesh(str(tmp_path / 'map.ply'))
    assert len(read.triangles) == len(kept.triangles)


def test_the_overflow_of_another_map_is_not_mixed_in(tmp_path: Path):
    write_mesh(tmp_path / 'surface-00000.ply', Mesh.empty())
    with pytest.raises(MappingError, match='another map'):
        TsdfVolume(VOXEL, overflow=tmp_path)


def test_a_slot_used_again_has_forgotten_its_block():
    volume = TsdfVolume(VOXEL, max_blocks=150)
    for step in (0, 100, 200, 300):
        volume.integrate(along(float(step)))
    fresh = TsdfVolume(VOXEL)
    fresh.integrate(along(300.0))
    blocks, slots = volume._grid.blocks()
    here = blocks[:, 0] > 299 / (8 * VOXEL)
    values = volume._grid.values('tsdf').reshape(-1, 512)[slots[here]]
    _, others = fresh._grid.blocks()
    expected = fresh._grid.values('tsdf').reshape(-1, 512)[others]
    torch.testing.assert_close(values.sum(), expected.sum())
    assert int(volume._grid.values('views').max()) == 1


def test_a_map_goes_on_after_saving_and_loading_as_if_nothing_had_been(tmp_path: Path):
    volume = TsdfVolume(VOXEL, truncation=0.1)
    volume.integrate(along(0.0))
    volume.save(tmp_path / 'map.npz')
    loaded = TsdfVolume.load(tmp_path / 'map.npz')
    assert (loaded.voxel_size, loaded.truncation, loaded.views) == (VOXEL, 0.1, 1)
    assert loaded.num_blocks == volume.num_blocks
    for one in (volume, loaded):
        one.integrate(along(0.3))
    expected, found = volume.mesh(), loaded.mesh()
    assert area(found) == pytest.approx(area(expected), rel=1e-6)
    pose = along(0.3).world_from_camera
    torch.testing.assert_close(
        loaded.render(CAMERA, pose), volume.render(CAMERA, pose), equal_nan=True
    )


def test_the_file_of_a_state_is_as_large_as_its_blocks(tmp_path: Path):
    volume = TsdfVolume(VOXEL)
    volume.integrate(along(0.0))
    volume.save(tmp_path / 'map.npz')
    size = (tmp_path / 'map.npz').stat().st_size
    assert size == pytest.approx(volume.num_blocks * (BYTES_PER_BLOCK + 12), rel=0.01)


@pytest.mark.skipif(sys.platform == 'win32', reason='limits are of POSIX')
def test_a_full_disk_is_told_and_neither_map_nor_old_file_are_lost(tmp_path: Path):
    volume = TsdfVolume(VOXEL)
    volume.integrate(along(0.0))
    state, surface = tmp_path / 'map.npz', tmp_path / 'map.ply'
    volume.save(state)
    volume.save_mesh(surface)
    before = state.read_bytes(), surface.read_bytes()
    volume.integrate(along(0.4))
    mesh = volume.mesh()
    with full_disk(10_000):
        for save, path in ((volume.save, state), (volume.save_mesh, surface)):
            with pytest.raises(
                MappingError, match=f'could not write .*{path.name}: File too large'
            ):
                save(path)
    assert (state.read_bytes(), surface.read_bytes()) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ['map.npz', 'map.ply']
    assert area(volume.mesh()) == pytest.approx(area(mesh))
    volume.save(state)
    assert TsdfVolume.load(state).views == 2


def test_a_full_disk_at_the_limit_drops_nothing(tmp_path: Path):
    volume = TsdfVolume(VOXEL, max_blocks=150, overflow=tmp_path / 'overflow')
    volume.integrate(along(0.0))
    before = area(volume.mesh())
    with full_disk(10_000), pytest.raises(MappingError, match='could not write'):
        volume.integrate(along(0.9))
    assert (volume.dropped, area(volume.mesh())) == (0, pytest.approx(before))
    assert volume.integrate(along(0.9)).dropped > 0


def test_files_that_are_no_state_are_refused(tmp_path: Path):
    path = tmp_path / 'map.npz'
    volume = TsdfVolume(VOXEL)
    volume.integrate(along(0.0))
    volume.save(path)
    with pytest.raises(MappingError, match='max_blocks'):
        TsdfVolume.load(path, max_blocks=3)
    whole = path.read_bytes()
    for content in (b'', b'no map', whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(MappingError, match='no whole state'):
            TsdfVolume.load(path)
    np.savez(path, version=1, blocks=np.array([{}], dtype=object))
    with pytest.raises(MappingError, match='no whole state'):
        TsdfVolume.load(path)  # pickle inside


def test_ply_files_read_as_they_were_written(tmp_path: Path):
    volume = TsdfVolume(VOXEL)
    volume.integrate(along(0.0))
    mesh, cloud = volume.mesh(), volume.cloud()
    write_mesh(tmp_path / 'mesh.ply', mesh)
    found = read_mesh(tmp_path / 'mesh.ply')
    for name in ('vertices', 'triangles', 'normals', 'colours'):
        assert torch.equal(getattr(found, name), getattr(mesh, name))
    write_cloud(tmp_path / 'cloud.ply', cloud)
    points = o3d.io.read_point_cloud(str(tmp_path / 'cloud.ply'))
    np.testing.assert_allclose(np.asarray(points.points), cloud.points.numpy(), atol=1e-6)
    np.testing.assert_allclose(np.asarray(points.normals), cloud.normals.numpy(), atol=1e-6)
    assert np.asarray(points.colors)[0] * 255 == pytest.approx((200, 100, 50))
    content = (tmp_path / 'mesh.ply').read_bytes()
    for wrong in (b'ply\n', content[:-5], (tmp_path / 'cloud.ply').read_bytes()):
        (tmp_path / 'wrong.ply').write_bytes(wrong)
        with pytest.raises(MappingError, match=r'wrong\.ply'):
            read_mesh(tmp_path / 'wrong.ply')


def test_joined_meshes_keep_their_triangles():
    volume = TsdfVolume(VOXEL)
    volume.integrate(along(0.0))
    mesh = volume.mesh()
    both = join([mesh, Mesh.empty(), mesh])
    assert area(both) == pytest.approx(2 * area(mesh))
    assert len(join([]).vertices) == 0
