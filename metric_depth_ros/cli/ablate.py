"""`metric-depth ablate`: variants of a recipe, trained alike, as a table."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        'ablate',
        help='train variants of a recipe and compare them',
        description='Train every variant of a suite, judge each on the same frames and write '
        'OUT/table.md and OUT/table.json. Called again, it goes on where it stopped.',
        epilog='example: metric-depth ablate grin --out runs/grin-ablation',
    )
    parser.add_argument('suite', help='name of a suite of the package, or a YAML file')
    parser.add_argument('--out', type=Path, required=True, help='folder of the runs')
    parser.add_argument(
        '--frames', type=Path, help='folder of the rendered frames, to share them between suites'
    )
    parser.add_argument(
        '--only', nargs='+', default=[], metavar='NAME', help='these variants, not all'
    )
    parser.add_argument(
        '--data', type=Path, nargs='+', default=[], metavar='MANIFEST',
        help='datasets to judge on too, as of metric-depth evaluate',
    )  # fmt: skip
    parser.add_argument('--device', default='auto', metavar='D', help="'auto', 'cpu', 'cuda', ...")
    parser.add_argument('--json', action='store_true', help='print JSON for scripts')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.markdown import Markdown

    from ..predictor import find_device
    from ..training.ablation import ablate
    from ..training.suite import load_suite
    from .progress import progress_bars
    from .training_bars import Interruption, TrainingBars

    suite = load_suite(args.suite)
    with progress_bars() as bars, Interruption() as interruption:
        shown = TrainingBars(bars, interruption)
        table = ablate(
            suite,
            args.out,
            frames=args.frames,
            only=args.only,
            manifests=args.data,
            device=find_device(args.device),
            stop=lambda: interruption.asked,
            show=lambda name, progress: shown.show(progress, name),
        )
    if table is None:
        print('stopped, all saved; go on with the same command')
        return 130
    if args.json:
        print(json.dumps(table.json(), indent=2))
    else:
        Console().print(Markdown(table.markdown()))
    return 0
