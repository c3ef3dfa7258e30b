"""MetricGold: its codes, its sampler beside diffusers' own, its folders, its objective."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from metric_depth_ros import checkpoint, geometry
from metric_depth_ros.checkpoint import Card
from metric_depth_ros.errors import MetricDepthError
from metric_depth_ros.methods import METHODS
from metric_depth_ros.methods.metricgold import MetricGold, MetricGoldConfig
from metric_depth_ros.nn import latent_folder
from metric_depth_ros.nn.latent import (
    LatentConfig,
    LatentError,
    LatentNetwork,
    import_diffusers,
    multi_resolution_noise,
    widen,
)
from metric_depth_ros.predictor import Predictor, load_predictor
from metric_depth_ros.training.batch import Batch
from metric_depth_ros.training.beginning import initial_method
from metric_depth_ros.training.objectives.metricgold import loss
from metric_depth_ros.training.recipe import load_recipe
from metric_depth_ros.types import Camera, Conditioning, Frame

diffusers = pytest.importorskip('diffusers')
transformers = pytest.importorskip('transformers')

from .latent_models import write_model  # noqa: E402, needs both

HEIGHT, WIDTH = 32, 64


@pytest.fixture(scope='module')
def marigold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp('public') / 'marigold')


@pytest.fixture(scope='module')
def stable_diffusion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('public') / 'stable-diffusion-2'
    return write_model(folder, in_channels=4, kind='stable-diffusion')


@pytest.fixture(scope='module')
def tiny() -> MetricGold:
    torch.manual_seed(0)
    return MetricGold(MetricGoldConfig.tiny()).eval()


@pytest.fixture
def copy(marigold: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(marigold, tmp_path / 'copy'))


def image(height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    return 2 * torch.rand(3, height, width, generator=torch.Generator().manual_seed(5)) - 1


def look(height: int = HEIGHT, width: int = WIDTH) -> Conditioning:
    camera = Camera(50, 50, (width - 1) / 2, (height - 1) / 2, width, height)
    rays = geometry.rays(camera).permute(2, 0, 1).contiguous()
    return Conditioning(image(height, width), rays, torch.ones(height, width, dtype=torch.bool))


def batch(count: int = 2) -> Batch:
    conditioning = look()
    ramp = torch.linspace(0.5, 60, WIDTH).expand(count, HEIGHT, WIDTH).clone()
    ramp[:, :4] = torch.inf
    return Batch(
        torch.stack([image()] * count),
        conditioning.rays.expand(count, -1, -1, -1),
        ramp,
        ramp.isfinite(),
        torch.ones(count, HEIGHT, WIDTH, dtype=torch.bool),
    )


# ---- codes -------------------------------------------------------------------------------


def test_codes_are_those_of_the_paper(tiny: MetricGold) -> None:
    depth = torch.tensor([0.01, 0.1, 1.0, 10**0.5, 10.0, 100.0, 500.0], dtype=torch.float64)
    expected = torch.tensor([-1, -1, -1 / 3, 0, 1 / 3, 1, 1], dtype=torch.float64)
    torch.testing.assert_close(tiny.to_code(depth), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize('log_code', [True, False])
def test_codes_are_inverted_exactly(log_code: bool) -> None:
    method = MetricGold(replace(MetricGoldConfig.tiny(), log_code=log_code))
    depth = torch.logspace(-1, 2, 1001, dtype=torch.float64)
    torch.testing.assert_close(method.from_code(method.to_code(depth)), depth, atol=0, rtol=1e-12)
    if not log_code:
        assert method.to_code(torch.tensor(50.05)) == pytest.approx(0, abs=1e-6)


# ---- the sampler -----------------------------------------------------------------------------


@pytest.mark.parametrize('num_steps', [1, 4])
def test_samples_are_those_of_the_pipeline_of_diffusers(marigold: Path, num_steps: int) -> None:
    pipeline = diffusers.MarigoldDepthPipeline.from_pretrained(marigold)
    pipeline.set_progress_bar_config(disable=True)
    expected = pipeline(
        (image() + 1) / 2,
        num_inference_steps=num_steps,
        processing_resolution=0,
        generator=torch.Generator().manual_seed(3),
        output_type='pt',
    ).prediction[0, 0]
    method = checkpoint.load(marigold).method
    assert not method.metric
    generator = torch.Generator().manual_seed(3)
    depth = method.draw(look(), 1, generator, num_steps=num_steps)[0]
    found = (method.to_code(depth) + 1) / 2
    assert expected.std() > 1e-3  # so that the comparison means something
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_each_sample_is_that_of_the_pipeline(marigold: Path) -> None:
    pipeline = diffusers.MarigoldDepthPipeline.from_pretrained(marigold)
    pipeline.set_progress_bar_config(disable=True)
    expected = pipeline(
        ((image() + 1) / 2).expand(3, -1, -1, -1), num_inference_steps=2, processing_resolution=0,
        generator=torch.Generator().manual_seed(3), output_type='pt',
    ).prediction[:, 0]  # fmt: skip
    method = MetricGold.on(latent_folder.load(marigold), MetricGoldConfig.tiny())
    codes = method.sample_codes(image(), 3, 2, torch.Generator().manual_seed(3))
    assert (codes[0] != codes[1]).any()
    torch.testing.assert_close((codes + 1) / 2, expected, atol=1e-4, rtol=0)


def test_draw_marks_what_is_beyond_and_what_is_not_seen(tiny: MetricGold) -> None:
    conditioning = look()
    conditioning.valid[:, :8] = False
    depth = tiny.draw(conditioning, 2, torch.Generator().manual_seed(1))
    assert depth.shape == (2, HEIGHT, WIDTH)
    assert depth.dtype == torch.float32
    assert torch.equal(depth.isnan(), ~conditioning.valid.expand(2, -1, -1))
    seen = depth[:, conditioning.valid]
    assert ((seen > 0.09) & ((seen < 80) | seen.isposinf())).all()


def test_tiled_and_half_precision(marigold: Path) -> None:
    for dtype in (torch.float16, torch.bfloat16):
        network = latent_folder.load(marigold, dtype=dtype)
        assert {p.dtype for p in network.parameters()} == {dtype}
        method = MetricGold.on(network, replace(MetricGoldConfig.tiny(), tiled=True))
        assert method.latent.vae.use_tiling
        depth = method.draw(look(), 1, torch.Generator().manual_seed(3))
        assert depth.dtype == torch.float32
        assert not depth.isnan().any()


def test_bad_arguments(tiny: MetricGold) -> None:
    generator = torch.Generator().manual_seed(1)
    with pytest.raises(MetricDepthError, match='conditioning is 60x32, expected multiples of 8'):
        tiny.draw(look(32, 60), 1, generator)
    with pytest.raises(MetricDepthError, match='num_steps is 1001, expected 1 to 1000'):
        tiny.draw(look(), 1, generator, num_steps=1001)
    with pytest.raises(MetricDepthError, match='num_samples is 0'):
        tiny.draw(look(), 0, generator)


def test_through_the_predictor(tiny: MetricGold) -> None:
    camera = Camera(50, 50, 39.5, 24.5, 80, 50, 'plumb_bob', (-0.1, 0.01, 0.0, 0.0))
    pixels = torch.randint(0, 256, (50, 80, 3), generator=torch.Generator().manual_seed(2))
    frame = Frame(pixels.to(torch.uint8), camera, stamp_ns=7)
    first, second = (Predictor(tiny, seed=4)(frame) for _ in range(2))
    assert first.depth.shape == (50, 80)
    assert first.stamp_ns == 7
    assert torch.equal(first.depth.nan_to_num(), second.depth.nan_to_num())
    known = first.depth.isfinite()
    assert known.any()
    assert (first.std[known] > 0).all()


# ---- folders ---------------------------------------------------------------------------------


def test_what_is_saved_opens_with_plain_diffusers(tiny: MetricGold, tmp_path: Path) -> None:
    folder = tmp_path / 'ours'
    card = Card('tiny', 'Apache-2.0', 'a test', readme='# tiny\n')
    tiny.latent.empty_prompt.normal_(generator=torch.Generator().manual_seed(1))
    checkpoint.save(folder, tiny, card)
    pipeline = diffusers.MarigoldDepthPipeline.from_pretrained(
        folder, text_encoder=None, tokenizer=None
    )
    pipeline.set_progress_bar_config(disable=True)
    pipeline.empty_text_embedding = load_file(folder / 'empty_prompt.safetensors')['empty_prompt']
    expected = pipeline(
        (image() + 1) / 2, num_inference_steps=2, processing_resolution=0,
        generator=torch.Generator().manual_seed(3), output_type='pt',
    ).prediction[0, 0]  # fmt: skip
    assert not pipeline.scale_invariant  # metric

    loaded = checkpoint.load(folder)
    assert loaded.card == card
    assert replace(loaded.method.config, latent=tiny.config.latent) == tiny.config
    codes = loaded.method.sample_codes(image(), 1, 2, torch.Generator().manual_seed(3))
    torch.testing.assert_close((codes[0] + 1) / 2, expected, atol=1e-4, rtol=0)
    again = tiny.sample_codes(image(), 1, 2, torch.Generator().manual_seed(3))
    assert torch.equal(again, codes)
    unet = diffusers.UNet2DConditionModel.from_pretrained(folder, subfolder='unet')
    diffusers.AutoencoderKL.from_pretrained(folder, subfolder='vae')
    diffusers.DDIMScheduler.from_pretrained(folder, subfolder='scheduler')
    assert unet.config.in_channels == 8
    assert loaded.method.metric
    assert load_predictor(str(folder)).name == 'tiny'


def test_fine_tuning_begins_with_stable_diffusion(stable_diffusion: Path) -> None:
    network = latent_folder.load(stable_diffusion)
    before = network.unet.conv_in
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = before(x)
    with pytest.raises(LatentError, match='unet takes 4 channels, expected 8 for MetricGold'):
        MetricGold(MetricGoldConfig.tiny(), network)
    method = MetricGold.on(network, MetricGoldConfig.tiny())
    after = method.latent.unet.conv_in
    torch.testing.assert_close(after(torch.cat([x, x], dim=1)), expected)
    assert method.config.latent.unet['in_channels'] == 8
    assert method.latent.unet.config.in_channels == 8
    with pytest.raises(LatentError, match='cannot be widened to 12: expected a multiple'):
        widen(network, 12)


def test_a_recipe_begins_with_its_base(stable_diffusion: Path) -> None:
    recipe = replace(load_recipe('metricgold-small'), base=str(stable_diffusion))
    method = initial_method(recipe)
    found = method.latent.unet.conv_in.weight
    path = stable_diffusion / 'unet' / 'diffusion_pytorch_model.safetensors'
    expected = load_file(path)['conv_in.weight'] / 2
    assert torch.equal(found, torch.cat([expected, expected], dim=1))
    assert method.config.num_steps == MetricGoldConfig.small().num_steps


def test_lotus_is_told_its_task(tmp_path: Path) -> None:
    folder = write_model(tmp_path / 'lotus', kind='lotus')
    network = latent_folder.load(folder)
    noisy, condition = torch.randn(2, 4, 4, 4), torch.randn(2, 4, 4, 4)
    task = torch.tensor([[0.8414709848, 0.0, 0.5403023059, 1.0]]).expand(2, -1)  # sin, cos of 1, 0
    prompt = network.empty_prompt.expand(2, -1, -1)
    with torch.no_grad():
        expected = network.unet(torch.cat([condition, noisy], 1), 999, prompt, task).sample
        found = network.predict(noisy, torch.tensor(999), condition)
    torch.testing.assert_close(found, expected)


def test_relative_depth_is_not_taken_for_metres(marigold: Path) -> None:
    with pytest.raises(MetricDepthError, match="model 'marigold' says relative"):
        load_predictor(str(marigold), device='cpu')


def test_without_diffusers_the_other_models_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'diffusers', None)
    import_diffusers.cache_clear()
    with pytest.raises(LatentError, match=r'need diffusers: pip install'):
        MetricGold(MetricGoldConfig.tiny())
    names = {entry.name for entry in checkpoint.models()}
    assert 'grin' in names
    assert 'metricgold' not in names


def test_the_presets_are_listed_with_their_size() -> None:
    entries = {entry.name: entry for entry in checkpoint.models()}
    assert entries['metricgold'].parameters == 865_910_724 + 4 * 320 * 9 + 83_653_863
    assert entries['metricgold-small'].parameters < 6e6


def test_a_published_folder_without_a_part(copy: Path) -> None:
    shutil.rmtree(copy / 'vae')
    with pytest.raises(LatentError, match=r'copy has no vae/, expected unet, vae'):
        latent_folder.load(copy)


def test_a_published_folder_without_words(copy: Path) -> None:
    shutil.rmtree(copy / 'text_encoder')
    with pytest.raises(LatentError, match=r'no text_encoder/ and no empty_prompt\.safetensors'):
        latent_folder.load(copy)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda w: w.pop('conv_in.bias'), r'unet lacks 1 tensors: conv_in\.bias'),
        (lambda w: w.update(more=torch.zeros(2)), 'unet has unknown 1 tensors: more'),
        (lambda w: w.update({'conv_in.bias': torch.zeros(3)}), 'the weights do not fit'),
        (lambda w: w['conv_in.bias'].fill_(torch.nan), 'conv_in.bias holds values that are not'),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit(copy: Path, change, message: str) -> None:
    path = copy / 'unet' / 'diffusion_pytorch_model.safetensors'
    weights = load_file(path)
    change(weights)
    save_file(weights, path)
    with pytest.raises(LatentError, match=message) as caught:
        latent_folder.load(copy)
    assert '\n' not in str(caught.value)


def test_pickled_weights_are_not_read(copy: Path) -> None:
    path = copy / 'vae' / 'diffusion_pytorch_model.safetensors'
    torch.save(load_file(path), path.with_suffix('.bin'))
    path.unlink()
    with pytest.raises(LatentError, match='weights in other formats are not read'):
        latent_folder.load(copy)


def test_the_older_names_of_stable_diffusion_2_s_autoencoder(copy: Path, marigold: Path) -> None:
    path = copy / 'vae' / 'diffusion_pytorch_model.safetensors'
    older = {'to_q': 'query', 'to_k': 'key', 'to_v': 'value', 'to_out.0': 'proj_attn'}
    renamed = {}
    for key, value in load_file(path).items():
        name = key
        for new, old in older.items():
            name = name.replace(f'.{new}.', f'.{old}.')
        renamed[name] = value
    assert any('.proj_attn.' in name for name in renamed)
    save_file(renamed, path)
    found = latent_folder.load(copy).vae.state_dict()
    for key, value in latent_folder.load(marigold).vae.state_dict().items():
        assert torch.equal(found[key], value), key


def test_half_precision_weights_alone(copy: Path) -> None:
    for part in ('unet', 'vae'):
        path = copy / part / 'diffusion_pytorch_model.safetensors'
        weights = {k: v.half() for k, v in load_file(path).items()}
        save_file(weights, path.with_name('diffusion_pytorch_model.fp16.safetensors'))
        path.unlink()
    network = latent_folder.load(copy)
    assert {p.dtype for p in network.parameters()} == {torch.float32}


def test_a_network_of_another_kind(copy: Path) -> None:
    path = copy / 'unet' / 'config.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), '_class_name': 'Transformer'}))
    with pytest.raises(LatentError, match='is a Transformer, expected UNet2DConditionModel'):
        latent_folder.load(copy)


def test_the_registry_and_the_size_of_stable_diffusion() -> None:
    assert METHODS['metricgold'] is MetricGold
    with torch.device('meta'):
        network = LatentNetwork(LatentConfig.stable_diffusion_2())
    assert sum(p.numel() for p in network.vae.parameters()) == 83_653_863
    # Stable Diffusion 2's 865,910,724 and four more inputs of 320 3x3 filters.
    assert sum(p.numel() for p in network.unet.parameters()) == 865_910_724 + 4 * 320 * 9


# ---- the objective ---------------------------------------------------------------------------


def test_the_loss_falls_on_one_batch() -> None:
    torch.manual_seed(0)
    method = MetricGold(MetricGoldConfig.tiny())
    optimizer = torch.optim.Adam(method.parameters(), lr=3e-3)
    losses = []
    for step in range(30):
        losses.append(loss(method, batch(), torch.Generator().manual_seed(step % 2)))
        optimizer.zero_grad()
        losses[-1]['loss'].backward()
        optimizer.step()
    assert set(losses[0]) == {'loss', 'image', 'depth', 'kl', 'scale', 'diffusion'}
    for name in ('loss', 'depth', 'diffusion'):
        assert losses[-2][name] < 0.8 * losses[0][name], name


def test_pixels_without_truth_have_no_influence() -> None:
    torch.manual_seed(0)
    method = MetricGold(replace(MetricGoldConfig.tiny(), train_vae=False))
    assert not any(p.requires_grad for p in method.latent.vae.parameters())
    stride = method.latent.stride
    known = torch.ones(2, HEIGHT, WIDTH, dtype=torch.bool)
    known[:, :, : 2 * stride] = False
    whole = batch()
    losses = []
    for hidden in (torch.nan, 5.0):
        distance = whole.ray_distance.where(known, hidden)
        changed = replace(whole, ray_distance=distance, valid=whole.valid & known)
        losses.append(loss(method, changed, torch.Generator().manual_seed(0))['loss'])
    assert losses[0].isfinite()
    assert losses[0] == losses[1]


def test_multi_resolution_noise_is_normal_and_coarser() -> None:
    generator = torch.Generator().manual_seed(0)
    shape = torch.Size((2, 4, 64, 64))
    noise = multi_resolution_noise(shape, torch.tensor([0.0, 0.9]), generator)
    plain = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(noise[0], plain[0])
    assert noise[1].std() == pytest.approx(1, abs=1e-3)
    neighbours = (noise[1, :, :, 1:] * noise[1, :, :, :-1]).mean()
    assert neighbours > 0.3
