"""Frames with true depth from a manifest: JSON lines, one a frame, paths relative to the file.

    {"image": "rgb/1.jpg", "depth": "depth/1.png", "depth_scale": 0.0002,
     "depth_kind": "z", "ray" or "disparity", "camera": {"fx":, "fy":, "cx":, "cy":, "width":,
     "height":, "distortion_model":, "distortion": []}, "mask": null,
     "pose": [16 numbers, world_from_camera] or null, "stamp": seconds, "sequence": "name"}

depth_scale is metres a unit of the file, which is of a kind that `depth_files` reads. Three keys
more where a dataset needs them: of disparity, z = depth_scale / (value + "disparity_offset"), with
depth_scale focal length x baseline; beyond "depth_max" metres is sky, +inf; "edges" is a picture
of the labelled depth boundaries.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
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
from .depth_files import read_depth, read_values

_KEYS = ('image', 'depth', 'camera')


class DatasetError(MetricDepthError):
    """A manifest, or a file it names, that cannot be used: names the file, its line and why."""


@dataclass(frozen=True)
class Sample:
    """A frame and its truth.

    depth: (H, W) float32, metres along z, NaN where there is none, +inf beyond range.
    edges: (H, W) bool, labelled depth boundaries; None where nobody labelled them.
    pose: (4, 4) float64 world_from_camera; None where unknown.
    sequence: frames of one sequence follow each other in time.
    """

    frame: Frame
    depth: Tensor
    edges: Tensor | None = None
    pose: Tensor | None = None
    sequence: str = ''


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
            return read_sample(self.path.parent, self._parse(self._lines[index]))
        except (MetricDepthError, OSError) as error:
            raise DatasetError(f'{self.path}, line {index + 1}: {error}') from None

    def _parse(self, line: str) -> dict[str, Any]:
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            raise DatasetError(f'not a frame in JSON: {error}') from None
        if not isinstance(entry, dict):
            raise DatasetError('not a frame in JSON: expected {"image": ...}')
        return entry


def read_sample(folder: Path, entry: dict[str, Any]) -> Sample:
    """The frame of one line of a manifest, whose files are named relative to `folder`.

    Raises:
        MetricDepthError, OSError: a key is missing or of no use, or a file cannot be read.
    """
    try:
        image, _, values = (entry[key] for key in _KEYS)
        image = folder / image
        distortion = tuple(values.get('distortion', ()))
        camera = Camera(**{**values, 'distortion': distortion})
        stamp_ns = round(float(entry.get('stamp') or 0.0) * 1e9)
        pose = _pose(entry.get('pose'))
    except KeyError as error:
        raise DatasetError(f'{error} is missing, expected {", ".join(_KEYS)}') from None
    except MetricDepthError:
        raise
    except (TypeError, ValueError, AttributeError) as error:
        raise DatasetError(f'not a frame in JSON: {error}') from None
    frame = Frame(read_image(image), camera, stamp_ns)
    truth = _read_truth(folder, entry, camera)
    mask, edges = (_read_picture(folder, entry, key, camera) for key in ('mask', 'edges'))
    if mask is not None:
        truth = torch.where(mask, truth, torch.nan)
    return Sample(frame, truth, edges, pose, str(entry.get('sequence') or ''))


def _read_picture(folder: Path, entry: dict[str, Any], key: str, camera: Camera) -> Tensor | None:
    """(H, W) bool, where the picture that the entry names is not black."""
    if entry.get(key) is None:
        return None
    pixels = _imread(folder / entry[key], cv2.IMREAD_GRAYSCALE)
    _check_size(f'{key} {entry[key]}', pixels.shape, camera)
    return torch.from_numpy(pixels > 0)


def _read_truth(folder: Path, entry: dict[str, Any], camera: Camera) -> Tensor:
    """(H, W) float32 metres along z of the depth file that an entry names."""
    kind = entry.get('depth_kind', 'z')
    try:
        scale = float(entry.get('depth_scale', 1.0))
        offset = float(entry.get('disparity_offset') or 0.0)
        limit = entry.get('depth_max')
        depth_max = torch.inf if limit is None else float(limit)
    except (TypeError, ValueError) as error:
        raise DatasetError(f'depth_scale, disparity_offset or depth_max: {error}') from None
    path = folder / entry['depth']
    if kind == 'disparity':
        truth = depth_from_disparity(torch.from_numpy(read_values(path)), scale, offset)
    elif kind in ('z', 'ray'):
        truth = read_depth(path, scale)
    else:
        raise DatasetError(f"depth_kind is {kind!r}, expected 'z', 'ray' or 'disparity'")
    _check_size(entry['depth'], truth.shape, camera)
    if kind == 'ray':
        truth = geometry.depth_from_ray_distance(truth, geometry.rays(camera))
    return torch.where(truth > depth_max, torch.inf, truth)


def depth_from_disparity(disparity: Tensor, scale: float, offset: float = 0.0) -> Tensor:
    """(H, W) metres along z of a rectified stereo pair: scale / (disparity + offset).

    Args:
        disparity: (H, W) pixels; 0, negative or not finite is none.
        scale: focal length in pixels times baseline in metres.
        offset: x of the right principal point minus x of the left, pixels (Middlebury's doffs).
    """
    shifted = disparity + offset
    known = torch.isfinite(disparity) & (disparity > 0) & (shifted > 0)
    return torch.where(known, scale / shifted, torch.nan)


def _pose(numbers: list[float] | None) -> Tensor | None:
    if numbers is None:
        return None
    if len(numbers) != 16:
        raise DatasetError(f'pose has {len(numbers)} numbers, expected 16 of world_from_camera')
    return torch.tensor(numbers, dtype=torch.float64).view(4, 4)


def _check_size(name: str, shape: Sequence[int], camera: Camera) -> None:
    if tuple(shape) != (camera.height, camera.width):
        raise DatasetError(
            f'{name} is {shape[1]}x{shape[0]}, expected {camera.width}x{camera.height} as the '
            'camera'
        )


def read_image(path: Path) -> Tensor:
    """(H, W, 3) uint8 RGB of an image file, turned as its EXIF says.

    Raises:
        DatasetError: there is no such file, or it is not an image.
    """
    bgr = _imread(path, cv2.IMREAD_COLOR)
    return torch.from_numpy(np.ascontiguousarray(bgr[..., ::-1]))


def _imread(path: Path, flags: int) -> np.ndarray:
    if not path.is_file():
        raise DatasetError(f'{path} is not there')
    pixels = cv2.imread(str(path), flags)
    if pixels is None:
        raise DatasetError(f'{path}: not an image that OpenCV can read')
    return pixels
