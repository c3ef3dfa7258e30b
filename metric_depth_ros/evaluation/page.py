"""Everything an evaluation found on one HTML page that needs no other file and no network."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

from .analysis import Analysis
from .charts import confidence_chart, distance_chart, frames_chart, sparsification_chart
from .evaluation import Evaluation
from .metrics import Protocol
from .results import Result
from .side_tables import SideTable, side_tables
from .tables import COLUMNS, MORE_COLUMNS, Column, ResultTable, result_tables

_MIME = {'.png': 'image/png', '.jpg': 'image/jpeg'}


@dataclass(frozen=True)
class Picture:
    """A picture of a frame; the caption stands above it."""

    caption: str
    path: Path


@dataclass(frozen=True)
class ModelOnSet:
    """What the page shows of one model on one set."""

    evaluation: Evaluation
    analysis: Analysis
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True)
class Page:
    """What stands on the page.

    facts: what was run, by name, in a few words each.
    charts: SVG that no Evaluation has, by title; they come first.
    """

    title: str
    facts: Mapping[str, str]
    protocols: tuple[Protocol, ...]
    results: tuple[Result, ...]
    shown: tuple[ModelOnSet, ...]
    charts: Mapping[str, str]

    def html(self) -> str:
        """The page; pictures are read and become part of it."""
        body = '\n'.join((*self._head(), *self._tables(), *self._sets(), *self._unscored()))
        return (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f'<title>{escape(self.title)}</title>\n<style>{_STYLE}</style>\n</head>\n'
            f'<body>\n{body}\n</body>\n</html>\n'
        )

    def _head(self) -> Iterator[str]:
        yield f'<h1>{escape(self.title)}</h1>'
        facts = ''.join(
            f'<dt>{escape(name)}</dt><dd>{escape(value)}</dd>'
            for name, value in self.facts.items()
        )
        yield f'<dl>{facts}</dl>'
        if self.charts:
            yield f'<div class="charts">{_figures(self.charts)}</div>'

    def _tables(self) -> Iterator[str]:
        if not self.results:
            return
        yield '<h2>All models and baselines</h2>'
        models = {shown.evaluation.model for shown in self.shown}
        for table in result_tables(self.results, self.protocols):
            yield _table(table, models)
        yield (
            '<p class="note">Bold numbers are the best of their column. The baselines look at no '
            'image and know the truth of these very frames, which no model does.</p>'
        )

    def _sets(self) -> Iterator[str]:
        for data in dict.fromkeys(shown.evaluation.data for shown in self.shown):
            here = [shown for shown in self.shown if shown.evaluation.data == data]
            yield f'<h2>{escape(data)}</h2>'
            analyses = {shown.evaluation.model: shown.analysis for shown in here}
            abs_rels = {
                shown.evaluation.model: [frame.abs_rel for frame in shown.evaluation.frames]
                for shown in here
            }
            charts = {
                'Error by distance': distance_chart(analyses),
                'Sparsification': sparsification_chart(analyses),
                'RMSE at confidence': confidence_chart(analyses),
                'Error by frame': frames_chart(abs_rels),
            }
            yield f'<div class="charts">{_figures(charts)}</div>'
            for table in side_tables(analyses):
                yield _side_table(table)
            for shown in here:
                if shown.pictures:
                    yield f'<h3>{escape(shown.evaluation.model)}</h3>'
                for picture in shown.pictures:
                    yield _picture(picture)

    def _unscored(self) -> Iterator[str]:
        for shown in self.shown:
            missing = shown.evaluation.unscored
            if not missing:
                continue
            total = len(missing) + len(shown.evaluation.frames)
            rows = ''.join(
                f'<tr><td>{escape(m.name)}</td><td>{escape(m.reason)}</td></tr>' for m in missing
            )
            yield (
                f'<details open><summary>{len(missing)} of {total} frames of '
                f'{escape(shown.evaluation.data)} not scored for '
                f'{escape(shown.evaluation.model)}</summary>'
                f'<div class="wide"><table class="text">{rows}</table></div></details>'
            )


def _table(table: ResultTable, models: set[str]) -> str:
    columns = (*COLUMNS[:-1], *MORE_COLUMNS, COLUMNS[-1])
    best = {column.metric: _best(column, table) for column in columns}
    head = ''.join(f'<th>{escape(column.heading)}</th>' for column in columns)
    rows = []
    for result in table.rows:
        cells = ''.join(
            f'<td{_class(column.text(result.metrics) == best[column.metric])}>'
            f'{column.text(result.metrics)}</td>'
            for column in columns
        )
        kind = '' if result.model in models else ' class="baseline"'
        rows.append(
            f'<tr{kind}><th scope="row">{escape(result.model)}</th>{cells}'
            f'<td>{result.frames}</td></tr>'
        )
    return (
        f'<div class="wide"><table><caption>{escape(table.title)}</caption>'
        f'<thead><tr><th></th>{head}<th>frames</th></tr></thead>'
        f'<tbody>{"".join(rows)}</tbody></table></div>'
    )


def _best(column: Column, table: ResultTable) -> str:
    """The text of the best number of a column; '' where there is none or all are alike."""
    choose: Callable[..., Result] = min if column.best == 'smallest' else max
    known = [row for row in table.rows if column.text(row.metrics) != '–']
    if len({column.text(row.metrics) for row in known}) < 2:
        return ''
    return column.text(choose(known, key=lambda row: getattr(row.metrics, column.metric)).metrics)


def _class(best: bool) -> str:
    return ' class="best"' if best else ''


def _side_table(table: SideTable) -> str:
    head = ''.join(f'<th>{escape(heading)}</th>' for heading in table.headings)
    rows = ''.join(
        f'<tr><th scope="row">{escape(model)}</th>'
        f'{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>'
        for model, *cells in table.rows
    )
    return (
        f'<div class="wide"><table><caption>{escape(f"{table.title}: {table.note}")}</caption>'
        f'<thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _figures(charts: Mapping[str, str]) -> str:
    return ''.join(
        f'<figure><figcaption>{escape(title)}</figcaption>{svg}</figure>'
        for title, svg in charts.items()
        if svg
    )


def _picture(picture: Picture) -> str:
    data = base64.b64encode(picture.path.read_bytes()).decode()
    kind = _MIME[picture.path.suffix]
    caption = escape(picture.caption)
    return (
        f'<figure class="frame"><figcaption>{caption}</figcaption>'
        f'<img alt="{caption}" src="data:{kind};base64,{data}"></figure>'
    )


_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.45 system-ui, sans-serif; color: #1c2024; background: #fff;
  max-width: 1500px; margin: 2rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.6rem; margin: 0 0 .6rem; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .6rem; padding-top: .8rem; border-top: 1px solid #d8dce0;
  overflow-wrap: anywhere; }
h3 { font-size: 1rem; margin: 1.6rem 0 .3rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1.2rem; margin: 0; }
dt { color: #667; } dd { margin: 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .8rem 0 1.2rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: #556; padding-bottom: .3rem; }
th, td { padding: .22rem .8rem; text-align: right; white-space: nowrap; }
thead th { border-bottom: 1px solid #99a; font-weight: 600; }
th[scope=row], table.text td { text-align: left; font-weight: 600; }
table.text td { font-weight: 400; }
tr.baseline, tr.baseline th { color: #778; font-weight: 400; }
td.best { font-weight: 700; color: #005a9c; }
.note { color: #667; margin: -.4rem 0 0; }
.charts { display: flex; flex-wrap: wrap; gap: 1.2rem 2rem; margin: 1rem 0; }
.charts figure { flex: 1 1 400px; max-width: 620px; }
figure { margin: 0; } figcaption { font-weight: 600; margin: .4rem 0 .2rem; }
.charts svg { width: 100%; height: auto; }
.frame figcaption { font-weight: 400; color: #445; }
.frame img { width: 100%; height: auto; display: block; }
details { margin: 1.6rem 0; } summary { font-weight: 600; cursor: pointer; }
"""
