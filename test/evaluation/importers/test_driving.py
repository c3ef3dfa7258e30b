"""KITTI, DDAD, nuScenes and Virtual KITTI 2, in the layouts that they are published in."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from metric_depth_ros.evaluation.importers import IMPORTERS, ImporterError
from metric_depth_ros.evaluation.importers.kitti_eigen import eigen_frames
from metric_depth_ros.types import Camera


def named(problem: str) -> str:
    """Name of the file that a problem is about."""
    return Path(problem.split(': ')[0]).name


# --- KITTI ------------------------------------------------------------------------------------

# Of 2011_09_26, shortened to what is read; the real files have more lines of the same form.
CAM_TO_CAM = """calib_time: 09-Jan-2012 13:57:47
corner_dist: 9.950000e-02
S_00: 1.392000e+03 5.120000e+02
R_rect_00: 9.999239e-01 9.837760e-03 -7.445048e-03 -9.869795e-03 9.999421e-01 -4.278459e-03 \
7.402527e-03 4.351614e-03 9.999631e-01
S_rect_02: 1.242000e+03 3.750000e+02
P_rect_02: 7.215377e+02 0.000000e+00 6.095593e+02 4.485728e+01 0.000000e+00 7.215377e+02 \
1.728540e+02 2.163791e-01 0.000000e+00 0.000000e+00 1.000000e+00 2.745884e-03
S_rect_03: 1.242000e+03 3.750000e+02
P_rect_03: 7.215377e+02 0.000000e+00 6.095593e+02 -3.395242e+02 0.000000e+00 7.215377e+02 \
1.728540e+02 2.199936e+00 0.000000e+00 0.000000e+00 1.000000e+00 2.729905e-03
"""
VELO_TO_CAM = """calib_time: 15-Mar-2012 11:37:16
R: 7.533745e-03 -9.999714e-01 -6.166020e-04 1.480249e-02 7.280733e-04 -9.998902e-01 \
9.998621e-01 7.523790e-03 1.480755e-02
T: -4.069766e-03 -7.631618e-02 -2.717806e-01
delta_f: 0.000000e+00 0.000000e+00
"""
KITTI_K = np.array([[721.5377, 0, 609.5593], [0, 721.5377, 172.8540], [0, 0, 1]])
DRIVE = '2011_09_26/2011_09_26_drive_0002_sync'


@pytest.fixture
def kitti(tmp_path: Path, store: Callable) -> Path:
    """The first of Eigen's frames with improved ground truth, both cameras; and LiDAR."""
    root = tmp_path / 'kitti'
    for camera, colour in (('image_02', (10, 20, 30)), ('image_03', (40, 50, 60))):
        store(root / DRIVE / camera / 'data/0000000006.png', colour, (1242, 375))
        stored = np.zeros((375, 1242), np.uint16)
        stored[200, 600], stored[201, 601] = 2560, 20480
        drive = root / 'val' / Path(DRIVE).name
        store(drive / 'proj_depth/groundtruth' / camera / '0000000006.png', stored)
    (root / '2011_09_26/calib_cam_to_cam.txt').write_text(CAM_TO_CAM)
    (root / '2011_09_26/calib_velo_to_cam.txt').write_text(VELO_TO_CAM)
    return root


def test_eigens_split_is_the_published_one() -> None:
    lidar, improved = eigen_frames(improved=False), eigen_frames(improved=True)
    assert (len(lidar), len(improved)) == (697, 652)
    assert len(set(lidar)) == 697
    assert len({drive for _, drive, _ in lidar}) == 28
    assert ('2011_09_26', '2011_09_26_drive_0002_sync', 69) in improved
    assert ('2011_10_03', '2011_10_03_drive_0047_sync', 800) in improved
    assert set(improved) < set(lidar)
    # Improved ground truth is made of eleven scans: the first five of a drive have none.
    assert not [frame for frame in improved if frame[2] < 5]


