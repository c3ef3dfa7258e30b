"""Fusion of a real sensor's depth with motion capture's poses, against a box that was measured."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from metric_depth_ros.mapping.gating import Weighting
from metric_depth_ros.mapping.mesh import Mesh
from metric_depth_ros.mapping.tsdf import TsdfVolume

from .box_on_floor import Box, measure, read_box, views

pytest.importorskip('open3d')

WEIGHTINGS = {'uncertainty': Weighting(), 'uniform': Weighting.uniform()}


def check(folder: Path, volume: TsdfVolume, every: int, min_views: int) -> None:
    for view in views(folder, every):
        volume.integrate(view)
    found = measure(volume.mesh(min_views=min_views), read_box(folder))
    print(f'{volume.num_blocks} blocks; {found}')
    assert found.floor_area > 3.0  # of 5.7 m2
    assert abs(found.floor) < 0.015
    assert abs(found.top - 0.56) < 0.015
    assert abs(found.length - 0.80) < 0.03
    assert abs(found.width - 0.46) < 0.03


def test_cabinet_from_a_few_frames(shared_data):
    volume = TsdfVolume(0.02)
    check(shared_data / 'tum_fr3_cabinet', volume, every=8, min_views=2)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize('weighting', list(WEIGHTINGS))
def test_cabinet_at_one_centimetre(shared_data, weighting):
    volume = TsdfVolume(0.01, weighting=WEIGHTINGS[weighting])
    check(shared_data / 'tum_fr3_cabinet', volume, every=1, min_views=3)


def cuboid(low: tuple[float, float, float], high: tuple[float, float, float]) -> Mesh:
    """Twelve triangles, counter-clockwise from outside."""
    bits = [(i & 1, i >> 1 & 1, i >> 2 & 1) for i in range(8)]
    vertices = torch.tensor([[(low, high)[bit[axis]][axis] for axis in range(3)] for bit in bits])
    quads = ((0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5))
    triangles = [t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))]
    nothing = torch.zeros_like(vertices)
    return Mesh(vertices, torch.tensor(triangles), nothing, nothing.byte())


def test_the_measure_reads_a_box_right():
    """A box of other size than expected, 2 cm too low and to the side, on a floor 1 cm too low."""
    from metric_depth_ros.mapping.mesh import join

    expected = Box((0.0, 0.0, 0.28), 0.0, (0.4, 0.23, 0.28))
    step = 0.05
    tiles = []
    for i in range(-20, 20):
        for j in range(-20, 20):
            x, y = i * step, j * step
            tiles.append(cuboid((x, y, -1.0), (x + step, y + step, -0.01)))
    box = cuboid((-0.38, -0.2, -0.01), (0.44, 0.24, 0.54))
    found = measure(join([*tiles, box]), expected)
    assert found.floor == pytest.approx(-0.01)
    assert found.top == pytest.approx(0.54)
    assert found.length == pytest.approx(0.82)
    assert found.width == pytest.approx(0.44)
