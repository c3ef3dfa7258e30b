"""TartanAir (the first edition): rendered flights through 18 environments, 640x480, in stereo.

ROOT/ENVIRONMENT/{Easy,Hard}/P000/image_left/000000_left.png
ROOT/ENVIRONMENT/{Easy,Hard}/P000/depth_left/000000_left_depth.npy    metres along z
ROOT/ENVIRONMENT/{Easy,Hard}/P000/pose_left.txt    tx ty tz qx qy qz qw, a line a frame

All cameras are fx = fy = 320, cx = 320, cy = 240. Poses are NED: x forward, y right, z down. Sky
is a sphere far away, with depth of some thousand metres.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from ...types import Camera
from .entry import BrokenFile, Entry, Importer, ImporterError, Problem, entry_or_problem
from .files import folder, present, text
from .lidar import rigid

_CAMERA = Camera(320.0, 320.0, 320.0, 240.0, 640, 480)
_SKY = 1000.0  # metres; the documentation's example of sky is 10000, nothing else is near that
# Columns: the optical frame's x, y and z (right, down, forward) in the body's axes.
_BODY_FROM_OPTICAL = np.array([[0.0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
_SPLITS = {'easy': ('Easy',), 'hard': ('Hard',)}


def frames(
    root: Path, *, split: str | None = None, cameras: tuple[str, ...] = ('left',)
) -> Iterator[Entry | Problem]:
    """split: 'easy' or 'hard' motion; None for both."""
    levels = ('Easy', 'Hard') if split is None else _SPLITS[split]
    # The archives unpack to ENVIRONMENT/ENVIRONMENT/.
    base = folder(root, '', 'tartanair', holding='**/P[0-9]*/depth_*')
    trajectories = [
        path
        for pattern in ('*/*/P[0-9]*', '*/*/*/P[0-9]*')
        for path in base.glob(pattern)
        if path.parent.name in levels and path.is_dir()
    ]
    if not trajectories:
        raise ImporterError(f'{base}: found no ENVIRONMENT/{{{",".join(levels)}}}/P000')
    for trajectory in sorted(trajectories):
        for camera in cameras:
            yield from _trajectory(trajectory, camera)


def _trajectory(trajectory: Path, camera: str) -> Iterator[Entry | Problem]:
    images, depths = trajectory / f'image_{camera}', trajectory / f'depth_{camera}'
    names = {path.name[:6] for path in images.glob(f'*_{camera}.png')}
    names |= {path.name[:6] for path in depths.glob(f'*_{camera}_depth.npy')}
    try:
        poses = _poses(trajectory / f'pose_{camera}.txt')
    except BrokenFile as error:
        yield error.problem
        return
    for frame in sorted(names):
        depth = depths / f'{frame}_{camera}_depth.npy'
        image = images / f'{frame}_{camera}.png'
        yield entry_or_problem(depth, partial(_entry, trajectory, camera, image, depth, poses))


def _entry(trajectory: Path, camera: str, image: Path, depth: Path, poses: np.ndarray) -> Entry:
    number = int(image.name[:6])
    if number >= len(poses):
        raise BrokenFile(
            trajectory / f'pose_{camera}.txt', f'has {len(poses)} lines, none for frame {number}'
        )
    sequence = '/'.join(trajectory.parts[-3:])
    return Entry(
        name=f'{sequence}/{image.stem}',
        image=present(image),
        depth=present(depth),
        camera=_CAMERA,
        depth_max=_SKY,
        pose=poses[number],
        sequence=f'{sequence}/{camera}',
    )


def _poses(path: Path) -> np.ndarray:
    """(N, 4, 4) world_from_camera of the optical frame; the world stays NED."""
    words = text(path).split()
    try:
        rows = np.array(words, dtype=np.float64).reshape(-1, 7)
    except ValueError:
        raise BrokenFile(path, 'is not seven numbers a line') from None
    poses = [
        rigid(np.array(t), np.array([w, x, y, z])) @ _BODY_FROM_OPTICAL
        for *t, x, y, z, w in rows.tolist()
    ]
    return np.array(poses).reshape(-1, 4, 4)


IMPORTER = Importer(
    name='tartanair',
    layout='ENVIRONMENT/{Easy,Hard}/P000/{image_left, depth_left, pose_left.txt}',
    source='Wang et al., TartanAir: A Dataset to Push the Limits of Visual SLAM, 2020',
    licence='CC BY 4.0',
    read=frames,
    splits=tuple(_SPLITS),
    cameras=('left', 'right'),
)
