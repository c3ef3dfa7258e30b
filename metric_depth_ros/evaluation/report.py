"""A replay's report as JSON for programs, CSV for spreadsheets and a table for people."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .metrics import Scores, metric_names
from .replay import FrameRecord, ReplayReport
from .results import PROTOCOLS, Result

if TYPE_CHECKING:
    from rich.console import RenderableType

# Columns of the table: metric, heading with its unit, decimals.
_COLUMNS = (
    ('abs_rel', 'AbsRel', 3),
    ('rmse', 'RMSE (m)', 3),
    ('silog', 'SILog', 1),
    ('delta1', 'δ1', 3),
    ('delta2', 'δ2', 3),
    ('coverage', 'coverage', 3),
)

_NAMED_DROPS = 4


def write_json(report: ReplayReport, path: Path) -> None:
    """Write the whole report; what is unknown (NaN) is null.

    Keys: results [{model, data, protocol, frames, metrics}], replay (what was sent, processed and
    dropped, latency, rate), frames (one each) and problems (messages that could not be used).
    """
    content = {
        **results_json(report.results),
        'replay': {
            'bag': str(report.bag),
            'model': report.model,
            'topics': asdict(report.topics),
            'sent': len(report.frames),
            'processed': len(report.processed),
            'dropped': len(report.dropped),
            'dropped_stamps_ns': [frame.stamp_ns for frame in report.dropped],
            'latency_p50_s': report.latency_s(0.5),
            'latency_p99_s': report.latency_s(0.99),
            'rate_hz': report.rate_hz,
            'duration_s': report.duration_s,
        },
        'frames': [
            {
                'stamp_ns': frame.stamp_ns,
                'frame_id': frame.frame_id,
                'dropped': frame.dropped,
                'latency_s': frame.latency_s,
                'metrics': {name: asdict(scores) for name, scores in frame.scores.items()},
            }
            for frame in report.frames
        ],
        'problems': [asdict(problem) for problem in report.problems],
    }
    path.write_text(json.dumps(_without_nan(content), indent=2, allow_nan=False) + '\n')


def write_csv(report: ReplayReport, path: Path) -> None:
    """Write one row a frame and protocol; cells of what is unknown are empty."""
    with path.open('w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(
            ('stamp_ns', 'frame_id', 'dropped', 'latency_s', 'protocol', *metric_names())
        )
        for frame in report.frames:
            writer.writerows(_rows(frame))


def _rows(frame: FrameRecord) -> list[list[Any]]:
    start = [frame.stamp_ns, frame.frame_id, int(frame.dropped), _cell(frame.latency_s)]
    if not frame.scores:
        return [[*start, '', *('' for _ in metric_names())]]
    return [
        [*start, protocol, *(_cell(value) for value in asdict(scores).values())]
        for protocol, scores in frame.scores.items()
    ]


def results_json(results: Sequence[Result]) -> dict[str, Any]:
    """{results: [{model, data, protocol, frames, metrics}]}; what is unknown (NaN) is null."""
    return _without_nan({'results': [asdict(result) for result in results]})


def _cell(value: float | None) -> float | str:
    return '' if value is None or math.isnan(value) else value


def _without_nan(value: Any) -> Any:
    """The same with None for numbers that JSON cannot write."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def summary(report: ReplayReport) -> RenderableType:
    """What a person wants to know, to be printed by rich: the table and a line on the replay."""
    from rich.console import Group
    from rich.text import Text

    lines = [Text(line) for line in summary_lines(report)]
    if not report.results:
        return Group(*lines)
    return Group(*tables(report.results, report.model), *lines)


def summary_lines(report: ReplayReport) -> list[str]:
    """Frames, latency, drops and problems of a replay in plain lines."""
    lines = [
        f'{len(report.frames)} frames sent, {len(report.processed)} processed, '
        f'{len(report.dropped)} dropped, {report.rate_hz:.2f} frames/s'
    ]
    p50, p99 = report.latency_s(0.5), report.latency_s(0.99)
    if p50 is not None and p99 is not None:
        lines.append(f'latency {1000 * p50:.0f} ms p50, {1000 * p99:.0f} ms p99')
    if not report.results:
        lines.append('no true depth to compare with: no metrics')
    lines += _dropped_line(report)
    by_reason: dict[tuple[str, str], int] = {}
    for problem in report.problems:
        key = (problem.topic or 'bag', problem.reason)
        by_reason[key] = by_reason.get(key, 0) + 1
    lines += [f'{count} unusable on {topic}: {why}' for (topic, why), count in by_reason.items()]
    return lines


def _dropped_line(report: ReplayReport) -> list[str]:
    """Which frames were dropped, by their stamps in seconds; all of them are in the JSON."""
    if not report.dropped:
        return []
    stamps = [f'{frame.stamp_ns / 1e9:.3f}' for frame in report.dropped[:_NAMED_DROPS]]
    more = len(report.dropped) - len(stamps)
    return [f'dropped: {", ".join(stamps)}' + (f' and {more} more' if more else '')]


def tables(results: Sequence[Result], *models: str) -> list[RenderableType]:
    """A table for each set and protocol, to be printed by rich; rows of `models` stand out."""
    from rich import box
    from rich.table import Table

    found: list[RenderableType] = []
    for data in dict.fromkeys(result.data for result in results):
        for protocol in PROTOCOLS:
            rows = [r for r in results if (r.data, r.protocol) == (data, protocol.name)]
            forgiven = 'no alignment' if protocol.alignment == 'none' else 'medians aligned'
            table = Table(
                title=f'{data}, mean of {rows[0].frames} frames, {protocol.min_depth:g} to '
                f'{protocol.max_depth:g} m, {forgiven}',
                title_justify='left',
                box=box.SIMPLE_HEAD,
            )
            table.add_column('model', no_wrap=True)
            for _, heading, _ in _COLUMNS:
                table.add_column(heading, justify='right', no_wrap=True)
            for result in rows:
                style = 'bold' if result.model in models else 'dim'
                table.add_row(result.model, *_formatted(result.metrics), style=style)
            found.append(table)
    return found


def _formatted(scores: Scores) -> list[str]:
    return [f'{getattr(scores, name):.{decimals}f}' for name, _, decimals in _COLUMNS]
