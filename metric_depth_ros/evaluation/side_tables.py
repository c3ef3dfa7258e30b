"""What the tables of results do not say: how error bars, drawn edges and sequences fare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

from .analysis import Analysis

if TYPE_CHECKING:
    from rich.table import Table

_NONE = '–'


@dataclass(frozen=True)
class SideTable:
    """A table of text. headings: of the columns after the first, which names the model.

    note: what the numbers are; stands with the title where there is room.
    """

    title: str
    note: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def side_tables(analyses: Mapping[str, Analysis]) -> Iterator[SideTable]:
    """Those tables about the models of one set, by name, that have any row."""
    for table in (_error_bars(analyses), _boundaries(analyses), _sequences(analyses)):
        if table.rows:
            yield table


def printed(table: SideTable) -> Table:
    """The same to be printed by rich."""
    from rich import box
    from rich.table import Table

    drawn = Table(
        title=table.title, title_justify='left', box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    drawn.add_column('model')
    for heading in table.headings:
        drawn.add_column(heading, justify='right', no_wrap=heading != 'sequence', overflow='fold')
    for row in table.rows:
        drawn.add_row(*row)
    return drawn


def _error_bars(analyses: Mapping[str, Analysis]) -> SideTable:
    rows = []
    for model, analysis in analyses.items():
        s = analysis.uncertainty
        if s is not None:
            shares = (f'{share:.1%}' for share in (s.coverage_1, s.coverage_2))
            rest = (f'{number:.3f}' for number in (s.spearman, s.ause, s.ause_constant))
            rows.append((model, *shares, *rest))
    return SideTable(
        'Error bars',
        '68.3 % and 95.4 % within one and two sigma would be Gaussian; rank correlation with the '
        'error; area under the sparsification error, beside that of an error bar that is the same '
        'everywhere',
        ('within 1σ', 'within 2σ', 'Spearman', 'AUSE', 'AUSE of a constant'),
        tuple(rows),
    )


def _boundaries(analyses: Mapping[str, Analysis]) -> SideTable:
    rows = []
    for model, analysis in analyses.items():
        if analysis.boundaries is not None:
            *distances, precision, recall, f1 = astuple(analysis.boundaries)
            shares = (_number(share, 3) for share in (precision, recall, f1))
            rows.append((model, *(_number(pixels, 2) for pixels in distances), *shares))
    return SideTable(
        'Boundaries',
        'mean over frames, of the whole frame. DBE: iBims-1, pixels from predicted to labelled '
        'edges (accuracy) and back (completeness); PDBE: SharpDepth, the same against Canny edges '
        'of the truth; precision and recall of edge pixels: BetterDepth; F1: Depth Pro, '
        'DepthMaster, blind to scale',
        ('DBE acc', 'DBE comp', 'PDBE acc', 'PDBE comp', 'precision', 'recall', 'F1'),
        tuple(rows),
    )


def _sequences(analyses: Mapping[str, Analysis]) -> SideTable:
    rows = []
    for model, analysis in analyses.items():
        for s in analysis.sequences:
            drift, views, still = s.drift, s.consistency, s.flicker
            cells = (
                _NONE if drift is None else _percent(drift.drift, sign='+'),
                _NONE if drift is None else _percent(drift.jitter),
                _NONE if views is None else _percent(views.median),
                _NONE if views is None else _percent(views.agreeing),
                _NONE if still is None else _percent(still.spread),
                _NONE if still is None else _percent(still.step),
            )
            rows.append((model, s.sequence or _NONE, str(s.frames), *cells))
    return SideTable(
        'Over time',
        'drift: of the scale, by the second, and its jitter about that; views: depth carried into '
        'the next frame by the poses against the depth there, its median difference and the share '
        'of pixels within 5 %; flicker of what stands still: standard deviation, and step from '
        'frame to frame',
        ('sequence', 'frames', 'drift/s', 'jitter', 'views Δ', 'agree', 'flicker', 'step'),
        tuple(rows),
    )


def _number(value: float, decimals: int) -> str:
    return f'{value:.{decimals}f}' if value == value else _NONE


def _percent(value: float, *, sign: str = '') -> str:
    return f'{value:{sign}.2%}' if value == value else _NONE
