"""NYUv2, SUN RGB-D, DIODE, ScanNet and ETH3D, in the layouts that they are published in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import savemat
from scipy.spatial.transform import Rotation

from metric_depth_ros import geometry
from metric_depth_ros.evaluation.importers import IMPORTERS, ImporterError
from metric_depth_ros.types import Camera


def named(problem: str) -> str:
    """Name of the file that a problem is about."""
    return Path(problem.split(': ')[0]).name


# --- NYU Depth v2 -----------------------------------------------------------------------------

NYU_CAMERA = Camera(
    518.85790117450188, 519.46961112127485, 325.58244941119034, 253.73616633400465, 640, 480
)  # camera_params.m of the toolbox


@pytest.fixture
def labeled(tmp_path: Path) -> Path:
    """Three frames in nyu_depth_v2_labeled.mat, as MATLAB 7.3 writes it: HDF5, axes reversed."""
    h5py = pytest.importorskip('h5py')
    root = tmp_path / 'nyu'
    root.mkdir()
    images = np.zeros((3, 3, 640, 480), np.uint8)
    raw = np.zeros((3, 640, 480), np.float32)
    for index in range(3):
        images[index, 0, 30, 20] = 100 + index  # red at row 20, column 30
        raw[index, 30, 20] = 1.5 + index
        raw[index, 40:, 10:] = 4.0
    with h5py.File(root / 'nyu_depth_v2_labeled.mat', 'w', userblock_size=512) as archive:
        archive['images'] = images
        archive['rawDepths'] = raw
        archive['depths'] = np.full_like(raw, 9.0)  # filled in: not the truth
        cells = []
        for index, scene in enumerate(('kitchen_0004', 'office_0001', 'office_0001')):
            letters = np.array([[ord(letter)] for letter in scene], np.uint16)
            archive[f'#refs#/{index}'] = letters
            cells.append(archive[f'#refs#/{index}'].ref)
        archive.create_dataset('scenes', (1, 3), h5py.ref_dtype)[0] = cells
    with (root / 'nyu_depth_v2_labeled.mat').open('r+b') as file:
        file.write(b'MATLAB 7.3 MAT-file, Platform: GLNXA64'.ljust(124) + b'\x00\x02IM')
    splits = {'trainNdxs': np.array([[2]], float), 'testNdxs': np.array([[1], [3]], float)}
    savemat(root / 'splits.mat', splits)
    return root


@pytest.mark.parametrize(('split', 'numbers'), [('test', (1, 3)), ('train', (2,))])
def test_nyu_labeled(
    split: str, numbers: tuple[int, ...], labeled: Path, imported: Callable
) -> None:
    result = imported('nyu', labeled, split=split)
    assert not result.problems
    assert [entry.name for entry in result.entries] == [f'{number:04d}' for number in numbers]
    for sample, depth, number in zip(result.samples, result.depths, numbers, strict=True):
        assert sample.frame.camera == NYU_CAMERA
        assert sample.frame.image[20, 30].tolist() == [99 + number, 0, 0]
        assert depth[20, 30] == 0.5 + number
        assert (depth[10:, 40:] == 4.0).all()
        assert np.isnan(depth[:10]).all()
        assert sample.sequence == ('kitchen_0004' if number == 1 else 'office_0001')


def test_nyu_labeled_tells_what_is_missing(labeled: Path, imported: Callable) -> None:
    path = labeled / 'nyu_depth_v2_labeled.mat'
    assert len(imported('nyu', path, split='all').samples) == 3
    savemat(labeled / 'splits.mat', {'testNdxs': np.array([[1], [7]], float)})
    result = imported('nyu', labeled)
    assert len(result.samples) == 1
    assert 'frame 7' in result.problems[0]
    with pytest.raises(ImporterError, match='trainNdxs'):
        imported('nyu', labeled, split='train')
    (labeled / 'splits.mat').unlink()
    with pytest.raises(ImporterError, match=r'splits\.mat is not there'):
        imported('nyu', labeled)
    path.write_bytes(b'MATLAB 5.0 MAT-file')
    with pytest.raises(ImporterError, match='HDF5'):
        imported('nyu', labeled)


@pytest.mark.parametrize('top', ['', 'official_splits', 'nyu_depth_v2/official_splits'])
def test_nyu_folder(top: str, tmp_path: Path, imported: Callable, store: Callable) -> None:
    scene = tmp_path / top / 'test' / 'bathroom'
    stored = np.full((480, 640), 2345, np.uint16)
    stored[:5] = 0
    for number in (45, 46):
        store(scene / f'rgb_{number:05d}.jpg', (50, 60, 70), (640, 480))
    store(scene / 'sync_depth_00045.png', stored)
    result = imported('nyu', tmp_path)
    assert [named(problem) for problem in result.problems] == ['sync_depth_00046.png']
    (sample,), (depth,) = result.samples, result.depths
    assert sample.frame.camera == NYU_CAMERA
    assert sample.sequence == 'bathroom'
    assert np.isnan(depth[:5]).all()
    assert np.allclose(depth[5:], 2.345)  # millimetres
    with pytest.raises(ImporterError, match='train'):
        imported('nyu', tmp_path, split='train')


# --- SUN RGB-D --------------------------------------------------------------------------------


@pytest.fixture
def sunrgbd(tmp_path: Path, store: Callable) -> Path:
    root = tmp_path / 'sunrgbd'
    for frame in ('kv1/NYUdata/NYU0001', 'kv2/kinect2data/000002_2014-05-26_14-23'):
        place = root / 'SUNRGBD' / frame
        store(place / 'image' / f'{place.name}.jpg', (90, 100, 110), (73, 53))
        # MATLAB reads bitor(bitshift(d, -3), bitshift(d, 13)) millimetres.
        depth = np.full((53, 73), 3210, np.uint16)
        depth[0], depth[1], depth[2] = 0, 8000, 8001
        depth[3] = 40000
        store(place / 'depth' / f'{place.name}.png', (depth << 3) | (depth >> 13))
        (place / 'intrinsics.txt').write_text(
            '520.532000 0.000000 277.925800\n0.000000 520.744400 215.115000\n'
            '0.000000 0.000000 1.000000\n'
        )
    return root


def test_sunrgbd(sunrgbd: Path, imported: Callable) -> None:
    result = imported('sunrgbd', sunrgbd)
    assert not result.problems
    assert len(result.samples) == 2
    assert result.samples[0].frame.camera == Camera(520.532, 520.7444, 277.9258, 215.115, 73, 53)
    depth = result.depths[0]
    assert np.isnan(depth[0]).all()
    assert np.allclose(depth[1], 8.0)
    assert np.isnan(depth[2:4]).all()  # the toolbox clips at 8 m
    assert np.allclose(depth[4:], 3.21)


def test_sunrgbd_split(sunrgbd: Path, imported: Callable) -> None:
    with pytest.raises(ImporterError, match=r'allsplit\.mat is not there'):
        imported('sunrgbd', sunrgbd, split='test')
    toolbox = sunrgbd / 'SUNRGBDtoolbox/traintestSUNRGBD'
    toolbox.mkdir(parents=True)
    cells = np.empty((1, 2), object)
    cells[0, 0] = '/n/fs/sun3d/data/SUNRGBD/kv2/kinect2data/000002_2014-05-26_14-23/'
    cells[0, 1] = '/n/fs/sun3d/data/SUNRGBD/xtion/gone'
    savemat(toolbox / 'allsplit.mat', {'alltest': cells})
    result = imported('sunrgbd', sunrgbd, split='test')
    assert [entry.name for entry in result.entries] == ['kv2/kinect2data/000002_2014-05-26_14-23']
    assert [named(problem) for problem in result.problems] == ['gone']
    with pytest.raises(ImporterError, match='alltrain'):
        imported('sunrgbd', sunrgbd, split='train')


def test_sunrgbd_tells_what_is_missing(sunrgbd: Path, imported: Callable) -> None:
    first, second = (sunrgbd / 'SUNRGBD').glob('*/*/*')
    next((first / 'depth').iterdir()).unlink()
    (second / 'intrinsics.txt').write_text('1 2 3')
    first_problem, second_problem = sorted(imported('sunrgbd', sunrgbd).problems, key=len)
    assert '3 numbers, expected 9' in ' '.join((first_problem, second_problem))
    assert 'holds 0 files' in ' '.join((first_problem, second_problem))


# --- DIODE ------------------------------------------------------------------------------------


@pytest.fixture
def diode(tmp_path: Path, store: Callable) -> Path:
    """NAME_depth.npy is (H, W, 1) float32, NAME_depth_mask.npy (H, W) float64 of 0 and 1."""
    root = tmp_path / 'diode'
    for kind, far in (('indoors', 3.0), ('outdoor', 100.0)):
        place = root / 'val' / kind / 'scene_00019' / 'scan_00183'
        name = f'00019_00183_{kind}_000_010'
        store(place / f'{name}.png', (1, 2, 3), (1024, 768))
        depth = np.full((768, 1024, 1), far, np.float32)
        depth[0], depth[1, 0] = 0.0, 7.0
        mask = np.ones((768, 1024))
        mask[0], mask[1] = 0, 0
        np.save(place / f'{name}_depth.npy', depth)
        np.save(place / f'{name}_depth_mask.npy', mask)
    return root


def test_diode(diode: Path, imported: Callable) -> None:
    result = imported('diode', diode)
    assert not result.problems
    assert [float(depth[700, 700]) for depth in result.depths] == [3.0, 100.0]
    assert np.isnan(result.depths[0][:2]).all()
    assert result.samples[0].frame.camera == Camera(886.81, 927.06, 512.0, 384.0, 1024, 768)
    outdoor = imported('diode', diode, split='val/outdoor')
    assert [float(depth[700, 700]) for depth in outdoor.depths] == [100.0]
    assert [e.name for e in result.entries][1:] == [e.name for e in outdoor.entries]
    assert result.entries[0].name == 'val/indoors/scene_00019/scan_00183/' + Path(
        result.entries[0].name
    ).name.replace('outdoor', 'indoors')


def test_diode_tells_what_is_missing(diode: Path, imported: Callable) -> None:
    next(diode.rglob('*indoors*_depth_mask.npy')).unlink()
    np.save(next(diode.rglob('*outdoor*_depth.npy')), np.ones((10, 10)))
    missing, broken = imported('diode', diode).problems
    assert missing.endswith('_depth_mask.npy: is not there')
    assert 'shape (10, 10), expected (768, 1024)' in broken


# --- ScanNet ----------------------------------------------------------------------------------

COLOUR = np.array([[1170.187988, 0, 647.75], [0, 1170.187988, 483.75], [0, 0, 1]])
DEPTH = np.array([[577.870605, 0, 319.5], [0, 577.870605, 239.5], [0, 0, 1]])


def matrix_text(matrix: np.ndarray) -> str:
    """As ScanNet's exporter writes a 4x4 matrix."""
    full = np.eye(4)
    full[: matrix.shape[0], : matrix.shape[1]] = matrix
    return ''.join(' '.join(f'{value:f}' for value in row) + '\n' for row in full)