def test_kitti_improved_ground_truth(kitti: Path, imported: Callable) -> None:
    result = imported('kitti', kitti)
    assert len(result.samples) == 1
    assert len(result.problems) == 651
    missing = 'proj_depth/groundtruth/image_02/0000000009.png: is not there'
    assert result.problems[0].endswith(missing)
    frame, depth = result.samples[0].frame, result.depths[0]
    assert frame.camera == Camera(721.5377, 721.5377, 609.5593, 172.854, 1242, 375)
    assert frame.image[0, 0].tolist() == [10, 20, 30]
    assert np.isfinite(depth).sum() == 2
    assert (depth[200, 600], depth[201, 601]) == (10.0, 80.0)  # 1/256 m
    assert result.samples[0].sequence == '2011_09_26_drive_0002_sync/image_02'


def test_kitti_all_that_is_annotated(kitti: Path, imported: Callable) -> None:
    result = imported('kitti', kitti, split='annotated', cameras=('image_02', 'image_03'))
    assert [s.frame.image[0, 0].tolist() for s in result.samples] == [
        [10, 20, 30],
        [40, 50, 60],
    ]
    assert not result.problems


def test_kitti_lidar(kitti: Path, imported: Callable) -> None:
    rng = np.random.default_rng(0)
    scan = rng.uniform((-10, -20, -2, 0), (60, 20, 1, 1), size=(3000, 4)).astype(np.float32)
    scans = kitti / DRIVE / 'velodyne_points/data'
    scans.mkdir(parents=True)
    scan.tofile(scans / '0000000006.bin')
    result = imported('kitti', kitti, split='eigen-lidar')
    assert len(result.samples) == 1
    assert len(result.problems) == 696

    velo = [line.split(':')[1].split() for line in VELO_TO_CAM.splitlines()[1:3]]
    rotation, shift = np.array(velo[0], float).reshape(3, 3), np.array(velo[1], float)
    rectify = CAM_TO_CAM.splitlines()[3].split(':')[1].split()
    ahead = scan[scan[:, 0] >= 0, :3].astype(float)
    rectified = (ahead @ rotation.T + shift) @ np.array(rectify, float).reshape(3, 3).T
    baseline = np.linalg.inv(KITTI_K) @ (44.85728, 0.2163791, 0.002745884)
    points = rectified + baseline  # in the rectified frame of camera 2
    points = points[points[:, 2] > 0]
    seen, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), KITTI_K, None)
    expected = np.full((375, 1242), np.nan)
    for (u, v), z in zip(seen[:, 0], points[:, 2], strict=True):
        column, row = round(u) - 1, round(v) - 1
        if 0 <= column < 1242 and 0 <= row < 375:
            expected[row, column] = np.nanmin((expected[row, column], z))
    depth = result.depths[0]
    assert np.isfinite(expected).sum() > 500
    assert np.array_equal(np.isfinite(depth), np.isfinite(expected))
    assert np.nanmax(np.abs(depth - expected)) < 1e-4


def test_kitti_tells_what_is_missing(kitti: Path, imported: Callable) -> None:
    day = kitti / '2011_09_26'
    (day / 'calib_cam_to_cam.txt').write_text(CAM_TO_CAM.replace('P_rect_02', 'P_rect_05'))
    problems = imported('kitti', kitti).problems
    assert [str(p) for p in problems if 'calib' in str(p)] == [
        f'{day / "calib_cam_to_cam.txt"}: has no P_rect_02'
    ]
    (day / 'calib_cam_to_cam.txt').write_text(CAM_TO_CAM)
    scans = kitti / DRIVE / 'velodyne_points/data'
    scans.mkdir(parents=True)
    (scans / '0000000006.bin').write_bytes(b'1234567')
    problems = imported('kitti', kitti, split='eigen-lidar').problems
    assert [p for p in problems if 'has 7 bytes' in p and named(p) == '0000000006.bin']
    shutil.rmtree(kitti / 'val')
    with pytest.raises(ImporterError, match='proj_depth'):
        list(IMPORTERS['kitti'].read(kitti))


# --- DDAD -------------------------------------------------------------------------------------


def vector(values: np.ndarray) -> dict[str, float]:
    return dict(zip('xyz', map(float, values), strict=True))


