"""A mapping_node under test and, across DDS, who plays views to it and hears the map."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from metric_depth_ros.mapping import View
from metric_depth_ros.messages import (
    camera_info_fields,
    depth_fields,
    image_fields,
    rclpy_message,
)
from metric_depth_ros.messages.poses import odometry_message, pose_stamped_message

SETTINGS = {
    'device': 'cpu',
    'poses': 'odometry',
    'voxel_size': 0.05,
    'qos_subscribe': 'reliable',
    'publish_period': 0.1,
}


class Player:
    """Publishes views as camera, depth_node and SLAM system would."""

    def __init__(self, node: Any) -> None:
        from geometry_msgs.msg import PoseStamped
        from nav_msgs.msg import Odometry
        from sensor_msgs.msg import CameraInfo, Image

        def publisher(kind: type, topic: str) -> Any:
            return node.create_publisher(kind, topic, 10)

        self.images = publisher(Image, 'image')
        self.depths = publisher(Image, 'depth/image')
        self.stds = publisher(Image, 'depth/uncertainty')
        self.infos = publisher(CameraInfo, 'depth/camera_info')
        self.odometry = publisher(Odometry, 'odom')
        self.poses = publisher(PoseStamped, 'pose')
        self.infos_of_camera = publisher(CameraInfo, 'camera_info')

    def header(self, stamp_ns: int, frame_id: str) -> Any:
        from builtin_interfaces.msg import Time
        from std_msgs.msg import Header

        seconds, rest = divmod(stamp_ns, 1_000_000_000)
        return Header(stamp=Time(sec=seconds, nanosec=rest), frame_id=frame_id)

    def send_frame(self, view: View, *, image: bool = True, stamp_ns: int | None = None) -> None:
        from sensor_msgs import msg

        stamp_ns = view.frame.stamp_ns if stamp_ns is None else stamp_ns
        header = self.header(stamp_ns, view.frame.frame_id)
        depth, std = depth_fields(view.prediction.depth), depth_fields(view.prediction.std)
        self.infos.publish(self.camera_info(view))
        if image:
            self.images.publish(rclpy_message(image_fields(view.frame.image), header, msg))
        self.depths.publish(rclpy_message(depth, header, msg))
        self.stds.publish(rclpy_message(std, header, msg))

    def camera_info(self, view: View) -> Any:
        from sensor_msgs import msg

        header = self.header(view.frame.stamp_ns, view.frame.frame_id)
        return rclpy_message(camera_info_fields(view.frame.camera), header, msg)

    def send_odometry(
        self,
        view: View,
        *,
        pose: torch.Tensor | None = None,
        stamp_ns: int | None = None,
        child: str = 'camera',
    ) -> None:
        header = self.header(view.frame.stamp_ns if stamp_ns is None else stamp_ns, 'odom')
        pose = view.world_from_camera if pose is None else pose
        self.odometry.publish(odometry_message(pose, header, child, type_named))

    def send_pose(self, view: View) -> None:
        header = self.header(view.frame.stamp_ns, 'odom')
        self.poses.publish(pose_stamped_message(view.world_from_camera, header, type_named))


class MapRig(Player):
    """One MappingNode and one client in an executor that spins in a thread of its own."""

    def __init__(
        self, context: Any, namespace: str, overrides: dict[str, Any], direct: bool
    ) -> None:
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray
        from nav_msgs.msg import Odometry, Path
        from rcl_interfaces.msg import Log
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.parameter import Parameter
        from rclpy.qos import qos_profile_rosout_default
        from sensor_msgs.msg import PointCloud2
        from std_srvs.srv import Trigger
        from visualization_msgs.msg import Marker

        from metric_depth_ros.ros.mapping_node import MappingNode

        self.namespace = namespace
        self.received: dict[str, list[Any]] = defaultdict(list)
        self.client = rclpy.create_node('client', context=context, namespace=namespace)
        super().__init__(self.client)
        for kind, topic in (
            (PointCloud2, 'map/points'),
            (Marker, 'map/mesh'),
            (Odometry, 'map/odometry'),
            (Path, 'map/path'),
            (DiagnosticArray, '/diagnostics'),
        ):
            self._listen(kind, topic, 10)
        self._listen(Log, '/rosout', qos_profile_rosout_default)
        self._save = self.client.create_client(Trigger, 'mapping_node/save')
        self.node = MappingNode(
            direct=direct,
            context=context,
            namespace=namespace,
            parameter_overrides=[Parameter(name, value=v) for name, v in overrides.items()],
        )
        self.executor = SingleThreadedExecutor(context=context)
        for node in (self.client, self.node):
            self.executor.add_node(node)
        self._closing = False
        self._spinning = threading.Thread(target=self._spin, daemon=True)
        self._spinning.start()

    def _spin(self) -> None:
        # Not `spin`: a shut-down executor may still want to wake the thread that spins it.
        while not self._closing:
            self.executor.spin_once(0.05)

    def _listen(self, kind: type, topic: str, qos: Any) -> None:
        self.client.create_subscription(kind, topic, self.received[topic].append, qos)

    def start(self) -> MapRig:
        """Configure and activate, and wait until DDS has brought everyone together."""
        assert self.node.start()
        heard = [self.images, self.depths, self.stds, self.infos]
        source = self.node.parameters.poses
        heard += {'odometry': [self.odometry], 'pose': [self.poses]}.get(source, [])
        self.wait(lambda: all(p.get_subscription_count() for p in heard))
        for topic in ('map/points', 'map/mesh', 'map/odometry', 'map/path'):
            self.wait(lambda topic=topic: self.client.count_publishers(topic))
        return self

    def close(self) -> None:
        self.node.stop()
        self._closing = True
        self._spinning.join()
        self.executor.shutdown()
        self.node.destroy_node()
        self.client.destroy_node()

    def wait(self, condition: Callable[[], Any], timeout_s: float = 60.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f'waited {timeout_s} s in vain: {self.warnings()}'
            time.sleep(0.005)

    def play(self, view: View) -> None:
        """A frame and its pose, and wait until it is in the map."""
        count = self.frames() + 1
        self.send_odometry(view)  # first: on a busy machine a frame's patience ends before it
        self.send_frame(view)
        self.wait(lambda: self.frames() >= count)

    def frames(self) -> int:
        keeper = self.node.keeper
        return 0 if keeper is None else keeper.stats.frames

    def warnings(self) -> list[str]:
        """What the node has logged as a warning or worse."""
        logs = [log for log in self.received['/rosout'] if log.name.endswith('mapping_node')]
        own = self.namespace.strip('/')
        return [log.msg for log in logs if log.level >= log.WARN and own in log.name]

    def wait_for_warning(self, *words: str) -> str:
        """The first warning that has all the words."""

        def found() -> list[str]:
            return [w for w in self.warnings() if all(word in w for word in words)]

        self.wait(found)
        return found()[0]

    def status(self) -> Any:
        """The latest /diagnostics of this node."""
        name = f'{self.node.get_fully_qualified_name()}: map'
        arrays = [a for a in self.received['/diagnostics'] if a.status[0].name == name]
        return arrays[-1].status[0] if arrays else None

    def count(self, key: str) -> int:
        """A number of the latest /diagnostics; -1 before the first."""
        status = self.status()
        values = {pair.key: pair.value for pair in status.values} if status else {}
        return int(values.get(key, -1))

    def save(self) -> Any:
        """Call the service, as `ros2 service call` does."""
        from std_srvs.srv import Trigger

        assert self._save.wait_for_service(10)
        future = self._save.call_async(Trigger.Request())
        self.wait(future.done)
        return future.result()


def type_named(name: str) -> Any:
    """A message class by its name."""
    from metric_depth_ros.ros.mapping_outputs import type_named as of_node

    return of_node(name)


def points_of(cloud: Any) -> torch.Tensor:
    """(N, 3) metres of a PointCloud2 of float32 columns."""
    offsets = {field.name: field.offset // 4 for field in cloud.fields}
    values = np.frombuffer(bytes(cloud.data), '<f4').reshape(-1, cloud.point_step // 4)
    columns = [values[:, offsets[name]] for name in ('x', 'y', 'z')]
    return torch.from_numpy(np.stack(columns, -1))


def off_the_walls(points: torch.Tensor) -> torch.Tensor:
    """Metres from each point to the nearest of the corner's three planes."""
    return (points - torch.tensor([1.0, 0.7, 2.5])).abs().amin(-1)
