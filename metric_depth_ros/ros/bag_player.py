"""Plays a bag's camera to a running depth_node over DDS, and collects what the node makes of it.

Everything happens in one thread: between two messages of the bag the node's answers are received.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import chain
from types import TracebackType
from typing import Any

import numpy as np

from ..bags.reader import BagMessage
from ..bags.topics import COMPRESSED_TYPE, Topics, is_rectified
from ..messages import camera_from_message, depth_from_message, stamp_ns
from ..types import DepthPrediction
from .child_node import (
    ChildNode,
    NodeError,
    environment,
    large_message_profile,
)
from .parameters import Parameters
from .spool import PredictionSpool

# Loading a large model on a busy machine takes minutes; a node that ends is noticed at once.
READY_TIMEOUT_S = 900.0
ATTACH_TIMEOUT_S = 10.0
STATUS_PATIENCE_S = 1.5  # the node's counts come once a second
QUIET_S = 3.0  # no count has changed for so long: what has not arrived by now is lost
SILENCE_S = 60.0  # a node that answers nothing for so long will not any more


@dataclass(frozen=True)
class LiveResult:
    """What came of playing a bag to the node; frames are named by their stamps, nanoseconds.

    predictions: what the node published.
    latencies_s: from sending the image to receiving its depth/image, seconds.
    sent: every image, in order.
    clouds: the images whose depth/points arrived.
    status: the node's last /diagnostics, as it counts itself: received, dropped, failed ...
    log: what the node wrote to stdout and stderr; empty for a node that was not ours.
    """

    predictions: Mapping[int, DepthPrediction]
    latencies_s: Mapping[int, float]
    sent: tuple[int, ...]
    clouds: frozenset[int]
    status: Mapping[str, str]
    log: tuple[str, ...]

    @property
    def dropped(self) -> tuple[int, ...]:
        """Images that no prediction came of: skipped by the node, failed, or lost on the way."""
        return tuple(stamp for stamp in self.sent if stamp not in self.predictions)

    def latency_ms(self, percentile: float) -> float:
        """Percentile of the latencies in milliseconds; NaN without any prediction."""
        latencies = list(self.latencies_s.values())
        return 1e3 * float(np.percentile(latencies, percentile)) if latencies else float('nan')


def play_through_node(
    messages: Iterable[BagMessage],
    topics: Topics,
    *,
    parameters: Parameters | None = None,
    rate: float = 1.0,
    attach: bool = False,
    namespace: str = '',
    on_progress: Callable[[int, int], None] = lambda sent, received: None,
) -> LiveResult:
    """Publish the camera of a bag at `rate` times its own speed and collect the node's answers.

    Args:
        messages: of topics.image and topics.camera_info, in order of recording; others are
            skipped.
        topics: where image and camera_info are in the bag.
        parameters: of the node that is started for this; image_transport and rectified follow
            from the bag, and it subscribes reliably.
        rate: 2.0 plays twice as fast as it was recorded.
        attach: use a node that runs already and listens to the topics under their names in the
            bag, instead of starting one.
        namespace: where a node that runs already publishes, such as '/front'; '' for the root.
        on_progress: called with the number of images sent and of predictions received.

    Raises:
        NodeError: there is no ROS, the node cannot be started, died, or does not listen.
    """
    if not rate > 0:
        raise NodeError(f'rate is {rate}, expected a positive factor such as 1.0')
    image_type, messages = _peek_image_type(messages, topics)
    compressed = image_type == COMPRESSED_TYPE
    with ExitStack() as stack:
        child = None
        if attach:
            stack.enter_context(environment(large_message_profile()))
            names = Names(topics.image, topics.camera_info, namespace)
        else:
            namespace = f'/metric_depth_live_{os.getpid()}'
            image = f'{namespace}/image/compressed' if compressed else f'{namespace}/image'
            names = Names(image, f'{namespace}/camera_info', namespace, f'{namespace}/diagnostics')
            isolation = {
                'ROS_DOMAIN_ID': str(1 + os.getpid() % 100),
                'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
            }
            stack.enter_context(environment(isolation | large_message_profile()))
            chosen = replace(
                parameters or Parameters(),
                image_transport='compressed' if compressed else 'raw',
                rectified=is_rectified(topics.image),
                qos_subscribe='reliable',  # what is missing then is the node's doing, not DDS's
                autostart=True,
            )
            child = stack.enter_context(ChildNode(chosen, namespace))
        player = stack.enter_context(BagPlayer(names, compressed=compressed, child=child))
        player.wait_until_ready()
        player.play(messages, topics, rate, on_progress)
        player.drain(on_progress)
        return player.result()


def _peek_image_type(
    messages: Iterable[BagMessage], topics: Topics
) -> tuple[str, Iterator[BagMessage]]:
    """Type of the first image, and the messages as if nobody had looked."""
    iterator, seen = iter(messages), []
    for message in iterator:
        seen.append(message)
        if message.topic == topics.image:
            return message.type, chain(seen, iterator)
    raise NodeError(f'no message on {topics.image} to play, expected at least one image')


@dataclass(frozen=True)
class Names:
    """Topics of the node, seen from outside; namespace: that of what it publishes, or ''."""

    image: str
    camera_info: str
    namespace: str
    diagnostics: str = '/diagnostics'


@dataclass
class _Answer:
    """What has arrived of one frame."""

    depth: Any = None
    uncertainty: Any = None
    camera_info: Any = None

    def complete(self) -> bool:
        return None not in (self.depth, self.uncertainty, self.camera_info)


@dataclass
class _Record:
    """What LiveResult is made of, while it comes together."""

    sent_s: dict[int, float] = field(default_factory=dict)  # stamp -> time.monotonic()
    answers: dict[int, _Answer] = field(default_factory=dict)
    predictions: PredictionSpool = field(default_factory=PredictionSpool)
    latencies_s: dict[int, float] = field(default_factory=dict)
    clouds: set[int] = field(default_factory=set)
    status: dict[str, str] = field(default_factory=dict)
    status_s: float = 0.0  # when the status arrived
    counts: tuple[int, ...] = ()  # received, processed, dropped, failed
    counted_s: float = 0.0  # when they last changed
    heard_s: float = 0.0  # when a prediction arrived, or was first expected


class BagPlayer:
    """The node's counterpart: publishes what it subscribes to and the other way round.

    It has an rclpy context of its own, so that whoever calls may use rclpy as well.
    """

    def __init__(self, names: Names, *, compressed: bool, child: ChildNode | None) -> None:
        try:
            import rclpy
            from diagnostic_msgs.msg import DiagnosticArray
            from rclpy.context import Context
            from rclpy.executors import SingleThreadedExecutor
            from rclpy.qos import QoSProfile, ReliabilityPolicy
            from rclpy.signals import SignalHandlerOptions
            from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
        except ImportError as error:
            raise NodeError(
                f'playing live needs ROS 2, but {error}: expected the ROS wheels '
                '(pip install "metric_depth_ros[ros]") or a sourced ROS 2 installation'
            ) from None
        self._names, self._child, self._record = names, child, _Record()
        self._context = Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node('bag_player', context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        image_type = CompressedImage if compressed else Image
        self._images = self._node.create_publisher(image_type, names.image, 10)
        self._camera_infos = self._node.create_publisher(CameraInfo, names.camera_info, 10)

        # A node of somebody else's may publish best effort, which a reliable listener cannot hear.
        reliability = ReliabilityPolicy.RELIABLE if child else ReliabilityPolicy.BEST_EFFORT
        qos = QoSProfile(depth=10, reliability=reliability)

        def listen(kind: Any, name: str, callback: Callable[[Any], None]) -> Any:
            topic = f'{names.namespace}/{name}'
            return self._node.create_subscription(kind, topic, callback, qos)

        self._outputs = [
            listen(Image, 'depth/image', self._take_depth),
            listen(Image, 'depth/uncertainty', self._take_uncertainty),
            listen(CameraInfo, 'depth/camera_info', self._take_camera_info),
            listen(PointCloud2, 'depth/points', self._take_points),
        ]
        self._node.create_subscription(
            DiagnosticArray, names.diagnostics, self._take_diagnostics, 10
        )

    def __enter__(self) -> BagPlayer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.shutdown()

    def wait_until_ready(self) -> None:
        """Return once the node is active and connected to us in both directions.

        Of discovery we see our half; the node tells in its diagnostics that it has seen our
        publishers. It heard of our subscriptions before, as that to its diagnostics is the last.
        """
        deadline = time.monotonic() + (READY_TIMEOUT_S if self._child else ATTACH_TIMEOUT_S)
        while not self._connected():
            self._spin_until(time.monotonic() + 0.1)
            if time.monotonic() > deadline:
                raise NodeError(
                    f'nobody subscribes to {self._images.topic_name} and '
                    f'{self._camera_infos.topic_name} and publishes '
                    f'{self._outputs[0].topic_name}, expected an active depth_node'
                )

    def _connected(self) -> bool:
        return (
            all(p.get_subscription_count() for p in (self._images, self._camera_infos))
            and all(self._node.count_publishers(output.topic_name) for output in self._outputs)
            and all(
                self._record.status.get(name, '0') != '0'
                for name in ('image_publishers', 'camera_info_publishers')
            )
        )

    def play(
        self,
        messages: Iterable[BagMessage],
        topics: Topics,
        rate: float,
        on_progress: Callable[[int, int], None],
    ) -> None:
        """Publish the messages when they are due, as the bytes that were recorded."""
        publishers = {topics.image: self._images, topics.camera_info: self._camera_infos}
        start_s, first_ns = time.monotonic(), None
        for message in messages:
            if message.topic not in publishers:
                continue
            if first_ns is None:
                first_ns = message.recorded_ns
            self._spin_until(start_s + (message.recorded_ns - first_ns) / 1e9 / rate)
            if message.topic == topics.image:
                self._record.sent_s[_stamp_in_cdr(message.cdr)] = time.monotonic()
            publishers[message.topic].publish(bytes(message.cdr))
            on_progress(len(self._record.sent_s), len(self._record.predictions))
        self._record.heard_s = time.monotonic()

    def drain(self, on_progress: Callable[[int, int], None]) -> None:
        """Wait for the predictions that are still to come, and for the node's final count."""
        while not self._drained():
            self._spin_until(time.monotonic() + 0.05)
            on_progress(len(self._record.sent_s), len(self._record.predictions))
        drained_s = time.monotonic()
        while max(self._record.status_s, time.monotonic() - STATUS_PATIENCE_S) < drained_s:
            self._spin_until(time.monotonic() + 0.05)

    def result(self) -> LiveResult:
        record = self._record
        return LiveResult(
            predictions=record.predictions,
            latencies_s=record.latencies_s,
            sent=tuple(record.sent_s),
            clouds=frozenset(record.clouds),
            status=record.status,
            log=tuple(self._child.log_lines()) if self._child else (),
        )

    def _drained(self) -> bool:
        """Whether the newest image was answered, or the node says it has none in hand."""
        record = self._record
        newest = next(reversed(record.sent_s))
        if newest in record.predictions and newest in record.clouds:
            return True
        last_sent_s = record.sent_s[newest]
        if record.counts and record.status_s > max(record.counted_s, last_sent_s) + QUIET_S:
            received, processed, dropped, failed = record.counts
            return received == processed + dropped + failed
        return time.monotonic() > max(record.heard_s, last_sent_s) + SILENCE_S

    def _spin_until(self, due_s: float) -> None:
        """Receive until `due_s` (time.monotonic())."""
        if self._child is not None:
            self._child.check()
        while (remaining_s := due_s - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=remaining_s)

    def _take_depth(self, message: Any) -> None:
        stamp = stamp_ns(message.header)
        if stamp in self._record.sent_s:
            self._record.latencies_s[stamp] = time.monotonic() - self._record.sent_s[stamp]
        self._take(message, 'depth')

    def _take_uncertainty(self, message: Any) -> None:
        self._take(message, 'uncertainty')

    def _take_camera_info(self, message: Any) -> None:
        self._take(message, 'camera_info')

    def _take(self, message: Any, part: str) -> None:
        stamp = stamp_ns(message.header)
        answer = self._record.answers.setdefault(stamp, _Answer())
        setattr(answer, part, message)
        if answer.complete():
            del self._record.answers[stamp]
            self._record.predictions.add(_prediction(answer))
            self._record.heard_s = time.monotonic()

    def _take_points(self, message: Any) -> None:
        self._record.clouds.add(stamp_ns(message.header))

    def _take_diagnostics(self, message: Any) -> None:
        for status in message.status:
            if status.name.endswith('depth_node: depth'):
                self._record.status = {pair.key: pair.value for pair in status.values}
                self._record.status_s = time.monotonic()
                counts = tuple(int(self._record.status[name]) for name in _COUNTS)
                if counts != self._record.counts:
                    self._record.counts = counts
                    self._record.counted_s = self._record.status_s


_COUNTS = ('received', 'processed', 'dropped', 'failed')


def _prediction(answer: _Answer) -> DepthPrediction:
    header = answer.depth.header
    return DepthPrediction(
        depth=depth_from_message(answer.depth),
        std=depth_from_message(answer.uncertainty),
        camera=camera_from_message(answer.camera_info),
        stamp_ns=stamp_ns(header),
        frame_id=header.frame_id,
    )


def _stamp_in_cdr(cdr: bytes | memoryview) -> int:
    """Nanoseconds of the header stamp that a serialized message begins with.

    After four bytes that say, in the second, whether numbers are little-endian: int32 seconds,
    uint32 nanoseconds.
    """
    order = '<' if cdr[1] & 1 else '>'
    seconds, nanoseconds = struct.unpack_from(f'{order}iI', cdr, 4)
    return seconds * 1_000_000_000 + nanoseconds
