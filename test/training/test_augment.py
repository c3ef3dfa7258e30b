"""Augmentation moves pixels, rays and truth together, and invents no depth."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from metric_depth_ros import geometry
from metric_depth_ros.training.augment import (
    augment,
    cut_band,
    imprint_details,
    jitter_colour,
    paint_patches,
    sharpen,
    spread_values,
)
from metric_depth_ros.training.batch import Batch
from metric_depth_ros.training.recipe import Augmentation
from metric_depth_ros.types import Camera

PLAIN = Augmentation(resize=(1.0, 1.0), flip=0.0, colour=0.0)
COUNT = 12
CAMERA = Camera(70.0, 72.0, 45.0, 20.0, 80, 60)  # off-centre
LENS = dataclasses.replace(
    CAMERA, distortion_model='plumb_bob', distortion=(-0.2, 0.03, 0.003, -0.002)
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scene(camera: Camera = CAMERA, count: int = COUNT) -> Batch:
    """A tilted wall whose colour says which pixel is which, with a hole in the truth and sky."""
    rays = geometry.rays(camera).permute(2, 0, 1)
    inside = rays.isfinite().all(0)
    rays = rays.nan_to_num(0.0)
    normal = torch.tensor([0.1, 0.2, 1.0])
    distance = 4.0 / torch.einsum('c,chw->hw', normal, rays).clamp(min=1e-3)
    distance[:4] = torch.inf
    valid = inside & distance.isfinite()
    valid[30:34, 30:40] = False
    u = torch.arange(camera.width) / (camera.width - 1) * 2 - 1
    v = torch.arange(camera.height) / (camera.height - 1) * 2 - 1
    image = torch.stack((u.expand(len(v), -1), v[:, None].expand(-1, len(u)), rays[2]))
    one = Batch(image, rays, distance, valid, inside)
    tensors = {name: value for name, value in vars(one).items() if name != 'coarse'}
    return Batch(**{k: v.repeat(count, *[1] * v.ndim) for k, v in tensors.items()})


def shown_pixels(image: torch.Tensor, camera: Camera) -> torch.Tensor:
    """(h, w, 2) pixel of the source that each pixel shows, read off the colours."""
    size = torch.tensor([camera.width - 1, camera.height - 1])
    return (image[:2].permute(1, 2, 0) + 1) / 2 * size


def test_nothing_asked_for_changes_nothing() -> None:
    batch = scene()
    same = augment(batch, 80, 60, PLAIN, seeded())
    torch.testing.assert_close(same.image, batch.image, atol=1e-5, rtol=0)
    torch.testing.assert_close(same.rays, batch.rays, atol=1e-5, rtol=0)
    for name in ('ray_distance', 'valid', 'inside'):
        assert torch.equal(getattr(same, name), getattr(batch, name)), name


@pytest.mark.parametrize('camera', [CAMERA, LENS], ids=['pinhole', 'lens'])
@pytest.mark.parametrize('flip', [0.0, 1.0])
def test_pixels_keep_the_rays_that_their_camera_gives_them(camera: Camera, flip: float) -> None:
    """Every pixel says by its colour where it was; the camera says which ray that pixel has."""
    batch = scene(camera)
    settings = Augmentation(resize=(0.7, 1.5), flip=flip, colour=0.0)
    changed = augment(batch, 64, 64, settings, seeded())
    assert changed.inside.any((1, 2)).all()
    assert not changed.inside.all((1, 2)).all()  # some are smaller, and padded
    for i in range(COUNT):
        at = changed.inside[i]
        pixels = shown_pixels(changed.image[i], camera)[at]
        expected = geometry.directions(pixels, camera)
        if flip:
            expected = expected * torch.tensor([-1.0, 1.0, 1.0])
        torch.testing.assert_close(changed.rays[i][:, at].T, expected, atol=3e-4, rtol=0)
        norm = changed.rays[i][:, at].norm(dim=0)
        torch.testing.assert_close(norm, torch.ones_like(norm), atol=1e-5, rtol=0)


@pytest.mark.parametrize('flip', [0.0, 1.0])
def test_the_scene_stays_where_it_is(flip: float) -> None:
    """Points of ray times ray_distance still lie on the wall, to within a pixel's slope."""
    changed = augment(scene(), 64, 64, Augmentation(flip=flip, colour=0.0), seeded())
    points = (changed.rays * changed.ray_distance[:, None]).permute(0, 2, 3, 1)[changed.valid]
    normal = torch.tensor([-0.1 if flip else 0.1, 0.2, 1.0])
    assert len(points) > 1000
    torch.testing.assert_close(points @ normal, torch.full((len(points),), 4.0), atol=0.03, rtol=0)


