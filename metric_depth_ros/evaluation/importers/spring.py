"""Spring: an animated film in stereo, 1920x1080, with disparity at twice that a side.

ROOT/train/SCENE/frame_left/frame_left_0001.png
ROOT/train/SCENE/disp1_left/disp1_left_0001.dsp5     HDF5 `disparity`, pixels of the image; sky 0
ROOT/train/SCENE/cam_data/intrinsics.txt             fx fy cx cy, a line a frame
ROOT/train/SCENE/cam_data/extrinsics.txt             16 numbers, camera_from_world, a line a frame

Depth is focal length x 0.065 m / disparity: the cameras are parallel.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from ...types import Camera
from ..depth_files import depth_size
from .entry import BrokenFile, Entry, Importer, Problem, entry_or_problem
from .files import folder, present, text

_BASELINE = 0.065  # metres
_KINDS = ('frame_left', 'disp1_left')


def frames(root: Path) -> Iterator[Entry | Problem]:
    """The left frames; a scene whose camera files are of no use is one problem."""
    base = folder(root, '', 'train', 'spring/train', holding='*/disp1_left/*.dsp5')
    for scene in sorted({path.parent for kind in _KINDS for path in base.glob(f'*/{kind}')}):
        names = {path.stem[-4:] for path in (scene / 'frame_left').glob('frame_left_*.png')}
        names |= {path.stem[-4:] for path in (scene / 'disp1_left').glob('disp1_left_*.dsp5')}
        try:
            intrinsics = _rows(scene / 'cam_data' / 'intrinsics.txt', 4)
            extrinsics = _rows(scene / 'cam_data' / 'extrinsics.txt', 16)
        except BrokenFile as error:
            yield error.problem
            continue
        for frame in sorted(names):
            disparity = scene / 'disp1_left' / f'disp1_left_{frame}.dsp5'
            build = partial(_entry, scene, frame, disparity, intrinsics, extrinsics)
            yield entry_or_problem(disparity, build)


def _entry(
    scene: Path, frame: str, disparity: Path, intrinsics: np.ndarray, extrinsics: np.ndarray
) -> Entry:
    row = int(frame) - 1
    for rows, name in ((intrinsics, 'intrinsics.txt'), (extrinsics, 'extrinsics.txt')):
        if not 0 <= row < len(rows):
            raise BrokenFile(
                scene / 'cam_data' / name, f'has {len(rows)} lines, none for frame {frame}'
            )
    fx, fy, cx, cy = (float(value) for value in intrinsics[row])
    return Entry(
        name=f'{scene.name}/{frame}',
        image=present(scene / 'frame_left' / f'frame_left_{frame}.png'),
        depth=present(disparity),
        camera=Camera(fx, fy, cx, cy, *depth_size(disparity)),
        depth_scale=fx * _BASELINE,
        depth_kind='disparity',
        pose=np.linalg.inv(extrinsics[row].reshape(4, 4)),
        sequence=scene.name,
    )


def _rows(path: Path, columns: int) -> np.ndarray:
    words = text(path).split()
    try:
        values = np.array(words, dtype=np.float64)
    except ValueError:
        raise BrokenFile(path, 'holds other than numbers') from None
    if values.size == 0 or values.size % columns:
        raise BrokenFile(path, f'holds {values.size} numbers, expected {columns} a frame')
    return values.reshape(-1, columns)


IMPORTER = Importer(
    name='spring',
    layout='train/SCENE/{frame_left,disp1_left,cam_data}/',
    source='Mehl et al., Spring: A High-Resolution High-Detail Dataset and Benchmark, 2023',
    licence='CC BY 4.0',
    read=frames,
)
