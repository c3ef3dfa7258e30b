"""Where the camera of a bag was: of transforms, odometry and poses, whichever it has."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from ..bags.reader import Bag, BagError, BagMessage, deserialize
from ..bags.topics import TF_TYPE
from ..mapping.poses import PoseError, PoseLimits, TransformTree
from ..messages import MessageError
from ..messages.poses import StampedPose, pose_from_message, poses_from_transforms

_ODOMETRY_TYPE = 'nav_msgs/msg/Odometry'
_POSE_TYPES = ('geometry_msgs/msg/PoseStamped', 'geometry_msgs/msg/PoseWithCovarianceStamped')
_STATIC = 'tf_static'
LIMITS = PoseLimits(history=10_000_000)  # a bag is read whole, so its poses are kept whole


class BagPoses:
    """All poses of a bag as one tree of transforms, and the camera's way to its root.

    Transforms count most; Odometry adds what they do not say; a PoseStamped is taken for the
    camera's own where neither leads to it, for it does not say whose it is.

    Args:
        frame_id: of the images.
    """

    def __init__(self, bag: Bag, frame_id: str) -> None:
        self.frame_id = frame_id.lstrip('/')
        self._tree = TransformTree(LIMITS)
        self._parents: dict[str, str] = {}
        self._refused = ''
        for static, pose in _transforms(bag):
            self._add(pose, static=static)
        told = set(self._parents)
        for pose in _poses(bag, (_ODOMETRY_TYPE,)):
            if pose.child.lstrip('/') not in told:
                self._add(pose)
        if self.frame_id not in self._parents:
            for pose in _poses(bag, _POSE_TYPES):
                own = StampedPose(
                    pose.stamp_ns, pose.parent, self.frame_id, pose.parent_from_child
                )
                self._add(own)

    @property
    def known(self) -> bool:
        """Whether anything is known of where the camera was."""
        return self.frame_id in self._parents

    @property
    def root(self) -> str:
        """The frame of the world: the furthest ancestor of the camera's."""
        name, seen = self.frame_id, set[str]()
        while name in self._parents and name not in seen:
            seen.add(name)
            name = self._parents[name]
        return name

    def at(self, stamp_ns: int) -> Tensor | None:
        """(4, 4) float64 world_from_camera at a time; None where it is not known."""
        return self._tree.at(self.root, self.frame_id, stamp_ns) if self.known else None

    def explain(self, stamp_ns: int) -> str:
        """One line: why there is no pose at a time."""
        if self._refused:
            return self._refused
        if not self.known:
            return f'the bag has no transform, odometry or pose of {self.frame_id!r}'
        return self._tree.explain(self.root, self.frame_id, stamp_ns)

    def _add(self, pose: StampedPose, *, static: bool = False) -> None:
        try:
            self._tree.add(pose, static=static)
        except PoseError as error:
            self._refused = self._refused or str(error)
            return
        self._parents[pose.child.lstrip('/')] = pose.parent.lstrip('/')


def _transforms(bag: Bag) -> Iterator[tuple[bool, StampedPose]]:
    """Whether it is static, and the transform."""
    topics = [topic for topic, kind in bag.topics.items() if kind == TF_TYPE]
    for message in bag.messages(topics):
        static = message.topic.rsplit('/', 1)[-1] == _STATIC
        for pose in _read(message):
            yield static, pose


def _poses(bag: Bag, kinds: tuple[str, ...]) -> Iterator[StampedPose]:
    """Of the first topic of these types; several would contradict each other."""
    topics = sorted(topic for topic, kind in bag.topics.items() if kind in kinds)
    for message in bag.messages(topics[:1]):
        yield from _read(message)


def _read(message: BagMessage) -> list[StampedPose]:
    """The poses in a message; none where it is damaged or says no pose: its frame has none."""
    try:
        read = deserialize(message)
        if message.type == TF_TYPE:
            return poses_from_transforms(read)
        return [pose_from_message(read)]
    except (BagError, MessageError):
        return []