def pose(rotation: Rotation, shift: np.ndarray) -> dict[str, dict[str, float]]:
    x, y, z, w = map(float, rotation.as_quat())
    return {
        'translation': vector(shift),
        'rotation': {'qx': x, 'qy': y, 'qz': z, 'qw': w},
        'reference_coordinate_system': '',
    }


@pytest.fixture
def ddad(tmp_path: Path, store: Callable) -> Path:
    """One scene of two samples in ddad.json's val split; the second sample lacks its store."""
    root = tmp_path / 'ddad_train_val'
    scene = root / '000150'
    (scene / 'calibration').mkdir(parents=True)
    (scene / 'point_cloud/LIDAR').mkdir(parents=True)
    intrinsics = {'fx': 60.0, 'fy': 61.0, 'cx': 31.5, 'cy': 23.5, 'skew': 0.0, 'fov': 0.0}
    nothing = dict.fromkeys(intrinsics, 0.0)
    calibration = {
        'names': ['LIDAR', 'CAMERA_01'],
        'intrinsics': [nothing, intrinsics],
        'extrinsics': [pose(Rotation.identity(), np.zeros(3))] * 2,
    }
    (scene / 'calibration/abc.json').write_text(json.dumps(calibration))
    data, samples = [], []
    for index, stamp in enumerate(('1556698123_000', '1556698123_100')):
        moment = f'2019-05-01T08:08:43.{index}49984Z'
        camera_pose = pose(*camera_place(index))
        image = {'filename': f'rgb/CAMERA_01/{stamp}.png', 'height': 48, 'width': 64,
                 'channels': 3, 'annotations': {}, 'pose': camera_pose}  # fmt: skip
        cloud = {'filename': f'point_cloud/LIDAR/{stamp}.npz', 'annotations': {}, 'metadata': {},
                 'point_format': ['X', 'Y', 'Z', 'INTENSITY'], 'point_fields': [],
                 'pose': pose(*lidar_place(index))}  # fmt: skip
        for name, kind, datum in (('CAMERA_01', 'image', image), ('LIDAR', 'point_cloud', cloud)):
            identity = {'log': '', 'name': name, 'timestamp': moment, 'index': str(index)}
            data.append({'id': identity, 'key': f'{name}{index}', 'datum': {kind: datum},
                         'next_key': '', 'prev_key': ''})  # fmt: skip
        samples.append({'id': {'log': '', 'name': '', 'timestamp': moment, 'index': str(index)},
                        'datum_keys': [f'CAMERA_01{index}', f'LIDAR{index}'],
                        'calibration_key': 'abc', 'metadata': {}})  # fmt: skip
        np.savez_compressed(scene / cloud['filename'], data=np.c_[cloud_of(index), np.ones(400)])
    store(scene / 'rgb/CAMERA_01/1556698123_000.png', (7, 8, 9), (64, 48))
    (scene / 'scene_5c56.json').write_text(
        json.dumps({'name': 'scene', 'log': '', 'samples': samples, 'data': data})
    )
    splits = {'1': {'filenames': ['000150/scene_5c56.json']}}
    (root / 'ddad.json').write_text(json.dumps({'metadata': {}, 'scene_splits': splits}))
    return root


def camera_place(index: int) -> tuple[Rotation, np.ndarray]:
    return Rotation.from_euler('zyx', (0.3, 0.2 + index, -0.4)), np.array([5.0, -2.0, 1.5])


def lidar_place(index: int) -> tuple[Rotation, np.ndarray]:
    """Not the moment of the camera: the car has driven on."""
    return Rotation.from_euler('zyx', (0.35, 0.1, -0.2 + index)), np.array([5.4, -2.1, 0.0])


def cloud_of(index: int) -> np.ndarray:
    """(400, 3) points of the LiDAR's frame, spread about the camera's view."""
    rng = np.random.default_rng(index)
    points = rng.uniform((-4, -3, -2), (4, 3, 12), size=(400, 3))
    (camera_turn, camera_at), (lidar_turn, lidar_at) = camera_place(index), lidar_place(index)
    return lidar_turn.inv().apply(camera_turn.apply(points) + camera_at - lidar_at)


