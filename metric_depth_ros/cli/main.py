"""`metric-depth`: finds the subcommand, runs it, turns bad input into one line and status 2."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys

from ..errors import MetricDepthError
from . import ablate, evaluate, fuse, import_data, models, predict, render, replay, train

COMMANDS = (models, predict, replay, evaluate, import_data, render, fuse, train, ablate)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='metric-depth',
        description='Metric depth with an error bar from any calibrated camera.',
        epilog='Start with: metric-depth predict photo.jpg --fov 70 --out depth/',
    )
    subparsers = parser.add_subparsers(dest='command', metavar='COMMAND', required=True)
    for command in COMMANDS:
        command.add_parser(subparsers)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 done, 2 bad input (one line on stderr), 130 interrupted."""
    args = build_parser().parse_args(argv)
    # Asked to end, end as after Ctrl-C: what has been started is stopped, nothing is left half.
    with contextlib.suppress(ValueError):  # not in the main thread: somebody else's program
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return args.run(args)
    except (MetricDepthError, OSError) as error:
        print(f'metric-depth {args.command}: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f'metric-depth {args.command}: interrupted', file=sys.stderr)
        return 130


if __name__ == '__main__':
    sys.exit(main())
