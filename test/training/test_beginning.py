"""A run of GRIN that begins with another's weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from metric_depth_ros import checkpoint
from metric_depth_ros.calibration import Calibration
from metric_depth_ros.checkpoint import Card
from metric_depth_ros.errors import MetricDepthError
from metric_depth_ros.methods.grin import Grin, GrinConfig
from metric_depth_ros.training.beginning import PRETRAINED, initial_method, take_weights
from metric_depth_ros.training.loop import train
from metric_depth_ros.training.recipe import Recipe, load_recipe

from .test_loop import DATA


@pytest.fixture
def base(tmp_path: Path) -> Path:
    torch.manual_seed(4)
    card = Card('base', 'Apache-2.0', 'a test', Calibration())
    checkpoint.save(tmp_path / 'base', Grin(GrinConfig.tiny()), card)
    return tmp_path / 'base'


@pytest.fixture
def recipe(base: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    monkeypatch.setitem(Grin.PRESETS, 'tiny', GrinConfig.tiny)
    return dataclasses.replace(
        load_recipe('grin-small-stage2'), preset='tiny', config={'refine_width': 8},
        base=str(base), data=(DATA,),
        validation=DATA, width=64, height=32,
    )  # fmt: skip


def test_it_begins_where_the_base_ended(recipe: Recipe, base: Path) -> None:
    method = initial_method(recipe)
    given = checkpoint.load(base).method.state_dict()
    assert given.keys() < method.state_dict().keys()  # the refinement is new
    for key, value in given.items():
        assert torch.equal(method.state_dict()[key], value), key


def test_another_architecture_is_refused(recipe: Recipe) -> None:
    broad = dataclasses.replace(recipe, config={'encoder_width': 16})
    with pytest.raises(MetricDepthError, match=r'another architecture .* is \[.*\], expected \['):
        initial_method(broad)
    no_patches = dataclasses.replace(recipe, config={'local_width': 0})
    with pytest.raises(MetricDepthError, match=r'patches.project.bias is \[8\], expected missing'):
        initial_method(no_patches)


def test_the_refinement_of_a_base_is_not_thrown_away(recipe: Recipe, tmp_path: Path) -> None:
    card = Card('base', 'Apache-2.0', 'a test', Calibration())
    checkpoint.save(tmp_path / 'refined', initial_method(recipe), card)
    without = dataclasses.replace(recipe, base=str(tmp_path / 'refined'), config={})
    with pytest.raises(MetricDepthError, match=r'refinement.* is \[.*\], expected missing'):
        initial_method(without)


def test_a_base_of_another_kind_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(MetricDepthError, match=r"model is '.*nowhere', expected one of"):
        initial_method(dataclasses.replace(recipe, base=str(tmp_path / 'nowhere')))
    with pytest.raises(MetricDepthError, match="base is 'lines', a Linear, expected a Grin"):
        take_weights(initial_method(recipe), nn.Linear(2, 2), 'lines')


def test_the_shipped_model_can_be_gone_on_with() -> None:
    method = initial_method(load_recipe('grin-small-finetune'))
    shipped = checkpoint.load('default').method
    # Where it has learned its own depth errs less, so the prior is to count for less.
    assert method.config == dataclasses.replace(shipped.config, depth_prior=0.08)
    for key, value in shipped.state_dict().items():
        assert torch.equal(method.state_dict()[key], value), key


def test_frozen_parts_stay_as_they_are(recipe: Recipe, base: Path, tmp_path: Path) -> None:
    frozen = ('encoder', 'pyramid', 'regression', 'refinement')
    short = dataclasses.replace(
        recipe, frozen=frozen, steps=3, batch_size=4, warmup_steps=1, precision='fp32',
        ema_decay=0.5,
    )  # fmt: skip
    folder = train(short, tmp_path / 'run')
    before = checkpoint.load(base).method.state_dict()
    after = checkpoint.load(folder).method.state_dict()
    changed = {key.split('.')[0] for key in before if not torch.equal(before[key], after[key])}
    assert not changed & set(frozen)
    assert {'rin', 'head', 'to_local'} <= changed
    with pytest.raises(MetricDepthError, match="frozen is 'eye', expected a part of the method: "):
        train(dataclasses.replace(short, frozen=('eye',)), tmp_path / 'other')
    with pytest.raises(MetricDepthError, match=r"frozen is \('rin',\), expected none without a b"):
        dataclasses.replace(recipe, base=None, frozen=('rin',))


def test_what_has_learned_from_photographs_is_there_from_the_start(recipe: Recipe) -> None:
    both = {**recipe.config, 'pretrained_scales': [1], 'depth_prior': 0.25}
    for base in (recipe.base, None):
        method = initial_method(dataclasses.replace(recipe, config=both, base=base))
        for part, path in PRETRAINED.items():
            network, given = getattr(method, part).network.state_dict(), load_file(path)
            assert network.keys() == given.keys()
            for key, value in network.items():
                assert torch.equal(value, given[key].float()), key


@pytest.mark.parametrize('part', PRETRAINED)
def test_the_shipped_model_looks_through_those_weights(part: str) -> None:
    network = getattr(checkpoint.load('default').method, part).network.state_dict()
    for key, value in load_file(PRETRAINED[part]).items():
        assert torch.equal(network[key], value.float()), key
