"""What we publish: field values of Image, PointCloud2 and CameraInfo, and the messages of them.

The values are made once, in numpy; `rclpy_message` and `rosbags_message` put the same values into
either library's classes, which the caller passes:

    rclpy_message(depth_fields(prediction.depth), message.header, sensor_msgs.msg)
    rosbags_message(depth_fields(prediction.depth), message.header, typestore.types)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np
from torch import Tensor

from ..types import Camera
from .pixels import MessageError

_FLOAT32 = 7  # sensor_msgs/PointField.FLOAT32

# One point is five float32: 20 bytes, without the padding to 32 that PCL has in memory. Readers go
# by the offsets, and a 640x480 cloud is 6.1 MB on the wire instead of 9.8.
_CLOUD_COLUMNS = ('x', 'y', 'z', 'rgb', 'std')


@dataclass(frozen=True)
class ImageFields:
    """sensor_msgs/Image without its header. data: (step * height,) uint8."""

    ros_type: ClassVar[str] = 'Image'
    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: np.ndarray


@dataclass(frozen=True)
class PointFieldFields:
    """sensor_msgs/PointField: one column of a cloud."""

    ros_type: ClassVar[str] = 'PointField'
    name: str
    offset: int
    datatype: int = _FLOAT32
    count: int = 1


@dataclass(frozen=True)
class PointCloudFields:
    """sensor_msgs/PointCloud2 without its header. data: (row_step * height,) uint8."""

    ros_type: ClassVar[str] = 'PointCloud2'
    height: int
    width: int
    fields: tuple[PointFieldFields, ...]
    is_bigendian: bool
    point_step: int
    row_step: int
    data: np.ndarray
    is_dense: bool


@dataclass(frozen=True)
class RegionOfInterestFields:
    """sensor_msgs/RegionOfInterest: zeros stand for the whole image."""

    ros_type: ClassVar[str] = 'RegionOfInterest'
    x_offset: int = 0
    y_offset: int = 0
    height: int = 0
    width: int = 0
    do_rectify: bool = False


@dataclass(frozen=True)
class CameraInfoFields:
    """sensor_msgs/CameraInfo of ROS 2 without its header. d, k, r, p: float64, row-major."""

    ros_type: ClassVar[str] = 'CameraInfo'
    height: int
    width: int
    distortion_model: str
    d: np.ndarray
    k: np.ndarray
    r: np.ndarray
    p: np.ndarray
    binning_x: int = 0
    binning_y: int = 0
    roi: RegionOfInterestFields = RegionOfInterestFields()


MessageFields = ImageFields | PointCloudFields | CameraInfoFields


def depth_fields(depth: Tensor, encoding: str = '32FC1') -> ImageFields:
    """Depth, or its standard deviation, as an image.

    32FC1 carries metres with NaN and +inf as they are; 16UC1 carries millimetres, rounded, with 0
    for what it cannot say: NaN, inf, and anything outside 1 to 65535 mm.

    Args:
        depth: (H, W) float, metres, on any device.
        encoding: '32FC1' or '16UC1'.

    Raises:
        MessageError: another encoding.
    """
    metres = _numpy(depth).astype('<f4', copy=False)
    if encoding == '32FC1':
        pixels = metres
    elif encoding == '16UC1':
        millimetres = np.rint(metres * np.float32(1000))
        representable = (millimetres >= 1) & (millimetres <= 65535)  # False for NaN
        pixels = np.where(representable, millimetres, 0).astype('<u2')
    else:
        raise MessageError(f'depth encoding is {encoding!r}, expected 32FC1 or 16UC1')
    height, width = pixels.shape
    return ImageFields(height, width, encoding, 0, pixels.itemsize * width, _bytes(pixels))


def image_fields(image: Tensor) -> ImageFields:
    """(H, W, 3) uint8 RGB -> rgb8."""
    pixels = _numpy(image)
    height, width, _ = pixels.shape
    return ImageFields(height, width, 'rgb8', 0, 3 * width, _bytes(pixels))


def cloud_fields(points: Tensor, image: Tensor, std: Tensor) -> PointCloudFields:
    """Organised cloud with x y z rgb std, pixel for pixel of the image; NaN where there is none.

    `rgb` is 0x00RRGGBB stored in a float32, as PCL and RViz read it, and stays where x y z are
    NaN; `std` does not.

    Args:
        points: (H, W, 3) float32, metres.
        image: (H, W, 3) uint8 RGB.
        std: (H, W) float32, metres, one sigma.
    """
    xyz = _numpy(points)
    height, width, _ = xyz.shape
    with np.errstate(invalid='ignore'):
        no_point = xyz[..., 0] + xyz[..., 1] + xyz[..., 2]
        no_point *= 0  # NaN where a coordinate is not finite, else 0: cheaper to add than a mask
    cloud = np.empty((height, width, len(_CLOUD_COLUMNS)), dtype='<f4')
    for axis in range(3):
        np.add(xyz[..., axis], no_point, out=cloud[..., axis])
    cloud.view('<u4')[..., 3] = _packed(_numpy(image))
    np.add(_numpy(std), no_point, out=cloud[..., 4])
    return _point_cloud(cloud, _CLOUD_COLUMNS, is_dense=False)


def map_cloud_fields(points: Tensor, colours: Tensor) -> PointCloudFields:
    """Cloud in no order with x y z rgb, none of them NaN.

    Args:
        points: (N, 3) float32, metres. colours: (N, 3) uint8 RGB.
    """
    cloud = np.empty((1, len(points), 4), dtype='<f4')
    cloud[0, :, :3] = _numpy(points)
    if len(points):
        cloud.view('<u4')[..., 3] = _packed(_numpy(colours)[None])
    return _point_cloud(cloud, _CLOUD_COLUMNS[:4], is_dense=True)


def _point_cloud(
    cloud: np.ndarray, columns: tuple[str, ...], *, is_dense: bool
) -> PointCloudFields:
    """(H, W, columns) float32."""
    height, width, _ = cloud.shape
    point_step = cloud.itemsize * len(columns)
    return PointCloudFields(
        height=height,
        width=width,
        fields=tuple(
            PointFieldFields(name, cloud.itemsize * column) for column, name in enumerate(columns)
        ),
        is_bigendian=False,
        point_step=point_step,
        row_step=point_step * width,
        data=_bytes(cloud),
        is_dense=is_dense,
    )


def camera_info_fields(camera: Camera) -> CameraInfoFields:
    """CameraInfo of a camera whose image is delivered whole: R is the identity, P is [K | 0].

    Without distortion the model is plumb_bob with five zeros, which every consumer knows.
    """
    k = np.array([camera.fx, 0, camera.cx, 0, camera.fy, camera.cy, 0, 0, 1], dtype=np.float64)
    undistorted = camera.distortion_model == 'none'
    return CameraInfoFields(
        height=camera.height,
        width=camera.width,
        distortion_model='plumb_bob' if undistorted else camera.distortion_model,
        d=np.array((0.0,) * 5 if undistorted else camera.distortion, dtype=np.float64),
        k=k,
        r=np.eye(3).reshape(-1),
        p=np.insert(k, [3, 6, 9], 0.0),
    )


def rclpy_message(fields: MessageFields, header: Any, types: Any) -> Any:
    """A message for rclpy to publish.

    Args:
        header: std_msgs/Header.
        types: the module sensor_msgs.msg.
    """
    values = _values(fields, lambda name: getattr(types, name))
    data = values.pop('data', None)
    message = getattr(types, fields.ros_type)(header=header, **values)
    if data is not None:
        # The message's own array.array is filled in place: one copy, where assigning an ndarray
        # walks over its elements (270 ms for a cloud) and assigning an array may copy once more.
        message.data.frombytes(data.data)
    return message


def rosbags_message(fields: MessageFields, header: Any, types: Mapping[str, Any]) -> Any:
    """A message for rosbags to write. It shares the memory of `fields`.

    Args:
        header: std_msgs/Header, of rosbags' own classes.
        types: `types` of a ROS 2 typestore.
    """

    def type_named(name: str) -> Any:
        return types[f'sensor_msgs/msg/{name}']

    values = _values(fields, type_named)
    return type_named(fields.ros_type)(header=header, **values)


def _values(fields: Any, type_named: Callable[[str], Any]) -> dict[str, Any]:
    """Keyword arguments for the constructor of a message; nested messages are made of their own
    class, by the name that sensor_msgs gives it."""

    def convert(value: Any) -> Any:
        if isinstance(value, tuple):
            return [convert(item) for item in value]
        if isinstance(value, PointFieldFields | RegionOfInterestFields):
            return type_named(value.ros_type)(**_values(value, type_named))
        return value

    return {f.name: convert(getattr(fields, f.name)) for f in dataclasses.fields(fields)}


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()


def _bytes(pixels: np.ndarray) -> np.ndarray:
    return pixels.reshape(-1).view(np.uint8)


def _packed(rgb: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 -> (H, W) uint32 0x00RRGGBB."""
    bgra = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGRA)
    packed = bgra.view('<u4')[..., 0]
    packed &= 0xFFFFFF
    return packed
