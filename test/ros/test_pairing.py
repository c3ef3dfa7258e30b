"""Frames put together by stamp, and then with their poses: who waits, who wins, who is refused."""

from __future__ import annotations

import threading
import time

import torch
from torch import Tensor

from metric_depth_ros.ros.pairing import Observation, ObservationQueue, StampMatcher


class KnownPoses:
    """Poses at some stamps; `newest` is how far they reach."""

    def __init__(self, *stamps: int, newest: int) -> None:
        self.stamps, self.newest = set(stamps), newest

    def at(self, stamp_ns: int, frame_id: str) -> Tensor | None:
        return torch.eye(4) * stamp_ns if stamp_ns in self.stamps else None

    def settled(self, stamp_ns: int, frame_id: str) -> bool:
        return self.newest >= stamp_ns

    def explain(self, stamp_ns: int, frame_id: str) -> str:
        return f'none at {stamp_ns}'


def queue_of(poses: KnownPoses | None, *stamps: int, patience_s: float = 60) -> ObservationQueue:
    queue = ObservationQueue(poses, capacity=4, patience_s=patience_s)
    for stamp in stamps:
        put(queue, stamp)
    return queue


def put(queue: ObservationQueue, stamp: int) -> None:
    queue.put(Observation(stamp, 'camera', {}, time.monotonic()))


def test_matcher_waits_for_all_topics_of_a_stamp():
    matcher = StampMatcher({'image': 3, 'depth': 3})
    assert matcher.put('image', 1, 'i1') is None
    assert matcher.put('image', 2, 'i2') is None
    assert matcher.put('depth', 2, 'd2') == {'image': 'i2', 'depth': 'd2'}
    assert matcher.waiting('image') == matcher.waiting('depth') == ()
    assert matcher.thrown_away == {'image': 1, 'depth': 0}


def test_matcher_is_bounded():
    matcher = StampMatcher({'image': 3, 'depth': 3})
    for stamp in range(10):
        matcher.put('image', stamp, stamp)
    assert matcher.waiting('image') == (7, 8, 9)
    assert matcher.thrown_away['image'] == 7


def test_depth_may_come_before_its_image():
    matcher = StampMatcher({'image': 3, 'depth': 3})
    assert matcher.put('depth', 5, 'd') is None
    assert matcher.put('image', 5, 'i') == {'image': 'i', 'depth': 'd'}


def test_newest_frame_with_a_pose_wins():
    queue = queue_of(KnownPoses(1, 2, newest=2), 1, 2, 3)
    taken = queue.take(0)
    assert taken.observation.stamp_ns == 2
    assert taken.world_from_camera[0, 0] == 2
    assert (taken.came, taken.dropped, taken.refused) == (3, 1, ())
    assert queue.take(0).observation is None  # 3 waits for its pose


def test_a_frame_without_pose_among_later_ones_is_refused_at_once():
    taken = queue_of(KnownPoses(1, newest=9), 1, 2).take(0)
    assert taken.refused == ('none at 2',)
    assert taken.observation.stamp_ns == 1


def test_patience_ends():
    queue = queue_of(KnownPoses(newest=0), 1, patience_s=0.05)
    began = time.monotonic()
    taken = queue.take(10)
    assert taken.refused == ('none at 1',)
    assert 0.03 < time.monotonic() - began < 5


def test_a_pose_that_comes_wakes_the_worker():
    poses = KnownPoses(newest=0)
    queue = queue_of(poses, 1)

    def come() -> None:
        with queue.changed:
            poses.stamps, poses.newest = {1}, 1
            queue.changed.notify()

    threading.Timer(0.05, come).start()
    assert queue.take(20).observation.stamp_ns == 1


def test_queue_is_bounded():
    taken = queue_of(None, *range(10)).take(0)
    assert taken.observation.stamp_ns == 9
    assert (taken.came, taken.dropped) == (10, 9)


def test_what_has_its_pose_is_still_handed_out_after_closing():
    queue = queue_of(KnownPoses(1, newest=0), 1, 2)
    queue.close()
    taken = queue.take(10)
    assert (taken.observation.stamp_ns, taken.refused) == (1, ('none at 2',))
    assert queue.take(10) is None
