"""What all importers share: reading files, projecting points, writing the manifest."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from metric_depth_ros.evaluation.datasets import Manifest
from metric_depth_ros.evaluation.importers import IMPORTERS, Entry, ImporterError, Problem, files
from metric_depth_ros.evaluation.importers.entry import BrokenFile, entry_or_problem
from metric_depth_ros.evaluation.importers.lidar import moved, pinhole_depth, rigid, splat
from metric_depth_ros.evaluation.importers.writing import write_manifest
from metric_depth_ros.types import Camera, CameraError

CAMERA = Camera(10.0, 11.0, 3.5, 2.5, 8, 6)


def entry(name: str, depth: np.ndarray, **fields: object) -> Entry:
    image = np.zeros((6, 8, 3), np.uint8)
    image[..., 0] = 200  # red
    return Entry(name=name, image=image, depth=depth, camera=CAMERA, **fields)


def write(found: list[Entry | Problem], out: Path) -> list[Entry | Problem]:
    return list(write_manifest(iter(found), out))


def test_every_importer_tells_what_it_is() -> None:
    assert len(IMPORTERS) == 18
    for name, importer in IMPORTERS.items():
        assert name == importer.name
        assert all((importer.layout, importer.source, importer.licence))


@pytest.mark.parametrize('name', IMPORTERS)
def test_every_importer_refuses_an_empty_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(ImporterError, match=str(tmp_path)):
        list(IMPORTERS[name].read(tmp_path))


def test_arrays_are_kept_beside_the_manifest(tmp_path: Path) -> None:
    depth = np.full((6, 8), 2.5, np.float32)
    depth[0, 0], depth[0, 1] = np.nan, np.inf
    millimetres = np.full((6, 8), 1234, np.uint16)
    millimetres[0], millimetres[1, 1] = 1000, 0
    mask = np.ones((6, 8), bool)
    mask[5] = False
    pose = rigid(np.array([1.0, 2.0, 3.0]), np.array([1.0, 0, 0, 0]))
    out = tmp_path / 'sub' / 'all.jsonl'
    write(
        [
            entry('a/0', depth, pose=pose, stamp=12.5, sequence='a', mask=mask, edges=~mask),
            entry('a/1', millimetres, depth_scale=0.001, depth_max=1.2),
        ],
        out,
    )
    first, second = Manifest(out)
    near, far = first.depth.numpy(), second.depth.numpy()
    assert first.frame.image[0, 0].tolist() == [200, 0, 0]
    assert np.isnan(near[0, 0])
    assert np.isinf(near[0, 1])
    assert np.isnan(near[5]).all()
    assert (near[1:5] == 2.5).all()
    assert first.edges is not None
    assert first.edges.nonzero()[:, 0].unique().tolist() == [5]
    assert first.frame.stamp_ns == 12_500_000_000
    assert np.array_equal(first.pose, pose)
    assert first.sequence == 'a'
    assert np.isnan(far[1, 1])
    assert np.allclose(far[0], 1.0)
    assert np.isinf(far[2:]).all()  # 1.234 m is beyond depth_max
    assert {path.name for path in out.parent.iterdir()} == {'all.jsonl', 'all_files'}


def test_files_are_named_relative_to_the_manifest(tmp_path: Path, store: Callable) -> None:
    image = store(tmp_path / 'data' / 'image.png', (1, 2, 3), (8, 6))
    depth = store(tmp_path / 'data' / 'depth.png', np.full((6, 8), 512, np.uint16))
    out = tmp_path / 'elsewhere' / 'm.jsonl'
    write([Entry('x', image, depth, CAMERA, depth_scale=1 / 256)], out)
    line = json.loads(out.read_text())
    assert (line['image'], line['depth']) == ('../data/image.png', '../data/depth.png')
    assert line['depth_kind'] == 'z'
    assert (Manifest(out)[0].depth == 2.0).all()


def test_what_cannot_be_used_is_told_and_left_out(tmp_path: Path, store: Callable) -> None:
    good = np.ones((6, 8), np.float32)
    small = store(tmp_path / 'small.png', (0, 0, 0), (4, 3))
    broken = tmp_path / 'broken.png'
    broken.write_bytes(b'not a store')
    out = tmp_path / 'm.jsonl'
    found = write(
        [
            Problem(tmp_path / 'gone.txt', 'is not there'),
            entry('good', good),
            entry('none', np.full((6, 8), np.nan)),
            Entry('small', small, good, CAMERA),
            Entry('broken', broken, good, CAMERA),
            Entry('missing', tmp_path / 'missing.png', good, CAMERA),
        ],
        out,
    )
    told = [str(item) for item in found if isinstance(item, Problem)]
    assert len(told) == 5
    expected = ('gone.txt', 'no pixel with depth', '(3, 4, 3)', 'broken.png', 'missing.png')
    for text, words in zip(told, expected, strict=True):
        assert words in text
    assert len(Manifest(out)) == 1


def test_a_jpeg_that_breaks_off_is_told(tmp_path: Path, store: Callable) -> None:
    camera = replace(CAMERA, width=640, height=480)
    depth = np.ones((480, 640), np.float32)
    whole = store(tmp_path / 'whole.jpg', (10, 200, 30), (640, 480))
    padded = tmp_path / 'padded.jpg'
    padded.write_bytes(whole.read_bytes() + bytes(100))
    cut = tmp_path / 'cut.jpg'
    cut.write_bytes(whole.read_bytes()[:-500])
    found = write(
        [Entry(path.stem, path, depth, camera) for path in (whole, padded, cut)],
        tmp_path / 'm.jsonl',
    )
    assert [isinstance(item, Problem) for item in found] == [False, False, True]
    assert 'cut.jpg: is a JPEG that breaks off' in str(found[2])


def test_quick_looks_only_whether_files_are_there(tmp_path: Path) -> None:
    broken = tmp_path / 'broken.png'
    broken.write_bytes(b'not a store')
    found = [Entry(n, tmp_path / n, broken, CAMERA) for n in ('broken.png', 'missing.png')]
    kept, problem = write_manifest(iter(found), tmp_path / 'm.jsonl', check=False)
    assert isinstance(kept, Entry)
    assert isinstance(problem, Problem)
    assert problem.path.name == 'missing.png'


def test_no_manifest_without_frames_nor_after_an_error(tmp_path: Path) -> None:
    out = tmp_path / 'm.jsonl'
    write([Problem(tmp_path, 'is bad')], out)

    def fails() -> Iterator[Entry]:
        yield entry('good', np.ones((6, 8), np.float32))
        raise ImporterError('no more')

    with pytest.raises(ImporterError):
        list(write_manifest(fails(), out))
    assert not list(tmp_path.glob('m.jsonl*'))


def test_one_broken_file_is_one_problem() -> None:
    def fails(error: Exception) -> Entry:
        raise error

    problem = entry_or_problem(Path('a'), fails, BrokenFile(Path('b'), 'is bad'))
    assert problem == Problem(Path('b'), 'is bad')
    problem = entry_or_problem(Path('a'), fails, CameraError('no camera'))
    assert problem == Problem(Path('a'), 'no camera')
    with pytest.raises(RuntimeError):
        entry_or_problem(Path('a'), fails, RuntimeError('a bug is no problem of the data'))


def test_rigid_is_scipys_rotation() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        quaternion = rng.normal(size=4)  # w x y z, of any length
        shift = rng.normal(size=3)
        points = rng.normal(size=(7, 3))
        rotation = Rotation.from_quat(np.roll(quaternion, -1))
        expected = rotation.apply(points) + shift
        assert np.allclose(moved(points, rigid(shift, quaternion)), expected)
    assert np.array_equal(rigid(np.zeros(3), np.zeros(4)), np.eye(4))


def test_points_fall_where_opencv_projects_them() -> None:
    matrix = np.array([[10.0, 0, 3.5], [0, 11.0, 2.5], [0, 0, 1]])
    rng = np.random.default_rng(1)
    points = rng.uniform((-3, -3, -2), (3, 3, 8), size=(200, 3))
    expected = np.full((6, 8), np.nan)
    seen, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), matrix, None)
    for (u, v), z in zip(seen[:, 0], points[:, 2], strict=True):
        column, row = round(u), round(v)
        if z > 0.5 and 0 <= column < 8 and 0 <= row < 6:
            expected[row, column] = np.nanmin((expected[row, column], z))
    depth = pinhole_depth(points, matrix, 8, 6, nearest=0.5)
    assert np.isfinite(depth).sum() > 20
    assert np.allclose(depth, expected, equal_nan=True)


def test_the_closest_of_several_points_counts() -> None:
    pixels = np.array([[1.2, 0.9], [0.8, 1.1], [0.0, 0.0]])
    depth = splat(pixels, np.array([5.0, 3.0, -1.0]), 3, 2)
    assert depth[1, 1] == 3.0
    assert np.isnan(depth).sum() == 5


def test_files_that_are_broken_are_refused_by_name(tmp_path: Path, store: Callable) -> None:
    bad = tmp_path / 'bad'
    for read in (files.text, files.array, files.uint16_image, files.rgb_image, files.present):
        with pytest.raises(BrokenFile, match='bad: is not there'):
            read(bad)
    bad.write_text('1 2 x')
    for read in (
        files.array,
        files.uint16_image,
        files.rgb_image,
        files.parsed_json,
        lambda path: files.numbers(path, 3),
        lambda path: files.raw_floats(path, 1),
    ):
        with pytest.raises(BrokenFile, match='bad'):
            read(bad)
    np.savez(bad.with_suffix('.npz'), data=np.arange(100))
    assert files.array(bad.with_suffix('.npz'), 'data').sum() == 4950
    with pytest.raises(BrokenFile, match='no array other'):
        files.array(bad.with_suffix('.npz'), 'other')
    bad.with_suffix('.npz').write_bytes(bad.with_suffix('.npz').read_bytes()[:-50])
    with pytest.raises(BrokenFile, match='bad'):
        files.array(bad.with_suffix('.npz'), 'data')
    with pytest.raises(BrokenFile, match='uint8'):
        files.uint16_image(store(tmp_path / 'colour.png', (1, 2, 3), (4, 3)))
