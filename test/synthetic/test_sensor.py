"""What a camera does to a picture, against closed forms and OpenCV."""

from __future__ import annotations

from dataclasses import fields, replace

import cv2
import numpy as np
import pytest
import torch

from metric_depth_ros.synthetic import Sensor
from metric_depth_ros.synthetic.jpeg import jpeg
from metric_depth_ros.synthetic.optics import blur, motion_blur, vignette
from metric_depth_ros.synthetic.sensor import demosaic, expose, noise, s_curve

SWITCHES = [f.name for f in fields(Sensor)]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scalar(*values: float) -> torch.Tensor:
    return torch.tensor(values)[:, None, None, None]


def picture(batch: int = 1, height: int = 48, width: int = 64) -> torch.Tensor:
    """(B, 3, H, W) smooth shapes and some texture in [0, 1]."""
    coarse = torch.rand(batch, 3, 6, 8, generator=seeded(1))
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode='bicubic')
    fine = 0.1 * torch.randn(batch, 1, height, width, generator=seeded(2))
    return (smooth + fine).clamp(0, 1)


@pytest.mark.parametrize('name', SWITCHES)
def test_every_effect_changes_pictures_and_leaves_the_other_draws_alone(name):
    radiance = picture(16).permute(0, 2, 3, 1)
    ideal = expose(radiance, Sensor.ideal(), seeded(0))
    alone = expose(radiance, replace(Sensor.ideal(), **{name: getattr(Sensor(), name)}), seeded(0))
    assert not torch.equal(ideal, alone)
    # Off is the limit of ever weaker: nothing else is drawn differently.
    weak = 1e-9 if name not in ('mosaic', 'jpeg') else 0.0
    full = expose(radiance, replace(Sensor(), **{name: weak}), seeded(0), seeded(5))
    without = expose(radiance, replace(Sensor(), **{name: 0.0}), seeded(0), seeded(5))
    apart = (full.int() - without.int()).abs().float()
    limit = 5.0 if name == 'blur' else 0.05  # its kernel never gets narrower than a tenth
    assert apart.mean() < limit


def test_same_seed_same_picture_and_noise_may_change_alone():
    radiance = picture(4).permute(0, 2, 3, 1)
    first, again = (expose(radiance, Sensor(), seeded(3)) for _ in range(2))
    assert torch.equal(first, again)
    one, other = (expose(radiance, Sensor(), seeded(3), seeded(s)) for s in (1, 2))
    assert not torch.equal(one, other)
    quiet = replace(Sensor(), noise=0.0)
    one, other = (expose(radiance, quiet, seeded(3), seeded(s)) for s in (1, 2))
    assert torch.equal(one, other)


def test_some_pictures_clip_and_some_are_dark_and_some_are_grey():
    shots = expose(picture(64).permute(0, 2, 3, 1) ** 3, Sensor(), seeded(0)).float()
    mean = shots.mean((1, 2, 3))
    assert (mean < 70).any()
    assert ((shots == 255).float().mean((1, 2, 3)) > 0.02).any()
    colour = (shots.amax(-1) - shots.amin(-1)).mean((1, 2))
    assert colour.max() > 4 * colour.min()


def test_a_grey_picture_comes_through_the_mosaic_unharmed():
    flat = torch.full((1, 3, 10, 14), 0.37)
    torch.testing.assert_close(demosaic(flat), flat)
    ramp = torch.linspace(0, 1, 14).expand(1, 3, 10, 14)
    inside = (slice(None), slice(None), slice(1, -1), slice(1, -1))
    torch.testing.assert_close(demosaic(ramp)[inside], ramp[inside])
    edge = (torch.arange(14) >= 7).float().expand(1, 3, 10, 14)
    fringe = demosaic(edge)
    assert (fringe.amax(1) - fringe.amin(1)).max() > 0.2  # colours appear at an edge


