"""Where the camera was when an image was taken: poses by time, from whoever knows them."""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import rigid
from ..messages.poses import StampedPose
from .view import MappingError, check_pose

# Between two transforms there are seldom more than five links: map, odom, base, arm, camera.
_MAX_LINKS = 32


class PoseError(MappingError):
    """A pose that is refused: says why. What is known so far stays as it is."""


@dataclass(frozen=True)
class PoseLimits:
    """What a pose must be to be believed, and how far it is good for.

    gap_s: two neighbours further apart in time are not interpolated between. age_s: a pose alone
        stands for an image this near to it in time. jump_m: a pose further than this from its
        neighbour in time is refused. history: poses kept, the oldest go first.
    """

    gap_s: float = 1.0
    age_s: float = 0.05
    jump_m: float = 100.0
    history: int = 20_000

    def __post_init__(self) -> None:
        for name in ('gap_s', 'age_s', 'jump_m'):
            if not getattr(self, name) >= 0:
                raise MappingError(f'{name} is {getattr(self, name)}, expected 0 or more')
        if self.history < 2:
            raise MappingError(f'history is {self.history}, expected at least 2 poses')


class PoseBuffer:
    """Poses in the order of their stamps, whatever order they came in; memory is bounded.

    refused: how many poses were not taken.
    """

    def __init__(self, limits: PoseLimits | None = None) -> None:
        self.limits = limits or PoseLimits()
        self.refused = 0
        self._stamps: list[int] = []
        self._poses: list[Tensor] = []

    def __len__(self) -> int:
        return len(self._stamps)

    @property
    def newest_ns(self) -> int | None:
        """Stamp of the newest pose: whoever asks for a later one may want to wait."""
        return self._stamps[-1] if self._stamps else None

    def add(self, stamp_ns: int, world_from_camera: Tensor) -> None:
        """Take the pose (4, 4) float64 at a time; one of the same stamp is replaced.

        Raises:
            PoseError: it is no rigid motion of finite numbers, it jumps, or it is older than all
                that is kept of a full history. It is counted in `refused`, and nothing changes.
        """
        try:
            self._check(stamp_ns, world_from_camera)
        except MappingError as error:
            self.refused += 1
            raise PoseError(f'pose at {_seconds(stamp_ns)} refused: {error}') from None
        place = bisect.bisect_left(self._stamps, stamp_ns)
        if place < len(self) and self._stamps[place] == stamp_ns:
            self._poses[place] = world_from_camera
            return
        self._stamps.insert(place, stamp_ns)
        self._poses.insert(place, world_from_camera)
        if len(self) > self.limits.history:
            del self._stamps[0], self._poses[0]

    def _check(self, stamp_ns: int, pose: Tensor) -> None:
        check_pose(pose)
        place = bisect.bisect_left(self._stamps, stamp_ns)
        if place == 0 and len(self) >= self.limits.history:
            raise PoseError(f'older than the {len(self)} poses that are kept')
        if not self._poses:
            return
        neighbour = self._poses[max(place - 1, 0)]
        jump = float((pose[:3, 3] - neighbour[:3, 3]).norm())
        if jump > self.limits.jump_m:
            raise PoseError(
                f'{jump:.1f} m from the one before, expected at most {self.limits.jump_m:g} m; '
                'where the robot was moved, or its map begun anew, begin a new map'
            )

    def at(self, stamp_ns: int) -> Tensor | None:
        """(4, 4) float64 world_from_camera at a time; None where none is near enough.

        Between two poses at most `gap_s` apart it is interpolated; else the nearest one is taken
        if it is at most `age_s` away. `explain` says why there is none.
        """
        place = bisect.bisect_left(self._stamps, stamp_ns)
        if 0 < place < len(self):
            before, after = self._stamps[place - 1], self._stamps[place]
            if after - before <= self.limits.gap_s * 1e9:
                share = (stamp_ns - before) / (after - before)
                return rigid.interpolate(self._poses[place - 1], self._poses[place], share)
        nearest = self._nearest(stamp_ns)
        if nearest is None or self._apart(nearest, stamp_ns) > self.limits.age_s:
            return None
        return self._poses[nearest]

    def explain(self, stamp_ns: int) -> str:
        """One line: why there is no pose at a time. Empty where there is one."""
        if self.at(stamp_ns) is not None:
            return ''
        nearest = self._nearest(stamp_ns)
        if nearest is None:
            return f'no pose at {_seconds(stamp_ns)}: none has come' + (
                f', {self.refused} were refused' if self.refused else ''
            )
        return (
            f'no pose at {_seconds(stamp_ns)}: poses reach from {_seconds(self._stamps[0])} to '
            f'{_seconds(self._stamps[-1])} and the nearest is {self._apart(nearest, stamp_ns):.3f}'
            f' s away, expected at most {self.limits.age_s:g} s, or one on either side at most '
            f'{self.limits.gap_s:g} s apart; do image and pose use one clock?'
        )

    def _nearest(self, stamp_ns: int) -> int | None:
        place = bisect.bisect_left(self._stamps, stamp_ns)
        around = [i for i in (place - 1, place) if 0 <= i < len(self)]
        return min(around, key=lambda i: abs(self._stamps[i] - stamp_ns), default=None)

    def _apart(self, index: int, stamp_ns: int) -> float:
        return abs(self._stamps[index] - stamp_ns) / 1e9


