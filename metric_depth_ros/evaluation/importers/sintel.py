"""MPI Sintel, depth and camera data of its training part: an animated film, 1024x436.

ROOT/training/{final,clean}/SCENE/frame_0001.png
ROOT/training/depth/SCENE/frame_0001.dpt             metres along z
ROOT/training/camdata_left/SCENE/frame_0001.cam      tag, then float64 M (3x3) and N (3x4)

x = M N X for a point X of the world, as the authors' sintel_io.py says: M is K, and N is
camera_from_world in the optical frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from ...types import Camera
from ..depth_files import DPT_TAG, depth_size
from .entry import BrokenFile, Entry, Importer, Problem, entry_or_problem
from .files import folder, present

_FPS = 24


def frames(root: Path, *, variant: str = 'final') -> Iterator[Entry | Problem]:
    """variant: 'final' with blur, fog and depth of field, or 'clean' without."""
    base = folder(
        root, '', 'training', 'MPI-Sintel-complete/training', holding='depth/*/frame_*.dpt'
    )
    kinds = ((variant, '.png'), ('depth', '.dpt'), ('camdata_left', '.cam'))
    names = {
        path.relative_to(base / kind).with_suffix('')
        for kind, suffix in kinds
        for path in (base / kind).glob(f'*/frame_*{suffix}')
    }
    for frame in sorted(names):
        image, depth, camera = (base / kind / f'{frame}{suffix}' for kind, suffix in kinds)
        yield entry_or_problem(depth, partial(_entry, str(frame), image, depth, camera))


def _entry(name: str, image: Path, depth: Path, camera: Path) -> Entry:
    matrix, camera_from_world = _read_cam(camera)
    fx, fy, cx, cy = (float(matrix[i]) for i in ((0, 0), (1, 1), (0, 2), (1, 2)))
    scene, frame = name.split('/')
    return Entry(
        name=name,
        image=present(image),
        depth=depth,
        camera=Camera(fx, fy, cx, cy, *depth_size(present(depth))),
        pose=np.linalg.inv(camera_from_world),
        stamp=(int(frame.removeprefix('frame_')) - 1) / _FPS,
        sequence=scene,
    )


def _read_cam(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(3, 3) intrinsics and (4, 4) camera_from_world of a .cam file."""
    data = present(path).read_bytes()
    if len(data) != 4 + 8 * 21 or np.frombuffer(data[:4], '<f4')[0] != DPT_TAG:
        raise BrokenFile(path, f'is no .cam file: expected the tag {DPT_TAG} and 21 numbers')
    numbers = np.frombuffer(data[4:], '<f8')
    return numbers[:9].reshape(3, 3), np.vstack((numbers[9:].reshape(3, 4), [0, 0, 0, 1]))


IMPORTER = Importer(
    name='sintel',
    layout='training/{final,clean,depth,camdata_left}/SCENE/frame_NNNN.{png,dpt,cam}',
    source='Butler et al., A Naturalistic Open Source Movie for Optical Flow Evaluation, 2012',
    licence='CC BY 3.0 (Blender Foundation); data for research',
    read=frames,
    variants=('final', 'clean'),
)
