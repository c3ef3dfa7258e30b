"""Reading ROS 1 and ROS 2 bags without ROS: topics by convention, frames with their true depth.

Everything leaves this file as ROS 2 messages, serialized as CDR, whatever the bag was recorded
with: a ROS 1 message is the same message with a sequence number in its header.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

from torch import Tensor

from ..errors import MetricDepthError
from ..messages import depth_from_message, frame_from_messages, stamp_ns
from ..types import Frame
from .topics import TF_TYPE, Topics, find_topics, is_rectified

# Names that a type had before ROS 2.
_RENAMED_TYPES = {'tf/msg/tfMessage': TF_TYPE}
# An image waits at most this long, in time of the bag, for its camera_info and true depth.
_PATIENCE_NS = 1_000_000_000


class BagError(MetricDepthError):
    """A bag that cannot be read or written."""


@dataclass(frozen=True)
class BagMessage:
    """One recorded message. type: its ROS 2 name; recorded_ns: when it was recorded."""

    topic: str
    type: str
    recorded_ns: int
    cdr: bytes | memoryview


@dataclass(frozen=True)
class BagFrame:
    """A frame of a bag with what was recorded beside it.

    depth: (H, W) float32, true metres along z, NaN where unknown; None where there is no depth
    message close enough in time. recorded: the messages that it was made of, image first.
    """

    frame: Frame
    depth: Tensor | None
    recorded: tuple[BagMessage, ...]

    @property
    def recorded_ns(self) -> int:
        """When the image was recorded, nanoseconds."""
        return self.recorded[0].recorded_ns


@dataclass(frozen=True)
class Problem:
    """A message of a bag that could not be used, and why, in one line."""

    topic: str
    recorded_ns: int
    reason: str


class Bag:
    """A bag open for reading: a ROS 1 .bag, or a ROS 2 folder, .mcap or .db3 file.

    Use it as a context manager. Messages that cannot be used are left out and kept in `problems`.

    Args:
        path: the bag.

    Raises:
        BagError: there is no such bag, or it is damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.problems: list[Problem] = []
        self._is_ros1 = self.path.suffix == '.bag'
        self._reader = _open_reader(self.path)
        self.topics: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        for connection in self._reader.connections:
            name = _RENAMED_TYPES.get(connection.msgtype, connection.msgtype)
            self.topics[connection.topic] = name
            count = self._counts.get(connection.topic, 0)
            self._counts[connection.topic] = count + connection.msgcount

    def __enter__(self) -> Bag:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        self._reader.close()

    def count(self, topic: str) -> int:
        """Number of messages recorded on `topic`."""
        return self._counts.get(topic, 0)

    def recorded_ns(self, topic: str, index: int) -> int | None:
        """When message number `index` (from 0) of `topic` was recorded; None beyond the last."""
        message = next(islice(self.messages((topic,)), index, None), None)
        return None if message is None else message.recorded_ns

    def find_topics(
        self, image: str | None = None, camera_info: str | None = None, depth: str | None = None
    ) -> Topics:
        """The topics to replay; those that are None are found by type and name.

        Raises:
            TopicError: a topic is missing, of the wrong type, or not to be told from others.
        """
        return find_topics(self.topics, image, camera_info, depth)

    def messages(
        self,
        topics: Collection[str],
        start_ns: int | None = None,
        stop_ns: int | None = None,
    ) -> Iterator[BagMessage]:
        """The messages of `topics` in order of recording, from start_ns to before stop_ns."""
        chosen = [c for c in self._reader.connections if c.topic in topics]
        if not chosen:
            return
        iterator = self._reader.messages(chosen, start_ns, stop_ns)
        recorded_ns = start_ns or 0
        while True:
            try:
                connection, recorded_ns, raw = next(iterator)
            except StopIteration:
                return
            except Exception as error:  # damaged files: whatever the parser stumbles on
                self._report('', recorded_ns, f'the rest of the bag cannot be read: {error}')
                return
            kind = self.topics[connection.topic]
            try:
                cdr = type_store().ros1_to_cdr(raw, kind) if self._is_ros1 else raw
            except Exception as error:  # as above
                self._report(connection.topic, recorded_ns, f'not a {kind}: {error}')
                continue
            yield BagMessage(connection.topic, kind, recorded_ns, cdr)

    def frames(
        self,
        topics: Topics,
        *,
        tolerance_s: float = 0.02,
        start_ns: int | None = None,
        stop_ns: int | None = None,
    ) -> Iterator[BagFrame]:
        """Frames in order of recording, each with the camera_info and depth nearest in stamp.

        Reads ahead no further than it must, so memory does not grow with the bag.

        Args:
            topics: where to read.
            tolerance_s: the largest difference of stamps of an image and its true depth, seconds.
            start_ns, stop_ns: what part of the bag, by time of recording.
        """
        images: deque[_Stamped] = deque()
        cameras: deque[_Stamped] = deque()
        depths: deque[_Stamped] = deque()
        queues = {topics.image: images, topics.camera_info: cameras}
        if topics.depth is not None:
            queues[topics.depth] = depths
        waits_for = (cameras, depths) if topics.depth is not None else (cameras,)

        def finish() -> Iterator[BagFrame]:
            image = images.popleft()
            frame = self._frame(image, cameras, depths, topics, round(tolerance_s * 1e9))
            for queue in waits_for:  # the last one before this image may be nearest to the next
                while len(queue) > 1 and queue[1].stamp_ns <= image.stamp_ns:
                    queue.popleft()
            if frame is not None:
                yield frame

        for raw in self.messages(queues, start_ns, stop_ns):
            message = self._deserialize(raw)
            if message is None:
                continue
            queues[raw.topic].append(_Stamped(stamp_ns(message.header), raw, message))
            while images and (
                all(queue and queue[-1].stamp_ns >= images[0].stamp_ns for queue in waits_for)
                or raw.recorded_ns - images[0].raw.recorded_ns > _PATIENCE_NS
            ):
                yield from finish()
        while images:
            yield from finish()

    def _frame(
        self,
        image: _Stamped,
        cameras: Collection[_Stamped],
        depths: Collection[_Stamped],
        topics: Topics,
        tolerance_ns: int,
    ) -> BagFrame | None:
        """The frame of `image`; None where its image or its camera_info cannot be used."""

        def distance(other: _Stamped) -> int:
            return abs(other.stamp_ns - image.stamp_ns)

        if not cameras:
            self._report(image.raw.topic, image.raw.recorded_ns, 'image without a camera_info')
            return None
        info = min(cameras, key=distance)
        try:
            frame = frame_from_messages(
                image.message, info.message, rectified=is_rectified(image.raw.topic)
            )
        except MetricDepthError as error:
            self._report(image.raw.topic, image.raw.recorded_ns, str(error))
            return None
        nearest = min(depths, key=distance, default=None)
        if nearest is None or distance(nearest) > tolerance_ns:
            return BagFrame(frame, None, (image.raw, info.raw))
        depth = self._depth(nearest, frame, topics)
        return BagFrame(frame, depth, (image.raw, info.raw, nearest.raw))

    def _depth(self, depth: _Stamped, frame: Frame, topics: Topics) -> Tensor | None:
        """The true depth in a message; None where it cannot be used."""
        try:
            metres = depth_from_message(depth.message)
            _check_registered(metres, depth.message.header.frame_id, frame, topics)
        except MetricDepthError as error:
            self._report(depth.raw.topic, depth.raw.recorded_ns, str(error))
            return None
        return metres

    def _deserialize(self, raw: BagMessage) -> Any | None:
        try:
            return deserialize(raw)
        except BagError as error:
            self._report(raw.topic, raw.recorded_ns, str(error))
            return None

    def _report(self, topic: str, recorded_ns: int, reason: str) -> None:
        self.problems.append(Problem(topic, recorded_ns, reason))


