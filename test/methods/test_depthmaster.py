"""DepthMaster: its codes and metres, its one step beside diffusers' own classes, its folders."""

from __future__ import annotations

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
from metric_depth_ros.methods.depthmaster import DepthMaster, DepthMasterConfig, fit
from metric_depth_ros.methods.grin import Grin, GrinConfig
from metric_depth_ros.nn.latent import LatentConfig, LatentError, LatentNetwork
from metric_depth_ros.predictor import CoarseModelError, Predictor
from metric_depth_ros.training.beginning import initial_method
from metric_depth_ros.training.recipe import load_recipe
from metric_depth_ros.types import Camera, CoarseDepth, Conditioning, Frame

diffusers = pytest.importorskip('diffusers')

HEIGHT, WIDTH = 32, 56
TINY = DepthMasterConfig.tiny()


@pytest.fixture(scope='module')
def tiny() -> DepthMaster:
    torch.manual_seed(0)
    method = DepthMaster(TINY).eval()
    assert method.latent.enhancement is not None
    for parameter in method.latent.enhancement.parameters():  # so that it does something
        torch.nn.init.normal_(parameter, std=0.2)
    return method


def image(height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    return 2 * torch.rand(3, height, width, generator=torch.Generator().manual_seed(5)) - 1


def coarse(height: int = HEIGHT, width: int = WIDTH) -> CoarseDepth:
    return CoarseDepth(torch.linspace(1, 9, width).expand(height, width).clone())


def look(height: int = HEIGHT, width: int = WIDTH) -> Conditioning:
    camera = Camera(50, 50, (width - 1) / 2, (height - 1) / 2, width, height)
    rays = geometry.rays(camera).permute(2, 0, 1).contiguous()
    valid = torch.ones(height, width, dtype=torch.bool)
    return Conditioning(image(height, width), rays, valid, coarse(height, width))


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)


# ---- codes and metres -----------------------------------------------------------------------


def test_codes_are_of_the_square_root_of_disparity(tiny: DepthMaster) -> None:
    # 101 pixels whose square roots of disparity are 0.2 to 2.2, evenly: percentiles by hand
    root = torch.linspace(0.2, 2.2, 101)
    depth = (root**-2)[None, None]
    code = tiny.to_code(depth, torch.ones_like(depth, dtype=torch.bool))[0, 0]
    low, high = 0.2 + 0.02 * 2, 0.2 + 0.98 * 2
    expected = (2 * (root - low) / (high - low) - 1).clamp(-1, 1)
    torch.testing.assert_close(code, expected, atol=1e-5, rtol=0)
    assert code[0] == -1
    assert code[-1] == 1


@pytest.mark.parametrize(('power', 'sign'), [(1.0, 1), (-1.0, -1), (-0.5, -1)])
def test_the_preprocessings_of_table_3(power: float, sign: int) -> None:
    method = DepthMaster(replace(TINY, power=power, fourier=False))
    depth = torch.tensor([[1.0, 2.0, 4.0, 8.0]])[None]
    code = method.to_code(depth, torch.ones_like(depth, dtype=torch.bool))[0, 0]
    assert bool((sign * code.diff() > 0).all())
    quantity = torch.tensor([1.0, 2.0, 4.0, 8.0]) ** power
    middle = code[1:3]  # between the percentiles the code is linear in the quantity
    slope = (middle[1] - middle[0]) / (quantity[2] - quantity[1])
    low, high = torch.quantile(quantity, torch.tensor([0.02, 0.98]))
    torch.testing.assert_close(slope, 2 / (high - low))


def test_pixels_without_truth_do_not_count_among_the_percentiles(tiny: DepthMaster) -> None:
    depth = torch.rand(2, 8, 8, generator=generator()) * 5 + 1
    known = torch.rand(2, 8, 8, generator=generator()) < 0.7
    known[1] = False
    other = torch.where(known, depth, 0.2)
    first, second = tiny.to_code(depth, known), tiny.to_code(other, known)
    assert torch.equal(first[known], second[known])
    assert first.isfinite().all()


