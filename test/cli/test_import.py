"""metric-depth import: the list of datasets, a manifest, and what could not be used."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from metric_depth_ros.cli.main import main
from metric_depth_ros.evaluation.datasets import Manifest


@pytest.fixture
def rooms(tmp_path: Path) -> Path:
    """Three pictures of NYU Depth v2 as a folder; the depth of the third is missing."""
    scene = tmp_path / 'nyu' / 'test' / 'study_0001'
    scene.mkdir(parents=True)
    for number in (1, 2, 3):
        cv2.imwrite(str(scene / f'rgb_{number:05d}.jpg'), np.zeros((480, 640, 3), np.uint8))
        if number < 3:
            depth = np.full((480, 640), 1000 * number, np.uint16)
            cv2.imwrite(str(scene / f'sync_depth_{number:05d}.png'), depth)
    return tmp_path / 'nyu'


def test_the_list_of_datasets(capsys: pytest.CaptureFixture) -> None:
    assert main(['import']) == 0
    text = capsys.readouterr().out
    assert 'nuscenes' in text
    assert 'tartanair' in text
    assert main(['import', '--json']) == 0
    known = {one['name']: one for one in json.loads(capsys.readouterr().out)}
    assert len(known) == 18
    assert known['kitti']['splits'] == ['eigen', 'eigen-lidar', 'annotated']
    assert main(['import', 'ddad']) == 0
    text = capsys.readouterr().out
    assert 'CAMERA_05' in text
    assert 'nuscenes' not in text


def test_a_manifest_and_what_is_missing(
    rooms: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / 'nyu.jsonl'
    assert main(['import', 'nyu', str(rooms), '--out', str(out)]) == 0
    printed = capsys.readouterr()
    assert f'{out}: 2 frames of nyu' in printed.out
    assert 'sync_depth_00003.png: is not there' in printed.err
    assert '1 missing or broken' in printed.err
    assert [float(sample.depth.mean()) for sample in Manifest(out)] == [1.0, 2.0]
    listing = (tmp_path / 'nyu.problems.txt').read_text()
    assert listing.splitlines() == [f'{rooms}/test/study_0001/sync_depth_00003.png: is not there']


def test_json_and_limit(rooms: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / 'nyu.jsonl'
    options = ['--out', str(out), '--split', 'test', '--json']
    assert main(['import', 'nyu', str(rooms), *options]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told['dataset'], told['manifest'], told['frames']) == ('nyu', str(out), 2)
    assert [Path(p['path']).name for p in told['problems']] == ['sync_depth_00003.png']
    assert main(['import', 'nyu', str(rooms), *options, '--limit', '1', '--quick']) == 0
    assert json.loads(capsys.readouterr().out)['frames'] == 1
    assert len(Manifest(out)) == 1
    assert not out.with_suffix('.problems.txt').exists()


def test_no_usable_frame_is_a_failure(
    rooms: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for depth in rooms.rglob('*.png'):
        depth.write_bytes(b'broken')
    out = tmp_path / 'nyu.jsonl'
    assert main(['import', 'nyu', str(rooms), '--out', str(out)]) == 1
    printed = capsys.readouterr()
    assert 'no usable frame of nyu' in printed.err
    assert '3 missing or broken' in printed.err
    assert not out.exists()
    assert main(['import', 'nyu', str(rooms), '--out', str(out), '--json']) == 1
    assert json.loads(capsys.readouterr().out)['manifest'] is None


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['nope', '.', '--out', 'x'], "no dataset 'nope'"),
        (['nyu', '.'], 'expected DATASET ROOT --out'),
        (['nyu', 'nowhere', '--out', 'x'], 'nowhere: there is no such folder'),
        (['nyu', '.', '--out', 'x', '--split', 'best'], "--split is 'best', expected one of test"),
        (['nyu', '.', '--out', 'x', '--camera', 'left'], 'nyu takes no --camera'),
        (['ddad', '.', '--out', 'x', '--camera', 'CAMERA_02'], 'expected one of CAMERA_01'),
        (['nyu', '.', '--out', 'x', '--limit', '0'], '--limit is 0'),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(['import', *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert words in error
    assert '\n' not in error
    assert not list(tmp_path.iterdir())
