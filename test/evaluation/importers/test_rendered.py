"""Sintel, TartanAir and Hypersim: what their files say of a plane lies on that plane again."""

from __future__ import annotations

import csv
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from metric_depth_ros.cli.main import main
from metric_depth_ros.evaluation.importers import IMPORTERS, ImporterError
from metric_depth_ros.evaluation.importers.hypersim import tonemap

h5py = pytest.importorskip('h5py')

ROTATION = Rotation.from_euler('xyz', [0.2, -0.3, 0.5])
POSITION = np.array([1.0, -2.0, 0.5])


def hits(origin: np.ndarray, rays: np.ndarray, normal: np.ndarray, offset: float) -> np.ndarray:
    """(H, W) how many `rays` (H, W, 3) far from `origin` the plane normal . x = offset lies."""
    return (offset - origin @ normal) / (rays @ normal)


# --- Sintel -----------------------------------------------------------------------------------


@pytest.fixture
def sintel(tmp_path: Path, picture: Callable) -> tuple[Path, np.ndarray]:
    """A frame of 20x10 and the points of the world that its pixels show."""
    base, name = tmp_path / 'training', 'alley_1/frame_0003'
    for variant in ('final', 'clean'):
        picture(base / variant / f'{name}.png', 20, 10)
    m = np.array([[25.0, 0, 9.5], [0, 26, 4.5], [0, 0, 1]])
    n = np.hstack((ROTATION.as_matrix(), POSITION[:, None]))
    v, u = np.mgrid[:10, :20].astype(np.float64)
    depth = (2 + 0.1 * u + 0.2 * v).astype(np.float32)
    homogeneous = np.stack((u, v, np.ones_like(u)), -1) * depth[..., None]
    world = (homogeneous @ np.linalg.inv(m).T - n[:, 3]) @ n[:, :3]
    # x = M N X, as sintel_io.py defines it, has to hold of what is written.
    np.testing.assert_allclose((world @ n[:, :3].T + n[:, 3]) @ m.T, homogeneous, atol=1e-9)
    for kind, suffix, content in (
        ('depth', '.dpt', struct.pack('<fii', 202021.25, 20, 10) + depth.astype('<f4').tobytes()),
        ('camdata_left', '.cam', struct.pack('<f21d', 202021.25, *m.flatten(), *n.flatten())),
    ):
        (base / kind / name).parent.mkdir(parents=True)
        (base / kind / f'{name}{suffix}').write_bytes(content)
    return tmp_path, world


@pytest.mark.parametrize('variant', ['final', 'clean'])
def test_sintel(
    sintel: tuple[Path, np.ndarray], imported: Callable, world_points: Callable, variant: str
) -> None:
    root, world = sintel
    found = imported('sintel', root, variant=variant)
    assert not found.problems
    (sample,) = found.samples
    np.testing.assert_allclose(world_points(sample), world, atol=1e-5)
    assert found.entries[0].image.parent.parent.name == variant
    assert (sample.sequence, sample.frame.stamp_ns) == ('alley_1', round(2e9 / 24))


@pytest.mark.parametrize(
    ('file', 'content', 'message'),
    [
        ('final/alley_1/frame_0003.png', None, 'frame_0003.png: is not there'),
        ('depth/alley_1/frame_0003.dpt', None, 'frame_0003.dpt: is not there'),
        ('depth/alley_1/frame_0003.dpt', b'xxxx', 'frame_0003.dpt does not begin with the tag'),
        ('camdata_left/alley_1/frame_0003.cam', None, 'frame_0003.cam: is not there'),
        ('camdata_left/alley_1/frame_0003.cam', b'PIEH', 'frame_0003.cam: is no .cam file'),
    ],
)
def test_sintel_tells_what_is_missing(
    sintel: tuple[Path, np.ndarray],
    imported: Callable,
    file: str,
    content: bytes | None,
    message: str,
) -> None:
    base = sintel[0] / 'training'
    (base / 'depth' / 'alley_1' / 'frame_0009.dpt').write_bytes(b'')  # keeps the folder Sintel's
    (base / file).unlink()
    if content is not None:
        (base / file).write_bytes(content)
    problems = imported('sintel', base.parent).problems
    assert len(problems) == 2
    assert message in problems[0]


