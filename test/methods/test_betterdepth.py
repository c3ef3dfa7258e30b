"""BetterDepth: its range and quantities, its sampler, what it begins with, its folders."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from metric_depth_ros import checkpoint
from metric_depth_ros.checkpoint import Card
from metric_depth_ros.errors import MetricDepthError
from metric_depth_ros.methods import METHODS
from metric_depth_ros.methods.betterdepth import BetterDepth, BetterDepthConfig, CodeRange
from metric_depth_ros.methods.grin import Grin, GrinConfig
from metric_depth_ros.nn import latent as nn_latent
from metric_depth_ros.nn.latent import LatentConfig, LatentError, LatentNetwork
from metric_depth_ros.predictor import CoarseModelError, Predictor
from metric_depth_ros.types import Camera, CoarseDepth, Conditioning, Frame

diffusers = pytest.importorskip('diffusers')

HEIGHT, WIDTH = 32, 64


@pytest.fixture(scope='module')
def tiny() -> BetterDepth:
    torch.manual_seed(0)
    return BetterDepth(BetterDepthConfig.tiny()).eval()


def ramp(height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    """1 to 20 m from left to right, growing by the same factor from pixel to pixel."""
    return torch.logspace(0, np.log10(20), width).expand(height, width).clone()


def look(coarse: CoarseDepth | None, height: int = HEIGHT, width: int = WIDTH) -> Conditioning:
    image = 2 * torch.rand(3, height, width, generator=torch.Generator().manual_seed(5)) - 1
    rays = torch.tensor([0.0, 0.0, 1.0])[:, None, None].expand(3, height, width)
    return Conditioning(image, rays, torch.ones(height, width, dtype=torch.bool), coarse)


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def agreeing(method: BetterDepth, monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples that agree with the coarse depth exactly, as the autoencoder shows it."""

    def sample_codes(image, codes, num_samples, num_steps, generator):
        with torch.no_grad():
            shown = method.latent.decode_depth(method.latent.encode_depth(codes[None]))
        return shown.expand(num_samples, -1, -1)

    monkeypatch.setattr(method, 'sample_codes', sample_codes)


# ---- the range -------------------------------------------------------------------------------


def test_the_range_is_that_of_the_percentiles() -> None:
    values = torch.rand(2, 40, 50, generator=seeded())
    known = torch.rand(2, 40, 50, generator=seeded(4)) < 0.7
    span = CodeRange.of(values, known)
    for i in range(2):
        expected = np.percentile(values[i][known[i]].numpy(), [2, 98])
        found = [span.low[i].item(), span.high[i].item()]
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    codes = span.encode(values)
    assert codes[0, known[0]].abs().le(1).float().mean() == pytest.approx(0.96, abs=0.005)
    torch.testing.assert_close(span.decode(codes), values)


@pytest.mark.parametrize('power', [1, 0, -1])
def test_the_quantity_is_undone_exactly(power: int) -> None:
    method = BetterDepth(replace(BetterDepthConfig.tiny(), power=power)).double()
    depth = torch.logspace(-1, np.log10(79), 500, dtype=torch.float64)
    quantity = method.quantity(depth)
    truth = {1: depth, 0: (10 * depth).log(), -1: 1 / depth}[power]
    torch.testing.assert_close(quantity, truth)
    torch.testing.assert_close(method.metres(quantity), depth, atol=0, rtol=1e-12)
    far = method.quantity(torch.tensor([90.0, torch.inf]))
    assert method.metres(far).isposinf().all()


