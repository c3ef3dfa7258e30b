"""Hypersim's lenses: the table of one 3x3 matrix a scene, taken apart into pinhole cameras."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...types import Camera
from .entry import BrokenFile, ImporterError

# The authors' camera looks along -z with y up; the optical frame along +z with y down.
_AUTHORS_FROM_OPTICAL_AXES = np.diag([1.0, -1.0, -1.0])


@dataclass(frozen=True)
class Lens:
    """A scene's camera.

    matrix: (3, 3) K. authors_from_optical: (3, 3) rotation; a tilted sensor looks along another
    axis than the authors' camera. width, height: pixels. metres_per_unit: of positions.
    """

    matrix: np.ndarray
    authors_from_optical: np.ndarray
    width: int
    height: int
    metres_per_unit: float

    def camera(self, path: Path) -> Camera:
        """The pinhole camera for the file `path`.

        Raises:
            BrokenFile: its pixels are sheared, and no pinhole camera fits within half a pixel.
        """
        shear = abs(self.matrix[0, 1]) * self.height / self.matrix[1, 1]
        if shear > 1:  # between the first row and the last
            raise BrokenFile(path, f'its lens shears the image by {shear:.1f} px, no pinhole does')
        fx, fy, cx, cy = (float(self.matrix[i]) for i in ((0, 0), (1, 1), (0, 2), (1, 2)))
        return Camera(fx, fy, cx, cy, self.width, self.height)


def read_lenses(table: Path) -> dict[str, Lens]:
    """The lens of every scene of metadata_camera_parameters.csv.

    Raises:
        ImporterError: it lacks a column, or holds no number where one belongs.
    """
    try:
        with table.open(newline='') as file:
            return {row['scene_name']: _lens(row) for row in csv.DictReader(file)}
    except (KeyError, TypeError, ValueError, np.linalg.LinAlgError) as error:
        raise ImporterError(f'{table}: not the table of camera parameters: {error}') from None


def _lens(row: dict[str, str]) -> Lens:
    """M_cam_from_uv takes (u, v, 1), both in -1 to 1 with v up, to a ray of the authors' camera.

    In optical axes and pixels that is inv(K R) for a triangular K and a rotation R.
    """
    authors_from_uv = np.array(
        [[float(row[f'M_cam_from_uv_{i}{j}']) for j in range(3)] for i in range(3)]
    )
    width = int(float(row['settings_output_img_width']))
    height = int(float(row['settings_output_img_height']))
    uv_from_pixel = np.array(
        [[2 / width, 0, 1 / width - 1], [0, -2 / height, 1 - 1 / height], [0, 0, 1]]
    )
    optical_from_pixel = _AUTHORS_FROM_OPTICAL_AXES @ authors_from_uv @ uv_from_pixel
    matrix, rotation = _triangular_times_rotation(np.linalg.inv(optical_from_pixel))
    return Lens(
        matrix / matrix[2, 2],
        _AUTHORS_FROM_OPTICAL_AXES @ rotation.T,
        width,
        height,
        float(row['settings_units_info_meters_scale']),
    )


def _triangular_times_rotation(product: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """K upper triangular with a positive diagonal and R orthonormal, K R = product (3, 3)."""
    reverse = np.eye(3)[::-1]
    orthonormal, triangular = np.linalg.qr((reverse @ product).T)
    matrix, rotation = reverse @ triangular.T @ reverse, reverse @ orthonormal.T
    signs = np.diag(np.sign(np.diag(matrix)))
    return matrix @ signs, signs @ rotation
