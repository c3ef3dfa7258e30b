"""What goes wrong at the message door: one warning that says what, and the next frame is fine."""

from __future__ import annotations

import itertools
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy')

NAN = float('nan')
WIDTH, HEIGHT = 64, 48


def k(fx: float) -> list[float]:
    return [fx, 0.0, 31.0, 0.0, 61.0, 23.0, 0.0, 0.0, 1.0]


BAD_IMAGES = {
    'wrong step': ({'step': 100}, ('step is 100', '192')),
    'truncated': ({'data': b'\0' * 5000}, ('5000 bytes', 'expected 9216')),
    'unknown encoding': ({'encoding': 'rgb9'}, ("encoding is 'rgb9'", 'expected one of rgb8')),
    'depth for colour': ({'encoding': '16UC1', 'step': 128}, ("'16UC1'", 'expected a camera')),
    'empty': ({'width': 0, 'step': 0, 'data': b''}, ('0x48', 'expected at least 1x1')),
}
BAD_INFOS = {
    'zero focal length': ({'k': k(0.0)}, ('fx is 0.0', 'expected a positive focal length')),
    'NaN focal length': ({'k': k(NAN)}, ('fx is nan', 'expected a finite number')),
    'not calibrated': ({'k': [0.0] * 9}, ('0.0', 'expected positive focal lengths')),
    'other size': ({'width': 32, 'height': 24}, ('32x24', 'expected', '64x48')),
    'distortion': ({'d': [0.1] * 7, 'distortion_model': 'odd'}, ("'odd'", 'expected one of')),
}


def expect_one_warning(rig: Any, topic: str, words: tuple[str, ...]) -> None:
    """One line on /rosout, though three messages were bad; it names the topic and the values."""
    rig.wait(lambda: rig.node.health.failed == 3)
    rig.wait(rig.warnings)
    (warning,) = rig.warnings()
    assert warning.startswith(f'{rig.namespace}/{topic}: ')
    assert '\n' not in warning
    for word in words:
        assert word in warning


def expect_alive(rig: Any, stamp: int) -> None:
    rig.send_image(stamp)
    rig.expect(stamp)
    assert rig.stamps('depth/image') == [stamp]
    rig.wait(lambda: rig.node.health.processed == 1)


@pytest.mark.parametrize('case', BAD_IMAGES)
def test_bad_image(make_rig, case):
    changes, words = BAD_IMAGES[case]
    rig = make_rig().start()
    rig.send_info()
    for stamp in (1, 2, 3):
        rig.send_image(stamp, **changes)
        rig.wait(lambda stamp=stamp: rig.node.health.failed == stamp)
    expect_one_warning(rig, 'image', words)
    expect_alive(rig, 4)


@pytest.mark.parametrize('case', BAD_INFOS)
def test_bad_camera_info(make_rig, case):
    changes, words = BAD_INFOS[case]
    rig = make_rig().start()
    rig.send_info(**changes)
    for stamp in (1, 2, 3):
        rig.send_image(stamp)
        rig.wait(lambda stamp=stamp: rig.node.health.failed == stamp)
    expect_one_warning(rig, 'camera_info', words)
    rig.send_info()
    # Topics are not ordered among themselves: the first good image may overtake the good info.
    stamps = itertools.count(4)
    rig.wait(lambda: rig.send_image(next(stamps)) or rig.stamps('depth/image'))


def test_corrupt_jpeg(make_rig):
    from sensor_msgs.msg import CompressedImage

    rig = make_rig(image_transport='compressed').start()
    rig.send_info()
    good = cv2.imencode('.jpg', np.full((HEIGHT, WIDTH, 3), 90, np.uint8))[1].tobytes()
    for stamp in (1, 2, 3):  # cut short, each at another byte
        jpeg = CompressedImage(
            header=rig.header(stamp), format='jpeg', data=good[: len(good) // 2 + stamp]
        )
        rig.jpegs.publish(jpeg)
        rig.wait(lambda stamp=stamp: rig.node.health.failed == stamp)
    expect_one_warning(rig, 'image/compressed', ('truncated jpeg', 'expected', 'FF D9'))
    rig.jpegs.publish(CompressedImage(header=rig.header(4), format='jpeg', data=good))
    rig.expect(4)


def test_garbage_instead_of_jpeg(make_rig):
    from sensor_msgs.msg import CompressedImage

    rig = make_rig(image_transport='compressed').start()
    rig.send_info()
    for stamp in (1, 2, 3):
        garbage = CompressedImage(header=rig.header(stamp), format='jpeg', data=b'no picture')
        rig.jpegs.publish(garbage)
        rig.wait(lambda stamp=stamp: rig.node.health.failed == stamp)
    expect_one_warning(rig, 'image/compressed', ('10 bytes', "'jpeg'", 'expected an intact jpeg'))


def test_no_camera_info_at_all(make_rig):
    rig = make_rig().start()
    for stamp in (1, 2, 3):
        rig.send_image(stamp)
    rig.wait(lambda: rig.node.health.received == 3)
    rig.wait(rig.warnings)
    (warning,) = rig.warnings()
    assert warning.startswith(f'{rig.namespace}/camera_info: 0 messages so far, expected')
    assert f'{rig.namespace}/image' in warning
    rig.send_info()  # the newest image has waited for it
    rig.expect(3)
    assert rig.stamps('depth/image') == [3]


def test_frame_of_the_image_is_used_where_camera_info_has_another(make_rig):
    rig = make_rig().start()
    rig.send_info(header=rig.header(0, 'base_link'))
    rig.send_image(1, header=rig.header(1, 'camera'))
    rig.expect(1, 'depth/image', 'depth/camera_info')
    for topic in ('depth/image', 'depth/camera_info'):
        assert rig.received[topic][0].header.frame_id == 'camera'
    rig.wait(rig.warnings)
    (warning,) = rig.warnings()
    assert warning.startswith(f"{rig.namespace}/camera_info: frame_id is 'base_link', expected")


def test_two_kinds_of_fault_are_two_warnings(make_rig):
    rig = make_rig().start()
    rig.send_info()
    faults = [{'step': 100}, {'encoding': 'rgb9'}] * 2
    for count, changes in enumerate(faults, start=1):
        rig.send_image(count, **changes)
        rig.wait(lambda count=count: rig.node.health.failed == count)
    rig.wait(lambda: len(rig.warnings()) == 2)
    rig.wait(lambda: rig.status()['failed'] == '4')
    assert rig.status()['last_warning'] == next(w for w in rig.warnings() if 'rgb9' in w)
    assert rig.received['/diagnostics'][-1].status[0].level == b'\1'
