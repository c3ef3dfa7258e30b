"""An image and its CameraInfo -> Frame."""

from __future__ import annotations

from typing import Any

from ..types import Frame
from .camera_info import camera_from_message
from .images import image_from


def stamp_ns(header: Any) -> int:
    """std_msgs/Header -> nanoseconds."""
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)


def frame_from_messages(image: Any, info: Any, *, rectified: bool = False) -> Frame:
    """Frame of an Image or CompressedImage and the CameraInfo that belongs to it.

    Stamp and frame_id are the image's. Arguments and errors as of `image_from` (MessageError) and
    `camera_from_message` (CameraError).
    """
    pixels = image_from(image)
    height, width, _ = pixels.shape
    camera = camera_from_message(info, (width, height), rectified=rectified)
    return Frame(pixels, camera, stamp_ns(image.header), image.header.frame_id)
