"""`metric-depth train`: a recipe in, a checkpoint out."""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path

from .progress import progress_bars
from .training_bars import Interruption, TrainingBars


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        'train',
        help='train a model from a recipe',
        description='Render the frames a recipe asks for, train on them, calibrate the error bar '
        'on held-out scenes and write a checkpoint to OUT/checkpoint.',
        epilog='example: metric-depth train grin-small-finetune --data kitchen/manifest.jsonl '
        '--out runs/kitchen',
    )
    parser.add_argument('recipe', help='name of a recipe of the package, or a YAML file')
    parser.add_argument('--out', type=Path, required=True, help='folder of the run')
    parser.add_argument(
        '--data',
        type=Path,
        nargs='+',
        default=[],
        metavar='MANIFEST',
        help='frames of your own to train on beside those of the recipe, half of what is seen; '
        'see `metric-depth import`',
    )
    parser.add_argument('--resume', action='store_true', help='go on where the run stopped')
    parser.add_argument(
        '--frames', type=Path, help='folder of the rendered frames, to share them between runs'
    )
    parser.add_argument('--device', default='auto', help="'auto', 'cpu', 'cuda', ...")
    parser.add_argument(
        '--minutes', type=float, default=math.inf, help='stop after this long, to be resumed'
    )
    parser.add_argument(
        '--tensorboard',
        action='store_true',
        help='write OUT/tensorboard, for tensorboard --logdir',
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ..predictor import find_device
    from ..training.loop import train
    from ..training.recipe import load_recipe, with_manifests

    recipe = with_manifests(load_recipe(args.recipe), args.data)
    first = os.environ.get('RANK', '0') == '0'  # of the processes that torchrun has started
    with progress_bars(disable=not first) as bars, Interruption() as interruption:
        shown = TrainingBars(bars, interruption)
        folder = train(
            recipe,
            args.out,
            resume=args.resume,
            frames=args.frames,
            device=find_device(args.device),
            max_minutes=args.minutes,
            tensorboard=args.tensorboard,
            stop=lambda: interruption.asked,
            show=shown.show,
        )
    if folder is None and first:
        data = f' --data {" ".join(map(str, args.data))}' if args.data else ''
        frames = f' --frames {args.frames}' if args.frames else ''
        at = f' at step {shown.trained}' if shown.trained else ''
        print(
            f'stopped{at}, all saved; go on with: metric-depth train {args.recipe} '
            f'--out {args.out}{data}{frames} --resume'
        )
    elif first:
        print(f'checkpoint in {folder}; try it: metric-depth predict IMAGE --model {folder} ...')
    return 130 if interruption.asked else 0
