"""ROS messages <-> tensors. Works on rclpy's and on rosbags' messages alike, imports neither."""

from .camera_info import camera_from_message
from .depth import depth_from_message, std_from_message
from .frames import frame_from_messages, stamp_ns
from .images import (
    IMAGE_ENCODINGS,
    compressed_image_from_message,
    image_from,
    image_from_message,
)
from .outgoing import (
    CameraInfoFields,
    ImageFields,
    PointCloudFields,
    camera_info_fields,
    cloud_fields,
    depth_fields,
    image_fields,
    map_cloud_fields,
    rclpy_message,
    rosbags_message,
)
from .pixels import MessageError

__all__ = [
    'IMAGE_ENCODINGS',
    'CameraInfoFields',
    'ImageFields',
    'MessageError',
    'PointCloudFields',
    'camera_from_message',
    'camera_info_fields',
    'cloud_fields',
    'compressed_image_from_message',
    'depth_fields',
    'depth_from_message',
    'frame_from_messages',
    'image_fields',
    'image_from',
    'image_from_message',
    'map_cloud_fields',
    'rclpy_message',
    'rosbags_message',
    'stamp_ns',
    'std_from_message',
]