def seen_by_opencv(
    cloud: np.ndarray,
    lidar: tuple[Rotation, np.ndarray],
    camera: tuple[Rotation, np.ndarray],
    matrix: np.ndarray,
    size: tuple[int, int],
    nearest: float,
) -> np.ndarray:
    """Depth where cv2.projectPoints, told where the camera stands, puts points of the world."""
    world = lidar[0].apply(cloud) + lidar[1]
    turn = camera[0].inv()
    rvec, tvec = turn.as_rotvec(), -turn.apply(camera[1])
    pixels, _ = cv2.projectPoints(world, rvec, tvec, matrix, None)
    depth = turn.apply(world)[:, 2] + tvec[2]
    expected = np.full((size[1], size[0]), np.nan)
    for (u, v), z in zip(pixels[:, 0], depth, strict=True):
        column, row = round(u), round(v)
        if z > nearest and 0 <= column < size[0] and 0 <= row < size[1]:
            expected[row, column] = np.nanmin((expected[row, column], z))
    return expected


def test_ddad(ddad: Path, imported: Callable) -> None:
    result = imported('ddad', ddad)
    assert [str(p) for p in result.problems] == [
        f'{ddad}/000150/rgb/CAMERA_01/1556698123_100.png: is not there'
    ]
    sample = result.samples[0]
    assert sample.frame.camera == Camera(60.0, 61.0, 31.5, 23.5, 64, 48)
    assert sample.frame.stamp_ns == pytest.approx(1556698123.049984e9, abs=1000)
    turn, shift = camera_place(0)
    assert np.allclose(sample.pose[:3, :3], turn.as_matrix())
    assert np.allclose(sample.pose[:3, 3], shift)
    matrix = np.array([[60.0, 0, 31.5], [0, 61.0, 23.5], [0, 0, 1]])
    expected = seen_by_opencv(
        cloud_of(0), lidar_place(0), camera_place(0), matrix, (64, 48), nearest=0
    )
    assert np.isfinite(expected).sum() > 100
    assert np.allclose(result.depths[0], expected, atol=1e-4, equal_nan=True)


def test_ddad_structured_points(ddad: Path, imported: Callable) -> None:
    before = imported('ddad', ddad).depths[0]
    points = np.zeros(400, dtype=[(axis, 'f4') for axis in ('X', 'Y', 'Z', 'INTENSITY')])
    for axis, values in zip('XYZ', cloud_of(0).T, strict=True):
        points[axis] = values
    np.savez(ddad / '000150/point_cloud/LIDAR/1556698123_000.npz', data=points)
    after = imported('ddad', ddad).depths[0]
    assert np.isfinite(before).sum() == pytest.approx(np.isfinite(after).sum(), abs=2)


def test_ddad_tells_what_is_missing(ddad: Path, imported: Callable) -> None:
    (ddad / '000150/point_cloud/LIDAR/1556698123_000.npz').write_bytes(b'PK broken')
    problems = imported('ddad', ddad).problems
    assert '1556698123_000.npz' in str(problems[0])
    problems = imported('ddad', ddad, cameras=('CAMERA_09',)).problems
    assert ['CAMERA_09' in str(p) for p in problems] == [True, True]
    (ddad / '000150/scene_5c56.json').unlink()
    problems = imported('ddad', ddad).problems
    assert [named(p) for p in problems] == ['scene_5c56.json']
    with pytest.raises(ImporterError, match='split train'):
        imported('ddad', ddad, split='train')


# --- nuScenes ---------------------------------------------------------------------------------