class TransformTree:
    """Transforms between named frames, as tf2 has them, for where tf2 is not: bags, plain Python.

    A frame has one parent; each link is a PoseBuffer of its own, with the same limits. A static
    transform holds at all times.
    """

    def __init__(self, limits: PoseLimits | None = None) -> None:
        self.limits = limits or PoseLimits()
        self._parents: dict[str, str] = {}
        self._moving: dict[str, PoseBuffer] = {}
        self._static: dict[str, Tensor] = {}

    @property
    def refused(self) -> int:
        """How many transforms were not taken."""
        return sum(link.refused for link in self._moving.values())

    def add(self, pose: StampedPose, *, static: bool = False) -> None:
        """Take one transform.

        Raises:
            PoseError: as `PoseBuffer.add`.
        """
        child, parent = _name(pose.child), _name(pose.parent)
        if static:
            check_pose(pose.parent_from_child)
            self._static[child] = pose.parent_from_child
        else:
            link = self._moving.setdefault(child, PoseBuffer(self.limits))
            link.add(pose.stamp_ns, pose.parent_from_child)
        self._parents[child] = parent

    def at(self, parent: str, child: str, stamp_ns: int) -> Tensor | None:
        """(4, 4) float64 parent_from_child at a time; None where a link is not known then."""
        up = self._to_ancestor(_name(child), _name(parent), stamp_ns)
        if up is not None:
            return up
        down = self._to_ancestor(_name(parent), _name(child), stamp_ns)
        return None if down is None else rigid.inverse(down)

    def explain(self, parent: str, child: str, stamp_ns: int) -> str:
        """One line: why there is no transform at a time. Empty where there is one."""
        if self.at(parent, child, stamp_ns) is not None:
            return ''
        chain = list(self._chain(_name(child)))
        if _name(parent) not in [*chain, *(self._parents.get(link) for link in chain)]:
            known = ', '.join(sorted({*self._parents, *self._parents.values()})) or 'none at all'
            return f'no transforms lead from {child} to {parent}; frames known: {known}'
        return next(
            f'{self._parents[link]} from {link}: {self._moving[link].explain(stamp_ns)}'
            for link in chain
            if link in self._moving and self._moving[link].at(stamp_ns) is None
        )

    def _to_ancestor(self, child: str, ancestor: str, stamp_ns: int) -> Tensor | None:
        pose = torch.eye(4, dtype=torch.float64)
        if child == ancestor:
            return pose
        for link in self._chain(child):
            step = self._static.get(link)
            if step is None:
                step = self._moving[link].at(stamp_ns)
            if step is None:
                return None
            pose = step @ pose
            if self._parents[link] == ancestor:
                return pose
        return None

    def _chain(self, child: str) -> Iterator[str]:
        """`child` and its ancestors that have a parent; no loop is followed for ever."""
        for _ in range(_MAX_LINKS):
            if child not in self._parents:
                return
            yield child
            child = self._parents[child]


def _name(frame: str) -> str:
    return frame.lstrip('/')  # tf of ROS 1 began names with a slash


def _seconds(stamp_ns: int) -> str:
    return f'{stamp_ns / 1e9:.3f} s'
