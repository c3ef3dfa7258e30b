"""A model that knows the truth of the bags that write_bag writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest
import torch

from metric_depth_ros.types import DepthPrediction, Frame

from ..bags.conftest import FIRST_NS, STEP_NS, true_depth, write_bag

__all__ = ['write_bag']  # a fixture of both folders


class TruthReader:
    """A model that knows the truth and reads it off `factor` times too far."""

    name = 'truth reader'

    def __init__(self, truths: Iterable[np.ndarray], factor: float = 1.0) -> None:
        millimetres = {FIRST_NS + i * STEP_NS: truth for i, truth in enumerate(truths)}
        self._depths = {
            stamp: torch.from_numpy(np.where(mm > 0, mm / 1000, np.nan).astype(np.float32))
            for stamp, mm in millimetres.items()
        }
        self._factor = factor

    def __call__(self, frame: Frame) -> DepthPrediction:
        depth = self._depths[frame.stamp_ns] * self._factor
        return DepthPrediction(depth, 0.02 * depth, frame.camera, frame.stamp_ns, frame.frame_id)


@pytest.fixture
def truth_reader() -> Callable[[float], TruthReader]:
    """truth_reader(factor): of bags of up to five frames written by write_bag."""
    return lambda factor=1.0: TruthReader([true_depth(i) for i in range(5)], factor)
