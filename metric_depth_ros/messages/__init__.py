"""ROS messages <-> tensors. Works on rclpy's and on rosbags' messages alike, imports neither."""

from metric_depth_ros.messages.camera_info import camera_from_message
from metric_depth_ros.messages.depth import depth_from_message
from metric_depth_ros.messages.frames import frame_from_messages, stamp_ns
from metric_depth_ros.messages.images import (
    IMAGE_ENCODINGS,
    compressed_image_from_message,
    image_from,
    image_from_message,
)
from metric_depth_ros.messages.outgoing import (
    CameraInfoFields,
    ImageFields,
    PointCloudFields,
    camera_info_fields,
    cloud_fields,
    depth_fields,
    image_fields,
    rclpy_message,
    rosbags_message,
)
from metric_depth_ros.messages.pixels import MessageError

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
    'rclpy_message',
    'rosbags_message',
    'stamp_ns',
]