@pytest.mark.parametrize('power', [1, 0, -1])
def test_a_coarse_depth_that_is_agreed_with_comes_back_in_metres(
    power: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = BetterDepth(replace(BetterDepthConfig.tiny(), power=power))
    agreeing(method, monkeypatch)
    depth = ramp()
    depth[0, :3] = torch.tensor([0.2, 0.3, 0.4])  # fewer than two in a hundred: cut off
    depth[-1, -1] = torch.inf
    drawn = method.draw(look(CoarseDepth(depth)), 2, seeded())
    torch.testing.assert_close(drawn, depth.expand(2, -1, -1), rtol=1e-4, atol=0)


def test_where_a_sample_disagrees_it_stands_alone(
    tiny: BetterDepth, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sample_codes(image, codes, num_samples, num_steps, generator):
        return torch.full((num_samples, HEIGHT, WIDTH), 5.0)  # no autoencoder says that

    monkeypatch.setattr(tiny, 'sample_codes', sample_codes)
    refined = tiny.refine(look(CoarseDepth(ramp())), 1, seeded())
    low, high = np.percentile(np.log(10 * ramp()[0].numpy()).repeat(HEIGHT), [2, 98])
    torch.testing.assert_close(refined, torch.full_like(refined, low + 3 * (high - low)))


def test_relative_disparity_comes_back_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    method = BetterDepth(replace(BetterDepthConfig.tiny(), power=-1))
    agreeing(method, monkeypatch)
    coarse = CoarseDepth(300 / ramp() - 20, metric=False, disparity=True)
    refined = method.refine(look(coarse), 1, seeded())
    torch.testing.assert_close(refined[0], coarse.values, rtol=1e-4, atol=1e-3)


# ---- samples ---------------------------------------------------------------------------------


def test_samples_are_metres_near_the_range_of_the_coarse_depth(tiny: BetterDepth) -> None:
    conditioning = look(CoarseDepth(ramp()))
    conditioning.valid[:, :8] = False
    depth = tiny.draw(conditioning, 3, seeded())
    assert depth.shape == (3, HEIGHT, WIDTH)
    assert depth.dtype == torch.float32
    assert torch.equal(depth.isnan(), ~conditioning.valid.expand(3, -1, -1))
    seen = depth[:, conditioning.valid]
    assert (seen > 0.8).all()
    assert (seen < 24).all()
    assert (depth[0] != depth[1]).any()
    assert torch.equal(tiny.draw(conditioning, 3, seeded()).nan_to_num(), depth.nan_to_num())
    assert not torch.equal(tiny.draw(conditioning, 3, seeded(4)).nan_to_num(), depth.nan_to_num())


def test_one_at_a_time_is_as_all_at_once(
    tiny: BetterDepth, monkeypatch: pytest.MonkeyPatch
) -> None:
    conditioning = look(CoarseDepth(ramp(24, 40)), 24, 40)
    together = tiny.draw(conditioning, 3, seeded())
    monkeypatch.setattr(nn_latent, 'PIXELS_PER_PASS', 1)
    torch.testing.assert_close(
        tiny.draw(conditioning, 3, seeded()), together, rtol=1e-4, atol=1e-4
    )


def test_the_sampler_is_that_of_diffusers(tiny: BetterDepth) -> None:
    """Image, coarse and noisy latents in this order, DDIM from noise alone."""
    conditioning = look(CoarseDepth(ramp()))
    codes = torch.linspace(-1, 1, WIDTH).expand(HEIGHT, WIDTH)
    found = tiny.sample_codes(conditioning.image, codes, 1, 3, seeded())[0]
    vae, unet = tiny.latent.vae, tiny.latent.unet
    scheduler = diffusers.DDIMScheduler.from_config(tiny.latent.scheduler.config)
    scheduler.set_timesteps(3)
    with torch.no_grad():
        image = vae.encode(conditioning.image[None]).latent_dist.mode()
        coarse = vae.encode(codes.expand(1, 3, -1, -1)).latent_dist.mode()
        latents = torch.randn(image.shape, generator=seeded())
        for t in scheduler.timesteps:
            joined = torch.cat([image, coarse, latents], dim=1)
            output = unet(joined, t, tiny.latent.empty_prompt).sample
            latents = scheduler.step(output, t, latents).prev_sample
        expected = vae.decode(latents).sample[0].mean(dim=0).clamp(-1, 1)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize('num_steps', [1, 2, 50])
def test_few_steps_or_many(tiny: BetterDepth, num_steps: int) -> None:
    depth = tiny.draw(look(CoarseDepth(ramp())), 1, seeded(), num_steps=num_steps)
    assert depth.isfinite().all()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_and_tiles(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    latent = LatentNetwork(LatentConfig.tiny(12)).to(dtype)
    method = BetterDepth(replace(BetterDepthConfig.tiny(), tiled=True), latent).eval()
    assert method.latent.vae.use_tiling
    depth = method.draw(look(CoarseDepth(ramp())), 1, seeded())
    assert depth.dtype == torch.float32
    assert depth.isfinite().all()


def test_without_a_single_coarse_pixel_there_is_no_depth(tiny: BetterDepth) -> None:
    nothing = CoarseDepth(torch.full((HEIGHT, WIDTH), torch.nan))
    assert tiny.draw(look(nothing), 2, seeded()).isnan().all()


def test_a_flat_wall_and_holes_in_the_coarse_depth(tiny: BetterDepth) -> None:
    wall = torch.full((HEIGHT, WIDTH), 3.0)
    wall[:5] = torch.nan
    torch.testing.assert_close(
        tiny.draw(look(CoarseDepth(wall)), 1, seeded())[0], torch.full((HEIGHT, WIDTH), 3.0)
    )


def test_the_predictor_takes_median_or_mean() -> None:
    torch.manual_seed(0)
    latent = LatentNetwork(LatentConfig.tiny(12))
    coarse = Predictor(Grin(GrinConfig.tiny()), name='grin', num_samples=1, device='cpu')
    camera = Camera(50, 50, 39.5, 24.5, 80, 50, 'plumb_bob', (-0.1, 0.01, 0.0, 0.0))
    pixels = torch.randint(0, 256, (50, 80, 3), generator=seeded())
    frame = Frame(pixels.to(torch.uint8), camera, stamp_ns=7)
    predictions = []
    for mean in (False, True, True):
        config = replace(BetterDepthConfig.tiny(), mean_ensemble=mean, num_samples=3)
        method = BetterDepth(config, latent)
        predictor = Predictor(method, device='cpu', coarse=coarse)
        predictions.append(predictor(frame))
        view = predictor.view_camera(camera)
        samples = method.draw(predictor.condition(frame, view), 3, seeded(0))
    median, mean, again = predictions
    assert torch.equal(mean.depth.nan_to_num(), again.depth.nan_to_num())
    known = median.depth.isfinite()
    assert known.any()
    assert (median.depth[known] != mean.depth[known]).any()
    assert (mean.std[known] > 0).all()
    low, high = samples[samples.isfinite()].aminmax()
    assert (mean.depth[known] >= low).all()
    assert (mean.depth[known] <= high).all()


# ---- what it begins with ---------------------------------------------------------------------


def test_stable_diffusion_is_repeated_and_divided() -> None:
    network = LatentNetwork(LatentConfig.tiny(4))
    before = network.unet.conv_in
    method = BetterDepth.on(network, BetterDepthConfig.tiny())
    x = torch.randn(1, 4, 8, 8, generator=seeded())
    after = method.latent.unet.conv_in(torch.cat([x, x, x], dim=1))
    torch.testing.assert_close(after, before(x))
    assert method.config.latent.unet['in_channels'] == 12
    assert method.latent.unet.config.in_channels == 12


def test_marigold_s_view_of_depth_is_divided() -> None:
    network = LatentNetwork(LatentConfig.tiny(8))
    before = network.unet.conv_in
    method = BetterDepth.on(network, BetterDepthConfig.tiny())
    image, x = torch.randn(2, 1, 4, 8, 8, generator=seeded())
    after = method.latent.unet.conv_in(torch.cat([image, x, x], dim=1))
    torch.testing.assert_close(after, before(torch.cat([image, x], dim=1)))
    scheduler = method.latent.scheduler
    scheduler.set_timesteps(2)
    assert scheduler.timesteps.tolist() == [999, 499]


def test_a_denoiser_of_other_channels() -> None:
    message = 'unet takes 8 channels, expected 12 for BetterDepth'
    with pytest.raises(LatentError, match=message) as caught:
        BetterDepth(BetterDepthConfig.tiny(), LatentNetwork(LatentConfig.tiny(8)))
    assert '\n' not in str(caught.value)
    unconditioned = replace(BetterDepthConfig.tiny(), conditioned=False)
    with pytest.raises(LatentError, match='unet takes 12 channels, which cannot be widened to 8'):
        BetterDepth.on(LatentNetwork(LatentConfig.tiny(12)), unconditioned)


def test_unconditioned_only_the_range_is_of_the_coarse_depth() -> None:
    torch.manual_seed(0)
    config = replace(BetterDepthConfig.tiny(), conditioned=False)
    method = BetterDepth.on(LatentNetwork(LatentConfig.tiny(8)), config).eval()
    first = method.refine(look(CoarseDepth(ramp())), 1, seeded())
    mirrored = method.refine(look(CoarseDepth(ramp().flip(-1))), 1, seeded())
    middle = (slice(None), slice(None), slice(4, -4))  # nothing is cut off there
    torch.testing.assert_close(first[middle], mirrored[middle])


# ---- folders ---------------------------------------------------------------------------------


def test_a_checkpoint_opens_again_and_with_plain_diffusers(
    tiny: BetterDepth, tmp_path: Path
) -> None:
    card = Card('tiny', 'Apache-2.0', 'a test', readme='# tiny\n')
    checkpoint.save(tmp_path / 'ours', tiny, card)
    loaded = checkpoint.load(tmp_path / 'ours')
    assert loaded.card == card
    assert replace(loaded.method.config, latent=tiny.config.latent) == tiny.config
    conditioning = look(CoarseDepth(ramp()))
    found = loaded.method.draw(conditioning, 1, seeded())
    assert torch.equal(found, tiny.draw(conditioning, 1, seeded()))
    unet = diffusers.UNet2DConditionModel.from_pretrained(tmp_path / 'ours', subfolder='unet')
    assert unet.config.in_channels == 12
    diffusers.AutoencoderKL.from_pretrained(tmp_path / 'ours', subfolder='vae')
    diffusers.DDIMScheduler.from_pretrained(tmp_path / 'ours', subfolder='scheduler')


def test_the_registry_and_the_size_of_the_paper_s() -> None:
    assert METHODS['betterdepth'] is BetterDepth
    entries = {entry.name: entry for entry in checkpoint.models()}
    # Stable Diffusion 2's denoiser, eight more inputs of 320 3x3 filters, its autoencoder.
    assert entries['betterdepth'].parameters == 865_910_724 + 8 * 320 * 9 + 83_653_863
    assert entries['betterdepth-small'].method == 'betterdepth'


# ---- what it cannot take ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ('conditioning', 'options', 'message'),
    [
        (look(None), {}, 'there is none: give it a coarse model'),
        (look(CoarseDepth(ramp(), metric=False)), {}, 'is relative, expected metres'),
        (look(CoarseDepth(ramp(32, 60)), 32, 60), {}, '60x32, expected multiples of 8'),
        (look(CoarseDepth(ramp())), {'num_steps': 1001}, 'num_steps is 1001, expected 1 to 1000'),
        (look(CoarseDepth(ramp())), {'num_samples': 0}, 'num_samples is 0'),
    ],
)
def test_bad_arguments(
    tiny: BetterDepth, conditioning: Conditioning, options: dict, message: str
) -> None:
    with pytest.raises(MetricDepthError, match=message) as caught:
        tiny.draw(conditioning, **{'num_samples': 1, 'generator': seeded(), **options})
    assert '\n' not in str(caught.value)


def test_relative_disparity_where_depth_is_refined(tiny: BetterDepth) -> None:
    coarse = CoarseDepth(ramp(), metric=False, disparity=True)
    with pytest.raises(MetricDepthError, match='relative disparity, but this BetterDepth refines'):
        tiny.refine(look(coarse), 1, seeded())


def test_the_predictor_wants_a_metric_coarse_model(tiny: BetterDepth) -> None:
    with pytest.raises(CoarseModelError, match="'b' refines a coarse depth: give it a coarse"):
        Predictor(tiny, name='b', device='cpu')
    relative = Predictor(Grin(GrinConfig.tiny()), name='relative', device='cpu')
    relative.method.metric = False
    with pytest.raises(CoarseModelError, match="'relative', whose depth is relative, but model"):
        Predictor(tiny, name='b', device='cpu', coarse=relative)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'power': 2}, 'power 2, expected -1, 0, 1'),
        ({'patch': 0}, 'patch 0, expected 1 or more'),
        ({'tolerance': 0.0}, r'tolerance 0\.0, expected above 0'),
        ({'near': 200.0}, r'near 200\.0, expected above 0, below far 100\.0'),
    ],
)
def test_senseless_configs(changes: dict, message: str) -> None:
    with pytest.raises(MetricDepthError, match=message):
        replace(BetterDepthConfig.tiny(), **changes)