def test_depth_is_never_invented_nor_truth_found_where_there_was_none() -> None:
    batch = scene()
    changed = augment(batch, 64, 64, Augmentation(), seeded())
    known = set(batch.ray_distance[batch.valid].tolist())
    assert set(changed.ray_distance[changed.valid].tolist()) <= known
    assert (changed.inside & changed.ray_distance.isposinf()).any()
    for i in range(COUNT):
        plain = augment(batch, 64, 64, dataclasses.replace(Augmentation(), colour=0.0), seeded())
        pixels = shown_pixels(plain.image[i], CAMERA)[changed.valid[i]].round().long()
        wide = (CAMERA.width, CAMERA.height)
        off_border = (pixels[:, 1] > 4) & (pixels < torch.tensor(wide) - 1).all(1)
        u, v = pixels[off_border].unbind(1)
        hole = (u > 30) & (u < 39) & (v > 30) & (v < 33)  # its inner part: shown_pixels rounds
        assert not hole.any()


def test_sizes_follow_the_range_and_places_vary() -> None:
    """Scale of 0.5 to 1.5 of what fits: read off the extent of what is inside."""
    settings = Augmentation(resize=(0.5, 1.5), flip=0.0, colour=0.0)
    count = 200
    changed = augment(scene(count=count), 64, 64, settings, seeded())
    wide = changed.inside.any(1).sum(1).float()
    assert wide.min() < 0.55 * 64
    assert (wide == 64).float().mean() > 0.4  # cropped
    left = changed.inside.any(1).float().argmax(1)
    assert len(left[wide < 50].unique()) > 10
    # A crop shows less than the whole: its left edge is not the image's.
    pixels = torch.stack([shown_pixels(image, CAMERA)[32] for image in changed.image])
    assert (pixels[wide == 64][:, 0, 0] > 5).any()
    assert (pixels[wide == 64][:, -1, 0] < 70).any()


def test_small_sizes_are_not_aliased() -> None:
    """Stripes finer than the target's pixels become grey, as with OpenCV's area averaging."""
    batch = scene(count=4)
    stripes = torch.ones(4, 3, 60, 80)
    stripes[..., ::2] = -1
    fine = dataclasses.replace(batch, image=stripes)
    settings = Augmentation(resize=(0.5, 0.5), flip=0.0, colour=0.0)
    changed = augment(fine, 64, 64, settings, seeded())
    shown = changed.image[:, 0][changed.inside]
    expected = cv2.resize(stripes[0, 0].numpy(), (32, 24), interpolation=cv2.INTER_AREA)
    assert np.abs(expected).max() < 0.51
    assert shown.abs().max() < 0.3


def test_mirrors_about_the_share_asked_for() -> None:
    settings = Augmentation(resize=(1.0, 1.0), flip=0.25, colour=0.0)
    changed = augment(scene(count=400), 80, 60, settings, seeded())
    mirrored = changed.image[:, 0, 30, 0] > 0
    assert 0.18 < mirrored.float().mean().item() < 0.32


def test_same_seed_same_images() -> None:
    first, again, other = (augment(scene(), 64, 32, Augmentation(), seeded(s)) for s in (1, 1, 2))
    assert torch.equal(first.image, again.image)
    assert not torch.equal(first.image, other.image)


def test_colour_jitter_is_what_its_parts_are() -> None:
    """A grey image stays grey up to tint; strengths scale; the range holds; images differ."""
    image = 2 * torch.rand(64, 3, 8, 8, generator=seeded()) - 1
    changed = jitter_colour(image, 1.0, seeded())
    assert changed.min() >= -1
    assert changed.max() <= 1
    shift = (changed - image).mean((1, 2, 3))
    assert shift.std() > 0.08
    assert abs(shift.mean().item()) < 0.1  # neither darker nor brighter on average
    torch.testing.assert_close(jitter_colour(image, 1e-6, seeded()), image, atol=2e-3, rtol=0)
    weak = (jitter_colour(image, 0.2, seeded()) - image).abs().mean()
    assert weak < 0.4 * (changed - image).abs().mean()
    # What was brighter stays brighter, channel by channel.
    ramp = torch.linspace(-0.9, 0.9, 64).view(1, 1, 8, 8).expand(16, 3, -1, -1)
    assert (jitter_colour(ramp, 1.0, seeded()).flatten(2).diff(dim=2) >= 0).all()


def test_lens_border_stays_outside() -> None:
    """Where a fisheye has no ray there is none after interpolation either."""
    fisheye = Camera(30.0, 30.0, 39.5, 29.5, 80, 60, 'equidistant', (0.0, 0.1, 0.0, 0.0))
    batch = scene(fisheye)
    batch = dataclasses.replace(batch, inside=batch.inside & (batch.rays[:, 2] > 0.6))
    changed = augment(batch, 64, 64, Augmentation(flip=0.0, colour=0.0), seeded())
    assert F.normalize(changed.rays, dim=1)[:, 2][changed.inside].min() > 0.59
    for i in range(COUNT):
        pixels = shown_pixels(changed.image[i], fisheye)[changed.inside[i]]
        expected = geometry.directions(pixels, fisheye)
        torch.testing.assert_close(
            changed.rays[i][:, changed.inside[i]].T, expected, atol=1e-2, rtol=0
        )


