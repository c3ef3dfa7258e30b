"""Depth maps in files: what each format holds, read as one (H, W) array of the file's own numbers.

.npy, .npz      numpy, one array
.png            16 bits a pixel, 0 for none
.pfm            portable float map, rows from the bottom up
.exr            OpenEXR, one channel or three alike
.dpt            MPI Sintel: a tag, width, height, then float32 rows (little-endian)
.dsp5           Spring: disparity in HDF5, twice the image's size a side
.hdf5, .h5      HDF5 with one two-dimensional dataset
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from ..errors import MetricDepthError

DPT_TAG = 202021.25  # spells PIEH in little-endian bytes
_INSTALL = "is not installed: pip install 'metric_depth_ros[datasets]'"


class DepthFileError(MetricDepthError):
    """A depth map that cannot be read: names the file, and what was expected of it."""


def read_depth(path: Path, scale: float = 1.0) -> Tensor:
    """(H, W) float32 metres of a depth file whose unit is `scale` metres; NaN where none.

    None is what is not positive; +inf stays: it means beyond range.

    Raises:
        DepthFileError: as `read_values`.
    """
    depth = torch.from_numpy(read_values(path)) * scale
    return torch.where(depth > 0, depth, torch.nan)


def read_values(path: Path) -> np.ndarray:
    """(H, W) float32 of a file of one of SUFFIXES, in the unit that it was written in.

    Raises:
        DepthFileError: there is no such file, it is of another kind, broken, or not one map.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DepthFileError(f'{path}: expected depth as {", ".join(_READERS)} (.png of 16 bits)')
    if not path.is_file():
        raise DepthFileError(f'{path} is not there')
    values = reader(path)
    if values.ndim != 2:
        raise DepthFileError(f'{path} has shape {values.shape}, expected (height, width)')
    return values.astype(np.float32)


