"""Point clouds to sparse depth, and the poses that datasets write as quaternions."""

from __future__ import annotations

import numpy as np


def rigid(translation: np.ndarray, quaternion: np.ndarray) -> np.ndarray:
    """(4, 4) float64 transform, a_from_b, of b's origin in a and the quaternion (w, x, y, z).

    The quaternion need not have unit length; all zeros, as some files write it, is no rotation.
    """
    transform = np.eye(4)
    transform[:3, 3] = translation
    norm = np.linalg.norm(quaternion)
    if norm > 0:
        w, x, y, z = np.asarray(quaternion, dtype=np.float64) / norm
        transform[:3, :3] = [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    return transform


def moved(points: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """(N, 3) float64 points of b in a, by a_from_b (4, 4)."""
    return points.astype(np.float64) @ transform[:3, :3].T + transform[:3, 3]


def splat(
    pixels: np.ndarray, depth: np.ndarray, width: int, height: int, *, nearest: float = 0.0
) -> np.ndarray:
    """(height, width) float32 depth, NaN where no point falls; of several, the closest one.

    pixels: (N, 2) coordinates (u, v), rounded to the closest pixel centre.
    depth: (N,) metres; points not beyond `nearest` are left out.
    """
    ahead = depth > nearest
    columns, rows = np.rint(pixels[ahead]).T
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    index = rows[inside].astype(np.int64) * width + columns[inside].astype(np.int64)
    out = np.full(height * width, np.inf, dtype=np.float32)
    np.minimum.at(out, index, depth[ahead][inside].astype(np.float32))
    out[np.isinf(out)] = np.nan
    return out.reshape(height, width)


def pinhole_depth(
    points: np.ndarray, matrix: np.ndarray, width: int, height: int, *, nearest: float = 0.0
) -> np.ndarray:
    """(height, width) float32 depth along z of (N, 3) points in the camera's optical frame.

    matrix: (3, 3) intrinsics. See `splat`.
    """
    ahead = points[points[:, 2] > nearest]
    projected = ahead @ np.asarray(matrix, dtype=np.float64).T
    return splat(projected[:, :2] / projected[:, 2:], ahead[:, 2], width, height)
