"""The coarse depth of a batch: what blurring does to it, and that a model's is the model's."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from metric_depth_ros import geometry
from metric_depth_ros.checkpoint import Card, save
from metric_depth_ros.methods.grin import Grin, GrinConfig
from metric_depth_ros.training.batch import Batch
from metric_depth_ros.training.coarse import (
    BlurredTruth,
    CoarseModel,
    blurred_truth,
    coarse_settings,
    make_coarse,
)
from metric_depth_ros.training.fields import RecipeError, signature
from metric_depth_ros.types import Camera, Conditioning

W, H = 64, 32


def batch_of(depth: torch.Tensor) -> Batch:
    """One image of z-depth (H, W) metres; inf is sky, NaN unknown."""
    rays = geometry.rays(Camera(60.0, 60.0, 31.5, 15.5, W, H)).permute(2, 0, 1)
    inside = torch.ones(H, W, dtype=torch.bool)
    distance = depth / rays[2]
    image = torch.linspace(-1, 1, 3 * H * W).view(3, H, W)
    return Batch(
        *(x[None] for x in (image, rays, distance, distance.isfinite(), inside)), coarse=None
    )


def test_a_step_becomes_the_error_function_in_log_depth() -> None:
    sigma = 3.0
    depth = torch.full((H, W), 2.0)
    depth[:, W // 2 :] = 8.0
    values = blurred_truth(batch_of(depth), BlurredTruth(sigma), torch.Generator()).values[0]
    offset = torch.arange(W) - (W - 1) / 2  # pixels from the edge
    share = 0.5 * (1 + torch.erf(offset / (sigma * math.sqrt(2))))
    expected = torch.exp(math.log(2.0) + share * math.log(4.0))
    inner = slice(12, W - 12)
    torch.testing.assert_close(values[H // 2, inner], expected[inner], rtol=0.02, atol=0)
    assert values[:, 0].allclose(torch.tensor(2.0), rtol=0.01)  # no darkening at the border


def test_holes_are_filled_from_around_and_far_from_any_truth_there_is_none() -> None:
    depth = torch.full((H, W), torch.nan)
    depth[:, :20] = 3.0
    depth[10:14, 5:9] = torch.nan
    values = blurred_truth(batch_of(depth), BlurredTruth(2.0), torch.Generator()).values[0]
    assert values[12, 7] == pytest.approx(3.0, rel=1e-3)
    assert values[:, 40:].isnan().all()


def test_the_sky_is_far_and_what_lies_outside_is_nothing() -> None:
    depth = torch.full((H, W), 5.0)
    depth[:10] = torch.inf
    batch = batch_of(depth)
    batch.inside[:, :, -4:] = False
    values = blurred_truth(batch, BlurredTruth(1.0), torch.Generator()).values[0]
    assert values[0, 0] > 90
    assert values[-1, 0] == pytest.approx(5.0, rel=1e-3)
    assert values[:, -4:].isnan().all()


def test_the_distortion_is_smooth_as_strong_as_said_and_seeded() -> None:
    batch = batch_of(torch.full((H, W), 4.0))
    many = Batch(**{
        name: value.expand(200, *value.shape[1:])
        for name, value in vars(batch).items() if name != 'coarse'
    })  # fmt: skip
    settings = BlurredTruth(2.0, 0.2)
    values = blurred_truth(many, settings, torch.Generator().manual_seed(1)).values
    logarithm = (values / 4.0).log()
    assert 0.1 < logarithm.std() < 0.25
    assert (logarithm[:, :, 1:] - logarithm[:, :, :-1]).abs().mean() < 0.02
    again = blurred_truth(many, settings, torch.Generator().manual_seed(1)).values
    assert torch.equal(values, again)


def test_a_model_says_of_a_batch_what_it_says_of_each_image(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save(tmp_path / 'grin', Grin(GrinConfig.tiny()), Card('tiny', 'Apache-2.0', 'a test'))
    say = make_coarse(CoarseModel(str(tmp_path / 'grin')), torch.device('cpu'))
    assert say is not None
    batch = batch_of(torch.full((H, W), 4.0))
    coarse = say(batch, torch.Generator().manual_seed(5))
    assert coarse.metric
    assert coarse.values.shape == (1, H, W)
    assert not coarse.values.is_inference()
    assert not coarse.values.requires_grad
    from metric_depth_ros.predictor import load_coarse

    method = load_coarse(str(tmp_path / 'grin'), device='cpu').method
    seed = int(torch.randint(2**31, (), generator=torch.Generator().manual_seed(5)))
    conditioning = Conditioning(batch.image[0], batch.rays[0], batch.inside[0])
    alone = method.draw(conditioning, 1, torch.Generator().manual_seed(seed))[0]
    torch.testing.assert_close(coarse.values[0], alone, equal_nan=True)


def test_a_model_computes_with_the_precision_asked_for(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save(tmp_path / 'grin', Grin(GrinConfig.tiny()), Card('tiny', 'Apache-2.0', 'a test'))
    batch = batch_of(torch.full((H, W), 4.0))
    said = {}
    for precision in ('auto', 'fp32', 'bf16'):
        settings = coarse_settings({'model': str(tmp_path / 'grin'), 'precision': precision}, '')
        say = make_coarse(settings, torch.device('cpu'))
        assert say is not None
        said[precision] = say(batch, torch.Generator().manual_seed(5)).values
        assert said[precision].dtype == torch.float32
    assert torch.equal(said['auto'], said['fp32'])
    assert not torch.equal(said['bf16'], said['fp32'])
    torch.testing.assert_close(said['bf16'], said['fp32'], rtol=0.2, atol=0)
    # a run that was begun before there was such a field goes on
    plain = CoarseModel('a')
    assert signature(plain) == "CoarseModel(model='a')"
    assert signature(CoarseModel('a', precision='bf16')) != signature(plain)


@pytest.mark.parametrize(
    ('raw', 'message'),
    [
        ({'model': 'a', 'precision': 'int8'}, "coarse.precision is 'int8', expected one of auto"),
        ({'blur': 0}, r'coarse\.blur is 0'),
        ({'blur': 2.0, 'distortion': 3.0}, r'coarse\.distortion is 3'),
        ({'blurr': 2.0}, 'coarse lacks blur'),
        ({'model': 3}, r'coarse\.model is 3'),
    ],
)
def test_senseless_settings_are_named(raw: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        coarse_settings(raw, 'coarse')
