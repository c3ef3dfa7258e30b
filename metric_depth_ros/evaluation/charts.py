"""Curves as SVG that stands in a page: no reference to anything outside."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from .analysis import Analysis

# Colours that people with colour-blindness tell apart (Okabe and Ito).
_COLOURS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#000000')
_SIZE = (5.6, 3.6)  # inches
_GREY = '0.45'


def distance_chart(analyses: Mapping[str, Analysis]) -> str:
    """Mean relative error by true distance; one curve a model. '' without any."""
    figure, axis = _axes('true depth, m', 'mean |error| / truth')
    for (name, analysis), colour in _coloured(analyses):
        middles = [(e.near * e.far) ** 0.5 for e in analysis.by_distance]
        errors = [e.abs_rel for e in analysis.by_distance]
        biases = [e.bias for e in analysis.by_distance]
        axis.plot(middles, errors, 'o-', color=colour, label=name, markersize=4)
        axis.plot(middles, biases, ':', color=colour, linewidth=1.2)
    if not axis.lines:
        return ''
    axis.axhline(0, color=_GREY, linewidth=0.8)
    axis.set_xscale('log')
    metres = [m for e in _entries(analyses) for m in (e.near, e.far)]
    _metre_ticks(axis, min(metres), max(metres))
    axis.plot([], [], ':', color=_GREY, label='dotted: median signed error')
    return _svg(figure, axis)


def sparsification_chart(analyses: Mapping[str, Analysis]) -> str:
    """Error left when the least sure pixels are removed; '' where no model has an error bar."""
    figure, axis = _axes('pixels removed, the least sure first', 'mean |error| left')
    for (name, analysis), colour in _coloured(analyses):
        curves, scores = analysis.curves, analysis.uncertainty
        if curves is None or scores is None:
            continue
        removed = [100 * (1 - share) for share in curves.kept]
        label = f'{name}: AUSE {scores.ause:.3f}'
        axis.plot(removed, curves.sparsification, color=colour, label=label)
        axis.plot(removed, curves.oracle, ':', color=colour, linewidth=1.2)
    if not axis.lines:
        return ''
    axis.plot([], [], ':', color=_GREY, label='dotted: by the error itself')
    axis.axhline(1, color=_GREY, linewidth=0.8)
    axis.set_ylim(bottom=0)
    axis.xaxis.set_major_formatter(lambda percent, _: f'{percent:.0f} %')
    return _svg(figure, axis)


def confidence_chart(analyses: Mapping[str, Analysis]) -> str:
    """RMSE of the surest share of the pixels (GRIN Fig. 5b); '' without any error bar."""
    figure, axis = _axes('surest pixels kept', 'RMSE, m')
    for (name, analysis), colour in _coloured(analyses):
        if analysis.curves is not None:
            kept = [100 * share for share in analysis.curves.kept]
            axis.plot(kept, analysis.curves.rmse, color=colour, label=name)
    if not axis.lines:
        return ''
    axis.set_ylim(bottom=0)
    axis.xaxis.set_major_formatter(lambda percent, _: f'{percent:.0f} %')
    return _svg(figure, axis)


def frames_chart(abs_rels: Mapping[str, Sequence[float]]) -> str:
    """AbsRel of every frame in the order of the set; one curve a model."""
    figure, axis = _axes('frame', 'AbsRel')
    for (name, values), colour in _coloured(abs_rels):
        style = 'o' if len(values) < 30 else ''
        axis.plot(range(1, len(values) + 1), values, f'{style}-', color=colour, label=name,
                  markersize=3, linewidth=1)  # fmt: skip
    if not axis.lines:
        return ''
    axis.set_ylim(bottom=0)
    axis.xaxis.get_major_locator().set_params(integer=True)
    return _svg(figure, axis)


def latency_chart(seconds: Sequence[float | None]) -> str:
    """Latency of every frame, milliseconds; dropped frames, which have none, are marked below."""
    figure, axis = _axes('frame', 'latency, ms')
    known = [(i, 1000 * s) for i, s in enumerate(seconds, 1) if s is not None]
    dropped = [i for i, s in enumerate(seconds, 1) if s is None]
    if known:
        axis.plot(*zip(*known, strict=True), '.-', color=_COLOURS[0], linewidth=0.8,
                  label='latency')  # fmt: skip
    if dropped:
        axis.plot(dropped, [0] * len(dropped), 'x', color=_COLOURS[1], label='dropped',
                  clip_on=False)  # fmt: skip
    if not axis.lines:
        return ''
    axis.set_ylim(bottom=0)
    axis.xaxis.get_major_locator().set_params(integer=True)
    return _svg(figure, axis)


def _coloured(named: Mapping[str, Any]) -> Any:
    return zip(named.items(), itertools.cycle(_COLOURS))


def _entries(analyses: Mapping[str, Analysis]) -> list[Any]:
    return [entry for analysis in analyses.values() for entry in analysis.by_distance]


def _axes(x: str, y: str) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE, layout='constrained')
    axis = figure.subplots()
    axis.set_xlabel(x)
    axis.set_ylabel(y)
    axis.spines[['top', 'right']].set_visible(False)
    axis.grid(alpha=0.25, linewidth=0.6)
    return figure, axis


def _metre_ticks(axis: Any, low: float, high: float) -> None:
    few = [m for m in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200) if low <= m <= high]
    many = [m for m in (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 4, 5, 7, 10) if low <= m <= high]
    ticks = few if len(few) > 3 else many
    axis.set_xticks(ticks, labels=[f'{metres:g}' for metres in ticks])
    axis.minorticks_off()


def _svg(figure: Any, axis: Any) -> str:
    import matplotlib

    axis.legend(frameon=False, fontsize=8)
    text = io.StringIO()
    # Text stays text, in the fonts of the page; the salt makes the same figure the same file.
    with matplotlib.rc_context({'svg.fonttype': 'none', 'svg.hashsalt': axis.get_ylabel(),
                                'font.family': 'sans-serif', 'font.size': 9}):  # fmt: skip
        figure.savefig(text, format='svg', transparent=True, metadata={'Date': None})
    drawing = text.getvalue()
    drawing = drawing[drawing.index('<svg') :]
    drawing = re.sub(r'<metadata>.*?</metadata>', '', drawing, flags=re.S)
    drawing = re.sub(r'\s(xmlns(:\w+)?)="[^"]*"', '', drawing)  # HTML knows them
    return drawing.replace('xlink:href', 'href').strip()
