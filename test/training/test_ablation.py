"""Suites of ablations on a tiny recipe: what they say, and that what is done is not done again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

from metric_depth_ros.evaluation.metrics import PLAIN, best_constant, mean_scores
from metric_depth_ros.methods.grin import Grin, GrinConfig
from metric_depth_ros.training import ablation
from metric_depth_ros.training.ablation import Bench, Table, ablate
from metric_depth_ros.training.data import FramePool
from metric_depth_ros.training.fields import RecipeError
from metric_depth_ros.training.recipe import Recipe, load_recipe
from metric_depth_ros.training.suite import SUITES, Suite, load_suite, merged

FRAMES = {'frames': 8, 'width': 64, 'height': 32, 'scenes': 'indoor', 'seed': 1}
SUITE = {
    'base': 'grin-small-gpu',
    'changes': {
        'preset': 'tiny', 'data': FRAMES, 'validation': {**FRAMES, 'seed': 2, 'frames': 4},
        'width': 64, 'height': 32, 'steps': 2, 'batch_size': 2, 'precision': 'fp32',
    },
    'variants': {
        'full': {'what': 'everything'},
        'linear': {'what': 'linear code', 'changes': {'config': {'code_base': 1.0}}},
        'single': {'what': 'one sample', 'weights_of': 'full', 'num_samples': 1},
        'head': {'what': 'its head', 'weights_of': 'full', 'regression': True},
    },
}  # fmt: skip


@pytest.fixture(autouse=True)
def tiny_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(Grin.PRESETS, 'tiny', GrinConfig.tiny)


def write(folder: Path, **changes: object) -> Path:
    path = folder / 'mine.yaml'
    path.write_text(yaml.safe_dump(merged(SUITE, changes), sort_keys=False))
    return path


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return load_suite(write(tmp_path))


@pytest.mark.parametrize('path', sorted(SUITES.glob('*.yaml')), ids=lambda path: path.stem)
def test_the_suites_of_the_package_make_sense(path: Path) -> None:
    suite = load_suite(path.stem)
    assert len({recipe.steps for recipe in suite.recipes.values()}) == 1
    trained = [name for name, variant in suite.variants.items() if not variant.weights_of]
    recipes = {str(suite.recipes[name]).replace(f'{suite.name}-{name}', '') for name in trained}
    assert len(recipes) == len(trained), 'two variants are the same'


def test_a_change_leaves_the_fields_that_it_does_not_name(suite: Suite) -> None:
    full, linear = suite.recipes['full'], suite.recipes['linear']
    assert full.architecture() == GrinConfig.tiny()
    assert linear.architecture().code_base == 1.0
    assert linear.architecture().rin == GrinConfig.tiny().rin
    assert linear.data == full.data
    assert (full.name, linear.name) == ('mine-full', 'mine-linear')
    assert merged({'a': {'b': 1, 'c': [1]}}, {'a': {'c': [2]}}) == {'a': {'b': 1, 'c': [2]}}


@pytest.mark.parametrize(
    ('variant', 'message'),
    [
        ({'what': 'x', 'changes': {'colour': 'red'}}, r'variants\.new: .* unknown colour'),
        ({'what': 'x', 'weights_of': 'single'}, r'weights_of is .single., expected one of full'),
        ({'what': 'x', 'weights_of': 'full', 'changes': {'seed': 1}}, 'expected one of them'),
        ({'what': 'x', 'changes': {'validation': {'seed': 5}}}, 'same for all variants'),
        ({'what': 'x', 'num_samples': 0}, 'num_samples is 0'),
        (
            {'what': 'x', 'begins_with': 'new'},
            r'begins_with is .new., expected one that is trained '
            r'before: full, linear',
        ),
        ({'changes': {}}, r'variants\.new lacks what'),
    ],
)
def test_a_senseless_variant_is_an_error(tmp_path: Path, variant: dict, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_suite(write(tmp_path, variants={'new': variant}))


def test_unknown_names_are_errors(suite: Suite, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match='expected a YAML file or one of'):
        load_suite('no-such-suite')
    with pytest.raises(ablation.MetricDepthError, match='expected one of full, linear, single'):
        ablate(suite, tmp_path / 'out', only=['ful'])


def test_a_variant_goes_on_from_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip('diffusers')
    path = tmp_path / 'mine.yaml'
    second = {'what': 'second', 'begins_with': 'first', 'changes': {'learning_rate': 0.5}}
    raw = {
        'base': 'depthmaster-small-stage1',
        'variants': {'first': {'what': 'first'}, 'second': second},
    }
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    trained = []

    def remember(recipe: Recipe, folder: Path, **kwargs: object) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        trained.append((recipe.name, recipe.base, recipe.learning_rate))
        return folder / 'checkpoint'

    monkeypatch.setattr(ablation, 'train', remember)
    monkeypatch.setattr(Bench, '_sets', lambda *args: {})
    expected = [
        ('mine-first', load_recipe('depthmaster-small-stage1').base, 0.01),
        ('mine-second', str(tmp_path / 'out' / 'first' / 'checkpoint'), 0.5),
    ]
    for _ in range(2):  # the second time nothing is left to do
        bench = Bench(load_suite(path), tmp_path / 'out', tmp_path, [], torch.device('cpu'))
        bench.train('second', lambda: False, lambda name, progress: None)
        assert trained == expected

    raw['variants']['first']['changes'] = {'seed': 7}  # then the second is another too
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    bench = Bench(load_suite(path), tmp_path / 'out', tmp_path, [], torch.device('cpu'))
    bench.train('second', lambda: False, lambda name, progress: None)
    assert trained == 2 * expected


def test_a_suite_becomes_a_table_once(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / 'out'
    part = ablate(suite, out, only=['full'])
    assert isinstance(part, Table)
    assert [row.name for row in part.rows] == ['full']
    stopped = ablate(suite, out, stop=lambda: True)
    assert stopped is None  # after the first step of linear

    table = ablate(suite, out)
    assert table is not None
    assert [row.name for row in table.rows] == ['full', 'linear', 'single', 'head']
    assert part.rows[0] == table.rows[0]
    abs_rel = {row.name: row.sets['held-out scenes'].plain.abs_rel for row in table.rows}
    assert len(set(abs_rel.values())) == 4
    assert all(value > 0 for value in abs_rel.values())
    assert not (out / 'single' / 'state.safetensors').exists()

    text = (out / 'table.md').read_text()
    assert f'| full: everything | {abs_rel["full"]:.3f} | +0% |' in text
    assert json.loads((out / 'table.json').read_text())['rows'][1]['name'] == 'linear'

    pool = FramePool(next((out / 'frames').glob('heldout-*')))
    batch = pool.batch(list(range(4)))
    truths = list((batch.ray_distance * batch.rays[:, 2]).where(batch.valid, torch.nan))
    constant = best_constant(truths)
    expected = mean_scores([PLAIN.score(torch.full_like(t, constant), t) for t in truths])
    assert table.baselines['best constant']['held-out scenes'].plain == expected

    def no_training(*args: object, **kwargs: object) -> None:
        raise AssertionError('trained again')

    monkeypatch.setattr(ablation, 'train', no_training)
    assert ablate(suite, out) == table
