"""Pictures that show a person where depth is right and where it is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..types import DepthPrediction, Frame
from .cloud_view import ABOVE, SIDE, Cloud, View, cloud_of, draw_cloud, extent

_NO_ESTIMATE = '0.8'  # grey
_DPI = 110
_LOGARITHMIC_FROM = 15  # farthest by nearest depth
_FAR = 1e6  # metres, beyond any range of colours
_LOG_TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200)


def save_comparison(
    path: Path,
    frame: Frame,
    prediction: DepthPrediction,
    truth: Tensor | None = None,
    title: str = '',
) -> None:
    """One row: image, true depth, depth, uncertainty, error; the depths share their colours.

    The uncertainty is left out where nobody knows it of any pixel.

    Args:
        path: of the PNG.
        truth: (H, W) true metres along z, NaN = unknown; None leaves out truth and error.
        title: one line above everything.
    """
    panels = _panels(prediction, truth)
    figure = _figure(3.4 * panels, 3.4 * _aspect(frame) + (1.3 if title else 0.95), title)
    _draw_maps(figure.subplots(1, panels), frame, prediction, truth)
    _save(figure, path)


def save_clouds(
    path: Path,
    frame: Frame,
    prediction: DepthPrediction,
    truth: Tensor | None = None,
    title: str = '',
) -> None:
    """The cloud from the side and from above on a metric grid; below it the true one.

    Arguments as of `save_comparison`.
    """
    clouds = {'predicted': cloud_of(prediction.depth, frame.image, prediction.camera)}
    if truth is not None:
        clouds['true'] = cloud_of(truth, frame.image, frame.camera)
    figure = _figure(13, 5.2 * len(clouds), title)
    rows = figure.subplots(len(clouds), 2, squeeze=False)
    _draw_views(rows, clouds, frame)
    _save(figure, path)


def save_overview(
    path: Path,
    frame: Frame,
    prediction: DepthPrediction,
    truth: Tensor | None = None,
    title: str = '',
) -> None:
    """Both of the above in one: the maps in the upper row, the predicted cloud below.

    Arguments as of `save_comparison`.
    """
    panels = _panels(prediction, truth)
    width = max(3.4 * panels, 13)
    figure = _figure(width, width / panels * _aspect(frame) + 1.3 + 5.2, title)
    upper, lower = figure.subfigures(
        2, 1, height_ratios=(width / panels * _aspect(frame) + 1.0, 5.2)
    )
    _draw_maps(upper.subplots(1, panels), frame, prediction, truth)
    clouds = {'predicted': cloud_of(prediction.depth, frame.image, prediction.camera)}
    _draw_views(lower.subplots(1, 2, squeeze=False), clouds, frame)
    _save(figure, path)


def _figure(width: float, height: float, title: str) -> Any:
    # Not pyplot: it keeps every figure, and picks a window system where there is one.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout='constrained', facecolor='white')
    if title:
        figure.suptitle(title, fontsize=13)
    return figure


def _save(figure: Any, path: Path) -> None:
    figure.get_layout_engine().execute(figure)
    figure.set_layout_engine('none')  # saving draws twice, and would lay out twice
    figure.savefig(path, dpi=_DPI)


def _panels(prediction: DepthPrediction, truth: Tensor | None) -> int:
    return 2 + int(_has_std(prediction)) + (0 if truth is None else 2)


def _has_std(prediction: DepthPrediction) -> bool:
    return bool(torch.isfinite(prediction.std).any())


def _aspect(frame: Frame) -> float:
    return frame.camera.height / frame.camera.width


def _draw_maps(axes: Any, frame: Frame, prediction: DepthPrediction, truth: Tensor | None) -> None:
    from matplotlib.colors import Normalize

    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
    shown = axes[0].imshow(frame.image.numpy())
    axes[0].set_title('image')
    bar = _colour_bar(axes[0], shown)  # unseen: it keeps the panels at one height
    bar.ax.tick_params(color='white', labelcolor='white')
    bar.set_label('metres', color='white')
    bar.outline.set_visible(False)
    bar.solids.set_visible(False)
    panels = iter(axes[1:])
    depth_norm = _depth_norm(prediction.depth, truth)
    if truth is not None:
        _draw_map(next(panels), truth, 'true depth', 'turbo_r', depth_norm)
    _draw_map(next(panels), prediction.depth, 'depth', 'turbo_r', depth_norm)
    if _has_std(prediction):
        std_norm = Normalize(0, _high(prediction.std))
        _draw_map(next(panels), prediction.std, 'uncertainty, one sigma', 'viridis', std_norm)
    if truth is not None:
        error = prediction.depth - truth
        most = _high(error.abs())
        _draw_map(next(panels), error, 'error (red: too far)', 'RdBu_r', Normalize(-most, most))


def _draw_map(axis: Any, values: Tensor, title: str, colours: str, norm: Any) -> None:
    import matplotlib
    from matplotlib.colors import LogNorm

    finite = values.clamp(-_FAR, _FAR)  # beyond range has a colour, no estimate has not
    shown = axis.imshow(
        np.ma.masked_invalid(finite.numpy()),
        cmap=matplotlib.colormaps[colours].with_extremes(bad=_NO_ESTIMATE),
        norm=norm,
        interpolation='nearest',
    )
    axis.set_title(title)
    bar = _colour_bar(axis, shown, 'both' if norm.vmin else 'max')
    bar.set_label('metres')
    if isinstance(norm, LogNorm):
        low, high = shown.get_clim()
        ticks = [metres for metres in _LOG_TICKS if low <= metres <= high]
        bar.set_ticks(ticks, labels=[f'{metres:g}' for metres in ticks])
        bar.minorticks_off()


def _colour_bar(axis: Any, shown: Any, extend: str = 'neither') -> Any:
    return axis.figure.colorbar(
        shown, ax=axis, orientation='horizontal', fraction=0.06, pad=0.03, extend=extend
    )


def _draw_views(rows: Any, clouds: dict[str, Cloud], frame: Frame) -> None:
    for column, view in enumerate((SIDE, ABOVE)):
        bounds = extent(list(clouds.values()), view)
        for row, (name, cloud) in zip(rows, clouds.items(), strict=True):
            draw_cloud(row[column], cloud, frame.camera, view, bounds)
            row[column].set_title(_view_title(name, view))


def _view_title(name: str, view: View) -> str:
    return f'{name} cloud, seen {view.name}'


def _depth_norm(depth: Tensor, truth: Tensor | None) -> Any:
    """The metres that both depths' colours span: nearly all of the truth, or of the depth.

    Streets span two orders of magnitude: then the colours are logarithmic.
    """
    from matplotlib.colors import LogNorm, Normalize

    values = depth if truth is None or not bool(torch.isfinite(truth).any()) else truth
    finite = values[torch.isfinite(values)].numpy()
    if not len(finite):
        return Normalize(0.1, 1.0)
    low, high = np.percentile(finite, (1, 99))
    kind = LogNorm if high > _LOGARITHMIC_FROM * low > 0 else Normalize
    return kind(float(low), max(float(high), float(low) + 0.01))


def _high(values: Tensor) -> float:
    """A value that only a few pixels exceed, for the end of a colour bar."""
    finite = values[torch.isfinite(values)].numpy()
    return max(float(np.percentile(finite, 98)), 0.001) if len(finite) else 1.0
