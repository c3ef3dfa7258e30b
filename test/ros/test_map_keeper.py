"""The map of mapping_node as its two threads see it: fresh folders, rescue, limits. No ROS."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip('open3d')

from metric_depth_ros.mapping import MappingError, View
from metric_depth_ros.mapping.block_grid import BYTES_PER_BLOCK
from metric_depth_ros.mapping.mapper import Snapshot
from metric_depth_ros.mapping.mesh import read_mesh
from metric_depth_ros.mapping.trajectory import read_trajectory
from metric_depth_ros.ros.autosave import Autosave
from metric_depth_ros.ros.map_keeper import MapKeeper
from metric_depth_ros.ros.mapping_parameters import MappingParameters

Views = Callable[[int], View]


def keeper_of(folder: Path, **parameters: object) -> MapKeeper:
    return MapKeeper(
        MappingParameters(folder=str(folder), device='cpu', voxel_size=0.05, **parameters)
    )


def add(keeper: MapKeeper, view: View) -> None:
    assert not keeper.add(view.frame, view.prediction, view.world_from_camera).why


def test_maps_begun_in_one_second_have_folders_of_their_own(corner_view: Views, tmp_path: Path):
    for number in range(3):
        keeper = keeper_of(tmp_path)
        add(keeper, corner_view(number))
        assert keeper.unsaved
        keeper.save()
        assert not keeper.unsaved
    assert len(list(tmp_path.iterdir())) == 3


def test_at_the_end_a_map_is_saved_elsewhere_if_it_must_be(
    corner_view: Views, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / 'tmp'))
    keeper = keeper_of(tmp_path / 'maps')
    add(keeper, corner_view(0))
    keeper.folder.mkdir()
    (keeper.folder / 'trajectory.txt.unfinished').symlink_to('/dev/full')
    text = keeper.rescue()
    assert 'No space left on device' in text
    (mesh,) = (tmp_path / 'tmp').glob('*/mesh.ply')
    assert str(mesh.parent) in text
    assert len(read_mesh(mesh).triangles) > 1000
    assert not keeper.unsaved


def test_a_map_that_cannot_be_saved_anywhere_stays_unsaved(
    corner_view: Views, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tempfile, 'tempdir', '/dev/null/tmp')
    keeper = keeper_of(tmp_path / 'maps')
    add(keeper, corner_view(0))
    keeper.folder.write_text('in the way')
    with pytest.raises(MappingError, match='could not write'):
        keeper.rescue()
    assert keeper.unsaved
    assert keeper.stats.frames == 1


def test_frames_go_on_while_a_map_is_written(
    corner_view: Views, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    keeper = keeper_of(tmp_path)
    add(keeper, corner_view(0))
    write = Snapshot.write

    def slowly(snapshot: Snapshot, folder: Path) -> tuple[Path, ...]:
        add(keeper, corner_view(12))  # would wait for ever if the map were held
        return write(snapshot, folder)

    monkeypatch.setattr(Snapshot, 'write', slowly)
    assert keeper.save().startswith('1 frames saved')
    assert (keeper.saved_frames, keeper.stats.frames, keeper.unsaved) == (1, 2, True)
    assert len(read_trajectory(keeper.folder / 'trajectory.txt')) == 1
    monkeypatch.undo()
    old = read_mesh(keeper.folder / 'mesh.ply')
    keeper.save()
    assert (keeper.saved_frames, keeper.unsaved) == (2, False)
    assert len(read_mesh(keeper.folder / 'mesh.ply').triangles) > len(old.triangles)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_autosave_keeps_up_and_goes_on_after_a_full_disk(corner_view: Views, tmp_path: Path):
    keeper = keeper_of(tmp_path)
    complaints: list[str] = []
    autosave = Autosave(keeper, 0.01, complaints.append, max_share=1.0)
    try:
        add(keeper, corner_view(0))
        wait_for(lambda: keeper.saved_frames == 1)
        (keeper.folder / 'cloud.ply.unfinished').symlink_to('/dev/full')
        add(keeper, corner_view(1))
        wait_for(lambda: keeper.saved_frames == 2)
    finally:
        autosave.stop()
    (complaint,) = complaints
    assert complaint.startswith(f'autosave: could not write {keeper.folder}/cloud.ply: No space')
    add(keeper, corner_view(2))
    assert keeper.unsaved
    assert len(read_trajectory(keeper.folder / 'trajectory.txt')) == 2


def test_memory_limit_in_megabytes(tmp_path: Path):
    settings = MappingParameters(memory_mb=150).map_settings(keeper_of(tmp_path).device, tmp_path)
    taken_while_growing = 1.5 * settings.max_blocks * BYTES_PER_BLOCK
    assert 149e6 < taken_while_growing <= 150e6
