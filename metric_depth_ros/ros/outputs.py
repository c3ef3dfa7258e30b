"""The topics depth_node publishes, and the messages on them."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from sensor_msgs import msg as sensor_msgs

from ..geometry import unproject
from ..messages import (
    camera_info_fields,
    cloud_fields,
    depth_fields,
    rclpy_message,
)
from ..types import DepthPrediction, Frame
from .inbox import Delivery
from .parameters import Parameters

if TYPE_CHECKING:
    from rclpy.lifecycle import LifecycleNode
    from rclpy.qos import QoSProfile


class Outputs:
    """Publishers of a prediction. What nobody subscribes to is not even computed, except for
    depth/image and depth/camera_info, which are cheap and prove that the node works."""

    def __init__(self, node: LifecycleNode, qos: QoSProfile, model: str) -> None:
        def publisher(message_type: type, topic: str) -> Any:
            return node.create_lifecycle_publisher(message_type, topic, qos)

        self._depth = publisher(sensor_msgs.Image, 'depth/image')
        self._camera_info = publisher(sensor_msgs.CameraInfo, 'depth/camera_info')
        self._uncertainty = publisher(sensor_msgs.Image, 'depth/uncertainty')
        self._points = publisher(sensor_msgs.PointCloud2, 'depth/points')
        self._metric_type = _metric_depth_type(node)
        self._metric = self._metric_type and publisher(self._metric_type, 'depth/metric')
        self._node = node
        self._model = model

    def publish(
        self,
        prediction: DepthPrediction,
        frame: Frame,
        delivery: Delivery,
        parameters: Parameters,
    ) -> None:
        """Publish `prediction` of `frame` under the header of the image that was delivered."""
        header = delivery.image.header
        depth = depth_fields(prediction.depth, parameters.depth_encoding)
        camera_info = rclpy_message(camera_info_fields(prediction.camera), header, sensor_msgs)
        self._depth.publish(rclpy_message(depth, header, sensor_msgs))
        self._camera_info.publish(camera_info)
        if _wanted(self._uncertainty):
            uncertainty = depth_fields(prediction.std)
            self._uncertainty.publish(rclpy_message(uncertainty, header, sensor_msgs))
        if parameters.publish_points and _wanted(self._points):
            points = unproject(prediction.depth, prediction.camera)
            cloud = cloud_fields(points, frame.image, prediction.std)
            self._points.publish(rclpy_message(cloud, header, sensor_msgs))
        if parameters.publish_metric and _wanted(self._metric):
            metric = self._metric_type(
                header=header,
                depth=rclpy_message(depth_fields(prediction.depth), header, sensor_msgs),
                uncertainty=rclpy_message(depth_fields(prediction.std), header, sensor_msgs),
                camera_info=camera_info,
                model=self._model,
                latency_ms=1e3 * (time.monotonic() - delivery.received_s),
            )
            self._metric.publish(metric)

    def destroy(self) -> None:
        for publisher in (
            self._depth, self._camera_info, self._uncertainty, self._points, self._metric
        ):  # fmt: skip
            if publisher is not None:
                self._node.destroy_lifecycle_publisher(publisher)


def select(prediction: DepthPrediction, parameters: Parameters) -> DepthPrediction:
    """`prediction` without the depth that the parameters say consumers should not see."""
    depth = prediction.depth
    if parameters.beyond_range_as_nan:
        depth = torch.where(depth.isinf(), torch.nan, depth)
    if parameters.max_std_ratio > 0:
        depth = torch.where(prediction.std > parameters.max_std_ratio * depth, torch.nan, depth)
    return replace(prediction, depth=depth)


def _wanted(publisher: Any) -> bool:
    return publisher is not None and publisher.get_subscription_count() > 0


def _metric_depth_type(node: LifecycleNode) -> Any:
    """Our message class; None, said once, where the package was not built with its messages."""
    try:
        from ..msg import MetricDepth
    except ImportError:
        node.get_logger().warning(
            'depth/metric is not published: metric_depth_ros/msg/MetricDepth is not built; '
            'run `python resource/build_messages.py`, or build the package with colcon'
        )
        return None
    return MetricDepth
