"""Training as a program: killed, asked to stop, in legs, in several processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from metric_depth_ros import checkpoint
from metric_depth_ros.checkpoint import Card
from metric_depth_ros.methods.metricgold import MetricGold, MetricGoldConfig
from metric_depth_ros.training.recipe import RECIPES

TINY = {
    'encoder_width': 8, 'pretrained_scales': [], 'image_dropout': 0, 'style_noise': 0,
    'hide_samples': False, 'depth_prior': 0,
    'global_width': 16, 'local_width': 8, 'local_kernel': 3, 'ray_bands': 4,
    'train_pixels': 64, 'train_globals': 16, 'read_pixels': 64,
    'rin': {'token_width': 32, 'latent_width': 32, 'num_latents': 8, 'blocks': 1, 'depth': 1,
            'token_heads': 2, 'latent_heads': 2, 'head_width': 16},
}  # fmt: skip
FRAMES = {'frames': 8, 'width': 64, 'height': 32, 'scenes': 'both', 'seed': 1}
TEACHER, PRIOR = 'method.distillation.teacher', 'method.distillation.prior'  # of SharpDepth
MAIN = ['-m', 'metric_depth_ros.cli.main', 'train']


@pytest.fixture(scope='module')
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp('frames')


def write_recipe(folder: Path, **changes: object) -> Path:
    raw = yaml.safe_load((RECIPES / 'grin-small.yaml').read_text())
    raw.pop('stages', None)
    raw |= {
        'config': TINY, 'data': FRAMES, 'validation': {**FRAMES, 'seed': 2}, 'width': 64,
        'height': 32, 'steps': 40, 'batch_size': 4, 'warmup_steps': 2, 'save_every': 7,
        'validate_every': 10, 'precision': 'fp32', 'accumulate': 1, **changes,
    }  # fmt: skip
    path = folder / 'recipe.yaml'
    path.write_text(yaml.safe_dump(raw))
    return path


def start(*arguments: object, launcher: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    command = [sys.executable, *launcher, *MAIN, *map(str, arguments), '--device', 'cpu']
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
    )


def finish(process: subprocess.Popen[str], status: int = 0) -> str:
    out, err = process.communicate(timeout=900)
    assert process.returncode == status, (out, err)
    return out


def curve(run: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run / 'curve.jsonl').read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != 'seconds'} for line in lines]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / 'checkpoint' / 'model.safetensors')


def wait_for(file: Path, process: subprocess.Popen[str], other_than: int = 0) -> int:
    """The modification time of the file once there is one, and it is another."""
    while process.poll() is None:
        if file.is_file() and (changed := file.stat().st_mtime_ns) != other_than:
            return changed
        time.sleep(0.01)
    raise AssertionError(process.communicate())


def start_and_render(*arguments: object) -> subprocess.Popen[str]:
    """A run that has rendered its frames, for others to begin beside it."""
    process = start(*arguments)
    wait_for(Path(str(arguments[arguments.index('--out') + 1])) / 'state.safetensors', process)
    return process


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_or_asked_to_stop_the_run_goes_on_as_if_nothing_had_happened(
    tmp_path: Path, frames: Path
) -> None:
    """SIGKILL after a save, wherever that finds it; then SIGTERM, then SIGINT."""
    recipe = write_recipe(tmp_path)
    whole = start_and_render(recipe, '--out', tmp_path / 'whole', '--frames', frames)
    broken = (recipe, '--out', tmp_path / 'broken', '--frames', frames)
    state = tmp_path / 'broken' / 'state.safetensors'

    killed = start(*broken)
    saved = wait_for(state, killed)
    time.sleep(0.3)
    killed.kill()
    killed.communicate()

    for number in (signal.SIGTERM, signal.SIGINT):
        stopped = start(*broken, '--resume')
        saved = wait_for(state, stopped, other_than=saved)
        stopped.send_signal(number)
        out = ' '.join(finish(stopped, status=130).split())
        assert 'all saved; go on with: metric-depth train' in out
        assert f'--out {tmp_path / "broken"} --frames {frames} --resume' in out
        saved = state.stat().st_mtime_ns
    finish(start(*broken, '--resume'))
    finish(whole)

    assert curve(tmp_path / 'broken') == curve(tmp_path / 'whole')
    expected = weights(tmp_path / 'whole')
    for name, value in weights(tmp_path / 'broken').items():
        assert torch.equal(value, expected[name]), name


def write_sharpdepth_recipe(folder: Path) -> Path:
    """sharpdepth-small on the smallest network, in a few steps, with a teacher that soon moves."""
    torch.manual_seed(0)
    prior = MetricGold(MetricGoldConfig.tiny())
    checkpoint.save(folder / 'prior', prior, Card('prior', 'Apache-2.0', 'a test'))
    raw = yaml.safe_load((RECIPES / 'sharpdepth-small.yaml').read_text())
    raw |= {
        'base': str(folder / 'prior'), 'data': FRAMES, 'validation': {**FRAMES, 'seed': 2},
        'config': {'num_samples': 2, 'working_pixels': 64 * 32, 'teacher_decay': 0.9},
        'width': 64, 'height': 32, 'steps': 12, 'batch_size': 2, 'learning_rate': 0.003,
        'save_every': 3, 'validate_every': 6, 'precision': 'fp32',
    }  # fmt: skip
    path = folder / 'sharpdepth.yaml'
    path.write_text(yaml.safe_dump(raw))
    return path


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_killed_run_with_a_teacher_goes_on_as_if_nothing_had_happened(
    tmp_path: Path, frames: Path
) -> None:
    """SharpDepth's teacher and the frozen denoiser are in no checkpoint, but part of the run."""
    pytest.importorskip('diffusers')
    recipe = write_sharpdepth_recipe(tmp_path)
    whole = start_and_render(recipe, '--out', tmp_path / 'whole', '--frames', frames)
    broken = (recipe, '--out', tmp_path / 'broken', '--frames', frames)
    killed = start(*broken)
    wait_for(tmp_path / 'broken' / 'state.safetensors', killed)
    killed.kill()
    killed.communicate()
    state = load_file(tmp_path / 'broken' / 'state.safetensors')
    teacher = [name for name in state if name.startswith(TEACHER)]
    assert any(not state[name].equal(state[name.replace(TEACHER, PRIOR)]) for name in teacher)
    finish(start(*broken, '--resume'))
    finish(whole)
    assert curve(tmp_path / 'broken') == curve(tmp_path / 'whole')
    files = [
        file.relative_to(tmp_path / 'whole') for file in tmp_path.glob('whole/**/*.safetensors')
    ]
    assert {'state.safetensors', 'diffusion_pytorch_model.safetensors'} <= {f.name for f in files}
    for file in files:
        expected = load_file(tmp_path / 'whole' / file)
        found = load_file(tmp_path / 'broken' / file)
        assert found.keys() == expected.keys()
        for name, value in found.items():
            assert torch.equal(value, expected[name]), f'{file}: {name}'


