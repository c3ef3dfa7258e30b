"""DepthMaster's losses against values by hand; that they fall; that a run goes on exactly."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from metric_depth_ros import checkpoint, geometry
from metric_depth_ros.checkpoint import Card
from metric_depth_ros.errors import MetricDepthError
from metric_depth_ros.methods.depthmaster import DepthMaster, DepthMasterConfig
from metric_depth_ros.methods.grin import Grin, GrinConfig
from metric_depth_ros.methods.metricgold import MetricGold, MetricGoldConfig
from metric_depth_ros.nn.latent import LatentConfig, LatentNetwork
from metric_depth_ros.training.batch import Batch
from metric_depth_ros.training.beginning import initial_method
from metric_depth_ros.training.curve import Curve
from metric_depth_ros.training.feature_encoder import load_encoder
from metric_depth_ros.training.objectives import depthmaster
from metric_depth_ros.training.objectives.depthmaster import (
    DIRECTIONS,
    feature_divergence,
    gradient_loss,
    loss,
    modified_huber,
    neighbours,
)
from metric_depth_ros.training.recipe import RECIPES, Recipe, load_recipe
from metric_depth_ros.training.run import Run
from metric_depth_ros.training.workers import joined
from metric_depth_ros.types import Camera

pytest.importorskip('diffusers')

HEIGHT, WIDTH = 32, 48
TINY = DepthMasterConfig.tiny()
STAGE1 = {
    'fourier': False, 'latent_weight': 1.0, 'alignment_weight': 1.0, 'pixel_weight': 0.0,
    'gradient_weight': 0.0,
}  # fmt: skip
CPU = torch.device('cpu')


@pytest.fixture(scope='module')
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny random GRIN."""
    folder = tmp_path_factory.mktemp('encoders') / 'grin'
    torch.manual_seed(0)
    checkpoint.save(folder, Grin(GrinConfig.tiny()), Card('tiny', 'Apache-2.0', 'a test'))
    return str(folder)


@pytest.fixture(scope='module')
def first_stage(encoder: str) -> DepthMasterConfig:
    width = GrinConfig.tiny().global_width
    return replace(TINY, **STAGE1, encoder=encoder, encoder_width=width)


def begun(config: DepthMasterConfig) -> DepthMaster:
    torch.manual_seed(0)
    return DepthMaster.on(LatentNetwork(LatentConfig.tiny(8)), config)


