"""iBims-1 and TUM RGB-D: written in their layouts, and a real sequence where it is at hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scipy.io import savemat
from scipy.spatial.transform import Rotation

from metric_depth_ros import geometry
from metric_depth_ros.evaluation.importers import IMPORTERS, ImporterError
from metric_depth_ros.evaluation.importers.tum import associate

CABINET = Path(__file__).parents[4] / 'shared' / 'data' / 'tum_fr3_cabinet'


# --- iBims-1 ----------------------------------------------------------------------------------


def ibims_struct(rng: np.random.Generator) -> dict[str, np.ndarray]:
    depth = rng.uniform(1, 8, (12, 16))
    depth[0, 0] = 0  # the laser saw nothing
    masks = {f'mask_{kind}': np.ones((12, 16), np.uint8) for kind in ('invalid', 'transp')}
    masks['mask_invalid'][1], masks['mask_transp'][2] = 0, 0
    edges = np.zeros((12, 16), np.uint8)
    edges[5, 3:9] = 1
    return {
        'rgb': rng.integers(0, 256, (12, 16, 3), np.uint8),
        'depth': depth,
        'edges': edges,
        'calib': np.array([[20.0, 0, 0], [0, 21, 0], [8.25, 6.5, 1]]),  # K transposed
        **masks,
        'mask_wall': np.zeros((12, 16), np.uint8),
        'mask_wall_paras': np.empty((0, 0)),
    }


@pytest.fixture
def ibims(tmp_path: Path) -> dict[str, dict[str, np.ndarray]]:
    folder = tmp_path / 'ibims1_core_mat'
    folder.mkdir()
    rng = np.random.default_rng(0)
    scenes = {name: ibims_struct(rng) for name in ('corridor_01', 'auditorium_02')}
    for name, scene in scenes.items():
        savemat(folder / f'{name}.mat', {'data': scene})
    (folder / 'imagelist.txt').write_text('corridor_01\r\nauditorium_02\r\n')
    return scenes


def test_ibims(
    tmp_path: Path, ibims: dict[str, dict[str, np.ndarray]], imported: Callable
) -> None:
    found = imported('ibims', tmp_path)
    assert not found.problems
    assert [entry.name for entry in found.entries] == ['corridor_01', 'auditorium_02']
    for sample, scene in zip(found.samples, ibims.values(), strict=True):
        np.testing.assert_array_equal(sample.frame.image, scene['rgb'])
        np.testing.assert_array_equal(sample.edges, scene['edges'] == 1)
        known = np.ones((12, 16), bool)
        known[0, 0] = known[1:3] = False
        np.testing.assert_array_equal(~sample.depth.isnan(), known)
        np.testing.assert_allclose(sample.depth[3:], scene['depth'][3:], rtol=1e-6)
        # The authors' points: columns count from 1, x = (c - calib[2, 0]) z / calib[0, 0].
        row, column = np.mgrid[1:13, 1:17]
        x = (column - 8.25) * scene['depth'] / 20
        y = (row - 6.5) * scene['depth'] / 21
        points = geometry.unproject(sample.depth, sample.frame.camera)
        np.testing.assert_allclose(points[3:, :, 0], x[3:], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(points[3:, :, 1], y[3:], rtol=1e-5, atol=1e-6)


def test_ibims_tells_what_is_missing(
    tmp_path: Path, ibims: dict[str, dict[str, np.ndarray]], imported: Callable
) -> None:
    folder = tmp_path / 'ibims1_core_mat'
    (folder / 'imagelist.txt').write_text('corridor_01\nauditorium_02\nkitchen_03\nfield_04\n')
    (folder / 'corridor_01.mat').write_bytes(b'broken')
    del ibims['auditorium_02']['edges']
    savemat(folder / 'auditorium_02.mat', {'data': ibims['auditorium_02']})
    savemat(folder / 'field_04.mat', {'other': 1})
    found = imported('ibims', tmp_path)
    assert not found.samples
    broken, lacking, missing, other = found.problems
    assert 'corridor_01.mat: is not a MATLAB 5 file' in broken
    assert 'auditorium_02.mat: its struct lacks a field' in lacking
    assert 'kitchen_03.mat: is not there' in missing
    assert 'field_04.mat: holds no struct called data' in other


# --- TUM RGB-D --------------------------------------------------------------------------------


def write_tum(folder: Path, picture: Callable) -> dict[str, np.ndarray]:
    """Three colour images: depth 9 ms after the first, 30 ms after the second, with the third."""
    (folder / 'depth').mkdir(parents=True)
    colour, depth, truth = (['# remarks', '# file: x', '# timestamp filename'] for _ in range(3))
    written = {}
    for stamp in ('10.000000', '10.100000', '10.200000'):
        picture(folder / 'rgb' / f'{stamp}.png', 640, 480)
        colour.append(f'{stamp} rgb/{stamp}.png')
    for i, stamp in enumerate(('10.009000', '10.130000', '10.200000')):
        values = np.full((480, 640), 5000 * (i + 1), np.uint16)
        values[0] = 0
        cv2.imwrite(str(folder / 'depth' / f'{stamp}.png'), values)
        depth.append(f'{stamp} depth/{stamp}.png')
    for stamp in ('9.995000', '10.010000', '10.300000'):
        pose = np.eye(4)
        rotation = Rotation.from_euler('xyz', [float(stamp), 0.5, 0.2])
        pose[:3, :3], pose[:3, 3] = rotation.as_matrix(), [1, 2, float(stamp)]
        written[stamp] = pose
        numbers = ' '.join(f'{x:.8f}' for x in (*pose[:3, 3], *rotation.as_quat()))
        truth.append(f'{stamp} {numbers}')
    for name, lines in (('rgb', colour), ('depth', depth), ('groundtruth', truth)):
        (folder / f'{name}.txt').write_text('\n'.join(lines) + '\n')
    return written


def test_tum(tmp_path: Path, picture: Callable, imported: Callable) -> None:
    folder = tmp_path / 'rgbd_dataset_freiburg2_desk'
    poses = write_tum(folder, picture)
    for root in (tmp_path, folder):
        found = imported('tum', root)
        (problem,) = found.problems
        assert 'rgb/10.100000.png: no depth was taken within 0.02 s of it' in problem
        first, third = found.samples
        assert first.depth[0].isnan().all()
        assert first.depth[1:].unique().tolist() == [1.0]
        assert third.depth[1:].unique().tolist() == [3.0]
        assert first.frame.stamp_ns == 10_000_000_000
        # The pose closest in time; none where there is none within 20 ms.
        np.testing.assert_allclose(first.pose, poses['9.995000'], atol=1e-7)
        assert third.pose is None
        camera = first.frame.camera
        assert (camera.fx, camera.cy) == (520.908620, 249.701764)
        assert camera.distortion == (0.231222, -0.784899, -0.003257, -0.000105, 0.917205)


def test_tum_associates_the_closest_first() -> None:
    """The second image is nearer to the only depth than the first, which goes without."""
    assert associate(np.array([0.0, 0.012]), np.array([0.01])) == {1: 0}
    assert associate(np.array([0.0, 1.0]), np.array([1.019, 0.5, 0.001])) == {0: 2, 1: 0}
    assert associate(np.array([0.0]), np.array([0.03])) == {}
    assert associate(np.empty(0), np.empty(0)) == {}


def test_tum_tells_what_is_missing(tmp_path: Path, picture: Callable, imported: Callable) -> None:
    folder = tmp_path / 'rgbd_dataset_freiburg1_xyz'
    write_tum(folder, picture)
    (folder / 'depth' / '10.009000.png').unlink()
    (folder / 'rgb' / '10.200000.png').write_bytes(b'broken')
    found = imported('tum', folder)
    assert not found.samples
    assert 'depth/10.009000.png: is not there' in found.problems[0]
    assert 'rgb/10.200000.png' in found.problems[2]
    (folder / 'depth.txt').write_text('now depth/1.png\n')
    (problem,) = imported('tum', folder).problems
    assert "depth.txt: begins a line with 'now', not a timestamp" in problem
    (problem,) = imported('tum', folder.rename(tmp_path / 'my_room')).problems
    assert 'my_room: is not named after freiburg1, 2 or 3' in problem


@pytest.mark.skipif(not CABINET.is_dir(), reason='the real sequence is not at hand')
def test_a_real_tum_sequence(imported: Callable, world_points: Callable) -> None:
    """World z is up and the floor lies at z = 0: a third of what is seen is there, +- 3 cm."""
    found = imported('tum', CABINET)
    assert not found.problems
    assert len(found.samples) == 57
    assert [s.frame.stamp_ns for s in found.samples] == sorted(
        s.frame.stamp_ns for s in found.samples
    )
    for sample in found.samples[1::11]:  # the first frame's pose is known to be bad
        heights = torch.from_numpy(world_points(sample)[..., 2])
        heights = heights[heights.isfinite()]
        assert (heights.abs() < 0.03).float().mean() > 0.33
        assert (heights < -0.15).float().mean() < 0.02


@pytest.mark.parametrize('name', ['ibims', 'tum'])
def test_a_folder_of_something_else(tmp_path: Path, name: str) -> None:
    for root in (tmp_path, tmp_path / 'none'):
        with pytest.raises(ImporterError, match=str(root)):
            list(IMPORTERS[name].read(root))
