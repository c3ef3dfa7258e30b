from __future__ import annotations

from dataclasses import asdict, replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from metric_depth_ros import geometry
from metric_depth_ros.errors import MetricDepthError
from metric_depth_ros.looks import mirrored
from metric_depth_ros.methods import METHODS
from metric_depth_ros.methods.grin import Grin, GrinConfig
from metric_depth_ros.nn import sampling
from metric_depth_ros.nn.patches import PatchEmbedding
from metric_depth_ros.nn.rin import RinConfig
from metric_depth_ros.training.batch import Batch
from metric_depth_ros.training.lion import Lion
from metric_depth_ros.training.objectives.grin import loss
from metric_depth_ros.types import Camera, Conditioning

HEIGHT, WIDTH = 32, 64
PAPER_PARAMETERS = 341_563_599


def config_with(**changes) -> GrinConfig:
    return replace(GrinConfig.tiny(), **changes)


def network(config: GrinConfig | None = None, seed: int = 0) -> Grin:
    """Random weights, so that everything has an effect on the output, but none drowns the rest."""
    torch.manual_seed(seed)
    method = Grin(config or GrinConfig.tiny()).eval()
    torch.nn.init.normal_(method.head[1].weight, std=0.1)
    if method.regression is not None:
        torch.nn.init.normal_(method.regression.weight, std=0.02)
    torch.nn.init.ones_(method.rin.previous_norm.weight)
    return method


def look(
    focal: float = 50.0, height: int = HEIGHT, width: int = WIDTH, seed: int = 5
) -> Conditioning:
    camera = Camera(focal, focal, (width - 1) / 2, (height - 1) / 2, width, height)
    image = 2 * torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed)) - 1
    rays = geometry.rays(camera).permute(2, 0, 1).contiguous()
    return Conditioning(image, rays, torch.ones(height, width, dtype=torch.bool))


def batch(distance: float = 3.0) -> Batch:
    """One image, all of it at so many metres of ray distance."""
    scene = look()
    everywhere = torch.full((1, HEIGHT, WIDTH), distance)
    return Batch(
        scene.image[None], scene.rays[None], everywhere, scene.valid[None], scene.valid[None]
    )


def draw(method: Grin, conditioning: Conditioning, samples: int = 2, **options) -> Tensor:
    return method.draw(conditioning, samples, torch.Generator().manual_seed(3), **options)


VARIANTS = {
    'tiny': {},
    'noise': {'predict_velocity': False, 'data_loss': False, 'diffuse_residual': False},
    'without_local': {'local_width': 0},
    'without_global': {'use_global': False},
    'linear_code': {'code_base': 1.0},
    'refined': {'refine_width': 8},
    'smooth': {'regression_upsampling': 'smooth'},
    'mirrored': {'mirror_samples': True},
    'as_the_paper': {
        'encoder_group_norm': False, 'encoder_takes_rays': False, 'top_down': False,
        'pixel_features': False, 'predict_velocity': False, 'data_loss': False,
        'regression_weight': 0.0,
        'diffusion_share': 1.0, 'diffuse_residual': False, 'data_scale': 1.0,
        'read_pixels': None, 'centre_bands': 4,
        'rin': replace(GrinConfig.tiny().rin, linear_attention=True),
    },
}  # fmt: skip


@pytest.mark.parametrize('name', VARIANTS)
def test_draw(name: str) -> None:
    method = network(config_with(**VARIANTS[name]))
    depth = draw(method, look(height=64, width=32), samples=3)
    assert depth.shape == (3, 64, 32)
    assert depth.dtype == torch.float32
    assert not depth.isnan().any()
    assert (depth > 0).all()
    assert depth.isfinite().any()
    assert (depth[0] != depth[1]).any()


def test_the_registry_and_the_paper_s_size() -> None:
    assert METHODS['grin'] is Grin
    assert Grin.Config is GrinConfig
    with torch.device('meta'):
        paper, small = Grin(GrinConfig.paper()), Grin(GrinConfig.small())
    count = sum(p.numel() for p in paper.parameters())
    assert count == pytest.approx(PAPER_PARAMETERS, rel=0.002)
    # As a checkpoint stores them: what others trained, and is frozen, in half precision.
    assert sum(p.numel() * (4 if p.requires_grad else 2) for p in small.parameters()) < 25e6


