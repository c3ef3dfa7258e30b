"""`metric-depth render`: procedural scenes with exact depth, as a dataset or as a bag."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..errors import MetricDepthError


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        'render',
        help='make synthetic frames with exact depth',
        description='Render procedural scenes. Without --bag, OUT gets images, depth and '
        'manifest.jsonl; with --bag it becomes a rosbag2 (MCAP) of a moving camera with image, '
        'camera_info, true depth, tf and odometry.',
        epilog='example: metric-depth render --out walk/ --bag --frames 50 --scenes indoor',
    )
    parser.add_argument('--out', type=Path, required=True, help='folder to write')
    parser.add_argument('--bag', action='store_true', help='a rosbag2 of one moving camera')
    parser.add_argument(
        '--sequence', action='store_true', help='one moving camera instead of separate frames'
    )
    parser.add_argument(
        '--scenes', choices=('indoor', 'close', 'outdoor', 'both', 'road'), default='both'
    )
    parser.add_argument(
        '--split',
        choices=('train', 'heldout'),
        default='train',
        help='heldout: textures, layouts and fields of view that training never shows',
    )
    parser.add_argument(
        '--style',
        choices=('surfaces', 'fields'),
        default='surfaces',
        help='fields: the second generator, of other shapes, materials and light, which no model '
        'is trained on; some seconds a frame, single frames only',
    )
    parser.add_argument('--frames', type=int, default=30, metavar='N')
    parser.add_argument(
        '--rate', type=float, default=10.0, metavar='HZ', help='of a moving camera'
    )
    parser.add_argument('--size', default='320x240', metavar='WxH', help='pixels (320x240)')
    parser.add_argument('--fov', type=float, metavar='DEG', help='horizontal field of view')
    parser.add_argument(
        '--lens',
        choices=('mixed', 'none', 'plumb_bob', 'rational_polynomial', 'equidistant'),
        default='mixed',
        help='distortion of the lens',
    )
    parser.add_argument(
        '--lidar', type=float, metavar='SHARE', help='keep depth of this share of pixels, on rings'
    )
    parser.add_argument('--seed', type=int, default=0, metavar='S')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    import torch
    from rich.progress import track

    from ..synthetic import export, sequence

    width, height = _size(args.size)
    if args.frames < 1:
        raise MetricDepthError(f'--frames is {args.frames}, expected at least 1')
    generator = torch.Generator().manual_seed(args.seed)
    options = {'split': args.split, 'lens': args.lens}
    if args.style == 'fields':
        options = _field_options(args)
    if args.fov is not None:
        options['fov_deg'] = (args.fov, args.fov)
    if args.bag or args.sequence:
        frames = sequence(
            args.scenes, args.frames, width, height, generator, rate=args.rate, **options
        )
    else:
        frames = export.single_frames(
            args.scenes, args.frames, width, height, generator, **options
        )
    if args.lidar is not None:
        frames = export.like_lidar(frames, args.lidar, generator)
    if args.bag:
        written = export.write_bag(frames, args.out)
    else:
        name = f'{args.scenes}-{args.seed}' if args.sequence else ''
        written = export.write_manifest(frames, args.out, name)
    for _ in track(written, 'rendering', total=args.frames):
        pass
    print(args.out if args.bag else args.out / 'manifest.jsonl')
    return 0


def _field_options(args: argparse.Namespace) -> dict[str, Any]:
    """Options of single frames of the second generator."""
    from ..synthetic import render_fields_batch

    if args.bag or args.sequence:
        raise MetricDepthError(
            '--style is fields, which moves no camera: leave --bag and --sequence out'
        )
    if args.split != 'train':
        raise MetricDepthError(
            f'--style is fields, none of which is trained on: leave --split {args.split} out'
        )
    return {'lens': args.lens, 'render': render_fields_batch}


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(part) for part in text.split('x'))
    except ValueError:
        width = height = 0
    if width < 1 or height < 1:
        raise MetricDepthError(f'--size is {text!r}, expected WIDTHxHEIGHT in pixels')
    return width, height
