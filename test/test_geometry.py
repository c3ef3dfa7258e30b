"""Geometry against OpenCV and closed forms, for every lens model."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from metric_depth_ros import geometry
from metric_depth_ros.types import Camera

LENSES = ('none', 'plumb_bob', 'rational_polynomial', 'equidistant')
SEEDS = range(5)


def random_camera(lens: str, seed: int) -> Camera:
    """A plausible camera: coefficients of the size that calibrations of real lenses give."""
    rng = np.random.default_rng(seed)
    width, height = int(rng.integers(100, 700)), int(rng.integers(80, 500))
    focal = width * rng.uniform(0.45, 1.4)
    distortion = {
        'none': (),
        'plumb_bob': rng.uniform((-0.3, -0.05, -2e-3, -2e-3, -0.02), (0.1, 0.1, 2e-3, 2e-3, 0.02)),
        'rational_polynomial': rng.uniform(
            (0.1, -0.1, -1e-3, -1e-3, 0.0, 0.2, 0.0, 0.0),
            (0.6, 0.1, 1e-3, 1e-3, 0.05, 0.9, 0.2, 0.05),
        ),
        'equidistant': rng.uniform((-0.05, -0.01, -0.005, -0.001), (0.05, 0.01, 0.005, 0.001)),
    }[lens]
    return Camera(
        fx=focal,
        fy=focal * rng.uniform(0.95, 1.05),
        cx=width * rng.uniform(0.4, 0.6),
        cy=height * rng.uniform(0.4, 0.6),
        width=width,
        height=height,
        distortion_model=lens,
        distortion=tuple(float(k) for k in distortion),
    )


def opencv_project(points: np.ndarray, camera: Camera) -> np.ndarray:
    """(N, 3) -> (N, 2) by OpenCV."""
    k, d = geometry.matrix(camera).numpy(), np.array(camera.distortion)
    zero = np.zeros(3)
    if camera.distortion_model == 'equidistant':
        return cv2.fisheye.projectPoints(points[:, None], zero, zero, k, d)[0][:, 0]
    return cv2.projectPoints(points[:, None], zero, zero, k, d if len(d) else None)[0][:, 0]


def opencv_undistort(pixels: np.ndarray, camera: Camera) -> np.ndarray:
    """(N, 2) -> (N, 2) normalised coordinates by OpenCV, iterated until they stand."""
    k, d = geometry.matrix(camera).numpy(), np.array(camera.distortion)
    end = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 500, 1e-14)
    if camera.distortion_model == 'equidistant':
        return cv2.fisheye.undistortPoints(pixels[:, None], k, d, criteria=end)[:, 0]
    d_or_none = d if len(d) else None
    if hasattr(cv2, 'undistortPointsIter'):  # OpenCV 4 before 4.11 has the criteria only there
        return cv2.undistortPointsIter(pixels[:, None], k, d_or_none, None, None, end)[:, 0]
    return cv2.undistortPoints(pixels[:, None], k, d_or_none, criteria=end)[:, 0]


@pytest.mark.parametrize('seed', SEEDS)
@pytest.mark.parametrize('lens', LENSES)
def test_project_is_opencvs(lens: str, seed: int) -> None:
    camera = random_camera(lens, seed)
    rng = np.random.default_rng(100 + seed)
    # Directions inside the image, so that the lens model is used where it was made for.
    uv = torch.from_numpy(rng.uniform((0, 0), (camera.width, camera.height), (500, 2)))
    ray = geometry.directions(uv, camera)
    ray = ray[~ray.isnan().any(-1)]
    assert len(ray) > 400
    points = ray * torch.from_numpy(rng.uniform(0.2, 50, (len(ray), 1)))
    ours = geometry.project(points, camera).numpy()
    np.testing.assert_allclose(ours, opencv_project(points.numpy(), camera), rtol=0, atol=1e-5)


@pytest.mark.parametrize('seed', SEEDS)
@pytest.mark.parametrize('lens', LENSES)
def test_directions_are_opencvs(lens: str, seed: int) -> None:
    camera = random_camera(lens, seed)
    rng = np.random.default_rng(200 + seed)
    uv = rng.uniform(0, (camera.width - 1, camera.height - 1), (500, 2))
    ours = geometry.directions(torch.from_numpy(uv), camera).numpy()
    seen = ~np.isnan(ours).any(-1)
    assert seen.mean() > 0.8
    theirs = opencv_undistort(uv, camera)[seen]
    np.testing.assert_allclose(ours[seen, :2] / ours[seen, 2:], theirs, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(ours[seen], axis=-1), 1, rtol=1e-12)


@pytest.mark.parametrize('seed', SEEDS)
@pytest.mark.parametrize('lens', LENSES)
def test_rays_and_project_are_inverses(lens: str, seed: int) -> None:
    camera = random_camera(lens, seed)
    ray = geometry.rays(camera, dtype=torch.float64)
    assert ray.shape == (camera.height, camera.width, 3)
    again = geometry.project(ray * 3.7, camera)
    error = (again - geometry.pixel_grid(camera.width, camera.height)).abs()
    seen = ~ray.isnan().any(-1)
    assert seen.float().mean() > 0.8
    assert error[seen].max() < 1e-5


def test_fisheye_sees_behind_the_image_plane() -> None:
    camera = Camera(100, 100, 199.5, 199.5, 400, 400, 'equidistant', (0.0, 0.0, 0.0, 0.0))
    angle = math.radians(100)  # 100 degrees off the axis: behind the camera, still on the sensor
    point = torch.tensor([math.sin(angle), 0.0, math.cos(angle)], dtype=torch.float64)
    pixel = geometry.project(point, camera)
    assert pixel[0].item() == pytest.approx(199.5 + 100 * angle, abs=1e-9)
    torch.testing.assert_close(geometry.directions(pixel, camera), point)


def test_no_ray_where_the_lens_model_folds() -> None:
    # r (1 - 0.5 r^2) grows up to r = 0.816, where it is 0.544: nothing is seen beyond.
    camera = Camera(100, 100, 100, 100, 201, 201, 'plumb_bob', (-0.5, 0.0, 0.0, 0.0))
    inside, outside = torch.tensor([[100 + 54.0, 100.0], [100 + 55.0, 100.0]]).double()
    assert torch.isfinite(geometry.directions(inside, camera)).all()
    assert torch.isnan(geometry.directions(outside, camera)).all()
    beyond = torch.tensor([1.2, 0.0, 1.0], dtype=torch.float64)  # folds back into the image
    assert torch.isnan(geometry.project(beyond, camera)).all()


@pytest.mark.parametrize('lens', ['none', 'plumb_bob', 'rational_polynomial'])
def test_nothing_is_seen_behind_a_perspective_camera(lens: str) -> None:
    camera = random_camera(lens, 0)
    points = torch.tensor([[0.1, 0.2, -1.0], [0.1, 0.2, 0.0]])
    assert torch.isnan(geometry.project(points, camera)).all()


@pytest.mark.parametrize('lens', LENSES)
def test_depth_and_ray_distance_are_inverses(lens: str) -> None:
    camera = random_camera(lens, 3)
    ray = geometry.rays(camera)
    depth = torch.rand(camera.height, camera.width) * 9 + 0.5
    ray_distance = geometry.ray_distance_from_depth(depth, ray)
    forward = ray[..., 2] > 0
    assert bool((ray_distance[forward] >= depth[forward] * (1 - 1e-6)).all())
    back = geometry.depth_from_ray_distance(ray_distance, ray)
    torch.testing.assert_close(back[forward], depth[forward])
    assert bool(back[~forward].isnan().all())


@pytest.mark.parametrize('lens', LENSES)
def test_unproject_keeps_z_and_projects_back(lens: str) -> None:
    camera = random_camera(lens, 4)
    depth = torch.rand(camera.height, camera.width) * 9 + 0.5
    depth[0, 0], depth[1, 1] = torch.nan, torch.inf
    points = geometry.unproject(depth, camera)
    seen = ~points.isnan().any(-1)
    assert not seen[0, 0]
    assert not seen[1, 1]
    torch.testing.assert_close(points[..., 2][seen], depth[seen])
    grid = geometry.pixel_grid(camera.width, camera.height)
    torch.testing.assert_close(
        geometry.project(points.double(), camera)[seen].float(), grid[seen], rtol=0, atol=2e-3
    )


def test_only_the_focal_length_changes_the_rays() -> None:
    camera = Camera(200, 200, 159.5, 119.5, 320, 240)
    longer = replace(camera, fx=400.0, fy=400.0)
    ray, long_ray = geometry.rays(camera), geometry.rays(longer)
    # tan of the angle off the axis halves when the focal length doubles
    torch.testing.assert_close(
        long_ray[..., :2] / long_ray[..., 2:], ray[..., :2] / ray[..., 2:] / 2
    )


@pytest.mark.parametrize('lens', LENSES)
def test_resized_camera_sees_the_same_directions(lens: str) -> None:
    camera = random_camera(lens, 5)
    small = geometry.resize_camera(camera, camera.width // 2, camera.height // 3)
    # The corners of the image, half a pixel outside the corner pixels' centres, stay corners.
    corner = torch.tensor([[-0.5, -0.5], [camera.width - 0.5, camera.height - 0.5]]).double()
    small_corner = torch.tensor([[-0.5, -0.5], [small.width - 0.5, small.height - 0.5]]).double()
    torch.testing.assert_close(
        geometry.directions(small_corner, small),
        geometry.directions(corner, camera),
        equal_nan=True,
    )


def test_resized_image_and_resized_camera_agree() -> None:
    """A ramp painted in ray coordinates stays a ramp in the rays of the smaller camera."""
    camera = Camera(300, 310, 157.0, 122.0, 320, 240)
    ray = geometry.rays(camera)
    ramp = (ray / ray[..., 2:]).permute(2, 0, 1)
    small = geometry.resize_camera(camera, 80, 60)
    resized = geometry.resize_image(ramp, 80, 60)
    small_ray = geometry.rays(small)
    expected = (small_ray / small_ray[..., 2:]).permute(2, 0, 1)
    # the antialiasing filter is cut at the border, one pixel of the small image
    torch.testing.assert_close(resized[:, 2:-2, 2:-2], expected[:, 2:-2, 2:-2], atol=1e-4, rtol=0)


@pytest.mark.parametrize('lens', LENSES)
def test_cropped_camera_sees_the_window(lens: str) -> None:
    camera = random_camera(lens, 6)
    crop = geometry.crop_camera(camera, 20, 10, 50, 40)
    torch.testing.assert_close(
        geometry.rays(crop), geometry.rays(camera)[10:50, 20:70], equal_nan=True
    )


@pytest.mark.parametrize('lens', LENSES)
def test_flipped_camera_sees_the_mirrored_world(lens: str) -> None:
    camera = random_camera(lens, 7)
    mirrored = geometry.rays(geometry.flip_camera(camera))
    expected = geometry.rays(camera).flip(1) * torch.tensor([-1.0, 1.0, 1.0])
    torch.testing.assert_close(mirrored, expected, equal_nan=True)


@pytest.mark.parametrize(
    ('size', 'pixels', 'multiple', 'expected'),
    [
        ((640, 480), 128 * 96, 32, (128, 96)),
        ((1920, 1080), 128 * 96, 32, (160, 96)),
        ((480, 640), 128 * 96, 1, (96, 128)),
        ((1000, 10), 100, 32, (96, 32)),
    ],
)
def test_fit_size(size, pixels, multiple, expected) -> None:
    assert geometry.fit_size(*size, pixels, multiple) == expected


def test_view_pixels_of_the_same_lens_is_the_resizing() -> None:
    camera = random_camera('plumb_bob', 1)
    small = geometry.resize_camera(camera, 40, 30)
    pixels = geometry.view_pixels(camera, small)
    exact = geometry.project(geometry.rays(small, dtype=torch.float64), camera).float()
    seen = ~exact.isnan().any(-1)
    torch.testing.assert_close(pixels[seen], exact[seen], atol=1e-3, rtol=0)


@pytest.mark.parametrize('lens', ['plumb_bob', 'rational_polynomial', 'equidistant'])
def test_rectified_view_is_opencvs(lens: str) -> None:
    camera = random_camera(lens, 2)
    rectified = geometry.rectified_camera(camera)
    assert rectified.distortion_model == 'none'
    ours = geometry.view_pixels(camera, rectified).numpy()
    k, d, new = (
        geometry.matrix(camera).numpy(), np.array(camera.distortion),
        geometry.matrix(rectified).numpy(),
    )  # fmt: skip
    size = (camera.width, camera.height)
    make = (
        cv2.fisheye.initUndistortRectifyMap
        if lens == 'equidistant'
        else (cv2.initUndistortRectifyMap)
    )
    u, v = make(k, d, np.eye(3), new, size, cv2.CV_32FC1)
    seen = ~np.isnan(ours).any(-1)
    assert seen.mean() > 0.9
    np.testing.assert_allclose(ours[seen], np.stack((u, v), -1)[seen], atol=2e-3)


def plane_depth(camera: Camera) -> torch.Tensor:
    """z-depth of a tilted plane n . p = 2: closed form."""
    normal = torch.tensor([0.1, -0.25, 1.0])
    ray = geometry.rays(camera)
    return 2 * ray[..., 2] / (ray @ normal)


def test_resampled_depth_of_a_plane_is_exact() -> None:
    camera = Camera(300, 310, 157.0, 122.0, 320, 240)
    small = geometry.resize_camera(camera, 64, 48)
    depth, std = geometry.resample_depth(
        plane_depth(small), torch.full((48, 64), 0.1), geometry.view_pixels(small, camera)
    )
    inner = slice(3, -3)  # the border is beyond the outermost small pixel's centre
    torch.testing.assert_close(
        depth[inner, inner], plane_depth(camera)[inner, inner], rtol=1e-5, atol=0
    )
    torch.testing.assert_close(std, torch.full_like(std, 0.1))


def test_resampling_invents_no_depth_between_foreground_and_background() -> None:
    depth = torch.ones(6, 8)
    depth[:, 4:] = 5.0
    depth[2, 2], depth[4, 6] = torch.nan, torch.inf
    camera = Camera(8, 8, 3.5, 2.5, 8, 6)
    large = geometry.resize_camera(camera, 80, 60)
    pixels = geometry.view_pixels(camera, large)
    resampled, std = geometry.resample_depth(depth, depth * 0.1, pixels)
    finite = resampled[torch.isfinite(resampled)]
    invented = torch.minimum((finite - 1).abs(), (finite - 5).abs())
    assert invented.max() < 1e-5
    assert bool(resampled[25, 25].isnan())
    assert bool(resampled[45, 65].isposinf())
    at = torch.isfinite(resampled)
    torch.testing.assert_close(std[at], resampled[at] * 0.1)


def test_values_of_any_sign_are_linear_on_a_surface_and_nearest_across_a_jump() -> None:
    row = torch.tensor([[0.0, 0.0, 1.0, 1.08, -2.0, -2.1, torch.inf, torch.nan]])
    at = torch.tensor([[0.0, 0.0], [0.5, 0.0], [2.25, 0.0], [4.5, 0.0], [1.6, 0.0], [3.4, 0.0]])
    expected = torch.tensor([0.0, 0.0, 1.02, -2.05, 1.0, 1.08])
    torch.testing.assert_close(geometry.resample_values(row, at), expected)
    beyond = geometry.resample_values(row, torch.tensor([[5.6, 0.0], [6.6, 0.0], [-0.6, 0.0]]))
    assert beyond[0] == torch.inf
    assert beyond[1:].isnan().all()


def test_resampling_outside_the_view_is_nan() -> None:
    depth = torch.ones(4, 4)
    pixels = torch.tensor([[-0.6, 1.0], [-0.4, 1.0], [3.4, 3.4], [3.6, 0.0], [torch.nan, 1.0]])
    resampled, _ = geometry.resample_depth(depth, depth, pixels)
    assert resampled.isnan().tolist() == [True, False, False, True, True]


def test_pixels_read_are_those_that_change_what_is_resampled() -> None:
    """A pixel is read exactly if a NaN there, or a step, can be noticed."""
    pixels = torch.tensor([[3.2, 2.0], [0.0, 0.0], [-0.4, 4.4], [7.0, 4.0], [20.0, 1.0]])
    flat = torch.full((5, 8), 2.0)
    expected, _ = geometry.resample_depth(flat, flat, pixels)
    changes = torch.zeros(5, 8, dtype=torch.bool)
    for v in range(5):
        for u in range(8):
            for value in (2.1, torch.nan):  # a slope, and a hole
                depth = flat.clone()
                depth[v, u] = value
                found, _ = geometry.resample_depth(depth, depth, pixels)
                same = torch.equal(found.nan_to_num(-1), expected.nan_to_num(-1))
                changes[v, u] |= not same
    read = geometry.pixels_read(pixels, 8, 5)
    assert bool((read | ~changes).all())
    assert int(read.sum()) <= 4 * 4
    assert not bool(read[1, 5:].any())
