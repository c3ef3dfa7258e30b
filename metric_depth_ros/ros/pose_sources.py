"""Where the camera was, of what odometry, pose or tf messages say of some body.

ROS-free; `ObservationQueue.changed` guards them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..mapping.poses import PoseBuffer, PoseError, PoseLimits, TransformTree
from ..messages.poses import StampedPose


class BodyPoses:
    """Poses of one body in one frame, from Odometry or PoseStamped.

    Args:
        body_from_camera: (4, 4) float64; None where the body is the camera, or where `tree` knows.
        tree: of transforms that lead from the body to the camera.
    """

    def __init__(
        self,
        limits: PoseLimits,
        *,
        body_from_camera: Tensor | None = None,
        tree: TransformTree | None = None,
    ) -> None:
        self.map_frame = ''
        self.body = ''
        self._buffer = PoseBuffer(limits)
        self._body_from_camera = body_from_camera
        self._tree = tree

    @property
    def refused(self) -> int:
        """How many poses were not taken."""
        return self._buffer.refused

    def add(self, pose: StampedPose) -> None:
        """Take one pose.

        Raises:
            PoseError: as of PoseBuffer, or it is in another frame or of another body than those
                before.
        """
        if len(self._buffer) and (pose.parent, pose.child) != (self.map_frame, self.body):
            self._buffer.refused += 1
            raise PoseError(
                f'pose of {pose.child!r} in {pose.parent!r} refused, expected one of '
                f'{self.body!r} in {self.map_frame!r} as before'
            )
        self._buffer.add(pose.stamp_ns, pose.parent_from_child)
        self.map_frame, self.body = pose.parent, pose.child

    def at(self, stamp_ns: int, frame_id: str) -> Tensor | None:
        """(4, 4) float64 map_from_camera; None where it is not known."""
        pose, mounting = self._buffer.at(stamp_ns), self._mounting(stamp_ns, frame_id)
        return None if pose is None or mounting is None else pose @ mounting

    def settled(self, stamp_ns: int, frame_id: str) -> bool:
        """True if there is a pose at that time or later."""
        return (self._buffer.newest_ns or 0) >= stamp_ns

    def explain(self, stamp_ns: int, frame_id: str) -> str:
        """One line: why there is no pose."""
        why = self._buffer.explain(stamp_ns)
        if why:
            return why
        reason = self._tree.explain(self.body, frame_id, stamp_ns) if self._tree else 'no tf2 here'
        return (
            f'poses are of {self.body!r}, images of {frame_id!r}, expected the parameter '
            f'body_from_camera or a transform between the two ({reason})'
        )

    def _mounting(self, stamp_ns: int, frame_id: str) -> Tensor | None:
        """(4, 4) body_from_camera; None where it is not known."""
        if self._body_from_camera is not None:
            return self._body_from_camera
        if self.body in ('', frame_id):  # a PoseStamped does not say of what it is the pose
            return torch.eye(4, dtype=torch.float64)
        return None if self._tree is None else self._tree.at(self.body, frame_id, stamp_ns)


class TransformPoses:
    """Poses of any frame in `map_frame`, from transforms."""

    def __init__(self, limits: PoseLimits, map_frame: str, tree: TransformTree) -> None:
        self.map_frame = map_frame
        self._tree = tree
        self._settling_ns = int(limits.age_s * 1e9)

    @property
    def refused(self) -> int:
        """How many transforms were not taken."""
        return self._tree.refused

    def at(self, stamp_ns: int, frame_id: str) -> Tensor | None:
        """(4, 4) float64 map_from_camera; None where it is not known."""
        return self._tree.at(self.map_frame, frame_id, stamp_ns)

    def settled(self, stamp_ns: int, frame_id: str) -> bool:
        """True if every link of the way has a transform at that time or later."""
        # One pose answers for age_s around it: if it does so much later, it is not an older one.
        return self.at(stamp_ns + self._settling_ns, frame_id) is not None

    def explain(self, stamp_ns: int, frame_id: str) -> str:
        """One line: why there is no pose."""
        return self._tree.explain(self.map_frame, frame_id, stamp_ns)
