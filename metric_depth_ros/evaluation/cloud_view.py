"""Clouds drawn in plain numpy: parallel projection with a z-buffer, so that metres stay metres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from .. import geometry
from ..types import Camera

_BACKGROUND = np.array((255, 255, 255), dtype=np.uint8)
_MIN_SPLAT, _MAX_SPLAT = 1, 4  # pixels either side of a point


@dataclass(frozen=True)
class View:
    """A parallel projection: which way right, up and the viewer are, in the optical frame."""

    name: str
    right: tuple[float, float, float]
    up: tuple[float, float, float]
    to_viewer: tuple[float, float, float]
    right_label: str
    up_label: str


SIDE = View('from the side', (0, 0, 1), (0, -1, 0), (1, 0, 0), 'forward [m]', 'up [m]')
ABOVE = View('from above', (1, 0, 0), (0, 0, 1), (0, -1, 0), 'right [m]', 'forward [m]')


@dataclass(frozen=True)
class Cloud:
    """Coloured points in the optical frame. points: (N, 3) metres; colours: (N, 3) uint8;
    spacing: (N,) metres between neighbouring pixels there."""

    points: np.ndarray
    colours: np.ndarray
    spacing: np.ndarray


def cloud_of(depth: Tensor, image: Tensor, camera: Camera) -> Cloud:
    """The points of all pixels that have one.

    Args:
        depth: (H, W) metres along z; NaN and inf make no point.
        image: (H, W, 3) uint8 RGB.
    """
    points = geometry.unproject(depth, camera).numpy().reshape(-1, 3)
    seen = np.isfinite(points).all(axis=1)
    points = points[seen]
    spacing = np.linalg.norm(points, axis=1) / min(camera.fx, camera.fy)
    return Cloud(points, image.numpy().reshape(-1, 3)[seen], spacing)


def extent(clouds: list[Cloud], view: View) -> tuple[float, float, float, float]:
    """(left, right, bottom, top) in metres that holds nearly all points and the camera."""
    limits = []
    for axis in (view.right, view.up):
        along = [cloud.points @ np.array(axis) for cloud in clouds if len(cloud.points)]
        low = min((np.percentile(values, 2) for values in along), default=-1.0)
        high = max((np.percentile(values, 98) for values in along), default=1.0)
        low, high = min(float(low), 0.0), max(float(high), 0.0)
        margin = 0.04 * max(high - low, 0.5)
        limits += [low - margin, high + margin]
    return limits[0], limits[1], limits[2], limits[3]


def splat(
    cloud: Cloud, view: View, bounds: tuple[float, float, float, float], pixels_per_metre: float
) -> np.ndarray:
    """(h, w, 3) uint8 picture of the points within bounds; the nearest to the viewer wins.

    A point covers what lies between it and its neighbours, from one to a few pixels either side.
    """
    left, right, bottom, top = bounds
    width = max(1, round((right - left) * pixels_per_metre))
    height = max(1, round((top - bottom) * pixels_per_metre))
    u = np.floor((cloud.points @ np.array(view.right) - left) * pixels_per_metre)
    v = np.floor((top - cloud.points @ np.array(view.up)) * pixels_per_metre)
    near = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    u, v = u[near].astype(np.int64), v[near].astype(np.int64)
    distance = -(cloud.points[near] @ np.array(view.to_viewer))
    colours = cloud.colours[near]
    reach = np.clip(cloud.spacing[near] * pixels_per_metre, _MIN_SPLAT, _MAX_SPLAT)

    z_buffer = np.full(height * width, np.inf)
    picture = np.tile(_BACKGROUND, (height * width, 1))
    covered = [_covered(u, v, reach, du, dv, width, height) for du, dv in _offsets(reach)]
    for point, pixel in covered:
        np.minimum.at(z_buffer, pixel, distance[point])
    for point, pixel in covered:
        front = distance[point] == z_buffer[pixel]
        picture[pixel[front]] = colours[point[front]]
    return picture.reshape(height, width, 3)


def _offsets(reach: np.ndarray) -> list[tuple[int, int]]:
    most = int(np.ceil(reach.max())) if len(reach) else 0
    return [(du, dv) for du in range(-most, most + 1) for dv in range(-most, most + 1)]


def _covered(
    u: np.ndarray, v: np.ndarray, reach: np.ndarray, du: int, dv: int, width: int, height: int
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the points that reach the pixel at this offset, and that pixel's index."""
    uu, vv = u + du, v + dv
    inside = (uu >= 0) & (uu < width) & (vv >= 0) & (vv < height)
    point = np.flatnonzero(inside & (reach > max(abs(du), abs(dv)) - 0.5))
    return point, vv[point] * width + uu[point]


def draw_cloud(
    axes: Any,
    cloud: Cloud,
    camera: Camera,
    view: View,
    bounds: tuple[float, float, float, float],
    pixels: int = 900,
) -> None:
    """Draw the cloud on matplotlib axes in metres, with a grid and the camera's field of view."""
    longest = max(bounds[1] - bounds[0], bounds[3] - bounds[2])
    axes.imshow(
        splat(cloud, view, bounds, pixels / longest),
        extent=bounds,
        interpolation='antialiased',
        zorder=1,
    )
    axes.grid(True, color='0.55', linewidth=0.5, alpha=0.5, zorder=2)
    axes.set_axisbelow(False)
    corners = _corner_rays(camera)
    reach = 0.12 * longest
    for ray in corners:
        tip = reach * ray
        axes.plot(
            (0, tip @ np.array(view.right)),
            (0, tip @ np.array(view.up)),
            color='tab:red',
            linewidth=1.2,
            zorder=3,
        )
    axes.plot(0, 0, 'o', color='tab:red', markersize=4, zorder=4)
    axes.set_xlim(bounds[0], bounds[1])
    axes.set_ylim(bounds[2], bounds[3])
    axes.set_xlabel(view.right_label)
    axes.set_ylabel(view.up_label)


def _corner_rays(camera: Camera) -> np.ndarray:
    """(n, 3) viewing rays of the image's corners, those that the lens has."""
    rays = geometry.rays(camera)[[0, 0, -1, -1], [0, -1, 0, -1]].numpy()
    return rays[np.isfinite(rays).all(axis=1)]
