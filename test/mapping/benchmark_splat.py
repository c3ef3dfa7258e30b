"""Held-out views of synthetic rooms, with and without depth, as docs/mapping.md reports them.

    python test/mapping/benchmark_splat.py --rooms 0 1 --steps 200

Poses are exact. Depth is the truth plus noise that is correlated between neighbouring pixels and
whose standard deviation, known to the map, is small in most of the image and large in patches.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from metric_depth_ros import synthetic
from metric_depth_ros.mapping import View
from metric_depth_ros.mapping.image_scores import depth_l1, psnr, ssim
from metric_depth_ros.mapping.splat import SplatMapper, SplatSettings
from metric_depth_ros.synthetic import SequenceFrame
from metric_depth_ros.types import Camera, DepthPrediction

WIDTH, HEIGHT = 160, 120
CAMERA = Camera(140.0, 140.0, (WIDTH - 1) / 2, (HEIGHT - 1) / 2, WIDTH, HEIGHT)
LOW, HIGH = 0.03, 0.15  # standard deviation of the noise over depth, outside and in the patches
GRAIN = 8  # pixels over which the noise is correlated


@dataclass(frozen=True)
class Scores:
    """Means over the held-out views: dB, -, metres, and the share of pixels with depth."""

    psnr: float
    ssim: float
    depth_l1: float
    covered: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rooms', type=int, nargs='+', default=[0], help='seeds of the rooms')
    parser.add_argument('--steps', type=int, default=200)
    parser.add_argument('--frames', type=int, default=16, help='every fourth is held out')
    parser.add_argument('--variants', nargs='+', default=list(VARIANTS), choices=VARIANTS)
    parser.add_argument('--ideal-camera', action='store_true', help='no sensor noise or blur')
    arguments = parser.parse_args()
    print('room  variant              PSNR dB   SSIM  depth L1 m  covered  Gaussians  seconds')
    for room in arguments.rooms:
        frames = sequence(room, arguments.frames, arguments.ideal_camera)
        held_out = frames[2::4]
        views = noisy_views([f for i, f in enumerate(frames) if i % 4 != 2], room)
        for name in arguments.variants:
            began = time.thread_time()
            mapper = VARIANTS[name](views)
            mapper.optimise(arguments.steps, final=True)
            seconds = time.thread_time() - began
            scores = score(mapper, held_out)
            print(
                f'{room:4}  {name:20} {scores.psnr:7.2f} {scores.ssim:6.3f} '
                f'{scores.depth_l1:11.4f} {scores.covered:8.3f} {len(mapper.gaussians):10} '
                f'{seconds:8.0f}',
                flush=True,
            )


def sequence(room: int, frames: int, ideal: bool) -> list[SequenceFrame]:
    """One walk through one room, frames about as far apart as key frames are."""
    appearance = synthetic.Appearance(sensor=synthetic.Sensor.ideal()) if ideal else None
    generator = torch.Generator().manual_seed(room)
    return list(
        synthetic.sequence(
            'indoor', frames, WIDTH, HEIGHT, generator, rate=2.0, camera=CAMERA,
            appearance=appearance,
        )
    )  # fmt: skip


def noisy_views(frames: list[SequenceFrame], seed: int) -> list[View]:
    """The frames with noisy depth and its standard deviation."""
    generator = torch.Generator().manual_seed(1000 + seed)
    views = []
    for frame in frames:
        patch = smooth_noise(generator, 4 * GRAIN) > 0.8
        std = torch.where(patch, HIGH, LOW) * frame.depth
        depth = (frame.depth + std * smooth_noise(generator, GRAIN)).clamp_min(0.05)
        prediction = DepthPrediction(depth, std, frame.frame.camera)
        views.append(View(frame.frame, prediction, frame.world_from_camera))
    return views


def smooth_noise(generator: Generator, grain: int) -> Tensor:
    """(H, W) normal noise of deviation about 1 that changes over about `grain` pixels."""
    coarse = torch.randn(1, 1, HEIGHT // grain + 2, WIDTH // grain + 2, generator=generator)
    fine = F.interpolate(coarse, (HEIGHT, WIDTH), mode='bicubic')[0, 0]
    return fine / fine.std()


def score(mapper: SplatMapper, held_out: list[SequenceFrame]) -> Scores:
    """What the map shows where it has never been, against what was there."""
    rows = []
    for frame in held_out:
        seen = mapper.render(CAMERA, frame.world_from_camera)
        truth = frame.frame.image.float() / 255
        rows.append(
            (
                psnr(seen.colour, truth),
                float(ssim(seen.colour, truth)),
                depth_l1(seen.depth, frame.depth),
                float(seen.depth.isfinite().float().mean()),
            )
        )
    return Scores(*torch.tensor(rows).mean(0).tolist())


def with_std(views: list[View]) -> SplatMapper:
    """Depth seeds and supervises, each pixel by its own standard deviation."""
    return mapped(views, SplatSettings())


def without_std(views: list[View]) -> SplatMapper:
    """Depth seeds and supervises, but every pixel is taken to be as uncertain as any other."""
    return mapped([with_depth(v, v.prediction.depth, 0.05) for v in views], SplatSettings())


def seeds_only(views: list[View]) -> SplatMapper:
    """Depth and std seed the Gaussians; colour alone moves them afterwards."""
    return mapped(views, SplatSettings(depth_weight=0.0))


def no_depth(views: list[View]) -> SplatMapper:
    """Colour and poses alone: Gaussians begin on a sheet at the median of all depth."""
    middle = float(torch.stack([view.prediction.depth for view in views]).nanmedian())
    sheets = [with_depth(v, torch.full_like(v.prediction.depth, middle), 0.05) for v in views]
    return mapped(sheets, SplatSettings(depth_weight=0.0))


def with_depth(view: View, depth: Tensor, relative_std: float) -> View:
    prediction = replace(view.prediction, depth=depth, std=relative_std * depth)
    return replace(view, prediction=prediction)


def mapped(views: list[View], settings: SplatSettings) -> SplatMapper:
    mapper = SplatMapper(settings)
    for view in views:
        mapper.add(view)
    return mapper


VARIANTS: dict[str, Callable[[list[View]], SplatMapper]] = {
    'depth-and-std': with_std,
    'depth-without-std': without_std,
    'depth-seeds-only': seeds_only,
    'no-depth': no_depth,
}

if __name__ == '__main__':
    main()
