"""The kinds of files that public datasets are made of, read or refused by name."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from .entry import BrokenFile, ImporterError


def folder(root: Path, *candidates: str, holding: str) -> Path:
    """The first of `candidates` below `root` in which the pattern `holding` finds something.

    Raises:
        ImporterError: none of them does: `root` is not this dataset.
    """
    if not root.is_dir():
        raise ImporterError(f'{root}: there is no such folder')
    for candidate in candidates:
        if any((root / candidate).glob(holding)):
            return root / candidate
    looked = ', '.join(candidate or '.' for candidate in candidates)
    raise ImporterError(f'{root}: found no {holding} (looked in {looked})')


def present(path: Path) -> Path:
    """`path` itself.

    Raises:
        BrokenFile: there is no such file.
    """
    if not path.is_file():
        raise BrokenFile(path, 'is not there')
    return path


def text(path: Path) -> str:
    """Raises BrokenFile: there is no such file, or it is not text."""
    try:
        return present(path).read_text()
    except UnicodeDecodeError:
        raise BrokenFile(path, 'is not text') from None


def parsed_json(path: Path, hook: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """What a file of JSON says; each object becomes what `hook` makes of it.

    Raises:
        BrokenFile: there is no such file, or it is not JSON.
    """
    try:
        return json.loads(text(path), object_hook=hook)
    except json.JSONDecodeError as error:
        raise BrokenFile(path, f'is not JSON: {error}') from None


def numbers(path: Path, *shape: int) -> np.ndarray:
    """Float64 array of `shape`: all numbers of a text file, row by row.

    Raises:
        BrokenFile: there is no such file, or it does not hold exactly that many numbers.
    """
    words = text(path).split()
    try:
        values = np.array(words, dtype=np.float64)
    except ValueError:
        raise BrokenFile(path, f'holds other than numbers, expected {np.prod(shape)}') from None
    if values.size != np.prod(shape):
        raise BrokenFile(path, f'holds {values.size} numbers, expected {np.prod(shape)}')
    return values.reshape(shape)


def raw_floats(path: Path, columns: int) -> np.ndarray:
    """(N, columns) float32: a file of nothing but little-endian 32-bit floats.

    Raises:
        BrokenFile: there is no such file, or it ends within a row.
    """
    size = present(path).stat().st_size
    if size == 0 or size % (4 * columns):
        raise BrokenFile(path, f'has {size} bytes, expected a multiple of {4 * columns}')
    return np.fromfile(path, dtype='<f4').reshape(-1, columns)


def array(path: Path, name: str = '') -> np.ndarray:
    """The array of a .npy, or the one called `name` in a .npz.

    Raises:
        BrokenFile: there is no such file, it is not a numpy array, or not whole.
    """
    try:
        loaded = np.load(present(path), allow_pickle=False)
        if isinstance(loaded, np.lib.npyio.NpzFile):
            with loaded:
                return loaded[name]
        return loaded
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise BrokenFile(path, f'has no array {name}'.rstrip() + f': {error}') from None


def uint16_image(path: Path) -> np.ndarray:
    """(H, W) uint16 of a 16-bit png.

    Raises:
        BrokenFile: there is no such file, or it is not a 16-bit image of one channel.
    """
    pixels = cv2.imread(str(present(path)), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise BrokenFile(path, 'is not an image that OpenCV can read')
    if pixels.dtype != np.uint16 or pixels.ndim != 2:
        raise BrokenFile(path, f'is {pixels.dtype} {pixels.shape}, expected 16 bits, one channel')
    return pixels


def rgb_image(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB.

    Raises:
        BrokenFile: there is no such file, or it is not an image.
    """
    pixels = cv2.imread(str(present(path)), cv2.IMREAD_COLOR)
    if pixels is None:
        raise BrokenFile(path, 'is not an image that OpenCV can read')
    return np.ascontiguousarray(pixels[..., ::-1])
