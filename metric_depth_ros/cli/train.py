"""`metric-depth train`: a recipe in, a checkpoint out."""

from __future__ import annotations

import argparse
import math
from pathlib import Path


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        'train',
        help='train a model from a recipe',
        description='Render the frames a recipe asks for, train on them, calibrate the error bar '
        'on held-out scenes and write a checkpoint to OUT/checkpoint.',
        epilog='example: metric-depth train grin-small --out runs/grin-small',
    )
    parser.add_argument('recipe', help='name of a recipe of the package, or a YAML file')
    parser.add_argument('--out', type=Path, required=True, help='folder of the run')
    parser.add_argument('--resume', action='store_true', help='go on where the run stopped')
    parser.add_argument(
        '--frames', type=Path, help='folder of the rendered frames, to share them between runs'
    )
    parser.add_argument('--device', default='auto', help="'auto', 'cpu', 'cuda', ...")
    parser.add_argument(
        '--minutes', type=float, default=math.inf, help='stop after this long, to be resumed'
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    from ..predictor import find_device
    from ..training.loop import Progress, train
    from ..training.recipe import load_recipe

    recipe = load_recipe(args.recipe)
    columns = (
        TextColumn('{task.description}'),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns) as bars:
        tasks = {}

        def show(progress: Progress) -> None:
            key = progress.stage if progress.stage == 'train' else (progress.stage, progress.note)
            if key not in tasks:
                tasks[key] = bars.add_task(progress.stage, total=progress.total)
            bars.update(
                tasks[key],
                completed=progress.done,
                description=f'{progress.stage} {progress.note}'.strip(),
            )

        folder = train(
            recipe,
            args.out,
            resume=args.resume,
            frames=args.frames,
            device=find_device(args.device),
            max_minutes=args.minutes,
            show=show,
        )
    if folder is None:
        print(f'stopped after {args.minutes:g} minutes; go on with --resume')
    else:
        print(f'checkpoint in {folder}; try it: metric-depth predict IMAGE --model {folder} ...')
    return 0
