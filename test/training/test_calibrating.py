"""Error bars of trained methods: what spoils a frame, and that the bar grows with it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from metric_depth_ros.checkpoint import Card
from metric_depth_ros.training.calibrating import calibrate
from metric_depth_ros.training.data import FramePool, write_shard
from metric_depth_ros.training.model_card import error_bar
from metric_depth_ros.training.spoil import SPOILS, blur, noise, spoil, upside_down, veil


def picture(seed: int = 0) -> torch.Tensor:
    """Brighter to the bottom, of some contrast and grain, blotchy and of some colour."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(6, generator=generator)
    ramp = torch.linspace(-0.8, 0.8, 48)[:, None].expand(48, 64) * (0.5 + 0.5 * drawn[0])
    blotches = torch.randn(1, 1, 6, 8, generator=generator)
    blotches = torch.nn.functional.interpolate(blotches, (48, 64), mode='bilinear')[0]
    grain = torch.randn(3, 48, 64, generator=generator) * (0.03 + 0.1 * drawn[1])
    colour = 0.3 * (drawn[2:5] - 0.5)[:, None, None]
    return (ramp + 0.3 * drawn[5] * blotches + grain + colour).clamp(-1, 1)


@pytest.mark.parametrize('way', SPOILS)
def test_a_spoiled_picture_is_another_one_and_the_same_for_a_seed(way) -> None:
    image = picture()
    first = way(image, torch.Generator().manual_seed(1))
    assert first.shape == image.shape
    assert first.abs().max() <= 1
    assert not torch.allclose(first, image, atol=0.02)
    assert torch.equal(first, way(image, torch.Generator().manual_seed(1)))


def test_what_each_way_does() -> None:
    image = picture()

    def detail(x: torch.Tensor) -> float:
        return float(x.diff(dim=-1).abs().mean())

    generator = torch.Generator().manual_seed(0)
    for _ in range(8):
        assert detail(noise(image, generator)) > detail(image)
        assert detail(blur(image, generator)) < 0.5 * detail(image)
        assert veil(image, generator).std() < image.std()
    torch.testing.assert_close(upside_down(image, generator)[:, 0], image[:, -1])


def test_all_ways_are_taken() -> None:
    image = picture()
    flipped = sum(
        torch.equal(spoil(image, torch.Generator().manual_seed(k)), image.flip(-2))
        for k in range(400)
    )
    assert flipped == pytest.approx(400 / len(SPOILS), abs=35)


class Bright(torch.nn.Module):
    """Says that what is bright is far, which the frames below are made to agree with."""

    takes_rays, takes_targets, num_samples = True, False, 4
    multiple_of, working_pixels = 16, 64 * 48

    def __init__(self) -> None:
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def draw(self, conditioning, num_samples, generator, *, num_steps=None, targets=None):
        depth = 3 * torch.exp(conditioning.image.mean(0))
        relative = torch.randn(num_samples, *depth.shape, generator=generator)
        return depth * torch.exp(0.05 * relative)


def test_the_bar_is_wider_on_frames_that_are_spoiled(tmp_path: Path) -> None:
    count = 96
    images = torch.stack([picture(seed) for seed in range(count)])
    generator = torch.Generator().manual_seed(0)
    away = torch.exp(0.1 * torch.randn(count, 48, 64, generator=generator))
    ray_distance = 3 * torch.exp(images.mean(1)) * away
    rays = torch.zeros(count, 48, 64, 3)
    rays[..., 2] = 1
    pixels = ((images + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1)
    write_shard(tmp_path / '00000.shard', pixels, ray_distance, rays)
    made = calibrate(Bright().eval(), FramePool(tmp_path), seed=0)
    assert made.calibration.novelty_picture > 0.2
    assert made.calibration.novelty_features == 0  # it has none
    assert made.novelty.features is None
    report = made.report
    assert report.uncertainty.coverage_1 == pytest.approx(0.68, abs=0.06)
    assert report.spoiled_unheeded.coverage_1 < 0.5
    assert report.spoiled.coverage_1 > report.spoiled_unheeded.coverage_1 + 0.05
    shares = (report.spoiled.coverage_1, report.spoiled_unheeded.coverage_1)
    row = f'| share of errors within one sigma | {shares[0]:.3f} | {shares[1]:.3f} |'
    assert row in error_bar(Card('', '', '', made.calibration), report)
