"""`metric-depth evaluate`: several models and folders at once, resumed, and the error bar."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from metric_depth_ros import checkpoint, geometry
from metric_depth_ros.cli.evaluate import BENCHMARK_NAMES, PROTOCOL_NAMES
from metric_depth_ros.cli.main import main
from metric_depth_ros.evaluation.protocols import BENCHMARKS, PROTOCOLS
from metric_depth_ros.methods.grin import Grin, GrinConfig
from metric_depth_ros.novelty import Novelty, fit_gaussian
from metric_depth_ros.types import Camera

from ..bags.conftest import BagMaker, Layout, write_camera
from ..evaluation.test_evaluate import CAMERA, true_depth, write_manifest


@pytest.fixture(scope='module')
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a tiny random network."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp('models') / 'tiny'
    checkpoint.save(folder, Grin(GrinConfig.tiny()), checkpoint.Card('tiny', 'Apache-2.0', 'test'))
    return folder


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Depth maps that are ten percent too far; the last one is missing."""
    folder = tmp_path / 'others'
    folder.mkdir()
    for index in range(3):
        np.save(folder / f'{index}.npy', 1.1 * true_depth(index))
    return folder


def test_help_knows_every_protocol() -> None:
    assert set(PROTOCOL_NAMES) == set(PROTOCOLS) - {'plain-median'}
    assert set(BENCHMARK_NAMES) == set(BENCHMARKS)


