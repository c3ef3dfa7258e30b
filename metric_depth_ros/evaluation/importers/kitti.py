"""KITTI: Eigen's test frames and all frames with improved ground truth.

Geiger et al., IJRR 2013; improved ground truth: Uhrig et al., 3DV 2017. Formats as the two
development kits document them: calibration as `name: numbers` lines, P_rect_0x the (3, 4)
projection from the rectified frame of camera 0, improved depth as 16-bit png of 1/256 m with 0 for
none, LiDAR as 32-bit floats x y z reflectance. Depth is along z of the rectified camera.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from ...types import Camera
from .entry import BrokenFile, Entry, Importer, ImporterError, Problem, entry_or_problem
from .files import folder, present, raw_floats, text
from .kitti_eigen import eigen_frames
from .lidar import moved, splat

SPLITS = ('eigen', 'eigen-lidar', 'annotated')
CAMERAS = ('image_02', 'image_03')

# Where archives end up below one root, as they unpack and as common scripts move them.
_RAW = ('', 'raw', 'raw_data', 'kitti_raw', 'data_raw')
_ANNOTATED = tuple(
    f'{base}{split}'
    for base in ('', 'data_depth_annotated/', 'depth/', 'depth/data_depth_annotated/', 'gts/')
    for split in ('val', 'train', '')
)


def frames(
    root: Path, *, split: str = 'eigen', cameras: tuple[str, ...] = ('image_02',)
) -> Iterator[Entry | Problem]:
    """Frames of KITTI below `root`.

    split: 'eigen', the 652 test frames with improved ground truth; 'eigen-lidar', all 697 with
        the LiDAR scan of that very moment, as the first papers were scored; 'annotated', every
        frame with improved ground truth.

    Raises:
        ImporterError: there are no raw images, or no improved ground truth where it is asked for.
    """
    raw = folder(root, *_RAW, holding='2011_*_*/2011_*_drive_*_sync')
    if split == 'eigen-lidar':
        for date, drive, number in eigen_frames(improved=False):
            for camera in cameras:
                place = _Place(raw, date, drive, camera, number)
                yield entry_or_problem(place.image, place.with_lidar)
        return
    annotated = [root / place for place in _ANNOTATED if any((root / place).glob('2011_*_sync'))]
    if not annotated:
        raise ImporterError(
            f'{root}: found no 2011_*_sync/proj_depth/groundtruth (looked in '
            f'{", ".join(place or "." for place in _ANNOTATED)})'
        )
    places: Iterable[_Place]
    if split == 'eigen':
        places = (
            _Place(raw, *frame[:2], camera, frame[2])
            for frame in eigen_frames(improved=True)
            for camera in cameras
        )
    else:
        places = _annotated(raw, annotated, cameras)
    for place in places:
        yield entry_or_problem(place.image, place.with_improved, annotated)


@dataclass(frozen=True)
class _Place:
    """One frame of one camera of one drive, and its files."""

    raw: Path
    date: str
    drive: str
    camera: str
    number: int

    @property
    def _folder(self) -> Path:
        return self.raw / self.date / self.drive

    @property
    def image(self) -> Path:
        image = (
            self.raw / self.date / self.drive / self.camera / 'data' / f'{self.number:010d}.png'
        )
        # 175 GB of png are often kept as jpg.
        return image if image.is_file() else image.with_suffix('.jpg')

    def with_improved(self, annotated: list[Path]) -> Entry:
        name = f'{self.drive}/proj_depth/groundtruth/{self.camera}/{self.number:010d}.png'
        found = [base / name for base in annotated if (base / name).is_file()]
        return self._entry(found[0] if found else present(annotated[0] / name), 1 / 256)

    def with_lidar(self) -> Entry:
        """Rounded, then one less along both axes, as KITTI's MATLAB code does and all published
        numbers of this split have it."""
        calibration = _calibration(self.raw / self.date, self.camera)
        if calibration.rectified_from_lidar is None:
            raise BrokenFile(self.raw / self.date / 'calib_velo_to_cam.txt', 'is not there')
        scan = raw_floats(self._folder / f'velodyne_points/data/{self.number:010d}.bin', 4)
        ahead = scan[scan[:, 0] >= 0, :3]
        points = moved(ahead, calibration.rectified_from_lidar)
        u, v, z = calibration.projection @ np.c_[points, np.ones(len(points))].T
        width, height = calibration.camera.width, calibration.camera.height
        return self._entry(splat(np.stack((u, v), -1) / z[:, None] - 1, z, width, height), 1.0)

    def _entry(self, depth: Path | np.ndarray, scale: float) -> Entry:
        return Entry(
            name=f'{self.drive}/{self.camera}/{self.number:010d}',
            image=present(self.image),
            depth=depth,
            depth_scale=scale,
            camera=_calibration(self.raw / self.date, self.camera).camera,
            sequence=f'{self.drive}/{self.camera}',
        )


def _annotated(raw: Path, annotated: list[Path], cameras: tuple[str, ...]) -> Iterator[_Place]:
    for base in annotated:
        for drive in sorted(base.glob('2011_*_sync')):
            for camera in cameras:
                for file in sorted((drive / 'proj_depth/groundtruth' / camera).glob('*.png')):
                    yield _Place(raw, drive.name[:10], drive.name, camera, int(file.stem))


@dataclass(frozen=True)
class _Calibration:
    camera: Camera
    projection: np.ndarray  # (3, 4), pixels from the rectified frame of camera 0
    rectified_from_lidar: np.ndarray | None  # (4, 4); improved ground truth needs none


@lru_cache(maxsize=16)
def _calibration(date: Path, camera: str) -> _Calibration:
    """The calibration of a day of recording; camera 'image_02' or 'image_03'."""
    number = camera[-2:]
    cameras, lidar = date / 'calib_cam_to_cam.txt', date / 'calib_velo_to_cam.txt'
    projection = _values(cameras, f'P_rect_{number}', 12).reshape(3, 4)
    width, height = _values(cameras, f'S_rect_{number}', 2)
    rectified_from_lidar = None
    if lidar.is_file():
        rectify, camera_from_lidar = np.eye(4), np.eye(4)
        rectify[:3, :3] = _values(cameras, 'R_rect_00', 9).reshape(3, 3)
        camera_from_lidar[:3, :3] = _values(lidar, 'R', 9).reshape(3, 3)
        camera_from_lidar[:3, 3] = _values(lidar, 'T', 3)
        rectified_from_lidar = rectify @ camera_from_lidar
    intrinsics = Camera(
        *(projection[0, 0], projection[1, 1], projection[0, 2], projection[1, 2]),
        *(int(width), int(height)),
    )
    return _Calibration(intrinsics, projection, rectified_from_lidar)


def _values(path: Path, key: str, count: int) -> np.ndarray:
    for line in text(path).splitlines():
        name, _, words = line.partition(':')
        if name.strip() == key:
            try:
                values = np.array(words.split(), dtype=np.float64)
            except ValueError:
                values = np.empty(0)
            if values.size != count:
                raise BrokenFile(path, f'{key} is not {count} numbers')
            return values
    raise BrokenFile(path, f'has no {key}')


IMPORTER = Importer(
    name='kitti',
    layout='2011_*_*/{calib_*.txt,2011_*_sync/image_02/data/*.png} and, for improved truth, '
    '{train,val}/2011_*_sync/proj_depth/groundtruth/image_02/*.png',
    source='Geiger et al., IJRR 2013; Uhrig et al., 3DV 2017; split: Eigen et al., NIPS 2014',
    licence='CC BY-NC-SA 3.0',
    read=frames,
    splits=SPLITS,
    cameras=CAMERAS,
)
