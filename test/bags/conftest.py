"""Small bags written on the spot, of any storage and topic layout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as Writer2
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from metric_depth_ros.types import Camera

WIDTH, HEIGHT = 32, 24
CAMERA = Camera(fx=30.0, fy=31.0, cx=15.5, cy=11.5, width=WIDTH, height=HEIGHT)
FIRST_NS, STEP_NS = 1_700_000_000_123_456_789, 100_000_000


def true_depth(index: int) -> np.ndarray:
    """(H, W) uint16 millimetres: a slope that moves away, with a hole (0 = no value)."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    depth = 1000 + 20 * rows + 7 * columns + 100 * index
    depth[3:5, 4:8] = 0
    return depth.astype(np.uint16)


def picture(index: int) -> np.ndarray:
    """(H, W, 3) uint8 RGB."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    channels = (8 * columns, 10 * rows, 40 * index + 0 * rows)
    return np.stack(channels, axis=-1).astype(np.uint8)


@dataclass(frozen=True)
class Layout:
    """How a camera is recorded.

    storage: 'ros1', 'sqlite3' or 'mcap'. depth_delay_ns: stamp of the depth after the image's.
    """

    storage: str = 'mcap'
    image: str = '/camera/color/image_raw'
    camera_info: str | None = '/camera/color/camera_info'
    depth: str | None = '/camera/aligned_depth_to_color/image_raw'
    compressed: bool = False
    frames: int = 3
    depth_delay_ns: int = 0


class BagMaker:
    """Writes messages of either ROS by one set of calls."""

    def __init__(self, path: Path, storage: str) -> None:
        self.is_ros1 = storage == 'ros1'
        self.store = get_typestore(Stores.ROS1_NOETIC if self.is_ros1 else Stores.ROS2_HUMBLE)
        if self.is_ros1:
            definition = 'geometry_msgs/TransformStamped[] transforms'
            self.store.register(get_types_from_msg(definition, 'tf2_msgs/msg/TFMessage'))
            self.writer: Any = Writer1(path)
        else:
            plugin = StoragePlugin[storage.upper()]
            self.writer = Writer2(path, version=8, storage_plugin=plugin)
        self.connections: dict[str, Any] = {}

    def make(self, kind: str, **values: Any) -> Any:
        return self.store.types[kind](**values)

    def header(self, stamp_ns: int, frame_id: str = 'camera_optical') -> Any:
        time = self.make(
            'builtin_interfaces/msg/Time', sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9
        )
        seq = {'seq': 7} if self.is_ros1 else {}
        return self.make('std_msgs/msg/Header', stamp=time, frame_id=frame_id, **seq)

    def image(self, stamp_ns: int, pixels: np.ndarray, encoding: str) -> Any:
        return self.make(
            'sensor_msgs/msg/Image',
            header=self.header(stamp_ns),
            height=pixels.shape[0],
            width=pixels.shape[1],
            encoding=encoding,
            is_bigendian=0,
            step=pixels.strides[0],
            data=pixels.reshape(-1).view(np.uint8),
        )

    def compressed_image(self, stamp_ns: int, pixels: np.ndarray) -> Any:
        _, data = cv2.imencode('.png', pixels[..., ::-1])
        return self.make(
            'sensor_msgs/msg/CompressedImage',
            header=self.header(stamp_ns),
            format='rgb8; png compressed bgr8',
            data=data.reshape(-1),
        )

    def camera_info(self, stamp_ns: int, camera: Camera = CAMERA) -> Any:
        k = np.array([camera.fx, 0, camera.cx, 0, camera.fy, camera.cy, 0, 0, 1.0])
        matrices = {'d': np.zeros(5), 'k': k, 'r': np.eye(3).reshape(-1), 'p': np.zeros(12)}
        if self.is_ros1:
            matrices = {name.upper(): value for name, value in matrices.items()}
        return self.make(
            'sensor_msgs/msg/CameraInfo',
            header=self.header(stamp_ns),
            height=camera.height,
            width=camera.width,
            distortion_model='plumb_bob',
            **matrices,
            binning_x=0,
            binning_y=0,
            roi=self.make(
                'sensor_msgs/msg/RegionOfInterest',
                x_offset=0,
                y_offset=0,
                height=0,
                width=0,
                do_rectify=False,
            ),
        )

    def transform(self, stamp_ns: int) -> Any:
        geometry = 'geometry_msgs/msg'
        transform = self.make(
            f'{geometry}/Transform',
            translation=self.make(f'{geometry}/Vector3', x=1.0, y=2.0, z=3.0),
            rotation=self.make(f'{geometry}/Quaternion', x=0.0, y=0.0, z=0.0, w=1.0),
        )
        stamped = self.make(
            f'{geometry}/TransformStamped',
            header=self.header(stamp_ns, 'world'),
            child_frame_id='camera_optical',
            transform=transform,
        )
        return self.make('tf2_msgs/msg/TFMessage', transforms=[stamped])

    def write(self, topic: str, recorded_ns: int, message: Any) -> None:
        kind = message.__msgtype__
        serialize = self.store.serialize_ros1 if self.is_ros1 else self.store.serialize_cdr
        self.write_raw(topic, kind, recorded_ns, bytes(serialize(message, kind)))

    def write_raw(self, topic: str, kind: str, recorded_ns: int, data: bytes) -> None:
        if topic not in self.connections:
            self.connections[topic] = self.writer.add_connection(topic, kind, typestore=self.store)
        self.writer.write(self.connections[topic], recorded_ns, data)


def write_camera(writer: BagMaker, layout: Layout) -> None:
    """Image, camera_info, depth and a transform of every frame."""
    for index in range(layout.frames):
        stamp_ns = FIRST_NS + index * STEP_NS
        recorded_ns = stamp_ns + 5_000_000
        if layout.compressed:
            image = writer.compressed_image(stamp_ns, picture(index))
        else:
            image = writer.image(stamp_ns, picture(index), 'rgb8')
        writer.write(layout.image, recorded_ns, image)
        if layout.camera_info is not None:
            info = writer.camera_info(stamp_ns)
            writer.write(layout.camera_info, recorded_ns + 1_000_000, info)
        if layout.depth is not None:
            depth = writer.image(stamp_ns + layout.depth_delay_ns, true_depth(index), '16UC1')
            writer.write(layout.depth, recorded_ns + 2_000_000, depth)
        writer.write('/tf', recorded_ns, writer.transform(stamp_ns))


@pytest.fixture
def write_bag(tmp_path: Path) -> Callable[..., Path]:
    """write_bag(layout, extra): the path of a new bag; extra(writer) may add to it."""

    def write(
        layout: Layout = Layout(),
        *extras: Callable[[BagMaker], None],
        name: str = 'recorded',
    ) -> Path:
        path = tmp_path / (f'{name}.bag' if layout.storage == 'ros1' else name)
        writer = BagMaker(path, layout.storage)
        with writer.writer:
            write_camera(writer, layout)
            for extra in extras:
                extra(writer)
        return path

    return write