@pytest.mark.parametrize('preset', Grin.PRESETS)
def test_config_survives_json(preset: str) -> None:
    config = Grin.PRESETS[preset]()
    again = GrinConfig(**asdict(config))
    assert again == config
    assert isinstance(again.rin, RinConfig)


def test_same_seed_same_samples() -> None:
    method, scene = network(), look()
    assert torch.equal(draw(method, scene), draw(method, scene))
    other = method.draw(scene, 2, torch.Generator().manual_seed(4))
    assert not torch.equal(other, draw(method, scene))


def test_samples_do_not_depend_on_how_many_go_at_a_time(monkeypatch) -> None:
    method, scene = network(), look()
    together = draw(method, scene, samples=3)
    monkeypatch.setattr('metric_depth_ros.methods.grin.TOKENS_PER_PASS', 1)
    torch.testing.assert_close(draw(method, scene, samples=3), together, rtol=1e-4, atol=1e-4)


def test_a_region_has_the_dense_call_s_values() -> None:
    method, scene = network(), look()
    targets = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    targets[5:9, 20:31] = True
    dense = draw(method, scene)
    region = draw(method, scene, targets=targets)
    torch.testing.assert_close(region[:, targets], dense[:, targets], rtol=1e-4, atol=1e-4)
    assert region[:, ~targets].isnan().all()
    assert draw(method, scene, targets=targets & ~targets).isnan().all()


