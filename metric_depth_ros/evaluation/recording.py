"""Writing predictions as a rosbag2 that opens in RViz alone: what we publish, and what we saw."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import TracebackType
from typing import Any

from .. import geometry
from ..messages import (
    CameraInfoFields,
    ImageFields,
    PointCloudFields,
    camera_info_fields,
    cloud_fields,
    depth_fields,
    rosbags_message,
)
from ..types import DepthPrediction, Frame
from .bags import BagError, BagMessage, type_store

DEPTH_TOPIC = '/depth/image'
UNCERTAINTY_TOPIC = '/depth/uncertainty'
CAMERA_INFO_TOPIC = '/depth/camera_info'
POINTS_TOPIC = '/depth/points'
OUR_TOPICS = (DEPTH_TOPIC, UNCERTAINTY_TOPIC, CAMERA_INFO_TOPIC, POINTS_TOPIC)

# Tells our bags from a person's recordings, which are never overwritten.
_SIGNATURE = 'written_by'
_AUTHOR = 'metric-depth replay'


class Recorder:
    """Writes a rosbag2 folder (MCAP) of predictions. Use it as a context manager.

    The bag is written beside its place and moved there when it is complete, so that what stands
    there is always whole. An earlier bag of ours is replaced.

    Args:
        path: the folder to make.
        points: whether to write the clouds, which take two thirds of the space.

    Raises:
        BagError: `path` exists and is not a bag that a Recorder wrote.
    """

    def __init__(self, path: str | Path, *, points: bool = True) -> None:
        from rosbags.rosbag2 import StoragePlugin, Writer

        self.path = Path(path)
        self._points = points
        _check_replaceable(self.path)
        # A folder of the final name inside, because the files of a bag are named after it.
        self._workshop = self.path.with_name(f'.{self.path.name}.incomplete')
        shutil.rmtree(self._workshop, ignore_errors=True)
        self._writer = Writer(
            self._workshop / self.path.name, version=9, storage_plugin=StoragePlugin.MCAP
        )
        self._writer.set_custom_data(_SIGNATURE, _AUTHOR)
        self._connections: dict[str, Any] = {}

    def __enter__(self) -> Recorder:
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

    def copy(self, message: BagMessage) -> None:
        """Write a recorded message as it is, on the topic that `recorded_name` tells."""
        self._write(recorded_name(message.topic), message.type, message.recorded_ns, message.cdr)

    def write(self, frame: Frame, prediction: DepthPrediction, recorded_ns: int) -> None:
        """Write depth, camera_info, uncertainty and the coloured cloud of one prediction.

        Stamp and frame_id are the prediction's; recorded_ns is when a player will play it.
        """
        outgoing: dict[str, ImageFields | CameraInfoFields | PointCloudFields] = {
            DEPTH_TOPIC: depth_fields(prediction.depth),
            CAMERA_INFO_TOPIC: camera_info_fields(prediction.camera),
            UNCERTAINTY_TOPIC: depth_fields(prediction.std),
        }
        if self._points:
            points = geometry.unproject(prediction.depth, prediction.camera)
            outgoing[POINTS_TOPIC] = cloud_fields(points, frame.image, prediction.std)
        types = type_store().types
        seconds, nanoseconds = divmod(prediction.stamp_ns, 1_000_000_000)
        stamp = types['builtin_interfaces/msg/Time'](seconds, nanoseconds)
        header = types['std_msgs/msg/Header'](stamp, prediction.frame_id)
        for topic, fields in outgoing.items():
            kind = f'sensor_msgs/msg/{fields.ros_type}'
            message = rosbags_message(fields, header, types)
            self._write(topic, kind, recorded_ns, type_store().serialize_cdr(message, kind))

    def _write(self, topic: str, kind: str, recorded_ns: int, cdr: bytes | memoryview) -> None:
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(
                topic,
                kind,
                typestore=type_store(),
                offered_qos_profiles=[_latched()] if topic == '/tf_static' else [],
            )
        self._writer.write(self._connections[topic], recorded_ns, cdr)


def recorded_name(topic: str) -> str:
    """The topic of a copied message: its own, unless ours has the same name."""
    return f'/recorded{topic}' if topic in OUR_TOPICS else topic


def _check_replaceable(path: Path) -> None:
    if not path.exists():
        return
    try:
        written_by_us = f'{_SIGNATURE}: {_AUTHOR}' in (path / 'metadata.yaml').read_text()
    except (OSError, UnicodeDecodeError):
        written_by_us = False
    if not written_by_us:
        raise BagError(
            f'{path} exists and was not written by {_AUTHOR}: expected another --out folder'
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