def test_the_mosaic_is_opencvs_bilinear_one():
    colours = (picture() * 255).round()
    bayer = colours[0, 1].clone()
    bayer[::2, ::2], bayer[1::2, 1::2] = colours[0, 0, ::2, ::2], colours[0, 2, 1::2, 1::2]
    expected = cv2.cvtColor(bayer.numpy().astype(np.uint8), cv2.COLOR_BayerRGGB2RGB)
    inside = slice(2, -2)
    ours = demosaic(colours)[0].permute(1, 2, 0)[inside, inside]
    apart = (ours - torch.from_numpy(expected).float()[inside, inside]).abs()
    assert apart.max() <= 1


def test_jpeg_loses_as_much_as_a_real_one():
    image = picture()
    losses = []
    for quality in (95, 30):
        ours = jpeg(image, scalar(quality)) * 255
        loss = (ours - image * 255).abs().mean()
        losses.append(loss)
        bgr = np.ascontiguousarray(
            (image[0] * 255).round().byte().permute(1, 2, 0).numpy()[..., ::-1]
        )
        coded = cv2.imdecode(cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 1)
        real = torch.from_numpy(coded[..., ::-1].copy()).permute(2, 0, 1).float()
        real_loss = (real - image[0] * 255).abs().mean()
        assert 0.8 < loss / real_loss < 1.25
        assert (ours[0] - real).abs().mean() < 0.5 * real_loss + 1
    assert losses[0] < 0.6 * losses[1]
    grey = picture()[:, :1].expand(-1, 3, -1, -1)
    assert (jpeg(grey, scalar(95)) - grey).abs().mean() < 2 / 255


def test_jpeg_has_a_quality_of_its_own_for_every_picture_and_any_size():
    image = picture(2, 45, 61)
    both = jpeg(image, scalar(95, 30))
    assert both.shape == image.shape
    for i, quality in enumerate((95, 30)):
        torch.testing.assert_close(both[i : i + 1], jpeg(image[i : i + 1], scalar(quality)))


def test_blur_is_opencvs():
    image = picture()
    ours = blur(image, scalar(0.8))[0].permute(1, 2, 0)
    plane = image[0].permute(1, 2, 0).numpy()
    expected = cv2.GaussianBlur(plane, (7, 7), 0.8, borderType=cv2.BORDER_REPLICATE)
    torch.testing.assert_close(ours, torch.from_numpy(expected), atol=1e-5, rtol=0)


def test_motion_smears_along_its_direction_only():
    lines = torch.zeros(1, 3, 20, 20)
    lines[..., 10, :] = 1  # a horizontal line
    along = motion_blur(lines, scalar(5), scalar(0.0))
    torch.testing.assert_close(along, lines)
    across = motion_blur(lines, scalar(5), scalar(torch.pi / 2))
    assert across[0, 0, :, 10].gt(0.1).sum() >= 5
    torch.testing.assert_close(across.sum(), lines.sum())
    torch.testing.assert_close(motion_blur(lines, scalar(0), scalar(0.4)), lines)


def test_noise_is_as_strong_as_asked_and_grows_with_light():
    grey = torch.full((1, 3, 128, 128), 0.218)
    drawn = noise(grey, scalar(0.02), scalar(0.5), seeded(0))
    assert abs(drawn.std() - 0.02) < 0.001
    dark = noise(torch.zeros_like(grey), scalar(0.02), scalar(0.5), seeded(0))
    assert 0 < dark.std() < 0.3 * drawn.std()
    common = noise(grey, scalar(0.02), scalar(1.0), seeded(0))
    torch.testing.assert_close(common[:, 0], common[:, 2])


def test_vignette_and_tone_curve():
    light = vignette(torch.ones(1, 3, 9, 9), scalar(0.4))[0, 0]
    assert light[4, 4] == 1
    torch.testing.assert_close(light[0, 0], torch.tensor(0.6))
    values = torch.linspace(0, 1, 11)[None, None, None]
    steep, flat = s_curve(values, scalar(0.5))[0, 0, 0], s_curve(values, scalar(-0.5))[0, 0, 0]
    assert (steep.diff() > 0).all()
    for curve, ends in ((steep, (0.0, 1.0)), (flat, (0.2, 0.8))):
        torch.testing.assert_close(curve[[0, 5, 10]], torch.tensor([ends[0], 0.5, ends[1]]))
