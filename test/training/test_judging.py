"""What an ablation's table shows, on frames whose scores are known by hand."""

from __future__ import annotations

import math

import pytest
import torch

from metric_depth_ros.training.judging import judge


def step_at(column: int, near: float = 1.5, far: float = 6.0) -> torch.Tensor:
    depth = torch.full((48, 64), near)
    depth[:, column:] = far
    return depth


def test_edges_that_lie_three_pixels_aside_are_three_pixels_wrong() -> None:
    right, aside = judge([(step_at(30), step_at(30))]), judge([(step_at(33), step_at(30))])
    assert right.boundary_error == pytest.approx(0, abs=1e-6)
    assert aside.boundary_error == pytest.approx(3, abs=0.5)
    assert right.boundary_f1 == pytest.approx(0.25)  # all there are, in one of four directions
    assert aside.boundary_f1 < 0.1


def test_only_near_pixels_count_for_the_near_range() -> None:
    truth = step_at(32, near=1.0, far=6.0)
    depth = step_at(32, near=1.3, far=12.0)
    scores = judge([(depth, truth)])
    assert scores.near_abs_rel == pytest.approx(0.3)
    assert scores.near_log_error == pytest.approx(math.log(1.3))
    assert scores.plain.abs_rel == pytest.approx((0.3 + 1.0) / 2)
    far = step_at(32, near=5.0, far=6.0)
    nothing = judge([(far, far)])
    assert math.isnan(nothing.near_abs_rel)
    assert math.isnan(nothing.near_log_error)
    half, twice = (judge([(k * truth, truth)]) for k in (0.5, 2.0))
    assert half.near_abs_rel < twice.near_abs_rel
    assert half.near_log_error == pytest.approx(twice.near_log_error)


def test_frames_without_truth_are_left_out() -> None:
    truth = step_at(32)
    nothing = torch.full_like(truth, math.nan)
    assert judge([(truth, nothing), (truth, truth)]) == judge([(truth, truth)])
