"""Predictions as a bag that opens in RViz alone: what we publish, and what we saw."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from .. import geometry
from ..bags.reader import BagMessage, type_store
from ..bags.writer import BagWriter
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

DEPTH_TOPIC = '/depth/image'
UNCERTAINTY_TOPIC = '/depth/uncertainty'
CAMERA_INFO_TOPIC = '/depth/camera_info'
POINTS_TOPIC = '/depth/points'
OUR_TOPICS = (DEPTH_TOPIC, UNCERTAINTY_TOPIC, CAMERA_INFO_TOPIC, POINTS_TOPIC)


class Recorder:
    """Writes predictions, and what was recorded with them. Use it as a context manager.

    Args:
        path: the folder of the bag; an earlier one of ours is replaced.
        points: whether to write the clouds, which take two thirds of the space.

    Raises:
        BagError: `path` exists and is not a bag that a Recorder wrote.
    """

    def __init__(self, path: str | Path, *, points: bool = True) -> None:
        self._points = points
        self._bag = BagWriter(path, author='metric-depth replay')

    def __enter__(self) -> Recorder:
        self._bag.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bag.__exit__(kind, error, trace)

    def copy(self, message: BagMessage) -> None:
        """Write a recorded message as it is, on the topic that `recorded_name` tells."""
        self._bag.copy(message, recorded_name(message.topic))

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
            message = rosbags_message(fields, header, types)
            self._bag.write(topic, f'sensor_msgs/msg/{fields.ros_type}', recorded_ns, message)


def recorded_name(topic: str) -> str:
    """The topic of a copied message: its own, unless ours has the same name."""
    return f'/recorded{topic}' if topic in OUR_TOPICS else topic
