"""The rasteriser against a closed form, an oracle that asks every Gaussian at every pixel, and
finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from metric_depth_ros.mapping import MappingError, gsplat_rasterizer
from metric_depth_ros.mapping.rasterizer import (
    LOW_PASS,
    MAX_ALPHA,
    MIN_ALPHA,
    NEAR,
    Rendering,
    rasterize,
)
from metric_depth_ros.types import Camera

CAMERA = Camera(30.0, 33.0, 14.7, 12.4, 32, 24)
Parameters = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def random_scene(
    count: int, seed: int, dtype: torch.dtype = torch.float64, spread: float = 0.6
) -> Parameters:
    """Gaussians of all shapes in front of the camera, some partly or wholly outside the image."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=dtype)

    depth = 1 + 3 * uniform(count)
    sideways = (2 * uniform(count, 2) - 1) * spread * depth[:, None]
    return (
        torch.cat((sideways, depth[:, None]), 1),
        2 * uniform(count, 4) - 1,
        0.005 + 0.5 * uniform(count, 3) ** 2,
        0.05 + 0.9 * uniform(count),
        uniform(count, 3),
    )


def random_pose(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    skew = 0.1 * torch.randn(3, 3, generator=generator, dtype=torch.float64)
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = torch.linalg.matrix_exp(skew - skew.T)
    pose[:3, 3] = 0.1 * torch.randn(3, generator=generator, dtype=torch.float64)
    return pose


def oracle(scene: Parameters, camera: Camera, pose: Tensor) -> np.ndarray:
    """(H, W, 5) colour, expected depth and alpha: every Gaussian at every pixel, in a loop."""
    means, quaternions, scales, opacities, colours = (value.double().numpy() for value in scene)
    pose_np = pose.numpy()
    limits = (
        (-(camera.cx + 0.5) / camera.fx - 0.15 * camera.width / camera.fx,
         (camera.width - 0.5 - camera.cx) / camera.fx + 0.15 * camera.width / camera.fx),
        (-(camera.cy + 0.5) / camera.fy - 0.15 * camera.height / camera.fy,
         (camera.height - 0.5 - camera.cy) / camera.fy + 0.15 * camera.height / camera.fy),
    )  # fmt: skip
    splats = []
    for i in range(len(means)):
        t = pose_np[:3, :3] @ means[i] + pose_np[:3, 3]
        if t[2] <= NEAR:
            continue
        w, x, y, z = quaternions[i] / np.linalg.norm(quaternions[i])
        cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        rotation = np.eye(3) + 2 * w * cross + 2 * cross @ cross  # Rodrigues
        covariance = rotation @ np.diag(scales[i] ** 2) @ rotation.T
        a, b = (np.clip(t[k] / t[2], *limits[k]) for k in (0, 1))
        jacobian = (
            np.array([[camera.fx, 0, -camera.fx * a], [0, camera.fy, -camera.fy * b]]) / t[2]
        )
        jw = jacobian @ pose_np[:3, :3]
        inverse = np.linalg.inv(jw @ covariance @ jw.T + LOW_PASS * np.eye(2))
        centre = np.array(
            [camera.fx * t[0] / t[2] + camera.cx, camera.fy * t[1] / t[2] + camera.cy]
        )
        splats.append((t[2], centre, inverse, opacities[i], colours[i]))
    splats.sort(key=lambda splat: splat[0])
    image = np.zeros((camera.height, camera.width, 5))
    for v in range(camera.height):
        for u in range(camera.width):
            left = 1.0
            for depth, centre, inverse, opacity, colour in splats:
                d = np.array([u, v]) - centre
                alpha = min(opacity * math.exp(-0.5 * d @ inverse @ d), MAX_ALPHA)
                if alpha < MIN_ALPHA:
                    continue
                image[v, u] += left * alpha * np.array([*colour, depth, 1.0])
                left *= 1 - alpha
    image[..., 3] /= np.maximum(image[..., 4], 1e-10)
    return image


def stacked(seen: Rendering) -> Tensor:
    return torch.cat((seen.colour, seen.depth[..., None], seen.alpha[..., None]), -1)


@pytest.mark.parametrize('seed', [0, 1, 2])
def test_equals_the_oracle(seed: int) -> None:
    scene, pose = random_scene(40, seed), random_pose(seed)
    expected = oracle(scene, CAMERA, pose)
    assert (expected[..., 4] > 0.1).mean() > 0.5  # there is something to compare
    found = stacked(rasterize(*scene, CAMERA, pose))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-10)
    single = tuple(value.float() for value in scene)
    found = stacked(rasterize(*single, CAMERA, pose))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_an_image_that_is_no_whole_number_of_tiles() -> None:
    camera = Camera(20.0, 20.0, 8.0, 5.0, 19, 11)
    scene, pose = random_scene(25, 3), random_pose(3)
    found = stacked(rasterize(*scene, camera, pose))
    np.testing.assert_allclose(found.numpy(), oracle(scene, camera, pose), atol=1e-10)


