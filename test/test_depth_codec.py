from __future__ import annotations

import math

import pytest
import torch

from metric_depth_ros.depth_codec import DepthCodecError, LogBase

BASES = (1.0, math.e, 10.0, 2000.0)


@pytest.mark.parametrize('base', BASES)
def test_round_trip_and_ends(base: float) -> None:
    codec = LogBase(0.1, 200.0, base)
    distance = torch.logspace(-1, math.log10(200), 1001, dtype=torch.float64)
    distance[-1] = 200.0
    code = codec.encode(distance)
    assert code[0] == 0
    assert code[-1] == pytest.approx(1.0, abs=1e-12)
    assert (code.diff() > 0).all()
    torch.testing.assert_close(codec.decode(code), distance, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize('base', BASES[1:])
def test_equation_3(base: float) -> None:
    codec = LogBase(0.1, 200.0, base)
    for d in (0.1, 1.0, 7.3, 200.0):
        expected = math.log((base - 1) * (d - 0.1) / (200 - 0.1) + 1, base)
        code = codec.encode(torch.tensor(d, dtype=torch.float64)).item()
        assert code == pytest.approx(expected, abs=1e-9)


def test_base_one_is_linear_and_the_limit_of_small_bases() -> None:
    distance = torch.linspace(0.1, 200, 50, dtype=torch.float64)
    linear = LogBase(0.1, 200.0, 1.0).encode(distance)
    torch.testing.assert_close(linear, (distance - 0.1) / 199.9)
    torch.testing.assert_close(LogBase(0.1, 200.0, 1 + 1e-7).encode(distance), linear, atol=1e-6,
                               rtol=0)  # fmt: skip


def test_base_far_over_near_is_exactly_logarithmic() -> None:
    code = LogBase(0.1, 200.0, 2000.0).encode(torch.tensor([1.0, 10.0], dtype=torch.float64))
    expected = [math.log(10) / math.log(2000), math.log(100) / math.log(2000)]
    assert code.tolist() == pytest.approx(expected, abs=1e-12)


def test_outside_the_range_is_clipped_and_nan_stays() -> None:
    codec = LogBase(0.1, 200.0, 10.0)
    assert codec.encode(torch.tensor([0.0, -3.0, 500.0, math.inf])).tolist() == [0, 0, 1, 1]
    assert codec.decode(torch.tensor([-1.0, 2.0])).tolist() == pytest.approx([0.1, 200.0])
    assert codec.encode(torch.tensor(math.nan)).isnan()
    assert codec.decode(torch.tensor(math.nan)).isnan()


@pytest.mark.parametrize(
    ('near', 'far', 'base'),
    [(0, 1, 10), (-1, 1, 10), (2, 1, 10), (1, math.inf, 10), (1, 2, 0.5), (1, 2, math.nan)],
)
def test_impossible_codec_is_refused(near: float, far: float, base: float) -> None:
    with pytest.raises(DepthCodecError, match='expected'):
        LogBase(near, far, base)