@pytest.fixture
def scannet(tmp_path: Path, store: Callable) -> Path:
    root = tmp_path / 'scannet'
    scan = root / 'scans' / 'scene0000_00'
    for folder in ('intrinsic', 'pose'):
        (scan / folder).mkdir(parents=True)
    for name, matrix in (('color', COLOUR), ('depth', DEPTH)):
        (scan / f'intrinsic/intrinsic_{name}.txt').write_text(matrix_text(matrix))
        (scan / f'intrinsic/extrinsic_{name}.txt').write_text(matrix_text(np.eye(4)))
    for number in (0, 2, 10):
        store(scan / f'color/{number}.jpg', (60, 70, 80), (1296, 968))
        rows, columns = np.mgrid[:480, :640]
        stored = (1000 + rows + 2 * columns + 10 * number).astype(np.uint16)
        stored[:40] = 0
        store(scan / f'depth/{number}.png', stored)
        (scan / f'pose/{number}.txt').write_text(matrix_text(np.eye(4) * (1, 1, 1, number + 1)))
    (scan / 'pose/10.txt').write_text('-inf -inf -inf -inf\n' * 4)
    return root


def test_scannet(scannet: Path, imported: Callable) -> None:
    result = imported('scannet', scannet)
    assert not result.problems
    assert [entry.name for entry in result.entries] == [
        f'scene0000_00/{number}' for number in (0, 2, 10)
    ]
    sample, depth = result.samples[1], result.depths[1]
    assert sample.frame.camera == Camera(1170.187988, 1170.187988, 647.75, 483.75, 1296, 968)
    assert depth.shape == (968, 1296)
    # The depth pixel closest to where a colour pixel looks, millimetres.
    for row, column in ((200, 300), (700, 1000), (483, 647)):
        ray = np.linalg.inv(COLOUR) @ (column, row, 1.0)
        u, v, _ = DEPTH @ ray
        assert depth[row, column] == pytest.approx((1020 + round(v) + 2 * round(u)) / 1000)
    assert np.isnan(depth[:78]).all()
    assert sample.pose is not None
    assert result.samples[2].pose is None  # tracking was lost