def one_ball(depth: float, scale: float, opacity: float) -> Parameters:
    return (
        torch.tensor([[0.0, 0.0, depth]], dtype=torch.float64),
        torch.tensor([[1.0, 0.0, 0.0, 0.0]], dtype=torch.float64),
        torch.full((1, 3), scale, dtype=torch.float64),
        torch.tensor([opacity], dtype=torch.float64),
        torch.tensor([[1.0, 0.5, 0.0]], dtype=torch.float64),
    )


def test_one_gaussian_is_the_closed_form() -> None:
    """On the axis J is diag(f / z): the ball is a round Gaussian of variance (f s / z)^2 + 0.3."""
    camera = Camera(40.0, 40.0, 16.0, 12.0, 33, 25)
    seen = rasterize(*one_ball(2.0, 0.1, 0.8), camera, torch.eye(4))
    variance = (40.0 * 0.1 / 2.0) ** 2 + LOW_PASS
    v, u = torch.meshgrid(torch.arange(25.0) - 12, torch.arange(33.0) - 16, indexing='ij')
    alpha = 0.8 * torch.exp(-(u**2 + v**2).double() / (2 * variance))
    alpha = torch.where(alpha >= MIN_ALPHA, alpha, 0.0)
    torch.testing.assert_close(seen.alpha, alpha, atol=1e-12, rtol=0)
    torch.testing.assert_close(seen.colour[..., 1], 0.5 * alpha, atol=1e-12, rtol=0)
    assert torch.equal(seen.depth > 0, alpha > 0)
    torch.testing.assert_close(seen.depth[alpha > 0], torch.full_like(alpha[alpha > 0], 2.0))
    assert seen.image_means[0].tolist() == [16.0, 12.0]
    reach = math.sqrt(2 * math.log(0.8 * 255) * variance)
    assert seen.radii[0].item() == pytest.approx(reach)


def test_the_nearer_one_hides_the_other() -> None:
    near, far = one_ball(1.0, 0.5, 0.9), one_ball(3.0, 1.5, 0.9)
    both = tuple(torch.cat(pair) for pair in zip(far, near, strict=True))  # far comes first
    camera = Camera(40.0, 40.0, 16.0, 12.0, 33, 25)
    seen = rasterize(*both, camera, torch.eye(4))
    assert seen.alpha[12, 16].item() == pytest.approx(1 - 0.1 * 0.1, abs=1e-9)
    expected = (0.9 * 1.0 + 0.1 * 0.9 * 3.0) / 0.99
    assert seen.depth[12, 16].item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize('which', range(5))
def test_gradients_are_those_of_finite_differences(which: int) -> None:
    scene, pose = list(random_scene(6, 7, spread=0.3)), random_pose(7)
    scene[2] = scene[2] + 0.3  # wide ones: no pixel sits where alpha falls below MIN_ALPHA

    # Weights of either sign for colour, depth and alpha of every pixel make one number of them.
    weights = torch.linspace(0, 300, 24 * 32 * 5, dtype=torch.float64).sin().reshape(24, 32, 5)

    def weighted(value: Tensor) -> Tensor:
        seen = rasterize(*scene[:which], value, *scene[which + 1 :], CAMERA, pose)
        return (stacked(seen) * weights).sum()

    value = scene[which].clone().requires_grad_()
    assert torch.autograd.gradcheck(weighted, (value,), eps=1e-7, atol=1e-4, rtol=1e-4)


def test_image_means_carry_the_whole_gradient() -> None:
    """Of a fronto-parallel sheet depth does not change, so dL/dx = dL/du f / z."""
    camera = Camera(40.0, 40.0, 16.3, 12.2, 33, 25)
    mean = torch.tensor([[0.05, 0.02, 2.0]], dtype=torch.float64, requires_grad=True)
    ball = one_ball(2.0, 0.1, 0.8)
    scales = torch.tensor([[0.1, 0.1, 0.0]], dtype=torch.float64)
    seen = rasterize(mean, ball[1], scales, *ball[3:], camera, torch.eye(4))
    seen.image_means.retain_grad()
    seen.colour[10, 15].sum().backward()
    pulled = seen.image_means.grad
    assert pulled is not None
    assert mean.grad is not None
    assert pulled.abs().max() > 1e-3
    torch.testing.assert_close(mean.grad[:, :2], pulled * 40.0 / 2.0)


