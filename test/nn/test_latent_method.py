"""Fields of the latent methods' configs and draws that cannot be: one line that names them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from metric_depth_ros.errors import MetricDepthError
from metric_depth_ros.methods import METHODS
from metric_depth_ros.nn.latent import LatentConfig
from metric_depth_ros.nn.sampling import check_draw
from metric_depth_ros.types import Conditioning

LATENT = ('metricgold', 'betterdepth', 'sharpdepth', 'depthmaster')


def tiny(method: str) -> Any:
    return METHODS[method].Config.tiny()


@pytest.mark.parametrize(
    ('method', 'fields', 'message'),
    [
        ('metricgold', {'vae_share': 1.5}, 'MetricGold config has vae_share 1.5, expected 0 to 1'),
        ('betterdepth', {'power': 2}, 'BetterDepth config has power 2, expected -1, 0, 1'),
        ('betterdepth', {'far': 0.01}, 'BetterDepth config has near 0.1, expected above 0, below'),
        ('betterdepth', {'far': float('inf')}, 'config has far inf, expected a finite number'),
        ('sharpdepth', {'gate': -0.1}, 'SharpDepth config has gate -0.1, expected 0 to 1'),
        ('sharpdepth', {'distillation_times': (0.5, 0.5)}, r'distillation_times \(0.5, 0.5\), ex'),
        ('depthmaster', {'near': 0.0}, 'DepthMaster config has near 0.0, expected above 0'),
        ('depthmaster', {'pixel_weight': -1}, 'DepthMaster config has pixel_weight -1, expected'),
    ],
)
def test_a_senseless_field_is_named(method: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(MetricDepthError, match=message):
        dataclasses.replace(tiny(method), **fields)


def test_no_gate_is_no_share() -> None:
    assert dataclasses.replace(tiny('sharpdepth'), gate=None).gate is None


@pytest.mark.parametrize('method', LATENT)
def test_the_network_may_be_as_json_has_it(method: str) -> None:
    config = tiny(method)
    read = type(config)(**{**vars(config), 'latent': dataclasses.asdict(config.latent)})
    assert isinstance(read.latent, LatentConfig)
    assert read == config


@pytest.mark.parametrize(
    ('width', 'num_samples', 'num_steps', 'message'),
    [
        (60, 1, 1, 'multiple'),
        (64, 0, 1, 'num_samples is 0, expected at least 1'),
        (64, 1, 0, 'num_steps is 0, expected 1 to 10'),
        (64, 1, 11, 'num_steps is 11, expected 1 to 10'),
    ],
)
def test_a_draw_that_cannot_be(width: int, num_samples: int, num_steps: int, message: str) -> None:
    view = torch.zeros(3, 32, width)
    conditioning = Conditioning(view, view, torch.ones(32, width, dtype=torch.bool))
    with pytest.raises(MetricDepthError, match=message):
        check_draw(conditioning, num_samples, num_steps, multiple_of=8, most_steps=10)


def test_as_many_steps_as_one_likes_where_nothing_limits_them() -> None:
    view = torch.zeros(3, 32, 64)
    conditioning = Conditioning(view, view, torch.ones(32, 64, dtype=torch.bool))
    check_draw(conditioning, 1, 10**6, multiple_of=8)
    with pytest.raises(MetricDepthError, match='num_steps is 0, expected at least 1'):
        check_draw(conditioning, 1, 0, multiple_of=8)
