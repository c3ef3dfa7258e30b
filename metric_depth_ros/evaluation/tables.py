"""Results as tables: what is in which column, and how a terminal shows it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .metrics import Protocol, Scores
from .results import Result

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class Column:
    """One metric of a table. best: whether the smallest or the largest number is the best."""

    metric: str
    heading: str
    decimals: int
    best: str

    def text(self, scores: Scores) -> str:
        """The number as it is shown; a dash for none."""
        value = getattr(scores, self.metric)
        return f'{value:.{self.decimals}f}' if value == value else '–'


COLUMNS = (
    Column('abs_rel', 'AbsRel', 3, 'smallest'),
    Column('rmse', 'RMSE (m)', 3, 'smallest'),
    Column('silog', 'SILog', 1, 'smallest'),
    Column('delta1', 'δ1', 3, 'largest'),
    Column('delta2', 'δ2', 3, 'largest'),
    Column('coverage', 'coverage', 3, 'largest'),
)
# A page has room for these too, before the coverage.
MORE_COLUMNS = (
    Column('sq_rel', 'SqRel (m)', 3, 'smallest'),
    Column('rmse_log', 'RMSE log', 3, 'smallest'),
    Column('log10', 'log10', 3, 'smallest'),
    Column('delta3', 'δ3', 3, 'largest'),
)


@dataclass(frozen=True)
class ResultTable:
    """The rows of one set of frames and protocol."""

    title: str
    rows: tuple[Result, ...]


def result_tables(
    results: Sequence[Result], protocols: Sequence[Protocol]
) -> Iterator[ResultTable]:
    """A table for each set and protocol that has results."""
    for data in dict.fromkeys(result.data for result in results):
        for protocol in protocols:
            rows = [r for r in results if (r.data, r.protocol) == (data, protocol.name)]
            if not rows:
                continue
            counts = {result.frames for result in rows}
            frames = f'{max(counts)} frames' if len(counts) == 1 else f'up to {max(counts)} frames'
            yield ResultTable(
                f'{data}, {protocol.name}: {frames}, {protocol.describe()}', tuple(rows)
            )


def tables(
    results: Sequence[Result], protocols: Sequence[Protocol], models: Collection[str]
) -> list[RenderableType]:
    """The same to be printed by rich; rows of `models` stand out among the baselines."""
    from rich import box
    from rich.table import Table

    found: list[RenderableType] = []
    for content in result_tables(results, protocols):
        table = Table(
            title=content.title,
            title_justify='left',
            box=box.SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
        )
        table.add_column('model')
        for column in COLUMNS:
            width = max(len(column.heading), 6)  # a narrow terminal wraps names, never numbers
            table.add_column(column.heading, justify='right', no_wrap=True, min_width=width)
        differ = len({result.frames for result in content.rows}) > 1
        if differ:
            table.add_column('frames', justify='right')
        for result in content.rows:
            cells = [column.text(result.metrics) for column in COLUMNS]
            cells += [str(result.frames)] if differ else []
            style = 'bold' if result.model in models else 'dim'
            table.add_row(result.model, *cells, style=style)
        found.append(table)
    return found
