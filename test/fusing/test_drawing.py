"""The z-buffer against closed forms."""

from __future__ import annotations

import torch

from metric_depth_ros import geometry
from metric_depth_ros.fusing.drawing import draw_points, draw_surface
from metric_depth_ros.fusing.viewpoints import Level, viewpoints
from metric_depth_ros.mapping.trajectory import trajectory_of
from metric_depth_ros.types import Camera

CAMERA = Camera(40.0, 42.0, 19.5, 14.5, 40, 30)
HERE = torch.eye(4, dtype=torch.float64)
# Seen from the camera, x to the right and y down, this order is counter-clockwise.
SQUARE = torch.tensor([[0, 2, 1], [1, 2, 3]])


def square(half: float, depth: float, slope: float = 0.0) -> torch.Tensor:
    """Corners of z = depth + slope x."""
    corners = [(x, y, depth + slope * x) for y in (-half, half) for x in (-half, half)]
    return torch.tensor(corners)


def test_a_slanted_plane_has_its_depth_and_colours() -> None:
    vertices = square(3.0, 2.5, 0.4)
    drawn = draw_surface(vertices, SQUARE, CAMERA, HERE)
    ray = geometry.unproject(torch.ones(30, 40), CAMERA)
    truth = 2.5 / (1 - 0.4 * ray[..., 0])
    assert bool(drawn.seen.all())
    torch.testing.assert_close(drawn.depth, truth, atol=1e-4, rtol=0)
    torch.testing.assert_close(
        drawn.interpolate(vertices), ray * truth[..., None], atol=1e-3, rtol=0
    )


def test_edges_are_where_the_camera_projects_them() -> None:
    drawn = draw_surface(square(0.49, 2.0), SQUARE, CAMERA, HERE)
    pixels = geometry.pixel_grid(40, 30)
    inside = ((pixels - torch.tensor((19.5, 14.5))).abs() < torch.tensor((9.8, 10.29))).all(-1)
    torch.testing.assert_close(drawn.seen, inside)
    assert bool(drawn.depth.isnan()[~inside].all())


def test_the_nearest_wins_and_the_back_is_not_drawn() -> None:
    vertices = torch.cat((square(3.0, 2.0), square(3.0, 1.5), square(0.2, 1.0)))
    turned = SQUARE.flip(1)
    triangles = torch.cat((SQUARE, turned + 4, SQUARE + 8))
    drawn = draw_surface(vertices, triangles, CAMERA, HERE)
    assert set(drawn.depth.round(decimals=4).unique().tolist()) == {1.0, 2.0}
    assert abs(float(drawn.depth[14, 19]) - 1.0) < 1e-4


def test_from_elsewhere() -> None:
    pose = HERE.clone()
    pose[:3, 3] = torch.tensor((1.0, -2.0, 0.5))
    moved = square(3.0, 2.0) + pose[:3, 3].float()
    drawn = draw_surface(moved, SQUARE, CAMERA, pose)
    torch.testing.assert_close(drawn.depth, torch.full((30, 40), 2.0))
    behind = draw_surface(square(3.0, -2.0), SQUARE, CAMERA, HERE)
    assert not bool(behind.seen.any())


def test_points_are_squares_and_the_nearest_wins() -> None:
    points = torch.tensor([[0.0, 0.0, 4.0], [0.0, 0.0, 2.0], [0.0, 0.0, -1.0], [50.0, 0.0, 1.0]])
    winner = draw_points(points, 0.2, CAMERA, HERE)
    assert set(winner.unique().tolist()) == {-1, 1}
    assert int((winner == 1).sum()) == 16  # 4 pixels wide at 2 metres
    speck = draw_points(torch.tensor([[0.01, 0.01, 3.0]]), 1e-4, CAMERA, HERE)
    assert int((speck == 0).sum()) == 1


def turned(yaw: float, pitch: float) -> torch.Tensor:
    """A level camera in a world where z is up, turned to its left and then down."""
    level = torch.tensor([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]], dtype=torch.float64)
    a, b = torch.tensor((yaw, pitch), dtype=torch.float64)
    left = torch.tensor([[a.cos(), -a.sin(), 0], [a.sin(), a.cos(), 0], [0, 0, 1]])
    down = torch.tensor([[1, 0, 0], [0, b.cos(), b.sin()], [0, -b.sin(), b.cos()]])
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = left.double() @ level @ down.double()
    return pose


def test_the_vertical_is_found_though_the_camera_looks_down() -> None:
    way = trajectory_of((i, turned(0.3 + 0.4 * i, 0.7)) for i in range(5))
    level = Level.of(way)
    torch.testing.assert_close(level.up, torch.tensor([0.0, 0, 1], dtype=torch.float64))
    heading = torch.tensor([0.3, 0.3], dtype=torch.float64)
    expected = torch.stack((heading[0].cos(), heading[1].sin()))
    torch.testing.assert_close(level.forward[:2], expected)
    torch.testing.assert_close(level.right, torch.linalg.cross(level.forward, level.up))


def test_every_viewpoint_sees_the_whole_map() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(60, 3, generator=generator) * torch.tensor((6.0, 3.0, 1.0)) - 1.0
    way = trajectory_of((i, turned(0.2 * i, 0.4)) for i in range(3))
    looks = viewpoints(points, way, 64, 48)
    assert len({look.name for look in looks}) == 4
    for look in looks:
        camera_from_world = torch.linalg.inv(look.world_from_camera)
        place = points.double() @ camera_from_world[:3, :3].T + camera_from_world[:3, 3]
        u, v = geometry.project(place, look.camera).unbind(-1)
        assert bool(((u >= 0) & (u <= 63) & (v >= 0) & (v <= 47)).all())
        fills = max(float(u.max() - u.min()) / 64, float(v.max() - v.min()) / 48)
        assert fills > 0.6
