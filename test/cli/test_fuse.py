"""`metric-depth fuse`: a recording in, a map out; bad input is one line and status 2."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
import torch

pytest.importorskip('open3d')

from metric_depth_ros import checkpoint
from metric_depth_ros.cli.main import main
from metric_depth_ros.mapping import View
from metric_depth_ros.mapping.mesh import read_mesh
from metric_depth_ros.mapping.splat_ply import read_splat_ply
from metric_depth_ros.mapping.trajectory import read_trajectory
from metric_depth_ros.methods.grin import Grin, GrinConfig
from metric_depth_ros.synthetic.export import write_bag, write_manifest
from metric_depth_ros.synthetic.trajectory import SequenceFrame

Views = Callable[[int], View]
COUNT = 6


@pytest.fixture(scope='module')
def frames(corner_view: Views) -> list[SequenceFrame]:
    return [
        SequenceFrame(v.frame, v.prediction.depth, v.prediction.depth, v.world_from_camera)
        for v in map(corner_view, range(COUNT))
    ]


@pytest.fixture(scope='module')
def bag(frames: list[SequenceFrame], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('bags') / 'walk'
    list(write_bag(frames, path))
    return path


@pytest.fixture(scope='module')
def manifest(frames: list[SequenceFrame], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('manifests')
    list(write_manifest(frames, folder, 'walk'))
    return folder / 'manifest.jsonl'


def off_the_walls(points: torch.Tensor) -> torch.Tensor:
    return (points - torch.tensor([1.0, 0.7, 2.5])).abs().amin(-1)


def test_bag_with_recorded_depth_and_poses(bag: Path, tmp_path: Path, corner_view: Views) -> None:
    out, rrd = tmp_path / 'out', tmp_path / 'run.rrd'
    command = [
        'fuse', str(bag), '--out', str(out), '--depth', 'truth', '--voxel', '0.05', '--splat',
        '--splat-steps', '2', '--export', '--json', str(tmp_path / 'copy' / 'f.json'),
    ]  # fmt: skip
    with_rerun = importlib.util.find_spec('rerun') is not None
    assert main([*command, '--rerun', str(rrd)] if with_rerun else command) == 0
    assert {file.name for file in out.iterdir()} == {
        'mesh.ply', 'cloud.ply', 'splat.ply', 'trajectory.txt', 'sequence', 'fuse.json',
        'map.png', 'photographs.png', 'trajectory.png',
    }  # fmt: skip
    assert off_the_walls(read_mesh(out / 'mesh.ply').vertices).mean() < 0.01
    poses = torch.stack([corner_view(n).world_from_camera for n in range(COUNT)])
    way = read_trajectory(out / 'trajectory.txt')
    torch.testing.assert_close(way.world_from_camera, poses, atol=1e-6, rtol=0)
    report = json.loads((out / 'fuse.json').read_text())
    assert report == json.loads((tmp_path / 'copy' / 'f.json').read_text())
    assert (report['frames'], report['poses'], report['depth']) == (COUNT, 'truth', 'truth')
    assert report['surface']['error_m'] < 0.02
    assert report['pixels']['pixels'] == COUNT * 64 * 48
    assert report['stats']['gaussians'] == len(read_splat_ply(out / 'splat.ply'))
    assert report['splat']['psnr'] > 10
    assert report['splat']['held_out']
    assert report['exported']['frames'] == COUNT
    assert (out / 'sequence' / 'groundtruth.txt').is_file()
    for name in ('map.png', 'photographs.png', 'trajectory.png'):
        picture = cv2.imread(str(out / name))
        assert picture.std() > 5
    if with_rerun:
        assert rrd.read_bytes()[:4] == b'RRF2'


def test_manifest_with_odometry(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / 'out'
    command = ['fuse', str(manifest), '--out', str(out), '--depth', 'truth', '--no-pictures']
    assert main([*command, '--voxel', '0.05', '--poses', 'odometry', '--max-frames', '4']) == 0
    report = json.loads((out / 'fuse.json').read_text())
    assert (report['frames'], report['stats']['frames'], report['poses']) == (4, 4, 'odometry')
    assert report['drift']['end_m'] < 0.03
    assert off_the_walls(read_mesh(out / 'mesh.ply').vertices).mean() < 0.03
    assert not (out / 'map.png').exists()
    # The camera went straight, which says nothing of how to turn one way onto the other.
    straight = 'cannot be aligned' if importlib.util.find_spec('evo') else 'evo is not installed'
    assert straight in report['ate_missing']
    assert '4 fused of 4' in capsys.readouterr().out


def test_depth_of_a_model_that_is_never_sure(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    model = tmp_path / 'tiny'
    checkpoint.save(model, Grin(GrinConfig.tiny()), checkpoint.Card('tiny', 'Apache-2.0', 'test'))
    command = ['fuse', str(manifest), '--out', str(tmp_path / 'out'), '--model', str(model)]
    status = main([*command, '--max-frames', '2', '--max-std', '1e-6', '--no-pictures'])
    assert status == 2  # no network is so sure, and this one knows nothing
    expect_line(capsys, r'no frame could be fused: .*used \(no depth')


@pytest.mark.parametrize(
    ('more', 'line'),
    [
        (['--voxel', '-1'], r'--voxel is -1\.0, expected a positive number of metres'),
        (['--every', '0'], '--every is 0, expected at least 1'),
        (['--sequence', 'run'], "has no sequence 'run', expected 'walk'"),
        (['--max-depth', '0.2'], 'no frame could be fused: .* no depth to fuse'),
    ],
)
def test_bad_arguments_are_one_line(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], line: str
) -> None:
    command = ['fuse', str(manifest), '--out', str(tmp_path / 'out'), '--depth', 'truth']
    assert main([*command, *more]) == 2
    expect_line(capsys, line)


def test_a_recording_without_poses(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    bare = manifest.parent / 'bare.jsonl'
    bare.write_text('\n'.join(json.dumps({**line, 'pose': None}) for line in lines))
    command = ['fuse', str(bare), '--out', str(tmp_path / 'out'), '--depth', 'truth']
    assert main([*command, '--poses', 'truth']) == 2
    expect_line(capsys, r'--poses truth, but .*bare\.jsonl has none.*--poses odometry')


def test_no_recording_and_a_folder_that_is_taken(
    bag: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['fuse', str(tmp_path / 'no.mcap'), '--out', str(tmp_path / 'out')]) == 2
    expect_line(capsys, r'no\.mcap: there is no such bag')
    (tmp_path / 'sequence').mkdir()
    (tmp_path / 'sequence' / 'mine').touch()
    command = ['fuse', str(manifest), '--out', str(tmp_path), '--depth', 'truth', '--export']
    assert main(command) == 2
    expect_line(capsys, r'sequence is there already, expected a new or empty folder')
    assert not list(tmp_path.glob('overflow*'))


def expect_line(capsys: pytest.CaptureFixture[str], pattern: str) -> None:
    """The last line on stderr, which is what is left of a progress bar's place."""
    import re

    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith('metric-depth fuse: ')
    assert re.search(pattern, last)
