"""Compressed images, and both real bags against the pictures they were made of."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from metric_depth_ros.messages import (
    MessageError,
    compressed_image_from_message,
    depth_from_message,
    frame_from_messages,
    image_from,
)


def smooth_picture(height: int = 24, width: int = 33) -> np.ndarray:
    """RGB whose channels cannot be taken for each other, and that jpeg hardly changes."""
    y, x = np.mgrid[:height, :width]
    return np.stack([200 + x, 100 + y, 10 + x // 2 + y], axis=-1).astype(np.uint8)


def encoded(extension: str, rgb: np.ndarray) -> bytes:
    quality = [cv2.IMWRITE_JPEG_QUALITY, 98] if extension == '.jpg' else []
    return cv2.imencode(extension, rgb[..., ::-1].copy(), quality)[1].tobytes()


@pytest.mark.parametrize(
    'image_format',
    ['jpeg', 'jpg', 'JPEG', 'rgb8; jpeg compressed bgr8', 'bgr8; jpeg compressed bgr8',
     'bayer_rggb8; jpeg compressed bgr8'],
)  # fmt: skip
def test_jpeg(library: Any, image_format: str) -> None:
    truth = smooth_picture()
    rgb = image_from(library.compressed(image_format, encoded('.jpg', truth)))
    np.testing.assert_allclose(rgb.numpy().astype(int), truth, atol=12)
    assert np.abs(rgb.numpy().astype(int) - truth).mean() < 2


@pytest.mark.parametrize('image_format', ['png', 'bgr8; png compressed bgr8', 'rgb8;png'])
def test_png_is_exact(library: Any, image_format: str) -> None:
    truth = smooth_picture()
    rgb = image_from(library.compressed(image_format, encoded('.png', truth)))
    np.testing.assert_array_equal(rgb.numpy(), truth)


def test_rgb_that_was_compressed_as_if_it_were_bgr(library: Any) -> None:
    truth = smooth_picture()
    swapped = encoded('.png', truth[..., ::-1])
    rgb = image_from(library.compressed('rgb8; png compressed rgb8', swapped))
    np.testing.assert_array_equal(rgb.numpy(), truth)


@pytest.mark.parametrize('image_format', ['mono8; png compressed ', 'mono16; png compressed '])
def test_grey_png(library: Any, image_format: str) -> None:
    grey = smooth_picture()[..., 0]
    stored = grey.astype(np.uint16) * 256 if 'mono16' in image_format else grey
    data = cv2.imencode('.png', stored)[1].tobytes()
    rgb = image_from(library.compressed(image_format, data))
    np.testing.assert_array_equal(rgb.numpy(), np.repeat(grey[..., None], 3, axis=2))


def test_mosaic_in_png_is_demosaiced(library: Any) -> None:
    red_green_blue = np.array([220, 90, 30], dtype=np.uint8)
    mosaic = np.tile(red_green_blue[[[0, 1], [1, 2]]], (5, 6))
    data = cv2.imencode('.png', mosaic)[1].tobytes()
    rgb = image_from(library.compressed('bayer_rggb8; png compressed ', data))
    np.testing.assert_array_equal(rgb.numpy(), np.broadcast_to(red_green_blue, (10, 12, 3)))


def test_exif_orientation_does_not_turn_the_picture(library: Any) -> None:
    """The intrinsics are those of the stored pixels."""
    truth = smooth_picture(24, 40)
    jpeg = encoded('.jpg', truth)
    rotate_90 = struct.pack('<HHIHH', 0x0112, 3, 1, 6, 0)  # the tag Orientation, a short, 6
    tiff = b'II*\x00\x08\x00\x00\x00\x01\x00' + rotate_90 + b'\x00\x00\x00\x00'
    segment = b'Exif\x00\x00' + tiff
    with_exif = jpeg[:2] + b'\xff\xe1' + struct.pack('>H', len(segment) + 2) + segment + jpeg[2:]
    turned = cv2.imdecode(np.frombuffer(with_exif, np.uint8), cv2.IMREAD_COLOR)
    assert turned.shape == (40, 24, 3)  # the tag is one that OpenCV obeys
    rgb = image_from(library.compressed('jpeg', with_exif))
    np.testing.assert_allclose(rgb.numpy().astype(int), truth, atol=12)


@pytest.mark.parametrize(
    'image_format', ['16UC1; compressedDepth png', '16UC1; png compressed ', '32FC1; jpeg']
)
def test_compressed_depth_is_not_a_picture(library: Any, image_format: str) -> None:
    with pytest.raises(MessageError, match='which is a depth image') as caught:
        image_from(library.compressed(image_format, encoded('.png', smooth_picture())))
    assert repr(image_format) in str(caught.value)


@pytest.mark.parametrize('image_format', ['', 'h264', 'rgb8; theora'])
def test_unknown_format(library: Any, image_format: str) -> None:
    with pytest.raises(MessageError, match='expected jpeg or png') as caught:
        compressed_image_from_message(library.compressed(image_format, b'\x00' * 100))
    assert repr(image_format) in str(caught.value)


def test_corrupt_data(library: Any) -> None:
    jpeg = encoded('.jpg', smooth_picture())
    png = encoded('.png', smooth_picture())
    cases = {
        'jpeg without an end': ('jpeg', jpeg[: len(jpeg) // 2], 'truncated jpeg'),
        'jpeg without its last marker': ('jpeg', jpeg[:-2], 'truncated jpeg'),
        'png without an end': ('png', png[: len(png) // 2], 'does not decode'),
        'nothing': ('jpeg', b'', '0 bytes'),
        'noise': ('jpeg', bytes(range(200)), "starts with '00 01 02 03'"),
    }
    for name, (image_format, data, expected) in cases.items():
        with pytest.raises(MessageError) as caught:
            image_from(library.compressed(image_format, data))
        text = str(caught.value)
        assert expected in text, name
        assert f'{len(data)} bytes' in text, name
        assert '\n' not in text, name


def test_jpeg_with_a_thumbnail_is_checked_by_its_own_end(library: Any) -> None:
    """The thumbnail in the header ends too, which says nothing of the picture."""
    thumbnail = encoded('.jpg', smooth_picture(8, 8))
    jpeg = encoded('.jpg', smooth_picture())
    segment = b'Exif\x00\x00' + thumbnail
    whole = jpeg[:2] + b'\xff\xe1' + struct.pack('>H', len(segment) + 2) + segment + jpeg[2:]
    assert image_from(library.compressed('jpeg', whole)).shape == (24, 33, 3)
    with pytest.raises(MessageError, match='truncated jpeg'):
        image_from(library.compressed('jpeg', whole[:-40]))


# Depth


def test_compressed_depth_in_millimetres(library: Any) -> None:
    millimetres = np.array([[0, 1, 1500], [65535, 2000, 0]], dtype=np.uint16)
    png = cv2.imencode('.png', millimetres)[1].tobytes()
    expected = np.where(millimetres > 0, millimetres / 1000, np.nan).astype(np.float32)
    for image_format, header in [
        ('16UC1; compressedDepth png', struct.pack('<iff', 0, 0.0, 0.0)),
        ('16UC1; compressedDepth', struct.pack('<iff', 0, 0.0, 0.0)),
        ('16UC1; png compressed ', b''),
    ]:
        depth = depth_from_message(library.compressed(image_format, header + png))
        np.testing.assert_array_equal(depth.numpy(), expected)


def test_compressed_depth_in_metres(library: Any) -> None:
    """compressed_depth_image_transport: code = a / depth + b, 0 where there is no depth."""
    depth_max, quantisation = 10.0, 100.0
    a = quantisation * (quantisation + 1)
    b = 1 - a / depth_max
    metres = np.array([[0.5, 2.0, np.nan], [4.0, 9.5, 1.0]])
    code = np.nan_to_num(np.rint(a / metres + b)).astype(np.uint16)
    data = struct.pack('<iff', 0, a, b) + cv2.imencode('.png', code)[1].tobytes()
    depth = depth_from_message(library.compressed('32FC1; compressedDepth png', data))
    np.testing.assert_allclose(depth.numpy(), metres, rtol=1e-3)


@pytest.mark.parametrize(
    ('image_format', 'expected'),
    [
        ('16UC1; compressedDepth rvl', 'compressedDepth rvl'),
        ('rgb8; jpeg compressed bgr8', 'jpeg compressed bgr8'),
        ('32FC1; png compressed ', '32FC1; png'),
        ('16UC1; compressedDepth png', 'does not decode'),
    ],
)
def test_compressed_depth_that_cannot_be_read(
    library: Any, image_format: str, expected: str
) -> None:
    with pytest.raises(MessageError) as caught:
        depth_from_message(library.compressed(image_format, b'\x00' * 40))
    assert expected in str(caught.value)


def test_colour_png_is_not_depth(library: Any) -> None:
    data = bytes(12) + encoded('.png', smooth_picture())
    with pytest.raises(MessageError, match=r'uint8 of shape \(24, 33, 3\), expected uint16'):
        depth_from_message(library.compressed('16UC1; compressedDepth png', data))


# Real bags


def first_frame(bag: Path, image_topic: str) -> Any:
    from rosbags.highlevel import AnyReader

    first: dict[str, Any] = {}
    with AnyReader([bag]) as reader:
        for connection, _, data in reader.messages():
            if connection.topic in (image_topic, '/camera/color/camera_info'):
                first.setdefault(connection.topic, reader.deserialize(data, connection.msgtype))
            if len(first) == 2:
                break
    return frame_from_messages(first[image_topic], first['/camera/color/camera_info'])


@pytest.mark.parametrize(
    ('bag', 'topic', 'tolerance'),
    [
        ('cabinet_raw_mcap', '/camera/color/image_raw', 2.0),
        ('cabinet_jpeg_mcap', '/camera/color/image_raw/compressed', 4.0),
    ],
)
def test_real_bag_shows_the_picture_it_was_made_of(
    shared_data: Path, bag: str, topic: str, tolerance: float
) -> None:
    frame = first_frame(shared_data / 'bags' / bag, topic)
    sequence = shared_data / 'tum_fr3_cabinet'
    first_line = next(
        line for line in (sequence / 'associations.txt').read_text().splitlines() if line[0] != '#'
    )
    stamp, picture = first_line.split()[:2]
    bgr = cv2.imread(str(sequence / picture))
    difference = np.abs(frame.image.numpy()[..., ::-1].astype(int) - bgr)
    assert difference.mean() < tolerance
    # Red and blue differ more from each other than either does from itself.
    swapped = np.abs(frame.image.numpy().astype(int) - bgr)
    assert swapped.mean() > 2 * difference.mean()
    assert abs(frame.stamp_ns * 1e-9 - float(stamp)) < 1e-3
    assert frame.frame_id == 'camera_color_optical_frame'
    assert frame.camera.distortion_model == 'none'
    assert (frame.camera.fx, frame.camera.cy) == (535.4, 247.6)
