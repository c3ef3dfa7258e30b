"""Batches from several sources, in stages and in parts."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from metric_depth_ros.training.feed import Feed
from metric_depth_ros.training.recipe import (
    Augmentation,
    Recipe,
    RecipeError,
    Stage,
    SyntheticData,
    load_recipe,
)
from metric_depth_ros.training.sources import fill_pool, pool_name
from metric_depth_ros.training.switches import without

CPU = torch.device('cpu')
INDOOR = SyntheticData(6, 64, 32, 'indoor', 1, weight=1.0)
OUTDOOR = SyntheticData(6, 64, 32, 'outdoor', 1, weight=3.0)


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp('frames')


@pytest.fixture
def recipe() -> Recipe:
    still = Augmentation(resize=(1.0, 1.0), flip=0.0, colour=0.0)
    return dataclasses.replace(
        load_recipe('grin-small'), data=(INDOOR, OUTDOOR), width=64, height=32, batch_size=8,
        steps=6, augmentation=still, supervision='dense', supervised_share=1.0, stages=(),
        accumulate=1,
    )  # fmt: skip


def feed(recipe: Recipe, folder: Path) -> Feed:
    pools = [fill_pool(folder / pool_name(s), s, 'train') for s in recipe.data]
    return Feed(recipe, pools)


def batch(recipe: Recipe, folder: Path, step: int, **part: int):
    return feed(recipe, folder).batch(step, torch.Generator().manual_seed(step), CPU, **part)


def test_a_batch_holds_the_frames_of_the_schedule(recipe: Recipe, folder: Path) -> None:
    whole = feed(recipe, folder)
    indoor, outdoor = whole.schedule.step(1)
    assert (len(indoor), len(outdoor)) == (2, 6)
    got = whole.batch(1, torch.Generator().manual_seed(0), CPU)
    expected = [p.batch(i) for p, i in zip(whole.pools, (indoor, outdoor), strict=True)]
    images = torch.cat([e.image for e in expected])
    torch.testing.assert_close(got.image, images, atol=1e-4, rtol=0)


def test_the_parts_of_a_batch_are_the_batch_and_each_is_mixed(
    recipe: Recipe, folder: Path
) -> None:
    whole = batch(recipe, folder, 0)
    parts = [batch(recipe, folder, 0, part=i, parts=2) for i in range(2)]
    assert [len(part.image) for part in parts] == [4, 4]
    together = torch.cat([part.ray_distance for part in parts]).flatten(1)
    for row in whole.ray_distance.flatten(1):
        assert (together == row).all(1).any() or row.isnan().any()
    pool = fill_pool(folder / pool_name(INDOOR), INDOOR, 'train')
    rooms = pool.batch(list(range(6))).ray_distance.flatten(1).nan_to_num(-1)
    for part in parts:  # a quarter of each is indoors
        rows = part.ray_distance.flatten(1).nan_to_num(-1)
        assert sum(bool((rooms == row).all(1).any()) for row in rows) == 1


def test_stages_change_the_mixture_and_the_size(recipe: Recipe, folder: Path) -> None:
    stages = (Stage(2, weights=(1.0, 0.0), width=32, height=32), Stage(4))
    staged = feed(dataclasses.replace(recipe, stages=stages), folder)
    counts = [[len(i) for i in staged.schedule.step(k)] for k in range(6)]
    assert counts == [[8, 0]] * 2 + [[2, 6]] * 4
    sizes = [staged.batch(k, torch.Generator(), CPU).image.shape[-2:] for k in range(6)]
    assert sizes == [(32, 32)] * 2 + [(32, 64)] * 4


def test_sparse_pixels_are_the_same_every_epoch(recipe: Recipe, folder: Path) -> None:
    """Six indoor frames, two a batch: steps 0 and 3, 1 and 4, 2 and 5 are of different epochs."""
    sparse = feed(dataclasses.replace(recipe, supervision='random', supervised_share=0.05), folder)
    seen: dict[int, list[torch.Tensor]] = {}
    for step in range(6):
        got = sparse.batch(step, torch.Generator().manual_seed(step), CPU)
        for frame, valid in zip(sparse.schedule.step(step)[0], got.valid, strict=False):
            seen.setdefault(frame, []).append(valid)
    assert len(seen) == 6
    for first, second in seen.values():
        assert torch.equal(first, second)
        assert 0.02 < first.float().mean() <= 0.05


def test_without_turns_off_by_name() -> None:
    appearance, content = without(['gloss', 'noise', 'people'])
    assert not appearance.gloss
    assert appearance.sensor.noise == 0
    assert not content.people
    assert appearance.shadows
    assert appearance.sensor.exposure > 0
    assert content.parts
    nothing, _ = without(['sensor'])
    assert set(dataclasses.asdict(nothing.sensor).values()) == {0}
    with pytest.raises(RecipeError, match=r'without has unknown taste, expected some of .*gloss'):
        without(['taste'])


def test_frames_without_something_are_other_frames(folder: Path) -> None:
    less = dataclasses.replace(INDOOR, without=('sensor', 'textures'))
    assert pool_name(less) != pool_name(INDOOR)
    plain = fill_pool(folder / pool_name(INDOOR), INDOOR, 'train').batch(list(range(6)))
    bare = fill_pool(folder / pool_name(less), less, 'train').batch(list(range(6)))
    assert torch.equal(bare.rays, plain.rays)
    torch.testing.assert_close(bare.ray_distance, plain.ray_distance, equal_nan=True)
    assert not torch.equal(bare.image, plain.image)
    with pytest.raises(RecipeError, match='without has unknown taste'):
        dataclasses.replace(INDOOR, without=('taste',))
