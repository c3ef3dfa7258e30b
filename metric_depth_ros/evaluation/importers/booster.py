"""Booster: indoor scenes with glass and mirrors, 4112x3008, several illuminations each.

ROOT/train/balanced/SCENE/camera_00/*.png
ROOT/train/balanced/SCENE/disp_00.npy            pixels, not positive where unknown
ROOT/train/balanced/SCENE/calib_00-02.xml        OpenCV: proj_matL (3x4), baselineLR (millimetres)

Images are rectified; depth is focal length x baseline / disparity. All of a scene's images see the
same depth.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from ...types import Camera
from ..depth_files import depth_size
from .entry import BrokenFile, Entry, Importer, Problem, entry_or_problem
from .files import folder, present


def frames(root: Path) -> Iterator[Entry | Problem]:
    """The left images of the balanced part, every illumination of every scene."""
    base = folder(
        root, '', 'balanced', 'train/balanced', 'booster_gt/train/balanced',
        holding='*/camera_00/*.png',
    )  # fmt: skip
    for scene in sorted(path.parent for path in base.glob('*/disp_00.npy')):
        images = sorted((scene / 'camera_00').glob('*.png'))
        if not images:
            yield Problem(scene / 'camera_00', 'holds no images')
        for image in images:
            yield entry_or_problem(image, partial(_entry, image))
    for camera in sorted(base.glob('*/camera_00')):
        if not (camera.parent / 'disp_00.npy').is_file():
            yield Problem(camera.parent / 'disp_00.npy', 'is not there')


def _entry(image: Path) -> Entry:
    scene = image.parent.parent
    disparity = scene / 'disp_00.npy'
    projection, baseline = _calibration(scene / 'calib_00-02.xml')
    fx, fy, cx, cy = (float(projection[i]) for i in ((0, 0), (1, 1), (0, 2), (1, 2)))
    return Entry(
        name=f'{scene.name}/{image.stem}',
        image=image,
        depth=disparity,
        camera=Camera(fx, fy, cx, cy, *depth_size(disparity)),
        depth_scale=fx * baseline,
        depth_kind='disparity',
    )


def _calibration(path: Path) -> tuple[np.ndarray, float]:
    """(3, 4) projection of the left camera, and the baseline in metres."""
    try:
        storage = cv2.FileStorage()  # its constructor, given a broken file, raises SystemError
        storage.open(str(present(path)), cv2.FILE_STORAGE_READ)
        projection = storage.getNode('proj_matL').mat()
        millimetres = storage.getNode('baselineLR').real()
    except cv2.error as error:
        raise BrokenFile(path, f'is not an OpenCV calibration: {error.err}') from None
    if projection is None or projection.shape != (3, 4) or not millimetres > 0:
        raise BrokenFile(path, 'lacks proj_matL (3x4) or baselineLR')
    return projection, millimetres / 1000


IMPORTER = Importer(
    name='booster',
    layout='train/balanced/SCENE/{camera_00/*.png, disp_00.npy, calib_00-02.xml}',
    source='Zama Ramirez et al., Open Challenges in Deep Stereo: the Booster Dataset, 2022',
    licence='CC BY-NC-SA 4.0',
    read=frames,
)
