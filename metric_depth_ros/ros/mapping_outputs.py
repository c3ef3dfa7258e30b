"""The topics mapping_node publishes, and the messages on them."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from builtin_interfaces.msg import Time
from sensor_msgs import msg as sensor_msgs
from std_msgs.msg import Header
from torch import Tensor

from ..mapping.mapper import Mapper
from ..mapping.mesh import Mesh
from ..mapping.preview import coarser, thinned
from ..messages import map_cloud_fields, rclpy_message
from ..messages.poses import odometry_message, path_message, pose_stamped_message
from .mapping_parameters import MappingParameters

if TYPE_CHECKING:
    from rclpy.lifecycle import LifecycleNode

MAX_PATH_POSES = 2000  # of map/path; a longer way is thinned


@lru_cache
def type_named(name: str) -> Any:
    """The class of a message type, such as 'nav_msgs/msg/Odometry'."""
    package, _, kind = name.split('/')
    return getattr(import_module(f'{package}.msg'), kind)


class MappingOutputs:
    """Publishers of a map. What nobody subscribes to is not computed."""

    def __init__(self, node: LifecycleNode, reliability: Any) -> None:
        from rclpy.qos import QoSProfile

        def publisher(name: str, topic: str, depth: int = 1) -> Any:
            qos = QoSProfile(depth=depth, reliability=reliability)
            return node.create_lifecycle_publisher(type_named(name), topic, qos)

        self._odometry = publisher('nav_msgs/msg/Odometry', 'map/odometry', 10)
        self._path = publisher('nav_msgs/msg/Path', 'map/path')
        self._points = publisher('sensor_msgs/msg/PointCloud2', 'map/points')
        self._mesh = _marker_publisher(publisher, node)
        self._node = node

    def listeners(self) -> tuple[int, ...]:
        """How many subscribe to each topic of the map."""
        publishers = (self._path, self._points, self._mesh)
        return tuple(p.get_subscription_count() if p else 0 for p in publishers)

    def publish_pose(self, map_from_camera: Tensor, header: Header, frame_id: str) -> None:
        """Where the camera was at the stamp of the header, in the frame of the header."""
        self._odometry.publish(odometry_message(map_from_camera, header, frame_id, type_named))

    def publish_map(self, mapper: Mapper, header: Header, parameters: MappingParameters) -> None:
        """The map as it is, small enough for the parameters."""
        if wanted(self._path):
            self._path.publish(path_of(mapper, header))
        if wanted(self._points):
            cloud = thinned(mapper.cloud(), parameters.publish_max_points)
            fields = map_cloud_fields(cloud.points, cloud.colours)
            self._points.publish(rclpy_message(fields, header, sensor_msgs))
        if wanted(self._mesh):
            cell = 2 * mapper.settings.voxel_size
            mesh = coarser(mapper.mesh(), parameters.publish_max_triangles, cell)
            self._mesh.publish(marker_of(mesh, header))

    def destroy(self) -> None:
        for publisher in (self._odometry, self._path, self._points, self._mesh):
            if publisher is not None:
                self._node.destroy_lifecycle_publisher(publisher)


def header_of(stamp_ns: int, frame_id: str) -> Header:
    """std_msgs/Header."""
    seconds, rest = divmod(stamp_ns, 1_000_000_000)
    return Header(stamp=Time(sec=seconds, nanosec=rest), frame_id=frame_id)


def wanted(publisher: Any) -> bool:
    """True if somebody subscribes to it."""
    return publisher is not None and publisher.get_subscription_count() > 0


def path_of(mapper: Mapper, header: Header) -> Any:
    """nav_msgs/Path of the trajectory, thinned to about MAX_PATH_POSES."""
    trajectory = mapper.trajectory()
    step = 1 + len(trajectory) // MAX_PATH_POSES
    poses = []
    for stamp_ns, pose in zip(
        trajectory.stamps_ns[::step], trajectory.world_from_camera[::step], strict=True
    ):
        at = header_of(stamp_ns, header.frame_id)
        poses.append(pose_stamped_message(pose, at, type_named))
    return path_message(poses, header, type_named)


def marker_of(mesh: Mesh, header: Header) -> Any:
    """visualization_msgs/Marker, triangles in the colours of their corners."""
    from geometry_msgs.msg import Point
    from std_msgs.msg import ColorRGBA
    from visualization_msgs.msg import Marker

    marker = Marker(header=header, ns='map', type=Marker.TRIANGLE_LIST, action=Marker.ADD)
    marker.pose.orientation.w = 1.0
    marker.scale.x = marker.scale.y = marker.scale.z = 1.0
    marker.color.a = 1.0
    if not len(mesh.triangles):
        marker.action = Marker.DELETE  # RViz complains of a list without triangles
        return marker
    # A vertex is one object, however many triangles share it.
    points = [Point(x=x, y=y, z=z) for x, y, z in mesh.vertices.tolist()]
    colours = [
        ColorRGBA(r=r, g=g, b=b, a=1.0) for r, g, b in (mesh.colours.float() / 255).tolist()
    ]
    corners = mesh.triangles.reshape(-1).tolist()
    marker.points = [points[i] for i in corners]
    marker.colors = [colours[i] for i in corners]
    return marker


def _marker_publisher(publisher: Callable[[str, str], Any], node: LifecycleNode) -> Any:
    """None, said once, where visualization_msgs is not installed."""
    try:
        return publisher('visualization_msgs/msg/Marker', 'map/mesh')
    except ImportError:
        node.get_logger().warning(
            'map/mesh is not published: visualization_msgs is not installed; map/points is'
        )
        return None
