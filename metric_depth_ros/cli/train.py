"""`metric-depth train`: a recipe in, a checkpoint out."""

from __future__ import annotations

import argparse
import math
import os
import signal
from pathlib import Path

from .progress import progress_bars


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
    parser.add_argument(
        '--tensorboard',
        action='store_true',
        help='write OUT/tensorboard, for tensorboard --logdir',
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ..predictor import find_device
    from ..training.loop import Progress, train
    from ..training.recipe import load_recipe

    recipe = load_recipe(args.recipe)
    first = os.environ.get('RANK', '0') == '0'  # of the processes that torchrun has started
    at = ''
    with progress_bars(disable=not first) as bars, Interruption() as interruption:
        tasks = {}

        def show(progress: Progress) -> None:
            nonlocal at
            training = progress.stage == 'train'
            interruption.patient = training
            if training:
                at = f' at step {progress.done} of {progress.total}'
            key = progress.stage if training else (progress.stage, progress.note)
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
            tensorboard=args.tensorboard,
            stop=lambda: interruption.asked,
            show=show,
        )
    if folder is None and first:
        frames = f' --frames {args.frames}' if args.frames else ''
        print(
            f'stopped{at}, all saved; go on with: metric-depth train {args.recipe} '
            f'--out {args.out}{frames} --resume'
        )
    elif first:
        print(f'checkpoint in {folder}; try it: metric-depth predict IMAGE --model {folder} ...')
    return 130 if interruption.asked else 0


class Interruption:
    """SIGINT and SIGTERM, noted while training, to stop when a step is done and the state saved.

    asked: whether one has come. patient: whether to wait for the step; if not, and when asked a
    second time, stop at once.
    """

    def __init__(self) -> None:
        self.asked = False
        self.patient = False

    def __enter__(self) -> Interruption:
        self._before = {s: signal.signal(s, self._note) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: object) -> None:
        if self.asked or not self.patient:
            raise KeyboardInterrupt
        self.asked = True
