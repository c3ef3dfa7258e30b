"""Drift of RGB-D odometry, measured. Not a test: takes minutes.

python test/mapping/benchmark_odometry.py synthetic
python test/mapping/benchmark_odometry.py cabinet ../shared/data/tum_fr3_cabinet --slam
python test/mapping/benchmark_odometry.py cabinet ../shared/data/tum_fr3_cabinet --model default
python test/mapping/benchmark_odometry.py synthetic --model default --seeds 1
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from metric_depth_ros import geometry, load_predictor, rigid
from metric_depth_ros.evaluation.datasets import read_image
from metric_depth_ros.evaluation.depth_files import read_depth
from metric_depth_ros.mapping import View
from metric_depth_ros.mapping.gating import Gates
from metric_depth_ros.mapping.odometry import OdometryConfig, RgbdOdometry, Tracked
from metric_depth_ros.mapping.trajectory import (
    Trajectory,
    TrajectoryError,
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


Track = Callable[[Frame, DepthPrediction], Tracked]


def ours(truth: Trajectory, config: OdometryConfig, voxel: float | None = None) -> Track:
    """Frame to key frame; with a voxel size, corrected to the map that its own poses make."""
    begin = truth.world_from_camera[0]
    if voxel is None:
        return RgbdOdometry(config, world_from_camera=begin).track
    volume = TsdfVolume(voxel, gates=config.gates)
    odometry = RgbdOdometry(config, model=volume.render, world_from_camera=begin)

    def track(frame: Frame, prediction: DepthPrediction) -> Tracked:
        found = odometry.track(frame, prediction)
        if found.ok:
            volume.integrate(View(frame, prediction, found.world_from_camera))
        return found

    return track


class Open3dSlam:
    """Open3D's own dense SLAM, as its example has it: each frame against the map's ray cast.

    Args:
        iterations: at a quarter, half and all of the size; Open3D's defaults are 6, 3, 1.
        furthest: metres; depth beyond is not used.
    """

    _REACH = 0.07  # metres between two points of one surface, Open3D's default

    def __init__(
        self, truth: Trajectory, voxel: float, iterations: Sequence[int], furthest: float
    ) -> None:
        import open3d

        self._open3d = open3d
        self._pose = truth.world_from_camera[0]
        self._voxel, self._furthest, self._iterations = voxel, furthest, iterations
        self._model: Any = None
        self._seen: Any = None
        self._rendered: Any = None

    def track(self, frame: Frame, prediction: DepthPrediction) -> Tracked:
        core, pipelines = self._open3d.core, self._open3d.t.pipelines
        device = core.Device('CPU:0')
        first = self._model is None
        if first:
            intrinsics = core.Tensor(geometry.matrix(frame.camera).numpy())
            size = frame.camera.height, frame.camera.width
            self._model = pipelines.slam.Model(
                self._voxel, 16, 40_000, core.Tensor(self._pose.numpy()), device
            )
            self._seen, self._rendered = (
                pipelines.slam.Frame(*size, intrinsics, device) for _ in range(2)
            )
        image = self._open3d.t.geometry.Image
        metres = prediction.depth.nan_to_num(0.0)[..., None].contiguous()
        self._seen.set_data_from_image('depth', image(core.Tensor(metres.numpy())))
        colours = (frame.image.float() / 255).contiguous()  # of one type with the depth
        self._seen.set_data_from_image('color', image(core.Tensor(colours.numpy())))
        fitness, why = 1.0, ''
        if not first:
            fitness, why = self._align(pipelines.odometry)
        if not why:
            count = 0 if first else self._model.frame_id + 1
            self._model.update_frame_pose(count, core.Tensor(self._pose.numpy()))
            self._model.integrate(self._seen, 1.0, self._furthest)
            self._model.synthesize_model_frame(self._rendered, 1.0, 0.1, self._furthest)
        return Tracked(self._pose, fitness, ok=not why, why=why)

    def _align(self, odometry: Any) -> tuple[float, str]:
        """Move on to where the frame fits the map; its fitness, and why it does not."""
        silence = self._open3d.utility.VerbosityLevel.Error  # it misses colours it does not use
        try:
            with self._open3d.utility.VerbosityContextManager(silence):
                found = self._model.track_frame_to_model(
                    self._seen, self._rendered, 1.0, self._furthest, self._REACH,
                    odometry.Method.PointToPlane,
                    [odometry.OdometryConvergenceCriteria(count) for count in self._iterations],
                )  # fmt: skip
        except RuntimeError as error:  # singular
            return 0.0, str(error).strip().splitlines()[-1]
        step = torch.from_numpy(found.transformation.numpy().copy())
        if found.fitness < 0.1 or rigid.distance(step) > OdometryConfig().max_step_m:
            return found.fitness, f'fitness {found.fitness:.2f}, {rigid.distance(step):.2f} m'
        self._pose = self._pose @ step
        return found.fitness, ''


def measure(name: str, frames: Iterable[Seen], truth: Trajectory, track: Track) -> None:
    """Track, and print one line of what came of it."""
    poses, lost, key_frames, cpu_s = [], [], 0, 0.0
    for frame, prediction in frames:
        began = time.process_time()
        found = track(frame, prediction)
        cpu_s += time.process_time() - began
        key_frames += found.keyframe
        if found.ok:
            poses.append((frame.stamp_ns, found.world_from_camera))
        else:
            lost.append(found.why)
    count = len(poses) + len(lost)
    line = f'{name:28} {count:3} frames, {len(lost)} lost, {key_frames} key frames'
    try:
        estimate = trajectory_of(poses)
        strayed, scored = drift(estimate, truth), score(estimate, truth)
    except TrajectoryError as error:
        line += f' | {error}'
    else:
        line += (
            f' | drift {strayed.translation_percent:.2f} %, {strayed.rotation_deg_per_m:.2f} deg/m'
            f' | end {strayed.end_m:.3f} m, {strayed.end_deg:.2f} deg of {strayed.length_m:.2f} m'
            f' | ATE {scored.ate_m:.4f} m, {scored.ate_scaled_m:.4f} m at {scored.scale:.2f}'
            f' | RPE {scored.rpe_m:.4f} m, {scored.rpe_deg:.2f} deg'
        )
    print(f'{line} | {cpu_s / count:.2f} s CPU a frame', flush=True)
    for why in lost[:2]:
        print(f'    lost: {why}', flush=True)


def measure_model(
    model: str, seen: Iterable[Seen], truth: Trajectory, spacings: Sequence[int] = (1,)
) -> None:
    """Odometry on the depth that a model predicts, with what that depth is worth.

    Args:
        spacings: once with every so manyth frame.
    """
    predictor = load_predictor(model, device='cpu')
    frames, errors, claimed = [], [], []
    for frame, known in seen:
        prediction = predictor(frame)
        frames.append((frame, prediction))
        both = known.depth.isfinite() & prediction.depth.isfinite()
        errors.append(((prediction.depth - known.depth).abs() / known.depth)[both].mean())
        claimed.append((prediction.std / prediction.depth).nanmedian())
    print(
        f'depth of {predictor.name}: AbsRel {float(torch.stack(errors).mean()):.3f}, '
        f'std / depth {float(torch.stack(claimed).mean()):.3f} in the median',
        flush=True,
    )
    for spacing in spacings:
        for share in (0.25, 1.0):
            config = OdometryConfig(gates=Gates(max_relative_std=share))
            name = f'every {spacing}., std to {share:g} of depth'
            measure(name, frames[::spacing], truth, ours(truth, config))


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
        if arguments.model is not None:
            truth = trajectory_of((s.frame.stamp_ns, s.world_from_camera) for s in whole)
            exact = ((s.frame, noisy(s, 0.0, generator)) for s in whole)
            measure_model(arguments.model, exact, truth, (1, 4))
            continue
        for relative in (0.0, 0.02, 0.05):
            for spacing in (1, 2, 4, 8):
                noise = torch.Generator().manual_seed(seed)
                some = whole[::spacing]
                truth = trajectory_of((s.frame.stamp_ns, s.world_from_camera) for s in some)
                frames = ((s.frame, noisy(s, relative, noise)) for s in some)
                name = f'seed {seed}, {relative:.0%} noise, {spacing / 10} s'
                measure(name, frames, truth, ours(truth, OdometryConfig()))


def cabinet_frames(folder: Path, most: int | None = None) -> Iterator[Seen]:
    camera = Camera(535.4, 539.2, 320.1, 247.6, 640, 480)
    lines = (folder / 'associations.txt').read_text().splitlines()
    for line in [line for line in lines if not line.startswith('#')][:most]:
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
    if arguments.model is not None:
        measure_model(arguments.model, cabinet_frames(arguments.folder, arguments.frames), truth)
        return
    config = OdometryConfig(keyframe_overlap=arguments.keyframe_overlap)
    rows = {'to key frame': ours(truth, config)}
    if arguments.voxel is not None:
        rows[f'and to map of {arguments.voxel} m'] = ours(truth, config, arguments.voxel)
    if arguments.slam:
        voxel, furthest = arguments.voxel or 0.04, config.gates.max_depth
        for iterations in ((6, 3, 1), (20, 15, 10)):
            slam = Open3dSlam(truth, voxel, iterations, furthest)
            rows[f'Open3D slam, {iterations}'] = slam.track
    for name, track in rows.items():
        measure(name, cabinet_frames(arguments.folder, arguments.frames), truth, track)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    rendered = commands.add_parser('synthetic')
    rendered.add_argument('--frames', type=int, default=25)
    rendered.add_argument('--seeds', type=int, default=2)
    rendered.add_argument('--model', help='on the depth that it predicts, not on noisy truth')
    rendered.set_defaults(run=synthetic)
    real = commands.add_parser('cabinet')
    real.add_argument('folder', type=Path)
    real.add_argument('--frames', type=int, help='only the first so many')
    real.add_argument('--voxel', type=float, help='corrected to a map of such voxels, too')
    real.add_argument('--slam', action='store_true', help="beside Open3D's own dense SLAM")
    real.add_argument('--model', help="on the depth that it predicts, not on the sensor's")
    real.add_argument('--keyframe-overlap', type=float, default=0.9)
    real.set_defaults(run=cabinet)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == '__main__':
    torch.set_num_threads(1)
    main()
