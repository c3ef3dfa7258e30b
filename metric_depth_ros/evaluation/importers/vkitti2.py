"""Virtual KITTI 2: rendered drives with dense depth.

Cabon, Murray and Humenberger, 2020. Depth is along z, 16-bit png of centimetres, 655.35 m (all
bits set) being sky. intrinsic.txt and extrinsic.txt have a line of names, then one line a frame
and camera: frame, cameraID, the four intrinsics; frame, cameraID, the (4, 4) camera_from_world.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...types import Camera
from .entry import BrokenFile, Entry, Importer, Problem, entry_or_problem
from .files import folder, present, text

SPLITS = ('all', 'Scene01', 'Scene02', 'Scene06', 'Scene18', 'Scene20')
CAMERAS = ('Camera_0', 'Camera_1')
_WIDTH, _HEIGHT = 1242, 375
_SKY = 655.345  # metres: beyond it there is only the value that stands for sky


def frames(
    root: Path, *, split: str = 'all', cameras: tuple[str, ...] = ('Camera_0',)
) -> Iterator[Entry | Problem]:
    """Frames of Virtual KITTI 2; `split` is one of its five scenes, or all of them.

    Raises:
        ImporterError: there is no SceneXX/VARIATION/frames/rgb below `root`.
    """
    scene = 'Scene*' if split == 'all' else split
    pictures = folder(root, '', 'vkitti_2.0.3_rgb', holding=f'{scene}/*/frames/rgb')
    for drive in sorted(pictures.glob(f'{scene}/*/frames/rgb')):
        for camera in cameras:
            yield from _sequence(root, drive, camera)


def _sequence(root: Path, drive: Path, camera: str) -> Iterator[Entry | Problem]:
    """The frames of one camera on one drive, in one light."""
    variation = drive.parts[-4:-2]  # scene, variation
    images = sorted((drive / camera).glob('rgb_*.jpg'))
    if not images:
        yield Problem(drive / camera, 'has no rgb_*.jpg')
        return
    try:
        number = int(camera[-1])
        intrinsics = _table(_place(root, 'textgt', *variation, 'intrinsic.txt'), number, 4)
        extrinsics = _table(_place(root, 'textgt', *variation, 'extrinsic.txt'), number, 16)
    except BrokenFile as error:
        reason = f'{error.problem.reason}: {len(images)} frames of {camera} cannot be used'
        yield Problem(error.problem.path, reason)
        return
    for image in images:
        frame = image.stem.removeprefix('rgb_')
        depth = _place(root, 'depth', *variation, f'frames/depth/{camera}/depth_{frame}.png')
        yield entry_or_problem(
            image, _entry, image, depth, intrinsics, extrinsics, '/'.join((*variation, camera))
        )


def _entry(
    image: Path,
    depth: Path,
    intrinsics: dict[int, np.ndarray],
    extrinsics: dict[int, np.ndarray],
    sequence: str,
) -> Entry:
    words = image.stem.removeprefix('rgb_')
    number = int(words) if words.isdigit() else -1
    if number not in intrinsics or number not in extrinsics:
        raise BrokenFile(image, 'is a frame that intrinsic.txt or extrinsic.txt does not have')
    fx, fy, cx, cy = intrinsics[number].tolist()
    return Entry(
        name=f'{sequence}/{words}',
        image=image,
        depth=present(depth),
        depth_scale=0.01,
        depth_max=_SKY,
        camera=Camera(fx, fy, cx, cy, _WIDTH, _HEIGHT),
        pose=np.linalg.inv(extrinsics[number].reshape(4, 4)),
        sequence=sequence,
    )


def _place(root: Path, archive: str, *parts: str) -> Path:
    """A file in the folder of its own archive, or in one that all archives were unpacked in."""
    own = root.joinpath(f'vkitti_2.0.3_{archive}', *parts)
    return own if own.is_file() else root.joinpath(*parts)


def _table(path: Path, camera: int, columns: int) -> dict[int, np.ndarray]:
    """Frame number -> the values of that frame and camera."""
    rows: dict[int, np.ndarray] = {}
    for line in text(path).splitlines()[1:]:
        words = line.split()
        try:
            values = np.array(words, dtype=np.float64)
        except ValueError:
            values = np.empty(0)
        if words and values.size != 2 + columns:
            raise BrokenFile(path, f'has a line that is not {2 + columns} numbers: {line[:60]!r}')
        if words and int(values[1]) == camera:
            rows[int(values[0])] = values[2:]
    return rows


IMPORTER = Importer(
    name='vkitti2',
    layout='{vkitti_2.0.3_rgb,vkitti_2.0.3_depth,vkitti_2.0.3_textgt}/Scene01/clone/..., or all '
    'unpacked in one folder',
    source='Cabon, Murray and Humenberger, 2020',
    licence='CC BY-NC-SA 3.0',
    read=frames,
    splits=SPLITS,
    cameras=CAMERAS,
)
