"""UnrealStereo4K: rendered stereo pairs, 3840x2160, indoors and outdoors.

ROOT/SCENE/Image0/00000.png
ROOT/SCENE/Disp0/00000.npy              pixels
ROOT/SCENE/Extrinsics{0,1}/00000.txt    K (9 numbers), then camera_from_world (3x4), a line each

The baseline is how far apart the two cameras lie along x. Sky is a disparity of almost 0. The
handedness of the world is nowhere said, so no poses are given.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from ...types import Camera
from ..depth_files import depth_size
from .entry import BrokenFile, Entry, Importer, Problem, entry_or_problem
from .files import folder, numbers, present

_SKY = 10_000.0  # metres; nothing but sky is so far away


def frames(root: Path) -> Iterator[Entry | Problem]:
    """The left frames."""
    base = folder(root, '', 'UnrealStereo4K', holding='*/Disp0/*.npy')
    names = {
        path.relative_to(base).parts[0] + '/' + path.stem
        for pattern in ('*/Image0/*.png', '*/Disp0/*.npy')
        for path in base.glob(pattern)
    }
    for frame in sorted(names):
        scene, number = frame.split('/')
        disparity = base / scene / 'Disp0' / f'{number}.npy'
        yield entry_or_problem(disparity, partial(_entry, base / scene, number, disparity))


def _entry(scene: Path, number: str, disparity: Path) -> Entry:
    left, right = (numbers(scene / f'Extrinsics{i}' / f'{number}.txt', 21) for i in (0, 1))
    fx, _, cx, _, fy, cy, *_ = (float(value) for value in left)
    baseline = abs(left[9:].reshape(3, 4)[0, 3] - right[9:].reshape(3, 4)[0, 3])
    if not (np.isfinite(baseline) and baseline > 0):
        raise BrokenFile(
            scene / 'Extrinsics1' / f'{number}.txt', f'the baseline is {baseline}, expected > 0'
        )
    return Entry(
        name=f'{scene.name}/{number}',
        image=present(scene / 'Image0' / f'{number}.png'),
        depth=present(disparity),
        camera=Camera(fx, fy, cx, cy, *depth_size(disparity)),
        depth_scale=fx * float(baseline),
        depth_kind='disparity',
        depth_max=_SKY,
        sequence=scene.name,
    )


IMPORTER = Importer(
    name='unrealstereo4k',
    layout='SCENE/{Image0,Disp0,Extrinsics0,Extrinsics1}/NNNNN.{png,npy,txt}',
    source='Tosi et al., SMD-Nets: Stereo Mixture Density Networks, 2021',
    licence='not stated with the data',
    read=frames,
)