@pytest.fixture
def nuscenes(tmp_path: Path, store: Callable) -> Path:
    """v1.0-mini with one scene of each split; a sweep that is no key frame; a lost LiDAR file."""
    root = tmp_path / 'nuscenes'
    tables: dict[str, list[dict]] = {
        'sensor': [
            {'token': 'se-c', 'channel': 'CAM_FRONT', 'modality': 'camera'},
            {'token': 'se-l', 'channel': 'LIDAR_TOP', 'modality': 'lidar'},
        ],
        'calibrated_sensor': [],
        'scene': [],
        'sample': [],
        'sample_data': [],
        'ego_pose': [],
    }
    identity = {'translation': [0.0, 0.0, 0.0], 'rotation': [1.0, 0.0, 0.0, 0.0]}
    matrix = [[60.0, 0.0, 31.5], [0.0, 61.0, 23.5], [0.0, 0.0, 1.0]]
    (root / 'samples/LIDAR_TOP').mkdir(parents=True)
    for index, scene in enumerate(('scene-0103', 'scene-0061')):
        tables['scene'].append({'token': scene, 'name': scene, 'first_sample_token': 'x'})
        tables['sample'].append(
            {'token': f'sa{index}', 'scene_token': scene, 'timestamp': 1532402927647951 + index}
        )
        cloud = np.c_[cloud_of(index), np.zeros((400, 2))].astype(np.float32)
        cloud.tofile(root / f'samples/LIDAR_TOP/{index}.pcd.bin')
        store(root / f'samples/CAM_FRONT/{index}.jpg', (90, 90, 90), (64, 48))
        for key, place, ending in (
            ('c', camera_place(index), 'CAM_FRONT/{}.jpg'),
            ('l', lidar_place(index), 'LIDAR_TOP/{}.pcd.bin'),
        ):
            # Sensor on the car, and car in the world: together the sensor's place.
            mounted, at = Rotation.from_euler('xyz', (0.1, -0.2, 1.0)), np.array([1.5, 0.2, 1.6])
            car = place[0] * mounted.inv()
            tables['calibrated_sensor'].append({
                'token': f'cs{key}{index}', 'sensor_token': f'se-{key}',
                'translation': at.tolist(), 'rotation': np.roll(mounted.as_quat(), 1).tolist(),
                'camera_intrinsic': matrix if key == 'c' else [],
            })  # fmt: skip
            tables['ego_pose'].append({
                'token': f'ep{key}{index}', 'timestamp': 0,
                'translation': (place[1] - car.apply(at)).tolist(),
                'rotation': np.roll(car.as_quat(), 1).tolist(),
            })  # fmt: skip
            tables['sample_data'].append({
                'token': f'sd{key}{index}', 'sample_token': f'sa{index}',
                'ego_pose_token': f'ep{key}{index}',
                'calibrated_sensor_token': f'cs{key}{index}',
                'filename': 'samples/' + ending.format(index), 'fileformat': 'jpg',
                'width': 64 if key == 'c' else 0, 'height': 48 if key == 'c' else 0,
                'timestamp': 1532402927612460 + index, 'is_key_frame': True,
            })  # fmt: skip
        sweep = {**tables['sample_data'][-1], 'token': 'sweep', 'is_key_frame': False}
        tables['sample_data'].append({**sweep, 'filename': 'sweeps/none', 'ego_pose_token': 'id'})
    tables['ego_pose'].append({'token': 'id', **identity})
    (root / 'v1.0-mini').mkdir()
    for name, records in tables.items():
        (root / 'v1.0-mini' / f'{name}.json').write_text(json.dumps(records))
    return root


@pytest.mark.parametrize(('split', 'index'), [('val', 0), ('train', 1)])
def test_nuscenes(split: str, index: int, nuscenes: Path, imported: Callable) -> None:
    result = imported('nuscenes', nuscenes, split=split)
    assert not result.problems
    (sample,) = result.samples
    assert sample.sequence.startswith(('scene-0103', 'scene-0061')[index])
    assert sample.frame.camera == Camera(60.0, 61.0, 31.5, 23.5, 64, 48)
    assert sample.frame.stamp_ns == pytest.approx((1532402927612460 + index) * 1000, abs=1000)
    turn, shift = camera_place(index)
    assert np.allclose(sample.pose[:3, :3], turn.as_matrix())
    assert np.allclose(sample.pose[:3, 3], shift)
    matrix = np.array([[60.0, 0, 31.5], [0, 61.0, 23.5], [0, 0, 1]])
    expected = seen_by_opencv(
        cloud_of(index), lidar_place(index), camera_place(index), matrix, (64, 48), nearest=1.0
    )
    assert np.isfinite(expected).sum() > 100
    assert np.allclose(result.depths[0], expected, atol=1e-4, equal_nan=True)


