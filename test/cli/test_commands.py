"""The commands that no other file tests: models, render, evaluate, train; help and bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from metric_depth_ros import checkpoint
from metric_depth_ros.checkpoint import Card
from metric_depth_ros.cli.main import COMMANDS, main
from metric_depth_ros.methods.grin import Grin, GrinConfig


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    card = Card('tiny', 'Apache-2.0', 'a test')
    checkpoint.save(tmp_path / 'tiny', Grin(GrinConfig.tiny()), card)
    return tmp_path / 'tiny'


@pytest.mark.parametrize(
    'command', [module.__name__.split('.')[-1].removesuffix('_data') for module in COMMANDS]
)
def test_every_command_has_help_with_an_example(
    command: str, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, '--help'])
    assert ended.value.code == 0
    assert 'example: metric-depth' in ' '.join(capsys.readouterr().out.split())


def test_models_as_json(capsys: pytest.CaptureFixture) -> None:
    assert main(['models', '--json']) == 0
    entries = json.loads(capsys.readouterr().out)
    keys = {'name', 'method', 'parameters', 'licence', 'source', 'checkpoint', 'hub_id',
            'quantity', 'scenes', 'licence_read_in', 'licence_doubt', 'pickled'}  # fmt: skip
    assert all(entry.keys() == keys for entry in entries)
    assert {'grin', 'grin-small'} <= {entry['name'] for entry in entries}


def test_models_as_a_table(capsys: pytest.CaptureFixture) -> None:
    assert main(['models']) == 0
    assert 'grin-small' in capsys.readouterr().out


def test_what_a_model_is_made_of(tiny: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(['models', 'grin', '--json']) == 0
    paper = json.loads(capsys.readouterr().out)
    modules = paper['modules']
    assert paper['parameters'] == pytest.approx(341_563_599, rel=0.002)
    assert sum(n for name, n in modules.items() if '.' not in name) == paper['parameters']
    assert sum(n for k, n in modules.items() if k.startswith('rin.')) == modules['rin']
    assert modules['rin.latents'] == 256 * 1024
    assert main(['models', str(tiny)]) == 0
    table = capsys.readouterr().out
    assert 'encoder' in table
    assert '100.0%' in table
    assert main(['models', 'nothing']) == 2
    assert "model is 'nothing', expected one of" in capsys.readouterr().err


def test_rendered_frames_can_be_evaluated(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    data = tmp_path / 'data'
    render = ['render', '--out', str(data), '--frames', '3', '--size', '64x48', '--seed', '4']
    assert main(render) == 0
    manifest = data / 'manifest.jsonl'
    out = tmp_path / 'results.json'
    evaluate = ['evaluate', '--data', str(manifest), '--model', str(tiny), '--samples', '1']
    assert main([*evaluate, '--device', 'cpu', '--json', str(out)]) == 0
    results = json.loads(out.read_text())['results']
    plain = {r['model']: r for r in results if r['protocol'] == 'plain'}
    assert set(plain) == {'tiny', 'best constant', 'median depth', 'per-row mean'}
    assert plain['tiny']['frames'] == 3
    assert plain['best constant']['metrics']['abs_rel'] <= (
        plain['median depth']['metrics']['abs_rel'] + 1e-9
    )
    assert 'tiny' in capsys.readouterr().out


def test_frames_of_the_second_generator_are_other_frames(tmp_path: Path) -> None:
    command = [
        'render',
        '--frames',
        '1',
        '--size',
        '32x24',
        '--scenes',
        'indoor',
        '--lens',
        'none',
    ]
    images = {}
    for style in ('surfaces', 'fields'):
        assert main([*command, '--style', style, '--out', str(tmp_path / style)]) == 0
        (entry,) = (tmp_path / style / 'manifest.jsonl').read_text().splitlines()
        depth = np.load(tmp_path / style / json.loads(entry)['depth'])
        assert depth.shape == (24, 32)
        assert np.nanmin(depth) > 0
        images[style] = (tmp_path / style / json.loads(entry)['image']).read_bytes()
    assert images['surfaces'] != images['fields']


def test_the_same_seed_renders_the_same_bag_again_in_place(tmp_path: Path) -> None:
    command = ['render', '--out', str(tmp_path / 'walk'), '--bag', '--frames', '2']
    command += ['--size', '48x32', '--scenes', 'indoor']
    assert main(command) == 0
    first = next((tmp_path / 'walk').glob('*.mcap')).read_bytes()
    assert main(command) == 0
    assert next((tmp_path / 'walk').glob('*.mcap')).read_bytes() == first


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['render', '--out', 'x', '--size', 'big'], "--size is 'big', expected WIDTHxHEIGHT"),
        (['render', '--out', 'x', '--frames', '0'], '--frames is 0, expected at least 1'),
        (['render', '--out', 'x', '--style', 'fields', '--bag'], '--style is fields, which moves'),
        (
            ['render', '--out', 'x', '--style', 'fields', '--split', 'heldout'],
            'leave --split held',
        ),
        (['train', 'nothing', '--out', 'x'], "recipe is 'nothing', expected"),
        (['evaluate', '--data', 'none.jsonl'], 'none.jsonl: there is no such manifest'),
        (['train', 'grin-small', '--out', 'x', '--device', 'abacus'], "device is 'abacus'"),
        (['train', 'grin-small', '--out', 'x', '--data', 'no.jsonl'], "manifest is 'no.jsonl'"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert error[0].startswith(f'metric-depth {arguments[0]}: ')
    assert message in error[0]


def test_depth_node_without_ros_is_one_line() -> None:
    # None: as if it were not installed. A process of its own, as others may have imported it.
    code = (
        "import sys; sys.modules['rclpy'] = None; "
        'from metric_depth_ros.cli import node; sys.exit(node.main())'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 2
    error = done.stderr.strip().splitlines()
    assert len(error) == 1
    assert 'depth_node needs ROS 2' in error[0]
