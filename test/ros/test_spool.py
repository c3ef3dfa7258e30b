"""Predictions kept in a file come back as they went in; no ROS needed."""

from __future__ import annotations

import pytest
import torch

from metric_depth_ros.ros.spool import PredictionSpool
from metric_depth_ros.types import Camera, DepthPrediction


def prediction(stamp_ns: int, width: int, height: int) -> DepthPrediction:
    camera = Camera(50.0, 51.0, 3.0, 2.0, width, height)
    depth = torch.arange(width * height, dtype=torch.float32).view(height, width) + stamp_ns
    depth[0, 0], depth[0, 1] = torch.nan, torch.inf
    return DepthPrediction(depth, 0.1 * depth, camera, stamp_ns, f'camera_{stamp_ns}')


def test_what_goes_in_comes_out_in_any_order():
    kept = {stamp: prediction(stamp, 4 + stamp, 3) for stamp in (5, 3, 9)}
    spool = PredictionSpool()
    for value in kept.values():
        spool.add(value)
    assert list(spool) == [5, 3, 9]
    assert len(spool) == 3
    for stamp in (9, 5, 3, 9):
        found = spool[stamp]
        torch.testing.assert_close(found.depth, kept[stamp].depth, rtol=0, atol=0, equal_nan=True)
        torch.testing.assert_close(found.std, kept[stamp].std, rtol=0, atol=0, equal_nan=True)
        assert (found.camera, found.stamp_ns) == (kept[stamp].camera, stamp)
        assert found.frame_id == f'camera_{stamp}'


def test_later_prediction_of_a_stamp_replaces_the_earlier():
    spool = PredictionSpool()
    spool.add(prediction(1, 8, 6))
    spool.add(prediction(1, 4, 3))
    assert len(spool) == 1
    assert spool[1].camera.width == 4
    spool.add(prediction(2, 5, 5))  # reading has not moved the place of writing
    assert torch.equal(spool[2].depth.nan_to_num(), prediction(2, 5, 5).depth.nan_to_num())


def test_unknown_stamp():
    spool = PredictionSpool()
    assert spool.get(7) is None
    with pytest.raises(KeyError):
        spool[7]
