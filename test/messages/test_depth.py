"""Depth images in both directions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from metric_depth_ros.messages import (
    MessageError,
    depth_fields,
    depth_from_message,
    std_from_message,
)

NAN, INF = float('nan'), float('inf')


@pytest.mark.parametrize('bigendian', [0, 1])
@pytest.mark.parametrize('encoding', ['16UC1', 'mono16'])
def test_millimetres_to_metres(library: Any, encoding: str, bigendian: int) -> None:
    values = np.array([[0, 1, 999], [1000, 65535, 0x1234]])
    rows = values.astype('>u2' if bigendian else '<u2').view(np.uint8)
    padded = np.concatenate([rows, np.full((2, 3), 0xFF, np.uint8)], axis=1)
    sent = library.image(encoding, 2, 3, 9, padded.tobytes(), bigendian)
    depth = depth_from_message(sent)
    assert depth.dtype == torch.float32
    expected = np.array([[NAN, 0.001, 0.999], [1.0, 65.535, 4.66]], dtype=np.float32)
    np.testing.assert_array_equal(depth.numpy(), expected)


@pytest.mark.parametrize('bigendian', [0, 1])
def test_metres_keep_infinity_and_lose_what_is_no_depth(library: Any, bigendian: int) -> None:
    values = np.array([[0.25, NAN, INF], [0.0, -1.0, -INF]])
    rows = values.astype('>f4' if bigendian else '<f4').view(np.uint8)
    padded = np.concatenate([rows, np.full((2, 2), 0x7F, np.uint8)], axis=1)
    depth = depth_from_message(library.image('32FC1', 2, 3, 14, padded.tobytes(), bigendian))
    expected = np.array([[0.25, NAN, INF], [NAN, NAN, NAN]], dtype=np.float32)
    np.testing.assert_array_equal(depth.numpy(), expected)


def test_reading_does_not_change_the_message(library: Any) -> None:
    data = np.array([[1.0, -1.0]], dtype='<f4').tobytes()
    sent = library.image('32FC1', 1, 2, 8, data)
    depth_from_message(sent).zero_()
    assert bytes(sent.data) == data


@pytest.mark.parametrize('bigendian', [0, 1])
def test_standard_deviation(library: Any, bigendian: int) -> None:
    values = np.array([[0.25, NAN, INF], [0.0, 2.0, 3.0]], dtype=np.float32)
    rows = values.astype('>f4' if bigendian else '<f4').view(np.uint8)
    padded = np.concatenate([rows, np.full((2, 2), 0x7F, np.uint8)], axis=1)
    std = std_from_message(library.image('32FC1', 2, 3, 14, padded.tobytes(), bigendian))
    np.testing.assert_array_equal(std.numpy(), values)
    with pytest.raises(MessageError, match="'16UC1', expected 32FC1"):
        std_from_message(library.image('16UC1', 1, 1, 2, b'ab'))


def test_standard_deviation_is_read_where_it_arrived(rclpy_library: Any) -> None:
    sent = rclpy_library.image('32FC1', 1, 2, 8, np.ones(2, '<f4').tobytes())
    std = std_from_message(sent)
    assert np.shares_memory(std.numpy(), np.frombuffer(sent.data, np.uint8))


@pytest.mark.parametrize(
    ('encoding', 'step', 'length', 'expected'),
    [
        ('rgb8', 12, 24, ["'rgb8'", '16UC1', '32FC1']),
        ('16UC1', 7, 14, ['step is 7', 'at least 8 bytes']),
        ('32FC1', 16, 31, ['31 bytes', 'expected 32']),
        ('32FC1', 8, 16, ['step is 8', 'at least 16 bytes']),
    ],
)
def test_what_cannot_be_depth(
    library: Any, encoding: str, step: int, length: int, expected: list[str]
) -> None:
    with pytest.raises(MessageError) as caught:
        depth_from_message(library.image(encoding, 2, 4, step, bytes(length)))
    assert all(part in str(caught.value) for part in expected), str(caught.value)


def test_no_pixels(library: Any) -> None:
    with pytest.raises(MessageError, match='0x2'):
        depth_from_message(library.image('16UC1', 2, 0, 0, b''))


def some_depth(height: int = 7, width: int = 11) -> torch.Tensor:
    depth = 0.1 + 60 * torch.rand(height, width, generator=torch.Generator().manual_seed(5))
    depth[0, 0] = NAN
    depth[1, 1] = INF
    return depth


def test_metres_survive_the_round_trip_exactly(library: Any) -> None:
    depth = some_depth()
    sent = library.publish(depth_fields(depth))
    assert (sent.encoding, sent.height, sent.width, sent.step) == ('32FC1', 7, 11, 44)
    assert sent.is_bigendian == 0
    torch.testing.assert_close(depth_from_message(sent), depth, rtol=0, atol=0, equal_nan=True)


def test_millimetres_survive_the_round_trip_to_half_a_millimetre(library: Any) -> None:
    depth = some_depth()
    sent = library.publish(depth_fields(depth, '16UC1'))
    assert (sent.encoding, sent.step, len(sent.data)) == ('16UC1', 22, 154)
    depth[1, 1] = NAN  # 16 bits have no word for infinity
    received = depth_from_message(sent)
    torch.testing.assert_close(received, depth, rtol=0, atol=5.1e-4, equal_nan=True)


def test_millimetres_round_and_leave_out_what_they_cannot_say() -> None:
    metres = [1.0004, 1.0006, 0.0004, 0.0006, 65.535, 65.536, 1e9, INF, -INF, NAN, -1.0, 0.0]
    fields = depth_fields(torch.tensor([metres]), '16UC1')
    expected = [1000, 1001, 0, 1, 65535, 0, 0, 0, 0, 0, 0, 0]
    np.testing.assert_array_equal(np.frombuffer(fields.data, '<u2'), expected)


def test_a_view_of_a_larger_tensor_is_sent_as_it_looks(library: Any) -> None:
    depth = some_depth(9, 12)
    received = depth_from_message(library.publish(depth_fields(depth.T[2:8:2])))
    torch.testing.assert_close(received, depth.T[2:8:2], rtol=0, atol=0, equal_nan=True)


def test_unknown_encoding_to_send() -> None:
    with pytest.raises(MessageError, match="'64FC1', expected 32FC1 or 16UC1"):
        depth_fields(some_depth(), '64FC1')


def test_agrees_with_cv_bridge(rclpy_library: Any) -> None:
    cv_bridge = pytest.importorskip('cv_bridge')
    bridge = cv_bridge.CvBridge()
    depth = some_depth()
    for encoding in ('32FC1', '16UC1'):
        ours = rclpy_library.publish(depth_fields(depth, encoding))
        pixels = bridge.imgmsg_to_cv2(ours, 'passthrough')
        theirs = bridge.cv2_to_imgmsg(pixels, encoding)
        assert bytes(theirs.data) == bytes(ours.data)
        assert (theirs.step, theirs.encoding) == (ours.step, ours.encoding)
    np.testing.assert_array_equal(bridge.imgmsg_to_cv2(rclpy_library.publish(depth_fields(depth)),
                                                       'passthrough'), depth.numpy())  # fmt: skip