def test_nothing_behind_beside_or_broken_is_drawn() -> None:
    good = one_ball(2.0, 0.1, 0.8)
    alone = rasterize(*good, CAMERA, torch.eye(4))
    broken = []
    for which, value in (
        (0, [0.0, 0.0, -2.0]),  # behind
        (0, [0.0, 0.0, 0.0]),  # in the optical centre
        (0, [50.0, 0.0, 2.0]),  # beside
        (0, [math.nan, 0.0, 2.0]),
        (1, [0.0, 0.0, 0.0, 0.0]),  # no rotation
        (2, [math.inf, 0.1, 0.1]),
        (3, math.nan),
        (3, 0.003),  # fainter than a pixel shows
    ):
        one = list(one_ball(1.0, 0.1, 0.9))
        one[which] = torch.tensor([value], dtype=torch.float64)
        broken.append(one)
    scene = [torch.cat(column) for column in zip(good, *broken, strict=True)]
    for value in scene:
        value.requires_grad_()
    seen = rasterize(*scene, CAMERA, torch.eye(4))
    assert torch.equal(stacked(seen), stacked(alone))
    (seen.colour.sum() + seen.depth.sum()).backward()
    for value in scene:
        assert value.grad is not None
        assert value.grad.isfinite().all()
        assert (value.grad[1:] == 0).all()


def test_a_covariance_without_extent_is_a_dot_of_the_low_pass() -> None:
    camera = Camera(40.0, 40.0, 16.0, 12.0, 33, 25)
    scene = one_ball(2.0, 0.0, 0.8)
    scene[2].requires_grad_()
    seen = rasterize(*scene, camera, torch.eye(4))
    expected = 0.8 * math.exp(-1 / (2 * LOW_PASS))
    assert seen.alpha[12, 17].item() == pytest.approx(expected, abs=1e-12)
    seen.alpha.sum().backward()
    assert scene[2].grad is not None
    assert scene[2].grad.isfinite().all()


def test_a_needle_of_a_million_to_one_stays_finite_in_float32() -> None:
    scene = [value.float() for value in one_ball(2.0, 0.1, 0.8)]
    scene[1] = torch.tensor([[0.9, 0.1, 0.3, 0.2]])
    scene[2] = torch.tensor([[10.0, 1e-5, 1e-5]])
    seen = stacked(rasterize(*scene, CAMERA, torch.eye(4)))
    assert seen.isfinite().all()
    assert 0 < seen[..., 4].max() <= 0.8 + 1e-6


@pytest.mark.parametrize('count', [0, 1])
def test_an_empty_map_is_black(count: int) -> None:
    scene = [value[:count].requires_grad_() for value in one_ball(-1.0, 0.1, 0.8)]
    seen = rasterize(*scene, CAMERA, torch.eye(4))
    assert seen.colour.shape == (24, 32, 3)
    assert (stacked(seen) == 0).all()
    seen.colour.sum().backward()  # nothing to learn, and no error


def test_distorted_cameras_and_wrong_shapes_are_refused() -> None:
    scene = one_ball(2.0, 0.1, 0.8)
    fisheye = Camera(30.0, 30.0, 16.0, 12.0, 32, 24, 'equidistant', (0.1, 0.0, 0.0, 0.0))
    with pytest.raises(MappingError, match="'equidistant', expected none: rectify"):
        rasterize(*scene, fisheye, torch.eye(4))
    with pytest.raises(MappingError, match=r'camera_from_world has shape \(3, 4\)'):
        rasterize(*scene, CAMERA, torch.eye(4)[:3])
    with pytest.raises(MappingError, match=r'opacities has shape \(1, 1\), expected \(1,\)'):
        rasterize(*scene[:3], scene[3][None], scene[4], CAMERA, torch.eye(4))


def test_gsplat_wants_a_cuda_device() -> None:
    with pytest.raises(MappingError, match='Gaussians are on cpu, gsplat expects a CUDA device'):
        gsplat_rasterizer.rasterize(*one_ball(2.0, 0.1, 0.8), CAMERA, torch.eye(4))


@pytest.mark.gpu
def test_gsplat_draws_the_same() -> None:
    pytest.importorskip('gsplat')
    scene = [value.float().cuda() for value in random_scene(40, 0)]
    pose = random_pose(0)
    expected = stacked(rasterize(*scene, CAMERA, pose))
    found = stacked(gsplat_rasterizer.rasterize(*scene, CAMERA, pose))
    covered = expected[..., 4] > 0.1
    torch.testing.assert_close(found[covered], expected[covered], atol=0.02, rtol=0.02)
