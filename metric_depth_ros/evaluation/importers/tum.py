"""TUM RGB-D: sequences of a structured-light camera, 640x480, with motion-captured poses.

ROOT/rgbd_dataset_freiburgN_NAME/ (or ROOT itself is one)
    rgb.txt, depth.txt             timestamp, path; lines that begin with # are remarks
    groundtruth.txt                timestamp tx ty tz qx qy qz qw of world_from_camera
    rgb/*.png, depth/*.png         depth: 16 bits, 5000 a metre along z, 0 for none

Depth is registered to the colour image, the lens of which is calibrated for each of the three
cameras. An associations.txt (timestamp and path of colour, [timestamp and] path of depth) replaces
rgb.txt and depth.txt where only that is there. A camera.json (fx, fy, cx, cy, width, height)
replaces what the benchmark says of its own three cameras: sequences of others have it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from ...types import Camera
from .entry import BrokenFile, Entry, Importer, ImporterError, Problem, entry_or_problem
from .files import parsed_json, present, text
from .lidar import rigid

_APART = 0.02  # seconds between what belongs together, as the benchmark's own associate.py

# "Intrinsic Camera Calibration of the Kinect" of the benchmark; freiburg3 is rectified already.
_CAMERAS = {
    '1': Camera(
        517.306408, 516.469215, 318.643040, 255.313989, 640, 480, 'plumb_bob',
        (0.262383, -0.953104, -0.005358, 0.002628, 1.163314),
    ),
    '2': Camera(
        520.908620, 521.007327, 325.141442, 249.701764, 640, 480, 'plumb_bob',
        (0.231222, -0.784899, -0.003257, -0.000105, 0.917205),
    ),
    '3': Camera(535.4, 539.2, 320.1, 247.6, 640, 480),
}  # fmt: skip


def frames(root: Path) -> Iterator[Entry | Problem]:
    """Colour images with the depth within 20 ms of them; those without are problems, too."""
    if (root / 'depth').is_dir():
        sequences = [root]
    else:
        sequences = sorted(path.parent for path in root.glob('*/depth'))
    if not sequences:
        raise ImporterError(f'{root}: found no folder depth here or one level below')
    for sequence in sequences:
        try:
            yield from _sequence(sequence.resolve())
        except BrokenFile as error:
            yield error.problem


def _sequence(folder: Path) -> Iterator[Entry | Problem]:
    camera = _camera(folder)
    pairs = _pairs(folder)
    stamps, poses = _trajectory(folder / 'groundtruth.txt')
    for stamp, image, depth in pairs:
        if depth is None:
            yield Problem(folder / image, f'no depth was taken within {_APART} s of it')
            continue
        near = int(np.abs(stamps - stamp).argmin()) if len(stamps) else 0
        known = len(stamps) > 0 and abs(stamps[near] - stamp) <= _APART
        build = partial(
            _entry, folder, image, depth, stamp, camera, poses[near] if known else None
        )
        yield entry_or_problem(folder / image, build)


def _camera(folder: Path) -> Camera:
    path = folder / 'camera.json'
    if path.is_file():
        values = parsed_json(path)
        try:
            fx, fy, cx, cy = (float(values[name]) for name in ('fx', 'fy', 'cx', 'cy'))
            distortion = tuple(float(k) for k in values.get('distortion', ()))
            lens = ('plumb_bob', distortion) if any(distortion) else ('none', ())
            return Camera(fx, fy, cx, cy, int(values['width']), int(values['height']), *lens)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BrokenFile(path, f'is not a camera: {error}') from None
    named = re.search(r'(?:freiburg|fr)([123])', folder.name)
    if named is None:
        raise BrokenFile(folder, 'is not named after freiburg1, 2 or 3: its camera is unknown')
    return _CAMERAS[named[1]]


def _entry(
    folder: Path, image: str, depth: str, stamp: float, camera: Camera, pose: np.ndarray | None
) -> Entry:
    return Entry(
        name=f'{folder.name}/{Path(image).stem}',
        image=present(folder / image),
        depth=present(folder / depth),
        camera=camera,
        depth_scale=1 / 5000,
        pose=pose,
        stamp=stamp,
        sequence=folder.name,
    )


def _pairs(folder: Path) -> list[tuple[float, str, str | None]]:
    """Stamp and path of every colour image, and path of the depth that belongs to it."""
    if (folder / 'rgb.txt').is_file() or not (folder / 'associations.txt').is_file():
        colour, depth = (_listing(folder / name, 2) for name in ('rgb.txt', 'depth.txt'))
        partner = associate(
            np.array([float(words[0]) for words in colour]),
            np.array([float(words[0]) for words in depth]),
        )
        return [
            (float(stamp), image, None if i not in partner else depth[partner[i]][1])
            for i, (stamp, image, *_) in enumerate(colour)
        ]
    lines = _listing(folder / 'associations.txt', 3)
    return [(float(words[0]), words[1], words[-1]) for words in lines]


def associate(first: np.ndarray, second: np.ndarray) -> dict[int, int]:
    """Index into `second` for those of `first` that have a partner; the closest pairs go first.

    first, second: (N,) and (M,) stamps in seconds, in any order.
    """
    order = np.argsort(second)
    begin = np.searchsorted(second[order], first - _APART)
    end = np.searchsorted(second[order], first + _APART)
    near = sorted(
        (abs(first[i] - second[j]), i, int(j))
        for i in range(len(first))
        for j in order[begin[i] : end[i]]
    )
    partner: dict[int, int] = {}
    taken: set[int] = set()
    for _, i, j in near:
        if i not in partner and j not in taken:
            partner[i] = j
            taken.add(j)
    return partner


def _trajectory(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(N,) stamps and (N, 4, 4) world_from_camera; none where there is no such file."""
    if not path.is_file():  # the benchmark keeps those of its validation sequences to itself
        return np.empty(0), np.empty((0, 4, 4))
    rows = [[float(word) for word in words] for words in _listing(path, 8)]
    poses = [rigid(np.array(t), np.array([w, x, y, z])) for _, *t, x, y, z, w in rows]
    return np.array([row[0] for row in rows]), np.array(poses).reshape(-1, 4, 4)


def _listing(path: Path, columns: int) -> list[list[str]]:
    """The words of each line but remarks; the first is a number, and there are enough of them."""
    lines = [line.split() for line in text(path).splitlines() if line.strip()]
    rows = [words for words in lines if not words[0].startswith('#')]
    for words in rows:
        try:
            float(words[0])
        except ValueError:
            raise BrokenFile(path, f'begins a line with {words[0]!r}, not a timestamp') from None
        if len(words) < columns:
            raise BrokenFile(path, f'{" ".join(words)!r} has not {columns} columns')
    return rows


IMPORTER = Importer(
    name='tum',
    layout='rgbd_dataset_freiburgN_NAME/{rgb.txt, depth.txt, groundtruth.txt, rgb/, depth/}',
    source='Sturm et al., A Benchmark for the Evaluation of RGB-D SLAM Systems, 2012',
    licence='CC BY 4.0',
    read=frames,
)
