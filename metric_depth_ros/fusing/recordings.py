"""Frames of a moving camera from a bag or a manifest, with the depth and poses known of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from ..bags.reader import Bag, BagFrame
from ..errors import MetricDepthError
from ..evaluation.datasets import Manifest
from ..mapping.poses import PoseBuffer, PoseError
from ..types import Frame
from .bag_poses import LIMITS, BagPoses

_BAG_SUFFIXES = ('.bag', '.mcap', '.db3')
_MANIFEST = 'manifest.jsonl'
_STEP_NS = 100_000_000  # between frames of a manifest without stamps


class RecordingError(MetricDepthError):
    """Something that is no recording of one moving camera: says what was expected."""


@dataclass(frozen=True)
class Recorded:
    """One frame and what was recorded beside it.

    name: of the frame, for people. depth: (H, W) true metres along z, NaN where there is none;
    None without any. world_from_camera: (4, 4) float64; None where it is not known, which
    `why_no_pose` explains in one line.
    """

    name: str
    frame: Frame
    depth: Tensor | None
    world_from_camera: Tensor | None
    why_no_pose: str = ''


@dataclass(frozen=True)
class Unusable:
    """A frame that the map has nothing of, and why, in one line."""

    name: str
    reason: str


class Recording(Protocol):
    """Frames in order of time. len() may count some that turn out to be unusable.

    has_depth, has_poses: whether true depth, and poses, were recorded at all.
    """

    name: str
    has_depth: bool
    has_poses: bool

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Recorded | Unusable]: ...


def open_recording(
    path: Path,
    *,
    image: str | None = None,
    camera_info: str | None = None,
    depth: str | None = None,
    sequence: str | None = None,
) -> Recording:
    """The frames of a bag, a manifest, or a folder with a manifest.jsonl.

    Args:
        image, camera_info, depth: topics of a bag; None to find them by type and name.
        sequence: of a manifest that has several.

    Raises:
        RecordingError: it is neither, or holds several sequences and none was named.
        DatasetError, BagError, TopicError: it cannot be read.
    """
    if path.is_dir() and (path / _MANIFEST).is_file():
        path = path / _MANIFEST
    if path.suffix in _BAG_SUFFIXES or (path / 'metadata.yaml').is_file():
        if sequence is not None:
            raise RecordingError(f'{path} is a bag, which has no sequence {sequence!r}')
        return BagRecording(path, image, camera_info, depth)
    if path.is_dir():
        raise RecordingError(f'{path}: expected a {_MANIFEST} in it, or a bag')
    if (image, camera_info, depth) != (None, None, None):
        raise RecordingError(f'{path} is a manifest, which has no topics to choose from')
    return ManifestRecording(path, sequence)


class ManifestRecording:
    """The frames of one sequence of a manifest by their stamps; see evaluation.datasets."""

    has_depth = True

    def __init__(self, path: Path, sequence: str | None = None) -> None:
        self.name = str(path)
        self._manifest = Manifest(path)
        lines = [line for line in path.read_text().splitlines() if line.strip()]
        entries = list(enumerate(map(_entry, lines)))
        names = sorted({str(entry.get('sequence') or '') for _, entry in entries})
        if sequence is None and len(names) > 1:
            raise RecordingError(
                f'{path} has {len(names)} sequences, which are no map together: name one with '
                f'--sequence, such as {next(filter(None, names))!r}'
            )
        if sequence is not None and sequence not in names:
            raise RecordingError(f'{path} has no sequence {sequence!r}, expected {_either(names)}')
        chosen = sequence or names[0]
        entries = [(i, e) for i, e in entries if str(e.get('sequence') or '') == chosen]
        self.has_poses = any(entry.get('pose') is not None for _, entry in entries)
        self._stamped = any(entry.get('stamp') for _, entry in entries)
        if self._stamped:
            entries.sort(key=lambda each: _stamp(each[1]))
        self._entries = entries

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Recorded | Unusable]:
        known = PoseBuffer(LIMITS)
        for place, (index, entry) in enumerate(self._entries):
            name = str(entry.get('image') or f'line {index + 1}')
            try:
                sample = self._manifest[index]
            except MetricDepthError as error:
                yield Unusable(name, str(error))
                continue
            frame, pose, why = sample.frame, sample.pose, 'the manifest has none'
            if not self._stamped:
                frame = replace(frame, stamp_ns=place * _STEP_NS)
            if pose is not None:
                try:
                    known.add(frame.stamp_ns, pose)
                    why = ''
                except PoseError as error:
                    pose, why = None, str(error)
            yield Recorded(name, frame, sample.depth, pose, why)


class BagRecording:
    """The frames of a bag; poses come from its transforms, odometry or poses, see BagPoses."""

    def __init__(
        self, path: Path, image: str | None, camera_info: str | None, depth: str | None
    ) -> None:
        self.name = str(path)
        self._path = path
        with Bag(path) as bag:
            self._topics = bag.find_topics(image, camera_info, depth)
            self._count = bag.count(self._topics.image)
            first = next(bag.frames(self._topics), None)
            self._poses = BagPoses(bag, '' if first is None else first.frame.frame_id)
        self.has_depth = self._topics.depth is not None
        self.has_poses = self._poses.known

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Recorded | Unusable]:
        with Bag(self._path) as bag:
            for frame in bag.frames(self._topics):
                yield self._recorded(frame)
            for problem in bag.problems:
                yield Unusable(problem.topic or 'the bag', problem.reason)

    def _recorded(self, found: BagFrame) -> Recorded:
        frame = found.frame
        pose = self._poses.at(frame.stamp_ns)
        why = '' if pose is not None else self._poses.explain(frame.stamp_ns)
        return Recorded(f'{frame.stamp_ns / 1e9:.6f}', frame, found.depth, pose, why)


def _entry(line: str) -> dict[str, Any]:
    """What a line of a manifest says; {} of one that `Manifest` will complain about."""
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def _stamp(entry: dict[str, Any]) -> float:
    try:
        return float(entry.get('stamp') or 0.0)
    except (TypeError, ValueError):
        return 0.0


def _either(names: list[str]) -> str:
    shown = [repr(name) for name in names[:5]]
    return ' or '.join(shown) + (' ...' if len(names) > 5 else '')