def test_scale_and_shift_are_found_in_spite_of_outliers() -> None:
    code = torch.rand(500, generator=generator()) * 2 - 1
    quantity = 0.3 * code + 0.5
    torch.testing.assert_close(fit(code, quantity), quantity, atol=1e-6, rtol=0)
    spoilt = quantity.clone()
    spoilt[:100] = 3.0
    spoilt[100:120] = torch.nan
    torch.testing.assert_close(fit(code, spoilt), quantity, atol=2e-3, rtol=0)


def test_metres_come_back(tiny: DepthMaster) -> None:
    depth = torch.linspace(1, 20, 64).reshape(8, 8)
    wide = DepthMaster(replace(TINY, low=0.0, high=1.0, fourier=False))
    code = wide.to_code(depth[None], torch.ones(1, 8, 8, dtype=torch.bool))[0]
    values = depth.clone()
    values[0] = torch.nan
    torch.testing.assert_close(tiny.to_metres(code, CoarseDepth(values)), depth, rtol=1e-4, atol=0)
    # the same code of a scene ten times as large, most of it beyond the range
    far = tiny.to_metres(code, CoarseDepth(10 * values.clamp(max=7.9)))
    assert far[-1].isposinf().all()
    nothing = tiny.to_metres(code, CoarseDepth(torch.full((8, 8), torch.nan)))
    assert nothing.isnan().all()


# ---- one step -------------------------------------------------------------------------------


def test_the_step_is_diffusers_own_with_the_module_between(tiny: DepthMaster) -> None:
    latent = tiny.latent
    x = latent.encode(image()[None])
    unet = diffusers.UNet2DConditionModel.from_config(latent.unet.config)
    unet.load_state_dict(latent.unet.state_dict())
    inner = unet.mid_block.forward
    unet.mid_block.forward = lambda *args, **kwargs: latent.enhancement(inner(*args, **kwargs))
    with torch.no_grad():
        expected = unet(x, 1, latent.empty_prompt).sample
        torch.testing.assert_close(tiny.step(x), expected, atol=1e-5, rtol=0)
        unet.mid_block.forward = inner
        assert (unet(x, 1, latent.empty_prompt).sample - expected).abs().max() > 1e-3


def test_iterations_feed_the_output_back(tiny: DepthMaster) -> None:
    method = DepthMaster(replace(TINY, iterations=3))
    method.latent = tiny.latent
    x = tiny.latent.encode(image()[None])
    with torch.no_grad():
        torch.testing.assert_close(method.step(x), tiny.step(tiny.step(tiny.step(x))))


def test_a_batch_is_its_images_one_by_one(tiny: DepthMaster) -> None:
    images = torch.stack([image(), image().flip(1), 0.5 * image()])
    with torch.no_grad():
        together = tiny.step(tiny.latent.encode(images))
        for i, one in enumerate(images):
            alone = tiny.step(tiny.latent.encode(one[None]))[0]
            torch.testing.assert_close(together[i], alone, atol=1e-5, rtol=1e-4)


def test_the_first_look_is_the_same_whatever_the_seed(tiny: DepthMaster) -> None:
    conditioning = look()
    conditioning.valid[:, :8] = False
    first = tiny.draw(conditioning, 4, generator())
    again = tiny.draw(conditioning, 4, generator())
    other = tiny.draw(conditioning, 1, torch.Generator().manual_seed(2), num_steps=1)
    assert first.shape == (4, HEIGHT, WIDTH)
    assert first.dtype == torch.float32
    assert torch.equal(first.nan_to_num(), again.nan_to_num())
    assert torch.equal(first[:1].nan_to_num(), other.nan_to_num())
    assert torch.equal(first.isnan()[0], ~conditioning.valid)
    mirrored = tiny.code(conditioning.image.flip(-1)).flip(-1)
    guide = conditioning.coarse
    assert guide is not None
    expected = tiny.to_metres(mirrored, guide)[conditioning.valid]
    torch.testing.assert_close(first[1][conditioning.valid], expected, rtol=1e-4, atol=0)
    assert not torch.equal(first[0, :, 8:], first[2, :, 8:])


