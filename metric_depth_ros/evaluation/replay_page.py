"""The page of a replay: what `evaluate` shows, with latency and drops."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .analysis import analyse
from .charts import latency_chart
from .evaluation import DEFAULT_PROTOCOLS
from .page import ModelOnSet, Page, Picture
from .replay import ReplayReport
from .report import summary_lines


def replay_page(report: ReplayReport, pictures: Sequence[Path]) -> Page:
    """The page of a replay.

    Args:
        pictures: of `save_gallery`, which have their captions in them.
    """
    first, *rest = summary_lines(report)
    facts = {'model': report.model, 'bag': str(report.bag), 'frames': first}
    for number, line in enumerate(rest, 1):
        kind = line.split(maxsplit=1)[0].rstrip(':')
        facts[kind if kind in ('latency', 'dropped') else f'note {number}'] = line
    if report.results:
        facts['protocol'] = '; '.join(f'{p.name}: {p.describe()}' for p in DEFAULT_PROTOCOLS)
    latency = latency_chart([frame.latency_s for frame in report.frames])
    shown = ModelOnSet(
        report.evaluation,
        analyse(report.evaluation),
        tuple(Picture(path.stem.replace('_', ' '), path) for path in pictures),
    )
    return Page(
        f'Replay of {report.bag.name}',
        facts,
        DEFAULT_PROTOCOLS,
        report.results,
        (shown,),
        {'Latency of each frame': latency} if latency else {},
    )
