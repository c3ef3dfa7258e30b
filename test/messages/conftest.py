"""Messages of both libraries, built by hand: every test that asks for `library` runs twice."""

from __future__ import annotations

import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from metric_depth_ros.messages import rclpy_message, rosbags_message


@dataclass(frozen=True)
class Library:
    """Makes messages of one library as they arrive from it."""

    name: str
    type_named: Callable[[str], Any]
    as_bytes: Callable[[bytes], Any]

    def header(self, sec: int = 0, nanosec: int = 0, frame_id: str = '') -> Any:
        time = self.type_named('builtin_interfaces/msg/Time')(sec=sec, nanosec=nanosec)
        return self.type_named('std_msgs/msg/Header')(stamp=time, frame_id=frame_id)

    def image(
        self, encoding: str, height: int, width: int, step: int, data: bytes, bigendian: int = 0
    ) -> Any:
        return self.type_named('sensor_msgs/msg/Image')(
            header=self.header(),
            height=height,
            width=width,
            encoding=encoding,
            is_bigendian=bigendian,
            step=step,
            data=self.as_bytes(data),
        )

    def publish(self, fields: Any, header: Any = None) -> Any:
        """The message that this library would send."""
        header = header or self.header()
        if self.name == 'rosbags':
            return rosbags_message(fields, header, _rosbags_store().types)
        return rclpy_message(fields, header, pytest.importorskip('sensor_msgs.msg'))

    def compressed(self, image_format: str, data: bytes) -> Any:
        return self.type_named('sensor_msgs/msg/CompressedImage')(
            header=self.header(), format=image_format, data=self.as_bytes(data)
        )

    def camera_info(
        self,
        *,
        k: tuple[float, ...] = (500.0, 0.0, 320.0, 0.0, 510.0, 240.0, 0.0, 0.0, 1.0),
        p: tuple[float, ...] = (0.0,) * 12,
        d: tuple[float, ...] = (),
        distortion_model: str = 'plumb_bob',
        size: tuple[int, int] = (640, 480),
        binning: tuple[int, int] = (0, 0),
        roi: tuple[int, int, int, int] = (0, 0, 0, 0),
    ) -> Any:
        """size: width, height. roi: x_offset, y_offset, width, height."""
        x_offset, y_offset, roi_width, roi_height = roi
        return self.type_named('sensor_msgs/msg/CameraInfo')(
            header=self.header(),
            width=size[0],
            height=size[1],
            distortion_model=distortion_model,
            d=np.array(d, dtype=np.float64),
            k=np.array(k, dtype=np.float64),
            r=np.eye(3).reshape(-1),
            p=np.array(p, dtype=np.float64),
            binning_x=binning[0],
            binning_y=binning[1],
            roi=self.type_named('sensor_msgs/msg/RegionOfInterest')(
                x_offset=x_offset,
                y_offset=y_offset,
                width=roi_width,
                height=roi_height,
                do_rectify=False,
            ),
        )


def _rclpy() -> Library:
    modules = {
        name: pytest.importorskip(f'{name}.msg')
        for name in ('builtin_interfaces', 'std_msgs', 'sensor_msgs')
    }

    def type_named(name: str) -> Any:
        package, _, short_name = name.split('/')
        return getattr(modules[package], short_name)

    return Library('rclpy', type_named, lambda data: array.array('B', data))


def _rosbags_store() -> Any:
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS2_JAZZY)


def _rosbags() -> Library:
    types = _rosbags_store().types
    # Deserialised data is a view of the bag's bytes: read-only.
    return Library('rosbags', types.__getitem__, lambda data: np.frombuffer(data, np.uint8))


@pytest.fixture(params=['rclpy', 'rosbags'])
def library(request: pytest.FixtureRequest) -> Library:
    return _rclpy() if request.param == 'rclpy' else _rosbags()


@pytest.fixture
def rosbags_library() -> Library:
    return _rosbags()


@pytest.fixture
def rosbags_store() -> Any:
    return _rosbags_store()


@pytest.fixture
def rclpy_library() -> Library:
    return _rclpy()
