"""nuScenes: LIDAR_TOP of a key frame projected into the cameras of that frame.

Caesar et al., CVPR 2020. Tables are JSON lists of records with a token; quaternions are
w x y z; images are rectified; a .pcd.bin is 32-bit floats x y z intensity ring. The LiDAR and each
camera have their own ego pose, of their own moment: points go through the world, so that what
the car drove in between is accounted for. Depth is along z of the camera. The LiDAR looks from
the roof: a few of its points show what the camera does not see.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...types import Camera
from .entry import BrokenFile, Entry, Importer, ImporterError, Problem, entry_or_problem
from .files import folder, parsed_json, present, raw_floats
from .lidar import moved, pinhole_depth, rigid

SPLITS = ('val', 'train', 'all')
CAMERAS = (
    'CAM_FRONT',
    'CAM_FRONT_LEFT',
    'CAM_FRONT_RIGHT',
    'CAM_BACK',
    'CAM_BACK_LEFT',
    'CAM_BACK_RIGHT',
)
_NEAREST = 1.0  # metres; closer points are of the car itself, the development kit drops them too

# The 150 scenes of the validation split, as ranges of their numbers; of v1.0-mini it has two.
_VAL = (
    (3, 3), (12, 18), (35, 36), (38, 39), (92, 110), (221, 221), (268, 278), (329, 332),
    (344, 346), (519, 524), (552, 565), (625, 627), (629, 630), (632, 638), (770, 771),
    (775, 775), (777, 778), (780, 784), (794, 800), (802, 802), (904, 917), (919, 931),
    (962, 963), (966, 969), (971, 972), (1059, 1073),
)  # fmt: skip
_MINI_VAL = ((103, 103), (916, 916))


def frames(
    root: Path, *, split: str = 'val', cameras: tuple[str, ...] = ('CAM_FRONT',)
) -> Iterator[Entry | Problem]:
    """Key frames of nuScenes, at 2 Hz, scene by scene.

    root: the folder that holds samples/ and v1.0-trainval (else v1.0-mini, v1.0-test).

    Raises:
        ImporterError: there are no tables, or a table is missing or broken.
    """
    versions = ('v1.0-trainval', 'v1.0-mini', 'v1.0-test')
    version = folder(root, *versions, holding='sample_data.json')
    tables = _Tables.read(version, {*cameras, 'LIDAR_TOP'})
    val = _MINI_VAL if version.name == 'v1.0-mini' else _VAL
    for scene in tables.scenes:
        in_val = any(low <= int(scene['name'][-4:]) <= high for low, high in val)
        if split == 'all' or in_val == (split == 'val'):
            for sample in tables.samples[scene['token']]:
                for camera in cameras:
                    yield entry_or_problem(
                        version, _entry, root, tables, scene['name'], sample['token'], camera
                    )


@dataclass(frozen=True)
class _Tables:
    """The records of one version that key frames of some sensors need."""

    version: Path
    scenes: list[dict[str, Any]]
    samples: dict[str, list[dict[str, Any]]]  # of a scene's token, in time
    data: dict[tuple[str, str], dict[str, Any]]  # key frames, of (sample token, channel)
    calibrations: dict[str, dict[str, Any]]
    poses: dict[str, dict[str, Any]]

    @classmethod
    def read(cls, version: Path, channels: set[str]) -> _Tables:
        def table(name: str, keep: Callable[[dict[str, Any]], bool] = bool) -> list[Any]:
            return _records(version / f'{name}.json', keep)

        try:
            names = {sensor['token']: sensor['channel'] for sensor in table('sensor')}
            calibrations = {record['token']: record for record in table('calibrated_sensor')}
            data = {}
            for record in table('sample_data', lambda record: record['is_key_frame']):
                sensor = calibrations[record['calibrated_sensor_token']]['sensor_token']
                if names[sensor] in channels:
                    data[record['sample_token'], names[sensor]] = record
            wanted = {record['ego_pose_token'] for record in data.values()}
            poses = table('ego_pose', lambda pose: pose['token'] in wanted)
            samples = defaultdict(list)
            for record in sorted(table('sample'), key=lambda record: record['timestamp']):
                samples[record['scene_token']].append(record)
            return cls(
                version,
                sorted(table('scene'), key=lambda scene: scene['name']),
                samples,
                data,
                calibrations,
                {pose['token']: pose for pose in poses},
            )
        except (KeyError, TypeError) as error:
            raise ImporterError(f'{version}: a record of a table lacks {error}') from None

    def sensor(self, sample: str, channel: str) -> tuple[dict[str, Any], np.ndarray]:
        """The record of a sensor in a sample, and its pose (4, 4) world_from_sensor."""
        record = self.data.get((sample, channel))
        if record is None:
            raise BrokenFile(
                self.version / 'sample_data.json', f'sample {sample} has no {channel}'
            )
        pose = self.poses.get(record['ego_pose_token'])
        if pose is None:
            raise BrokenFile(
                self.version / 'ego_pose.json', f'has no pose {record["ego_pose_token"]}'
            )
        mounted = self.calibrations[record['calibrated_sensor_token']]
        world_from_ego = rigid(pose['translation'], pose['rotation'])
        return record, world_from_ego @ rigid(mounted['translation'], mounted['rotation'])


def _records(path: Path, keep: Callable[[dict[str, Any]], bool]) -> list[Any]:
    """The records of a table that `keep` wants; of 2.6 million few are ever held at once.

    Raises:
        BrokenFile: there is no such file, or it is not a list of records in JSON.
    """
    records = parsed_json(path, lambda record: record if keep(record) else None)
    if not isinstance(records, list):
        raise BrokenFile(path, 'is not a list of records')
    return [record for record in records if record is not None]


def _entry(root: Path, tables: _Tables, scene: str, sample: str, camera: str) -> Entry:
    picture, world_from_camera = tables.sensor(sample, camera)
    sweep, world_from_lidar = tables.sensor(sample, 'LIDAR_TOP')
    matrix = np.array(
        tables.calibrations[picture['calibrated_sensor_token']]['camera_intrinsic'], dtype=float
    )
    if matrix.shape != (3, 3):
        raise BrokenFile(
            tables.version / 'calibrated_sensor.json', f'{camera} has no camera_intrinsic'
        )
    width, height = int(picture['width']), int(picture['height'])
    scan = raw_floats(root / sweep['filename'], 5)[:, :3]
    points = moved(scan, np.linalg.inv(world_from_camera) @ world_from_lidar)
    image = present(root / picture['filename'])
    return Entry(
        name=f'{scene}/{camera}/{image.stem}',
        image=image,
        depth=pinhole_depth(points, matrix, width, height, nearest=_NEAREST),
        camera=Camera(matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2], width, height),
        pose=world_from_camera,
        stamp=picture['timestamp'] * 1e-6,
        sequence=f'{scene}/{camera}',
    )


IMPORTER = Importer(
    name='nuscenes',
    layout='v1.0-trainval/*.json, samples/CAM_FRONT/*.jpg, samples/LIDAR_TOP/*.pcd.bin',
    source='Caesar et al., CVPR 2020',
    licence='CC BY-NC-SA 4.0 and its own terms of use',
    read=frames,
    splits=SPLITS,
    cameras=CAMERAS,
)
