"""docs/evaluation.md says what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest

from metric_depth_ros.cli.evaluate import BENCHMARK_NAMES, PROTOCOL_NAMES
from metric_depth_ros.evaluation.importers import IMPORTERS
from metric_depth_ros.evaluation.protocols import BENCHMARKS, PROTOCOLS

ROWS = (Path(__file__).parents[2] / 'docs' / 'evaluation.md').read_text().splitlines()


@pytest.mark.parametrize('name', IMPORTERS)
def test_datasets(name: str) -> None:
    i = IMPORTERS[name]
    assert f'| `{i.name}` | {i.source} | `{i.layout}` | {i.licence} |' in ROWS


@pytest.mark.parametrize('name', PROTOCOLS)
def test_protocols(name: str) -> None:
    p = PROTOCOLS[name]
    assert f'| `{p.name}` | {p.describe()} | {p.kitti_crop} | {p.source} |' in ROWS


def test_names_on_the_command_line() -> None:
    assert set(PROTOCOL_NAMES) <= set(PROTOCOLS)
    assert set(BENCHMARK_NAMES) == set(BENCHMARKS)
    for name in BENCHMARK_NAMES:
        assert any(row.startswith(f'| `{name}` |') for row in ROWS)
