"""Manifests: every kind of depth file, ray distance and masks; malformed lines are named."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from metric_depth_ros import geometry
from metric_depth_ros.evaluation.datasets import DatasetError, Manifest
from metric_depth_ros.types import Camera

CAMERA = {
    'fx': 20.0, 'fy': 21.0, 'cx': 7.0, 'cy': 5.0, 'width': 16, 'height': 12,
    'distortion_model': 'none', 'distortion': [],
}  # fmt: skip
DEPTH = np.linspace(0.5, 9.5, 16 * 12, dtype=np.float32).reshape(12, 16)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    cv2.imwrite(str(tmp_path / 'image.png'), rng.integers(0, 255, (12, 16, 3), dtype=np.uint8))
    return tmp_path


def manifest(folder: Path, **changes: object) -> Manifest:
    entry = {'image': 'image.png', 'depth': 'depth.npy', 'camera': CAMERA, **changes}
    path = folder / 'manifest.jsonl'
    path.write_text(json.dumps({k: v for k, v in entry.items() if v is not ...}) + '\n\n')
    return Manifest(path)


def save(folder: Path, name: str) -> tuple[str, float, float]:
    """DEPTH as a file of that kind: its name, its unit in metres, the error it may have."""
    path = folder / name
    if path.suffix == '.npy':
        np.save(path, DEPTH)
    elif path.suffix == '.npz':
        np.savez(path, DEPTH)
    elif path.suffix == '.pfm':
        cv2.imwrite(str(path), DEPTH)
    else:
        cv2.imwrite(str(path), np.rint(DEPTH * 5000).astype(np.uint16))
        return name, 0.0002, 1e-4
    return name, 1.0, 1e-6


@pytest.mark.parametrize('name', ['depth.npy', 'depth.npz', 'depth.pfm', 'depth.png'])
def test_depth_of_every_kind(folder: Path, name: str) -> None:
    name, scale, tolerance = save(folder, name)
    found = manifest(folder, depth=name, depth_scale=scale, stamp=1.5)
    assert len(found) == 1
    (sample,) = found
    np.testing.assert_allclose(sample.depth, DEPTH, atol=tolerance)
    assert sample.frame.stamp_ns == 1_500_000_000
    assert sample.frame.camera == Camera(**{**CAMERA, 'distortion': ()})
    image = cv2.imread(str(folder / 'image.png'))[..., ::-1]
    np.testing.assert_array_equal(sample.frame.image, image)


def test_ray_distance_becomes_depth(folder: Path) -> None:
    camera = Camera(**{**CAMERA, 'distortion': ()})
    ray = geometry.rays(camera)
    np.save(folder / 'depth.npy', (torch.from_numpy(DEPTH) / ray[..., 2]).numpy())
    (sample,) = manifest(folder, depth_kind='ray')
    torch.testing.assert_close(sample.depth, torch.from_numpy(DEPTH))


def test_zero_negative_and_masked_depth_is_none(folder: Path) -> None:
    depth = DEPTH.copy()
    depth[0, 0], depth[0, 1], depth[0, 2] = 0, -1, np.nan
    np.save(folder / 'depth.npy', depth)
    mask = np.full((12, 16), 255, np.uint8)
    mask[3] = 0
    cv2.imwrite(str(folder / 'mask.png'), mask)
    (sample,) = manifest(folder, mask='mask.png')
    none = torch.zeros(12, 16, dtype=torch.bool)
    none[0, :3] = none[3] = True
    assert torch.equal(sample.depth.isnan(), none)


def test_disparity_becomes_depth(folder: Path) -> None:
    """Two parallel cameras: a point at depth z is focal x baseline / z - doffs apart."""
    focal, baseline, doffs = 20.0, 0.3, 0.05
    disparity = focal * baseline / DEPTH - doffs
    disparity[0, :4] = 0, -1, np.inf, np.nan
    np.save(folder / 'depth.npy', disparity)
    (sample,) = manifest(
        folder, depth_kind='disparity', depth_scale=focal * baseline, disparity_offset=doffs
    )
    expected = torch.from_numpy(DEPTH.copy())
    expected[0, :4] = torch.nan
    torch.testing.assert_close(sample.depth, expected, equal_nan=True)


def test_beyond_depth_max_is_sky(folder: Path) -> None:
    depth = DEPTH.copy()
    depth[:2] = 20_000
    np.save(folder / 'depth.npy', depth)
    (sample,) = manifest(folder, depth_max=1000)
    assert sample.depth[:2].isinf().all()
    np.testing.assert_array_equal(sample.depth[2:], DEPTH[2:])


def test_edges_pose_and_sequence(folder: Path) -> None:
    np.save(folder / 'depth.npy', DEPTH)
    edges = np.zeros((12, 16), np.uint8)
    edges[4, 2:9] = 255
    cv2.imwrite(str(folder / 'edges.png'), edges)
    pose = np.eye(4)
    pose[:3, 3] = 1, 2, 3
    (sample,) = manifest(
        folder, edges='edges.png', pose=pose.flatten().tolist(), sequence='stairs'
    )
    assert sample.edges is not None
    np.testing.assert_array_equal(sample.edges, edges > 0)
    np.testing.assert_array_equal(sample.pose, pose)
    assert sample.sequence == 'stairs'
    (plain,) = manifest(folder)
    assert (plain.edges, plain.pose, plain.sequence) == (None, None, '')


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'depth': ...}, "'depth' is missing, expected image, depth, camera"),
        ({'depth_kind': 'planar'}, "depth_kind is 'planar', expected 'z', 'ray' or"),
        ({'depth': 'depth.tiff'}, r'expected depth as \.npy'),
        ({'depth': 'none.npy'}, r'none\.npy is not there'),
        ({'image': 'none.png'}, r'none\.png is not there'),
        ({'camera': {**CAMERA, 'fx': 0.0}}, 'camera fx is 0.0, expected a positive focal length'),
        ({'camera': {**CAMERA, 'zoom': 2}}, 'zoom'),
        ({'camera': {**CAMERA, 'width': 20}}, 'expected torch.uint8 of shape'),
        ({'depth': 'small.npy'}, 'is 8x6, expected 16x12'),
        ({'depth_max': 'far'}, 'depth_scale, disparity_offset or depth_max: could not convert'),
        ({'pose': [1.0, 2.0]}, 'pose has 2 numbers, expected 16 of world_from_camera'),
        ({'pose': 3}, 'not a frame in JSON'),
        ({'mask': 'small.png'}, r'mask small\.png is 8x6, expected 16x12 as the camera'),
        ({'edges': 'none.png'}, r'none\.png is not there'),
        ({'image': 3}, 'not a frame in JSON'),
        ({'depth': 'pickled.npy'}, r'pickled\.npy is not a numpy array'),
    ],
)
def test_malformed_lines_are_named(folder: Path, changes: dict, message: str) -> None:
    np.save(folder / 'depth.npy', DEPTH)
    np.save(folder / 'small.npy', DEPTH[::2, ::2])
    cv2.imwrite(str(folder / 'small.png'), np.ones((6, 8), np.uint8))
    np.save(folder / 'pickled.npy', np.array([{}]), allow_pickle=True)
    with pytest.raises(DatasetError, match=message) as caught:
        list(manifest(folder, **changes))
    assert 'manifest.jsonl, line 1: ' in str(caught.value)
    assert '\n' not in str(caught.value)


def test_a_manifest_that_is_not_there_or_empty(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match='there is no such manifest'):
        Manifest(tmp_path / 'none.jsonl')
    (tmp_path / 'empty.jsonl').write_text('\n')
    with pytest.raises(DatasetError, match='is empty'):
        Manifest(tmp_path / 'empty.jsonl')
