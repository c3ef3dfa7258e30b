"""SharpDepth: difference map, gate and return to metres by hand; draws; folders; bad input."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from metric_depth_ros import checkpoint
from metric_depth_ros.checkpoint import Card
from metric_depth_ros.errors import MetricDepthError
from metric_depth_ros.methods.grin import Grin, GrinConfig
from metric_depth_ros.methods.sharpdepth import SharpDepth, SharpDepthConfig, gate
from metric_depth_ros.nn.latent import LatentConfig, LatentError, LatentNetwork
from metric_depth_ros.predictor import CoarseModelError, Predictor, load_predictor
from metric_depth_ros.types import Camera, CoarseDepth, Conditioning, Frame

diffusers = pytest.importorskip('diffusers')

HEIGHT, WIDTH = 32, 64
LOG = {'log_depth': True, 'beyond': 80.0}


@pytest.fixture(scope='module')
def tiny() -> SharpDepth:
    torch.manual_seed(0)
    return SharpDepth(SharpDepthConfig.tiny()).eval()


def like(method: SharpDepth, **changes) -> SharpDepth:
    """The same network with another config."""
    return SharpDepth(replace(method.config, **changes), method.latent).eval()


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ramp(height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    """1 to 20 m from left to right."""
    return torch.logspace(0, np.log10(20), width).expand(height, width).clone()


def look(coarse: CoarseDepth | None, height: int = HEIGHT, width: int = WIDTH) -> Conditioning:
    image = 2 * torch.rand(3, height, width, generator=seeded(5)) - 1
    rays = torch.tensor([0.0, 0.0, 1.0])[:, None, None].expand(3, height, width)
    return Conditioning(image, rays, torch.ones(height, width, dtype=torch.bool), coarse)


# ---- Section 4.1, by hand --------------------------------------------------------------------


def test_eq_4_by_hand() -> None:
    difference = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.0]])[None]
    latents = torch.tensor([10.0, 20.0]).reshape(1, 1, 1, 2)
    noise = torch.tensor([-1.0, -2.0]).reshape(1, 1, 1, 2)
    found = gate(latents, difference, noise)
    torch.testing.assert_close(found.flatten(), torch.tensor([10.0, 0.75 * -2 + 0.25 * 20]))


def test_the_difference_map_is_that_of_least_squares(tiny: SharpDepth) -> None:
    code = 2 * torch.rand(2, 6, 8, generator=seeded()) - 1
    coarse = 1 + 9 * torch.rand(2, 6, 8, generator=seeded(4))
    coarse[0, 0, :3] = torch.nan
    comparison = tiny.compare(code, coarse)
    for i in range(2):
        known = coarse[i].isfinite().numpy()
        x, y = code[i].double().numpy()[known], coarse[i].double().numpy()[known]
        scale, shift = np.polyfit(x, y, 1)
        aligned = scale * x + shift
        expected = np.abs(aligned - y) / np.abs(aligned - y).max()
        np.testing.assert_allclose(comparison.difference[i].numpy()[known], expected, atol=1e-5)
        low, high = comparison.low[i].item(), comparison.high[i].item()
        assert low == pytest.approx(min(aligned.min(), y.min()), abs=1e-5)
        assert high == pytest.approx(max(aligned.max(), y.max()), abs=1e-5)
        expected = 2 * (y - low) / (high - low) - 1
        np.testing.assert_allclose(comparison.code[i].numpy()[known], expected, atol=1e-5)
    assert comparison.difference[0, 0, :3].eq(1).all()  # nothing to stay with
    assert comparison.code.isfinite().all()


def test_codes_of_the_logarithm(tiny: SharpDepth) -> None:
    coarse = torch.tensor([[1.0, 2.0, 4.0, 8.0], [16.0, 16.0, torch.inf, torch.nan]])[None]
    known = coarse > 0
    expected = torch.tensor([[-1, -0.5, 0, 0.5], [1, 1, 1, 1]])[None]
    method = like(tiny, **LOG)
    torch.testing.assert_close(method.code_of(coarse, known), expected, atol=1e-5, rtol=0)
    teacher = torch.tensor([[-1, -0.5, 0, 0.5], [1, 1, 1, 0.0]])[None] / 7  # agrees exactly
    found = method.compare(teacher, coarse)
    expected[..., -1, -1] = 0  # the teacher's
    torch.testing.assert_close(found.code, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize('changes', [{}, LOG])
def test_metres_come_back_from_the_pixels_that_agree(tiny: SharpDepth, changes: dict) -> None:
    method = like(tiny, **changes)
    coarse = ramp()[None]
    quantity = coarse.log() if changes else coarse
    teacher = (quantity - quantity.mean()) / quantity.std() / 4
    teacher[:, :8, :8] += 1  # a thing that the coarse depth lacks
    comparison = method.compare(teacher, coarse)
    assert (comparison.difference[:, :8, :8] > 0.5).all()
    assert (comparison.difference[:, 8:] < 0.5).all()
    code = 0.3 * (quantity - quantity.mean()) / quantity.std() + 0.1
    expected = coarse.clone()
    code[:, :8, :8] = code[:, 20:21, 40:41]  # what is there does not sway the fit
    expected[:, :8, :8] = coarse[:, 20:21, 40:41]
    torch.testing.assert_close(method.to_metres(code, comparison), expected, rtol=1e-3, atol=0)


@pytest.mark.parametrize('kind', ['v_prediction', 'epsilon', 'sample'])
def test_one_step_says_the_clean_latents(kind: str) -> None:
    sizes = LatentConfig.tiny()
    network = LatentNetwork(replace(sizes, scheduler={**sizes.scheduler, 'prediction_type': kind}))
    method = SharpDepth(SharpDepthConfig(latent=network.config), network)
    data, noise = torch.randn(2, 3, 4, 4, 4, generator=seeded())
    times = torch.tensor([0, 500, 999])
    noisy = network.add_noise(data, noise, times)
    found = network.original(network.target(data, noise, times), noisy, times)
    torch.testing.assert_close(found, data, rtol=1e-3, atol=1e-4)
    asked: list[int] = []

    def predict(gated: Tensor, t: Tensor, condition: Tensor, *, unet=None) -> Tensor:
        asked.extend(t.tolist())
        return network.target(data, noise, t)

    network.predict = predict  # type: ignore[method-assign]
    gated = network.add_noise(data, noise, torch.full((3,), 999))
    torch.testing.assert_close(method.refine(gated, data), data, rtol=1e-3, atol=1e-3)
    earlier = SharpDepth(replace(method.config, refinement_time=0.2), network)
    gated = network.add_noise(data, noise, torch.full((3,), 199))
    torch.testing.assert_close(earlier.refine(gated, data), data, rtol=1e-3, atol=1e-3)
    earlier.teach(noise, data, data[:, 0])
    assert asked == [999] * 3 + [199] * 3 + [999] * 3


def test_a_teacher_that_begins_with_the_coarse_depth(tiny: SharpDepth) -> None:
    count, stride = 2, tiny.latent.stride
    coarse = ramp().expand(count, -1, -1)
    condition, noise = torch.randn(
        2, count, 4, HEIGHT // stride, WIDTH // stride, generator=seeded()
    )
    other = coarse.flip(-1)
    plain = tiny.teach(noise, condition, coarse)
    assert torch.equal(plain, tiny.teach(noise, condition, other))
    early = like(tiny, teacher_time=0.3)
    said = early.teach(noise, condition, coarse)
    assert not torch.equal(said, early.teach(noise, condition, other))
    data = early.latent.encode_depth(early.code_of(coarse, coarse > 0))
    noisy = early.latent.add_noise(data, noise, torch.full((count,), 299))
    t = torch.full((count,), 299)
    output = early.latent.predict(noisy, t, condition)
    expected = early.latent.decode_depth(early.latent.original(output, noisy, t))
    torch.testing.assert_close(said, expected)


# ---- draws -----------------------------------------------------------------------------------


@pytest.mark.parametrize('changes', [{}, LOG])
def test_draws_depend_on_the_seed_alone(tiny: SharpDepth, changes: dict) -> None:
    method = like(tiny, **changes)
    conditioning = look(CoarseDepth(ramp()))
    conditioning.valid[:, :8] = False
    first, second = (method.draw(conditioning, 3, seeded()) for _ in range(2))
    assert first.shape == (3, HEIGHT, WIDTH)
    assert first.dtype == torch.float32
    assert torch.equal(first.nan_to_num(), second.nan_to_num())
    assert first[:, ~conditioning.valid].isnan().all()
    seen = first[:, conditioning.valid]
    assert seen.isfinite().float().mean() > 0.9
    assert (seen[seen.isfinite()] > 0).all()
    other = method.draw(conditioning, 3, seeded(4))
    assert not torch.equal(other.nan_to_num(), first.nan_to_num())


def test_a_batch_is_its_images(tiny: SharpDepth) -> None:
    images = 2 * torch.rand(2, 3, HEIGHT, WIDTH, generator=seeded()) - 1
    coarse = torch.stack([ramp(), 3 * ramp()])
    noise = tiny.noise(images, 2, seeded())
    together = tiny.sharpen(images, coarse, noise)
    for i in range(2):
        alone = tiny.sharpen(images[i : i + 1], coarse[i : i + 1], noise[:, i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-3, atol=1e-3)


def test_more_steps_refine_further(tiny: SharpDepth) -> None:
    conditioning = look(CoarseDepth(ramp()))
    one, two = (tiny.draw(conditioning, 1, seeded(), num_steps=n) for n in (1, 2))
    assert not torch.equal(one, two)


def test_holes_and_sky_of_the_coarse_depth(tiny: SharpDepth) -> None:
    coarse = ramp()
    coarse[:4], coarse[-4:] = torch.nan, torch.inf
    depth = tiny.draw(look(CoarseDepth(coarse)), 1, seeded())[0]
    assert depth[:-4].isfinite().float().mean() > 0.9
    assert depth[-4:].isposinf().all()
    nothing = CoarseDepth(torch.full((HEIGHT, WIDTH), torch.nan))
    assert tiny.draw(look(nothing), 1, seeded()).isnan().all()


def test_half_precision() -> None:
    torch.manual_seed(0)
    for dtype in (torch.float16, torch.bfloat16):
        method = SharpDepth(SharpDepthConfig.tiny()).to(dtype).eval()
        depth = method.draw(look(CoarseDepth(ramp())), 1, seeded())
        assert depth.dtype == torch.float32
        assert depth.isfinite().float().mean() > 0.9


# ---- folders ---------------------------------------------------------------------------------


def test_a_checkpoint_opens_here_and_with_plain_diffusers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = replace(SharpDepthConfig.tiny(), **LOG)
    method = SharpDepth.on(LatentNetwork(LatentConfig.tiny()), config).eval()
    folder = tmp_path / 'ours'
    card = Card('tiny', 'Apache-2.0', 'a test', readme='# tiny\n')
    checkpoint.save(folder, method, card)
    loaded = checkpoint.load(folder)
    assert loaded.card == card
    assert replace(loaded.method.config, latent=config.latent) == config
    assert loaded.method.metric
    conditioning = look(CoarseDepth(ramp()))
    expected = method.draw(conditioning, 2, seeded())
    found = loaded.method.draw(conditioning, 2, seeded())
    assert torch.equal(found, expected)

    unet = diffusers.UNet2DConditionModel.from_pretrained(folder, subfolder='unet')
    diffusers.AutoencoderKL.from_pretrained(folder, subfolder='vae')
    diffusers.DDIMScheduler.from_pretrained(folder, subfolder='scheduler')
    for name, value in unet.state_dict().items():
        assert torch.equal(value, method.latent.unet.state_dict()[name]), name
    stored = [key for path in folder.rglob('*.safetensors') for key in load_file(path)]
    assert stored
    assert not any('prior' in key or 'teacher' in key for key in stored)


# ---- bad input -------------------------------------------------------------------------------


def test_coarse_depth_that_is_missing_or_relative(tiny: SharpDepth) -> None:
    with pytest.raises(MetricDepthError, match='is given no coarse depth, expected one in metres'):
        tiny.draw(look(None), 1, seeded())
    relative = CoarseDepth(ramp(), metric=False, disparity=True)
    with pytest.raises(MetricDepthError, match='is given a relative coarse depth'):
        tiny.draw(look(relative), 1, seeded())


def test_sizes_samples_and_steps(tiny: SharpDepth) -> None:
    with pytest.raises(MetricDepthError, match='conditioning is 60x32, expected multiples of 8'):
        tiny.draw(look(CoarseDepth(ramp(32, 60)), 32, 60), 1, seeded())
    with pytest.raises(MetricDepthError, match='num_samples is 0, expected at least 1'):
        tiny.draw(look(CoarseDepth(ramp())), 0, seeded())
    with pytest.raises(MetricDepthError, match='num_steps is 0, expected at least 1'):
        tiny.draw(look(CoarseDepth(ramp())), 1, seeded(), num_steps=0)


def test_a_network_of_other_channels() -> None:
    with pytest.raises(LatentError, match='unet takes 12 channels, expected 8 for SharpDepth'):
        SharpDepth(SharpDepthConfig.tiny(), LatentNetwork(LatentConfig.tiny(12)))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'gate': 1.5}, 'gate 1.5, expected 0 to 1'),
        ({'teacher_decay': -0.1}, 'teacher_decay -0.1, expected 0 to 1'),
        ({'distillation_times': (0.5, 0.5)}, r'distillation_times \(0.5, 0.5\), expected two'),
    ],
)
def test_configs_that_make_no_sense(changes: dict, message: str) -> None:
    with pytest.raises(MetricDepthError, match=message):
        replace(SharpDepthConfig.tiny(), **changes)


def test_through_the_predictor(tiny: SharpDepth, tmp_path: Path) -> None:
    camera = Camera(50, 50, 39.5, 24.5, 80, 50, 'plumb_bob', (-0.1, 0.01, 0.0, 0.0))
    pixels = torch.randint(0, 256, (50, 80, 3), generator=seeded())
    frame = Frame(pixels.to(torch.uint8), camera, stamp_ns=7)
    torch.manual_seed(0)
    coarse = Predictor(Grin(GrinConfig.tiny()), name='tiny-grin', device='cpu', num_samples=1)
    first, second = (Predictor(tiny, seed=4, device='cpu', coarse=coarse)(frame) for _ in range(2))
    assert torch.equal(first.depth.nan_to_num(), second.depth.nan_to_num())
    known = first.depth.isfinite()
    assert known.any()
    assert (first.std[known] > 0).all()

    with pytest.raises(CoarseModelError, match="model 'sharp' refines a coarse depth: give it"):
        Predictor(tiny, name='sharp', device='cpu')
    coarse.method.metric = False  # type: ignore[attr-defined]
    with pytest.raises(CoarseModelError, match="'tiny-grin', whose depth is relative"):
        Predictor(tiny, name='sharp', device='cpu', coarse=coarse)
    checkpoint.save(tmp_path / 'sharp', tiny, Card('sharp', 'Apache-2.0', 'a test'))
    with pytest.raises(CoarseModelError, match="model 'sharp' refines a coarse depth"):
        load_predictor(str(tmp_path / 'sharp'), device='cpu')


def test_the_presets_are_listed() -> None:
    entries = {entry.name: entry for entry in checkpoint.models()}
    assert entries['sharpdepth'].parameters == entries['metricgold'].parameters
    assert entries['sharpdepth-small'].parameters == entries['metricgold-small'].parameters