def test_denoising_draws_by_its_seed() -> None:
    torch.manual_seed(0)
    config = replace(TINY, latent=LatentConfig.tiny(8), denoise=True, pixel_weight=0.0,
                     gradient_weight=0.0, fourier=False, latent_weight=1.0)  # fmt: skip
    method = DepthMaster(config).eval()
    first, again = (method.draw(look(), 2, generator(), num_steps=2) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first[0], first[1])


def test_bad_input_in_one_line(tiny: DepthMaster) -> None:
    for conditioning, arguments, message in (
        (look(32, 60), {}, 'conditioning is 60x32, expected multiples of 8'),
        (look(), {'num_steps': 2}, 'num_steps is 2, expected 1 to 1 of this DepthMaster'),
        (replace(look(), coarse=None), {}, 'DepthMaster takes its metres from a coarse depth'),
        (replace(look(), coarse=CoarseDepth(coarse().values, metric=False)), {},
         'the coarse depth is relative, expected metres'),
    ):  # fmt: skip
        with pytest.raises(MetricDepthError, match=message) as caught:
            tiny.draw(conditioning, 1, generator(), **arguments)
        assert '\n' not in str(caught.value)
    with pytest.raises(MetricDepthError, match='num_samples is 0'):
        tiny.draw(look(), 0, generator())
    with pytest.raises(LatentError, match='unet takes 8 channels, expected 4 for DepthMaster'):
        DepthMaster(replace(TINY, fourier=False), LatentNetwork(LatentConfig.tiny(8)))
    with pytest.raises(MetricDepthError, match='has denoise True, expected no losses on pixels'):
        replace(TINY, denoise=True)
    with pytest.raises(MetricDepthError, match=r'has low 0\.99, expected from 0 on, below high'):
        replace(TINY, low=0.99)


def test_through_the_predictor(tiny: DepthMaster) -> None:
    camera = Camera(50, 50, 39.5, 24.5, 80, 50, 'plumb_bob', (-0.1, 0.01, 0.0, 0.0))
    pixels = torch.randint(0, 256, (50, 80, 3), generator=generator())
    frame = Frame(pixels.to(torch.uint8), camera, stamp_ns=7)
    with pytest.raises(CoarseModelError, match='give it a coarse model'):
        Predictor(tiny, name='tiny')
    torch.manual_seed(0)
    guide = Predictor(Grin(GrinConfig.tiny()), device='cpu')
    first, second = (Predictor(tiny, seed=4, coarse=guide)(frame) for _ in range(2))
    assert first.depth.shape == (50, 80)
    assert torch.equal(first.depth.nan_to_num(), second.depth.nan_to_num())
    known = first.depth.isfinite()
    assert known.any()
    assert (first.std[known] > 0).all()


# ---- folders --------------------------------------------------------------------------------


def test_what_is_saved_opens_with_plain_diffusers(tiny: DepthMaster, tmp_path: Path) -> None:
    folder = tmp_path / 'ours'
    card = Card('tiny', 'Apache-2.0', 'a test', readme='# tiny\n')
    checkpoint.save(folder, tiny, card)
    unet = diffusers.UNet2DConditionModel.from_pretrained(folder, subfolder='unet')
    vae = diffusers.AutoencoderKL.from_pretrained(folder, subfolder='vae')
    assert unet.config.in_channels == 4
    for part, found in (('unet', unet), ('vae', vae)):
        for name, value in getattr(tiny.latent, part).state_dict().items():
            assert torch.equal(found.state_dict()[name], value), name

    loaded = checkpoint.load(folder)
    assert loaded.card == card
    assert replace(loaded.method.config, latent=TINY.latent) == TINY
    expected = tiny.draw(look(), 2, generator())
    assert torch.equal(loaded.method.draw(look(), 2, generator()), expected)


