"""`metric-depth evaluate`: models on datasets, beside trivial baselines."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        'evaluate',
        help='score models on datasets with true depth',
        description='Score models on the frames of manifests, beside the best constant, the '
        'median depth and the mean of each image row, which all know the truth of these frames.',
        epilog='example: metric-depth render --out held/ --split heldout --frames 200 && '
        'metric-depth evaluate --data held/manifest.jsonl',
    )
    parser.add_argument('--data', type=Path, nargs='+', required=True, metavar='MANIFEST')
    parser.add_argument(
        '--model', nargs='+', default=['default'], metavar='M',
        help='names of `metric-depth models`, or checkpoint folders',
    )  # fmt: skip
    parser.add_argument(
        '--samples',
        type=int,
        metavar='N',
        help='draws an image; else as many as the model says',
    )
    parser.add_argument('--steps', type=int, metavar='T', help='denoising steps a draw')
    parser.add_argument('--seed', type=int, default=0, metavar='S')
    parser.add_argument('--device', default='auto', metavar='D', help="'auto', 'cpu', 'cuda', ...")
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the results for scripts')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.progress import track

    from ..evaluation.datasets import Manifest
    from ..evaluation.report import results_json, tables
    from ..evaluation.results import Result, Scoreboard
    from ..predictor import load_predictor

    sets = [Manifest(path) for path in args.data]
    results: dict[tuple[str, str, str], Result] = {}  # baselines are the same for every model
    names = []
    for model in args.model:
        predictor = load_predictor(
            model,
            device=args.device,
            num_samples=args.samples,
            num_steps=args.steps,
            seed=args.seed,
        )
        names.append(predictor.name)
        for manifest in sets:
            board = Scoreboard(predictor.name, str(manifest.path))
            for sample in track(
                manifest,
                f'{predictor.name} on {manifest.path}',
                total=len(manifest),
                console=Console(stderr=True),
            ):
                board.add(predictor(sample.frame).depth, sample.depth)
            for result in board.results():
                results[result.model, result.data, result.protocol] = result
    console = Console()
    for table in tables(list(results.values()), *names):
        console.print(table)
    if args.json is not None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(results_json(list(results.values())), indent=2) + '\n')
    return 0
