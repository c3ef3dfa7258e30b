"""The TUM layout, read back by our own importer and by the parsers of those it is made for."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

from metric_depth_ros import geometry, rigid
from metric_depth_ros.evaluation.datasets import Manifest, Sample
from metric_depth_ros.evaluation.importers import IMPORTERS
from metric_depth_ros.evaluation.importers.writing import write_manifest
from metric_depth_ros.mapping import View
from metric_depth_ros.mapping.export import FARTHEST, ExportError, TumExport, rectified
from metric_depth_ros.types import Camera, DepthPrediction, Frame

PINHOLE = Camera(40.0, 41.0, 15.5, 12.25, 32, 24)
LENS = Camera(40.0, 41.0, 15.5, 12.25, 32, 24, 'plumb_bob', (-0.2, 0.05, 0.001, -0.002))
START_NS = 1_700_000_000_123_456_789


def views(camera: Camera, count: int = 3) -> list[View]:
    generator = torch.Generator().manual_seed(3)
    made = []
    for index in range(count):
        shape = (camera.height, camera.width)
        image = torch.randint(256, (*shape, 3), generator=generator).byte()
        depth = 0.5 + 5 * torch.rand(shape, generator=generator)
        depth[0, :5] = torch.tensor([torch.nan, torch.inf, 0.0, -1.0, 20.0])
        stamp_ns = START_NS + index * 40_000_000
        turn = torch.randn(4, generator=generator, dtype=torch.float64)
        pose = rigid.rigid(torch.randn(3, generator=generator, dtype=torch.float64), turn)
        prediction = DepthPrediction(depth, 0.01 * depth, camera, stamp_ns)
        made.append(View(Frame(image, camera, stamp_ns), prediction, pose))
    return made


def exported(folder: Path, made: list[View]) -> Path:
    with TumExport(folder) as export:
        for view in made:
            export.add(view)
    return folder


def read_back(folder: Path) -> list[Sample]:
    manifest = folder.parent / 'manifest.jsonl'
    found = list(write_manifest(IMPORTERS['tum'].read(folder), manifest))
    assert all(hasattr(item, 'image') for item in found), found
    return list(Manifest(manifest))


def test_our_importer_reads_back_what_was_written(tmp_path: Path) -> None:
    made = views(PINHOLE)
    samples = read_back(exported(tmp_path / 'sequence', made))
    assert len(samples) == len(made)
    for view, sample in zip(made, samples, strict=True):
        assert torch.equal(sample.frame.image, view.frame.image)
        assert sample.frame.camera == PINHOLE
        assert abs(sample.frame.stamp_ns - view.frame.stamp_ns) < 500  # a float64 of seconds
        assert sample.pose is not None
        torch.testing.assert_close(sample.pose, view.world_from_camera, atol=1e-8, rtol=0)
        depth = view.prediction.depth
        kept = depth.isfinite() & (depth > 0) & (depth < FARTHEST)
        assert torch.equal(sample.depth.isfinite(), kept)
        # Half of a fifth of a millimetre, and the rounding of float32.
        assert float((sample.depth - depth)[kept].abs().max()) <= 0.0001 + 1e-6


def test_a_distorted_camera_is_rectified(tmp_path: Path) -> None:
    view = views(LENS, 1)[0]
    # A plane seen at a slant: its inverse depth is linear in undistorted coordinates.
    ray = geometry.rays(LENS)
    plane = 1 / (0.4 + 0.1 * ray[..., 0] / ray[..., 2] - 0.05 * ray[..., 1] / ray[..., 2])
    prediction = DepthPrediction(plane, 0.01 * plane, LENS, view.frame.stamp_ns)
    exact = View(view.frame, prediction, view.world_from_camera)
    sample = read_back(exported(tmp_path / 'sequence', [exact]))[0]
    assert sample.frame.camera.distortion_model == 'none'
    seen = geometry.rays(sample.frame.camera)
    expected = 1 / (0.4 + 0.1 * seen[..., 0] / seen[..., 2] - 0.05 * seen[..., 1] / seen[..., 2])
    inside = sample.depth.isfinite()
    assert float(inside.float().mean()) > 0.8
    assert float((sample.depth - expected)[inside].abs().max()) < 0.02
    assert torch.equal(rectified(exact)[0], sample.frame.image)


def test_orb_slam3_reads_every_line_of_the_associations(tmp_path: Path) -> None:
    folder = exported(tmp_path / 'sequence', views(PINHOLE))
    lines = (folder / 'associations.txt').read_text().splitlines()
    assert len(lines) == 3  # a remark would be one more frame
    for line in lines:
        stamp, image, depth_stamp, depth = line.split()
        assert stamp == depth_stamp
        assert stamp.startswith('1700000000.')
        assert cv2.imread(str(folder / image)).shape == (24, 32, 3)
        assert cv2.imread(str(folder / depth), cv2.IMREAD_UNCHANGED).dtype == np.uint16
    settings = cv2.FileStorage(str(folder / 'orb_slam3.yaml'), cv2.FILE_STORAGE_READ)
    assert settings.getNode('Camera.type').string() == 'PinHole'
    for name, value in (('fx', 40.0), ('fy', 41.0), ('cx', 15.5), ('cy', 12.25)):
        node = settings.getNode(f'Camera1.{name}')
        assert node.isReal()
        assert node.real() == value
    for name in ('Camera.width', 'Camera.height', 'Camera.fps', 'Camera.RGB'):
        assert settings.getNode(name).isInt()
    for name in ('RGBD.DepthMapFactor', 'Stereo.ThDepth', 'Stereo.b', 'Viewer.ViewpointF'):
        assert settings.getNode(name).isReal()
    assert settings.getNode('RGBD.DepthMapFactor').real() == 5000


def test_monogs_and_splatam_read_the_lists(tmp_path: Path) -> None:
    """Both read the lists with numpy, one space between words, and skip one line of the poses."""
    made = views(PINHOLE)
    folder = exported(tmp_path / 'sequence', made)
    for name in ('rgb.txt', 'depth.txt'):
        words = np.loadtxt(folder / name, delimiter=' ', dtype=str)
        assert words.shape == (3, 2)
        assert all((folder / path).is_file() for path in words[:, 1])
    poses = np.loadtxt(folder / 'groundtruth.txt', delimiter=' ', dtype=str, skiprows=1)
    assert poses.shape == (3, 8)
    np.testing.assert_allclose(
        poses[:, 1:4].astype(float), [view.world_from_camera[:3, 3] for view in made], atol=1e-8
    )
    monogs = yaml.full_load((folder / 'monogs.yaml').read_text())
    assert monogs['inherit_from'] == 'configs/rgbd/tum/base_config.yaml'
    assert monogs['Dataset']['dataset_path'] == str(folder)
    calibration = monogs['Dataset']['Calibration']
    assert (calibration['fx'], calibration['cy'], calibration['depth_scale']) == (40, 12.25, 5000)
    camera = yaml.full_load((folder / 'splatam.yaml').read_text())
    assert camera['dataset_name'] == 'tum'
    assert camera['camera_params']['image_width'] == 32
    assert camera['camera_params']['png_depth_scale'] == 5000


def test_splatams_experiment_finds_the_sequence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = exported(tmp_path / 'sequence', views(PINHOLE, 1))
    program = tmp_path / 'program' / 'configs' / 'tum'
    program.mkdir(parents=True)
    (program / 'splatam.py').write_text("config = {'data': {'start': 0}, 'use_wandb': True}")
    monkeypatch.chdir(tmp_path / 'program')
    space: dict[str, object] = {'__file__': str(folder / 'splatam.py')}
    exec((folder / 'splatam.py').read_text(), space)
    config = space['config']
    assert isinstance(config, dict)
    assert Path(config['data']['basedir'], config['data']['sequence']) == folder
    assert Path(config['data']['gradslam_data_cfg']).is_file()
    assert config['data']['desired_image_height'] == 24
    assert config['data']['start'] == 0


def test_what_does_not_fit_is_told(tmp_path: Path) -> None:
    first, second, _ = views(PINHOLE)
    export = TumExport(tmp_path / 'sequence')
    export.add(second)
    with pytest.raises(ExportError, match='order of time'):
        export.add(first)
    with pytest.raises(ExportError, match='another camera'):
        export.add(views(LENS)[2])
    done = export.close()
    assert done.frames == 1
    assert done.beyond_range == pytest.approx(1 / (32 * 24 - 4))  # the one at 20 m
    assert len((tmp_path / 'sequence' / 'associations.txt').read_text().splitlines()) == 1
    with pytest.raises(ExportError, match='new or empty'):
        TumExport(tmp_path / 'sequence')


def test_camera_json_is_checked(tmp_path: Path) -> None:
    folder = exported(tmp_path / 'sequence', views(PINHOLE, 1))
    values = json.loads((folder / 'camera.json').read_text())
    (folder / 'camera.json').write_text(json.dumps({**values, 'fx': -1}))
    problems = list(IMPORTERS['tum'].read(folder))
    assert len(problems) == 1
    assert 'camera.json' in str(problems[0])
