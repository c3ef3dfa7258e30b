"""SUN RGB-D: four depth sensors, one layout.

Song, Lichtenberg and Xiao, CVPR 2015. Each frame is a folder with one picture in image/, one
16-bit png in depth/ and the nine numbers of K in intrinsics.txt. Depth is along z in millimetres,
its bits rotated left by three. The toolbox clips depth at 8 m: what is beyond is no measurement.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...types import Camera
from .entry import BrokenFile, Entry, Importer, ImporterError, Problem, entry_or_problem
from .files import folder, numbers, uint16_image

SPLITS = ('all', 'test', 'train')
_FARTHEST = 8000  # millimetres


def frames(root: Path, *, split: str = 'all') -> Iterator[Entry | Problem]:
    """Frames of SUN RGB-D: 10 335, of which 5 050 to test on.

    Raises:
        ImporterError: there are no frames below `root`, or a split is asked for and
            SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat is not there or broken.
    """
    base = folder(root, 'SUNRGBD', '', holding='*/**/intrinsics.txt')
    places = sorted(path.parent for path in base.glob('*/**/intrinsics.txt'))
    if split != 'all':
        wanted = _split(root, split)
        by_name = {place.relative_to(base).as_posix(): place for place in places}
        for name in wanted:
            if name not in by_name:
                yield Problem(base / name, f'is not there, a frame of the {split} split')
        places = [by_name[name] for name in wanted if name in by_name]
    for place in places:
        yield entry_or_problem(place, _entry, place, place.relative_to(base).as_posix())


def _entry(place: Path, name: str) -> Entry:
    stored = uint16_image(_only(place / 'depth', '*.png'))
    depth = (stored >> 3) | (stored << 13)
    depth[depth > _FARTHEST] = 0
    matrix = numbers(place / 'intrinsics.txt', 3, 3)
    height, width = depth.shape
    return Entry(
        name=name,
        image=_only(place / 'image', '*.jpg'),
        depth=depth,
        depth_scale=0.001,
        camera=Camera(matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2], width, height),
        sequence=name,
    )


def _only(place: Path, pattern: str) -> Path:
    found = sorted(place.glob(pattern))
    if len(found) != 1:
        raise BrokenFile(place, f'holds {len(found)} files {pattern}, expected one')
    return found[0]


def _split(root: Path, split: str) -> list[str]:
    """Folders of the official split, relative to SUNRGBD/."""
    from scipy.io import loadmat

    places = ('SUNRGBDtoolbox/traintestSUNRGBD/', 'traintestSUNRGBD/', '')
    files = [top / place / 'allsplit.mat' for place in places for top in (root, root.parent)]
    there = [path for path in files if path.is_file()]
    if not there:
        raise ImporterError(f'{files[0]} is not there: it says which frames are the {split} split')
    try:
        cells = loadmat(there[0])[f'all{split}'].flatten()
        paths = [str(np.asarray(cell).flatten()[0]) for cell in cells]
    except (KeyError, ValueError, OSError, IndexError) as error:
        raise ImporterError(f'{there[0]} has no cells all{split}: {error}') from None
    return [path.rpartition('SUNRGBD/')[2].strip('/') for path in paths]


IMPORTER = Importer(
    name='sunrgbd',
    layout='SUNRGBD/{kv1,kv2,realsense,xtion}/.../FRAME/{image/*.jpg,depth/*.png,intrinsics.txt}',
    source='Song, Lichtenberg and Xiao, CVPR 2015',
    licence='for research, as its page asks to be cited',
    read=frames,
    splits=SPLITS,
)
