"""The slot between subscriptions and worker, and the throttle of warnings; no ROS needed."""

from __future__ import annotations

import threading

from metric_depth_ros.ros.diagnostics import Throttle
from metric_depth_ros.ros.inbox import Inbox


def test_newest_image_meets_newest_camera_info():
    inbox = Inbox()
    inbox.put_camera_info('old info')
    assert not inbox.put_image('first')
    assert inbox.put_image('second')
    inbox.put_camera_info('new info')
    delivery = inbox.take()
    assert (delivery.image, delivery.camera_info) == ('second', 'new info')
    assert not inbox.put_image('third')  # the second was taken, not dropped
    assert inbox.take().camera_info == 'new info'


def test_image_waits_for_the_first_camera_info():
    inbox, taken = Inbox(), []
    worker = threading.Thread(target=lambda: taken.append(inbox.take()))
    worker.start()
    inbox.put_image('image')
    assert inbox.lacks_camera_info(for_s=0)
    assert not inbox.lacks_camera_info(for_s=60)
    inbox.put_camera_info('info')
    worker.join(10)
    assert taken[0].image == 'image'
    assert not inbox.lacks_camera_info(for_s=0)


def test_closing_ends_the_wait():
    inbox, taken = Inbox(), []
    worker = threading.Thread(target=lambda: taken.append(inbox.take()))
    worker.start()
    inbox.close()
    worker.join(10)
    assert taken == [None]
    inbox.put_image('image')
    inbox.put_camera_info('info')
    assert inbox.take() is None


def test_throttle_takes_texts_that_differ_in_numbers_for_one_kind():
    now = [100.0]
    throttle = Throttle(5.0, clock=lambda: now[0])
    assert throttle.allows('image data has 17 bytes')
    assert not throttle.allows('image data has 4 bytes')
    assert throttle.allows('image step is 3')
    now[0] = 104.9
    assert not throttle.allows('image data has 17 bytes')
    now[0] = 105.0
    assert throttle.allows('image data has 18 bytes')
