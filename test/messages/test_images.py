"""Raw images: every encoding against a picture that the test itself encoded, by definition."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch

from metric_depth_ros.messages import (
    IMAGE_ENCODINGS,
    MessageError,
    image_from,
    image_from_message,
)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def padded(rows: np.ndarray, padding: int) -> tuple[int, bytes]:
    """(H, N) uint8 -> step and bytes, with padding that would show if it were read as pixels."""
    noise = np.full((len(rows), padding), 0xA5, dtype=np.uint8)
    return rows.shape[1] + padding, np.concatenate([rows, noise], axis=1).tobytes()


def message(library: Any, encoding: str, rows: np.ndarray, size: tuple[int, int], **kwargs: Any):
    """size: height, width. rows: (N, bytes) uint8."""
    step, data = padded(rows, kwargs.pop('padding', 0))
    return library.image(encoding, *size, step, data, **kwargs)


COLOUR_ORDERS = {
    'rgb8': (0, 1, 2), 'bgr8': (2, 1, 0), 'rgba8': (0, 1, 2, None), 'bgra8': (2, 1, 0, None),
    '8UC3': (2, 1, 0), '8UC4': (2, 1, 0, None),
    'rgb16': (0, 1, 2), 'bgr16': (2, 1, 0), 'rgba16': (0, 1, 2, None), 'bgra16': (2, 1, 0, None),
}  # fmt: skip


def in_order(image: np.ndarray, order: tuple[int | None, ...]) -> np.ndarray:
    """The channels of `image` in `order`; None is alpha, which must not matter."""
    alpha = np.full(image.shape[:2], 0x3C, dtype=np.uint8)
    return np.stack([alpha if c is None else image[..., c] for c in order], axis=-1)


@pytest.mark.parametrize('padding', [0, 5])
@pytest.mark.parametrize('encoding', [name for name in COLOUR_ORDERS if '16' not in name])
def test_colour_of_8_bits(library: Any, encoding: str, padding: int) -> None:
    truth = picture(5, 7)
    rows = in_order(truth, COLOUR_ORDERS[encoding]).reshape(5, -1)
    rgb = image_from_message(message(library, encoding, rows, (5, 7), padding=padding))
    assert rgb.dtype == torch.uint8
    np.testing.assert_array_equal(rgb.numpy(), truth)


@pytest.mark.parametrize('bigendian', [0, 1])
@pytest.mark.parametrize('encoding', [name for name in COLOUR_ORDERS if '16' in name])
def test_colour_of_16_bits_keeps_the_high_byte(
    library: Any, encoding: str, bigendian: int
) -> None:
    truth = picture(5, 7)
    high = in_order(truth, COLOUR_ORDERS[encoding]).astype(np.uint16)
    rows = (high * 256 + 0xC7).astype('>u2' if bigendian else '<u2').reshape(5, -1)
    sent = message(library, encoding, rows.view(np.uint8), (5, 7), padding=3, bigendian=bigendian)
    np.testing.assert_array_equal(image_from_message(sent).numpy(), truth)


@pytest.mark.parametrize('encoding', ['mono8', '8UC1'])
def test_grey_of_8_bits(library: Any, encoding: str) -> None:
    grey = picture(4, 9)[..., 0]
    rgb = image_from_message(message(library, encoding, grey, (4, 9), padding=7))
    np.testing.assert_array_equal(rgb.numpy(), np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize('bigendian', [0, 1])
def test_mono16_divides_by_256(library: Any, bigendian: int) -> None:
    values = np.array([[0, 255, 256], [32768, 65279, 65535]])
    rows = values.astype('>u2' if bigendian else '<u2').view(np.uint8)
    rgb = image_from_message(message(library, 'mono16', rows, (2, 3), bigendian=bigendian))
    expected = np.array([[0, 0, 1], [128, 254, 255]])
    np.testing.assert_array_equal(rgb.numpy(), np.repeat(expected[..., None], 3, axis=2))


# Bayer


def mosaic(image: np.ndarray, pattern: str) -> np.ndarray:
    """What a sensor with `pattern` (row by row: 'rggb') sees of `image`."""
    height, width, _ = image.shape
    y, x = np.mgrid[:height, :width]
    channel = np.array(['rgb'.index(letter) for letter in pattern])[2 * (y % 2) + x % 2]
    return np.take_along_axis(image, channel[..., None], axis=2)[..., 0]


def ramps(height: int, width: int) -> np.ndarray:
    """Channels that differ and are linear, so that interpolating between neighbours is exact."""
    y, x = np.mgrid[:height, :width]
    return np.stack([20 + 4 * x + y, 200 - 2 * x - 3 * y, 60 + 5 * y], axis=-1).astype(np.uint8)


@pytest.mark.parametrize('size', [(16, 20), (17, 21)])
@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
def test_bayer_of_8_bits(library: Any, pattern: str, size: tuple[int, int]) -> None:
    truth = ramps(*size)
    sent = message(library, f'bayer_{pattern}8', mosaic(truth, pattern), size, padding=3)
    rgb = image_from_message(sent).numpy()
    np.testing.assert_allclose(rgb[2:-2, 2:-2].astype(int), truth[2:-2, 2:-2], atol=1)
    # At the border OpenCV takes the neighbour's colour: at most one step of the ramps away.
    np.testing.assert_allclose(rgb.astype(int), truth, atol=8)


@pytest.mark.parametrize('bigendian', [0, 1])
@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
def test_bayer_of_16_bits(library: Any, pattern: str, bigendian: int) -> None:
    truth = ramps(12, 14)
    values = mosaic(truth, pattern).astype('>u2' if bigendian else '<u2') * 256
    rows = values.astype('>u2' if bigendian else '<u2').view(np.uint8)
    sent = message(library, f'bayer_{pattern}16', rows, (12, 14), bigendian=bigendian)
    rgb = image_from_message(sent).numpy()
    np.testing.assert_allclose(rgb[2:-2, 2:-2].astype(int), truth[2:-2, 2:-2], atol=1)


# YUV

COLOURS = np.array(
    [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0], [200, 120, 40]]
)


def blocks(height: int, width: int) -> np.ndarray:
    """Pure colours in blocks of 2x2 pixels, so that subsampled chroma loses nothing."""
    y, x = np.mgrid[:height, :width]
    return COLOURS[(x // 2 + 2 * (y // 2)) % len(COLOURS)]


def bt601(rgb: np.ndarray) -> np.ndarray:
    """RGB 0..255 -> Y 16..235, Cb, Cr 16..240, from the standard's luma weights."""
    red, green, blue = np.moveaxis(rgb / 255.0, -1, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    blue_difference = (blue - luma) / 1.772
    red_difference = (red - luma) / 1.402
    yuv = [16 + 219 * luma, 128 + 224 * blue_difference, 128 + 224 * red_difference]
    return np.rint(np.stack(yuv, axis=-1)).astype(np.uint8)


@pytest.mark.parametrize('size', [(6, 8), (5, 7), (1, 1)])
@pytest.mark.parametrize(
    ('encoding', 'order'),
    [('yuv422', 'UYVY'), ('uyvy', 'UYVY'), ('yuv422_yuy2', 'YUYV'), ('yuyv', 'YUYV')],
)
def test_packed_yuv_422(library: Any, encoding: str, order: str, size: tuple[int, int]) -> None:
    height, width = size
    even = width + width % 2
    truth = blocks(height, even)
    yuv = bt601(truth)
    first, second = yuv[:, 0::2], yuv[:, 1::2]
    lumas = iter([first[..., 0], second[..., 0]])
    chroma = {'U': first[..., 1], 'V': first[..., 2]}
    macropixel = [next(lumas) if letter == 'Y' else chroma[letter] for letter in order]
    rows = np.stack(macropixel, axis=-1).reshape(height, 2 * even)
    rgb = image_from_message(message(library, encoding, rows, size, padding=6))
    assert tuple(rgb.shape) == (height, width, 3)
    np.testing.assert_allclose(rgb.numpy().astype(int), truth[:, :width], atol=3)


@pytest.mark.parametrize('size', [(6, 8), (5, 8), (6, 7), (5, 7), (1, 1)])
@pytest.mark.parametrize(('encoding', 'pair'), [('nv12', (1, 2)), ('nv21', (2, 1))])
def test_semiplanar_yuv_420(
    library: Any, encoding: str, pair: tuple[int, int], size: tuple[int, int]
) -> None:
    height, width = size
    truth = blocks(height + height % 2, width + width % 2)
    yuv = bt601(truth)
    luma = yuv[:height, :, 0]
    chroma = yuv[::2, ::2][..., list(pair)].reshape(-1, truth.shape[1])
    rows = np.concatenate([luma, chroma])
    rgb = image_from_message(message(library, encoding, rows, size, padding=4))
    assert tuple(rgb.shape) == (height, width, 3)
    np.testing.assert_allclose(rgb.numpy().astype(int), truth[:height, :width], atol=3)


# What holds of all encodings


@pytest.mark.parametrize('encoding', IMAGE_ENCODINGS)
def test_nothing_warns_and_the_tensor_is_contiguous(library: Any, encoding: str) -> None:
    rows = np.full((12, 8 * 8), 90, dtype=np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        rgb = image_from(message(library, encoding, rows, (8, 8)))
    assert rgb.is_contiguous()


def test_the_tensor_owns_its_memory(library: Any) -> None:
    truth = picture(4, 6)
    sent = message(library, 'rgb8', truth.reshape(4, -1), (4, 6))
    image_from(sent).zero_()
    assert bytes(sent.data) == truth.tobytes()


@pytest.mark.parametrize('encoding', IMAGE_ENCODINGS)
@pytest.mark.parametrize('shortage', ['step', 'data', 'height', 'width'])
def test_every_encoding_refuses_what_does_not_fit(
    library: Any, encoding: str, shortage: str
) -> None:
    height, width, step = 6, 8, 64
    rows = height + 3 if encoding.startswith('nv') else height
    arguments = {'height': height, 'width': width, 'step': step, 'data': bytes(rows * step)}
    arguments |= {
        'step': {'step': 7},
        'data': {'data': bytes(rows * step - 1)},
        'height': {'height': 0},
        'width': {'width': 0},
    }[shortage]
    with pytest.raises(MessageError) as caught:
        image_from_message(library.image(encoding, **arguments))
    text = str(caught.value)
    assert '\n' not in text
    expected = {
        'step': ['step is 7', encoding],
        'data': [f'{rows * step - 1} bytes', f'expected {rows * step}', encoding],
        'height': ['8x0'],
        'width': ['0x6'],
    }[shortage]
    assert all(part in text for part in expected), text


def test_too_small_a_step_names_the_bytes_of_a_row(library: Any) -> None:
    with pytest.raises(MessageError, match='step is 23, expected at least 24 bytes'):
        image_from_message(library.image('rgb8', 2, 8, 23, bytes(48)))


@pytest.mark.parametrize('encoding', ['', 'RGB8', 'i420', '64FC1'])
def test_unknown_encoding_lists_the_known(library: Any, encoding: str) -> None:
    with pytest.raises(MessageError) as caught:
        image_from_message(library.image(encoding, 2, 2, 16, bytes(32)))
    assert repr(encoding) in str(caught.value)
    assert all(name in str(caught.value) for name in IMAGE_ENCODINGS)


@pytest.mark.parametrize('encoding', ['16UC1', '32FC1'])
def test_depth_is_not_a_picture(library: Any, encoding: str) -> None:
    with pytest.raises(MessageError, match=f"'{encoding}', which is a depth image"):
        image_from_message(library.image(encoding, 2, 2, 16, bytes(32)))


def test_bayer_too_small_to_interpolate(library: Any) -> None:
    with pytest.raises(MessageError, match='5x2 pixels, expected at least 3x3'):
        image_from_message(library.image('bayer_rggb8', 2, 5, 5, bytes(10)))


@pytest.mark.parametrize('encoding', ['bgr8', 'mono8', 'mono16', 'yuv422', 'bayer_rggb8'])
def test_agrees_with_cv_bridge(rclpy_library: Any, encoding: str) -> None:
    cv_bridge = pytest.importorskip('cv_bridge')
    rng = np.random.default_rng(3)
    bytes_per_pixel = {'bgr8': 3, 'mono16': 2, 'yuv422': 2}.get(encoding, 1)
    rows = rng.integers(0, 256, (10, 12 * bytes_per_pixel), dtype=np.uint8)
    sent = message(rclpy_library, encoding, rows, (10, 12))
    theirs = cv_bridge.CvBridge().imgmsg_to_cv2(sent, 'rgb8')
    ours = image_from_message(sent).numpy()
    np.testing.assert_allclose(ours.astype(int), theirs, atol=1)
