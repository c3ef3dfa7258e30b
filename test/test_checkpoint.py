"""Checkpoints: round trip, strictness, and messages that say what is wrong."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from metric_depth_ros import checkpoint
from metric_depth_ros.calibration import Calibration
from metric_depth_ros.checkpoint import Card, CheckpointError
from metric_depth_ros.layouts import card
from metric_depth_ros.methods.grin import Grin, GrinConfig
from metric_depth_ros.novelty import Novelty, fit_gaussian

CARD = Card('tiny', 'Apache-2.0', 'a test', Calibration(2.0, 0.03, 0.4), '# tiny\n')


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    checkpoint.save(tmp_path / 'tiny', Grin(GrinConfig.tiny()), CARD)
    return tmp_path / 'tiny'


def edit(folder: Path, **changes: object) -> None:
    config = json.loads((folder / 'config.json').read_text())
    for key, value in changes.items():
        if value is None:
            del config[key]
        else:
            config[key] = value
    (folder / 'config.json').write_text(json.dumps(config))


def test_round_trip(folder: Path) -> None:
    torch.manual_seed(0)
    original = Grin(GrinConfig.tiny()).state_dict()
    loaded = checkpoint.load(folder)
    assert loaded.card == CARD
    assert loaded.method.config == GrinConfig.tiny()
    assert not loaded.method.training
    for key, value in loaded.method.state_dict().items():
        assert torch.equal(value, original[key]), key
    assert sorted(path.name for path in folder.iterdir()) == [
        'README.md', 'config.json', 'model.safetensors',
    ]  # fmt: skip


def test_a_calibration_by_range_and_edges_survives(folder: Path) -> None:
    calibration = Calibration(2.0, 0.03, 0.4, (0.5, 2.0, 30.0), (1.5, 1.0, 0.5), 0.25)
    method = checkpoint.load(folder).method
    checkpoint.save(folder, method, dataclasses.replace(CARD, calibration=calibration))
    assert checkpoint.load(folder).card.calibration == calibration
    edit(folder, calibration={'std_scale': 2.0, 'std_floor': 0.03, 'std_single': math.nan})
    with pytest.raises(CheckpointError, match=r'config\.json: calibration: std_single is nan'):
        checkpoint.load(folder)


def test_the_three_numbers_of_older_checkpoints_mean_what_they_did(folder: Path) -> None:
    edit(folder, calibration={'std_scale': 2.0, 'std_floor': 0.03, 'std_single': 0.4})
    calibration = checkpoint.load(folder).card.calibration
    depth, spread = torch.tensor([[1.0, 7.0, 40.0]]), torch.tensor([[0.1, 0.2, 3.0]])
    expected = torch.hypot(2 * spread, 0.03 * depth)
    torch.testing.assert_close(calibration.of_spread(depth, spread), expected)
    torch.testing.assert_close(calibration.std(depth, depth[None]), 0.4 * depth)


def test_saving_over_an_older_checkpoint_replaces_it(folder: Path) -> None:
    torch.manual_seed(1)
    newer = Grin(GrinConfig.tiny())
    checkpoint.save(folder, newer, CARD)
    loaded = checkpoint.load(folder).method.state_dict()
    assert all(torch.equal(loaded[k], v) for k, v in newer.state_dict().items())
    assert [path.name for path in folder.parent.iterdir()] == ['tiny']  # nothing left behind


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'format': 2}, 'format is 2, expected 1'),
        ({'method': 'zoe'}, "method is 'zoe', expected one of grin"),
        ({'licence': None}, 'lacks licence'),
        ({'extra': 1}, 'has unknown extra'),
        ({'calibration': {'std_scale': 1.0}}, 'calibration lacks std_floor, std_single'),
        ({'architecture': 'small'}, 'architecture is str, expected an object'),
    ],
)
def test_malformed_config(folder: Path, changes: dict, message: str) -> None:
    edit(folder, **changes)
    with pytest.raises(CheckpointError, match=message) as caught:
        checkpoint.load(folder)
    assert 'config.json' in str(caught.value)
    assert '\n' not in str(caught.value)


def test_a_field_that_came_later_may_be_missing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dataclasses.dataclass(frozen=True)
    class Grown(Calibration):
        bias: float = dataclasses.field(default=0.5, metadata={'later': True})

    monkeypatch.setattr(card, 'Calibration', Grown)
    assert checkpoint.load(folder).card.calibration == Grown(2.0, 0.03, 0.4, bias=0.5)
    edit(folder, calibration={'std_scale': 1.0, 'std_floor': 0.1, 'bias': 0.2})
    with pytest.raises(CheckpointError, match='calibration lacks std_single'):
        checkpoint.load(folder)


def test_fields_that_came_later_mean_what_they_did(folder: Path) -> None:
    architecture = json.loads((folder / 'config.json').read_text())['architecture']
    del architecture['num_samples'], architecture['noise_schedule']
    edit(folder, architecture=architecture)
    config = checkpoint.load(folder).method.config
    assert config.num_samples == 4  # the paper's 10 are the default of new ones
    assert config.noise_schedule == (-3.0, 3.0, 1.0)


def test_config_that_is_not_json(folder: Path) -> None:
    (folder / 'config.json').write_text('{')
    with pytest.raises(CheckpointError, match=r'config\.json is not JSON'):
        checkpoint.load(folder)


@pytest.mark.parametrize('name', ['config.json', 'model.safetensors'])
def test_missing_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=f'has no {name}'):
        checkpoint.load(folder)


def test_weights_that_are_not_safetensors(folder: Path) -> None:
    (folder / 'model.safetensors').write_bytes(b'\x80\x04pickle')
    with pytest.raises(CheckpointError, match='is not a safetensors file'):
        checkpoint.load(folder)


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('rin.latents', None, r'lacks 1 tensors: rin\.latents'),
        ('rin.more', torch.zeros(2), r'has unknown 1 tensors: rin\.more'),
        ('rin.latents', torch.zeros(3, 3), r'rin\.latents has shape \(3, 3\), expected \(8, 32\)'),
        ('rin.latents', torch.full((8, 32), torch.nan), 'rin.latents holds values that are not'),
    ],
)
def test_weights_that_do_not_fit(folder: Path, key: str, value: object, message: str) -> None:
    weights = load_file(folder / 'model.safetensors')
    if value is None:
        del weights[key]
    else:
        weights[key] = value
    save_file(weights, folder / 'model.safetensors')
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(folder)


def test_unknown_model_names_the_known_ones() -> None:
    with pytest.raises(CheckpointError, match="model is 'nothing', expected one of default"):
        checkpoint.load('nothing')


def test_preset_without_weights_says_what_to_do() -> None:
    with pytest.raises(CheckpointError, match="'grin' is an architecture without weights: train"):
        checkpoint.load('grin')


def test_hub_id_that_cannot_be_had_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip('huggingface_hub')
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')
    with pytest.raises(CheckpointError, match='check the name and the network') as caught:
        checkpoint.load('nobody-at-all/nothing-at-all')
    assert '\n' not in str(caught.value)


def test_models_lists_presets_and_shipped_checkpoints() -> None:
    entries = {entry.name: entry for entry in checkpoint.models()}
    assert entries['grin'].checkpoint is None
    assert entries['grin'].parameters == pytest.approx(341_563_599, rel=0.002)
    shipped = entries[checkpoint.SHIPPED_DEFAULT]
    assert shipped.checkpoint is not None
    weights = Path(shipped.checkpoint) / 'model.safetensors'
    assert weights.stat().st_size < 25e6
    assert shipped.parameters == sum(v.numel() for v in load_file(weights).values())


def with_novelty(folder: Path) -> Card:
    """A checkpoint saved with a novelty that its calibration heeds."""
    generator = torch.Generator().manual_seed(0)
    novelty = Novelty(
        fit_gaussian(torch.randn(50, 7, generator=generator)),
        fit_gaussian(torch.randn(50, 16, generator=generator)),
    )
    heeding = dataclasses.replace(CARD.calibration, novelty_picture=1.0)
    wise = dataclasses.replace(CARD, calibration=heeding, novelty=novelty)
    checkpoint.save(folder, Grin(GrinConfig.tiny()), wise)
    return wise


def test_what_is_usual_comes_back(folder: Path) -> None:
    wise = with_novelty(folder)
    loaded = checkpoint.load(folder).card
    assert loaded.calibration == wise.calibration
    for name in ('picture', 'features'):
        mine, theirs = getattr(wise.novelty, name), getattr(loaded.novelty, name)
        assert torch.equal(mine.mean, theirs.mean)
        assert torch.equal(mine.whitening, theirs.whitening)
    alone = Novelty(wise.novelty.picture)
    checkpoint.save(folder, Grin(GrinConfig.tiny()), dataclasses.replace(wise, novelty=alone))
    assert checkpoint.load(folder).card.novelty.features is None
    checkpoint.save(folder, Grin(GrinConfig.tiny()), CARD)  # an older kind of model
    assert checkpoint.load(folder).card.novelty is None
    assert not (folder / 'novelty.safetensors').exists()


def test_a_calibration_that_heeds_novelty_needs_its_file(folder: Path) -> None:
    with_novelty(folder)
    (folder / 'novelty.safetensors').unlink()
    with pytest.raises(CheckpointError, match='which its calibration asks for'):
        checkpoint.load(folder)


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('picture.mean', None, r'lacks picture\.mean'),
        ('features.whitening', None, r'lacks features\.whitening'),
        ('more', torch.zeros(2), 'has unknown more'),
        ('features.whitening', torch.zeros(3, 3), 'whitening is torch.float32 of shape'),
        ('picture.mean', torch.full((7,), torch.nan), 'mean holds numbers that are not finite'),
        ('picture.mean', torch.zeros(7, dtype=torch.int32), 'mean is torch.int32'),
    ],
)
def test_malformed_novelty(folder: Path, key: str, value: object, message: str) -> None:
    with_novelty(folder)
    path = folder / 'novelty.safetensors'
    tensors = load_file(path)
    if value is None:
        del tensors[key]
    else:
        tensors[key] = value
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match=message) as caught:
        checkpoint.load(folder)
    assert 'novelty.safetensors' in str(caught.value)


def test_novelty_that_is_not_safetensors(folder: Path) -> None:
    with_novelty(folder)
    (folder / 'novelty.safetensors').write_bytes(b'\x80\x04pickle')  # which is never unpickled
    with pytest.raises(CheckpointError, match='is not a safetensors file'):
        checkpoint.load(folder)


def test_weights_given_in_half_precision_are_stored_in_it(folder: Path) -> None:
    """And no others: what is loaded is what was saved, to the bit."""
    method = Grin(GrinConfig.tiny())
    for parameter in method.encoder.parameters():
        parameter.data = parameter.data.half().float()
    checkpoint.save(folder, method, CARD)
    stored, given = load_file(folder / 'model.safetensors'), method.state_dict()
    assert {v.dtype for k, v in stored.items() if k.startswith('encoder.layer')} >= {torch.float16}
    assert stored['rin.latents'].dtype == torch.float32
    for key, value in checkpoint.load(folder).method.state_dict().items():
        assert value.dtype == given[key].dtype, key
        assert torch.equal(value, given[key]), key
