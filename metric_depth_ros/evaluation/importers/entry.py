"""What an importer of a public dataset says of each frame, and of what it could not use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import MetricDepthError
from ...types import Camera


class ImporterError(MetricDepthError):
    """A dataset that cannot be read: names the file or folder, and what was expected there."""


@dataclass(frozen=True)
class Entry:
    """One frame of a dataset; a line of a manifest, once it is written.

    A file that `evaluation.datasets` reads is named by its path and stays where it is. What has to
    be made of the dataset's own files is an array; `write_manifest` keeps it beside the manifest.

    name: unique within the dataset, of the dataset's own parts ('scene/image'): names the files
        that are written, and the frame in messages.
    image: a file, or (H, W, 3) uint8 RGB.
    depth: a file, or (H, W) in units of `depth_scale` metres: uint16 with 0 for none, or floating
        with NaN for none and +inf for beyond range.
    camera: of the image; image, depth and mask have its size.
    depth_kind: 'z' along the optical axis, 'ray' from the camera's centre, or 'disparity': as the
        dataset has it. Of disparity, z = depth_scale / (value + disparity_offset), so depth_scale
        is focal length x baseline in pixel metres; a value of 0 or less is none.
    depth_max: metres beyond which the dataset means sky, +inf then; None for no such value.
    edges: a file or (H, W) bool, True on depth boundaries that people labelled; None without.
    mask: a file or (H, W) bool, True where depth may be trusted; None for everywhere.
    pose: (4, 4) world_from_camera, the camera's frame being optical (x right, y down, z forward).
    stamp: seconds. sequence: frames of one sequence follow each other in time.
    """

    name: str
    image: Path | np.ndarray
    depth: Path | np.ndarray
    camera: Camera
    depth_scale: float = 1.0
    depth_kind: str = 'z'
    disparity_offset: float = 0.0
    depth_max: float | None = None
    mask: Path | np.ndarray | None = None
    edges: Path | np.ndarray | None = None
    pose: np.ndarray | None = None
    stamp: float | None = None
    sequence: str = ''


@dataclass(frozen=True)
class Problem:
    """A file that is missing or broken: the frame it belongs to is not in the manifest."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f'{self.path}: {self.reason}'


@dataclass(frozen=True)
class Importer:
    """A public dataset: what it is, and how its folder is read.

    name: what the command line calls it. layout: one line, the folders that ROOT holds.
    source: who made it, author and year. licence: of the data. splits, variants, cameras: names
    that `read` takes as `split=`, `variant=` (one of several renderings of the same frames, the
    first by default) and `cameras=` (a tuple of names); empty where it takes no such option.
    read: (root, **options) -> the frames, and a Problem for each that cannot be used, in order;
        raises ImporterError where `root` is not this dataset at all.
    """

    name: str
    layout: str
    source: str
    licence: str
    read: Callable[..., Iterator[Entry | Problem]]
    splits: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    cameras: tuple[str, ...] = ()


class BrokenFile(ImporterError):
    """One file of a dataset is missing or broken; `problem` is what the importer yields of it."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f'{path}: {reason}')
        self.problem = Problem(path, reason)


def entry_or_problem(path: Path, build: Callable[..., Entry], *args: Any) -> Entry | Problem:
    """What `build(*args)` makes; else the problem, with `path` where no other file is named.

    So one broken file does not end the reading of a whole dataset.
    """
    try:
        return build(*args)
    except BrokenFile as error:
        return error.problem
    except (MetricDepthError, OSError) as error:
        return Problem(path, str(error))