@pytest.mark.parametrize(('variant', 'status'), [('clean', 0), ('blurred', 2)])
def test_the_command_takes_a_variant(
    sintel: tuple[Path, np.ndarray],
    capsys: pytest.CaptureFixture[str],
    variant: str,
    status: int,
) -> None:
    out = sintel[0] / 'manifest.jsonl'
    command = ['import', 'sintel', str(sintel[0]), '--out', str(out), '--variant', variant]
    assert main(command) == status
    if status == 0:
        assert '"training/clean/alley_1/frame_0003.png"' in out.read_text()
    else:
        assert "--variant is 'blurred', expected one of final, clean" in capsys.readouterr().err


# --- TartanAir --------------------------------------------------------------------------------


@pytest.fixture
def tartanair(tmp_path: Path, picture: Callable) -> Path:
    """The ground, z = 3 in the world's NED, as a camera over it sees it; above it, sky."""
    trajectory = tmp_path / 'office' / 'office' / 'Easy' / 'P001'
    picture(trajectory / 'image_left' / '000000_left.png', 640, 480)
    body = Rotation.from_euler('ZYX', [0.7, -0.3, 0.1])
    v, u = np.mgrid[:480, :640].astype(np.float64)
    # Forward 1, right and down by the pixel: the depth is how many of these it takes.
    rays = np.stack((np.ones_like(u), (u - 320) / 320, (v - 240) / 320), -1)
    depth = hits(POSITION, rays @ body.as_matrix().T, np.array([0.0, 0, 1]), 3.0)
    depth = np.where((depth > 0) & (depth < 500), depth, 10_000.0).astype(np.float32)
    (trajectory / 'depth_left').mkdir()
    np.save(trajectory / 'depth_left' / '000000_left_depth.npy', depth)
    np.savetxt(trajectory / 'pose_left.txt', [[*POSITION, *body.as_quat()]])
    return tmp_path


def test_tartanair(tartanair: Path, imported: Callable, world_points: Callable) -> None:
    found = imported('tartanair', tartanair)
    assert not found.problems
    (sample,) = found.samples
    seen = sample.depth.isfinite().numpy()
    assert 0.3 < seen.mean() < 0.95
    assert sample.depth[~sample.depth.isfinite()].isinf().all()
    np.testing.assert_allclose(world_points(sample)[seen][:, 2], 3, atol=1e-3)
    assert sample.sequence == 'office/Easy/P001/left'
    assert [e.name for e in found.entries] == ['office/Easy/P001/000000_left']


def test_tartanair_splits_and_problems(tartanair: Path, imported: Callable) -> None:
    assert len(imported('tartanair', tartanair, split='easy').samples) == 1
    with pytest.raises(ImporterError, match=r'found no ENVIRONMENT/\{Hard\}/P000'):
        list(IMPORTERS['tartanair'].read(tartanair, split='hard'))
    trajectory = tartanair / 'office' / 'office' / 'Easy' / 'P001'
    (problem,) = imported('tartanair', tartanair, cameras=('right',)).problems
    assert 'pose_right.txt: is not there' in problem
    (trajectory / 'image_left' / '000000_left.png').rename(
        trajectory / 'image_left' / '000001_left.png'
    )
    problems = imported('tartanair', tartanair).problems
    assert '000000_left.png: is not there' in problems[0]
    assert 'pose_left.txt: has 1 lines, none for frame 1' in problems[1]
    (trajectory / 'pose_left.txt').write_text('1 2 3\n')
    (problem,) = imported('tartanair', tartanair).problems
    assert 'pose_left.txt: is not seven numbers a line' in problem


# --- Hypersim ---------------------------------------------------------------------------------