def test_scannet_25k(scannet: Path, imported: Callable, store: Callable) -> None:
    """The subset has its own names; depth of the colour image's size is taken as it is."""
    scan = scannet / 'scannet_frames_25k' / 'scene0001_00'
    small = COLOUR.copy()
    small[:2] *= 0.5
    (scan / 'pose').mkdir(parents=True)
    for name in ('color', 'depth'):
        (scan / f'intrinsics_{name}.txt').write_text(matrix_text(small))
    store(scan / 'color/000100.jpg', (1, 2, 3), (64, 48))
    store(scan / 'depth/000100.png', np.full((48, 64), 700, np.uint16))
    (scan / 'pose/000100.txt').write_text(matrix_text(np.eye(4)))
    result = imported('scannet', scannet / 'scannet_frames_25k')
    assert not result.problems
    assert isinstance(result.entries[0].depth, Path)
    assert np.allclose(result.depths[0], 0.7)


def test_scannet_split(scannet: Path, imported: Callable) -> None:
    with pytest.raises(ImporterError, match=r'scannetv2_val\.txt'):
        imported('scannet', scannet, split='val')
    (scannet / 'scannetv2_val.txt').write_text('scene0000_00\nscene0707_00\n')
    result = imported('scannet', scannet, split='val')
    assert len(result.samples) == 3
    assert [named(problem) for problem in result.problems] == ['scene0707_00']


