"""Evaluations as JSON for programs and CSV for spreadsheets."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, astuple, fields
from pathlib import Path
from typing import Any

from .analysis import Analysis
from .boundaries import BoundaryScores
from .evaluation import Evaluation
from .metrics import metric_names
from .report import cell, without_nan
from .results import Result


def write_evaluation_json(
    path: Path,
    results: Sequence[Result],
    evaluations: Sequence[Evaluation],
    analyses: Sequence[Analysis],
) -> None:
    """Write everything but the single frames; what is unknown (NaN) is null.

    Keys: results [{model, data, protocol, frames, metrics}], protocols (by name, what they do),
    analyses [{model, data, by_distance, uncertainty, curves, boundaries, sequences}] in the order
    of the evaluations,
    quantities [{model, data, slope, error_as_depth, error_as_ray, error_truth_as_ray, frames,
    swapped}], and unscored [{model, data, name, reason}].
    """
    protocols = {p.name: p for evaluation in evaluations for p in evaluation.protocols}
    content: dict[str, Any] = {
        'results': [asdict(result) for result in results],
        'protocols': {name: asdict(protocol) for name, protocol in protocols.items()},
        'analyses': [
            {'model': e.model, 'data': e.data, **asdict(analysis)}
            for e, analysis in zip(evaluations, analyses, strict=True)
        ],
        'quantities': [
            {'model': e.model, 'data': e.data, **asdict(e.quantity())} for e in evaluations
        ],
        'unscored': [
            {'model': e.model, 'data': e.data, **asdict(frame)}
            for e in evaluations
            for frame in e.unscored
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(without_nan(content), indent=2, allow_nan=False) + '\n')


def write_evaluation_csv(path: Path, evaluations: Sequence[Evaluation]) -> None:
    """Write a row for each model, frame and protocol; one with the reason for what has none."""
    names = metric_names()
    edges = [field.name for field in fields(BoundaryScores)]
    with path.open('w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(
            ('data', 'model', 'frame', 'protocol', *names, *edges, 'seconds', 'not_scored_because')
        )
        for e in evaluations:
            for frame in e.frames:
                drawn, seconds = frame.scored.boundaries, cell(frame.seconds)
                at_edges = [''] * len(edges) if drawn is None else map(cell, astuple(drawn))
                end = [*at_edges, seconds, '']
                for protocol, scores in frame.scored.scores.items():
                    numbers = [cell(value) for value in asdict(scores).values()]
                    writer.writerow((e.data, e.model, frame.name, protocol, *numbers, *end))
            for missing in e.unscored:
                blank = [''] * (len(names) + len(edges) + 1)
                writer.writerow((e.data, e.model, missing.name, '', *blank, missing.reason))
