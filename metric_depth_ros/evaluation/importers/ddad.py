"""DDAD: LiDAR sweeps of a dataset in DGP's JSON, projected to sparse depth.

Guizilini et al., CVPR 2020. ddad.json lists the scene files of each split; a scene file has
samples, data (images and point clouds with the pose world_from_sensor at their own time) and the
name of a calibration/KEY.json with intrinsics. Point clouds are npz with `data`: columns x y z
intensity, or a structured array with fields X Y Z. Depth is along z of the camera.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from ...types import Camera
from .entry import BrokenFile, Entry, Importer, ImporterError, Problem, entry_or_problem
from .files import array, folder, parsed_json, present
from .lidar import moved, pinhole_depth, rigid

SPLITS = ('val', 'train', 'all')
_SPLIT_KEYS = {'train': '0', 'val': '1'}  # DatasetSplit of DGP's dataset.proto
CAMERAS = tuple(f'CAMERA_{number:02d}' for number in (1, 5, 6, 7, 8, 9))


def frames(
    root: Path, *, split: str = 'val', cameras: tuple[str, ...] = ('CAMERA_01',)
) -> Iterator[Entry | Problem]:
    """Frames of DDAD; CAMERA_01 looks ahead.

    Raises:
        ImporterError: there is no ddad.json, or it does not list the split.
    """
    base = folder(root, '', 'ddad_train_val', 'DDAD/ddad_train_val', holding='ddad*.json')
    index = sorted(base.glob('ddad*.json'))[0]
    listed = parsed_json(index).get('scene_splits', {})
    keys = [_SPLIT_KEYS[split]] if split != 'all' else sorted(_SPLIT_KEYS.values())
    scenes = [name for key in keys for name in listed.get(key, {}).get('filenames', ())]
    if not scenes:
        raise ImporterError(f'{index} lists no scenes of split {split}')
    for scene in scenes:
        yield from _scene(base / scene, cameras)


def _scene(path: Path, cameras: tuple[str, ...]) -> Iterator[Entry | Problem]:
    try:
        scene = parsed_json(path)
        data = {datum['key']: datum for datum in scene['data']}
        samples = scene['samples']
    except BrokenFile as error:
        yield error.problem
        return
    except (KeyError, TypeError) as error:
        yield Problem(path, f'is not a scene of DGP: {error} is missing')
        return
    for sample in samples:
        by_name = {
            data[key]['id']['name'].upper(): data[key]
            for key in sample.get('datum_keys', ())
            if key in data
        }
        for camera in cameras:
            yield entry_or_problem(path, _entry, path, sample, by_name, camera)


def _entry(path: Path, sample: dict[str, Any], data: dict[str, Any], camera: str) -> Entry:
    try:
        image = data[camera]['datum']['image']
        cloud = data['LIDAR']['datum']['point_cloud']
        image_path, cloud_path = path.parent / image['filename'], path.parent / cloud['filename']
        width, height = int(image['width']), int(image['height'])
        world_from_camera, world_from_lidar = _pose(image['pose']), _pose(cloud['pose'])
        calibration = path.parent / 'calibration' / f'{sample["calibration_key"]}.json'
        stamp = _seconds(data[camera]['id']['timestamp'])
    except (KeyError, TypeError, ValueError) as error:
        index = sample.get('id', {}).get('index', '?')
        raise BrokenFile(
            path, f'sample {index} has no usable {camera} or LIDAR: {error}'
        ) from None
    intrinsics = _camera(calibration, camera, width, height)
    points = moved(_points(cloud_path), np.linalg.inv(world_from_camera) @ world_from_lidar)
    matrix = [[intrinsics.fx, 0, intrinsics.cx], [0, intrinsics.fy, intrinsics.cy], [0, 0, 1]]
    return Entry(
        name=f'{path.parent.name}/{camera}/{image_path.stem}',
        image=present(image_path),
        depth=pinhole_depth(points, np.array(matrix), width, height),
        camera=intrinsics,
        pose=world_from_camera,
        stamp=stamp,
        sequence=f'{path.parent.name}/{camera}',
    )


def _pose(pose: dict[str, Any]) -> np.ndarray:
    """(4, 4); what a protobuf leaves out of its JSON is zero."""
    shift, turn = pose.get('translation', {}), pose.get('rotation', {})
    return rigid(
        np.array([shift.get(axis, 0.0) for axis in ('x', 'y', 'z')]),
        np.array([turn.get(axis, 0.0) for axis in ('qw', 'qx', 'qy', 'qz')]),
    )


def _camera(path: Path, name: str, width: int, height: int) -> Camera:
    calibration = parsed_json(path)
    try:
        names = [other.upper() for other in calibration['names']]
        values = calibration['intrinsics'][names.index(name)]
        pinhole = (values['fx'], values['fy'], values['cx'], values['cy'])
    except (KeyError, ValueError, IndexError, TypeError, AttributeError) as error:
        raise BrokenFile(path, f'has no intrinsics of {name}: {error}') from None
    bent = [key for key in values if key not in ('fx', 'fy', 'cx', 'cy', 'fov') and values[key]]
    if bent:  # the public release is rectified
        raise BrokenFile(path, f'{name} has {", ".join(bent)}, expected a rectified camera')
    return Camera(*pinhole, width, height)


def _points(path: Path) -> np.ndarray:
    """(N, 3) metres in the frame of the LiDAR datum."""
    points = array(path, 'data')
    if points.dtype.fields is not None:
        return np.stack([points[axis] for axis in ('X', 'Y', 'Z')], axis=-1)
    if points.ndim != 2 or points.shape[1] < 3:
        raise BrokenFile(path, f'holds {points.shape}, expected columns x y z')
    return points[:, :3]


def _seconds(timestamp: str) -> float:
    """Unix time of '2019-05-01T08:08:43.149984Z'; protobuf writes 0, 3, 6 or 9 decimals."""
    whole, fraction = re.fullmatch(r'([\dT:-]+)(\.\d+)?Z', timestamp).groups()  # type: ignore[union-attr]
    moment = datetime.fromisoformat(whole).replace(tzinfo=timezone.utc)
    return moment.timestamp() + float(fraction or 0)


IMPORTER = Importer(
    name='ddad',
    layout='ddad.json, 000000/{scene_*.json,calibration/*.json,rgb/CAMERA_01/*.png,'
    'point_cloud/LIDAR/*.npz}',
    source='Guizilini et al., CVPR 2020',
    licence='CC BY-NC-SA 4.0',
    read=frames,
    splits=SPLITS,
    cameras=CAMERAS,
)