def depth_size(path: Path) -> tuple[int, int]:
    """(width, height) of what `read_values` would return, from the header where that is cheap.

    Raises:
        DepthFileError: as `read_values`.
    """
    if not path.is_file():
        raise DepthFileError(f'{path} is not there')
    shape: tuple[int, ...]
    if path.suffix == '.npy':
        try:
            shape = np.load(path, mmap_mode='r', allow_pickle=False).shape
        except (OSError, ValueError, EOFError) as error:
            raise DepthFileError(f'{path} is not a numpy array: {error}') from None
    elif path.suffix == '.dpt':
        with path.open('rb') as file:
            width, height = _dpt_size(path, file.read(12))
        return width, height
    elif path.suffix == '.dsp5':
        shape = tuple((length + 1) // 2 for length in hdf5_shape(path, 2, 'disparity'))
    else:
        shape = read_values(path).shape
    if len(shape) != 2:
        raise DepthFileError(f'{path} has shape {shape}, expected (height, width)')
    return shape[1], shape[0]


def _numpy(path: Path) -> np.ndarray:
    try:
        loaded = np.load(path, allow_pickle=False)
        return loaded if isinstance(loaded, np.ndarray) else loaded[loaded.files[0]]
    except (OSError, ValueError, IndexError, EOFError) as error:
        raise DepthFileError(f'{path} is not a numpy array: {error}') from None


def _png(path: Path) -> np.ndarray:
    values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise DepthFileError(f'{path}: not an image that OpenCV can read')
    if values.dtype != np.uint16:
        raise DepthFileError(f'{path} is {values.dtype}, expected 16 bits a pixel')
    return values


def _pfm(path: Path) -> np.ndarray:
    """The sign of the scale is the byte order; its size is no unit of the values.

    cv2.imread divides by it, which makes a scale of 1/255 disparities 255 times too large.
    """
    kind, size, scale, data = (path.read_bytes().split(b'\n', 3) + [b''] * 3)[:4]
    try:
        width, height = (int(word) for word in size.split())
        order = '<f4' if float(scale) < 0 else '>f4'
    except ValueError:
        raise DepthFileError(f'{path}: not a portable float map') from None
    if kind.strip() != b'Pf':
        raise DepthFileError(f'{path} begins {kind[:8]!r}, expected Pf: one channel of floats')
    return _rows(path, data, order, width, height)[::-1]


def _dpt(path: Path) -> np.ndarray:
    data = path.read_bytes()
    return _rows(path, data[12:], '<f4', *_dpt_size(path, data[:12]))


def _dpt_size(path: Path, header: bytes) -> tuple[int, int]:
    numbers = np.frombuffer(header.ljust(12, b'\0'), '<i4')
    if numbers[:1].view('<f4')[0] != DPT_TAG:
        raise DepthFileError(f'{path} does not begin with the tag {DPT_TAG} of a .dpt file')
    return int(numbers[1]), int(numbers[2])


def _rows(path: Path, data: bytes, order: str, width: int, height: int) -> np.ndarray:
    if width < 1 or height < 1 or len(data) != 4 * width * height:
        raise DepthFileError(
            f'{path} has {len(data)} bytes of floats, expected 4 x {width} x {height}'
        )
    return np.frombuffer(data, order).reshape(height, width)


def _exr(path: Path) -> np.ndarray:
    try:
        import OpenEXR
    except ImportError:
        raise DepthFileError(f'{path}: OpenEXR {_INSTALL}') from None
    try:
        with OpenEXR.File(str(path), separate_channels=True) as file:
            channels = {name: channel.pixels for name, channel in file.channels().items()}
    except (RuntimeError, ValueError, TypeError) as error:
        raise DepthFileError(f'{path} is not an OpenEXR image: {error}') from None
    # Renderers write depth as Z or Y, or as the same grey in R, G and B.
    colours = [channels[name] for name in 'RGB' if name in channels]
    maps = [channels[name] for name in ('Z', 'Y') if name in channels] or colours
    maps = maps or list(channels.values())[:1]
    if any(not np.array_equal(maps[0], other, equal_nan=True) for other in maps[1:]):
        raise DepthFileError(f'{path}: channels {", ".join(channels)} differ, expected one map')
    return maps[0]


def _hdf5(path: Path) -> np.ndarray:
    return read_hdf5(path, 2)


def _dsp5(path: Path) -> np.ndarray:
    """Every other pixel of every other row: Spring's truth has four values an image pixel.

    They are in pixels of the image all the same (Mehl et al., "Spring", CVPR 2023).
    """
    return read_hdf5(path, 2, 'disparity')[::2, ::2]


def read_hdf5(path: Path, dimensions: int, name: str | None = None) -> np.ndarray:
    """The dataset of an HDF5 file called `name`, or its only one of so many dimensions.

    Raises:
        DepthFileError: h5py is not there, the file is not HDF5, or has not exactly one such.
    """
    with _hdf5_dataset(path, dimensions, name) as dataset:
        return dataset[()]


def hdf5_shape(path: Path, dimensions: int, name: str | None = None) -> tuple[int, ...]:
    """The shape of what `read_hdf5` would return."""
    with _hdf5_dataset(path, dimensions, name) as dataset:
        return dataset.shape


@contextmanager
def _hdf5_dataset(path: Path, dimensions: int, name: str | None) -> Iterator[Any]:
    try:
        import h5py
    except ImportError:
        raise DepthFileError(f'{path}: h5py {_INSTALL}') from None
    try:
        with h5py.File(path, 'r') as file:
            found = [
                item
                for key, item in file.items()
                if getattr(item, 'ndim', None) == dimensions and name in (None, key)
            ]
            if len(found) != 1:
                raise DepthFileError(
                    f'{path} holds {", ".join(file) or "nothing"}, expected one '
                    f'{dimensions}-dimensional dataset{f" called {name}" if name else ""}'
                )
            yield found[0]
    except OSError as error:
        raise DepthFileError(f'{path} is not an HDF5 file: {error}') from None


_READERS: dict[str, Callable[[Path], np.ndarray]] = {
    '.npy': _numpy,
    '.npz': _numpy,
    '.png': _png,
    '.pfm': _pfm,
    '.exr': _exr,
    '.dpt': _dpt,
    '.dsp5': _dsp5,
    '.hdf5': _hdf5,
    '.h5': _hdf5,
}
SUFFIXES = tuple(_READERS)