def test_scannet_tells_what_is_missing(scannet: Path, imported: Callable) -> None:
    scan = scannet / 'scans' / 'scene0000_00'
    (scan / 'depth/0.png').unlink()
    (scan / 'depth/2.png').write_bytes(b'png')
    problems = imported('scannet', scannet).problems
    assert [named(problem) for problem in problems] == ['0.png', '2.png']
    moved = np.eye(4)
    moved[0, 3] = 0.05
    (scan / 'intrinsic/extrinsic_color.txt').write_text(matrix_text(moved))
    (problem,) = imported('scannet', scannet).problems
    assert 'extrinsic_color.txt' in problem
    assert '3 frames of scene0000_00' in problem


# --- ETH3D ------------------------------------------------------------------------------------

# Of the form of ETH3D's own; fx fy cx cy k1 k2 p1 p2 k3 k4 sx1 sy1, the image 1/63 of the real.
LENS = (
    54.45,
    54.43,
    49.6,
    32.6,
    0.0422,
    -0.0374,
    -0.00045,
    -0.00025,
    0.0119,
    -0.0031,
    3e-4,
    -3e-4,
)
SIZE = (96, 64)


def thin_prism(points: np.ndarray) -> np.ndarray:
    """(N, 2) pixels as COLMAP's documentation has THIN_PRISM_FISHEYE, one point after another."""
    fx, fy, cx, cy, k1, k2, p1, p2, k3, k4, sx1, sy1 = LENS
    pixels = []
    for x, y, z in points:
        u, v = x / z, y / z
        r = np.hypot(u, v)
        if r > 0:
            u, v = u * np.arctan(r) / r, v * np.arctan(r) / r
        r2 = u**2 + v**2
        radial = k1 * r2 + k2 * r2**2 + k3 * r2**3 + k4 * r2**4
        du = u * radial + 2 * p1 * u * v + p2 * (r2 + 2 * u**2) + sx1 * r2
        dv = v * radial + 2 * p2 * u * v + p1 * (r2 + 2 * v**2) + sy1 * r2
        pixels.append((fx * (u + du) + cx, fy * (v + dv) + cy))
    return np.array(pixels)