def batch(count: int = 2) -> Batch:
    camera = Camera(50, 50, (WIDTH - 1) / 2, (HEIGHT - 1) / 2, WIDTH, HEIGHT)
    rays = geometry.rays(camera).permute(2, 0, 1).expand(count, -1, -1, -1)
    image = torch.rand(count, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    distance = torch.linspace(1, 20, WIDTH).expand(count, HEIGHT, WIDTH).clone()
    distance[:, 8:20, 10:30] = 1.5
    distance[:, :4] = torch.inf
    inside = torch.ones(count, HEIGHT, WIDTH, dtype=torch.bool)
    return Batch(2 * image - 1, rays, distance, distance.isfinite(), inside)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ---- Eq. 5 ----------------------------------------------------------------------------------


def test_divergence_of_features_by_hand() -> None:
    # softmax of logs of probabilities are those probabilities; a constant does not matter
    true, said = torch.tensor([0.5, 0.25, 0.25]), torch.tensor([0.25, 0.25, 0.5])
    found = feature_divergence(true.log().view(1, 3, 1, 1) + 7, said.log().view(1, 3, 1, 1) - 3)
    assert found.item() == pytest.approx(0.5 * math.log(2) - 0.25 * math.log(2), abs=1e-6)
    assert feature_divergence(said.view(1, 3, 1, 1), said.view(1, 3, 1, 1)).item() == 0


def test_the_middle_block_learns_to_resemble_the_encoder(first_stage: DepthMasterConfig) -> None:
    method = begun(replace(first_stage, latent_weight=0.0))
    whole = loss(method, batch(), generator())
    assert set(whole) == {'loss', 'alignment'}
    whole['loss'].backward()
    learning = {name for name, p in method.named_parameters() if p.grad is not None}
    assert any(name.startswith('projector.') for name in learning)
    assert any('unet.mid_block' in name for name in learning)
    assert not any('unet.up_blocks' in name or 'vae' in name for name in learning)


def test_cells_outside_the_image_are_not_aligned(first_stage: DepthMasterConfig) -> None:
    method = begun(first_stage).eval()
    x = batch()
    middle = torch.randn(2, 16, HEIGHT // 8, WIDTH // 8, generator=generator())
    x.inside[:, :, WIDTH // 2 :] = False
    changed = middle.clone()
    changed[..., WIDTH // 16 :] += 1
    one, other = (depthmaster.alignment_loss(method, x, m) for m in (middle, changed))
    assert one == other
    changed[..., 0] += 1
    assert depthmaster.alignment_loss(method, x, changed) != one


def test_dinov2_s_patches_in_their_places(tmp_path: Path) -> None:
    transformers = pytest.importorskip('transformers')
    torch.manual_seed(0)
    config = transformers.Dinov2Config(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, patch_size=14, image_size=42
    )
    network = transformers.Dinov2Model(config).eval()
    network.save_pretrained(tmp_path / 'dino')
    x = replace(batch(), image=torch.rand(2, 3, 35, 57, generator=generator()))
    x = replace(x, rays=x.image, inside=torch.ones(2, 35, 57, dtype=torch.bool))
    found = load_encoder(str(tmp_path / 'dino'), CPU)(x)
    assert found.shape == (2, 8, 3, 4)  # 42 x 56 pixels
    resized = torch.nn.functional.interpolate(x.image, (42, 56), mode='bilinear', antialias=True)
    mean, std = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    pixels = ((resized + 1) / 2 - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[
        :, None, None
    ]
    with torch.no_grad():
        tokens = network(pixel_values=pixels).last_hidden_state
    torch.testing.assert_close(found[1, :, 2, 1], tokens[1, 1 + 2 * 4 + 1], atol=1e-5, rtol=1e-4)


def test_an_encoder_that_will_not_do(first_stage: DepthMasterConfig, tmp_path: Path) -> None:
    method = begun(replace(first_stage, encoder_width=7))
    with pytest.raises(MetricDepthError, match='has 16 channels, expected 7, the'):
        loss(method, batch(), generator())
    fresh = DepthMaster(replace(first_stage, latent=LatentConfig.tiny(4)))
    with pytest.raises(MetricDepthError, match='no projector to align features with: train it'):
        loss(fresh, batch(), generator())
    with pytest.raises(MetricDepthError, match='nowhere'):
        load_encoder('nowhere', CPU)
    checkpoint.save(
        tmp_path / 'gold', MetricGold(MetricGoldConfig.tiny()), Card('gold', 'Apache-2.0', 'a')
    )
    with pytest.raises(MetricDepthError, match='is a MetricGold, expected a Grin or a vision'):
        load_encoder(str(tmp_path / 'gold'), CPU)


# ---- Eq. 8 ----------------------------------------------------------------------------------


def test_the_modified_huber_is_as_printed() -> None:
    error = torch.tensor([0.0, 0.05, 0.1, 0.2, -1.0])
    found = modified_huber(error, torch.zeros(5), delta=0.1)
    expected = [0, 0.1 * 0.05, 0.1 * 0.1, 0.02 + 0.005, 0.5 + 0.005]
    assert found.tolist() == pytest.approx(expected, abs=1e-7)
    near = modified_huber(torch.tensor([0.1 - 1e-6, 0.1 + 1e-6]), torch.zeros(2), delta=0.1)
    assert near[0] == pytest.approx(near[1].item(), abs=1e-6)  # continuous


def test_neighbours_in_four_directions() -> None:
    values = torch.arange(12.0).reshape(1, 3, 4)
    differences = [other - one for one, other in (neighbours(values, d) for d in DIRECTIONS)]
    assert [d.shape[1:] for d in differences] == [(3, 3), (2, 4), (2, 3), (2, 3)]
    assert [d.unique().tolist() for d in differences] == [[1], [4], [5], [3]]


@pytest.mark.parametrize('standard', [False, True])
def test_the_gradient_loss_by_hand(standard: bool) -> None:
    true = torch.zeros(1, 2, 2)
    predicted = torch.tensor([[[0.0, 1.0], [0.05, 0.0]]])
    # differences: 1, -0.05 along rows; 0.05, -1 down columns; 0 and -0.95 on the diagonals
    huber = (lambda e: 0.1 * (e - 0.05) if e > 0.1 else 0.5 * e * e) if standard else (
        lambda e: 0.5 * e * e + 0.005 if e > 0.1 else 0.1 * e
    )  # fmt: skip
    expected = sum(map(huber, (1, 0.05, 0.05, 1, 0, 0.95))) / 6
    known = torch.ones(1, 2, 2, dtype=torch.bool)
    found = gradient_loss(predicted, true, known, 0.1, standard)
    assert found.item() == pytest.approx(expected, abs=1e-6)
    known[0, 0, 1] = False  # leaves 0.05 down and 0 on one diagonal and 0.05 along a row
    found = gradient_loss(predicted, true, known, 0.1, standard)
    assert found.item() == pytest.approx(sum(map(huber, (0.05, 0.05, 0))) / 3, abs=1e-6)


# ---- whole ----------------------------------------------------------------------------------


@pytest.mark.parametrize('stage', [1, 2])
def test_the_loss_falls_on_one_batch(first_stage: DepthMasterConfig, stage: int) -> None:
    method = begun(first_stage if stage == 1 else TINY)
    before = {k: v.clone() for k, v in method.latent.vae.state_dict().items()}
    optimizer = torch.optim.Adam([p for p in method.parameters() if p.requires_grad], lr=3e-3)
    losses = []
    for _ in range(25):
        losses.append(loss(method, batch(), generator()))
        optimizer.zero_grad()
        losses[-1]['loss'].backward()
        optimizer.step()
    parts = {'latent', 'alignment'} if stage == 1 else {'pixel', 'gradient'}
    assert set(losses[0]) == {'loss', *parts}
    for name in ('loss', *parts):
        assert losses[-1][name] < 0.8 * losses[0][name], name
    assert all(torch.equal(v, before[k]) for k, v in method.latent.vae.state_dict().items())


def test_the_parts_add_up(first_stage: DepthMasterConfig) -> None:
    both = replace(first_stage, alignment_weight=0.5, pixel_weight=2.0, gradient_weight=3.0)
    losses = loss(begun(both).eval(), batch(), generator())
    parts = [(1, 'latent'), (0.5, 'alignment'), (2, 'pixel'), (3, 'gradient')]
    expected = sum(weight * losses[name] for weight, name in parts)
    torch.testing.assert_close(losses['loss'], expected)


@pytest.mark.parametrize('weight', ['latent_weight', 'pixel_weight'])
def test_pixels_without_truth_have_no_influence(weight: str) -> None:
    weights = {'pixel_weight': 0.0, 'gradient_weight': 0.0, 'latent_weight': 0.0, weight: 1.0}
    method = begun(replace(TINY, **weights)).eval()
    known = torch.ones(2, HEIGHT, WIDTH, dtype=torch.bool)
    known[:, :, : 2 * method.latent.stride] = False
    whole = batch()
    losses = []
    for hidden in (torch.nan, 5.0):
        distance = whole.ray_distance.where(known, hidden)
        changed = replace(whole, ray_distance=distance, valid=whole.valid & known)
        losses.append(loss(method, changed, generator())['loss'])
    assert losses[0].isfinite()
    assert losses[0] == losses[1]
    nothing = replace(whole, valid=known & False, inside=known & False)
    assert loss(method, nothing, generator())['loss'] == 0


def test_the_denoising_paradigm_learns_as_marigold_does(first_stage: DepthMasterConfig) -> None:
    method = begun(replace(first_stage, denoise=True)).eval()
    assert method.latent.unet.config.in_channels == 8
    one, again, other = (loss(method, batch(), generator(seed)) for seed in (0, 0, 1))
    assert set(one) == {'loss', 'latent', 'alignment'}
    assert one['latent'] == again['latent'] != other['latent']
    fixed = begun(first_stage).eval()
    assert loss(fixed, batch(), generator(0))['loss'] == loss(fixed, batch(), generator(1))['loss']


class OneBatch:
    """A Feed that has one batch alone."""

    def batch(self, step: int, *args: object, **kwargs: object) -> Batch:
        return batch()


@pytest.fixture
def recipe(encoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """The first stage from a tiny MetricGold."""
    monkeypatch.setitem(DepthMaster.PRESETS, 'tiny', DepthMasterConfig.tiny)
    torch.manual_seed(0)
    base = MetricGold(MetricGoldConfig.tiny())
    checkpoint.save(tmp_path / 'base', base, Card('base', 'Apache-2.0', 'a test'))
    config = {**STAGE1, 'encoder': encoder, 'encoder_width': GrinConfig.tiny().global_width}
    return replace(
        load_recipe('depthmaster-small-stage1'), preset='tiny', base=str(tmp_path / 'base'),
        config=config, batch_size=2, precision='fp32',
    )  # fmt: skip


def test_a_run_goes_on_exactly(recipe: Recipe, tmp_path: Path) -> None:
    with joined(CPU) as workers:
        torch.manual_seed(recipe.seed)
        run = Run(recipe, initial_method(recipe), workers)
        curve = Curve(tmp_path / 'curve.jsonl')
        curve.start()
        for step in range(4):
            if step == 2:
                run.save(tmp_path / 'state.safetensors', step, curve)
            run.step(step, OneBatch())  # type: ignore[arg-type]
        again = Run(recipe, initial_method(recipe), workers)  # another random projector
        start = again.load(tmp_path / 'state.safetensors', curve)
        for step in range(start, 4):
            again.step(step, OneBatch())  # type: ignore[arg-type]
    one, other = run.tensors(), again.tensors()
    assert start == 2
    assert any(name.startswith('method.projector') for name in one)
    assert not any('encoder' in name for name in one if 'vae' not in name)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_what_training_alone_needs_is_not_published(recipe: Recipe, tmp_path: Path) -> None:
    method = initial_method(recipe).eval()
    assert method.projector is not None
    checkpoint.save(tmp_path / 'stage1', method, Card('first', 'Apache-2.0', 'a test'))
    assert not (tmp_path / 'stage1' / 'metric_depth.safetensors').exists()
    loaded = checkpoint.load(tmp_path / 'stage1').method
    assert loaded.projector is None  # type: ignore[attr-defined]
    second = replace(recipe, base=str(tmp_path / 'stage1'), config={})
    assert initial_method(second).projector is None


def test_the_recipes_are_the_two_stages() -> None:
    for name in ('depthmaster', 'depthmaster-small'):
        first, second = (load_recipe(f'{name}-stage{i}') for i in (1, 2))
        config = SimpleNamespace(one=first.architecture(), two=second.architecture())
        assert {k: getattr(config.one, k) for k in STAGE1} == STAGE1
        assert config.two.fourier
        assert (config.two.latent_weight, config.two.alignment_weight) == (0, 0)
        assert config.two.pixel_weight == 1
        assert second.base == f'runs/{first.name}/checkpoint'
        assert (RECIPES / f'{first.name}.yaml').is_file()
        assert second.learning_rate < first.learning_rate
        assert first.data == second.data
    paper = load_recipe('depthmaster-stage2').architecture()
    assert (paper.gradient_weight, paper.power, paper.low, paper.high) == (0.001, -0.5, 0.02, 0.98)
