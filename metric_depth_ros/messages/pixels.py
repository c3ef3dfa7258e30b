"""The bytes of a sensor_msgs/Image, checked against what the message says of itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import MetricDepthError


class MessageError(MetricDepthError):
    """A message that contradicts itself or cannot be read: says which value, and what was
    expected. It does not know the topic; whoever received the message adds that."""


def data_bytes(message: Any) -> np.ndarray:
    """message.data as (N,) uint8 without a copy: an array.array (rclpy) or ndarray (rosbags)."""
    return np.asarray(message.data, dtype=np.uint8).reshape(-1)


def image_size(message: Any) -> tuple[int, int]:
    """(height, width) in pixels.

    Raises:
        MessageError: there is no pixel.
    """
    height, width = int(message.height), int(message.width)
    if height < 1 or width < 1:
        raise MessageError(f'image is {width}x{height} pixels, expected at least 1x1')
    return height, width


def image_rows(message: Any, row_bytes: int, num_rows: int) -> np.ndarray:
    """The first `num_rows` rows of a raw image without their padding, as a view of its bytes.

    Args:
        message: sensor_msgs/Image.
        row_bytes: bytes of pixels in a row; `step` may be more, the rest is padding.
        num_rows: rows of bytes; more than `height` where chroma follows in planes of its own.

    Returns:
        (num_rows, row_bytes) uint8.

    Raises:
        MessageError: `step` cannot hold a row, or `data` cannot hold the rows.
    """
    step = int(message.step)
    if step < row_bytes:
        raise MessageError(
            f'image step is {step}, expected at least {row_bytes} bytes a row for '
            f'{message.width} pixels of {message.encoding}'
        )
    data = data_bytes(message)
    expected = step * num_rows
    if data.size < expected:
        raise MessageError(
            f'image data has {data.size} bytes, expected {expected} for '
            f'{message.width}x{message.height} pixels of {message.encoding} with step {step}'
        )
    return data[:expected].reshape(num_rows, step)[:, :row_bytes]