def test_patches_are_of_one_colour_mostly_white_and_change_no_depth() -> None:
    grey = torch.zeros(200, 3, 48, 64)
    painted = paint_patches(grey, 0.5, seeded())
    assert torch.equal(painted, paint_patches(grey, 0.5, seeded()))
    changed = (painted != 0).any(1)
    share = changed.flatten(1).any(1).float().mean()
    assert 0.4 < share < 0.6
    areas = changed.flatten(1).float().mean(1)[changed.flatten(1).any(1)]
    assert 0.005 < areas.median() < 0.12
    colours = [torch.unique(p[:, c].T, dim=0) for p, c in zip(painted, changed, strict=True)]
    assert max(len(found) for found in colours) <= 3  # one a patch
    every = torch.cat(colours)
    assert 0.5 < (every.amin(1) > 0.55).float().mean() < 0.75
    assert torch.equal(paint_patches(grey, 0.0, seeded()), grey)


@pytest.mark.parametrize(
    'change', [{'patches': 1.0}, {'imprints': 1.0}, {'sharpness': 2.0}, {'contrast': (2.0, 2.5)}]
)
def test_what_is_done_to_the_image_alone_changes_no_depth(change: dict[str, float]) -> None:
    batch = scene()
    settings = dataclasses.replace(PLAIN, **change)
    bare, changed = (augment(batch, 64, 64, s, seeded()) for s in (PLAIN, settings))
    assert not torch.equal(bare.image, changed.image)
    for name in ('ray_distance', 'rays', 'valid', 'inside'):
        torch.testing.assert_close(
            getattr(bare, name), getattr(changed, name), equal_nan=True, rtol=0, atol=0
        )


def test_values_are_spread_about_each_image_s_own_mean() -> None:
    image = 0.1 * torch.randn(400, 3, 8, 8, generator=seeded(3)) + 0.2
    spread = spread_values(image, (0.5, 2.0), seeded())
    factor = spread.flatten(1).std(1) / image.flatten(1).std(1)
    assert 0.5 <= factor.min() < 0.52
    assert 1.93 < factor.max() < 2.001
    assert factor.median() == pytest.approx(1.0, abs=0.1)  # as often halved as doubled
    torch.testing.assert_close(spread.mean(dim=(1, 2, 3)), image.mean(dim=(1, 2, 3)))
    assert spread_values(image, (50.0, 50.0), seeded()).abs().max() == 1  # clipped


def test_imprints_are_the_edges_of_the_image_before_and_no_shades() -> None:
    shade, edges = torch.full((3, 32, 32), -0.4), torch.full((3, 32, 32), 0.1)
    edges[:, :, 16:] = 0.3
    printed = imprint_details(torch.stack((shade, edges)), 1.0, seeded())
    torch.testing.assert_close(printed[1], edges)  # one shade has nothing to print
    change = printed[0] - shade
    assert change[:, :, 15].max() < -0.02 < 0.02 < change[:, :, 16].min()  # the edge
    assert change[:, :, :12].abs().max() < 1e-6
    assert change[:, :, 20:].abs().max() < 1e-6
    many = 0.2 * torch.randn(300, 3, 16, 16, generator=seeded(5))
    share = (imprint_details(many, 0.3, seeded()) != many).flatten(1).any(1).float().mean()
    assert 0.22 < share < 0.38


def test_sharpening_raises_what_differs_from_its_neighbours() -> None:
    image = torch.zeros(64, 3, 12, 12)
    image[:, :, :, 6:] = 0.2
    sharp = sharpen(image, 3.0, seeded())
    assert torch.equal(sharp[:, :, :, :5], image[:, :, :, :5])  # far from the edge: as it was
    # 3 x 3 pixels beside the edge differ from their mean by a third of it
    strength = (sharp[:, 0, 6, 6] - 0.2) / (0.2 / 3)
    torch.testing.assert_close(strength, (0 - sharp[:, 0, 6, 5]) / (0.2 / 3))
    assert 0 <= strength.min() < 0.15
    assert 2.85 < strength.max() <= 3


def test_bands_are_rows_of_everything_and_whole_cells_high() -> None:
    batch = augment(scene(), 128, 96, PLAIN, seeded())
    tops = set()
    for seed in range(40):
        band = cut_band(batch, 0.5, seeded(seed))
        high = band.image.shape[-2]
        if high == 96:
            assert band is batch
            continue
        assert high == 64
        assert band.image.shape[-1] == 128
        top = next(t for t in range(33) if torch.equal(batch.rays[..., t : t + 64, :], band.rays))
        tops.add(top)
        rows = slice(top, top + 64)
        torch.testing.assert_close(batch.image[..., rows, :], band.image)
        for name in ('ray_distance', 'valid', 'inside'):
            torch.testing.assert_close(
                getattr(batch, name)[:, rows], getattr(band, name), equal_nan=True
            )
    assert len(tops) > 10
    assert min(tops) < 6
    assert max(tops) > 26
    assert cut_band(batch, 0.0, seeded()) is batch
    small = augment(scene(), 64, 32, PLAIN, seeded())
    assert cut_band(small, 1.0, seeded()) is small  # no cell to spare
