"""NYU Depth v2: the labeled .mat, or a folder of images made of it.

Silberman et al., ECCV 2012. In the .mat (HDF5, MATLAB 7.3; its axes come reversed) `images` are
(N, 3, W, H) uint8 and `rawDepths` (N, W, H) metres along z with 0 for none, both in the
undistorted view of the colour camera; `depths`, which are filled in, are not taken for truth.
splits.mat has the official `trainNdxs` and `testNdxs`, counted from 1. The folder is that of the
common evaluation scripts: SCENE/rgb_00045.jpg beside SCENE/sync_depth_00045.png, millimetres.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...types import Camera
from .entry import BrokenFile, Entry, Importer, ImporterError, Problem, entry_or_problem
from .files import folder, present

if TYPE_CHECKING:
    import h5py

SPLITS = ('test', 'train', 'all')

# The colour camera of the toolbox's camera_params.m.
CAMERA = Camera(518.85790117450188, 519.46961112127485, 325.58244941119034, 253.73616633400465,
                640, 480)  # fmt: skip


def frames(root: Path, *, split: str = 'test') -> Iterator[Entry | Problem]:
    """Frames of NYU Depth v2: 654 to test on, 795 to train on.

    root: the .mat, or a folder that holds nyu_depth_v2_labeled.mat (and splits.mat), or one with
        test/ and train/ or scenes of images.

    Raises:
        ImporterError: nothing of this dataset is there; the .mat cannot be read, or needs h5py.
    """
    labeled = root / 'nyu_depth_v2_labeled.mat' if root.is_dir() else root
    if labeled.is_file():
        yield from _labeled(labeled, split)
    else:
        yield from _images(root, split)


def _labeled(path: Path, split: str) -> Iterator[Entry | Problem]:
    try:
        import h5py
    except ImportError:
        raise ImporterError(
            f"{path} needs h5py to be read: pip install 'metric_depth_ros[datasets]'"
        ) from None
    try:
        archive = h5py.File(path, 'r')
    except OSError as error:
        raise ImporterError(f'{path} is not HDF5 (MATLAB 7.3): {error}') from None
    with archive:
        for name in ('images', 'rawDepths'):
            if name not in archive:
                raise ImporterError(f'{path} has no {name}, expected nyu_depth_v2_labeled.mat')
        for number in _numbers(path, split, len(archive['images'])):
            yield entry_or_problem(path, _labeled_entry, archive, path, number)


def _numbers(path: Path, split: str, count: int) -> list[int]:
    """Which frames of the .mat make up the split, counted from 1."""
    if split == 'all':
        return list(range(1, count + 1))
    from scipy.io import loadmat

    splits = path.with_name('splits.mat')
    if not splits.is_file():
        raise ImporterError(f'{splits} is not there: it says which frames are the {split} split')
    try:
        chosen = loadmat(splits)[f'{split}Ndxs']
    except (KeyError, ValueError, OSError) as error:
        raise ImporterError(f'{splits} has no {split}Ndxs: {error}') from None
    return sorted(int(number) for number in chosen.flatten())


def _labeled_entry(archive: h5py.File, path: Path, number: int) -> Entry:
    try:
        image = archive['images'][number - 1].transpose(2, 1, 0)
        depth = archive['rawDepths'][number - 1].T
        scene = _scene(archive, number)
    except (OSError, IndexError, ValueError) as error:
        raise BrokenFile(path, f'frame {number} cannot be read: {error}') from None
    return Entry(
        name=f'{number:04d}',
        image=image,
        depth=np.where(depth > 0, depth, np.nan),
        camera=CAMERA,
        sequence=scene,
    )


def _scene(archive: h5py.File, number: int) -> str:
    """Name of the room, which MATLAB keeps as a cell of characters; '' where there is none."""
    if 'scenes' not in archive:
        return ''
    characters = archive[archive['scenes'][0, number - 1]]
    return ''.join(chr(character) for character in np.asarray(characters).flatten())


def _images(root: Path, split: str) -> Iterator[Entry | Problem]:
    tops = ('', 'nyu_depth_v2/', 'official_splits/', 'nyu_depth_v2/official_splits/')
    places = [f'{top}{split}' for top in tops] if split != 'all' else []
    if split != 'test':  # the scenes of training are often kept alone
        places += ['', 'sync', 'nyu_depth_v2/sync']
    base = folder(root, *places, holding='*/rgb_*.jpg')
    for image in sorted(base.glob('*/rgb_*.jpg')):
        yield entry_or_problem(image, _image_entry, image)


def _image_entry(image: Path) -> Entry:
    scene = image.parent.name
    depth = image.with_name(image.name.replace('rgb_', 'sync_depth_')).with_suffix('.png')
    return Entry(
        name=f'{scene}/{image.stem}',
        image=image,
        depth=present(depth),
        depth_scale=0.001,
        camera=CAMERA,
        sequence=scene,
    )


IMPORTER = Importer(
    name='nyu',
    layout='nyu_depth_v2_labeled.mat and splits.mat, or {test,train}/SCENE/'
    '{rgb_00001.jpg,sync_depth_00001.png}',
    source='Silberman et al., ECCV 2012',
    licence='for research, as its page asks to be cited',
    read=frames,
    splits=SPLITS,
)
