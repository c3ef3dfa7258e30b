"""Models that know the truth of a real sequence, judged the whole way."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from metric_depth_ros import geometry
from metric_depth_ros.evaluation.baselines import best_constant, row_means
from metric_depth_ros.evaluation.boundaries import score_boundaries
from metric_depth_ros.evaluation.metrics import PLAIN, PROTOCOLS, Scores, pool_scores
from metric_depth_ros.evaluation.quantity import (
    QuantityVerdict,
    check_quantity,
    quantity_evidence,
    quantity_verdict,
)
from metric_depth_ros.evaluation.temporal import frame_scale, scale_drift
from metric_depth_ros.types import Camera

CABINET = Path(__file__).parents[3] / 'shared/data/tum_fr3_cabinet'
pytestmark = pytest.mark.skipif(not CABINET.is_dir(), reason=f'{CABINET} is not there')


@pytest.fixture(scope='module')
def camera() -> Camera:
    values = json.loads((CABINET / 'camera.json').read_text())
    names = ('fx', 'fy', 'cx', 'cy', 'width', 'height')
    return Camera(**{name: values[name] for name in names})


@pytest.fixture(scope='module')
def truths() -> list[Tensor]:
    files = sorted((CABINET / 'depth').glob('*.png'))[::6]
    assert len(files) == 10
    return [read(file) for file in files]


def read(file: Path) -> Tensor:
    pixels = cv2.imread(str(file), cv2.IMREAD_UNCHANGED).astype(np.float32)
    return torch.from_numpy(np.where(pixels > 0, pixels / 5000, np.nan).astype(np.float32))


def judged(
    model: Callable[[Tensor], Tensor], truths: list[Tensor], camera: Camera
) -> tuple[list[Scores], QuantityVerdict]:
    pairs = [(model(truth), truth) for truth in truths]
    evidence = [quantity_evidence(*pair, camera) for pair in pairs]
    return [PLAIN.score(*pair, camera) for pair in pairs], quantity_verdict(evidence)


def test_a_model_that_reads_the_truth(truths: list[Tensor], camera: Camera):
    scores, verdict = judged(lambda truth: truth, truths, camera)
    for pooling in ('image', 'pixel'):
        pooled = pool_scores(scores, pooling)
        assert (pooled.abs_rel, pooled.rmse, pooled.silog, pooled.delta1) == (0, 0, 0, 1)
        assert pooled.coverage == 1
    assert verdict.swapped == ''
    edges = score_boundaries(truths[0], truths[0])
    assert (edges.pdbe_accuracy, edges.pdbe_completeness) == (0, 0)
    assert (edges.edge_precision, edges.edge_recall) == (1, 1)
    assert edges.boundary_f1 == 1


def test_a_model_that_is_ten_percent_too_far(truths: list[Tensor], camera: Camera):
    scores, verdict = judged(lambda truth: 1.1 * truth, truths, camera)
    for pooling in ('image', 'pixel'):
        pooled = pool_scores(scores, pooling)
        assert pooled.abs_rel == pytest.approx(0.1, abs=1e-7)
        assert pooled.silog == pytest.approx(0, abs=1e-4)
        assert pooled.log_bias == pytest.approx(math.log(1.1), abs=1e-7)
        assert pooled.delta1 == 1
    assert verdict.swapped == ''
    for name in ('plain-median', 'grin-relative', 'betterdepth', 'depthmaster'):
        assert PROTOCOLS[name].score(1.1 * truths[0], truths[0]).abs_rel < 1e-6
    scales = [frame_scale(1.1 * truth, truth) for truth in truths]
    assert scales == pytest.approx([1.1] * 10)
    assert scale_drift(scales, range(10)).drift == pytest.approx(0, abs=1e-7)


def test_a_model_that_says_ray_distance(truths: list[Tensor], camera: Camera):
    rays = geometry.rays(camera)
    scores, verdict = judged(
        lambda truth: geometry.ray_distance_from_depth(truth, rays), truths, camera
    )
    # no number alone gives it away: a few percent off is what a good model is
    assert 0.02 < pool_scores(scores, 'image').abs_rel < 0.15
    assert verdict.swapped == 'prediction'
    assert verdict.fits_better_as_ray
    assert verdict.slope == pytest.approx(1, abs=1e-4)
    assert 'looks like ray distance' in verdict.warning()
    one = geometry.ray_distance_from_depth(truths[0], rays)
    assert check_quantity(one, truths[0], camera).swapped == 'prediction'


def test_a_truth_that_is_ray_distance(truths: list[Tensor], camera: Camera):
    rays = geometry.rays(camera)
    for truth in truths:
        along_ray = geometry.ray_distance_from_depth(truth, rays)
        assert check_quantity(truth, along_ray, camera).swapped == 'truth'


def test_baselines_are_no_swap_and_no_match(truths: list[Tensor], camera: Camera):
    constant, rows = best_constant(truths), row_means(truths)
    for guess in (torch.full((480, 640), constant), rows[:, None].expand(480, 640)):
        scores, verdict = judged(lambda _, guess=guess: guess, truths, camera)
        assert pool_scores(scores, 'image').abs_rel > 0.1
        assert verdict.swapped == ''