@pytest.fixture(scope='module')
def one_process(tmp_path_factory: pytest.TempPathFactory, frames: Path) -> tuple[Path, Path]:
    """A recipe of two parts a batch, and the run of the one process that computes both."""
    folder = tmp_path_factory.mktemp('one')
    changes = {'steps': 6, 'validate_every': 3, 'accumulate': 2, 'optimizer': 'adamw'}
    recipe = write_recipe(folder, **changes)
    finish(start(recipe, '--out', folder / 'run', '--frames', frames))
    return recipe, folder / 'run'


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    'launcher',
    [
        ('-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2'),
        ('-m', 'accelerate.commands.launch', '--multi_gpu', '--num_processes', '2'),
    ],
    ids=['torchrun', 'accelerate'],
)
def test_two_processes_take_the_steps_of_one(
    launcher: tuple[str, ...], tmp_path: Path, frames: Path, one_process: tuple[Path, Path]
) -> None:
    """One process computes two parts of each batch; two compute one each."""
    if 'accelerate' in launcher[1]:
        pytest.importorskip('accelerate')
    recipe, one = one_process
    finish(start(recipe, '--out', tmp_path / 'two', '--frames', frames, launcher=launcher))
    for alone, together in zip(curve(one), curve(tmp_path / 'two'), strict=True):
        assert together == pytest.approx(alone, rel=1e-3)
    expected = weights(one)
    for name, value in weights(tmp_path / 'two').items():
        torch.testing.assert_close(value, expected[name], atol=1e-4, rtol=1e-3, msg=name)
