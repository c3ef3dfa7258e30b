"""Depth images <-> metres along z (REP 118: 32FC1 in metres, 16UC1 in millimetres)."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from .images import decode, split_format
from .pixels import MessageError, data_bytes, image_rows, image_size

# dtype of one pixel; mono16 is what some drivers call 16UC1.
_DEPTH_TYPES = {'16UC1': 'u2', 'mono16': 'u2', '32FC1': 'f4'}

# compressed_depth_image_transport puts before its png: int32 codec, float32 quantisation a, b.
_HEADER = np.dtype([('codec', '<i4'), ('a', '<f4'), ('b', '<f4')])


def depth_from_message(message: Any) -> Tensor:
    """Depth of a raw Image, or of a png CompressedImage ('compressed' or 'compressedDepth').

    16UC1 is millimetres with 0 for no value, 32FC1 is metres with NaN for no value; zero and
    negative metres are no value either; +inf (beyond range, REP 117) stays.

    Args:
        message: sensor_msgs/Image or CompressedImage.

    Returns:
        (H, W) float32 metres along z on the CPU, owning its memory; NaN = no value.

    Raises:
        MessageError: not a depth encoding, no pixels, wrong step, too little data, broken png.
    """
    if hasattr(message, 'format'):
        return _metres(_compressed_depth(message))
    height, width = image_size(message)
    if message.encoding not in _DEPTH_TYPES:
        raise MessageError(
            f'depth image encoding is {message.encoding!r}, expected one of '
            f'{", ".join(_DEPTH_TYPES)}'
        )
    dtype = np.dtype(('>' if message.is_bigendian else '<') + _DEPTH_TYPES[message.encoding])
    rows = image_rows(message, width * dtype.itemsize, height)
    return _metres(np.ascontiguousarray(rows).view(dtype))


def std_from_message(message: Any) -> Tensor:
    """The standard deviation of a depth, of a raw 32FC1 Image.

    Args:
        message: sensor_msgs/Image.

    Returns:
        (H, W) float32 metres on the CPU, NaN = unknown. It shares the message's memory unless that
        is read-only, or has another byte order or padding.

    Raises:
        MessageError: another encoding, no pixels, wrong step, too little data.
    """
    height, width = image_size(message)
    if message.encoding != '32FC1':
        raise MessageError(f'uncertainty encoding is {message.encoding!r}, expected 32FC1')
    rows = np.ascontiguousarray(image_rows(message, width * 4, height))
    std = rows.view('>f4' if message.is_bigendian else '<f4').astype(np.float32, copy=False)
    return torch.from_numpy(std if std.flags.writeable else std.copy())


def _metres(depth: np.ndarray) -> Tensor:
    """(H, W) millimetres if the pixels are whole numbers, else metres -> float32 metres."""
    metres = depth.astype(np.float32)
    if np.issubdtype(depth.dtype, np.integer):
        metres /= 1000
    metres[metres <= 0] = np.nan
    return torch.from_numpy(metres)


def _compressed_depth(message: Any) -> np.ndarray:
    """(H, W) uint16 millimetres or float32 metres."""
    raw_encoding, transport = split_format(message.format)
    is_depth_transport = 'compressedDepth' in transport
    is_png = 'png' in transport or transport == 'compressedDepth'
    readable = ('16UC1', 'mono16', '32FC1') if is_depth_transport else ('16UC1', 'mono16')
    if raw_encoding not in readable or not is_png:
        raise MessageError(
            f'compressed depth format is {message.format!r}, expected '
            "'16UC1; compressedDepth png', '32FC1; compressedDepth png' or '16UC1; png compressed'"
        )
    header_bytes = _HEADER.itemsize if is_depth_transport else 0
    pixels = decode(message, cv2.IMREAD_UNCHANGED, header_bytes)
    if pixels.ndim != 2 or pixels.dtype != np.uint16:
        raise MessageError(
            f'compressed depth decodes to {pixels.dtype} of shape {pixels.shape}, expected '
            'uint16 of one channel'
        )
    if raw_encoding != '32FC1':
        return pixels
    header = data_bytes(message)[:header_bytes].view(_HEADER)[0]
    code = np.where(pixels > 0, pixels.astype(np.float32), np.nan)
    return header['a'] / (code - header['b'])
