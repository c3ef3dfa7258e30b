"""ScanNet: frames exported from .sens files.

Dai et al., CVPR 2017. A scan has color/N.jpg (1296x968), depth/N.png (640x480, millimetres along
z, 0 for none), pose/N.txt (world_from_camera, -inf where tracking was lost) and the (4, 4)
intrinsics of both, in intrinsic/intrinsic_*.txt or, in the 25k subset, intrinsics_*.txt. Depth is
taken to the colour image by its nearest pixel: the two cameras stand at one place.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from ...types import Camera
from .entry import BrokenFile, Entry, Importer, ImporterError, Problem, entry_or_problem
from .files import folder, numbers, present, rgb_image, text, uint16_image

SPLITS = ('all', 'val', 'test', 'train')


def frames(root: Path, *, split: str = 'all') -> Iterator[Entry | Problem]:
    """Frames of ScanNet, scan by scan in the order of their numbers.

    split: a benchmark's split needs its list, scannetv2_val.txt, in `root`.

    Raises:
        ImporterError: there are no scans below `root`, or the list of the split is not there.
    """
    places = ('', 'scans', 'scans_test', 'scannet_frames_25k', 'scannet_frames_test')
    base = folder(root, *places, holding='scene*/color')
    scans = sorted(path.parent for path in base.glob('scene*/color'))
    if split != 'all':
        listing = root / f'scannetv2_{split}.txt'
        if not listing.is_file():
            raise ImporterError(f'{listing} is not there: it lists the scans of the {split} split')
        wanted = text(listing).split()
        there = {scan.name: scan for scan in scans}
        for name in wanted:
            if name not in there:
                yield Problem(base / name, f'is not there, a scan of the {split} split')
        scans = [there[name] for name in wanted if name in there]
    for scan in scans:
        yield from _scan(scan)


def _scan(scan: Path) -> Iterator[Entry | Problem]:
    images = sorted((scan / 'color').glob('*.jpg'), key=lambda path: (len(path.stem), path.stem))
    try:
        colour, depth = (_intrinsics(scan, name) for name in ('color', 'depth'))
        _check_aligned(scan)
    except BrokenFile as error:
        reason = f'{error.problem.reason}: {len(images)} frames of {scan.name} cannot be used'
        yield Problem(error.problem.path, reason)
        return
    for image in images:
        yield entry_or_problem(image, _entry, image, colour, depth)


def _entry(image: Path, colour: np.ndarray, depth: np.ndarray) -> Entry:
    scan = image.parents[1]
    height, width = rgb_image(image).shape[:2]
    return Entry(
        name=f'{scan.name}/{image.stem}',
        image=image,
        depth=_onto_colour(scan / 'depth' / f'{image.stem}.png', colour, depth, width, height),
        depth_scale=0.001,
        camera=Camera(colour[0, 0], colour[1, 1], colour[0, 2], colour[1, 2], width, height),
        pose=_pose(scan / 'pose' / f'{image.stem}.txt'),
        sequence=scan.name,
    )


def _onto_colour(
    path: Path, colour: np.ndarray, depth: np.ndarray, width: int, height: int
) -> Path | np.ndarray:
    """The depth file itself if it fits the colour image, else its nearest pixels there."""
    values = uint16_image(path)
    if values.shape == (height, width) and np.allclose(colour, depth):
        return path
    depth_from_colour = depth @ np.linalg.inv(colour)
    u = np.arange(width) * depth_from_colour[0, 0] + depth_from_colour[0, 2]
    v = np.arange(height) * depth_from_colour[1, 1] + depth_from_colour[1, 2]
    map_u, map_v = np.meshgrid(np.rint(u), np.rint(v))
    return cv2.remap(
        values,
        map_u.astype(np.float32),
        map_v.astype(np.float32),
        cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=0,
    )


def _intrinsics(scan: Path, name: str) -> np.ndarray:
    """(3, 3) intrinsic matrix of 'color' or 'depth'."""
    exported = scan / 'intrinsic' / f'intrinsic_{name}.txt'
    subset = scan / f'intrinsics_{name}.txt'
    return numbers(subset if subset.is_file() else exported, 4, 4)[:3, :3]


def _check_aligned(scan: Path) -> None:
    for name in ('color', 'depth'):
        path = scan / 'intrinsic' / f'extrinsic_{name}.txt'
        if path.is_file() and not np.allclose(numbers(path, 4, 4), np.eye(4), atol=1e-3):
            raise BrokenFile(path, 'moves one camera from the other, expected the identity')


def _pose(path: Path) -> np.ndarray | None:
    pose = numbers(present(path), 4, 4)
    return pose if np.isfinite(pose).all() else None


IMPORTER = Importer(
    name='scannet',
    layout='{scans,scannet_frames_25k}/scene0000_00/{color/*.jpg,depth/*.png,pose/*.txt,'
    'intrinsic/intrinsic_{color,depth}.txt}',
    source='Dai et al., CVPR 2017',
    licence="ScanNet's own terms of use",
    read=frames,
    splits=SPLITS,
)