SIZE = (32, 24)
UNIT = 0.0254  # metres an asset unit
NORMAL, OFFSET = np.array([0.3, -0.2, 0.933]), -400.0  # a plane in asset units
PLAIN = np.diag([np.tan(np.pi / 6), np.tan(np.pi / 6) * 24 / 32, -1.0])
# A shifted lens, and one on a sensor that is tilted about its horizontal axis.
SHIFTED = PLAIN + np.array([[0, 0, 0.04], [0, 0, -0.07], [0, 0, 0]])
TILTED = Rotation.from_rotvec([0.4, 0, 0]).as_matrix() @ SHIFTED
SHEARED = PLAIN @ np.array([[1, 0.2, 0], [0, 1, 0], [0, 0, 1]])


def write_hypersim(root: Path, lenses: dict[str, np.ndarray], picture: Callable) -> None:
    columns = [f'M_cam_from_uv_{i}{j}' for i in range(3) for j in range(3)]
    with (root / 'metadata_camera_parameters.csv').open('w', newline='') as file:
        table = csv.writer(file)
        table.writerow(
            ['scene_name', 'settings_output_img_height', 'settings_output_img_width',
             'settings_units_info_meters_scale', *columns]
        )  # fmt: skip
        for scene, matrix in lenses.items():
            table.writerow([scene, 24.0, 32.0, UNIT, *matrix.flatten()])
            write_scene(root / scene, matrix, picture)


def write_scene(scene: Path, cam_from_uv: np.ndarray, picture: Callable) -> None:
    """One frame, its distances made as the toolkit's notebook casts rays."""
    images, detail = scene / 'images', scene / '_detail' / 'cam_00'
    picture(images / 'scene_cam_00_final_preview' / 'frame.0000.tonemap.jpg', *SIZE)
    u, v = np.meshgrid(
        np.linspace(-1 + 1 / 32, 1 - 1 / 32, 32), np.linspace(-1 + 1 / 24, 1 - 1 / 24, 24)[::-1]
    )
    rays = np.stack((u, v, np.ones_like(u)), -1) @ cam_from_uv.T @ ROTATION.as_matrix().T
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    position = POSITION / UNIT
    distance = hits(position, rays, NORMAL, OFFSET)
    distance[distance < 0] = np.nan
    rng = np.random.default_rng(0)
    colour = rng.gamma(2.0, 3.0, (24, 32, 3)).astype(np.float16)
    detail.mkdir(parents=True)
    for path, values in (
        ('geometry_hdf5/frame.0000.depth_meters.hdf5', (distance * UNIT).astype(np.float32)),
        ('geometry_hdf5/frame.0000.render_entity_id.hdf5', np.ones((24, 32), np.int32)),
        ('final_hdf5/frame.0000.color.hdf5', colour),
    ):
        file = images / f'scene_cam_00_{path}'
        file.parent.mkdir(exist_ok=True)
        with h5py.File(file, 'w') as archive:
            archive['dataset'] = values
    for name, values in (
        ('positions', position[None]),
        ('orientations', ROTATION.as_matrix()[None]),
    ):
        with h5py.File(detail / f'camera_keyframe_{name}.hdf5', 'w') as archive:
            archive['dataset'] = values


@pytest.mark.parametrize('matrix', [PLAIN, SHIFTED, TILTED], ids=['plain', 'shifted', 'tilted'])
def test_hypersim(
    tmp_path: Path,
    picture: Callable,
    imported: Callable,
    world_points: Callable,
    matrix: np.ndarray,
) -> None:
    write_hypersim(tmp_path, {'ai_001_001': matrix}, picture)
    found = imported('hypersim', tmp_path)
    assert not found.problems
    (sample,) = found.samples
    assert sample.depth.isfinite().float().mean() > 0.5
    heights = world_points(sample) @ NORMAL / UNIT
    np.testing.assert_allclose(heights[sample.depth.isfinite().numpy()], OFFSET, rtol=1e-4)


