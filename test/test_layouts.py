"""Latent checkpoints: what a method has beside the public parts lies beside them, strictly."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from metric_depth_ros import checkpoint
from metric_depth_ros.checkpoint import Card, CheckpointError
from metric_depth_ros.methods import METHODS
from metric_depth_ros.methods.metricgold import MetricGold, MetricGoldConfig

diffusers = pytest.importorskip('diffusers')

CARD = Card('tiny', 'Apache-2.0', 'a test')
EXTRA = 'metric_depth.safetensors'


class Adorned(MetricGold):
    """MetricGold with a layer beside its latent network and one inside it."""

    def __init__(self, config: MetricGoldConfig, latent: object = None) -> None:
        super().__init__(config, latent)
        self.head = torch.nn.Linear(3, 2)
        self.latent.inner = torch.nn.Linear(2, 2)


@pytest.fixture(scope='module')
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp('saved') / 'tiny'
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(METHODS, 'adorned', Adorned)
        checkpoint.save(folder, Adorned(MetricGoldConfig.tiny()), CARD)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(METHODS, 'adorned', Adorned)
    for path in saved.rglob('*'):
        if path.is_file():
            copy = tmp_path / 'tiny' / path.relative_to(saved)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    return tmp_path / 'tiny'


def test_what_lies_beside_the_parts_comes_back(folder: Path) -> None:
    assert set(load_file(folder / EXTRA)) == {
        'head.weight', 'head.bias', 'latent.inner.weight', 'latent.inner.bias',
    }  # fmt: skip
    method = checkpoint.load(folder).method
    assert isinstance(method, Adorned)
    torch.manual_seed(0)
    for key, value in Adorned(MetricGoldConfig.tiny()).state_dict().items():
        assert torch.equal(value, method.state_dict()[key]), key


def test_diffusers_opens_the_rest(folder: Path) -> None:
    pipeline = diffusers.MarigoldDepthPipeline.from_pretrained(
        folder, text_encoder=None, tokenizer=None
    )
    mine = checkpoint.load(folder).method.latent.unet.state_dict()
    for key, value in pipeline.unet.state_dict().items():
        assert torch.equal(value, mine[key])


def test_a_method_that_has_nothing_beside_leaves_no_file(folder: Path) -> None:
    plain = MetricGold(MetricGoldConfig.tiny())
    checkpoint.save(folder, plain, CARD)
    assert not (folder / EXTRA).exists()
    assert type(checkpoint.load(folder).method) is MetricGold


def test_files_that_do_not_fit(folder: Path) -> None:
    tensors = load_file(folder / EXTRA)
    save_file({**tensors, 'more': torch.zeros(1)}, folder / EXTRA)
    with pytest.raises(CheckpointError, match='has unknown 1 tensors: more'):
        checkpoint.load(folder)
    save_file({**tensors, 'head.bias': torch.full((2,), torch.nan)}, folder / EXTRA)
    with pytest.raises(CheckpointError, match=r'head\.bias holds values that are not finite'):
        checkpoint.load(folder)
    (folder / EXTRA).unlink()
    with pytest.raises(CheckpointError, match=rf'has no {EXTRA}, expected 4 tensors of adorned'):
        checkpoint.load(folder)


def test_an_interrupted_save_leaves_the_older_checkpoint(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in folder.rglob('*') if path.is_file()}

    def fail(*_: object) -> None:
        raise OSError('no space left on device')

    monkeypatch.setattr('metric_depth_ros.layouts.latent.save_file', fail)
    with pytest.raises(OSError, match='no space'):
        checkpoint.save(folder, Adorned(MetricGoldConfig.tiny()), dataclasses.replace(CARD))
    assert {p: p.read_bytes() for p in folder.rglob('*') if p.is_file()} == before
    assert [path.name for path in folder.parent.iterdir()] == ['tiny']