def test_a_fourier_module_that_does_not_fit(tiny: DepthMaster, tmp_path: Path) -> None:
    folder = tmp_path / 'ours'
    checkpoint.save(folder, tiny, Card('tiny', 'Apache-2.0', 'a test'))
    path = folder / 'metric_depth.safetensors'
    weights = load_file(path)
    bias = 'latent.enhancement.join.bias'
    save_file({**weights, bias: torch.full((16,), torch.nan)}, path)
    with pytest.raises(MetricDepthError, match=r'join\.bias holds values that are not finite'):
        checkpoint.load(folder)
    del weights[bias]
    save_file(weights, path)
    with pytest.raises(MetricDepthError, match=r'lacks 1 tensors.*join\.bias'):
        checkpoint.load(folder)
    path.unlink()
    with pytest.raises(MetricDepthError, match=r'ours has no metric_depth\.safetensors'):
        checkpoint.load(folder)


def test_training_begins_with_the_part_that_reads_the_image() -> None:
    torch.manual_seed(0)
    network = LatentNetwork(LatentConfig.tiny(8))
    before = network.unet.conv_in
    x = torch.randn(1, 4, 8, 8, generator=generator())
    expected = before(torch.cat([x, torch.zeros_like(x)], dim=1))
    method = DepthMaster.on(network, replace(TINY, alignment_weight=1.0))
    torch.testing.assert_close(method.latent.unet.conv_in(x), expected)
    assert method.config.latent.unet['in_channels'] == 4
    assert method.latent.enhancement is not None
    assert method.projector is not None
    assert not any(p.requires_grad for p in method.latent.vae.parameters())
    with pytest.raises(LatentError, match='takes 12 channels, which cannot be widened to 4'):
        DepthMaster.on(LatentNetwork(LatentConfig.tiny(12)), TINY)


def begun(base: Path, **config: object) -> DepthMaster:
    """As training begins."""
    recipe = load_recipe('depthmaster-small-stage2')
    return initial_method(replace(recipe, preset='tiny', base=str(base), config=config))


def test_the_second_stage_begins_as_the_first_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DepthMaster.PRESETS, 'tiny', DepthMasterConfig.tiny)
    torch.manual_seed(0)
    first = DepthMaster.on(
        LatentNetwork(LatentConfig.tiny(4)), replace(TINY, fourier=False, alignment_weight=1.0)
    )
    checkpoint.save(tmp_path / 'stage1', first.eval(), Card('one', 'Apache-2.0', 'a test'))
    assert not (tmp_path / 'stage1' / 'metric_depth.safetensors').exists()
    second = begun(tmp_path / 'stage1').eval()
    assert second.projector is None
    torch.testing.assert_close(second.code(image()), first.code(image()), atol=1e-5, rtol=0)
    # and goes on with the module it has learned
    assert second.latent.enhancement is not None
    torch.nn.init.normal_(second.latent.enhancement.join.bias)
    checkpoint.save(tmp_path / 'stage2', second, Card('two', 'Apache-2.0', 'a test'))
    third = begun(tmp_path / 'stage2').eval()
    assert torch.equal(third.code(image()), second.code(image()))
    with pytest.raises(MetricDepthError, match=r'has unknown 6 tensors: latent\.enhancement'):
        begun(tmp_path / 'stage2', fourier=False)


def test_the_registry_and_the_size_of_the_paper_s() -> None:
    assert METHODS['depthmaster'] is DepthMaster
    with torch.device('meta'):
        method = DepthMaster(DepthMasterConfig.paper())
    assert sum(p.numel() for p in method.latent.unet.parameters()) == 865_910_724
    assert method.latent.enhancement is not None
    channels = 1280
    count = sum(p.numel() for p in method.latent.enhancement.parameters())
    assert count == (4 + 9 + 2) * channels**2 + 4 * channels