@dataclass(frozen=True)
class _Stamped:
    """A message with the stamp of its header."""

    stamp_ns: int
    raw: BagMessage
    message: Any


def _check_registered(depth: Tensor, frame_id: str, frame: Frame, topics: Topics) -> None:
    """Raise BagError unless depth belongs to the image pixel by pixel, as far as one can tell."""
    height, width, _ = frame.image.shape
    if tuple(depth.shape) != (height, width):
        raise BagError(
            f'depth of {depth.shape[1]}x{depth.shape[0]} pixels, expected {width}x{height} like '
            'the image: it must be registered to it'
        )
    if not topics.depth_was_told and frame_id.lstrip('/') != frame.frame_id.lstrip('/'):
        raise BagError(
            f'depth in frame {frame_id!r}, expected {frame.frame_id!r} like the image: if it is '
            f'registered to it all the same, say --depth {topics.depth}'
        )


def deserialize(message: BagMessage) -> Any:
    """The message as an object with the attributes its ROS 2 type has.

    Raises:
        BagError: the data is not a message of its type.
    """
    try:
        return type_store().deserialize_cdr(message.cdr, message.type)
    except Exception as error:  # damaged data: whatever the parser stumbles on
        raise BagError(f'not a {message.type}: {error}') from None


@lru_cache(maxsize=1)
def type_store() -> Any:
    """The message types of a ROS 2 distribution; those we read are alike in all of them."""
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS2_HUMBLE)


def _open_reader(path: Path) -> Any:
    from rosbags.rosbag1 import Reader as Reader1
    from rosbags.rosbag2 import Reader as Reader2

    if not path.exists():
        raise BagError(f'{path}: there is no such bag')
    if path.is_dir() and not (path / 'metadata.yaml').exists():
        path = _only_storage_file(path)
    try:
        reader = Reader1(path) if path.suffix == '.bag' else Reader2(path)
        reader.open()
    except Exception as error:  # damaged files: whatever the parser stumbles on
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise BagError(f'{path}: not a readable bag: {reason}') from None
    return reader


def _only_storage_file(folder: Path) -> Path:
    """The .mcap or .db3 file of a folder that lacks its metadata.yaml."""
    files = sorted([*folder.glob('*.mcap'), *folder.glob('*.db3')])
    if len(files) != 1:
        raise BagError(
            f'{folder}: not a bag: it has no metadata.yaml and {len(files)} .mcap or .db3 files; '
            'expected a rosbag2 folder, a .mcap, .db3 or .bag file'
        )
    return files[0]
