"""A replay's report as JSON for programs, CSV for spreadsheets and a table for people."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .analysis import analyse
from .evaluation import DEFAULT_PROTOCOLS, warnings
from .metrics import metric_names
from .replay import FrameRecord, ReplayReport
from .results import Result
from .side_tables import printed, side_tables
from .tables import tables

if TYPE_CHECKING:
    from rich.console import RenderableType

_NAMED_DROPS = 4


def write_json(report: ReplayReport, path: Path) -> None:
    """Write the whole report; what is unknown (NaN) is null.

    Keys: results [{model, data, protocol, frames, metrics}], replay (what was sent, processed and
    dropped, latency, rate), frames (one each), boundaries and sequences (of the predictions that
    have true depth) and problems (messages that could not be used).
    """
    found = analyse(report.evaluation)
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
        'boundaries': None if found.boundaries is None else asdict(found.boundaries),
        'sequences': [asdict(scores) for scores in found.sequences],
        'problems': [asdict(problem) for problem in report.problems],
    }
    path.write_text(json.dumps(without_nan(content), indent=2, allow_nan=False) + '\n')


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
    start = [frame.stamp_ns, frame.frame_id, int(frame.dropped), cell(frame.latency_s)]
    if not frame.scores:
        return [[*start, '', *('' for _ in metric_names())]]
    return [
        [*start, protocol, *(cell(value) for value in asdict(scores).values())]
        for protocol, scores in frame.scores.items()
    ]


def results_json(results: Sequence[Result]) -> dict[str, Any]:
    """{results: [{model, data, protocol, frames, metrics}]}; what is unknown (NaN) is null."""
    return without_nan({'results': [asdict(result) for result in results]})


def cell(value: float | None) -> float | str:
    """For a spreadsheet: empty if unknown."""
    return '' if value is None or math.isnan(value) else value


def without_nan(value: Any) -> Any:
    """The same value with None for numbers that JSON cannot write."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
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
    beside = side_tables({report.model: analyse(report.evaluation)})
    shown = tables(report.results, DEFAULT_PROTOCOLS, [report.model])
    return Group(*shown, *map(printed, beside), *lines)


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
    lines += warnings([report.evaluation])
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
