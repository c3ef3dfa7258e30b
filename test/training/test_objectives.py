from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from metric_depth_ros.methods.grin import Grin, GrinConfig
from metric_depth_ros.training.batch import Batch
from metric_depth_ros.training.objectives import OBJECTIVES
from metric_depth_ros.training.objectives.grin import loss, masked_mean, supervised_pixels


def floor(batch_size: int = 2, height: int = 32, width: int = 64) -> Batch:
    """A floor below cameras at different heights; brightness follows the distance."""
    generator = torch.Generator().manual_seed(0)
    v, u = torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij')
    rays = torch.stack([(u - width / 2) / 50, (v - 4.0) / 50, torch.ones(height, width)])
    rays = F.normalize(rays, dim=0).expand(batch_size, -1, -1, -1)
    camera_height = 0.5 + torch.rand(batch_size, 1, 1, generator=generator)
    distance = (camera_height / rays[:, 1].clamp(min=1e-6)).where(rays[:, 1] > 0.01, torch.inf)
    image = (distance / 20).clamp(max=1)[:, None].expand(-1, 3, -1, -1) * 2 - 1
    inside = torch.ones_like(distance, dtype=torch.bool)
    return Batch(image, rays, distance, torch.isfinite(distance), inside)


def evaluate(method: Grin, batch: Batch, seed: int = 1) -> dict[str, Tensor]:
    return loss(method, batch, torch.Generator().manual_seed(seed))


def network(**changes) -> Grin:
    torch.manual_seed(0)
    return Grin(replace(GrinConfig.tiny(), **changes))


PAPER_LIKE = {
    'predict_velocity': False, 'data_loss': False, 'regression_weight': 0.0,
    'diffuse_residual': False, 'data_scale': 1.0,
}  # fmt: skip


@pytest.mark.parametrize('changes', [{}, PAPER_LIKE, {'data_loss': False}])
def test_the_loss_falls_on_one_batch(changes: dict) -> None:
    method, batch = network(**changes), floor()
    optimizer = torch.optim.AdamW(method.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(60):
        losses.append(loss(method, batch, generator)['loss'])
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert sum(losses[-10:]) < 0.75 * sum(losses[:10])


def test_same_seed_same_loss_and_every_parameter_learns() -> None:
    method, batch = network(self_conditioning=1.0), floor()
    torch.nn.init.normal_(method.head[1].weight)
    torch.nn.init.ones_(method.rin.previous_norm.weight)
    for smooth in method.pyramid.smooths:
        torch.nn.init.normal_(smooth[-1].weight, std=0.1)  # all of these start at 0
    parts = evaluate(method, batch)
    assert set(parts) == {'loss', 'diffusion', 'regression'}
    expected = parts['diffusion'] + method.config.regression_weight * parts['regression']
    torch.testing.assert_close(parts['loss'], expected)
    assert torch.equal(evaluate(method, batch)['loss'], parts['loss'])
    assert not torch.equal(evaluate(method, batch, seed=2)['loss'], parts['loss'])
    parts['loss'].backward()
    idle = [
        name
        for name, p in method.named_parameters()
        if p.grad is None or not bool(p.grad.abs().sum() > 0)
    ]
    assert idle == []


@pytest.mark.parametrize(('absolute', 'expected'), [(False, 1.0), (True, (2 / math.pi) ** 0.5)])
def test_the_paper_predicts_the_noise(absolute: bool, expected: float) -> None:
    """A head that says 0 misses unit noise by 1 in the square, by sqrt(2 / pi) in size."""
    method = network(**PAPER_LIKE, train_pixels=2048, absolute_loss=absolute)
    torch.nn.init.zeros_(method.head[1].bias)
    parts = evaluate(method, floor(8))
    assert set(parts) == {'loss', 'diffusion'}
    assert parts['loss'].item() == pytest.approx(expected, abs=0.05)


def test_invalid_pixels_have_no_influence() -> None:
    method, batch = network(clip_sky=False), floor()
    valid, inside = batch.valid.clone(), batch.inside.clone()
    inside[:, :, :7] = False
    valid[:, 20:, 30:] = False
    seen = inside[:, None]
    plain = Batch(batch.image, batch.rays, batch.ray_distance, valid, inside)
    garbage = Batch(
        batch.image.where(seen, torch.nan),
        batch.rays.where(seen, 77.0),
        batch.ray_distance.where(valid & inside, torch.nan),
        valid,
        inside,
    )
    torch.testing.assert_close(evaluate(method, garbage), evaluate(method, plain))
    evaluate(method, garbage)['loss'].backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in method.parameters())


def test_an_image_without_truth_counts_for_nothing() -> None:
    method, batch = network(), floor()
    nothing = replace(batch, valid=batch.valid & False, inside=batch.inside & False)
    parts = evaluate(method, nothing)
    assert parts['loss'].item() == 0
    parts['loss'].backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in method.parameters())


def test_sky_is_supervised_at_far_or_left_out() -> None:
    batch, config = floor(), GrinConfig.tiny()
    sky = batch.ray_distance.isposinf()
    assert sky.any()
    assert torch.equal(supervised_pixels(batch, replace(config, clip_sky=True)), batch.inside)
    left = supervised_pixels(batch, replace(config, clip_sky=False, far=10.0))
    assert torch.equal(left, batch.ray_distance <= 10)


def test_masked_mean() -> None:
    values = torch.tensor([1.0, 2.0, torch.nan])
    assert masked_mean(values, torch.tensor([True, True, False])).item() == 1.5
    assert masked_mean(values, torch.zeros(3, dtype=torch.bool)).item() == 0


def test_every_method_has_an_objective() -> None:
    assert OBJECTIVES['grin'] is loss
