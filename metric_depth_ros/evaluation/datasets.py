"""Frames with true depth from a manifest: JSON lines, one a frame, paths relative to the file.

    {"image": "rgb/1.jpg", "depth": "depth/1.png", "depth_scale": 0.0002,
     "depth_kind": "z" or "ray", "camera": {"fx":, "fy":, "cx":, "cy":, "width":, "height":,
     "distortion_model":, "distortion": []}, "mask": null, "pose": [16 numbers] or null,
     "stamp": seconds, "sequence": "name"}

Depth files: 16-bit png (0 = none), npy, npz with one array, pfm. depth_scale is metres a unit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from .. import geometry
from ..errors import MetricDepthError
from ..types import Camera, Frame

_KEYS = ('image', 'depth', 'camera')


class DatasetError(MetricDepthError):
    """A manifest, or a file it names, that cannot be used: names the file, its line and why."""


@dataclass(frozen=True)
class Sample:
    """A frame and its true depth (H, W) float32, metres along z, NaN where there is none."""

    frame: Frame
    depth: Tensor


class Manifest:
    """The frames of a manifest, read one by one.

    Raises:
        DatasetError: there is no such file, or it is empty.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise DatasetError(f'{path}: there is no such manifest')
        self._lines = [line for line in path.read_text().splitlines() if line.strip()]
        if not self._lines:
            raise DatasetError(f'{path} is empty, expected a line of JSON a frame')

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[Sample]:
        """Every frame, in order; raises as picking one does."""
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Sample:
        """Frame number `index`, from 0.

        Raises:
            DatasetError: its line, or a file it names, cannot be used.
        """
        try:
            return self._read(self._lines[index])
        except (MetricDepthError, OSError) as error:
            raise DatasetError(f'{self.path}, line {index + 1}: {error}') from None

    def _read(self, line: str) -> Sample:
        try:
            entry: dict[str, Any] = json.loads(line)
            image, depth, values = (entry[key] for key in _KEYS)
            distortion = tuple(values.get('distortion', ()))
            camera = Camera(**{**values, 'distortion': distortion})
            scale, kind = float(entry.get('depth_scale', 1.0)), entry.get('depth_kind', 'z')
            stamp_ns = round(float(entry.get('stamp') or 0.0) * 1e9)
        except KeyError as error:
            raise DatasetError(f'{error} is missing, expected {", ".join(_KEYS)}') from None
        except (json.JSONDecodeError, TypeError, AttributeError) as error:
            raise DatasetError(f'not a frame in JSON: {error}') from None
        if kind not in ('z', 'ray'):
            raise DatasetError(f"depth_kind is {kind!r}, expected 'z' or 'ray'")
        frame = Frame(read_image(self.path.parent / image), camera, stamp_ns)
        truth = read_depth(self.path.parent / depth, scale)
        if truth.shape != (camera.height, camera.width):
            raise DatasetError(
                f'{depth} is {truth.shape[1]}x{truth.shape[0]}, expected {camera.width}x'
                f'{camera.height} as the camera'
            )
        if entry.get('mask') is not None:
            mask = _imread(self.path.parent / entry['mask'], cv2.IMREAD_GRAYSCALE)
            truth = torch.where(torch.from_numpy(mask > 0), truth, torch.nan)
        if kind == 'ray':
            truth = geometry.depth_from_ray_distance(truth, geometry.rays(camera))
        return Sample(frame, truth)


def read_image(path: Path) -> Tensor:
    """(H, W, 3) uint8 RGB of an image file, turned as its EXIF says.

    Raises:
        DatasetError: there is no such file, or it is not an image.
    """
    bgr = _imread(path, cv2.IMREAD_COLOR)
    return torch.from_numpy(np.ascontiguousarray(bgr[..., ::-1]))


def read_depth(path: Path, scale: float) -> Tensor:
    """(H, W) float32 metres of a depth file whose unit is `scale` metres; NaN where none.

    Raises:
        DatasetError: there is no such file, or not of a known kind.
    """
    if path.suffix in ('.npy', '.npz'):
        try:
            loaded = np.load(path, allow_pickle=False)
            values = loaded if path.suffix == '.npy' else loaded[loaded.files[0]]
        except (OSError, ValueError, IndexError) as error:
            raise DatasetError(f'{path} is not a numpy array: {error}') from None
    elif path.suffix in ('.png', '.pfm'):
        values = _imread(path, cv2.IMREAD_UNCHANGED)
        if path.suffix == '.png' and values.dtype != np.uint16:
            raise DatasetError(f'{path} is {values.dtype}, expected 16 bits a pixel')
    else:
        raise DatasetError(f'{path}: expected depth as .png (16 bit), .npy, .npz or .pfm')
    if values.ndim != 2:
        raise DatasetError(f'{path} has shape {values.shape}, expected (height, width)')
    depth = torch.from_numpy(values.astype(np.float32)) * scale
    return torch.where(depth > 0, depth, torch.nan)


def _imread(path: Path, flags: int) -> np.ndarray:
    if not path.is_file():
        raise DatasetError(f'{path} is not there')
    pixels = cv2.imread(str(path), flags)
    if pixels is None:
        raise DatasetError(f'{path}: not an image that OpenCV can read')
    return pixels
