"""`metric-depth replay`: a bag in, everything out; bad input is one line and status 2."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from metric_depth_ros import checkpoint
from metric_depth_ros.bags.reader import Bag, deserialize
from metric_depth_ros.cli.main import main
from metric_depth_ros.messages import stamp_ns
from metric_depth_ros.methods.grin import Grin, GrinConfig

from ..bags.conftest import FIRST_NS, STEP_NS, BagMaker, Layout, write_camera

STAMPS = [FIRST_NS + i * STEP_NS for i in range(3)]


@pytest.fixture(scope='module')
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a tiny random network."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp('models') / 'tiny'
    checkpoint.save(folder, Grin(GrinConfig.tiny()), checkpoint.Card('tiny', 'Apache-2.0', 'test'))
    return folder


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    writer = BagMaker(tmp_path / 'drive', 'mcap')
    with writer.writer:
        write_camera(writer, Layout())
    return tmp_path / 'drive'


def stamps(path: Path, topic: str) -> list[int]:
    with Bag(path) as bag:
        return [stamp_ns(deserialize(m).header) for m in bag.messages([topic])]


def test_offline_twice(
    bag: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / 'out'
    command = ['replay', str(bag), '--out', str(out), '--model', str(model), '--samples', '2']
    assert main([*command, '--json', str(tmp_path / 'copy' / 'm.json')]) == 0
    printed = capsys.readouterr().out
    assert 'best constant' in printed
    assert '3 frames sent, 3 processed, 0 dropped' in printed
    assert stamps(out / 'bag', '/depth/image') == STAMPS
    report = json.loads((out / 'metrics.json').read_text())
    assert report == json.loads((tmp_path / 'copy' / 'm.json').read_text())
    assert (report['results'][0]['model'], report['results'][0]['frames']) == ('tiny', 3)
    assert {file.name for file in out.iterdir()} == {
        'bag', 'frames.csv', 'metrics.json', 'page.html', 'frame_best.png', 'frame_median.png',
        'frame_worst.png', 'cloud_side.png', 'overview.png',
    }  # fmt: skip
    page = (out / 'page.html').read_text()
    assert '3 frames sent, 3 processed, 0 dropped' in page
    assert 'Latency of each frame' in page
    assert page.count('src="data:image/') == 5

    assert main([*command, '--max-frames', '2', '--no-points', '--no-pictures']) == 0
    assert stamps(out / 'bag', '/depth/image') == STAMPS[:2]
    assert stamps(out / 'bag', '/depth/points') == []
    again = json.loads((out / 'metrics.json').read_text())
    assert [f['metrics'] for f in again['frames']] == [f['metrics'] for f in report['frames'][:2]]


def test_live_through_the_node(
    bag: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip('rclpy', reason='needs ROS 2')
    out = tmp_path / 'out'
    command = ['replay', str(bag), '--out', str(out), '--model', str(model), '--live']
    assert main([*command, '--rate', '0.2', '--no-pictures']) == 0
    assert '3 frames sent, 3 processed, 0 dropped' in capsys.readouterr().out
    assert stamps(out / 'bag', '/depth/image') == STAMPS
    report = json.loads((out / 'metrics.json').read_text())
    assert 0 < report['replay']['latency_p50_s'] <= report['replay']['latency_p99_s']
    assert report['results'][0]['frames'] == 3


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['{tmp}/nowhere.mcap'], '{tmp}/nowhere.mcap: there is no such bag'),
        (['{bag}', '--image', '/nope'], 'no topic /nope; the bag has /camera/aligned_depth'),
        (['{bag}', '--depth', '/tf'], 'topic /tf is tf2_msgs/msg/TFMessage, expected sensor_msgs'),
        (['{bag}', '--model', '{tmp}/nothing'], '{tmp}/nothing'),
        (['{bag}', '--rate', '2'], '--rate is 2.0, which needs --live'),
        (['{bag}', '--max-frames', '0'], '--max-frames is 0, expected at least 1'),
        (['{bag}', '--out', '{tmp}/taken'], 'was not written by metric-depth replay'),
    ],
)
def test_bad_input_is_one_line(
    bag: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    (tmp_path / 'taken' / 'bag').mkdir(parents=True)
    places = {'bag': bag, 'tmp': tmp_path}
    arguments = [argument.format(**places) for argument in arguments]
    if '--out' not in arguments:
        arguments += ['--out', str(tmp_path / 'out')]
    assert main(['replay', *arguments]) == 2
    error = capsys.readouterr().err
    assert message.format(**places) in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / 'out' / 'metrics.json').exists()


def test_no_usable_frame_is_an_error(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    writer = BagMaker(tmp_path / 'broken', 'mcap')
    with writer.writer:
        writer.write('/camera_info', FIRST_NS, writer.camera_info(FIRST_NS))
        writer.write_raw('/image', 'sensor_msgs/msg/Image', FIRST_NS, b'\0\1\0\0')
    out = tmp_path / 'out'
    assert (
        main(['replay', str(tmp_path / 'broken'), '--out', str(out), '--model', str(model)]) == 2
    )
    assert 'no frame could be used: not a sensor_msgs/msg/Image' in capsys.readouterr().err
    assert not (out / 'bag').exists()
