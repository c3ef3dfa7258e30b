"""Writing rosbag2 folders (MCAP) that replace only what we wrote ourselves."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import TracebackType
from typing import Any

from .reader import BagError, BagMessage, type_store

# Entry of metadata.yaml that tells our bags from a person's recordings.
_SIGNATURE = 'written_by'


class BagWriter:
    """Writes a rosbag2 folder. Use it as a context manager.

    The bag is written beside its place and moved there when it is complete, so that what stands
    there is always whole. An earlier bag of the same author is replaced.

    Args:
        path: the folder to make.
        author: what writes the bag, such as 'metric-depth replay'.

    Raises:
        BagError: `path` exists and is not a bag of this author.
    """

    def __init__(self, path: str | Path, *, author: str) -> None:
        from rosbags.rosbag2 import StoragePlugin, Writer

        self.path = Path(path)
        _check_replaceable(self.path, author)
        # A folder of the final name inside, because the files of a bag are named after it.
        self._workshop = self.path.with_name(f'.{self.path.name}.incomplete')
        shutil.rmtree(self._workshop, ignore_errors=True)  # left by a writer that was killed
        self._writer = Writer(
            self._workshop / self.path.name, version=9, storage_plugin=StoragePlugin.MCAP
        )
        self._writer.set_custom_data(_SIGNATURE, author)
        self._connections: dict[str, Any] = {}

    def __enter__(self) -> BagWriter:
        self._writer.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.__exit__(kind, error, trace)
        if kind is None:
            if self.path.exists():
                shutil.rmtree(self.path)
            (self._workshop / self.path.name).rename(self.path)
        shutil.rmtree(self._workshop, ignore_errors=True)

    def write(self, topic: str, kind: str, recorded_ns: int, message: Any) -> None:
        """Write a message.

        Args:
            topic: where to.
            kind: its ROS 2 type, such as 'sensor_msgs/msg/Image'.
            recorded_ns: when a player will play it, nanoseconds.
            message: of the classes of `type_store().types`.
        """
        self._write(topic, kind, recorded_ns, type_store().serialize_cdr(message, kind))

    def copy(self, message: BagMessage, topic: str | None = None) -> None:
        """Write a recorded message as it is, on another topic if one is named."""
        self._write(topic or message.topic, message.type, message.recorded_ns, message.cdr)

    def _write(self, topic: str, kind: str, recorded_ns: int, cdr: bytes | memoryview) -> None:
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(
                topic,
                kind,
                typestore=type_store(),
                offered_qos_profiles=[_latched()] if topic == '/tf_static' else [],
            )
        self._writer.write(self._connections[topic], recorded_ns, cdr)


def _check_replaceable(path: Path, author: str) -> None:
    if not path.exists():
        return
    try:
        ours = f'{_SIGNATURE}: {author}' in (path / 'metadata.yaml').read_text()
    except (OSError, UnicodeDecodeError):
        ours = False
    if not ours:
        raise BagError(
            f'{path} exists and was not written by {author}: expected another place for the bag'
        )


def _latched() -> Any:
    """The quality of service of /tf_static: whoever comes late still gets it."""
    from rosbags.interfaces import (
        Qos,
        QosDurability,
        QosHistory,
        QosLiveliness,
        QosReliability,
        QosTime,
    )

    forever = QosTime(0, 0)
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=1,
        reliability=QosReliability.RELIABLE,
        durability=QosDurability.TRANSIENT_LOCAL,
        deadline=forever,
        lifespan=forever,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=forever,
        avoid_ros_namespace_conventions=False,
    )
