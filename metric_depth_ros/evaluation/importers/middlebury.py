"""Middlebury 2014 stereo: indoor scenes, about 2900x2000, with sub-pixel disparity.

ROOT/SCENE/im0.png
ROOT/SCENE/disp0.pfm     pixels, inf where unknown (disp0GT.pfm in the third evaluation)
ROOT/SCENE/calib.txt     cam0=[f 0 cx; 0 f cy; 0 0 1], doffs (pixels), baseline (mm), ...

Depth is f x baseline / (disparity + doffs).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from ...types import Camera
from .entry import BrokenFile, Entry, Importer, Problem, entry_or_problem
from .files import folder, present, text

_ROOTS = ('', 'scenes2014', 'data', 'trainingF', 'trainingH', 'trainingQ', 'MiddEval3/trainingF')


def frames(root: Path) -> Iterator[Entry | Problem]:
    """The left image of every scene."""
    base = folder(root, *_ROOTS, holding='*/calib.txt')
    for scene in sorted(path.parent for path in base.glob('*/calib.txt')):
        yield entry_or_problem(scene / 'calib.txt', partial(_entry, scene))


def _entry(scene: Path) -> Entry:
    calibration = scene / 'calib.txt'
    values = dict(
        line.split('=', 1) for line in text(calibration).splitlines() if line.count('=') == 1
    )
    try:
        matrix = np.array(re.split(r'[;\s]+', values['cam0'].strip('[] \t')), float).reshape(3, 3)
        doffs, baseline = float(values['doffs']), float(values['baseline'])
        width, height = int(values['width']), int(values['height'])
    except KeyError as error:
        raise BrokenFile(calibration, f'lacks {error}') from None
    except ValueError as error:
        raise BrokenFile(calibration, f'is not a calibration: {error}') from None
    fx, fy, cx, cy = (float(matrix[i]) for i in ((0, 0), (1, 1), (0, 2), (1, 2)))
    third = scene / 'disp0GT.pfm'
    return Entry(
        name=scene.name,
        image=present(scene / 'im0.png'),
        depth=third if third.is_file() else present(scene / 'disp0.pfm'),
        camera=Camera(fx, fy, cx, cy, width, height),
        depth_scale=fx * baseline / 1000,
        depth_kind='disparity',
        disparity_offset=doffs,
    )


IMPORTER = Importer(
    name='middlebury',
    layout='SCENE/{im0.png, disp0.pfm, calib.txt}',
    source='Scharstein et al., High-Resolution Stereo Datasets with Subpixel-Accurate Ground '
    'Truth, 2014',
    licence='research use (see the data set)',
    read=frames,
)
