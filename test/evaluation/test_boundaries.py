"""Boundary measures by hand, on steps whose place is known, and against scipy."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from metric_depth_ros.evaluation.boundaries import (
    DBE_REACH,
    F1_RATIOS,
    BoundaryError,
    BoundaryScores,
    PrecisionRecall,
    boundary_f1,
    depth_boundary_error,
    depth_edges,
    edge_precision_recall,
    mean_boundaries,
    pseudo_depth_boundary_error,
    score_boundaries,
)


def step(column: int, *, near: float = 1.0, far: float = 4.0, size: int = 60) -> Tensor:
    """Depth that jumps between two columns: the first far one is `column`."""
    depth = torch.full((size, size), near)
    depth[:, column:] = far
    return depth


def line(column: int, size: int = 60) -> Tensor:
    edges = torch.zeros(size, size, dtype=torch.bool)
    edges[:, column] = True
    return edges


def column_of(depth: Tensor) -> int:
    """The column where Canny sees the step; it must be the same in every row."""
    columns = torch.from_numpy(depth_edges(depth)).nonzero()[:, 1].unique()
    assert len(columns) == 1
    return int(columns[0])


# --- Canny and distances ----------------------------------------------------------------------


def test_canny_sees_a_step_where_it_is():
    assert column_of(step(30)) in (29, 30)
    assert column_of(step(30).T.contiguous().T) == column_of(step(30))
    assert not depth_edges(torch.full((60, 60), 2.0)).any()
    ramp = torch.linspace(1, 2, 60).expand(60, 60)
    assert not depth_edges(ramp).any()  # 1 / 59 a pixel answers 8 / 59 = 0.136


def test_canny_does_not_know_scale_and_shift():
    depth = step(20) + step(41)
    assert (depth_edges(depth) == depth_edges(7 * depth + 3)).all()


def test_weak_steps_are_kept_beside_strong_ones_only():
    # smoothed, a step of 1 answers 4 (Phi(0.5 / sigma) - Phi(-1.5 / sigma)) = 1.97, so 0.11 is
    # between the thresholds
    alone = torch.full((60, 60), 1.0)
    alone[:, 20:] = 1.11
    alone[:, 50:] = 2.0
    assert torch.from_numpy(depth_edges(alone)).nonzero()[:, 1].min() > 40
    joined = alone.clone()
    joined[:, 20:50] = torch.linspace(1.3, 1.11, 60)[:, None]
    found = torch.from_numpy(depth_edges(joined))
    assert bool(found[:, 18:22].any(dim=1).all())


@pytest.mark.parametrize('offset', [0, 1, 3, 7])
def test_distances_by_hand(offset: int):
    predicted = step(30)
    labels = line(column_of(predicted) + offset)
    assert depth_boundary_error(predicted, labels) == BoundaryError(offset, offset)
    assert pseudo_depth_boundary_error(step(30 + offset), predicted) == BoundaryError(
        offset, offset
    )


def test_only_predicted_edges_near_true_ones_are_judged_by_accuracy():
    # two predicted edges, one right and one 25 pixels off
    predicted = step(15) + step(40)
    columns = torch.from_numpy(depth_edges(predicted)).nonzero()[:, 1].unique().tolist()
    assert len(columns) == 2
    error = depth_boundary_error(predicted, line(columns[0]))
    assert error == BoundaryError(0, 0)
    # one predicted where two are true: half of the true pixels are 25 away, which is not limited
    both = line(columns[0]) | line(columns[1])
    error = depth_boundary_error(step(15), both)
    assert error.accuracy == pytest.approx(abs(column_of(step(15)) - columns[0]))
    assert error.completeness == pytest.approx((columns[1] - columns[0]) / 2, abs=1)


def test_without_edges():
    flat = torch.full((60, 60), 2.0)
    nothing = depth_boundary_error(step(30), torch.zeros(60, 60, dtype=torch.bool))
    assert math.isnan(nothing.accuracy)
    assert math.isnan(nothing.completeness)
    missed = depth_boundary_error(flat, line(30))
    assert missed == BoundaryError(DBE_REACH, math.hypot(60, 60))
    far_off = depth_boundary_error(step(10), line(50))
    assert far_off.accuracy == DBE_REACH


def test_a_mask_takes_pixels_out_of_both():
    predicted = step(15) + step(40)
    columns = torch.from_numpy(depth_edges(predicted)).nonzero()[:, 1].unique().tolist()
    mask = torch.ones(60, 60, dtype=torch.bool)
    mask[:, 30:] = False
    both = line(columns[0] + 2) | line(columns[1])
    assert depth_boundary_error(predicted, both, mask) == BoundaryError(2, 2)


def test_holes_make_no_edges():
    depth = step(30)
    depth[20:40, 5:15] = math.nan
    depth[:5] = math.nan
    expected = torch.from_numpy(depth_edges(step(30)))
    found = torch.from_numpy(depth_edges(depth))
    assert torch.equal(found[10:], expected[10:])
    assert not bool(found[:5].any())
    sky = step(30, far=math.inf)
    sky[:, :10] = 0.5  # a finite range to normalise by
    assert bool(torch.from_numpy(depth_edges(sky))[:, 9:11].any())


def test_distances_are_those_of_scipy():
    ndimage = pytest.importorskip('scipy.ndimage')
    generator = torch.Generator().manual_seed(0)
    labels = torch.rand(60, 60, generator=generator) < 0.01
    predicted = step(23)
    edges = depth_edges(predicted)
    to_labels = ndimage.distance_transform_edt(~labels.numpy())[edges]
    to_edges = ndimage.distance_transform_edt(~edges)[labels.numpy()]
    error = depth_boundary_error(predicted, labels)
    assert error.accuracy == pytest.approx(to_labels[to_labels < 10].mean(), abs=1e-6)
    assert error.completeness == pytest.approx(to_edges.mean(), abs=1e-6)


# --- edge precision and recall ----------------------------------------------------------------


def test_sobel_by_hand():
    # a step of 0.1 m answers 0.4 in the two columns beside it: above 0.25, not above 0.5
    small = step(30, near=1.0, far=1.1)
    assert edge_precision_recall(small, small, (0.25,)) == PrecisionRecall(1, 1)
    assert edge_precision_recall(small, step(31, near=1.0, far=1.1), (0.25,)) == PrecisionRecall(
        0.5, 0.5
    )
    assert math.isnan(edge_precision_recall(small, small, (0.5,)).recall)
    # twice the step predicted at 0.5 finds nothing true there; at 0.25 all
    assert edge_precision_recall(step(30, far=1.2), small, (0.25, 0.5)) == PrecisionRecall(1, 1)


def test_precision_and_recall_are_those_of_scikit_learn():
    sk = pytest.importorskip('sklearn.metrics')
    ndimage = pytest.importorskip('scipy.ndimage')
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(1, 1, 12, 16, generator=generator)
    truth = torch.nn.functional.interpolate(coarse, (48, 64))[0, 0] + 1
    prediction = truth + 0.1 * torch.randn(48, 64, generator=generator)
    for threshold in (0.25, 0.5, 1.0):
        true, predicted = (
            (sum(ndimage.sobel(d.double().numpy(), a) ** 2 for a in (0, 1)) ** 0.5)[1:-1, 1:-1]
            > threshold
            for d in (truth, prediction)
        )
        found = edge_precision_recall(prediction, truth, (threshold,))
        precision = sk.precision_score(true.ravel(), predicted.ravel())
        recall = sk.recall_score(true.ravel(), predicted.ravel())
        assert (found.precision, found.recall) == pytest.approx((precision, recall), abs=1e-6)


def test_thresholds_are_averaged():
    truth, prediction = step(30, far=1.2), step(30, far=1.1)
    # the truth answers 0.8, the prediction 0.4: found at 0.25, not at 0.5; no true edge at 1
    assert edge_precision_recall(prediction, truth) == PrecisionRecall(0.5, 0.5)


def test_unknown_pixels_are_no_edges():
    truth, prediction = step(30), step(30)
    truth[:, 10] = math.nan
    prediction[5] = math.inf
    assert edge_precision_recall(prediction, truth) == PrecisionRecall(1, 1)


# --- Depth Pro's F1 ---------------------------------------------------------------------------


def test_f1_of_a_step_by_hand():
    truth = step(30, near=1.0, far=1.15)  # a boundary by the ratios below 1.15
    one_side = sum(r for r in F1_RATIOS if r < 1.15) / sum(F1_RATIOS)
    # one of four sides has a boundary, so precision = recall = 1 / 4, as in Depth Pro
    assert boundary_f1(truth, truth) == pytest.approx(one_side / 4)
    assert boundary_f1(step(31, near=1.0, far=1.15), truth) == 0
    inverted = step(30, near=1.15, far=1.0)
    assert boundary_f1(inverted, truth) == 0  # the wrong side is nearer


def brute_force_f1(prediction: Tensor, truth: Tensor) -> float:
    """Depth Pro, Section 3.2, word for word and slow."""
    height, width = truth.shape
    total = weights = 0.0
    for ratio in F1_RATIOS:
        precision = recall = 0.0
        for di, dj in ((0, 1), (0, -1), (1, 0), (-1, 0)):
            hits = positives = wanted = 0
            for i in range(height):
                for j in range(width):
                    k, m = i + di, j + dj
                    if not (0 <= k < height and 0 <= m < width):
                        continue
                    four = [x[y] for x in (prediction, truth) for y in ((i, j), (k, m))]
                    if any(math.isnan(x) for x in four):
                        continue
                    p, t = float(four[1] / four[0]) > ratio, float(four[3] / four[2]) > ratio
                    hits, positives, wanted = hits + (p and t), positives + p, wanted + t
            precision += hits / max(positives, 1) / 4
            recall += hits / max(wanted, 1) / 4
        if precision + recall:
            total += ratio * 2 * precision * recall / (precision + recall)
        weights += ratio
    return total / weights


def test_f1_is_that_of_its_definition():
    generator = torch.Generator().manual_seed(2)
    truth = torch.exp(0.15 * torch.randn(12, 15, generator=generator))
    prediction = truth * torch.exp(0.05 * torch.randn(12, 15, generator=generator))
    truth[3, 4:7], prediction[8, 2] = math.nan, math.nan
    expected = brute_force_f1(prediction, truth)
    assert 0.3 < expected < 0.95
    assert boundary_f1(prediction, truth) == pytest.approx(expected, abs=1e-6)


def test_f1_does_not_know_scale_and_knows_infinity():
    generator = torch.Generator().manual_seed(3)
    truth = torch.exp(0.15 * torch.randn(30, 40, generator=generator))
    prediction = truth * torch.exp(0.05 * torch.randn(30, 40, generator=generator))
    once = boundary_f1(prediction, truth)
    assert boundary_f1(4 * prediction, 0.5 * truth) == pytest.approx(once, abs=1e-9)
    assert boundary_f1(prediction.T, truth.T) == pytest.approx(once, abs=1e-9)
    assert boundary_f1(step(30, far=math.inf), step(30, far=9.0)) == pytest.approx(0.25)
    assert math.isnan(boundary_f1(prediction, torch.ones(30, 40)))


# --- together ---------------------------------------------------------------------------------


def test_all_measures_of_a_frame():
    truth = step(30)
    scores = score_boundaries(truth, truth, line(column_of(truth)))
    assert scores == BoundaryScores(0, 0, 0, 0, 1, 1, pytest.approx(0.25))
    assert math.isnan(score_boundaries(truth, truth).dbe_accuracy)
    mean = mean_boundaries([scores, score_boundaries(step(33), truth)])
    assert mean.dbe_accuracy == 0  # of the one frame that has labels
    assert mean.pdbe_accuracy == 1.5
    assert mean.edge_precision == 0.5
    assert math.isnan(mean_boundaries([]).boundary_f1)
