"""The map of Gaussians on views of a checkered wall, whose truth is known in closed form."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from metric_depth_ros import geometry
from metric_depth_ros.mapping import MappingError, View
from metric_depth_ros.mapping.densify import Density, Pull, densify, worth_keeping
from metric_depth_ros.mapping.gating import Gates
from metric_depth_ros.mapping.gaussians import Gaussians
from metric_depth_ros.mapping.image_scores import depth_l1, psnr
from metric_depth_ros.mapping.key_frame import key_frame
from metric_depth_ros.mapping.splat import SplatMapper, SplatSettings
from metric_depth_ros.mapping.splat_optimiser import GaussianAdam, LearningRates
from metric_depth_ros.types import Camera, DepthPrediction, Frame

CAMERA = Camera(28.0, 28.0, 15.5, 11.5, 32, 24)
WALL = 2.0  # metres


def at(x: float, z: float = 0.0) -> Tensor:
    pose = torch.eye(4, dtype=torch.float64)
    pose[0, 3], pose[2, 3] = x, z
    return pose


def wall_view(x: float, camera: Camera = CAMERA, noise: float = 0.0, seed: int = 0) -> View:
    """A coloured wall at z = WALL, seen square on from (x, 0, 0)."""
    rays = geometry.rays(camera)
    points = rays / rays[..., 2:] * WALL
    red = 0.5 + 0.4 * torch.sin(4 * (points[..., 0] + x))
    green = 0.5 + 0.4 * torch.cos(5 * points[..., 1])
    image = (torch.stack((red, green, 1 - red), -1) * 255).round().nan_to_num(0.0).to(torch.uint8)
    generator = torch.Generator().manual_seed(seed)
    error = torch.randn(camera.height, camera.width, generator=generator)
    depth = torch.where(rays[..., 2] > 0, WALL + noise * error, torch.nan)
    std = torch.full_like(depth, max(noise, 0.01))
    return View(Frame(image, camera), DepthPrediction(depth, std, camera), at(x))


def with_depth(view: View, depth: Tensor, std: Tensor) -> View:
    return replace(view, prediction=DepthPrediction(depth, std, view.frame.camera))


# --- key frames -------------------------------------------------------------------------------


def test_a_small_pinhole_view_is_taken_as_it_is() -> None:
    view = wall_view(0.0)
    frame, counts = key_frame(view, Gates(), 32 * 24)
    assert frame.camera == CAMERA
    assert torch.equal((frame.image * 255).round().to(torch.uint8), view.frame.image)
    assert torch.equal(frame.depth, view.prediction.depth)
    assert frame.seen.all()
    assert counts.used == 32 * 24


def test_a_large_view_is_reduced() -> None:
    large = Camera(112.0, 112.0, 63.5, 47.5, 128, 96)
    frame, _ = key_frame(wall_view(0.0, large), Gates(), 32 * 24)
    expected, _ = key_frame(wall_view(0.0), Gates(), 32 * 24)
    assert (frame.camera.width, frame.camera.height) == (32, 24)
    assert frame.camera.fx == pytest.approx(28.0)
    torch.testing.assert_close(frame.image, expected.image, atol=0.02, rtol=0)
    torch.testing.assert_close(frame.depth, expected.depth)


def test_a_distorted_view_is_rectified() -> None:
    fisheye = Camera(20.0, 20.0, 31.5, 23.5, 64, 48, 'equidistant', (0.02, 0.0, 0.0, 0.0))
    frame, _ = key_frame(wall_view(0.0, fisheye), Gates(), 64 * 48)
    assert frame.camera.distortion_model == 'none'
    inside = frame.depth.isfinite()
    assert inside.float().mean() > 0.5
    torch.testing.assert_close(frame.depth[inside], torch.full_like(frame.depth[inside], WALL))
    points = geometry.rays(frame.camera)
    points = points / points[..., 2:] * WALL
    red = 0.5 + 0.4 * torch.sin(4 * points[..., 0])
    centre = inside & (points.norm(dim=-1) < 2.8)
    torch.testing.assert_close(frame.image[..., 0][centre], red[centre], atol=0.03, rtol=0)


# --- seeding ----------------------------------------------------------------------------------


def test_seeds_lie_on_the_wall_as_wide_as_their_pixels() -> None:
    mapper = SplatMapper(SplatSettings(seed_stride=2))
    report = mapper.add(wall_view(0.3))
    gaussians = mapper.gaussians
    assert report.seeded == len(gaussians) == 16 * 12
    torch.testing.assert_close(gaussians.means[:, 2], torch.full((192,), WALL))
    left, right = (gaussians.means[:, 0] - 0.3).aminmax()
    assert left.item() == pytest.approx(-WALL * 15 / 28, abs=WALL / 28 + 1e-6)
    assert right.item() == pytest.approx(WALL * 15 / 28, abs=WALL / 28 + 1e-6)
    torch.testing.assert_close(gaussians.scales, torch.full((192, 3), WALL / 28))
    red = 0.5 + 0.4 * torch.sin(4 * gaussians.means[:, 0])
    torch.testing.assert_close(gaussians.colours[:, 0], red, atol=0.01, rtol=0)


def test_what_the_map_explains_is_not_seeded_again() -> None:
    mapper = SplatMapper()
    mapper.add(wall_view(0.0))
    again = mapper.add(wall_view(0.0))
    assert again.seeded <= 2  # a corner is covered less than the rest
    assert again.explained >= 32 * 24 - 4
    # Half a view further: the new half is seeded, and a seam of a few pixels at most.
    further = mapper.add(wall_view(WALL * 16 / 28))
    assert 8 * 12 <= further.seeded <= 10 * 12


def test_a_nearer_surface_is_seeded_and_a_further_one_is_not() -> None:
    mapper = SplatMapper()
    view = wall_view(0.0)
    mapper.add(view)
    std = view.prediction.std
    box = view.prediction.depth.clone()
    box[8:16, 10:20] = 1.5
    seeded = mapper.add(with_depth(view, box, std)).seeded
    assert 8 <= seeded <= 22  # every fourth of 8 x 10 pixels, but for those at its edge
    assert (mapper.gaussians.means[-seeded:, 2] == 1.5).sum() >= seeded - 2
    assert mapper.add(with_depth(view, view.prediction.depth + 1.0, std)).seeded <= 2
    # 2 cm nearer is 2 standard deviations: the same wall.
    mapper = SplatMapper()
    mapper.add(view)
    assert mapper.add(with_depth(view, view.prediction.depth - 0.02, std)).seeded <= 2


def test_only_certain_pixels_seed_and_bad_ones_are_counted() -> None:
    view = wall_view(0.0)
    depth, std = view.prediction.depth.clone(), view.prediction.std.clone()
    std[:, 16:] = 0.15 * WALL  # trusted (below 25 %), but too uncertain for a seed (10 %)
    depth[:4] = torch.nan
    depth[4:6] = torch.inf
    depth[6:8] = -1.0
    mapper = SplatMapper()
    report = mapper.add(with_depth(view, depth, std))
    assert report.counts.no_depth == 8 * 32
    assert report.counts.used == 16 * 32
    assert report.seeded == 8 * 8
    assert (mapper.gaussians.means[:, 0] < 0.1).all()
    # At the end even they are better than nothing.
    assert mapper.optimise(0).added == 0
    assert mapper.optimise(0, final=True).added >= 6 * 8
    assert (mapper.gaussians.means[:, 0] > 0.1).any()


def test_a_view_without_any_depth_leaves_the_map_empty() -> None:
    view = wall_view(0.0)
    nothing = torch.full_like(view.prediction.depth, torch.nan)
    mapper = SplatMapper()
    assert mapper.add(with_depth(view, nothing, nothing)).seeded == 0
    report = mapper.optimise(3)
    assert report.steps == 0
    assert math.isnan(report.loss)
    seen = mapper.render(CAMERA, at(0.0))
    assert (seen.colour == 0).all()
    assert seen.depth.isnan().all()


# --- optimising -------------------------------------------------------------------------------


def test_a_held_out_view_gets_better_and_depth_noise_averages_out() -> None:
    noise = 0.08
    mapper = SplatMapper(SplatSettings(depth_weight=0.01))
    for i in range(4):
        mapper.add(wall_view(0.15 * i, noise=noise, seed=i))
    truth = wall_view(0.22)
    image = truth.frame.image.float() / 255

    def scores() -> tuple[float, float]:
        seen = mapper.render(CAMERA, at(0.22))
        return psnr(seen.colour, image), depth_l1(seen.depth, truth.prediction.depth)

    before = scores()
    report = mapper.optimise(60, final=True)
    after = scores()
    assert after[0] > before[0] + 3
    assert after[1] < before[1]
    assert after[1] < 0.6 * noise * math.sqrt(2 / math.pi)  # the mean error of one view
    assert report.steps == 60
    assert report.loss > 0


def test_depth_errors_count_by_their_standard_deviation() -> None:
    """Two views disagree about the wall: the map goes to the one that is surer of itself."""
    sure, unsure = wall_view(0.0), wall_view(0.0)
    sure = with_depth(
        sure, torch.full_like(sure.prediction.depth, 2.0), torch.full((24, 32), 0.02)
    )
    unsure = with_depth(
        unsure, torch.full_like(unsure.prediction.depth, 2.15), torch.full((24, 32), 0.1)
    )
    fused = []
    for first, second in ((sure, unsure), (unsure, sure)):
        mapper = SplatMapper(SplatSettings(depth_weight=0.1, rates=LearningRates(means=1e-2)))
        mapper.add(first)
        mapper.add(second)
        mapper.optimise(40)
        fused.append(mapper.render(CAMERA, at(0.0)).depth.nanmedian().item())
    best = (2.0 / 0.02**2 + 2.15 / 0.1**2) / (1 / 0.02**2 + 1 / 0.1**2)
    assert fused == pytest.approx([best, best], abs=0.02)


def test_same_views_and_seed_give_the_same_map() -> None:
    maps = []
    for seed in (3, 3, 4):
        mapper = SplatMapper(SplatSettings(density=Density(every=4, gradient=0.0)), seed=seed)
        mapper.add(wall_view(0.0, noise=0.02))
        mapper.add(wall_view(0.2, noise=0.02, seed=1))
        mapper.optimise(6)
        maps.append(mapper.gaussians)
    assert all(
        torch.equal(a, b) for a, b in zip(maps[0].tensors(), maps[1].tensors(), strict=True)
    )
    assert maps[0].means.shape != maps[2].means.shape or not torch.equal(
        maps[0].means, maps[2].means
    )


def test_progress_is_shown() -> None:
    mapper = SplatMapper()
    mapper.add(wall_view(0.0))
    shown: list[tuple[int, int]] = []
    mapper.optimise(3, show=lambda done, total: shown.append((done, total)))
    assert shown == [(1, 3), (2, 3), (3, 3)]


# --- bounds -----------------------------------------------------------------------------------


def test_the_number_of_gaussians_is_bounded() -> None:
    settings = SplatSettings(max_gaussians=250, density=Density(every=2, gradient=0.0))
    mapper = SplatMapper(settings)
    assert mapper.add(wall_view(0.0)).refused == 0
    report = mapper.add(wall_view(WALL * 16 / 28))
    assert report.seeded == 58
    assert report.refused > 20
    assert len(mapper.gaussians) == 250
    mapper.optimise(8)
    assert len(mapper.gaussians) <= 250


def test_the_most_redundant_key_frame_is_forgotten() -> None:
    mapper = SplatMapper(SplatSettings(max_key_frames=3))
    forgot = [mapper.add(wall_view(x)).forgot for x in (0.0, 0.1, 0.5, 1.0)]
    assert forgot == [False, False, False, True]
    kept = [round(frame.world_from_camera[0, 3].item(), 3) for frame in mapper.key_frames]
    assert kept == [0.1, 0.5, 1.0]


@pytest.mark.parametrize(
    ('field', 'value'),
    [('max_gaussians', 0), ('seed_stride', -1), ('min_std', 0.0), ('ssim_weight', 1.5)],
)
def test_settings_that_cannot_be_are_refused(field: str, value: float) -> None:
    with pytest.raises(MappingError, match=f'splat .*{field} (is )?{value}'):
        SplatSettings(**{field: value})


def test_rendering_from_a_broken_pose_is_refused() -> None:
    with pytest.raises(MappingError, match='expected finite numbers'):
        SplatMapper().render(CAMERA, at(math.nan))


# --- density and the optimiser ----------------------------------------------------------------


def row(count: int) -> Gaussians:
    """Gaussians in a row, told apart by where they are."""
    return Gaussians.of(
        means=torch.arange(3.0 * count).reshape(count, 3),
        scales=torch.full((count, 3), 0.1),
        quaternions=torch.tensor([1.0, 0.0, 0.0, 0.0]).expand(count, 4),
        opacities=torch.full((count,), 0.7),
        colours=torch.full((count, 3), 0.5),
    )


def pull_at(values: list[float], radii: list[float]) -> Pull:
    pull = Pull(len(values), torch.device('cpu'))
    gradient = torch.tensor(values)[:, None] * torch.tensor([1.0, 0.0])
    pull.add(gradient, torch.tensor(radii), width=2, height=2)
    return pull


def test_small_ones_are_cloned_and_large_ones_split() -> None:
    density = Density(gradient=1.0, large=10.0)
    pull = pull_at([0.5, 2.0, 3.0], [5.0, 5.0, 20.0])
    staying, added = densify(row(3), pull, density, 10, torch.Generator().manual_seed(0))
    assert staying.tolist() == [True, True, False]
    assert torch.equal(added.means[0], row(3).means[1])
    torch.testing.assert_close(added.scales[1:], torch.full((2, 3), 0.1 / 1.6))
    apart = (added.means[1:] - row(3).means[2]).norm(dim=1)
    assert (apart > 0).all()
    assert (apart < 0.6).all()  # within six deviations


def test_pull_is_the_mean_over_images_that_show_the_gaussian() -> None:
    pull = pull_at([3.0, 4.0], [1.0, 0.0])
    pull.add(torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([2.0, 2.0]), 2, 4)
    torch.testing.assert_close(pull.mean(), torch.tensor([2.0, 8.0]))
    assert pull.reach.tolist() == [2.0, 2.0]


def test_where_room_is_short_the_hardest_pulled_get_it() -> None:
    pull = pull_at([2.0, 5.0, 3.0], [5.0] * 3)
    staying, added = densify(row(3), pull, Density(gradient=1.0), 1, torch.Generator())
    assert staying.all()
    assert torch.equal(added.means, row(3).means[1:2])
    assert len(densify(row(3), pull, Density(gradient=1.0), -5, torch.Generator())[1]) == 0


def test_faint_large_and_broken_ones_go() -> None:
    gaussians = row(4)
    gaussians.opacity_logits[0] = -5.0
    gaussians.log_scales[1, 2] = 0.0
    gaussians.f_dc[2, 0] = torch.nan
    assert worth_keeping(gaussians, Density()).tolist() == [False, False, False, True]


def test_moments_stay_with_their_gaussian() -> None:
    """Adam's first steps are of the learning rate's length; a newcomer's is as its first."""
    adam = GaussianAdam(row(3), LearningRates(means=0.1))
    adam.gaussians.means.sum().backward()
    adam.step()
    moved = row(3).means - 0.1
    torch.testing.assert_close(adam.gaussians.means.detach(), moved)
    adam.replace(torch.tensor([False, True, True]), row(1))
    assert torch.equal(adam.gaussians.means[:2], moved[1:])
    # No gradient: those who moved still coast on their momentum, the newcomer rests.
    (0 * adam.gaussians.means).sum().backward()
    adam.step()
    after = adam.gaussians.means.detach()
    assert (after[:2] < moved[1:] - 0.01).all()
    assert torch.equal(after[2], row(1).means[0])
