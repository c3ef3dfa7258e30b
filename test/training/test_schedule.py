"""Which frames a step sees: all of them, in turn, in the proportions asked for."""

from __future__ import annotations

from collections import Counter
from itertools import chain

import numpy as np
import pytest

from metric_depth_ros.training.schedule import Schedule, seed_of


def weights(steps: int, *values: float) -> np.ndarray:
    return np.tile(values, (steps, 1)).astype(float)


def test_an_epoch_shows_every_frame_once_and_the_next_in_another_order() -> None:
    schedule = Schedule([20], weights(8, 1.0), 5, seed=3)
    steps = [schedule.step(k)[0] for k in range(8)]
    first, second = list(chain(*steps[:4])), list(chain(*steps[4:]))
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second
    assert first != list(range(20))


def test_an_epoch_that_ends_within_a_batch() -> None:
    schedule = Schedule([7], weights(10, 1.0), 4, seed=0)
    seen = Counter(frame for k in range(7) for frame in schedule.step(k)[0])
    assert seen == Counter(list(range(7)) * 4)


def test_sources_are_mixed_by_weight_in_every_batch() -> None:
    schedule = Schedule([10, 50, 30], weights(300, 3.0, 1.5, 0.5), 16, seed=0)
    counts = np.array([[len(index) for index in schedule.step(k)] for k in range(300)])
    assert (counts.sum(1) == 16).all()
    share = 16 * np.array([0.6, 0.3, 0.1])
    assert (np.abs(counts - share) < 1.5).all()
    assert (np.abs(counts.cumsum(0) - share * np.arange(1, 301)[:, None]) < 1.5).all()


def test_rare_sources_get_their_turn() -> None:
    schedule = Schedule([10, 10], weights(100, 0.95, 0.05), 4, seed=0)
    rare = [len(schedule.step(k)[1]) for k in range(100)]
    assert sum(rare) == pytest.approx(20, abs=1)
    assert max(rare) == 1


def test_a_source_that_leaves_the_mixture_is_gone() -> None:
    both = np.concatenate((weights(5, 1.0, 0.3), weights(5, 1.0, 0.0), weights(5, 0.0, 1.0)))
    counts = [list(map(len, Schedule([9, 9], both, 7, seed=0).step(k))) for k in range(15)]
    assert all(second > 0 for _, second in counts[:5])
    assert counts[5:10] == [[7, 0]] * 5
    assert counts[10:] == [[0, 7]] * 5


def test_the_schedule_is_a_function_of_seed_and_step() -> None:
    first, again, other = (Schedule([50], weights(4, 1.0), 10, seed=s) for s in (1, 1, 2))
    assert first.step(2) == again.step(2)
    assert first.step(2) != other.step(2)
    assert seed_of(1, 'a', 2) == seed_of(1, 'a', 2) != seed_of(1, 'a', 3)
    assert 0 <= seed_of('x') < 2**63
