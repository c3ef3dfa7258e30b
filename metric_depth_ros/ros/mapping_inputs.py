"""What mapping_node hears: images, depth, uncertainty and poses, put together by time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from ..errors import MetricDepthError
from ..mapping.poses import PoseError, TransformTree
from ..messages import depth_from_message, frame_from_messages, stamp_ns, std_from_message
from ..messages.poses import pose_from_message, poses_from_transforms
from ..types import DepthPrediction, Frame
from .mapping_parameters import MappingParameters, motion
from .pairing import Observation, ObservationQueue, StampMatcher
from .parameters import ParameterError
from .pose_sources import BodyPoses, TransformPoses

if TYPE_CHECKING:
    from rclpy.lifecycle import LifecycleNode

WAITING_FOR_POSES = 10  # frames
WAITING_DEPTH = 5  # depth or uncertainty without the rest of its frame
POSE_QUEUE = 1000  # of small messages, none of which should be lost while a map is saved


class PoseSource:
    """Where poses come from, by the parameters: what collects them, and what there is to hear.

    poses: None for the map's own odometry. tree: None where no transforms are needed, or heard.

    Raises:
        ParameterError: body_from_camera makes no sense, or there is no tf2 to hear.
    """

    def __init__(self, chosen: MappingParameters) -> None:
        self.kind = chosen.poses
        self.poses: BodyPoses | TransformPoses | None = None
        self.tree: TransformTree | None = None
        limits = chosen.pose_limits()
        mounting = motion(chosen.body_from_camera)
        if self.kind == 'own':
            return
        if mounting is None and (self.kind == 'tf' or _transform_type() is not None):
            self.tree = TransformTree(limits)
        if self.kind == 'tf':
            if _transform_type() is None:
                raise ParameterError(
                    'parameter poses is tf, but tf2_msgs is not installed: expected own, '
                    'odometry or pose, or the ROS package tf2_msgs'
                )
            assert self.tree is not None
            self.poses = TransformPoses(limits, chosen.map_frame, self.tree)
        else:
            self.poses = BodyPoses(limits, body_from_camera=mounting, tree=self.tree)

    @property
    def refused(self) -> int:
        """Poses that were heard and not believed."""
        trees = self.tree.refused if self.tree is not None and self.kind != 'tf' else 0
        return trees + (self.poses.refused if self.poses is not None else 0)


class MappingInputs:
    """Subscriptions of mapping_node, from activation to deactivation.

    Args:
        queue: where observations go.
        warn: called with what is wrong, each time.
        direct: frames come by `hand_over`, and no topic of theirs is subscribed to.
    """

    def __init__(
        self,
        node: LifecycleNode,
        chosen: MappingParameters,
        source: PoseSource,
        queue: ObservationQueue,
        *,
        warn: Callable[[str], None],
        direct: bool,
    ) -> None:
        self.bad_poses = 0
        self.topics: dict[str, str] = {}
        self._node = node
        self._source = source
        self._queue = queue
        self._warn = warn
        self._camera_info: Any = None
        self._pending: dict[str, Any] | None = None  # a frame that waits for the first of these
        self._pending_since_s = 0.0
        capacity = {'image': chosen.image_queue, 'depth': WAITING_DEPTH}
        if chosen.use_uncertainty:
            capacity['uncertainty'] = WAITING_DEPTH
        self._matcher = StampMatcher(capacity)
        self._subscriptions: list[Any] = []
        if not direct:
            self._listen_to_frames(chosen)
        self._listen_to_poses()

    @property
    def unmatched(self) -> dict[str, int]:
        """Messages thrown away because the rest of their frame did not come, by topic."""
        return self._matcher.thrown_away

    def hand_over(self, frame: Frame, prediction: DepthPrediction) -> None:
        """Take a frame from a depth_node in this process: nothing is copied."""
        self._queue.put(
            Observation(
                frame.stamp_ns,
                frame.frame_id,
                {'frame': frame, 'prediction': prediction},
                time.monotonic(),
            )
        )

    def lacks_camera_info(self, for_s: float) -> bool:
        """True if a frame has waited `for_s` seconds for the first camera_info."""
        waits = self._pending is not None
        return waits and time.monotonic() - self._pending_since_s >= for_s

    def close(self) -> None:
        """Hear nothing more."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    # Frames

    def _listen_to_frames(self, chosen: MappingParameters) -> None:
        reliability = (
            ReliabilityPolicy.RELIABLE
            if chosen.qos_subscribe == 'reliable'
            else ReliabilityPolicy.BEST_EFFORT
        )
        qos = QoSProfile(depth=WAITING_DEPTH, reliability=reliability)
        images = QoSProfile(depth=min(30, chosen.image_queue), reliability=reliability)
        if chosen.image_transport == 'compressed':
            self._listen(CompressedImage, 'image', images, 'image/compressed')
        else:
            self._listen(Image, 'image', images)
        self._listen(Image, 'depth', qos, 'depth/image')
        if chosen.use_uncertainty:
            self._listen(Image, 'uncertainty', qos, 'depth/uncertainty')
        self._subscribe(CameraInfo, 'depth/camera_info', self._receive_camera_info, qos)

    def _listen(self, kind: type, name: str, qos: QoSProfile, topic: str = '') -> None:
        def receive(message: Any) -> None:
            self._receive(name, message)

        self.topics[name] = self._subscribe(kind, topic or name, receive, qos)

    def _subscribe(
        self, kind: type, topic: str, receive: Callable[[Any], None], qos: QoSProfile
    ) -> str:
        subscription = self._node.create_subscription(kind, topic, receive, qos)
        self._subscriptions.append(subscription)
        return str(subscription.topic_name)

    def _receive_camera_info(self, message: Any) -> None:
        self._camera_info = message
        if self._pending is not None:
            self._put(self._pending)
            self._pending = None

    def _receive(self, name: str, message: Any) -> None:
        lost = self._matcher.thrown_away[name]
        stamp = stamp_ns(message.header)
        complete = self._matcher.put(name, stamp, message)
        if complete is not None and self._camera_info is None:
            self._pending, self._pending_since_s = complete, time.monotonic()
        elif complete is not None:
            self._put(complete)
        elif name != 'image' and self._matcher.thrown_away[name] > lost:
            self._warn(self._missing(name, stamp))

    def _put(self, complete: dict[str, Any]) -> None:
        header = complete['image'].header
        messages = complete | {'camera_info': self._camera_info}
        self._queue.put(Observation(stamp_ns(header), header.frame_id, messages, time.monotonic()))

    def _missing(self, name: str, stamp: int) -> str:
        """Why a depth or an uncertainty was thrown away."""
        others = [
            f'{self.topics[other]} ({_reach(self._matcher.waiting(other))})'
            for other in self._matcher.thrown_away
            if other != name
        ]
        return (
            f'{self.topics[name]}: at {stamp / 1e9:.3f} s and before, no message of the same '
            f'stamp on {" or ".join(others)}; expected depth of the images on '
            f'{self.topics["image"]}'
        )

    # Poses

    def _listen_to_poses(self) -> None:
        qos = QoSProfile(depth=POSE_QUEUE, reliability=ReliabilityPolicy.BEST_EFFORT)
        if self._source.kind == 'odometry':
            self.topics['poses'] = self._subscribe(Odometry, 'odom', self._receive_pose, qos)
        elif self._source.kind == 'pose':
            self.topics['poses'] = self._subscribe(PoseStamped, 'pose', self._receive_pose, qos)
        elif self._source.kind == 'tf':
            self.topics['poses'] = '/tf'
        if self._source.tree is not None:
            static = QoSProfile(
                depth=100,
                reliability=ReliabilityPolicy.RELIABLE,
                durability=DurabilityPolicy.TRANSIENT_LOCAL,
            )
            self._subscribe(_transform_type(), '/tf', self._receive_transforms, qos)
            self._subscribe(_transform_type(), '/tf_static', self._receive_static, static)

    def _receive_pose(self, message: Any) -> None:
        poses = self._source.poses
        assert isinstance(poses, BodyPoses)
        try:
            pose = pose_from_message(message)
            with self._queue.changed:
                poses.add(pose)
                self._queue.changed.notify()
        except MetricDepthError as error:
            self._refuse_pose(error)

    def _receive_transforms(self, message: Any, *, static: bool = False) -> None:
        tree = self._source.tree
        assert tree is not None
        try:
            with self._queue.changed:
                for pose in poses_from_transforms(message):
                    tree.add(pose, static=static)
                self._queue.changed.notify()
        except MetricDepthError as error:
            self._refuse_pose(error)

    def _receive_static(self, message: Any) -> None:
        self._receive_transforms(message, static=True)

    def _refuse_pose(self, error: MetricDepthError) -> None:
        # Those that a buffer refuses are counted there.
        self.bad_poses += not isinstance(error, PoseError)
        self._warn(f'{self.topics.get("poses", "/tf")}: {error}')


def frame_and_depth(messages: dict[str, Any]) -> tuple[Frame, DepthPrediction]:
    """Of the messages of one observation.

    Raises:
        MetricDepthError: a message that contradicts itself, the others, or the camera.
    """
    if 'frame' in messages:
        return messages['frame'], messages['prediction']
    frame = frame_from_messages(messages['image'], messages['camera_info'])
    depth = depth_from_message(messages['depth'])
    if 'uncertainty' in messages:
        std = std_from_message(messages['uncertainty'])
    else:
        std = torch.full_like(depth, torch.nan)
    return frame, DepthPrediction(depth, std, frame.camera, frame.stamp_ns, frame.frame_id)


def _reach(stamps: Any) -> str:
    if not stamps:
        return 'none waits'
    return f'{min(stamps) / 1e9:.3f} to {max(stamps) / 1e9:.3f} s wait'


def _transform_type() -> Any:
    """tf2_msgs/TFMessage; None where it is not installed: it is no wheel on PyPI."""
    try:
        from tf2_msgs.msg import TFMessage
    except ImportError:
        return None
    return TFMessage
