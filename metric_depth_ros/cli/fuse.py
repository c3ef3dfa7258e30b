"""`metric-depth fuse`: a recording of a moving camera in; mesh, cloud, Gaussians and way out."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import MetricDepthError
from .arguments import add_model_arguments, predictor_of
from .progress import progress_bars

if TYPE_CHECKING:
    from rich.progress import TaskID

    from ..fusing.fuse import Predict
    from ..fusing.recordings import Recording
    from ..mapping.mapper import MapSettings

_SPLAT_STEPS = 500
_KEY_METRES, _KEY_DEGREES = 0.1, 5.0  # denser than live: nobody waits for the next frame
_TRUE_RELATIVE_STD = 0.005  # of a depth sensor, over depth
_GROWTH = 1.5  # voxels take half as much again while their memory grows


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        'fuse',
        help='make a map of a recording: mesh, cloud, Gaussians, trajectory',
        description='Fuse the frames of one moving camera, a bag or a manifest, into a map, by '
        'the same code as mapping_node. OUT gets mesh.ply, cloud.ply, trajectory.txt (TUM '
        'format), pictures and fuse.json; with --splat also splat.ply (3DGS).',
        epilog='example: metric-depth fuse drive.mcap --out map/ --poses truth --voxel 0.02 '
        '--splat',
    )
    parser.add_argument(
        'recording',
        type=Path,
        metavar='BAG|MANIFEST',
        help='a bag of ROS 1 or 2, a manifest, or a folder with a manifest.jsonl',
    )
    parser.add_argument('--out', type=Path, required=True, help='folder for everything made')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write fuse.json here, too')
    what = parser.add_argument_group('what to fuse')
    what.add_argument(
        '--depth', choices=('model', 'truth'), default='model',
        help='depth of the model, or the recorded one (%(default)s)',
    )  # fmt: skip
    what.add_argument(
        '--poses', choices=('truth', 'odometry'),
        help='recorded poses (transforms, odometry), or odometry on the depth; recorded ones '
        'where there are any, unless told',
    )  # fmt: skip
    what.add_argument('--max-frames', type=int, metavar='N', help='stop after N frames')
    what.add_argument('--every', type=int, default=1, metavar='N', help='take every N-th frame')
    what.add_argument('--sequence', metavar='NAME', help='of a manifest that has several')
    what.add_argument('--image', metavar='TOPIC', help='of a bag; found by type and name')
    what.add_argument('--camera-info', metavar='TOPIC')
    what.add_argument('--depth-topic', metavar='TOPIC', help='true depth, registered to the image')
    the_map = parser.add_argument_group('the map')
    the_map.add_argument(
        '--voxel', type=float, default=0.02, metavar='METRES', help='edge of a voxel (%(default)s)'
    )
    the_map.add_argument(
        '--max-depth', type=float, default=10.0, metavar='METRES',
        help='depth beyond is not fused (%(default)s)',
    )  # fmt: skip
    the_map.add_argument(
        '--max-std', type=float, default=0.25, metavar='SHARE',
        help='pixels whose standard deviation is a larger share of their depth are not fused '
        '(%(default)s)',
    )  # fmt: skip
    the_map.add_argument(
        '--min-views', type=int, default=1, metavar='N',
        help='the surface is only where so many frames saw it (%(default)s)',
    )  # fmt: skip
    the_map.add_argument(
        '--memory', type=int, default=1500, metavar='MB',
        help='for voxels; at this much the surface farthest off moves to a file, and comes back '
        'into the mesh (%(default)s)',
    )  # fmt: skip
    the_map.add_argument(
        '--track-map', action='store_true',
        help='odometry corrects itself to the map: less drift, slow on a CPU',
    )  # fmt: skip
    the_map.add_argument('--splat', action='store_true', help='make Gaussians as well')
    the_map.add_argument(
        '--splat-steps', type=int, default=_SPLAT_STEPS, metavar='N',
        help='optimisation steps of the Gaussians (%(default)s)',
    )  # fmt: skip
    more = parser.add_argument_group('more to write')
    more.add_argument(
        '--export', action='store_true',
        help='OUT/sequence in the layout of TUM RGB-D, for other SLAM systems',
    )  # fmt: skip
    more.add_argument('--rerun', type=Path, metavar='FILE', help='the run as .rrd for rerun')
    more.add_argument('--no-pictures', action='store_true')
    add_model_arguments(parser.add_argument_group('model'))
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from rich.console import Console

    from ..fusing.recordings import open_recording
    from ..fusing.report import table, unused_lines, write_report
    from ..fusing.run import Wanted, make_map
    from ..mapping.mapper import map_device

    _check(args)
    recording = open_recording(
        args.recording,
        image=args.image,
        camera_info=args.camera_info,
        depth=args.depth_topic,
        sequence=args.sequence,
    )
    own_poses = _own_poses(args, recording)
    predict, depth = _depth(args, recording)
    wanted = Wanted(
        folder=args.out,
        settings=_settings(args),
        device=map_device(args.device),
        seed=args.seed,
        depth=depth,
        own_poses=own_poses,
        every=args.every,
        max_frames=args.max_frames,
        splat_steps=args.splat_steps,
        export=args.export,
        rerun=args.rerun,
        pictures=not args.no_pictures,
    )
    with progress_bars() as bars:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        report = make_map(recording, predict, wanted, show=show)
    if args.json is not None:
        write_report(args.json, report)
    console = Console()
    console.print(table(report))
    for line in unused_lines(report):
        console.print(line, style='yellow', highlight=False, markup=False, soft_wrap=True)
    console.print(f'in {args.out}: {", ".join(report.files)}', highlight=False, soft_wrap=True)
    if not report.interrupted:
        return 0
    print(f'metric-depth fuse: interrupted; the map so far is in {args.out}', file=sys.stderr)
    return 130


def _check(args: argparse.Namespace) -> None:
    for name in ('max_frames', 'every', 'min_views', 'memory'):
        value = getattr(args, name)
        if value is not None and value < 1:
            option = name.replace('_', '-')
            raise MetricDepthError(f'--{option} is {value}, expected at least 1')
    if args.splat_steps < 0:
        raise MetricDepthError(f'--splat-steps is {args.splat_steps}, expected 0 or more')
    if not 0 < args.voxel < float('inf'):
        raise MetricDepthError(f'--voxel is {args.voxel}, expected a positive number of metres')


def _own_poses(args: argparse.Namespace, recording: Recording) -> bool:
    if args.poses == 'truth' and not recording.has_poses:
        raise MetricDepthError(
            f'--poses truth, but {recording.name} has none: expected transforms, odometry or '
            'poses in a bag, "pose" in a manifest; --poses odometry needs none'
        )
    return args.poses == 'odometry' or not recording.has_poses


def _depth(args: argparse.Namespace, recording: Recording) -> tuple[Predict, str]:
    """What says the depth of a frame, and its name."""
    from ..fusing.fuse import true_depth

    if args.depth == 'truth':
        if not recording.has_depth:
            raise MetricDepthError(
                f'--depth truth, but {recording.name} has none: name its topic with --depth-topic'
            )
        return true_depth, 'truth'
    predictor = predictor_of(args)
    return (lambda recorded: predictor(recorded.frame)), predictor.name


def _settings(args: argparse.Namespace) -> MapSettings:
    from ..mapping.block_grid import BYTES_PER_BLOCK
    from ..mapping.gating import Gates
    from ..mapping.mapper import MapSettings
    from ..mapping.splat import SplatSettings

    gates = Gates(max_depth=args.max_depth, max_relative_std=args.max_std)
    if args.depth == 'truth':
        gates = replace(gates, assumed_relative_std=_TRUE_RELATIVE_STD)
    return MapSettings(
        voxel_size=args.voxel,
        max_blocks=max(1, int(args.memory * 1e6 / (_GROWTH * BYTES_PER_BLOCK))),
        gates=gates,
        min_views=args.min_views,
        splat=SplatSettings() if args.splat else None,
        key_metres=_KEY_METRES,
        key_degrees=_KEY_DEGREES,
        track_map=args.track_map,
    )