def test_nuscenes_tells_what_is_missing(nuscenes: Path, imported: Callable) -> None:
    (nuscenes / 'samples/LIDAR_TOP/1.pcd.bin').write_bytes(b'12345')
    (nuscenes / 'samples/CAM_FRONT/0.jpg').unlink()
    problems = imported('nuscenes', nuscenes, split='all').problems
    assert sorted(named(p) for p in problems) == ['0.jpg', '1.pcd.bin']
    problems = imported('nuscenes', nuscenes, cameras=('CAM_BACK',)).problems
    assert 'no CAM_BACK' in str(problems[0])
    (nuscenes / 'v1.0-mini/ego_pose.json').unlink()
    with pytest.raises(ImporterError, match=r'ego_pose\.json'):
        imported('nuscenes', nuscenes)


def test_nuscenes_validates_on_150_scenes() -> None:
    from metric_depth_ros.evaluation.importers.nuscenes import _VAL

    assert sum(high - low + 1 for low, high in _VAL) == 150


# --- Virtual KITTI 2 --------------------------------------------------------------------------


@pytest.fixture(params=['own folders', 'one folder'])
def vkitti2(tmp_path: Path, store: Callable, request: pytest.FixtureRequest) -> Path:
    root = tmp_path / 'vkitti2'
    apart = request.param == 'own folders'

    def place(archive: str) -> Path:
        return root / (f'vkitti_2.0.3_{archive}' if apart else '') / 'Scene01/clone'

    intrinsics = ['frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]']
    axes = [f'r{i},{j}' for i in (1, 2, 3) for j in (1, 2, 3)]
    extrinsics = [f'frame cameraID {" ".join(axes)} t1 t2 t3 0 0 0 1']
    for number in (0, 1):
        for camera in (0, 1):
            intrinsics.append(f'{number} {camera} 725.0087 725.0087 620.5 187')
            extrinsics.append(
                f'{number} {camera} 0 -1 0 {1 + number} 1 0 0 -0.53 0 0 1 {camera} 0 0 0 1'
            )
    for camera in ('Camera_0', 'Camera_1'):
        store(place('rgb') / f'frames/rgb/{camera}/rgb_00000.jpg', (128, 128, 128), (1242, 375))
        stored = np.full((375, 1242), 1234, np.uint16)
        stored[:100] = 65535
        stored[100, 0] = 65534
        store(place('depth') / f'frames/depth/{camera}/depth_00000.png', stored)
    place('textgt').mkdir(parents=True, exist_ok=True)
    (place('textgt') / 'intrinsic.txt').write_text('\n'.join(intrinsics) + '\n')
    (place('textgt') / 'extrinsic.txt').write_text('\n'.join(extrinsics) + '\n')
    return root


def test_vkitti2(vkitti2: Path, imported: Callable) -> None:
    result = imported('vkitti2', vkitti2, cameras=('Camera_1',))
    assert not result.problems
    (sample,), (depth,) = result.samples, result.depths
    assert sample.frame.camera == Camera(725.0087, 725.0087, 620.5, 187.0, 1242, 375)
    assert np.isinf(depth[:100]).all()  # sky
    assert depth[100, 0] == pytest.approx(655.34)
    assert np.allclose(depth[101:], 12.34)  # centimetres
    # camera_from_world turns by a quarter: world = R^T (camera - t)
    rotation, shift = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]]), np.array([1, -0.53, 1])
    assert np.allclose(sample.pose[:3, :3], rotation.T)
    assert np.allclose(sample.pose[:3, 3], -rotation.T @ shift)
    assert sample.sequence == 'Scene01/clone/Camera_1'


def test_vkitti2_tells_what_is_missing(vkitti2: Path, imported: Callable) -> None:
    depth = next(vkitti2.rglob('depth/Camera_0/depth_00000.png'))
    depth.unlink()
    assert [named(p) for p in imported('vkitti2', vkitti2).problems] == [depth.name]
    next(vkitti2.rglob('intrinsic.txt')).unlink()
    (problem,) = imported('vkitti2', vkitti2).problems
    assert 'intrinsic.txt' in str(problem)
    assert '1 frames of Camera_0' in str(problem)
    with pytest.raises(ImporterError, match='Scene20'):
        imported('vkitti2', vkitti2, split='Scene20')
