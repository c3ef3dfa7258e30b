"""What a run shows in TensorBoard, read back with TensorBoard itself."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import pytest

from metric_depth_ros.errors import MetricDepthError
from metric_depth_ros.methods.grin import Grin, GrinConfig
from metric_depth_ros.training.board import Board
from metric_depth_ros.training.loop import train
from metric_depth_ros.training.recipe import Recipe, SyntheticData, load_recipe
from metric_depth_ros.training.run import learning_rate

DATA = SyntheticData(frames=4, width=64, height=32, scenes='indoor', seed=1)


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> Recipe:
    monkeypatch.setitem(Grin.PRESETS, 'tiny', GrinConfig.tiny)
    return dataclasses.replace(
        load_recipe('grin-small'), preset='tiny', config={}, name='tiny', data=(DATA,), width=64,
        height=32, validation=dataclasses.replace(DATA, seed=2), steps=3, batch_size=4,
        warmup_steps=2, save_every=100, validate_every=3, precision='fp32',
    )  # fmt: skip


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Tag -> (step, value), as TensorBoard shows them."""
    accumulator = pytest.importorskip(
        'tensorboard.backend.event_processing.event_accumulator'
    ).EventAccumulator(str(folder))
    accumulator.Reload()
    tags = accumulator.Tags()['scalars']
    return {tag: [(e.step, e.value) for e in accumulator.Scalars(tag)] for tag in tags}


def test_losses_scores_and_learning_rate_of_a_run_in_legs(recipe: Recipe, tmp_path: Path) -> None:
    pytest.importorskip('tensorboard')
    legs = 0
    while train(recipe, tmp_path, resume=legs > 0, max_minutes=0, tensorboard=True) is None:
        legs += 1
    assert legs == 2  # a step a leg
    shown = scalars(tmp_path / 'tensorboard')
    (line,) = (json.loads(text) for text in (tmp_path / 'curve.jsonl').read_text().splitlines())
    assert [step for step, _ in shown['train/loss']] == [1, 2, 3]
    mean = sum(value for _, value in shown['train/loss']) / 3
    assert mean == pytest.approx(line['loss'], rel=1e-5)
    assert shown['heldout/abs_rel'] == [(3, pytest.approx(line['abs_rel'], rel=1e-5))]
    rates = [(k + 1, pytest.approx(learning_rate(recipe, k), rel=1e-5)) for k in range(3)]
    assert shown['train/learning_rate'] == rates


def test_what_was_not_saved_is_not_shown_twice(tmp_path: Path) -> None:
    pytest.importorskip('tensorboard')
    with Board(tmp_path, enabled=True) as board:
        for step in (1, 2, 3):
            board.add('train', step, {'loss': float(step)})
    with Board(tmp_path, enabled=True) as board:  # from the state saved at step 1
        for step in (2, 3, 4):
            board.add('train', step, {'loss': -float(step)})
    assert scalars(tmp_path)['train/loss'] == [(1, 1.0), (2, -2.0), (3, -3.0), (4, -4.0)]


def test_nothing_is_written_unasked(tmp_path: Path) -> None:
    with Board(tmp_path / 'board', enabled=False) as board:
        board.add('train', 1, {'loss': 1.0})
    assert not (tmp_path / 'board').exists()


def test_without_tensorboard(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(sys.modules):
        if name.split('.')[0] == 'tensorboard' or name.startswith('torch.utils.tensorboard'):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, 'tensorboard', None)
    with pytest.raises(MetricDepthError, match=r'needs tensorboard: pip install'):
        train(recipe, tmp_path, tensorboard=True)
