"""`metric-depth import`: public datasets as manifests."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import MetricDepthError

if TYPE_CHECKING:
    from ..evaluation.importers import Entry, Importer, Problem

_SHOWN = 20  # problems in the terminal; the file beside the manifest has them all


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        'import',
        help='make a manifest of a public dataset',
        description='Read a public dataset in the layout that it is published in and write a '
        'manifest of its frames. Files that are missing or broken are counted and named. Without '
        'ROOT, tell the layouts, splits, variants and cameras of the known datasets.',
        epilog='example: metric-depth import kitti /data/kitti --out kitti.jsonl --split eigen',
    )
    parser.add_argument('dataset', nargs='?', metavar='DATASET', help='see the list')
    parser.add_argument('root', nargs='?', type=Path, metavar='ROOT', help='where its files are')
    parser.add_argument('--out', type=Path, metavar='MANIFEST', help='the file to write')
    parser.add_argument('--split', metavar='S', help='part of the dataset; else the usual one')
    parser.add_argument(
        '--variant', metavar='V', help='of datasets rendered in several ways; else the first'
    )
    parser.add_argument(
        '--camera', nargs='+', metavar='C', help='of datasets with several; else the usual one'
    )
    parser.add_argument('--limit', type=int, metavar='N', help='look at so many frames only')
    parser.add_argument(
        '--quick',
        action='store_true',
        help='look only whether files are there, do not read every one of them',
    )
    parser.add_argument('--json', action='store_true', help='print JSON for scripts')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ..evaluation.importers import IMPORTERS

    if args.dataset is not None and args.dataset not in IMPORTERS:
        raise MetricDepthError(f'no dataset {args.dataset!r}, expected {", ".join(IMPORTERS)}')
    if args.root is None and args.out is None:
        known = IMPORTERS.values() if args.dataset is None else [IMPORTERS[args.dataset]]
        _list(known, as_json=args.json)
        return 0
    if args.root is None or args.out is None:
        raise MetricDepthError('expected DATASET ROOT --out MANIFEST')
    if args.limit is not None and args.limit < 1:
        raise MetricDepthError(f'--limit is {args.limit}, expected at least 1')
    importer = IMPORTERS[args.dataset]
    options = _options(importer, args)
    frames, problems = _write(importer, options, args)
    listing = args.out.with_suffix('.problems.txt')
    if problems:
        listing.write_text(''.join(f'{problem}\n' for problem in problems))
    else:
        listing.unlink(missing_ok=True)
    if args.json:
        print(_summary(importer, args.out, frames, problems))
    else:
        _show(importer, args.out, frames, problems, listing)
    return 0 if frames else 1


def _options(importer: Importer, args: argparse.Namespace) -> dict[str, Any]:
    """What the importer shall read with.

    Raises:
        MetricDepthError: a split, variant or camera that it does not have.
    """
    options: dict[str, Any] = {}
    if args.split is not None:
        _check('--split', args.split, importer.splits, importer.name)
        options['split'] = args.split
    if args.variant is not None:
        _check('--variant', args.variant, importer.variants, importer.name)
        options['variant'] = args.variant
    if args.camera is not None:
        for camera in args.camera:
            _check('--camera', camera, importer.cameras, importer.name)
        options['cameras'] = tuple(args.camera)
    return options


def _check(option: str, value: str, known: tuple[str, ...], dataset: str) -> None:
    if not known:
        raise MetricDepthError(f'{dataset} takes no {option}')
    if value not in known:
        raise MetricDepthError(f'{option} is {value!r}, expected one of {", ".join(known)}')


def _write(
    importer: Importer, options: dict[str, Any], args: argparse.Namespace
) -> tuple[int, list[Problem]]:
    """Write the manifest; how many frames it has, and what could not be used."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from ..evaluation.importers import Problem
    from ..evaluation.importers.writing import write_manifest

    found: Iterator[Entry | Problem] = importer.read(args.root, **options)
    if args.limit is not None:
        found = islice(found, args.limit)
    frames, problems = 0, []
    columns = (SpinnerColumn(), TextColumn('{task.description}'), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(importer.name)
        for item in write_manifest(found, args.out, check=not args.quick):
            if isinstance(item, Problem):
                problems.append(item)
            else:
                frames += 1
            progress.update(
                task, description=f'{importer.name}: {frames} frames, {len(problems)} problems'
            )
    return frames, problems


def _summary(importer: Importer, out: Path, frames: int, problems: list[Problem]) -> str:
    return json.dumps(
        {
            'dataset': importer.name,
            'manifest': str(out) if frames else None,
            'frames': frames,
            'problems': [{'path': str(p.path), 'reason': p.reason} for p in problems],
        },
        indent=2,
    )


def _show(
    importer: Importer, out: Path, frames: int, problems: list[Problem], listing: Path
) -> None:
    for problem in problems[:_SHOWN]:
        print(problem, file=sys.stderr)
    if problems:
        more = f'{len(problems) - _SHOWN} more; ' if len(problems) > _SHOWN else ''
        print(f'{more}{len(problems)} missing or broken, all in {listing}', file=sys.stderr)
    if frames:
        print(f'{out}: {frames} frames of {importer.name}')
    else:
        print(f'no usable frame of {importer.name}, no manifest written', file=sys.stderr)


def _list(importers: Iterable[Importer], *, as_json: bool) -> None:
    if as_json:
        keys = ('name', 'layout', 'source', 'licence', 'splits', 'variants', 'cameras')
        known = [dataclasses.asdict(importer) for importer in importers]
        print(json.dumps([{key: one[key] for key in keys} for one in known], indent=2))
        return

    for one in importers:
        print(f'{one.name}: {one.source}. Licence: {one.licence}.')
        print(f'    ROOT: {one.layout}')
        for option, names in (
            ('--split', one.splits),
            ('--variant', one.variants),
            ('--camera', one.cameras),
        ):
            if names:
                print(f'    {option}: {", ".join(names)}')
