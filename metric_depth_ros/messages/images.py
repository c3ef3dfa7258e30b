"""sensor_msgs/Image and CompressedImage -> RGB, whatever the camera's encoding.

Messages are duck-typed: rclpy's and rosbags' serve alike, and neither library is imported.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from .pixels import MessageError, data_bytes, image_rows, image_size

# encoding: (channels, bytes a channel, OpenCV's conversion to RGB).
# 8UC3 and 8UC4 say nothing of colour; they come from OpenCV programs, whose order is BGR.
# OpenCV names a Bayer pattern by its second row, second column: ROS' rggb is OpenCV's BG.
_INTERLEAVED: dict[str, tuple[int, int, int | None]] = {
    'rgb8': (3, 1, None),
    'bgr8': (3, 1, cv2.COLOR_BGR2RGB),
    'rgba8': (4, 1, cv2.COLOR_RGBA2RGB),
    'bgra8': (4, 1, cv2.COLOR_BGRA2RGB),
    'mono8': (1, 1, cv2.COLOR_GRAY2RGB),
    '8UC1': (1, 1, cv2.COLOR_GRAY2RGB),
    '8UC3': (3, 1, cv2.COLOR_BGR2RGB),
    '8UC4': (4, 1, cv2.COLOR_BGRA2RGB),
    'rgb16': (3, 2, None),
    'bgr16': (3, 2, cv2.COLOR_BGR2RGB),
    'rgba16': (4, 2, cv2.COLOR_RGBA2RGB),
    'bgra16': (4, 2, cv2.COLOR_BGRA2RGB),
    'mono16': (1, 2, cv2.COLOR_GRAY2RGB),
    'bayer_rggb8': (1, 1, cv2.COLOR_BayerBG2RGB),
    'bayer_bggr8': (1, 1, cv2.COLOR_BayerRG2RGB),
    'bayer_gbrg8': (1, 1, cv2.COLOR_BayerGR2RGB),
    'bayer_grbg8': (1, 1, cv2.COLOR_BayerGB2RGB),
    'bayer_rggb16': (1, 2, cv2.COLOR_BayerBG2RGB),
    'bayer_bggr16': (1, 2, cv2.COLOR_BayerRG2RGB),
    'bayer_gbrg16': (1, 2, cv2.COLOR_BayerGR2RGB),
    'bayer_grbg16': (1, 2, cv2.COLOR_BayerGB2RGB),
}

# YUV with one chroma pair for two pixels (4:2:2), packed in macropixels of four bytes.
_PACKED_422: dict[str, int] = {
    'yuv422': cv2.COLOR_YUV2RGB_UYVY,
    'uyvy': cv2.COLOR_YUV2RGB_UYVY,
    'yuv422_yuy2': cv2.COLOR_YUV2RGB_YUY2,
    'yuyv': cv2.COLOR_YUV2RGB_YUY2,
}

# YUV with one chroma pair for 2x2 pixels (4:2:0): a plane of Y, then one of interleaved pairs.
_SEMIPLANAR_420: dict[str, int] = {
    'nv12': cv2.COLOR_YUV2RGB_NV12,
    'nv21': cv2.COLOR_YUV2RGB_NV21,
}

IMAGE_ENCODINGS: tuple[str, ...] = (*_INTERLEAVED, *_PACKED_422, *_SEMIPLANAR_420)

# What sensor_msgs calls pixels that are not a picture; a depth topic wired to the image input.
_DEPTH_ENCODINGS = ('16UC1', '32FC1')


def image_from(message: Any) -> Tensor:
    """RGB of an Image or a CompressedImage, which is told by its `format`.

    Returns:
        (H, W, 3) uint8 RGB on the CPU, owning its memory.

    Raises:
        MessageError: see `image_from_message` and `compressed_image_from_message`.
    """
    if hasattr(message, 'format'):
        return compressed_image_from_message(message)
    return image_from_message(message)


def image_from_message(message: Any) -> Tensor:
    """RGB of a raw image in one of IMAGE_ENCODINGS.

    16-bit channels keep their high byte (a value of 65535 is white), so a camera that puts
    12 bits into the low end of mono16 looks dark. YUV is BT.601 with the video range 16 to 235,
    as OpenCV and so cv_bridge take it. Bayer is demosaiced bilinearly.

    Args:
        message: sensor_msgs/Image.

    Returns:
        (H, W, 3) uint8 RGB on the CPU, owning its memory: exactly one copy for rgb8.

    Raises:
        MessageError: unknown encoding, no pixels, too small a step, or too little data.
    """
    height, width = image_size(message)
    encoding = message.encoding
    if encoding in _INTERLEAVED:
        rgb = _from_interleaved(message, height, width)
    elif encoding in _PACKED_422:
        rgb = _from_packed_422(message, height, width)
    elif encoding in _SEMIPLANAR_420:
        rgb = _from_semiplanar_420(message, height, width)
    elif encoding in _DEPTH_ENCODINGS:
        raise MessageError(
            f'image encoding is {encoding!r}, which is a depth image, expected a camera image: '
            f'one of {", ".join(IMAGE_ENCODINGS)}'
        )
    else:
        raise MessageError(
            f'image encoding is {encoding!r}, expected one of {", ".join(IMAGE_ENCODINGS)}'
        )
    return torch.from_numpy(rgb)


def _from_interleaved(message: Any, height: int, width: int) -> np.ndarray:
    channels, channel_bytes, conversion = _INTERLEAVED[message.encoding]
    rows = image_rows(message, width * channels * channel_bytes, height)
    if channel_bytes == 2:
        rows = rows[:, 0 if message.is_bigendian else 1 :: 2]
    pixels = rows if channels == 1 else rows.reshape(height, width, channels)
    if message.encoding.startswith('bayer'):
        return _demosaic(pixels, conversion)
    return _convert(pixels, conversion)


def _convert(pixels: np.ndarray, conversion: int | None) -> np.ndarray:
    if conversion is None:
        return np.array(pixels, order='C')  # the message's memory may be read-only, or reused
    return cv2.cvtColor(np.ascontiguousarray(pixels), conversion)


def _demosaic(mosaic: np.ndarray, conversion: int | None) -> np.ndarray:
    height, width = mosaic.shape
    if min(height, width) < 3:  # OpenCV would return black without a word
        raise MessageError(f'Bayer image is {width}x{height} pixels, expected at least 3x3')
    return _convert(mosaic, conversion)


def _from_packed_422(message: Any, height: int, width: int) -> np.ndarray:
    pairs = (width + 1) // 2  # an odd last pixel still has a whole macropixel
    rows = image_rows(message, 4 * pairs, height)
    yuv = np.ascontiguousarray(rows).reshape(height, 2 * pairs, 2)
    rgb = cv2.cvtColor(yuv, _PACKED_422[message.encoding])
    return np.ascontiguousarray(rgb[:, :width])


def _from_semiplanar_420(message: Any, height: int, width: int) -> np.ndarray:
    columns, chroma_rows = (width + 1) // 2, (height + 1) // 2
    rows = image_rows(message, 2 * columns, height + chroma_rows)
    luma, chroma = rows[:height], rows[height:]
    if height % 2:  # OpenCV wants whole blocks of 2x2; the row added here is cut off below
        luma = np.concatenate([luma, luma[-1:]])
    yuv = np.concatenate([luma, chroma])
    rgb = cv2.cvtColor(yuv, _SEMIPLANAR_420[message.encoding])
    return np.ascontiguousarray(rgb[:height, :width])


def compressed_image_from_message(message: Any) -> Tensor:
    """RGB of a jpeg or png CompressedImage.

    `format` is 'jpeg', 'png' or what compressed_image_transport writes, such as
    'rgb8; jpeg compressed bgr8'. The bytes decide which codec it is; of `format`, the encoding
    before ';' and the order of channels after 'compressed' matter. EXIF orientation is ignored,
    because the camera's intrinsics are of the pixels as they were stored.

    Args:
        message: sensor_msgs/CompressedImage.

    Returns:
        (H, W, 3) uint8 RGB on the CPU.

    Raises:
        MessageError: depth instead of a picture, an unknown format, or bytes that do not decode.
    """
    raw_encoding, transport = split_format(message.format)
    if 'compressedDepth' in transport or raw_encoding in _DEPTH_ENCODINGS:
        raise MessageError(
            f'compressed image format is {message.format!r}, which is a depth image, expected a '
            'camera image in jpeg or png'
        )
    if not any(codec in transport.lower() for codec in ('jpeg', 'jpg', 'png')):
        raise MessageError(
            f'compressed image format is {message.format!r}, expected jpeg or png, such as '
            "'jpeg' or 'rgb8; jpeg compressed bgr8'"
        )
    if raw_encoding.startswith('bayer'):
        return torch.from_numpy(_decode_mosaic(message, raw_encoding))
    pixels = decode(message, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    # 'compressed rgb8': RGB went into an encoder that takes BGR, so it also comes out as RGB.
    if 'compressed rgb' not in transport:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    return torch.from_numpy(pixels)


def _decode_mosaic(message: Any, raw_encoding: str) -> np.ndarray:
    """A Bayer image that was compressed as it was, or after it had been demosaiced."""
    pixels = decode(message, cv2.IMREAD_UNCHANGED)
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    if pixels.ndim == 3:
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    if raw_encoding not in _INTERLEAVED:
        raise MessageError(
            f'compressed image format is {message.format!r}, expected a Bayer encoding out of '
            f'{", ".join(name for name in _INTERLEAVED if name.startswith("bayer"))}'
        )
    return _demosaic(pixels, _INTERLEAVED[raw_encoding][2])


def split_format(image_format: str) -> tuple[str, str]:
    """CompressedImage.format -> (encoding before compression or '', the rest).

    'rgb8; jpeg compressed bgr8' -> ('rgb8', 'jpeg compressed bgr8'); 'png' -> ('', 'png').
    """
    raw_encoding, separator, transport = image_format.partition(';')
    return (raw_encoding.strip(), transport.strip()) if separator else ('', raw_encoding.strip())


def decode(message: Any, flags: int, offset: int = 0) -> np.ndarray:
    """Pixels of the jpeg or png that starts at byte `offset` of a CompressedImage's data.

    Args:
        flags: OpenCV's IMREAD_*.

    Returns:
        (H, W) or (H, W, C) in OpenCV's order of channels.

    Raises:
        MessageError: the bytes do not decode, or a jpeg ends before its picture does.
    """
    data = data_bytes(message)[offset:]
    description = f'compressed image data ({data.size} bytes, format {message.format!r})'
    if _is_cut_jpeg(data):  # libjpeg would fill the missing rows with grey
        raise MessageError(f'{description} is a truncated jpeg, expected its end marker FF D9')
    try:
        pixels = cv2.imdecode(data, flags) if data.size else None
    except cv2.error:
        pixels = None
    if pixels is None:
        raise MessageError(
            f'{description} does not decode: it starts with {data[:4].tobytes().hex(" ")!r}, '
            "expected an intact jpeg ('ff d8 ff') or png ('89 50 4e 47')"
        )
    return pixels


def _is_cut_jpeg(data: np.ndarray) -> bool:
    stream = data.tobytes()
    # A thumbnail in the header has markers of its own: what counts is an end after the last scan.
    end, last_scan = stream.rfind(b'\xff\xd9'), stream.rfind(b'\xff\xda')
    return stream.startswith(b'\xff\xd8') and end <= last_scan
