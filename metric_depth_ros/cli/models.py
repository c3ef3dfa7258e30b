"""`metric-depth models`: every model this installation knows."""

from __future__ import annotations

import argparse
import dataclasses
import json


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        'models',
        help='list the known models',
        description='List every known model: shipped checkpoints and presets without weights.',
        epilog='example: metric-depth models --json | jq .[0].checkpoint',
    )
    parser.add_argument('--json', action='store_true', help='print JSON for scripts')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from .. import checkpoint

    entries = checkpoint.models()
    if args.json:
        print(json.dumps([dataclasses.asdict(entry) for entry in entries], indent=2))
        return 0

    from rich.console import Console
    from rich.table import Table

    table = Table('name', 'method', 'licence', 'source', 'checkpoint')
    table.add_column('parameters', justify='right')
    for entry in entries:
        default = ' (default)' if entry.name == checkpoint.SHIPPED_DEFAULT else ''
        table.add_row(
            entry.name + default,
            entry.method,
            entry.licence,
            entry.source,
            entry.checkpoint or 'none: train it',
            f'{entry.parameters:,}',
        )
    Console().print(table)
    return 0
