"""SharpDepth's losses: by hand, where their gradient goes, and what they do not look at."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

pytest.importorskip('diffusers')

from metric_depth_ros.errors import MetricDepthError
from metric_depth_ros.methods.sharpdepth import SharpDepth, SharpDepthConfig
from metric_depth_ros.nn.latent import LatentConfig, LatentNetwork
from metric_depth_ros.training.batch import Batch
from metric_depth_ros.training.objectives.sharpdepth import distillation_loss, loss
from metric_depth_ros.types import CoarseDepth

HEIGHT, WIDTH = 32, 48


def pretrained(**changes) -> SharpDepth:
    torch.manual_seed(0)
    network = LatentNetwork(LatentConfig.tiny())
    return SharpDepth.on(network, replace(SharpDepthConfig.tiny(), **changes))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(count: int = 2) -> Batch:
    """A wall and a step before it, seen through coarse depth that has a slope there."""
    image = 2 * torch.rand(count, 3, HEIGHT, WIDTH, generator=seeded(5)) - 1
    coarse = torch.linspace(2, 6, WIDTH).expand(count, HEIGHT, WIDTH).clone()
    truth = torch.where(coarse < 4, 2.0, 6.0)
    inside = torch.ones_like(truth, dtype=torch.bool)
    rays = torch.tensor([0.0, 0.0, 1.0])[:, None, None].expand(count, 3, HEIGHT, WIDTH)
    return Batch(image, rays, truth, inside, inside, coarse=CoarseDepth(coarse))


def step(method: SharpDepth, optimizer: torch.optim.Optimizer, seed: int = 0) -> dict[str, Tensor]:
    losses = loss(method, batch(), seeded(seed))
    optimizer.zero_grad()
    losses['loss'].backward()
    optimizer.step()
    return losses


def optimizer_of(method: SharpDepth) -> torch.optim.Optimizer:
    return torch.optim.Adam(method.parameters(), lr=3e-3)


# ---- the losses ------------------------------------------------------------------------------


def test_the_loss_falls_on_one_batch() -> None:
    method = pretrained()
    optimizer = optimizer_of(method)
    losses = [step(method, optimizer, seed=i % 2) for i in range(40)]
    assert set(losses[0]) == {'loss', 'sds', 'reconstruction', 'difference'}
    assert losses[-2]['loss'] < 0.8 * losses[0]['loss']
    assert losses[-2]['sds'] < 0.5 * losses[0]['sds']


def test_eq_5_by_hand() -> None:
    method = pretrained(distillation_times=(0.3, 0.6))
    assert method.distillation is not None
    prior, latent = method.distillation.prior, method.latent
    torch.nn.init.normal_(prior.conv_out.bias)  # the prior, not the model, is what is asked
    condition = torch.randn(3, 4, 4, 8, generator=seeded(1))
    latents = torch.randn(3, 4, 4, 8, generator=seeded(2)).requires_grad_()
    cells = torch.ones(3, 1, 4, 8)
    cells[0, :, :, :5] = 0
    distillation_loss(method, prior, latents, condition, cells, seeded()).backward()

    generator = seeded()
    t = torch.randint(300, 600, (3,), generator=generator)
    noise = torch.randn(latents.shape, generator=generator)
    share = latent.scheduler.alphas_cumprod[t][:, None, None, None]
    with torch.no_grad():
        noisy = share.sqrt() * latents + (1 - share).sqrt() * noise
        velocity = prior(
            torch.cat([condition, noisy], 1), t, latent.empty_prompt.expand(3, -1, -1)
        ).sample
        expected = latents - (share.sqrt() * noisy - (1 - share).sqrt() * velocity)
    expected = expected * cells / (cells.sum() * 4)
    torch.testing.assert_close(latents.grad, expected, rtol=1e-4, atol=1e-7)
    assert all(p.grad is None for p in method.parameters())


def test_eq_7_and_the_settings_without_a_loss() -> None:
    parts = loss(pretrained(), batch(), seeded())
    torch.testing.assert_close(parts['loss'], parts['sds'] + 0.3 * parts['reconstruction'])
    without_sds = loss(pretrained(sds_weight=0.0), batch(), seeded())  # Table 3, C
    torch.testing.assert_close(without_sds['loss'], 0.3 * parts['reconstruction'])
    without_other = loss(pretrained(reconstruction_weight=0.0), batch(), seeded())  # D
    torch.testing.assert_close(without_other['loss'], parts['sds'])


def test_the_gate_of_settings_a_and_b() -> None:
    method = pretrained(gate=0.0)
    comparison = method.compare(torch.zeros(2, HEIGHT, WIDTH), torch.rand(2, HEIGHT, WIDTH) + 1)
    noise = method.noise(batch().image, 0, seeded())[0]
    latents = method.latent.encode_depth(comparison.code)
    torch.testing.assert_close(method.gated(comparison, noise), latents)
    method = pretrained(gate=1.0)
    torch.testing.assert_close(method.gated(comparison, noise), noise)


def test_pretraining_learns_from_the_truth_alone() -> None:
    method = pretrained(pretraining=True, log_depth=True)
    assert method.distillation is None
    optimizer = optimizer_of(method)
    losses = [step(method, optimizer, seed=i % 2) for i in range(40)]
    assert set(losses[0]) == {'loss'}
    assert losses[-2]['loss'] < 0.8 * losses[0]['loss']
    whole = batch()
    expected = loss(method, whole, seeded())['loss']
    assert torch.equal(loss(method, replace(whole, coarse=None), seeded())['loss'], expected)
    hidden = whole.inside.clone()
    hidden[:, :, :16] = False
    other = replace(whole, valid=hidden, ray_distance=whole.ray_distance.where(hidden, torch.nan))
    assert loss(method, other, seeded())['loss'].isfinite()
    assert loss(method, other, seeded())['loss'] != expected


# ---- gradient and averages -------------------------------------------------------------------


def test_only_the_denoiser_learns() -> None:
    method = pretrained()
    loss(method, batch(), seeded())['loss'].backward()
    learning = {name for name, p in method.named_parameters() if p.grad is not None}
    assert learning == {f'latent.unet.{name}' for name, _ in method.latent.unet.named_parameters()}
    before = {k: v.clone() for k, v in method.state_dict().items()}
    optimizer = optimizer_of(method)
    for _ in range(2):
        step(method, optimizer)
    changed = {k for k, v in method.state_dict().items() if not torch.equal(v, before[k])}
    assert {k.split('.')[0] + '.' + k.split('.')[1] for k in changed} == {
        'latent.unet', 'distillation.teacher', 'distillation.seen'
    }  # fmt: skip


def test_the_teacher_follows_once_a_step() -> None:
    method = pretrained(teacher_decay=0.9)
    distillation, unet = method.distillation, method.latent.unet
    assert distillation is not None
    teacher = distillation.teacher.conv_out.bias
    before = teacher.clone()
    distillation.follow(unet, 0.9)
    assert torch.equal(teacher, before)
    with torch.no_grad():
        unet.conv_out.bias += 1
    for _ in range(3):  # parts of one step
        distillation.follow(unet, 0.9)
    torch.testing.assert_close(teacher, before + 0.1)
    with torch.no_grad():
        unet.conv_out.bias += 1
    distillation.follow(unet, 0.9)
    torch.testing.assert_close(teacher, before + 0.1 + 0.1 * 1.9)


def test_setting_g_keeps_the_pretrained_teacher() -> None:
    method = pretrained(teacher_decay=1.0)
    assert method.distillation is not None
    optimizer = optimizer_of(method)
    for _ in range(2):
        step(method, optimizer)
    first = pretrained().distillation
    assert first is not None
    for name, value in method.distillation.teacher.state_dict().items():
        assert torch.equal(value, first.teacher.state_dict()[name]), name


def test_what_is_saved_goes_on_as_if_it_had_not_been() -> None:
    method = pretrained(teacher_decay=0.5)
    optimizer = optimizer_of(method)
    step(method, optimizer)
    step(method, optimizer, seed=1)
    again = pretrained(teacher_decay=0.5)
    again.load_state_dict({k: v.clone() for k, v in method.state_dict().items()})
    for seed in (2, 3):
        one, other = (loss(m, batch(), seeded(seed)) for m in (method, again))
        assert torch.equal(one['loss'], other['loss'])


# ---- what it looks at ------------------------------------------------------------------------


def test_no_ground_truth_and_no_coarse_depth_outside() -> None:
    method, whole = pretrained(), batch()
    inside = whole.inside.clone()
    inside[:, :, :16] = False
    expected = loss(method, replace(whole, inside=inside), seeded())['loss']
    assert whole.coarse is not None
    hidden = whole.coarse.values.where(inside, 77.0)
    changed = replace(
        whole,
        inside=inside,
        valid=torch.zeros_like(inside),
        ray_distance=torch.full_like(whole.ray_distance, torch.nan),
        coarse=CoarseDepth(hidden),
    )
    assert torch.equal(loss(method, changed, seeded())['loss'], expected)


def test_an_image_without_any_coarse_depth_does_no_harm() -> None:
    whole = batch()
    assert whole.coarse is not None
    values = whole.coarse.values.clone()
    values[0] = torch.nan
    parts = loss(pretrained(), replace(whole, coarse=CoarseDepth(values)), seeded())
    assert all(value.isfinite() for value in parts.values())


def test_what_is_missing_is_named() -> None:
    method, whole = pretrained(), batch()
    with pytest.raises(MetricDepthError, match='coarse depth is none, but SharpDepth needs one'):
        loss(method, replace(whole, coarse=None), seeded())
    relative = CoarseDepth(torch.ones(2, HEIGHT, WIDTH), metric=False)
    with pytest.raises(MetricDepthError, match='coarse depth is a relative one'):
        loss(method, replace(whole, coarse=relative), seeded())
    with pytest.raises(MetricDepthError, match='distils a pretrained depth model and has none'):
        loss(SharpDepth(SharpDepthConfig.tiny()), whole, seeded())
