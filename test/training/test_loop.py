"""The training loop on a tiny recipe: learns, stops, resumes to the bit, writes a checkpoint."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from metric_depth_ros import checkpoint
from metric_depth_ros.errors import MetricDepthError
from metric_depth_ros.methods.grin import Grin, GrinConfig
from metric_depth_ros.training import muon
from metric_depth_ros.training import run as run_module
from metric_depth_ros.training.data import FramePool
from metric_depth_ros.training.feed import Feed
from metric_depth_ros.training.loop import train
from metric_depth_ros.training.objectives import OBJECTIVES
from metric_depth_ros.training.recipe import Recipe, Stage, SyntheticData, load_recipe
from metric_depth_ros.training.run import Run, learning_rate, make_optimizer
from metric_depth_ros.training.schedule import seed_of
from metric_depth_ros.training.sources import fill_pool
from metric_depth_ros.training.workers import Workers

DATA = SyntheticData(frames=8, width=64, height=32, scenes='both', seed=1)


@pytest.fixture(autouse=True)
def tiny_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(Grin.PRESETS, 'tiny', GrinConfig.tiny)


@pytest.fixture
def recipe() -> Recipe:
    small = load_recipe('grin-small')
    return dataclasses.replace(
        small, preset='tiny', config={}, name='tiny', data=(DATA,), width=64, height=32,
        validation=dataclasses.replace(DATA, seed=2),
        steps=6, batch_size=4, warmup_steps=2, save_every=100, validate_every=3, precision='fp32',
    )  # fmt: skip


def test_a_stopped_and_resumed_run_is_the_same_run(recipe: Recipe, tmp_path: Path) -> None:
    whole = train(recipe, tmp_path / 'whole')
    stopped = tmp_path / 'stopped'
    legs = 0
    while (folder := train(recipe, stopped, resume=legs > 0, max_minutes=0)) is None:
        legs += 1
    assert legs == 5  # no time at all: one step a leg
    assert whole is not None
    expected = load_file(whole / 'model.safetensors')
    for key, value in load_file(folder / 'model.safetensors').items():
        assert torch.equal(value, expected[key]), key
    curves = []
    for run in (tmp_path / 'whole', stopped):
        lines = [json.loads(line) for line in (run / 'curve.jsonl').read_text().splitlines()]
        curves.append([{k: v for k, v in line.items() if k != 'seconds'} for line in lines])
    assert curves[0] == curves[1]
    assert [line['step'] for line in curves[0]] == [3, 6]


def test_what_is_saved_may_lie_on_the_way_back_to_the_base(recipe: Recipe, tmp_path: Path) -> None:
    def saved(name: str, **changes) -> dict[str, torch.Tensor]:
        changed = dataclasses.replace(recipe, steps=2, validate_every=2, **changes)
        folder = train(changed, tmp_path / name, frames=tmp_path / 'frames')
        assert folder is not None
        return load_file(folder / 'model.safetensors')

    begun = saved('base', learning_rate=0.02)
    base = str(tmp_path / 'base' / 'checkpoint')
    learned = saved('learned', base=base, seed=7)
    between = saved('between', base=base, seed=7, base_share=0.75)
    assert any(not torch.allclose(learned[key], begun[key], rtol=1e-2) for key in begun)
    for key, value in between.items():
        if value.is_floating_point():  # not the count of batches
            torch.testing.assert_close(value, 0.25 * learned[key] + 0.75 * begun[key])
    readme = (tmp_path / 'between' / 'checkpoint' / 'README.md').read_text()
    assert 'lies 75% of the way back' in readme


def test_how_much_of_the_base_is_kept_may_be_decided_in_the_end(
    recipe: Recipe, tmp_path: Path
) -> None:
    base = train(dataclasses.replace(recipe, steps=1, validate_every=1), tmp_path / 'base')
    going = dataclasses.replace(recipe, base=str(base), steps=2, validate_every=2)
    out = tmp_path / 'run'
    assert train(going, out, max_minutes=0) is None
    decided = dataclasses.replace(going, base_share=0.5)
    assert train(decided, out, resume=True) is not None


def test_the_checkpoint_is_whole_and_its_card_tells_the_truth(
    recipe: Recipe, tmp_path: Path
) -> None:
    folder = train(recipe, tmp_path / 'run')
    assert folder is not None
    loaded = checkpoint.load(folder)
    assert loaded.card.name == 'tiny'
    assert loaded.method.config == GrinConfig.tiny()
    assert loaded.card.calibration.std_scale > 0
    assert '| **tiny** |' in loaded.card.readme
    assert '4 held-out frames' in loaded.card.readme


def test_frames_of_any_size_are_learned_from_and_shown_in_the_curve(
    recipe: Recipe, tmp_path: Path
) -> None:
    odd = dataclasses.replace(DATA, width=60, height=41)  # no multiples of 32
    train(dataclasses.replace(recipe, data=(odd,)), tmp_path / 'run')
    lines = (tmp_path / 'run' / 'curve.jsonl').read_text().splitlines()
    assert [math.isfinite(json.loads(line)['train_abs_rel']) for line in lines] == [True, True]


def test_the_loss_falls(recipe: Recipe, tmp_path: Path) -> None:
    longer = dataclasses.replace(recipe, steps=100, validate_every=20, learning_rate=0.01)
    train(longer, tmp_path / 'run')
    lines = (tmp_path / 'run' / 'curve.jsonl').read_text().splitlines()
    losses = [json.loads(line)['loss'] for line in lines]
    assert losses[-1] < 0.9 * losses[0]


def test_a_run_is_not_overwritten_nor_mixed_with_another(recipe: Recipe, tmp_path: Path) -> None:
    train(recipe, tmp_path / 'run', max_minutes=0)
    with pytest.raises(MetricDepthError, match='holds a run already: --resume it'):
        train(recipe, tmp_path / 'run')
    other = dataclasses.replace(recipe, seed=5)
    with pytest.raises(MetricDepthError, match='was made by another recipe'):
        train(other, tmp_path / 'run', resume=True)
    (tmp_path / 'run' / 'state.safetensors').write_bytes(b'nothing')
    with pytest.raises(MetricDepthError, match='is not the state of a run'):
        train(recipe, tmp_path / 'run', resume=True)


def test_a_loss_that_is_not_a_number_stops_the_run(recipe: Recipe, tmp_path: Path) -> None:
    wild = dataclasses.replace(recipe, learning_rate=1e30, warmup_steps=1)
    with pytest.raises(MetricDepthError, match='expected a finite number'):
        train(wild, tmp_path / 'run')


def test_learning_rate_rises_then_falls_to_zero(recipe: Recipe) -> None:
    recipe = dataclasses.replace(recipe, steps=102, warmup_steps=2, learning_rate=1.0)
    assert [learning_rate(recipe, k) for k in (0, 1, 2)] == [0.5, 1.0, 1.0]
    assert learning_rate(recipe, 52) == pytest.approx(0.5)
    assert learning_rate(recipe, 101) == pytest.approx((1 - math.cos(math.pi / 100)) / 2)


def test_frames_are_kept_and_not_mixed_with_others(tmp_path: Path) -> None:
    first = fill_pool(tmp_path, DATA, 'train')
    image = tmp_path / '00000.shard' / 'image.npy'
    before = image.stat().st_mtime_ns
    again = fill_pool(tmp_path, DATA, 'train')
    assert image.stat().st_mtime_ns == before
    assert len(first) == len(again) == 8
    with pytest.raises(MetricDepthError, match='holds frames of another recipe'):
        fill_pool(tmp_path, dataclasses.replace(DATA, seed=9), 'train')


def test_a_batch_is_what_was_rendered(tmp_path: Path) -> None:
    pool = fill_pool(tmp_path, DATA, 'train')
    assert isinstance(pool, FramePool)
    batch = pool.batch(list(range(8)))
    norm = batch.rays.norm(dim=1)
    torch.testing.assert_close(
        norm[batch.inside], torch.ones_like(norm[batch.inside]), atol=1e-4, rtol=0
    )
    assert bool(batch.ray_distance[batch.valid].isfinite().all())
    assert bool((batch.ray_distance[batch.valid] > 0).all())


def test_only_the_weights_of_layers_decay(recipe: Recipe) -> None:
    method = Grin(GrinConfig.tiny())
    names = {id(p): name for name, p in method.named_parameters()}
    for optimizer in ('adamw', 'lion'):
        groups = make_optimizer(dataclasses.replace(recipe, optimizer=optimizer), method)
        decaying, others = groups.param_groups
        assert decaying['weight_decay'] == recipe.weight_decay
        assert others['weight_decay'] == 0
        assert len(decaying['params']) + len(others['params']) == len(names)
        kept = {names[id(p)] for p in others['params']}
        assert {'rin.latents', 'to_local.bias', 'head.0.weight'} <= kept
        assert {'to_local.weight', 'encoder.stem.0.weight'} & kept == set()


def test_runs_share_frames_and_a_source_keeps_its_own(recipe: Recipe, tmp_path: Path) -> None:
    indoor = dataclasses.replace(DATA, scenes='indoor', weight=3.0)
    outdoor = dataclasses.replace(DATA, scenes='outdoor')
    mixed = dataclasses.replace(recipe, data=(indoor, outdoor), steps=1)
    train(mixed, tmp_path / 'first', frames=tmp_path / 'frames')
    folders = sorted(path.name for path in (tmp_path / 'frames').iterdir())
    assert folders == [
        'heldout-both-8-64x32-seed2', 'train-indoor-8-64x32-seed1', 'train-outdoor-8-64x32-seed1'
    ]  # fmt: skip
    before = [path.stat().st_mtime_ns for path in (tmp_path / 'frames').glob('*/*.shard')]
    lighter = dataclasses.replace(indoor, weight=0.5)
    train(
        dataclasses.replace(mixed, data=(lighter, outdoor)),
        tmp_path / 'second',
        frames=tmp_path / 'frames',
    )
    assert [p.stat().st_mtime_ns for p in (tmp_path / 'frames').glob('*/*.shard')] == before


@pytest.mark.parametrize(
    'changes',
    [
        {'optimizer': 'lion', 'learning_rate': 1e-4},
        {'supervision': 'lidar', 'supervised_share': 0.05},
        {'supervision': 'random', 'supervised_share': 0.05, 'precision': 'bf16'},
        {'config': {'use_global': False, 'rin': {'blocks': 2}}},
        {'stages': (Stage(1, width=32, height=32), Stage(1, weights=(2.0,)))},
        {'accumulate': 2},
    ],
    ids=str,
)
def test_every_way_to_train_writes_a_checkpoint(
    recipe: Recipe, changes: dict, tmp_path: Path
) -> None:
    changed = dataclasses.replace(recipe, **changes, steps=2, validate_every=2)
    folder = train(changed, tmp_path / 'run')
    assert folder is not None
    assert checkpoint.load(folder).method.config == changed.architecture()


def test_parts_of_a_batch_are_one_step(recipe: Recipe, tmp_path: Path) -> None:
    """Two parts: the gradient is the mean of theirs, and so is what batch norms remember."""
    pool = fill_pool(tmp_path, DATA, 'train')
    parted = dataclasses.replace(recipe, accumulate=2, config={'encoder_group_norm': False})
    feed = Feed(parted, [pool])
    torch.manual_seed(0)
    method = Grin(parted.architecture())
    before = copy.deepcopy(method)
    run = Run(parted, method, Workers(torch.device('cpu')))
    values = run.step(0, feed)
    losses, gradients, buffers = [], [], []
    for part in range(2):
        alone = copy.deepcopy(before).train()
        seed = seed_of(parted.seed, 'step', 0, part)
        first, second = (torch.Generator().manual_seed(seed) for _ in range(2))
        batch = feed.batch(0, first, torch.device('cpu'), part=part, parts=2)
        loss = OBJECTIVES['grin'](alone, batch, second)['loss']
        loss.backward()
        losses.append(loss.item())
        gradients.append([torch.zeros_like(p) if p.grad is None else p.grad
                          for p in alone.parameters()])  # fmt: skip
        buffers.append([b.clone() for b in alone.buffers() if b.is_floating_point()])
    assert values['loss'] == pytest.approx(sum(losses) / 2)
    mean = [(a + b) / 2 for a, b in zip(*gradients, strict=True)]
    norm = torch.stack([g.norm() for g in mean]).norm()
    for p, expected in zip(method.parameters(), mean, strict=True):
        if p.grad is not None:
            torch.testing.assert_close(p.grad, expected * min(1.0, 1.0 / (norm + 1e-6)))
    assert len(buffers[0]) > 0
    floating = [b for b in method.buffers() if b.is_floating_point()]
    for buffer, a, b in zip(floating, *buffers, strict=True):
        torch.testing.assert_close(buffer, (a + b) / 2)


def test_bf16_is_fp32_where_it_would_be_emulated(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loss(precision: str, emulates: bool) -> float:
        for module in (run_module, muon):
            monkeypatch.setattr(module, 'multiplies_bf16', lambda device_type: not emulates)
        out = tmp_path / f'{precision}-{emulates}'
        changed = dataclasses.replace(recipe, precision=precision, steps=2, validate_every=2)
        train(changed, out, frames=tmp_path / 'frames')
        return json.loads((out / 'curve.jsonl').read_text())['loss']

    assert loss('bf16', emulates=True) == loss('fp32', emulates=True)
    assert loss('bf16', emulates=False) != loss('fp32', emulates=False)
