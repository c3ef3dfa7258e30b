"""Clouds are drawn to scale and the nearest point wins; pictures have what they promise."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from metric_depth_ros.evaluation.cloud_view import ABOVE, SIDE, Cloud, cloud_of, extent, splat
from metric_depth_ros.evaluation.pictures import save_clouds, save_comparison
from metric_depth_ros.evaluation.ply import write_ply
from metric_depth_ros.geometry import unproject
from metric_depth_ros.types import DepthPrediction, Frame

from ..bags.conftest import CAMERA, HEIGHT, WIDTH, picture

RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)
BOUNDS = (0.0, 4.0, -1.0, 1.0)  # left, right, bottom, top in metres


def cloud(*points: tuple[float, float, float], spacing: float = 0.001) -> Cloud:
    colours = np.array([RED, GREEN][: len(points)], dtype=np.uint8)
    return Cloud(np.array(points), colours, np.full(len(points), spacing))


def centre(drawn: np.ndarray) -> tuple[float, float]:
    """(column, row) of the middle of what is red."""
    rows, columns = np.nonzero((drawn == RED).all(axis=-1))
    return columns.mean(), rows.mean()


def test_a_point_lands_where_its_metres_say():
    # 2.05 m ahead, 0.55 m up (y down), at 10 pixels a metre
    side = splat(cloud((0.3, -0.55, 2.05)), SIDE, BOUNDS, 10)
    assert side.shape == (20, 40, 3)
    assert centre(side) == (20, 4)
    # from above, 0.55 m to the right and 0.35 m ahead
    above = splat(cloud((0.55, 0, 0.35)), ABOVE, BOUNDS, 10)
    assert centre(above) == (5, 6)


@pytest.mark.parametrize('order', [1, -1])
def test_the_nearest_to_the_viewer_wins(order: int):
    # the viewer of the side view stands on the right (+x), the one of the view from above at -y
    points = [(0.0, 0.0, 2.0), (1.0, 0.0, 2.0)][::order]
    seen = splat(cloud(*points), SIDE, BOUNDS, 10)[10, 20]
    assert tuple(seen) == (GREEN if order == 1 else RED)
    points = [(2.0, 0.0, 0.0), (2.0, -1.0, 0.0)][::order]
    seen = splat(cloud(*points), ABOVE, BOUNDS, 10)[10, 20]
    assert tuple(seen) == (GREEN if order == 1 else RED)


def test_a_coarse_point_covers_more():
    fine = splat(cloud((0, 0, 2)), SIDE, BOUNDS, 10)
    coarse = splat(cloud((0, 0, 2), spacing=0.3), SIDE, BOUNDS, 10)
    for drawn, reach in ((fine, 1), (coarse, 3)):
        covered = np.argwhere((drawn != WHITE).any(axis=-1)) - (10, 20)
        assert len(covered) == (2 * reach + 1) ** 2
        assert np.abs(covered).max() == reach


def test_points_outside_and_no_points_draw_nothing():
    outside = splat(cloud((0, 0, 9), (0, 5, 2)), SIDE, BOUNDS, 10)
    assert (outside == WHITE).all()
    empty = Cloud(np.zeros((0, 3)), np.zeros((0, 3), np.uint8), np.zeros(0))
    assert (splat(empty, SIDE, BOUNDS, 10) == WHITE).all()
    left, right, bottom, top = extent([empty], SIDE)
    assert left < 0 < right
    assert bottom < 0 < top


def test_a_cloud_has_a_point_for_each_finite_depth():
    depth = torch.full((HEIGHT, WIDTH), 2.0)
    depth[0, 0], depth[1, 1] = math.nan, math.inf
    made = cloud_of(depth, torch.from_numpy(picture(1)), CAMERA)
    assert len(made.points) == HEIGHT * WIDTH - 2
    np.testing.assert_allclose(made.points[:, 2], 2, rtol=1e-6)
    np.testing.assert_array_equal(made.colours[0], picture(1)[0, 1])


def prediction(depth: torch.Tensor) -> tuple[Frame, DepthPrediction]:
    frame = Frame(torch.from_numpy(picture(2)), CAMERA)
    return frame, DepthPrediction(depth, 0.1 * depth, CAMERA)


def test_comparison_is_grey_where_there_is_no_estimate(tmp_path: Path):
    nothing = torch.full((HEIGHT, WIDTH), math.nan)
    save_comparison(tmp_path / 'c.png', *prediction(nothing), torch.ones(HEIGHT, WIDTH))
    drawn = cv2.imread(str(tmp_path / 'c.png'))
    grey = (drawn == round(0.8 * 255)).all(axis=-1).mean()
    assert 0.5 * 3 / 5 < grey < 3 / 5  # depth, uncertainty and error of five panels


def test_clouds_without_a_point_are_drawn(tmp_path: Path):
    nothing = torch.full((HEIGHT, WIDTH), math.inf)
    save_clouds(tmp_path / 'c.png', *prediction(nothing))
    assert cv2.imread(str(tmp_path / 'c.png')) is not None


def test_ply_holds_every_point_with_colour_and_std(tmp_path: Path):
    depth = torch.linspace(1, 3, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
    depth[2, 3] = math.nan
    points, image = unproject(depth, CAMERA), torch.from_numpy(picture(1))
    write_ply(tmp_path / 'cloud.ply', points, image, 0.1 * depth)
    header, _, body = (tmp_path / 'cloud.ply').read_bytes().partition(b'end_header\n')
    assert header.decode().split('\n') == [
        'ply',
        'format binary_little_endian 1.0',
        f'element vertex {HEIGHT * WIDTH - 1}',
        *(f'property float {name}' for name in 'xyz'),
        *(f'property uchar {name}' for name in ('red', 'green', 'blue')),
        'property float std',
        '',
    ]
    vertices = np.frombuffer(body, [('xyz', '<f4', 3), ('rgb', 'u1', 3), ('std', '<f4')])
    seen = torch.isfinite(depth)
    np.testing.assert_array_equal(vertices['xyz'], points[seen])
    np.testing.assert_array_equal(vertices['rgb'], image[seen])
    np.testing.assert_array_equal(vertices['std'], 0.1 * depth[seen])
