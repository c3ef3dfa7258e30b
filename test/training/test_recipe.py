"""Recipes: what a file may say, and what it is told when it may not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml

from metric_depth_ros.methods.grin import GrinConfig
from metric_depth_ros.training.fields import signature
from metric_depth_ros.training.recipe import (
    RECIPES,
    Augmentation,
    ManifestData,
    RecipeError,
    SyntheticData,
    load_recipe,
    with_manifests,
)

INDOOR = {'frames': 6, 'width': 160, 'height': 120, 'scenes': 'indoor', 'seed': 1, 'weight': 2}
OUTDOOR = {**INDOOR, 'scenes': 'outdoor', 'weight': 0.5}


def recipe_file(folder: Path, **changes: object) -> Path:
    raw = yaml.safe_load((RECIPES / 'grin-small.yaml').read_text())
    path = folder / 'recipe.yaml'
    path.write_text(yaml.safe_dump({**raw, **changes}))
    return path


def test_every_shipped_recipe_loads() -> None:
    for path in RECIPES.glob('*.yaml'):
        assert load_recipe(path.stem) == load_recipe(path)


def test_sources_one_or_several(tmp_path: Path) -> None:
    alone = load_recipe(recipe_file(tmp_path, data=INDOOR))
    assert alone.data == (SyntheticData(6, 160, 120, 'indoor', 1, weight=2.0),)
    both = load_recipe(recipe_file(tmp_path, data=[INDOOR, OUTDOOR]))
    assert [source.scenes for source in both.data] == ['indoor', 'outdoor']
    assert [source.weight for source in both.data] == [2.0, 0.5]


def test_manifests_are_half_of_what_is_seen(tmp_path: Path) -> None:
    recipe = load_recipe(recipe_file(tmp_path, data=[INDOOR, OUTDOOR]))
    assert with_manifests(recipe, []) is recipe
    given = tmp_path / 'a.jsonl', tmp_path / 'b.jsonl'
    with pytest.raises(
        RecipeError, match=r'manifest is .*a\.jsonl.* expected a file of JSON lines'
    ):
        with_manifests(recipe, given)
    for path in given:
        path.touch()
    mine = with_manifests(recipe, given)
    assert mine.data[:2] == recipe.data
    first, second = mine.data[2:]
    assert isinstance(first, ManifestData)
    assert isinstance(second, ManifestData)
    assert (first.manifest, first.width, first.height) == (str(tmp_path / 'a.jsonl'), 192, 144)
    assert first.weight == second.weight == 1.25  # half of the 2.5 of the recipe's own


def test_augmentation(tmp_path: Path) -> None:
    wanted = {'resize': [0.8, 1], 'colour': 0}
    loaded = load_recipe(recipe_file(tmp_path, augmentation=wanted))
    assert loaded.augmentation == Augmentation(resize=(0.8, 1.0), flip=0.5, colour=0.0)


def test_config_changes_fields_of_the_preset(tmp_path: Path) -> None:
    changes = {'encoder_width': 48, 'data_scale': 1, 'read_pixels': None, 'rin': {'depth': 3}}
    loaded = load_recipe(recipe_file(tmp_path, config=changes))
    small = GrinConfig.small()
    assert loaded.architecture() == dataclasses.replace(
        small,
        encoder_width=48,
        data_scale=1.0,
        read_pixels=None,
        rin=dataclasses.replace(small.rin, depth=3),
    )


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'steps': 'many'}, "steps is 'many', expected int"),
        ({'steps': True}, 'steps is True, expected int'),
        ({'steps': 0}, 'steps is 0, expected at least 1'),
        ({'width': 100}, 'width is 100, expected a multiple of 32'),
        ({'method': 'unknown'}, "method is 'unknown', expected one of grin"),
        ({'preset': 'unknown'}, "preset is 'unknown', expected one of"),
        ({'precision': 'fp8'}, "precision is 'fp8', expected fp32 or bf16"),
        ({'base_share': 0.5}, 'base_share is 0.5, expected 0 without a base'),
        ({'base': 'default', 'base_share': 1.0}, 'base_share is 1.0, expected at least 0, below'),
        ({'optimizer': 'sgd'}, "optimizer is 'sgd', expected one of adamw, lion, muon"),
        ({'supervision': 'some'}, "supervision is 'some', expected one of dense, random, lidar"),
        ({'supervised_share': 0.0}, 'supervised_share is 0.0, expected above 0'),
        ({'flavour': 'sweet'}, 'the file has unknown flavour, expected some of name, method'),
        ({'data': 'none'}, 'data is str, expected fields'),
        ({'data': {'frames': 1}}, 'data lacks height, scenes, seed, width'),
        ({'data': [INDOOR, {**INDOOR, 'scenes': 'lunar'}]}, r"scenes is 'lunar', expected indoor"),
        ({'data': [INDOOR, {**INDOOR, 'seed': 'x'}]}, r"data\[1\].seed is 'x', expected int"),
        ({'data': {**INDOOR, 'weight': -1}}, 'weight is -1.0, expected 0 or more'),
        ({'data': {**INDOOR, 'weight': 0}}, 'expected a source of weight above 0'),
        ({'data': []}, 'expected a source of weight above 0'),
        ({'augmentation': {'resize': [1]}}, r'resize is \[1\], expected a list of 2'),
        ({'augmentation': {'resize': [1.5, 0.5]}}, r'resize is \[1.5, 0.5\], expected two'),
        ({'augmentation': {'flip': 2}}, 'flip is 2.0, expected 0 to 1'),
        (
            {'augmentation': {'contrast': [2, 1]}},
            r'contrast is \[2.0, 1.0\], expected two growing',
        ),
        ({'augmentation': {'sharpness': -1}}, r'sharpness is -1.0, expected 0 to 10'),
        ({'augmentation': {'bands': 1.5}}, r'bands is 1.5, expected 0 to 1'),
        ({'config': {'colour': 1}}, 'config has unknown colour, expected some of near, far'),
        ({'config': {'rin': {'depht': 1}}}, 'config.rin has unknown depht, expected some of'),
        ({'config': {'rin': {'depth': 'x'}}}, "config.rin.depth is 'x', expected int"),
        ({'config': {'rin': 3}}, 'config.rin is int, expected fields'),
        ({'config': {'read_pixels': 1.5}}, 'config.read_pixels is 1.5, expected int'),
        ({'config': [1]}, r'config is \[1\], expected dict'),
    ],
    ids=str,
)
def test_malformed_recipes(tmp_path: Path, changes: dict, message: str) -> None:
    path = recipe_file(tmp_path, **changes)
    with pytest.raises(RecipeError, match=message) as caught:
        load_recipe(path)
    assert str(caught.value).startswith(f'{path}: ')
    assert '\n' not in str(caught.value)


def test_a_signature_holds_what_differs_from_the_defaults(tmp_path: Path) -> None:
    recipe = load_recipe(recipe_file(tmp_path, data=[INDOOR, OUTDOOR], optimizer='lion'))
    text = signature(recipe)
    assert "optimizer='lion'" in text
    assert 'data=(SyntheticData(frames=6, width=160,' in text
    assert 'supervised_share' not in text
    assert signature(dataclasses.replace(recipe, supervised_share=0.5)) != text
    other = dataclasses.replace(recipe.data[1], seed=7)
    assert signature(dataclasses.replace(recipe, data=(recipe.data[0], other))) != text
    assert signature(load_recipe(tmp_path / 'recipe.yaml')) == text


def test_what_is_not_yaml(tmp_path: Path) -> None:
    path = tmp_path / 'recipe.yaml'
    path.write_text('steps: "')
    with pytest.raises(RecipeError, match='is not YAML'):
        load_recipe(path)


def test_unknown_recipe_names_the_known_ones() -> None:
    with pytest.raises(RecipeError, match=r"recipe is 'nothing', expected a YAML file or one of"):
        load_recipe('nothing')
