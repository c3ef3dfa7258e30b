"""Spring, UnrealStereo4K, Booster and Middlebury: disparity, as two cameras would see points."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from metric_depth_ros.evaluation.importers import IMPORTERS, ImporterError

WIDTH, HEIGHT = 24, 16
V, U = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)
DEPTH = 2 + 0.1 * U + 0.05 * V  # metres along z of the left camera
# A rotation that is not symmetric, so that a transposed one is found out.
ROTATION = cv2.Rodrigues(np.array([0.2, -0.4, 0.1]))[0]


def disparity(left: np.ndarray, right: np.ndarray, baseline: float) -> np.ndarray:
    """u of each point in the left image less its u in the right one, `baseline` metres along x."""
    rays = np.stack((U, V, np.ones_like(U)), -1) @ np.linalg.inv(left).T
    points = rays * DEPTH[..., None] - np.array([baseline, 0, 0])
    seen = points @ right.T
    return U - seen[..., 0] / seen[..., 2]


def intrinsics(focal: float, cx: float, cy: float) -> np.ndarray:
    return np.array([[focal, 0, cx], [0, focal, cy], [0, 0, 1]])


K = intrinsics(30.0, 11.0, 8.5)


# --- Spring -----------------------------------------------------------------------------------


@pytest.fixture
def spring(tmp_path: Path, picture: Callable) -> Path:
    h5py = pytest.importorskip('h5py')
    scene = tmp_path / 'spring' / 'train' / '0004'
    (scene / 'disp1_left').mkdir(parents=True)
    (scene / 'cam_data').mkdir()
    for frame in (1, 2):
        picture(scene / 'frame_left' / f'frame_left_{frame:04d}.png', WIDTH, HEIGHT)
        fine = np.full((2 * HEIGHT, 2 * WIDTH), 7.0, np.float32)
        fine[::2, ::2] = disparity(K, K, 0.065)
        fine[:2] = 0  # sky
        with h5py.File(scene / 'disp1_left' / f'disp1_left_{frame:04d}.dsp5', 'w') as file:
            file.create_dataset('disparity', data=fine, compression='gzip')
    camera_from_world = np.eye(4)
    camera_from_world[:3, :3], camera_from_world[:3, 3] = ROTATION, [1, 2, 3]
    np.savetxt(scene / 'cam_data' / 'intrinsics.txt', [[30.0, 30.0, 11.0, 8.5]] * 2)
    np.savetxt(
        scene / 'cam_data' / 'extrinsics.txt', [np.eye(4).flatten(), camera_from_world.flatten()]
    )
    return tmp_path


def test_spring(spring: Path, imported: Callable, world_points: Callable) -> None:
    found = imported('spring', spring)
    assert not found.problems
    assert [sample.sequence for sample in found.samples] == ['0004', '0004']
    first, second = found.samples
    assert first.depth[0].isnan().all()
    np.testing.assert_allclose(first.depth[1:], DEPTH[1:], rtol=1e-5)
    assert (first.frame.camera.fx, first.frame.camera.cy) == (30.0, 8.5)
    # The world as extrinsics.txt has it takes the second frame's points to the first one's.
    back = world_points(second) @ ROTATION.T + [1, 2, 3]
    np.testing.assert_allclose(back[1:], world_points(first)[1:], atol=1e-5)


def test_spring_tells_what_is_missing(spring: Path, imported: Callable) -> None:
    scene = spring / 'spring' / 'train' / '0004'
    (scene / 'frame_left' / 'frame_left_0001.png').unlink()
    (scene / 'disp1_left' / 'disp1_left_0002.dsp5').write_bytes(b'broken')
    found = imported('spring', spring)
    assert not found.samples
    assert len(found.problems) == 2
    assert 'frame_left_0001.png: is not there' in found.problems[0]
    assert 'disp1_left_0002.dsp5 is not an HDF5 file' in found.problems[1]
    (scene / 'cam_data' / 'extrinsics.txt').write_text('1 2 3\n')
    (problem,) = imported('spring', spring).problems
    assert 'extrinsics.txt: holds 3 numbers, expected 16 a frame' in problem


def test_spring_of_fewer_cameras_than_frames(spring: Path, imported: Callable) -> None:
    path = spring / 'spring' / 'train' / '0004' / 'cam_data' / 'intrinsics.txt'
    np.savetxt(path, [[30.0, 30.0, 11.0, 8.5]])
    found = imported('spring', spring)
    assert len(found.samples) == 1
    assert 'intrinsics.txt: has 1 lines, none for frame 0002' in found.problems[0]


# --- UnrealStereo4K ---------------------------------------------------------------------------


@pytest.fixture
def unreal(tmp_path: Path, picture: Callable) -> Path:
    scene = tmp_path / '00003'
    picture(scene / 'Image0' / '00017.png', WIDTH, HEIGHT)
    values = disparity(K, K, 0.5)
    values[0] = 1e-4  # 150 km: sky
    (scene / 'Disp0').mkdir()
    np.save(scene / 'Disp0' / '00017.npy', values.astype(np.float32))
    for i in (0, 1):
        world = np.hstack((ROTATION, np.array([[4 - 0.5 * i], [5], [6]])))
        (scene / f'Extrinsics{i}').mkdir()
        lines = (' '.join(f'{x:.9f}' for x in matrix.flatten()) for matrix in (K, world))
        (scene / f'Extrinsics{i}' / '00017.txt').write_text('\n'.join(lines) + '\n')
    return tmp_path


def test_unrealstereo4k(unreal: Path, imported: Callable) -> None:
    found = imported('unrealstereo4k', unreal)
    assert not found.problems
    (sample,) = found.samples
    np.testing.assert_allclose(sample.depth[1:], DEPTH[1:], rtol=1e-5)
    assert sample.depth[0].isinf().all()
    camera = sample.frame.camera
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (30.0, 30.0, 11.0, 8.5)
    assert sample.pose is None


@pytest.mark.parametrize(
    ('path', 'content', 'message'),
    [
        ('Image0/00017.png', None, 'Image0/00017.png: is not there'),
        ('Disp0/00017.npy', None, 'Disp0/00017.npy: is not there'),
        ('Disp0/00017.npy', 'broken', 'Disp0/00017.npy is not a numpy array'),
        ('Extrinsics1/00017.txt', None, 'Extrinsics1/00017.txt: is not there'),
        ('Extrinsics1/00017.txt', '1 2 3', 'holds 3 numbers, expected 21'),
    ],
)
def test_unrealstereo4k_tells_what_is_missing(
    unreal: Path, imported: Callable, path: str, content: str | None, message: str
) -> None:
    # Another frame, so that the folder is still seen to be this dataset.
    for kind, suffix in (('Disp0', 'npy'), ('Image0', 'png')):
        source = unreal / '00003' / kind / f'00017.{suffix}'
        (source.with_stem('00018')).write_bytes(source.read_bytes())
    file = unreal / '00003' / path
    file.unlink()
    if content is not None:
        file.write_text(content)
    problems = imported('unrealstereo4k', unreal).problems
    assert len(problems) == 2  # 00018 has no extrinsics
    assert message in problems[0]


# --- Booster ----------------------------------------------------------------------------------


@pytest.fixture
def booster(tmp_path: Path, picture: Callable) -> Path:
    scene = tmp_path / 'train' / 'balanced' / 'Bathroom'
    for name in ('im0', 'im1'):
        picture(scene / 'camera_00' / f'{name}.png', WIDTH, HEIGHT)
    values = disparity(K, K, 0.08)
    values[0] = 0
    np.save(scene / 'disp_00.npy', values.astype(np.float32))
    storage = cv2.FileStorage(str(scene / 'calib_00-02.xml'), cv2.FILE_STORAGE_WRITE)
    storage.write('mtxL', 2 * K)  # before rectification
    storage.write('proj_matL', np.hstack((K, np.zeros((3, 1)))))
    storage.write('proj_matR', np.hstack((K, [[-30.0 * 80], [0], [0]])))
    storage.write('baselineLR', 80.0)  # millimetres
    storage.release()
    return tmp_path


def test_booster(booster: Path, imported: Callable) -> None:
    found = imported('booster', booster)
    assert not found.problems
    assert [entry.name for entry in found.entries] == ['Bathroom/im0', 'Bathroom/im1']
    for sample in found.samples:
        assert sample.depth[0].isnan().all()
        np.testing.assert_allclose(sample.depth[1:], DEPTH[1:], rtol=1e-5)
        assert (sample.frame.camera.fx, sample.frame.camera.cx) == (30.0, 11.0)


@pytest.mark.parametrize(
    ('path', 'content', 'message'),
    [
        ('disp_00.npy', None, 'disp_00.npy: is not there'),
        ('disp_00.npy', 'broken', 'disp_00.npy is not a numpy array'),
        ('calib_00-02.xml', None, 'calib_00-02.xml: is not there'),
        ('calib_00-02.xml', 'broken', 'calib_00-02.xml'),
        ('calib_00-02.xml', '<?xml version="1.0"?><opencv_storage><baselineLR>8.</baselineLR>'
         '</opencv_storage>', 'calib_00-02.xml: lacks proj_matL'),
        ('camera_00/im0.png', 'broken', 'im0.png'),
    ],
)  # fmt: skip
def test_booster_tells_what_is_missing(
    booster: Path, imported: Callable, path: str, content: str | None, message: str
) -> None:
    file = booster / 'train' / 'balanced' / 'Bathroom' / path
    file.unlink()
    if content is not None:
        file.write_text(content)
    problems = imported('booster', booster).problems
    assert problems
    assert message in problems[0]


# --- Middlebury -------------------------------------------------------------------------------


def write_middlebury(scene: Path, picture: Callable, truth: str = 'disp0.pfm') -> None:
    """As Adirondack's calib.txt and disp0.pfm: the right principal point lies further right."""
    right = intrinsics(30.0, 13.5, 8.5)
    picture(scene / 'im0.png', WIDTH, HEIGHT)
    (scene / 'calib.txt').write_text(
        'cam0=[30.0 0 11.0; 0 30.0 8.5; 0 0 1]\ncam1=[30.0 0 13.5; 0 30.0 8.5; 0 0 1]\n'
        f'doffs=2.5\nbaseline=176.252\nwidth={WIDTH}\nheight={HEIGHT}\nndisp=290\nisint=0\n'
        'vmin=23\nvmax=261\ndyavg=0\ndymax=0\n'
    )
    values = disparity(K, right, 0.176252).astype('<f4')
    values[0] = np.inf
    header = f'Pf\n{WIDTH} {HEIGHT}\n-0.003922\n'.encode()
    (scene / truth).write_bytes(header + values[::-1].tobytes())


