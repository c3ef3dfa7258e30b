from __future__ import annotations

import math

import pytest
import torch

from metric_depth_ros.nn.fourier import fourier_features, ray_feature_width, ray_features


def test_width_is_the_paper_s() -> None:
    rays = torch.nn.functional.normalize(torch.randn(2, 5, 3), dim=-1)
    assert ray_features(rays, 16, 16).shape == (2, 5, 6 * (16 + 16 + 2))
    assert ray_feature_width(16, 16) == 204
    assert ray_features(rays, 8, 0).shape[-1] == ray_feature_width(8, 0)


def test_values() -> None:
    x = 0.3
    features = fourier_features(torch.tensor([x], dtype=torch.float64), 16).tolist()
    frequencies = [math.pi * 2 ** (2 * k / 15) for k in range(16)]
    assert features[0] == features[17] == x
    assert features[1:17] == pytest.approx([math.sin(f * x) for f in frequencies])
    assert features[18:] == pytest.approx([math.cos(f * x) for f in frequencies])
    assert frequencies[-1] == pytest.approx(4 * math.pi)


def test_coordinates_do_not_mix() -> None:
    x = torch.tensor([0.1, 0.2, 0.3])
    changed = fourier_features(x + torch.tensor([0, 0.1, 0]), 4) != fourier_features(x, 4)
    assert changed.view(2, 3, 5).any(-1).tolist() == [[False, True, False]] * 2
