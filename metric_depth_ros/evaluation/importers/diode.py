"""DIODE: laser scans indoors and outdoors, rendered to images.

Vasiljevic et al., 2019. NAME.png is 1024x768; NAME_depth.npy is metres (768, 1024, 1);
NAME_depth_mask.npy is 1 where the laser returned.

Two things to know before a score on it is trusted. The development kit does not say whether depth
is along z or along the ray: those who score on it take z, and so does this. The one camera that
it gives for all (60 by 45 degrees) bends right angles: its users fit 42.3 by 32.4 degrees instead
(the kit's issue 20, unanswered). The official values are kept; what depends on the rays is off.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...types import Camera
from .entry import BrokenFile, Entry, Importer, Problem, entry_or_problem
from .files import array, folder

SPLITS = ('val', 'train', 'val/indoors', 'val/outdoor', 'train/indoors', 'train/outdoor')

# The development kit's intrinsics.txt.
CAMERA = Camera(886.81, 927.06, 512.0, 384.0, 1024, 768)


def frames(root: Path, *, split: str = 'val') -> Iterator[Entry | Problem]:
    """Frames of DIODE.

    Raises:
        ImporterError: there are no scenes of the split below `root`.
    """
    pattern = 'scene_*/scan_*/*.png' if '/' in split else '*/scene_*/scan_*/*.png'
    base = folder(root, split, f'depth/{split}', holding=pattern)
    top = base.parents[split.count('/')]
    for image in sorted(base.glob(pattern)):
        name = image.relative_to(top).with_suffix('').as_posix()
        yield entry_or_problem(image, _entry, image, name)


def _entry(image: Path, name: str) -> Entry:
    depth_path = image.with_name(f'{image.stem}_depth.npy')
    mask_path = image.with_name(f'{image.stem}_depth_mask.npy')
    depth, mask = array(depth_path), array(mask_path)
    if depth.ndim == 3:
        depth = depth[..., 0]
    size = (CAMERA.height, CAMERA.width)
    for path, values in ((depth_path, depth), (mask_path, mask)):
        if values.shape != size:
            raise BrokenFile(path, f'has shape {values.shape}, expected {size}')
    return Entry(
        name=name,
        image=image,
        depth=np.where((mask > 0) & (depth > 0), depth, np.nan).astype(np.float32),
        camera=CAMERA,
        sequence=name,
    )


IMPORTER = Importer(
    name='diode',
    layout='{val,train}/{indoors,outdoor}/scene_*/scan_*/'
    '{NAME.png,NAME_depth.npy,NAME_depth_mask.npy}',
    source='Vasiljevic et al., 2019',
    licence='MIT',
    read=frames,
    splits=SPLITS,
)