@pytest.fixture
def eth3d(tmp_path: Path, store: Callable) -> Path:
    root = tmp_path / 'eth3d'
    calibration = root / 'pipes' / 'dslr_calibration_jpg'
    calibration.mkdir(parents=True)
    lens = ' '.join(map(str, LENS))
    (calibration / 'cameras.txt').write_text(
        '# Camera list with one line of data per camera:\n'
        '#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]\n# Number of cameras: 1\n'
        f'0 THIN_PRISM_FISHEYE {SIZE[0]} {SIZE[1]} {lens}\n'
    )
    turn = Rotation.from_euler('xyz', (0.1, 0.2, 0.3))
    x, y, z, w = turn.as_quat()
    lines = ['# Image list with two lines of data per image:', '#   IMAGE_ID, QW, ...']
    for index, name in enumerate(('DSC_0635.JPG', 'DSC_0634.JPG')):
        lines += [f'{index + 3} {w} {x} {y} {z} 1.5 -2 {index} 0 dslr_images/{name}']
        lines += ['2362.39 248.498 -1 1784.7 268.254 7']
        store(root / 'pipes/images/dslr_images' / name, (11, 12, 13), SIZE)
    (calibration / 'images.txt').write_text('\n'.join(lines) + '\n')
    depth = np.full((SIZE[1], SIZE[0]), np.inf, '<f4')
    depth[5, 7], depth[6, 8] = 1.25, 20.5
    folder = root / 'pipes/ground_truth_depth/dslr_images'
    folder.mkdir(parents=True)
    (folder / 'DSC_0634.JPG').write_bytes(depth.tobytes())  # raw floats, in spite of the name
    return root


def test_eth3d(eth3d: Path, imported: Callable) -> None:
    result = imported('eth3d', eth3d)
    missing = 'pipes/ground_truth_depth/dslr_images/DSC_0635.JPG: is not there'
    assert [problem.endswith(missing) for problem in result.problems] == [True]
    (sample,), (depth,) = result.samples, result.depths
    assert np.isfinite(depth).sum() == 2
    assert np.isnan(depth).sum() == depth.size - 2
    assert (depth[5, 7], depth[6, 8]) == (1.25, 20.5)
    turn = Rotation.from_euler('xyz', (0.1, 0.2, 0.3))
    assert np.allclose(sample.pose[:3, :3], turn.inv().as_matrix())
    assert np.allclose(sample.pose[:3, 3], -turn.inv().apply((1.5, -2, 1)))
    assert sample.sequence == 'pipes'


def test_eth3d_camera_sees_as_colmaps(eth3d: Path, imported: Callable) -> None:
    camera = imported('eth3d', eth3d).samples[0].frame.camera
    rng = np.random.default_rng(0)
    points = rng.uniform((-1.1, -0.7, 1), (1.1, 0.7, 1.3), size=(500, 3))
    expected = thin_prism(points) - 0.5  # COLMAP counts from the corner of the first pixel
    inside = ((expected > 0) & (expected < np.array(SIZE) - 1)).all(1)
    matrix = geometry.matrix(camera).numpy()
    seen, _ = cv2.fisheye.projectPoints(
        points[:, None], np.zeros(3), np.zeros(3), matrix, np.array(camera.distortion)
    )
    off = np.linalg.norm(seen[:, 0] - expected, axis=1)[inside]
    assert inside.sum() > 200
    assert off.max() < 0.05  # of 96 pixels
    assert off.max() > 1e-6  # the models differ


def test_eth3d_depth_in_folders_of_its_own(eth3d: Path, imported: Callable) -> None:
    (eth3d / 'pipes_dslr_depth/pipes').mkdir(parents=True)
    own = eth3d / 'pipes_dslr_depth/pipes/ground_truth_depth'
    (eth3d / 'pipes/ground_truth_depth').rename(own)
    assert len(imported('eth3d', eth3d).samples) == 1


def test_eth3d_tells_what_is_broken(eth3d: Path, imported: Callable) -> None:
    path = eth3d / 'pipes/ground_truth_depth/dslr_images/DSC_0634.JPG'
    path.write_bytes(b'1234' * 100)
    problems = imported('eth3d', eth3d).problems
    assert '100 floats, expected 96x64' in problems[0]
    cameras = eth3d / 'pipes/dslr_calibration_jpg/cameras.txt'
    text = cameras.read_text()
    cameras.write_text(text.replace(' 0.0003', ' 0.3'))
    assert 'misses by' in imported('eth3d', eth3d).problems[0]
    cameras.write_text(text.replace('THIN_PRISM_FISHEYE', 'FOV'))
    (problem,) = imported('eth3d', eth3d).problems
    assert 'a FOV of 12 values' in problem
    with pytest.raises(ImporterError, match='dslr_calibration_jpg'):
        list(IMPORTERS['eth3d'].read(eth3d / 'pipes'))
