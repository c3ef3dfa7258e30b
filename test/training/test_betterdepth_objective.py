"""BetterDepth's objective: the fit and the mask beside numbers from elsewhere; it learns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from metric_depth_ros.errors import MetricDepthError
from metric_depth_ros.methods.betterdepth import BetterDepth, BetterDepthConfig
from metric_depth_ros.training.batch import Batch
from metric_depth_ros.training.objectives.betterdepth import coded, loss, patch_mask, pre_aligned
from metric_depth_ros.training.recipe import load_recipe
from metric_depth_ros.training.suite import load_suite
from metric_depth_ros.types import CoarseDepth

pytest.importorskip('diffusers')

HEIGHT, WIDTH = 32, 64


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(count: int = 2) -> Batch:
    """A slope with a box before it; the coarse depth has no box and another scale."""
    slope = torch.linspace(2, 20, WIDTH).expand(count, HEIGHT, WIDTH).clone()
    depth = slope.clone()
    depth[:, 8:16, 16:24] = 1.0
    depth[:, :8, -8:] = torch.inf
    image = (depth.clamp(max=20) / 10 - 1)[:, None].expand(-1, 3, -1, -1)
    rays = torch.tensor([0.0, 0.0, 1.0])[:, None, None].expand(count, 3, HEIGHT, WIDTH)
    inside = torch.ones(count, HEIGHT, WIDTH, dtype=torch.bool)
    return Batch(image, rays, depth, depth.isfinite(), inside, CoarseDepth(1.5 * slope))


def method(**changes) -> BetterDepth:
    torch.manual_seed(0)
    return BetterDepth(replace(BetterDepthConfig.tiny(), **changes))


# ---- Eq. 3 -----------------------------------------------------------------------------------


def test_pre_alignment_is_least_squares() -> None:
    coarse, truth = 1 + torch.rand(2, 3, 20, 30, generator=seeded(), dtype=torch.float64)
    mask = torch.rand(3, 20, 30, generator=seeded(1)) < 0.6
    found = pre_aligned(coarse, truth, mask)
    for i in range(3):
        a = np.stack([coarse[i][mask[i]], np.ones(int(mask[i].sum()))], axis=1)
        (scale, shift), *_ = np.linalg.lstsq(a, truth[i][mask[i]].numpy(), rcond=None)
        np.testing.assert_allclose(found[i], scale * coarse[i] + shift, rtol=1e-9)


def test_what_only_scale_and_shift_tell_apart_is_all_kept() -> None:
    whole = batch()
    truth = whole.ray_distance.where(whole.valid, torch.nan)
    same = replace(whole, coarse=CoarseDepth(0.4 * truth + 3))
    aligned = method(power=1)
    truth_codes, coarse_codes, known, similar = coded(aligned, same)
    torch.testing.assert_close(truth_codes[same.valid], coarse_codes[same.valid])
    assert similar[same.valid].all()
    assert known.all()  # the sky too, at the far end
    assert (truth_codes[:, :8, -8:] == 1).all()


# ---- Eq. 4 and 5 -----------------------------------------------------------------------------


def test_the_patch_mask_by_hand() -> None:
    truth = torch.zeros(1, 4, 8)
    coarse = torch.zeros(1, 4, 8)
    coarse[0, :2, :2] = 0.1  # distance sqrt(4 * 0.01) = 0.2, just 2 * eta
    coarse[0, 0, 2] = 0.201  # one pixel, distance 0.201 > 0.2
    coarse[0, 0, 4] = 0.199
    coarse[0, 2:, :2] = 0.11
    known = torch.ones(1, 4, 8, dtype=torch.bool)
    known[0, 0, 5:8] = False
    known[0, 1, 5:8] = False
    found = patch_mask(coarse, truth, known, patch=2, tolerance=0.1)
    # (0, 4): 0.199 over two known pixels is 0.14 each; (0, 6): nothing known
    patches = torch.tensor([[1, 0, 0, 0], [0, 1, 1, 1]], dtype=torch.bool)
    expected = patches.repeat_interleave(2, 0).repeat_interleave(2, 1)
    assert torch.equal(found[0], expected)


def test_patches_that_do_not_divide_the_image() -> None:
    coarse = torch.zeros(1, 5, 7)
    coarse[0, 4, 6] = 1.0
    found = patch_mask(coarse, torch.zeros(1, 5, 7), torch.ones(1, 5, 7).bool(), 3, 0.1)
    expected = torch.ones(1, 5, 7, dtype=torch.bool)
    expected[0, 3:, 6:] = False
    assert torch.equal(found, expected)


def test_what_the_coarse_depth_lacks_is_masked_and_not_learned() -> None:
    whole = batch()
    *_, similar = coded(method(power=1), whole)
    assert not similar[:, 8:16, 16:24].any()
    assert similar[:, 16:, :16].all()
    *_, similar = coded(method(power=1, patch_mask=False), whole)
    assert similar.all()


def test_masked_latents_have_no_influence() -> None:
    """Of the loss: the gradient of the output is zero under the mask alone."""
    network = method(power=1)
    *_, known, similar = coded(network, batch())
    caught = []
    original = network.latent.predict

    def predict(*args):
        output = original(*args)
        output.retain_grad()
        caught.append(output)
        return output

    network.latent.predict = predict
    losses = loss(network, batch(), seeded())
    losses['loss'].backward()
    stride = network.latent.stride
    kept = (known & similar)[:, ::stride, ::stride]  # patches of 8 are whole cells of 4
    touched = caught[0].grad.abs().sum(dim=1) > 0
    assert torch.equal(touched, kept)
    assert losses['kept'] == pytest.approx(kept.float().mean().item())
    # Eq. 6: the mean over the elements of the mask
    output, v = caught[0].detach(), None
    with torch.no_grad():
        t = torch.randint(1000, (2,), generator=(generator := seeded()))
        noise = torch.randn(output.shape, generator=generator)
        data = network.latent.encode_depth(coded(network, batch())[0])
        alpha = network.latent.scheduler.alphas_cumprod[t][:, None, None, None]
        v = alpha.sqrt() * noise - (1 - alpha).sqrt() * data
    expected = (output - v).square()[kept[:, None].expand(-1, 4, -1, -1)].mean()
    torch.testing.assert_close(losses['loss'].detach(), expected)


# ---- ablations -------------------------------------------------------------------------------


def test_without_pre_alignment_each_has_its_own_range() -> None:
    network = method(power=1, pre_align=False, patch_mask=False)
    first = coded(network, batch())
    scaled = replace(batch(), coarse=CoarseDepth(1.2 * batch().coarse.values))
    second = coded(network, scaled)
    torch.testing.assert_close(first[1], second[1])  # of its own scale nothing is left
    slope = batch().coarse.values[0, 0].double().numpy()
    low, high = np.percentile(np.tile(slope, HEIGHT), [2, 98])
    expected = np.clip(2 * (slope - low) / (high - low) - 1, -1, 1)
    np.testing.assert_allclose(first[1][0, 0].numpy(), expected, atol=1e-5)


def test_unconditioned_the_coarse_depth_is_not_seen() -> None:
    network = method(conditioned=False, pre_align=False, patch_mask=False, latent=eight())
    values = [
        loss(network, replace(batch(), coarse=CoarseDepth(c)), seeded())['loss']
        for c in (batch().coarse.values, torch.rand(2, HEIGHT, WIDTH, generator=seeded()) + 1)
    ]
    assert values[0] == values[1]


def eight():
    from metric_depth_ros.nn.latent import LatentConfig

    return LatentConfig.tiny(8)


def test_the_suite_is_the_table_of_the_paper() -> None:
    suite = load_suite('betterdepth')
    rows = {
        name: (config.conditioned, config.pre_align, config.patch_mask)
        for name in ('unconditioned', 'unaligned', 'unmasked', 'full')
        for config in [suite.recipes[name].architecture()]
    }
    assert list(rows.values()) == [
        (False, False, False), (True, False, False), (True, True, False), (True, True, True),
    ]  # fmt: skip
    assert {recipe.base for recipe in suite.recipes.values()} == {
        load_recipe('betterdepth-small').base
    }


# ---- learning --------------------------------------------------------------------------------


def test_the_loss_falls_on_one_batch() -> None:
    network = method(power=1)
    assert not any(p.requires_grad for p in network.latent.vae.parameters())
    optimizer = torch.optim.Adam(network.latent.unet.parameters(), lr=3e-3)
    losses: list[Tensor] = []
    for step in range(30):
        losses.append(loss(network, batch(), seeded(step % 2))['loss'])
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-2] < 0.7 * losses[0]
    assert losses[-1] < 0.7 * losses[1]


def test_unknown_truth_has_no_influence() -> None:
    network = method()
    known = torch.ones(2, HEIGHT, WIDTH, dtype=torch.bool)
    known[:, :, :8] = False
    losses = []
    for hidden in (torch.nan, 5.0):
        whole = batch()
        distance = whole.ray_distance.where(known, hidden)
        changed = replace(whole, ray_distance=distance, valid=whole.valid & known)
        changed = replace(changed, inside=whole.inside & known)
        losses.append(loss(network, changed, seeded())['loss'])
    assert losses[0].isfinite()
    assert losses[0] == losses[1]


def test_a_batch_without_any_truth() -> None:
    whole = batch()
    blank = replace(
        whole,
        ray_distance=torch.full_like(whole.ray_distance, torch.nan),
        valid=torch.zeros_like(whole.valid),
    )
    network = method()
    losses = loss(network, blank, seeded())
    losses['loss'].backward()
    assert losses['loss'] == 0
    assert all(
        p.grad.isfinite().all() for p in network.latent.unet.parameters() if p.grad is not None
    )


def test_a_batch_without_coarse_depth() -> None:
    with pytest.raises(MetricDepthError, match='the batch has none: name one under `coarse`'):
        loss(method(), replace(batch(), coarse=None), seeded())
