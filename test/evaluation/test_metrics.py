"""Metrics against values worked out by hand."""

from __future__ import annotations

import math
from dataclasses import asdict

import pytest
import torch

from metric_depth_ros.evaluation import metrics
from metric_depth_ros.evaluation.metrics import (
    PLAIN,
    PLAIN_MEDIAN,
    MetricsError,
    Protocol,
    Scores,
    best_constant,
    confident_rmse,
    mean_scores,
    median_depth,
    rank_correlation,
    row_means,
    score,
    score_uncertainty,
    sparsification_curve,
    sparsification_error,
)


def test_two_pixels_by_hand():
    # d = (1, 4), t = (2, 2): errors -1, 2; ln ratios -ln 2, ln 2
    scores = score(torch.tensor([1.0, 4.0]), torch.tensor([2.0, 2.0]))
    ln2 = math.log(2)
    expected = Scores(
        abs_rel=(0.5 + 1.0) / 2,
        sq_rel=(0.5 + 2.0) / 2,
        rmse=math.sqrt((1 + 4) / 2),
        rmse_log=ln2,
        silog=100 * ln2,  # the mean of the two log errors is 0
        log10=math.log10(2),
        delta1=0.0,
        delta2=0.0,  # 2 > 1.5625
        delta3=0.0,  # 2 > 1.953125
        coverage=1.0,
        log_bias=0.0,
        pixels=2,
    )
    assert asdict(scores) == pytest.approx(asdict(expected), abs=1e-12)


def test_thresholds_of_delta_by_hand():
    # ratios 1.2, 1.3, 1 / 1.3, 1.6, 1 / 2
    scores = score(torch.tensor([1.2, 1.3, 1 / 1.3, 1.6, 0.5]), torch.ones(5))
    assert (scores.delta1, scores.delta2, scores.delta3) == pytest.approx((0.2, 0.6, 0.8))


def test_ten_percent_too_far():
    truth = torch.rand(48, 64, generator=torch.Generator().manual_seed(1)) * 9 + 1
    scores = PLAIN.score(1.1 * truth, truth)
    assert scores.abs_rel == pytest.approx(0.1, abs=1e-6)
    assert scores.rmse_log == pytest.approx(math.log(1.1), abs=1e-6)
    assert scores.log10 == pytest.approx(math.log10(1.1), abs=1e-6)
    assert scores.silog == pytest.approx(0, abs=1e-4)
    assert scores.delta1 == 1
    aligned = PLAIN_MEDIAN.score(1.1 * truth, truth)
    assert aligned.abs_rel == pytest.approx(0, abs=1e-6)


def test_the_truth_scores_zero():
    truth = torch.full((3, 4), 2.5)
    assert PLAIN.score(truth, truth) == Scores(0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 0, 12)


def test_caps_choose_the_pixels_and_clamp_the_prediction():
    protocol = Protocol('capped', min_depth=1.0, max_depth=10.0)
    nan, inf = math.nan, math.inf
    truth = torch.tensor([[0.5, 2.0, 5.0, 20.0, nan, inf, 8.0]])
    predicted = torch.tensor([[9.0, 2.0, inf, 1.0, 1.0, 1.0, nan]])
    scores = protocol.score(predicted, truth)
    # left: (2, 2) and (inf -> 10, 5); (nan, 8) has no estimate
    assert scores.abs_rel == pytest.approx((0 + 1) / 2)
    assert scores.coverage == pytest.approx(2 / 3)


def test_beyond_range_can_be_aligned():
    # inf counts as 80 m: (80, 80, 4) has the median 80, the truth 2, so 4 becomes 0.1
    truth = torch.tensor([[2.0, 2.0, 2.0]])
    scores = PLAIN_MEDIAN.score(torch.tensor([[math.inf, math.inf, 4.0]]), truth)
    assert scores.abs_rel == pytest.approx((0 + 0 + 1.9 / 2) / 3)


def test_no_prediction_at_all_is_nan_with_zero_coverage():
    scores = PLAIN.score(torch.full((2, 2), math.nan), torch.ones(2, 2))
    assert math.isnan(scores.abs_rel)
    assert scores.coverage == 0


def test_nothing_to_compare_says_so():
    with pytest.raises(MetricsError, match=r'no pixel .* 0\.1 to 80\.0 m'):
        PLAIN.score(torch.ones(2, 2), torch.full((2, 2), math.nan))
    with pytest.raises(MetricsError, match=r'\(2, 3\)'):
        PLAIN.score(torch.ones(2, 3), torch.ones(2, 2))
    with pytest.raises(MetricsError, match='no frame'):
        mean_scores([])


def test_mean_counts_frames_alike():
    # abs_rel of the frames: 0.5 over one pixel, 0 over three
    truth = torch.full((1, 3), math.nan)
    truth[0, 0] = 2.0
    first = PLAIN.score(torch.full((1, 3), 3.0), truth)
    second = PLAIN.score(torch.full((1, 3), 4.0), torch.full((1, 3), 4.0))
    assert mean_scores([first, second]).abs_rel == pytest.approx(0.25)
    nothing = PLAIN.score(torch.full((1, 3), math.nan), truth)
    both = mean_scores([first, nothing])
    assert both.abs_rel == pytest.approx(0.5)
    assert both.coverage == pytest.approx(0.5)


def test_silog_ignores_scale_and_nothing_else_does():
    generator = torch.Generator().manual_seed(2)
    truth = torch.rand(1000, generator=generator) + 1
    predicted = truth * (1 + 0.1 * torch.rand(1000, generator=generator))
    once, twice = score(predicted, truth), score(2 * predicted, truth)
    assert twice.silog == pytest.approx(once.silog, rel=1e-5)
    assert twice.abs_rel > once.abs_rel