def test_every_second_sample_is_of_the_mirrored_view() -> None:
    plain, mirror, scene = network(), network(config_with(mirror_samples=True)), look()
    both = draw(mirror, scene, samples=3)
    torch.testing.assert_close(both[::2], draw(plain, scene, samples=3)[::2], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(both[1], draw(plain, scene, samples=3)[1], rtol=1e-2)

    # Mirrored once more, the first sample sees what the second saw: only their noise differs.
    sharp = config_with(mirror_samples=True, data_scale=1e-6)  # nothing is left to diffuse
    sharp_network = network(sharp)
    there, back = draw(sharp_network, scene), draw(sharp_network, mirrored(scene))
    torch.testing.assert_close(there[1], back[0].flip(-1), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(there[0], there[1], rtol=1e-3)


def test_a_region_of_mirrored_samples_has_the_dense_call_s_values() -> None:
    method, scene = network(config_with(mirror_samples=True)), look()
    targets = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    targets[5:9, 20:31] = True
    dense, region = draw(method, scene, samples=3), draw(method, scene, samples=3, targets=targets)
    torch.testing.assert_close(region[:, targets], dense[:, targets], rtol=1e-4, atol=1e-4)
    assert region[:, ~targets].isnan().all()


def test_with_all_pixels_read_a_region_is_still_predicted() -> None:
    """As in the paper: latents read what is asked for, so values differ from the dense ones."""
    method, scene = network(config_with(read_pixels=None)), look()
    targets = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    targets[5:9, 20:31] = True
    region = draw(method, scene, targets=targets)
    assert not region[:, targets].isnan().any()
    assert not torch.allclose(region[:, targets], draw(method, scene)[:, targets])


def test_few_global_tokens_still_predict_and_all_of_them_change_nothing() -> None:
    scene = look()
    dense = draw(network(), scene)
    cells = HEIGHT // 4 * WIDTH // 4
    few = draw(network(config_with(read_globals=cells // 4)), scene)
    assert few.isfinite().all()
    assert not torch.equal(few, dense)
    all_of_them = draw(network(config_with(read_globals=cells)), scene)
    torch.testing.assert_close(all_of_them, dense, rtol=1e-4, atol=1e-4)


def test_the_schedule_is_the_config_s() -> None:
    t = torch.linspace(0, 1, 5)
    assert torch.equal(network().gamma(t), sampling.sigmoid_gamma(t))
    steep = network(config_with(noise_schedule=(0.0, 4.0, 0.5)))
    assert torch.equal(steep.gamma(t), sampling.sigmoid_gamma(t, 0.0, 4.0, 0.5))
    assert not torch.equal(draw(steep, look()), draw(network(), look()))


@torch.no_grad()
@pytest.mark.parametrize(('clip', 'expected'), [(True, 1.0), (False, 9.0)])
def test_x_0_is_clipped_if_the_config_says_so(clip: bool, expected: float) -> None:
    method = Grin(config_with(diffuse_residual=False, data_scale=1.0, clip_data=clip)).eval()
    method.head[1].bias.fill_(-9.0)  # v = -9 everywhere, hence x_0 = 9 from no noise at t = 1
    scene = look()
    encoded = method.encode(*(x[None] for x in (scene.image, scene.rays, scene.valid)))
    pixels = torch.arange(8)[None]
    tokens = method.tokens(encoded, pixels, torch.ones(1, 8, dtype=torch.bool))
    codes = method._sample_codes(tokens, torch.zeros(1, 8), num_steps=1)
    torch.testing.assert_close(codes, torch.full((1, 8), expected), rtol=1e-3, atol=0)


def test_smooth_codes_do_not_step_where_cells_meet() -> None:
    """One code a cell is interpolated; what a cell says beyond its mean stays the cell's own."""
    smooth = network(config_with(regression_upsampling='smooth'))
    shuffle = network(config_with(regression_upsampling='shuffle'))
    bilinear = network(config_with(regression_upsampling='bilinear'))
    merged = torch.randn(1, 16, HEIGHT // 4, WIDTH // 4)
    image = look().image[None]
    head, single = smooth.regression, bilinear.regression
    with torch.no_grad():
        shuffle.regression.load_state_dict(head.state_dict())
        single.weight.copy_(head.weight.mean(dim=0, keepdim=True))
        single.bias.copy_(head.bias.mean(dim=0, keepdim=True))
        said = [m._regress(merged, image) for m in (smooth, shuffle, bilinear)]
    cells = F.avg_pool2d(said[1], 4)
    own = said[1] - cells.repeat_interleave(4, 1).repeat_interleave(4, 2)
    torch.testing.assert_close(said[0], said[2] + own)
    assert own.std() > 0.1 * cells.std()


def test_the_refinement_begins_as_nothing_and_smooths_across_cells() -> None:
    plain, refined = network(), network(config_with(refine_width=8))
    assert refined.refinement is not None
    refined.load_state_dict({**refined.state_dict(), **plain.state_dict()})
    torch.testing.assert_close(refined.regress(look()), plain.regress(look()))

    # It learns what the head cannot: a code that is a blur of the image, pixel by pixel.
    torch.manual_seed(1)
    image, merged = look().image[None], torch.randn(1, 16, HEIGHT // 4, WIDTH // 4)
    wanted = F.avg_pool2d(image, 3, 1, 1).mean(dim=1, keepdim=True)
    refinement, start = refined.refinement, torch.zeros(1, 1, HEIGHT, WIDTH)
    optimizer = torch.optim.Adam(refinement.parameters(), 0.01)
    for _ in range(150):
        loss_now = F.mse_loss(refinement(start, image, merged), wanted)
        optimizer.zero_grad()
        loss_now.backward()
        optimizer.step()
    assert loss_now < 0.1 * wanted.square().mean()


def test_the_camera_alone_changes_the_depth() -> None:
    method = network()
    assert not torch.allclose(draw(method, look(50.0)), draw(method, look(80.0)), rtol=1e-3)


@pytest.mark.parametrize('takes_rays', [True, False])
def test_what_is_not_valid_has_no_influence(takes_rays: bool) -> None:
    method = network(config_with(encoder_takes_rays=takes_rays))
    scene = look()
    valid = torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
    valid[:, :9] = False
    valid[20:, 40:] = False
    plain = Conditioning(scene.image.where(valid, 0), scene.rays.where(valid, 0), valid)
    garbage = Conditioning(
        scene.image.where(valid, torch.nan), scene.rays.where(valid, 1e6), valid
    )
    depth = draw(method, plain)
    assert torch.equal(depth.isnan(), ~valid.expand_as(depth))
    torch.testing.assert_close(draw(method, garbage), depth, equal_nan=True)
    nothing = Conditioning(scene.image, scene.rays, torch.zeros_like(valid))
    assert draw(method, nothing).isnan().all()


@torch.no_grad()
def test_batch_is_single() -> None:
    method = network()
    scenes = [look(50.0), replace(look(70.0), image=-look().image)]
    pixels = torch.tensor([[3, 700, 1500, 44], [90, 91, 2047, 0]])
    readable = torch.tensor([[True, True, False, True], [True, False, True, True]])
    noisy, t = torch.randn(2, 4), torch.tensor([0.3, 0.8])

    def run(which: list[int]) -> Tensor:
        encoded = method.encode(
            torch.stack([scenes[i].image for i in which]),
            torch.stack([scenes[i].rays for i in which]),
            torch.stack([scenes[i].valid for i in which]),
        )
        tokens = method.tokens(encoded, pixels[which], readable[which])
        return method.denoise(tokens, noisy[which], t[which])[0]

    both = run([0, 1])
    torch.testing.assert_close(run([0])[0], both[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(run([1])[0], both[1], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_depth_is_along_z() -> None:
    """A network that always says the same code says the same ray_distance everywhere."""
    method = Grin(config_with(diffuse_residual=False, predict_velocity=True)).eval()
    method.head[1].bias.fill_(0.0)  # v = 0, hence x_0 = sqrt(gamma) x_t = 0 from t = 1
    scene = look()
    depth = draw(method, scene, num_steps=1)
    middle = method.from_code(torch.tensor(0.0))
    torch.testing.assert_close(depth, (middle * scene.rays[2]).expand(2, -1, -1), rtol=1e-3,
                               atol=1e-3)  # fmt: skip


@torch.no_grad()
def test_far_away_is_infinite() -> None:
    method = Grin(config_with(diffuse_residual=False)).eval()
    method.head[1].bias.fill_(-100.0)  # v far below zero, hence x_0 clipped at 1
    assert draw(method, look()).isposinf().all()


@torch.no_grad()
def test_patch_embedding_is_a_convolution() -> None:
    torch.manual_seed(0)
    patches = PatchEmbedding(3, kernel=5, width=7)
    image = torch.randn(2, 3, 12, 17)
    everywhere = torch.arange(12 * 17).expand(2, -1)
    kernel = patches.project.weight.view(7, 3, 5, 5)
    padded = F.pad(image, [2] * 4, mode='reflect')
    expected = F.conv2d(padded, kernel, patches.project.bias).flatten(2).transpose(1, 2)
    torch.testing.assert_close(patches(image, everywhere), expected, rtol=1e-5, atol=1e-5)
    some = torch.tensor([[0, 16, 203], [5, 100, 187]])
    torch.testing.assert_close(
        patches(image, some), expected.gather(1, some[..., None].expand(-1, -1, 7)), rtol=1e-5,
        atol=1e-5,
    )  # fmt: skip


def test_what_cannot_be_is_refused() -> None:
    method = network()
    with pytest.raises(MetricDepthError, match='60x32, expected multiples of 32'):
        draw(method, look(width=60))
    with pytest.raises(MetricDepthError, match='num_samples is 0'):
        draw(method, look(), samples=0)
    with pytest.raises(MetricDepthError, match='num_steps is 0'):
        draw(method, look(), num_steps=0)
    with pytest.raises(MetricDepthError, match='no image input'):
        config_with(local_width=0, use_global=False, pixel_features=False)
    with pytest.raises(MetricDepthError, match='expected start < end'):
        config_with(noise_schedule=(3.0, -3.0, 1.0))
    with pytest.raises(MetricDepthError, match="local_padding 'wrap', expected reflect"):
        config_with(local_padding='wrap')
    with pytest.raises(MetricDepthError, match='regression_weight'):
        config_with(regression_weight=0.0)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_paper_s_network_draws_and_trains() -> None:
    """All 342 million parameters, once forward and once backward, in less than 6 GB."""
    torch.manual_seed(0)
    method = Grin(GrinConfig.paper())
    scene = look()
    depth = draw(method.eval(), scene, samples=1, num_steps=1)
    assert depth.shape == (1, HEIGHT, WIDTH)
    assert not depth.isnan().any()

    ray_distance = 2 + scene.rays[0] + scene.rays[1]
    batch = Batch(
        scene.image[None], scene.rays[None], ray_distance[None], scene.valid[None],
        scene.valid[None],
    )  # fmt: skip
    optimizer = Lion(method.parameters(), lr=1e-4)
    losses = loss(method.train(), batch, torch.Generator().manual_seed(0))
    assert losses['loss'].item() == pytest.approx(1, abs=0.1)  # of the noise: the head says 0
    losses['loss'].backward()
    before = method.head[1].weight.detach().clone()
    optimizer.step()
    assert not torch.equal(method.head[1].weight, before)
    for name, parameter in method.named_parameters():
        assert parameter.grad is None or bool(parameter.grad.isfinite().all()), name
