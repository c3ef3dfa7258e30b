"""`metric-depth models`: every model this installation knows, and what one is made of."""

from __future__ import annotations

import argparse
import dataclasses
import json


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        'models',
        help='list the known models',
        description='List every known model: shipped checkpoints, presets without weights, and '
        'public depth models, which are fetched from the hub when first used. '
        'With a MODEL, list its modules and how many parameters each has.',
        epilog='example: metric-depth models --json | jq .[0].checkpoint; '
        'metric-depth models grin',
    )
    parser.add_argument(
        'model', nargs='?', metavar='MODEL', help='a name of the list, or a checkpoint folder'
    )
    parser.add_argument('--json', action='store_true', help='print JSON for scripts')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if args.model is None:
        _show_all(as_json=args.json)
    else:
        _show_one(args.model, as_json=args.json)
    return 0


def _show_all(*, as_json: bool) -> None:
    from .. import catalogue

    entries = catalogue.models()
    if as_json:
        print(json.dumps([dataclasses.asdict(entry) for entry in entries], indent=2))
        return

    from rich.console import Console
    from rich.table import Table

    own = Table('name', 'method', 'licence', 'source', 'checkpoint')
    own.add_column('parameters', justify='right')
    for entry in entries:
        if entry.hub_id is not None:
            continue
        default = ' (default)' if entry.name == catalogue.SHIPPED_DEFAULT else ''
        own.add_row(
            entry.name + default,
            entry.method,
            entry.licence,
            entry.source,
            entry.checkpoint or 'none: train it',
            f'{entry.parameters:,}',
        )
    Console().print(own)
    # Lines rather than a table, which would cut the ids where a terminal is narrow.
    print('On the hub, fetched when first used:')
    for entry in entries:
        if entry.hub_id is not None:
            kind = entry.quantity.split()[0]
            marks = (' *' if entry.licence_doubt else '') + (' +' if entry.pickled else '')
            print(f'  {entry.hub_id:<57} {kind:<8} {entry.scenes:<7} {entry.licence}{marks}')
    print('* its authors state another one elsewhere, or none with these weights: ask --json why')
    print('+ had pickled weights alone: docs/coarse_models.md says how to get others')


def _show_one(model: str, *, as_json: bool) -> None:
    from .. import checkpoint

    network = checkpoint.architecture(model)
    total = sum(parameter.numel() for parameter in network.parameters())
    counts = checkpoint.parameter_counts(network)
    if as_json:
        print(json.dumps({'model': model, 'parameters': total, 'modules': counts}, indent=2))
        return

    from rich.console import Console
    from rich.table import Table

    table = Table('module', show_footer=True)
    table.columns[0].footer = model
    table.add_column('parameters', f'{total:,}', justify='right')
    table.add_column('share', '100.0%', justify='right')
    for name, count in counts.items():
        *parents, last = name.split('.')
        table.add_row('  ' * len(parents) + last, f'{count:,}', f'{count / total:.1%}')
    Console().print(table)