def test_median_of_truths():
    truths = [torch.tensor([[1.0, 2.0, math.nan]]), torch.tensor([[9.0]])]
    assert median_depth(truths) == 2.0


def test_best_constant_is_the_best():
    generator = torch.Generator().manual_seed(3)
    truths = [torch.rand(6, 8, generator=generator) * 9 + 1 for _ in range(3)]
    truths[0][2:] = math.nan  # a frame with fewer pixels counts as much as the others

    def abs_rel(constant: float) -> float:
        filled = torch.full((6, 8), constant)
        return mean_scores([PLAIN.score(filled, t) for t in truths]).abs_rel

    best = best_constant(truths)
    candidates = torch.cat([t[torch.isfinite(t)] for t in truths]).tolist()
    assert abs_rel(best) == pytest.approx(min(map(abs_rel, candidates)), abs=1e-12)
    assert abs_rel(best) < abs_rel(median_depth(truths))


def test_row_means_by_hand():
    nan = math.nan
    truths = [
        torch.tensor([[1.0, 3.0], [nan, 4.0], [nan, nan]]),
        torch.tensor([[2.0, 2.0], [6.0, 8.0], [nan, nan]]),
    ]
    overall = (1 + 3 + 2 + 2 + 4 + 6 + 8) / 7
    assert row_means(truths).tolist() == pytest.approx([2.0, 6.0, overall])


def test_names_are_those_of_the_scores():
    assert metrics.metric_names()[:3] == ('abs_rel', 'sq_rel', 'rmse')
    assert set(metrics.metric_names()) == set(
        asdict(PLAIN.score(torch.ones(1, 1), torch.ones(1, 1)))
    )


def test_rank_correlation_is_scipy_s_ties_included():
    stats = pytest.importorskip('scipy.stats')
    generator = torch.Generator().manual_seed(0)
    a = torch.randint(7, (200,), generator=generator).float()
    b = a + 3 * torch.randn(200, generator=generator)
    expected = stats.spearmanr(a.numpy(), b.numpy()).statistic
    assert rank_correlation(a, b) == pytest.approx(expected, abs=1e-9)
    assert rank_correlation(a, b**3) == pytest.approx(expected, abs=1e-9)


def test_rank_correlation_by_hand():
    # ranks 1, 2.5, 2.5, 4 and 1, 2, 3, 4: covariance 4.5, variances 4.5 and 5 (times n)
    ties, order = torch.tensor([1.0, 2.0, 2.0, 9.0]), torch.tensor([0.1, 0.2, 0.3, 0.4])
    assert rank_correlation(ties, order) == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    assert rank_correlation(order, -order) == pytest.approx(-1)
    assert math.isnan(rank_correlation(torch.ones(4), order))


def test_sparsification_by_hand():
    error = torch.tensor([3.0, 1.0, 2.0])
    surest_is_worst = sparsification_curve(error, torch.tensor([0.0, 5.0, 1.0]))
    assert surest_is_worst.tolist() == pytest.approx([3 / 2, 5 / 2 / 2, 1.0])
    # the two of equal uncertainty have a mean error of 2.5 in whichever order
    ties = sparsification_curve(error, torch.tensor([4.0, 1.0, 4.0]))
    assert ties.tolist() == pytest.approx([1 / 2, 3.5 / 2 / 2, 1.0])


def test_sparsification_error_in_closed_form():
    # Errors 1 to n: the oracle's k surest have a mean of (k + 1) / (n + 1) of all, whose mean
    # over k is (n + 3) / (2 n + 2); the opposite order has (2 n + 1 - k) / (n + 1).
    n = 1000
    error = torch.arange(1.0, n + 1)[torch.randperm(n, generator=torch.Generator().manual_seed(0))]
    oracle = (n + 3) / (2 * n + 2)
    assert sparsification_error(error, error.square()) == pytest.approx(0, abs=1e-12)
    assert sparsification_error(error, torch.ones(n)) == pytest.approx(1 - oracle)
    opposite = (2 * n + 1 - (n + 1) / 2) / (n + 1)
    assert sparsification_error(error, -error) == pytest.approx(opposite - oracle)


def test_rmse_of_the_surest_by_hand():
    error, std = torch.tensor([4.0, 3.0, 0.0, 5.0]), torch.tensor([0.2, 0.1, 0.4, 0.3])
    assert confident_rmse(error, std, 0.5) == pytest.approx(math.sqrt((9 + 16) / 2))
    assert confident_rmse(error, std, 1.0) == pytest.approx(math.sqrt(50 / 4))
    assert confident_rmse(error, std, 0.01) == pytest.approx(3)  # at least one pixel


def test_an_error_bar_that_is_the_truth():
    generator = torch.Generator().manual_seed(0)
    truth = 1 + 9 * torch.rand(100_000, generator=generator)
    std = 0.01 + 0.05 * torch.rand(100_000, generator=generator)
    depth = truth + std * torch.randn(100_000, generator=generator)
    scores = score_uncertainty(depth, std, truth)
    assert scores.coverage_1 == pytest.approx(0.6827, abs=0.005)
    assert scores.coverage_2 == pytest.approx(0.9545, abs=0.005)
    assert scores.spearman > 0.35
    assert scores.ause < 0.7 * scores.ause_constant
    assert scores.confident_rmse == tuple(sorted(scores.confident_rmse, reverse=True))