def test_hypersim_of_the_plain_lens(tmp_path: Path, picture: Callable, imported: Callable) -> None:
    """60 degrees across: 1024 pixels have a focal length of 886.81, so 32 have 27.71."""
    write_hypersim(tmp_path, {'ai_001_001': PLAIN}, picture)
    camera = imported('hypersim', tmp_path).samples[0].frame.camera
    assert (camera.fx, camera.fy) == pytest.approx((27.7128, 27.7128), abs=1e-3)
    assert (camera.cx, camera.cy) == pytest.approx((15.5, 11.5))


def test_hypersim_toned_from_linear_colour(
    tmp_path: Path, picture: Callable, imported: Callable
) -> None:
    write_hypersim(tmp_path, {'ai_001_001': PLAIN}, picture)
    (sample,) = imported('hypersim', tmp_path, variant='color').samples
    with h5py.File(next(tmp_path.rglob('frame.0000.color.hdf5'))) as file:
        np.testing.assert_array_equal(
            sample.frame.image, tonemap(file['dataset'][()], np.ones((24, 32)))
        )


def test_tonemap_puts_the_ninetieth_percentile_at_0_8() -> None:
    colour = np.repeat(np.arange(1.0, 102)[:, None, None], 3, -1)  # the percentile is 91
    entity = np.ones((101, 1), np.int32)
    toned = tonemap(colour, entity)
    assert toned[90, 0].tolist() == [204, 204, 204]  # 0.8 of 255
    assert toned[0, 0, 0] == round(255 * 0.8 * (1 / 91) ** (1 / 2.2))
    # Pixels that show nothing do not count, and an image of nothing stays as it is.
    entity[50:] = -1
    assert tonemap(colour, entity)[100, 0, 0] == 255
    assert tonemap(colour * 0, entity).max() == 0
    assert tonemap(colour / 200, entity * 0 - 1)[0, 0, 0] == round(255 * (1 / 200) ** (1 / 2.2))


def test_hypersim_tells_what_it_cannot_use(
    tmp_path: Path, picture: Callable, imported: Callable
) -> None:
    lenses = {'ai_001_001': PLAIN, 'ai_002_001': SHEARED, 'ai_003_001': PLAIN}
    write_hypersim(tmp_path, lenses, picture)
    (tmp_path / 'ai_003_001').rename(tmp_path / 'ai_999_001')
    (next((tmp_path / 'ai_001_001').rglob('*.tonemap.jpg'))).unlink()
    found = imported('hypersim', tmp_path)
    assert not found.samples
    missing, sheared, unknown = found.problems
    assert 'frame.0000.tonemap.jpg: is not there' in missing
    assert 'its lens shears the image by' in sheared
    assert 'metadata_camera_parameters.csv has no scene ai_999_001' in unknown
    (tmp_path / 'metadata_camera_parameters.csv').unlink()
    with pytest.raises(ImporterError, match=r'camera_parameters\.csv is not there: copy it from'):
        list(IMPORTERS['hypersim'].read(tmp_path))


def test_hypersim_split(tmp_path: Path, picture: Callable, imported: Callable) -> None:
    write_hypersim(tmp_path, {'ai_001_001': PLAIN, 'ai_001_002': PLAIN}, picture)
    (tmp_path / 'metadata_images_split_scene_v1.csv').write_text(
        'scene_name,camera_name,frame_id,included_in_public_release,exclude_reason,'
        'split_partition_name\nai_001_001,cam_00,0,True,,train\nai_001_002,cam_00,0,True,,test\n'
    )
    found = imported('hypersim', tmp_path, split='test')
    assert [entry.name for entry in found.entries] == ['ai_001_002/cam_00/0000']


@pytest.mark.parametrize('name', ['hypersim', 'sintel', 'tartanair'])
def test_a_folder_of_something_else(tmp_path: Path, name: str) -> None:
    for root in (tmp_path, tmp_path / 'none'):
        with pytest.raises(ImporterError, match=str(root)):
            list(IMPORTERS[name].read(root))
