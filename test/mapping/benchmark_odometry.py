"""Drift of RGB-D odometry, measured. Not a test: takes minutes.

python test/mapping/benchmark_odometry.py synthetic
python test/mapping/benchmark_odometry.py cabinet ../shared/data/tum_fr3_cabinet [--voxel 0.02]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from metric_depth_ros.evaluation.datasets import read_image
from metric_depth_ros.evaluation.depth_files import read_depth
from metric_depth_ros.mapping import View
from metric_depth_ros.mapping.odometry import OdometryConfig, RgbdOdometry
from metric_depth_ros.mapping.trajectory import (
    Trajectory,
    drift,
    read_trajectory,
    score,
    trajectory_of,
)
from metric_depth_ros.mapping.tsdf import TsdfVolume
from metric_depth_ros.synthetic.render import Appearance
from metric_depth_ros.synthetic.trajectory import SequenceFrame, sequence
from metric_depth_ros.types import Camera, DepthPrediction, Frame

Seen = tuple[Frame, DepthPrediction]


def measure(
    name: str,
    frames: Iterable[Seen],
    truth: Trajectory,
    config: OdometryConfig | None = None,
    voxel: float | None = None,
) -> None:
    """Track, and print one line of what came of it."""
    volume = None if voxel is None else TsdfVolume(voxel)
    odometry = RgbdOdometry(
        config,
        model=None if volume is None else volume.render,
        world_from_camera=truth.world_from_camera[0],
    )
    poses, lost, key_frames, begin = [], [], 0, time.process_time()
    for frame, prediction in frames:
        found = odometry.track(frame, prediction)
        key_frames += found.keyframe
        if not found.ok:
            lost.append(found.why)
            continue
        poses.append((frame.stamp_ns, found.world_from_camera))
        if volume is not None:
            volume.integrate(View(frame, prediction, found.world_from_camera))
    count = len(poses) + len(lost)
    estimate = trajectory_of(poses)
    line = f'{name:28} {count:3} frames, {len(lost)} lost, {key_frames} key frames'
    if len(poses) > 1:
        strayed, scored = drift(estimate, truth), score(estimate, truth)
        line += (
            f' | drift {strayed.translation_percent:.2f} %, {strayed.rotation_deg_per_m:.2f} deg/m'
            f' | end {strayed.end_m:.3f} m, {strayed.end_deg:.2f} deg of {strayed.length_m:.2f} m'
            f' | ATE {scored.ate_m:.4f} m | RPE {scored.rpe_m:.4f} m, {scored.rpe_deg:.2f} deg'
        )
    print(f'{line} | {(time.process_time() - begin) / count:.2f} s CPU a frame', flush=True)
    for why in lost[:2]:
        print(f'    lost: {why}', flush=True)


def noisy(seen: SequenceFrame, relative: float, generator: torch.Generator) -> DepthPrediction:
    """Depth as a network errs: smooth over the image, anew in every frame, its std known."""
    camera = seen.frame.camera
    coarse = torch.randn(1, 1, 5, 6, generator=generator)
    smooth = F.interpolate(
        coarse, (camera.height, camera.width), mode='bicubic', align_corners=True
    )
    depth = seen.depth * (1 + relative * smooth[0, 0] / smooth.std())
    return DepthPrediction(depth, relative * seen.depth, camera, seen.frame.stamp_ns)


def synthetic(arguments: argparse.Namespace) -> None:
    camera = Camera(140.0, 140.0, 79.5, 59.5, 160, 120)
    appearance = replace(Appearance.plain(), textures=True, variation=True)
    for seed in range(arguments.seeds):
        generator = torch.Generator().manual_seed(seed)
        whole = list(
            sequence(
                'indoor', arguments.frames, 160, 120, generator,
                rate=10.0, camera=camera, appearance=appearance,
            )
        )  # fmt: skip
        for relative in (0.0, 0.02, 0.05):
            for spacing in (1, 2, 4, 8):
                noise = torch.Generator().manual_seed(seed)
                some = whole[::spacing]
                truth = trajectory_of((s.frame.stamp_ns, s.world_from_camera) for s in some)
                frames = ((s.frame, noisy(s, relative, noise)) for s in some)
                measure(f'seed {seed}, {relative:.0%} noise, {spacing / 10} s', frames, truth)


def cabinet_frames(folder: Path) -> Iterator[Seen]:
    camera = Camera(535.4, 539.2, 320.1, 247.6, 640, 480)
    for line in (folder / 'associations.txt').read_text().splitlines():
        if line.startswith('#'):
            continue
        stamp, image, depth = line.split()
        frame = Frame(read_image(folder / image), camera, round(float(stamp) * 1e9))
        metres = read_depth(folder / depth, 1 / 5000)
        # Khoshelham and Elberink 2012: a structured-light sensor's noise grows with depth squared.
        std: Tensor = 0.0015 * metres**2 + 0.001
        yield frame, DepthPrediction(metres, std, camera, frame.stamp_ns)


def cabinet(arguments: argparse.Namespace) -> None:
    truth = read_trajectory(arguments.folder / 'groundtruth.txt')
    steps = truth.world_from_camera[1:, :3, 3] - truth.world_from_camera[:-1, :3, 3]
    apart = np.diff(truth.stamps_ns).mean() / 1e9
    print(f'frames {apart:.2f} s and {float(steps.norm(dim=1).mean()):.3f} m apart on average')
    config = OdometryConfig(keyframe_overlap=arguments.keyframe_overlap)
    name = 'to key frame' if arguments.voxel is None else f'to model of {arguments.voxel} m'
    measure(name, cabinet_frames(arguments.folder), truth, config, arguments.voxel)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    rendered = commands.add_parser('synthetic')
    rendered.add_argument('--frames', type=int, default=25)
    rendered.add_argument('--seeds', type=int, default=2)
    rendered.set_defaults(run=synthetic)
    real = commands.add_parser('cabinet')
    real.add_argument('folder', type=Path)
    real.add_argument('--voxel', type=float)
    real.add_argument('--keyframe-overlap', type=float, default=0.9)
    real.set_defaults(run=cabinet)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == '__main__':
    torch.set_num_threads(1)
    main()