def test_models_and_folders_side_by_side_and_resumed(
    model: Path, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest, out = write_manifest(tmp_path / 'data'), tmp_path / 'out'
    command = ['evaluate', '--data', str(manifest), '--model', str(model), str(model)]
    command += ['--samples', '2', '--device', 'cpu', '--predictions', str(made), '--out', str(out)]
    assert main(command) == 0
    printed = capsys.readouterr().out
    results = json.loads((out / 'results.json').read_text())['results']
    plain = {r['model']: r for r in results if r['protocol'] == 'plain'}
    assert list(plain) == ['tiny', 'tiny (2)', 'others', 'best constant', 'median depth',
                           'per-row mean']  # fmt: skip
    assert plain['tiny']['metrics'] == plain['tiny (2)']['metrics']
    assert plain['others']['metrics']['abs_rel'] == pytest.approx(0.1, abs=1e-6)
    assert (plain['others']['frames'], plain['tiny']['frames']) == (3, 4)
    assert f'1 of 4 frames of {manifest} not scored for others:' in printed
    assert 'a/3.png' in printed
    page = (out / 'page.html').read_text()
    assert page.count('src="data:image/jpeg;base64,') == 9
    before = {file: file.read_bytes() for file in (out / 'scores').iterdir()}
    assert main([*command, '--no-pictures']) == 0
    assert {file: file.read_bytes() for file in (out / 'scores').iterdir()} == before
    assert json.loads((out / 'results.json').read_text())['results'] == results


def test_ray_distance_taken_for_depth_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest, made, out = write_manifest(tmp_path / 'data'), tmp_path / 'made', tmp_path / 'out'
    made.mkdir()
    rays = geometry.rays(Camera(**CAMERA))
    for index in range(4):
        depth = torch.from_numpy(true_depth(index))
        np.save(made / f'{index}.npy', geometry.ray_distance_from_depth(depth, rays).numpy())
    command = ['evaluate', '--data', str(manifest), '--predictions', str(made)]
    assert main([*command, '--no-pictures', '--out', str(out)]) == 0
    assert f'made on {manifest}: ' in capsys.readouterr().out
    assert 'ray distance' in (out / 'page.html').read_text()


def test_a_bag_is_data_like_any_other(model: Path, tmp_path: Path) -> None:
    writer = BagMaker(tmp_path / 'drive', 'mcap')
    with writer.writer:
        write_camera(writer, Layout())
    out = tmp_path / 'm.json'
    command = ['evaluate', '--data', str(tmp_path / 'drive'), '--model', str(model)]
    assert main([*command, '--samples', '1', '--json', str(out)]) == 0
    results = json.loads(out.read_text())['results']
    assert (results[0]['model'], results[0]['frames']) == ('tiny', 3)


def test_the_error_bar_is_fitted_and_kept(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = write_manifest(tmp_path / 'data', 6)
    fitted = tmp_path / 'fitted'
    command = ['evaluate', '--data', str(manifest), '--model', str(model), '--samples', '2']
    assert main([*command, '--fit-calibration', str(fitted)]) == 0
    printed = capsys.readouterr().out
    assert 'fitted on 3 frames, judged on 3 others' in printed
    within = re.search(r'within one sigma: ([\d.]+)% before, ([\d.]+)% now', printed)
    assert within is not None
    before, now = (abs(float(share) - 68.27) for share in within.groups())
    assert ('no better than before' in printed) == (now >= before)
    old, new = checkpoint.load(model), checkpoint.load(fitted)
    assert new.card.calibration != old.card.calibration
    assert new.card.name == old.card.name
    for name, tensor in old.method.state_dict().items():
        assert torch.equal(tensor, new.method.state_dict()[name])


def test_a_fitted_error_bar_still_heeds_novelty(model: Path, tmp_path: Path) -> None:
    old = checkpoint.load(model)
    generator = torch.Generator().manual_seed(0)
    novelty = Novelty(fit_gaussian(torch.rand(50, 7, generator=generator)))
    heeding = replace(old.card.calibration, novelty_picture=0.7)
    wise, fitted = tmp_path / 'wise', tmp_path / 'fitted'
    checkpoint.save(wise, old.method, replace(old.card, calibration=heeding, novelty=novelty))
    manifest = write_manifest(tmp_path / 'data', 4)
    command = ['evaluate', '--data', str(manifest), '--model', str(wise), '--samples', '2']
    assert main([*command, '--fit-calibration', str(fitted)]) == 0
    card = checkpoint.load(fitted).card
    assert card.calibration.novelty_picture == 0.7
    assert card.calibration.std_scale != heeding.std_scale
    assert torch.equal(card.novelty.picture.mean, novelty.picture.mean)


def test_the_error_bar_of_a_refiner_has_a_part_for_its_coarse_depth(
    model: Path, tmp_path: Path
) -> None:
    pytest.importorskip('diffusers')
    from metric_depth_ros.methods.sharpdepth import SharpDepth, SharpDepthConfig

    torch.manual_seed(0)
    refiner, fitted = tmp_path / 'refiner', tmp_path / 'fitted'
    card = checkpoint.Card('refiner', 'Apache-2.0', 'test')
    checkpoint.save(refiner, SharpDepth(SharpDepthConfig.tiny()), card)
    manifest = write_manifest(tmp_path / 'data', 4)
    command = [
        'evaluate',
        '--data',
        str(manifest),
        '--model',
        str(refiner),
        '--coarse',
        str(model),
    ]
    assert main([*command, '--samples', '2', '--fit-calibration', str(fitted)]) == 0
    assert checkpoint.load(refiner).card.calibration.std_coarse == 0
    assert checkpoint.load(fitted).card.calibration.std_coarse > 0
    assert checkpoint.load(fitted).card.calibration.fitted_over == 'tiny'


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--data', '{tmp}/none.jsonl'], 'none.jsonl: there is no such manifest'),
        (['--data', '{tmp}'], 'expected a manifest.jsonl in it, or a bag'),
        (['--data', '{data}', '--predictions', '{tmp}/no'], 'there is no such folder'),
        (['--data', '{data}', '--predictions', '{tmp}/odd'], 'no frame could be scored: a/0.png'),
        (['--data', '{data}', '--predictions', '{tmp}/odd', '--fit-calibration', 'x'],
         '--fit-calibration needs one --model'),
        (['--data', '{data}', '--model', '{model}', '--samples', '1', '--fit-calibration', 'x'],
         'num_samples is 1, expected 2 or more'),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    arguments: list[str], message: str,
) -> None:  # fmt: skip
    (tmp_path / 'odd').mkdir()
    np.save(tmp_path / 'odd' / 'unlike.npy', true_depth(0))
    places = {'tmp': tmp_path, 'data': write_manifest(tmp_path / 'data'), 'model': model}
    assert main(['evaluate', *(a.format(**places) for a in arguments)]) == 2
    lines = [x for x in capsys.readouterr().err.splitlines() if x.startswith('metric-depth ')]
    assert len(lines) == 1
    assert message in lines[0]