@pytest.mark.parametrize('truth', ['disp0.pfm', 'disp0GT.pfm'])
def test_middlebury(tmp_path: Path, picture: Callable, imported: Callable, truth: str) -> None:
    write_middlebury(tmp_path / 'Adirondack', picture, truth)
    found = imported('middlebury', tmp_path)
    assert not found.problems
    (sample,) = found.samples
    assert sample.depth[0].isnan().all()
    positive = disparity(K, intrinsics(30.0, 13.5, 8.5), 0.176252)[1:] > 0
    np.testing.assert_allclose(sample.depth[1:].numpy()[positive], DEPTH[1:][positive], rtol=1e-5)
    assert (sample.frame.camera.fx, sample.frame.camera.cx) == (30.0, 11.0)


@pytest.mark.parametrize(
    ('path', 'content', 'message'),
    [
        ('im0.png', None, 'im0.png: is not there'),
        ('disp0.pfm', None, 'disp0.pfm: is not there'),
        ('disp0.pfm', 'Pf\n3 2\n-1\n', 'disp0.pfm has 0 bytes of floats, expected 4 x 3 x 2'),
        ('calib.txt', 'cam0=[1 0 0; 0 1 0; 0 0 1]\n', "calib.txt: lacks 'doffs'"),
        ('calib.txt', 'cam0=[1 0 0; 0 1]\n', 'calib.txt: is not a calibration'),
    ],
)
def test_middlebury_tells_what_is_missing(
    tmp_path: Path,
    picture: Callable,
    imported: Callable,
    path: str,
    content: str | None,
    message: str,
) -> None:
    write_middlebury(tmp_path / 'Adirondack', picture)
    write_middlebury(tmp_path / 'Pipes', picture)
    file = tmp_path / 'Adirondack' / path
    file.unlink()
    if content is not None:
        file.write_text(content)
    found = imported('middlebury', tmp_path)
    assert len(found.samples) == 1
    (problem,) = found.problems
    assert message in problem


@pytest.mark.parametrize('name', ['booster', 'middlebury', 'spring', 'unrealstereo4k'])
def test_a_folder_of_something_else(tmp_path: Path, name: str) -> None:
    for root in (tmp_path, tmp_path / 'none'):
        with pytest.raises(ImporterError, match=str(root)):
            list(IMPORTERS[name].read(root))
