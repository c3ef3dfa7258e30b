"""Messages of one camera frame put together by their stamp, and then with the pose of that time.

ROS-free: messages are whatever was received. Everything is bounded, and what is thrown away is
counted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor


class StampMatcher:
    """Collects one message of every topic under one stamp. Not thread-safe.

    Args:
        capacity: how many messages of each topic wait for the others.
    """

    def __init__(self, capacity: dict[str, int]) -> None:
        self._capacity = capacity
        self._waiting: dict[str, dict[int, Any]] = {topic: {} for topic in capacity}
        self.thrown_away = dict.fromkeys(capacity, 0)

    def put(self, topic: str, stamp_ns: int, message: Any) -> dict[str, Any] | None:
        """Leave a message; all of its stamp, by topic, once they are complete.

        What came before a complete set goes: the other topics have moved on.
        """
        slots = self._waiting[topic]
        slots[stamp_ns] = message
        if not all(stamp_ns in others for others in self._waiting.values()):
            if len(slots) > self._capacity[topic]:
                del slots[next(iter(slots))]
                self.thrown_away[topic] += 1
            return None
        complete = {}
        for name, others in self._waiting.items():
            while (oldest := next(iter(others))) != stamp_ns:
                del others[oldest]
                self.thrown_away[name] += 1
            complete[name] = others.pop(stamp_ns)
        return complete

    def waiting(self, topic: str) -> Sequence[int]:
        """Stamps of the messages that wait, oldest first."""
        return tuple(self._waiting[topic])


class Poses(Protocol):
    """Whoever knows where the camera was, for `ObservationQueue`."""

    def at(self, stamp_ns: int, frame_id: str) -> Tensor | None:
        """(4, 4) float64 map_from_camera; None where it is not known."""

    def settled(self, stamp_ns: int, frame_id: str) -> bool:
        """True if no pose that is still to come would change the answer of `at`."""

    def explain(self, stamp_ns: int, frame_id: str) -> str:
        """One line: why `at` knows none."""


@dataclass(frozen=True)
class Observation:
    """The messages of one frame, by topic, and when the last one came (time.monotonic())."""

    stamp_ns: int
    frame_id: str
    messages: dict[str, Any]
    received_s: float


@dataclass(frozen=True)
class Taken:
    """The newest observation whose pose is known, and what had to go for it.

    world_from_camera: None where there are no poses to wait for. came: how many were put since the
    last time. dropped: older ones, which had their turn too late. refused: why there was no pose,
    one line for each that had waited enough.
    """

    observation: Observation | None
    world_from_camera: Tensor | None
    came: int
    dropped: int
    refused: tuple[str, ...]


class ObservationQueue:
    """Where frames wait for their poses, and the worker for frames.

    The newest frame that has its pose wins, older ones are dropped. A frame whose pose does not
    come in time is refused.

    Args:
        poses: None if frames need none. Guarded by `changed`: hold it to add to them.
        capacity: frames that may wait for poses.
        patience_s: how long they do.
    """

    def __init__(self, poses: Poses | None, capacity: int, patience_s: float) -> None:
        self.changed = threading.Condition()
        self._poses = poses
        self._capacity = capacity
        self._patience_s = patience_s
        self._waiting: list[Observation] = []
        self._came = self._dropped = 0
        self._closed = False

    def put(self, observation: Observation) -> None:
        """Leave a frame."""
        with self.changed:
            self._waiting.append(observation)
            self._came += 1
            if len(self._waiting) > self._capacity:
                del self._waiting[0]
                self._dropped += 1
            self.changed.notify()

    def take(self, timeout_s: float) -> Taken | None:
        """Wait for a frame, or until there is something to report; None once closed and empty."""
        deadline = time.monotonic() + timeout_s
        with self.changed:
            while True:
                taken = self._look()
                left = deadline - time.monotonic()
                if taken.observation is not None or taken.refused:
                    return taken
                if self._closed:
                    return None
                if left <= 0:
                    return taken
                self.changed.wait(min(left, self._patience_s or left))

    def close(self) -> None:
        """No more frames come; those whose pose is known are still handed out."""
        with self.changed:
            self._closed = True
            self.changed.notify_all()

    def _look(self) -> Taken:
        refused: list[str] = []
        now = time.monotonic()
        for index in reversed(range(len(self._waiting))):
            observation = self._waiting[index]
            stamp, frame = observation.stamp_ns, observation.frame_id
            waited = now - observation.received_s >= self._patience_s
            if self._poses is None:
                return self._hand_out(index, None, refused)
            pose = self._poses.at(stamp, frame)
            settled = waited or self._closed or self._poses.settled(stamp, frame)
            if pose is not None and settled:
                return self._hand_out(index, pose, refused)
            if pose is None and settled:
                refused.append(self._poses.explain(stamp, frame))
                del self._waiting[index]
        return self._taken(None, None, refused)

    def _hand_out(self, index: int, pose: Tensor | None, refused: list[str]) -> Taken:
        observation = self._waiting[index]
        self._dropped += index
        del self._waiting[: index + 1]
        return self._taken(observation, pose, refused)

    def _taken(
        self, observation: Observation | None, pose: Tensor | None, refused: list[str]
    ) -> Taken:
        came, dropped = self._came, self._dropped
        self._came = self._dropped = 0
        return Taken(observation, pose, came, dropped, tuple(reversed(refused)))
