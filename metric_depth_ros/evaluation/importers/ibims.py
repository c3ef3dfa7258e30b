"""iBims-1: 100 indoor images with laser-scanned depth, masks and labelled depth boundaries.

ROOT/ibims1_core_mat/*.mat     one struct `data` an image (MATLAB 5): rgb, depth (metres along z),
                               edges, calib, mask_invalid, mask_transp
ROOT/ibims1_core_mat/imagelist.txt

Where both masks are 1 depth may be trusted, as the authors' evaluate_ibims.py takes it. calib is
the transpose of K, and its pixels count from 1, as MATLAB has them (their planarity error).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from ...types import Camera
from .entry import BrokenFile, Entry, Importer, ImporterError, Problem, entry_or_problem
from .files import folder, present, text


def frames(root: Path) -> Iterator[Entry | Problem]:
    """The images of imagelist.txt in its order; without it, those there are."""
    scenes = folder(root, '', 'ibims1_core_mat', holding='*.mat')
    lists = [path / 'imagelist.txt' for path in (scenes, scenes.parent)]
    listed = next((path for path in lists if path.is_file()), None)
    if listed is None:
        names = sorted(path.stem for path in scenes.glob('*.mat'))
    else:
        names = text(listed).split()
    for name in names:
        path = scenes / f'{name}.mat'
        yield entry_or_problem(path, partial(_entry, path))


def _entry(path: Path) -> Entry:
    data = _load(path)
    try:
        rgb, depth, edges, calib, invalid, transparent = (
            np.asarray(data[key][0, 0])
            for key in ('rgb', 'depth', 'edges', 'calib', 'mask_invalid', 'mask_transp')
        )
    except (KeyError, ValueError, IndexError) as error:
        raise BrokenFile(path, f'its struct lacks a field: {error}') from None
    if calib.shape != (3, 3) or rgb.shape != (*depth.shape, 3):
        raise BrokenFile(path, f'calib is {calib.shape}, rgb {rgb.shape}, depth {depth.shape}')
    height, width = depth.shape
    fx, fy, cx, cy = (float(calib[i]) for i in ((0, 0), (1, 1), (2, 0), (2, 1)))
    return Entry(
        name=path.stem,
        image=rgb.astype(np.uint8),
        depth=np.where(depth > 0, depth, np.nan).astype(np.float32),
        camera=Camera(fx, fy, cx - 1, cy - 1, width, height),
        mask=(invalid != 0) & (transparent != 0),
        edges=edges != 0,
    )


def _load(path: Path) -> np.ndarray:
    try:
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError
    except ImportError:
        raise ImporterError(
            "iBims-1 needs scipy: pip install 'metric_depth_ros[datasets]'"
        ) from None
    try:
        return loadmat(present(path))['data']
    except (MatReadError, OSError, ValueError, TypeError, NotImplementedError) as error:
        raise BrokenFile(path, f'is not a MATLAB 5 file: {error}') from None
    except KeyError:
        raise BrokenFile(path, 'holds no struct called data') from None


IMPORTER = Importer(
    name='ibims',
    layout='ibims1_core_mat/{imagelist.txt, *.mat}',
    source='Koch et al., Evaluation of CNN-based Single-Image Depth Estimation Methods, 2018',
    licence='research only (see the data set)',
    read=frames,
)
