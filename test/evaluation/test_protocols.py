"""Crops, ranges, alignments and poolings, by hand and against scikit-learn."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import pytest
import torch
from torch import Tensor

from metric_depth_ros import geometry
from metric_depth_ros.evaluation.protocols import (
    BENCHMARKS,
    CROPS,
    PLAIN,
    PROTOCOLS,
    Protocol,
    crop_window,
)
from metric_depth_ros.evaluation.scores import (
    MetricsError,
    Scores,
    measure,
    metric_names,
    pool_scores,
    score,
)
from metric_depth_ros.types import Camera


def pair(seed: int = 0, height: int = 48, width: int = 64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    truth = 1 + 9 * torch.rand(height, width, generator=generator, dtype=torch.float64)
    noise = torch.randn(height, width, generator=generator, dtype=torch.float64)
    return truth * torch.exp(0.1 + 0.2 * noise), truth


def close(a: Scores, b: Scores, tolerance: float = 1e-9) -> None:
    assert asdict(a) == pytest.approx(asdict(b), abs=tolerance, nan_ok=True)


# --- the numbers ------------------------------------------------------------------------------


@pytest.mark.parametrize('weighted', [False, True])
def test_scores_are_those_of_scikit_learn(weighted: bool):
    sk = pytest.importorskip('sklearn.metrics')
    prediction, truth = (x.flatten() for x in pair())
    weight = truth.square() if weighted else torch.ones_like(truth)
    d, t, w = prediction.numpy(), truth.numpy(), weight.numpy()
    error = prediction.log() - truth.log()
    scores = score(prediction, truth, weight if weighted else None)
    expected = {
        'abs_rel': sk.mean_absolute_percentage_error(t, d, sample_weight=w),
        'sq_rel': sk.mean_squared_error(t / t**0.5, d / t**0.5, sample_weight=w),
        'rmse': sk.root_mean_squared_error(t, d, sample_weight=w),
        'rmse_log': sk.mean_squared_log_error(t - 1, d.clip(1) - 1, sample_weight=w) ** 0.5,
        'log10': sk.mean_absolute_error(truth.log10(), prediction.log10(), sample_weight=w),
    }
    clipped = score(prediction.clamp_min(1), truth, weight if weighted else None)
    found = {**asdict(scores), 'rmse_log': clipped.rmse_log}  # sklearn's logarithm is log1p
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-9)
    bias = (weight * error).sum() / weight.sum()
    assert scores.log_bias == pytest.approx(float(bias), abs=1e-9)
    variance = (weight * (error - bias).square()).sum() / weight.sum()
    assert scores.silog == pytest.approx(100 * math.sqrt(variance), abs=1e-9)


def test_scores_are_those_of_scipy():
    stats = pytest.importorskip('scipy.stats')
    prediction, truth = (x.flatten() for x in pair(seed=4))
    error = (prediction.log() - truth.log()).numpy()
    scores = score(prediction, truth)
    assert scores.silog == pytest.approx(100 * stats.tstd(error, ddof=0), abs=1e-9)
    assert scores.rmse_log == pytest.approx(stats.pmean(abs(error), 2), abs=1e-9)
    shares = [stats.percentileofscore(abs(error), k * math.log(1.25), 'strict') for k in (1, 2, 3)]
    found = [100 * scores.delta1, 100 * scores.delta2, 100 * scores.delta3]
    assert found == pytest.approx(shares, abs=1e-9)


def test_scores_are_those_of_torchmetrics():
    torchmetrics = pytest.importorskip('torchmetrics.functional')
    prediction, truth = (x.flatten() for x in pair(seed=5))
    scores = score(prediction, truth)
    mape = torchmetrics.mean_absolute_percentage_error(prediction, truth)
    mse = torchmetrics.mean_squared_error(prediction, truth, squared=False)
    assert scores.abs_rel == pytest.approx(float(mape), abs=1e-6)
    assert scores.rmse == pytest.approx(float(mse), abs=1e-6)


def test_a_threshold_itself_is_not_below_it():
    for k, name in ((1, 'delta1'), (2, 'delta2'), (3, 'delta3')):
        far, near = torch.tensor([1.25**k]), torch.tensor([1.0])
        assert getattr(score(far, near), name) == 0
        assert getattr(score(near, far), name) == 0
        assert getattr(score(far * 0.999, near), name) == 1


def test_weights_by_hand():
    # |d - t| / t = 0.5 and 1; weights 3 and 1; a third pixel of weight 0
    scores = score(
        torch.tensor([1.0, 4.0, 9.0]), torch.tensor([2.0, 2.0, 1.0]), torch.tensor([3.0, 1.0, 0.0])
    )
    assert scores.abs_rel == pytest.approx((3 * 0.5 + 1 * 1) / 4)
    assert scores.rmse == pytest.approx(math.sqrt((3 * 1 + 1 * 4) / 4))
    assert scores.log_bias == pytest.approx((-3 + 1) * math.log(2) / 4)
    assert scores.silog == pytest.approx(100 * math.log(2) * math.sqrt(1 - 0.25))
    assert scores.pixels == 4


def test_a_mask_is_what_it_leaves():
    prediction, truth = (x.flatten() for x in pair())
    mask = torch.rand(len(truth), generator=torch.Generator().manual_seed(1)) < 0.3
    close(score(prediction, truth, mask), score(prediction[mask], truth[mask]))
    holes = torch.where(mask, truth, torch.nan)
    close(score(prediction, holes), score(prediction[mask], truth[mask]))


def test_a_batch_is_its_images():
    pairs = [pair(seed) for seed in range(3)]
    prediction, truth = (torch.stack(x).flatten(1) for x in zip(*pairs, strict=True))
    prediction[1, ::7] = math.nan
    table = measure(prediction, truth)
    assert table.shape == (3, len(metric_names()))
    for row, d, t in zip(table, prediction, truth, strict=True):
        close(Scores(*row.tolist()), score(d, t), 1e-12)
    assert torch.equal(measure(prediction[None], truth[None])[0], table)


def test_long_images_are_scored_like_short_ones():
    prediction, truth = (x.flatten() for x in pair(height=240, width=320))
    whole = score(prediction, truth)
    order = torch.randperm(len(truth), generator=torch.Generator().manual_seed(0))
    close(score(prediction[order], truth[order]), whole, 1e-10)
    error = prediction.log() - truth.log()
    assert whole.silog == pytest.approx(100 * float(error.std(correction=0)), abs=1e-9)
    # a first block that is like nothing of the rest
    prediction[:20_000] *= 7
    error = prediction.log() - truth.log()
    assert score(prediction, truth).silog == pytest.approx(100 * float(error.std(correction=0)))


def test_what_a_common_scale_changes_and_what_not():
    prediction, truth = (x.flatten() for x in pair())
    once, both = score(prediction, truth), score(3 * prediction, 3 * truth)
    blind = ('abs_rel', 'rmse_log', 'silog', 'log10', 'delta1', 'delta2', 'delta3', 'log_bias')
    for name in blind:
        assert getattr(both, name) == pytest.approx(getattr(once, name), abs=1e-9)
    assert both.rmse == pytest.approx(3 * once.rmse)
    assert both.sq_rel == pytest.approx(3 * once.sq_rel)
    alone = score(3 * prediction, truth)
    assert alone.silog == pytest.approx(once.silog, abs=1e-9)
    assert alone.log_bias == pytest.approx(once.log_bias + math.log(3))
    assert alone.abs_rel > 1.5


# --- pooling ----------------------------------------------------------------------------------


def test_pooled_pixels_are_the_score_of_all_pixels():
    frames = [pair(seed, height=10 + 20 * seed) for seed in range(3)]
    frames[1][0][::3] = math.nan
    frames[2][1][:, ::2] = math.nan
    scores = [PLAIN.score(d, t) for d, t in frames]
    everything = (torch.cat([x.flatten() for x in part]) for part in zip(*frames, strict=True))
    together = PLAIN.score(*(x[None] for x in everything))
    close(pool_scores(scores, 'pixel'), together)
    by_image = pool_scores(scores, 'image')
    assert by_image.abs_rel == pytest.approx(sum(s.abs_rel for s in scores) / 3)
    assert by_image.rmse == pytest.approx(sum(s.rmse for s in scores) / 3)
    assert by_image.pixels == together.pixels
    assert by_image.rmse != pytest.approx(together.rmse, abs=1e-4)


@pytest.mark.parametrize('pooling', ['image', 'pixel'])
def test_the_order_of_frames_does_not_matter(pooling: str):
    scores = [PLAIN.score(*pair(seed)) for seed in range(5)]
    close(pool_scores(scores, pooling), pool_scores(scores[::-1], pooling), 1e-12)


def test_frames_without_prediction_only_lower_the_coverage():
    full = PLAIN.score(*pair())
    empty = PLAIN.score(torch.full((48, 64), math.nan), pair()[1])
    for pooling in ('image', 'pixel'):
        pooled = pool_scores([full, empty], pooling)
        close(pooled, replace(full, coverage=0.5, pixels=2 * full.pixels))
    nothing = pool_scores([empty, empty], 'pixel')
    assert math.isnan(nothing.abs_rel)
    assert nothing.coverage == 0


def test_poolings_have_names():
    with pytest.raises(MetricsError, match="'median', expected one of image, pixel"):
        pool_scores([PLAIN.score(*pair())], 'median')
    with pytest.raises(MetricsError, match='no frame'):
        pool_scores([], 'pixel')
    pooled = [Protocol('p', pooling=p).pool([PLAIN.score(*pair(s, 9 + s)) for s in (0, 9)])
              for p in ('image', 'pixel')]  # fmt: skip
    assert pooled[0].rmse != pooled[1].rmse


# --- crops ------------------------------------------------------------------------------------


def test_crops_of_the_usual_sizes():
    # KITTI's 375 x 1242: int(0.40810811 * 375) = 153, int(0.99189189 * 375) = 371,
    # int(0.03594771 * 1242) = 44, int(0.96405229 * 1242) = 1197
    assert crop_window('garg', 375, 1242) == (slice(153, 371), slice(44, 1197))
    # int(0.3324324 * 375) = 124, int(0.91351351 * 375) = 342
    assert crop_window('eigen', 375, 1242) == (slice(124, 342), slice(44, 1197))
    assert crop_window('nyu', 480, 640) == (slice(45, 471), slice(41, 601))
    assert crop_window('none', 3, 4) == (slice(0, 3), slice(0, 4))


@pytest.mark.parametrize('crop', CROPS)
def test_only_the_crop_counts(crop: str):
    protocol = replace(PLAIN, crop=crop)
    prediction, truth = pair()
    rows, columns = crop_window(crop, *truth.shape)
    spoilt = torch.full_like(prediction, 50.0)
    spoilt[rows, columns] = prediction[rows, columns]
    expected = PLAIN.score(prediction[rows, columns], truth[rows, columns])
    close(protocol.score(spoilt, truth), expected)
    valid = protocol.valid(truth)
    assert int(valid.sum()) == expected.pixels
    assert bool(valid[rows, columns].all())


def test_a_paper_s_protocol_on_a_benchmark():
    assert PROTOCOLS['grin'].on('kitti').crop == 'garg'
    assert PROTOCOLS['betterdepth'].on('kitti').crop == 'eigen'
    assert PROTOCOLS['grin'].on('kitti').max_depth == 80
    nyu = PROTOCOLS['depthmaster'].on('nyuv2')
    assert (nyu.crop, nyu.max_depth, nyu.name) == ('nyu', 10, 'depthmaster')
    assert nyu.alignment == 'scale_shift_sqrt_disparity'
    assert PROTOCOLS['grin'].on('somebody else') is PROTOCOLS['grin']
    for name in BENCHMARKS:
        PROTOCOLS['grin'].on(name)  # each can be made


# --- protocols --------------------------------------------------------------------------------


@pytest.mark.parametrize('name', list(PROTOCOLS))
def test_the_truth_is_perfect_by_every_protocol(name: str):
    truth = pair()[1]
    camera = Camera(50, 50, 31.5, 23.5, 64, 48)
    scores = PROTOCOLS[name].score(truth, truth, camera)
    assert scores.abs_rel == pytest.approx(0, abs=1e-12)
    assert scores.silog == pytest.approx(0, abs=1e-7)
    assert (scores.delta1, scores.coverage) == (1, 1)


def test_each_paper_forgives_what_it_does():
    truth = pair()[1]
    scaled, disparity = 3 * truth, 1 / (0.5 / truth + 0.3)
    sqrt_disparity = (0.5 / truth**0.5 + 0.3) ** -2
    perfect = {
        name: [
            PROTOCOLS[name].score(d, truth).abs_rel < 1e-6
            for d in (scaled, disparity, sqrt_disparity)
        ]
        for name in ('grin', 'grin-relative', 'sharpdepth', 'betterdepth', 'depthmaster',
                     'metricgold')
    }  # fmt: skip
    assert perfect == {
        'grin': [False, False, False],
        'grin-relative': [True, False, False],
        'sharpdepth': [False, False, False],
        'betterdepth': [True, True, False],
        'depthmaster': [True, False, True],
        'metricgold': [False, False, False],
    }


def test_a_fit_below_zero_is_clamped():
    protocol = Protocol('p', 'scale_shift', min_depth=0.5)
    truth, prediction = torch.tensor([[0.6, 1.0, 6.0]]), torch.tensor([[1.0, 2.0, 3.0]])
    # the line through (1, 0.6), (2, 1), (3, 6): slope 2.7, mean 7.6 / 3: -0.1667 at 1
    fitted = [0.5, 7.6 / 3, 7.6 / 3 + 2.7]
    expected = [abs(f - t) / t for f, t in zip(fitted, (0.6, 1.0, 6.0), strict=True)]
    assert protocol.score(prediction, truth).abs_rel == pytest.approx(sum(expected) / 3)


def test_infinities_are_the_ends_of_the_range():
    truth = torch.tensor([[2.0, 2.0]])
    scores = PLAIN.score(torch.tensor([[math.inf, -math.inf]]), truth)
    assert scores.abs_rel == pytest.approx((78 / 2 + 1.9 / 2) / 2)


def test_weights_choose_pixels_too():
    prediction, truth = pair()
    weight = torch.zeros_like(truth)
    weight[10:20] = 2.0
    expected = PLAIN.score(prediction[10:20], truth[10:20])
    close(PLAIN.score(prediction, truth, weight=weight > 0), expected)
    close(PLAIN.score(prediction, truth, weight=weight), replace(expected, pixels=1280))
    with pytest.raises(MetricsError, match='no pixel'):
        PLAIN.score(prediction, truth, weight=0 * weight)


def test_ray_distance_is_compared_along_the_ray():
    camera = Camera(30, 30, 31.5, 23.5, 64, 48)
    prediction, truth = pair()
    prediction, truth = prediction.float(), truth.float()
    z = geometry.rays(camera)[..., 2]
    protocol = PROTOCOLS['plain-ray']
    expected = PLAIN.score(prediction / z, truth / z)
    close(protocol.score(prediction, truth, camera), expected, 1e-6)
    assert expected.rmse != pytest.approx(PLAIN.score(prediction, truth).rmse, rel=0.01)
    with pytest.raises(MetricsError, match='plain-ray compares ray distance: needs the camera'):
        protocol.score(prediction, truth)


def test_names_that_do_not_exist_are_named():
    for field, value in (('alignment', 'affine'), ('crop', 'kb'), ('pooling', 'sum'),
                         ('quantity', 'z'), ('kitti_crop', '')):  # fmt: skip
        with pytest.raises(MetricsError, match=rf'{field} is {value!r}, expected one of'):
            Protocol('p', **{field: value})
    for low, high in ((0, 10), (2, 1), (1, math.inf)):
        with pytest.raises(MetricsError, match='a range'):
            Protocol('p', min_depth=low, max_depth=high)
    with pytest.raises(MetricsError, match='and the garg crop'):
        replace(PLAIN, crop='garg').score(torch.ones(9, 9), torch.full((9, 9), math.nan))


def test_every_protocol_says_what_it_does():
    for protocol in PROTOCOLS.values():
        assert protocol.source
        assert f'{protocol.max_depth:g} m' in protocol.describe()
    assert PLAIN.describe() == '0.1 to 80 m, no alignment, mean of frames'
    assert 'eigen crop' in PROTOCOLS['betterdepth'].on('kitti').describe()
