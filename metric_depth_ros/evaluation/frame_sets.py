"""Frames with true depth by name: of a manifest, a folder that has one, or a bag."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from ..bags.reader import Bag, BagFrame
from ..errors import MetricDepthError
from .datasets import Manifest, Sample

_BAG_SUFFIXES = ('.bag', '.mcap', '.db3')
_MANIFEST = 'manifest.jsonl'


class FrameSetError(MetricDepthError):
    """Something that holds no frames with true depth."""


@dataclass(frozen=True)
class FrameFile:
    """A frame that has yet to be read.

    name: unlike that of any other frame of the set; of a manifest the path of the image.
    mark: changes when the frame does, as far as can be told without reading it.
    read: raises MetricDepthError where a file is missing or broken.
    """

    name: str
    mark: str
    read: Callable[[], Sample]


class FrameSet(Protocol):
    """A set of frames in order. len() may count some that turn out to be unusable."""

    name: str

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[FrameFile]: ...


def open_frames(path: Path) -> FrameSet:
    """The frames of a manifest, of a folder with a manifest.jsonl, or of a bag.

    Raises:
        FrameSetError: a folder that is neither.
        DatasetError: there is no such manifest, or it is empty.
        BagError, TopicError: a bag that cannot be read, or without a camera and true depth.
    """
    if path.is_dir() and (path / _MANIFEST).is_file():
        return ManifestFrames(path / _MANIFEST)
    if path.suffix in _BAG_SUFFIXES or (path / 'metadata.yaml').is_file():
        return BagFrames(path)
    if path.is_dir():
        raise FrameSetError(f'{path}: expected a {_MANIFEST} in it, or a bag')
    return ManifestFrames(path)


class ManifestFrames:
    """The frames of a manifest; see datasets.Manifest."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._manifest = Manifest(path)
        self._lines = [line for line in path.read_text().splitlines() if line.strip()]

    def __len__(self) -> int:
        return len(self._manifest)

    def __iter__(self) -> Iterator[FrameFile]:
        seen: dict[str, int] = {}
        for index, line in enumerate(self._lines):
            entry = _entry(line)
            image = entry.get('image')
            name = f'line {index + 1}'
            if isinstance(image, str) and image:
                name = str(PurePosixPath(image))
            seen[name] = seen.get(name, 0) + 1
            if seen[name] > 1:  # one image may have several depths
                name = f'{name} ({seen[name]})'
            yield FrameFile(
                name, line + self._times(entry), partial(self._manifest.__getitem__, index)
            )

    def _times(self, entry: dict[str, Any]) -> str:
        """When the files of a frame were last written."""
        named = [entry.get(key) for key in ('image', 'depth', 'mask')]
        files = [self._manifest.path.parent / file for file in named if isinstance(file, str)]
        return str([file.stat().st_mtime_ns for file in files if file.is_file()])


class BagFrames:
    """The frames of a bag by their stamps, seconds.

    Args:
        path: the bag; its camera and its true depth are found by type and name.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        with Bag(path) as bag:
            self._topics = bag.find_topics()
            self._count = bag.count(self._topics.image)
        if self._topics.depth is None:
            raise FrameSetError(f'{path}: expected a topic of true depth; it has none')

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[FrameFile]:
        with Bag(self._path) as bag:
            for frame in bag.frames(self._topics):
                name = f'{frame.frame.stamp_ns / 1e9:.6f}'
                yield FrameFile(name, str(self._path), partial(_sample, frame, self._path.stem))
            problems = list(bag.problems)
        for number, problem in enumerate(problems, 1):
            reason = f'{problem.topic or "bag"}: {problem.reason}'
            name = f'message {number} that cannot be used'
            yield FrameFile(name, reason, partial(_refuse, reason))


def _sample(frame: BagFrame, sequence: str) -> Sample:
    if frame.depth is None:
        raise FrameSetError('no true depth was recorded at its time')
    return Sample(frame.frame, frame.depth, sequence=sequence)


def _refuse(reason: str) -> Sample:
    raise FrameSetError(reason)


def _entry(line: str) -> dict[str, Any]:
    """What a line of a manifest says; {} of a line that says nothing."""
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}
