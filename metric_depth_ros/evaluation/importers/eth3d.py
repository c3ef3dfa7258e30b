"""ETH3D high-resolution multi-view: laser scans seen by a DSLR.

Schöps et al., CVPR 2017. Depth maps belong to the original, distorted pictures and bear their
names; they are nothing but 32-bit floats, row by row, metres along z, infinity for none.
cameras.txt and images.txt are COLMAP's: the origin is the corner of the top-left pixel, poses are
camera_from_world.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...types import Camera
from .entry import BrokenFile, Entry, Importer, Problem, entry_or_problem
from .files import folder, present, raw_floats, text
from .lidar import rigid

# An equidistant camera stands for ETH3D's lens if it is nowhere off by more of the image's width.
_TOLERANCE = 0.001


def frames(root: Path) -> Iterator[Entry | Problem]:
    """All frames of the training scenes, for the others have no public depth.

    Raises:
        ImporterError: there is no SCENE/dslr_calibration_jpg/images.txt below `root`.
    """
    tops = ('', 'multi_view_training_dslr_jpg', 'rgb')
    base = folder(root, *tops, holding='*/dslr_calibration_jpg/images.txt')
    for listing in sorted(base.glob('*/dslr_calibration_jpg/images.txt')):
        scene = listing.parents[1]
        try:
            cameras = _cameras(listing.with_name('cameras.txt'))
            pictures = _pictures(listing)
        except BrokenFile as error:
            yield error.problem
            continue
        for picture in pictures:
            path = scene / 'images' / picture.name
            yield entry_or_problem(path, _entry, root, scene, picture, cameras)


@dataclass(frozen=True)
class _Picture:
    """A line of images.txt."""

    name: str  # 'dslr_images/DSC_0286.JPG'
    camera: int
    world_from_camera: np.ndarray


def _entry(root: Path, scene: Path, picture: _Picture, cameras: dict[int, Camera]) -> Entry:
    image = present(scene / 'images' / picture.name)
    camera = cameras.get(picture.camera)
    if camera is None:
        raise BrokenFile(scene / 'dslr_calibration_jpg/cameras.txt', f'has no {picture.camera}')
    path = _depth_path(root, scene, picture.name)
    values = raw_floats(path, 1)
    if values.size != camera.width * camera.height:
        raise BrokenFile(
            path, f'has {values.size} floats, expected {camera.width}x{camera.height}'
        )
    depth = values.reshape(camera.height, camera.width)
    return Entry(
        name=f'{scene.name}/{image.stem}',
        image=image,
        depth=np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(np.nan)),
        camera=camera,
        pose=picture.world_from_camera,
        sequence=scene.name,
    )


def _depth_path(root: Path, scene: Path, name: str) -> Path:
    """The archives with depth may lie over those with pictures, or each in its own folder."""
    inner = Path(scene.name) / 'ground_truth_depth' / name
    own = Path(f'{scene.name}_dslr_depth') / inner
    places = [scene.parent / inner, root / inner, root / own, root / 'depth' / own]
    return next((path for path in places if path.is_file()), places[0])


def _pictures(path: Path) -> list[_Picture]:
    """Every other line: id, quaternion w x y z, translation, camera, name; then its points."""
    pictures = []
    lines = [line for line in text(path).splitlines() if not line.startswith('#')]
    for line in lines[::2]:
        words = line.split()
        try:
            values = np.array(words[1:8], dtype=np.float64)
            camera, name = int(words[8]), words[9]
        except (ValueError, IndexError):
            raise BrokenFile(path, f'has a line that is not a picture: {line[:60]!r}') from None
        camera_from_world = rigid(values[4:], values[:4])
        pictures.append(_Picture(name, camera, np.linalg.inv(camera_from_world)))
    return sorted(pictures, key=lambda picture: picture.name)


def _cameras(path: Path) -> dict[int, Camera]:
    cameras = {}
    for line in text(path).splitlines():
        words = line.split()
        if not words or words[0].startswith('#'):
            continue
        try:
            values = [float(word) for word in words[4:]]
            number, model, width, height = int(words[0]), words[1], int(words[2]), int(words[3])
        except (ValueError, IndexError):
            raise BrokenFile(path, f'has a line that is not a camera: {line[:60]!r}') from None
        if model == 'PINHOLE' and len(values) == 4:
            fx, fy, cx, cy = values
            cameras[number] = Camera(fx, fy, cx - 0.5, cy - 0.5, width, height)
        elif model == 'THIN_PRISM_FISHEYE' and len(values) == 12:
            cameras[number] = _equidistant(path, values, width, height)
        else:
            raise BrokenFile(
                path, f'has a {model} of {len(values)} values, expected THIN_PRISM_FISHEYE of 12'
            )
    return cameras


def _equidistant(path: Path, values: list[float], width: int, height: int) -> Camera:
    """The equidistant camera that is closest to a thin-prism fisheye one.

    Their radial polynomial is the same. What the tangential and thin-prism terms shift, less than
    a pixel of 6048 on this dataset, is made up for by focal lengths and principal point, by least
    squares over the image.
    """
    fx, fy, cx, cy, k1, k2, p1, p2, k3, k4, sx1, sy1 = values
    reach = np.hypot(max(cx, width - cx) / fx, max(cy, height - cy) / fy)
    x, y = np.meshgrid(*[np.linspace(-reach, reach, 101)] * 2)
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * (k3 + r2 * k4)))
    u = fx * (x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x) + sx1 * r2) + cx - 0.5
    v = fy * (y * radial + 2 * p2 * x * y + p1 * (r2 + 2 * y * y) + sy1 * r2) + cy - 0.5
    seen = (u > -0.5) & (u < width - 0.5) & (v > -0.5) & (v < height - 0.5)
    (fx, cx), off_u = _line((x * radial)[seen], u[seen])
    (fy, cy), off_v = _line((y * radial)[seen], v[seen])
    off = float(np.hypot(off_u, off_v).max())
    if off > _TOLERANCE * width:
        raise BrokenFile(path, f'has a lens that an equidistant one misses by {off:.1f} pixels')
    return Camera(fx, fy, cx, cy, width, height, 'equidistant', (k1, k2, k3, k4))


def _line(x: np.ndarray, y: np.ndarray) -> tuple[tuple[float, float], np.ndarray]:
    """Slope and offset of the least-squares line, and how far each point is off it."""
    slope, offset = np.polyfit(x, y, 1)
    return (float(slope), float(offset)), y - (slope * x + offset)


IMPORTER = Importer(
    name='eth3d',
    layout='SCENE/{images/dslr_images/*.JPG,dslr_calibration_jpg/{cameras,images}.txt,'
    'ground_truth_depth/dslr_images/*.JPG}',
    source='Schöps et al., CVPR 2017',
    licence='CC BY-NC-SA 4.0',
    read=frames,
)
