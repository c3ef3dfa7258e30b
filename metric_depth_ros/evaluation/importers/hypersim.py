"""Hypersim: rendered interiors, 1024x768, depth as the distance from the camera's centre.

ROOT/ai_VVV_NNN/images/scene_cam_XX_geometry_hdf5/frame.IIII.depth_meters.hdf5      `dataset`
ROOT/ai_VVV_NNN/images/scene_cam_XX_final_preview/frame.IIII.tonemap.jpg            preview
ROOT/ai_VVV_NNN/images/scene_cam_XX_final_hdf5/frame.IIII.color.hdf5                color
ROOT/ai_VVV_NNN/images/scene_cam_XX_geometry_hdf5/frame.IIII.render_entity_id.hdf5  for color
ROOT/ai_VVV_NNN/_detail/cam_XX/camera_keyframe_{positions,orientations}.hdf5
ROOT/metadata_camera_parameters.csv          of the toolkit's contrib/mikeroberts3000
ROOT/metadata_images_split_scene_v1.csv      of the toolkit's evermotion_dataset/analysis

Lenses differ from scene to scene: more than half are not the plain one of 60 degrees, some are
shifted or tilted (hypersim_camera.py), so that table is needed; 18 of the 482, with both at once,
shear the image and are reported. Distances become depth by each scene's own rays when the manifest
is read; NaN where the ray met nothing.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from ..depth_files import read_hdf5
from .entry import BrokenFile, Entry, Importer, ImporterError, Problem, entry_or_problem
from .files import folder, present
from .hypersim_camera import Lens, read_lenses

_CAMERAS = 'metadata_camera_parameters.csv'
_SPLIT = 'metadata_images_split_scene_v1.csv'


def frames(
    root: Path, *, split: str | None = None, variant: str = 'preview'
) -> Iterator[Entry | Problem]:
    """split: of the authors' v1 ('train', 'val', 'test'); None for every frame there is.

    variant: 'preview' takes the authors' JPEGs as they are; 'color' makes images of the linear
        colours with the authors' tone mapping, without JPEG's loss.
    """
    base = folder(
        root, '', 'scenes', 'evermotion_dataset/scenes',
        holding='ai_*/images/scene_cam_*_geometry_hdf5',
    )  # fmt: skip
    lenses = read_lenses(_table(root, base, _CAMERAS))
    wanted = None if split is None else _frames_of(_table(root, base, _SPLIT), split)
    for images in sorted(base.glob('ai_*/images/scene_cam_*_geometry_hdf5')):
        scene, camera = images.parent.parent, images.name[len('scene_') : -len('_geometry_hdf5')]
        if scene.name not in lenses:
            yield Problem(images, f'{_CAMERAS} has no scene {scene.name}')
            continue
        try:
            poses = _poses(scene / '_detail' / camera, lenses[scene.name])
        except BrokenFile as error:
            yield error.problem
            continue
        for frame in _frames(images, variant):
            distance = images / f'frame.{frame}.depth_meters.hdf5'
            if wanted is None or (scene.name, camera, int(frame)) in wanted:
                build = partial(
                    _entry, scene, camera, frame, distance, lenses[scene.name], poses, variant
                )
                yield entry_or_problem(distance, build)


def _frames(images: Path, variant: str) -> list[str]:
    """Numbers of the frames that have a distance or a picture."""
    trajectory = images.name.removesuffix('_geometry_hdf5')
    preview, colour = (images.with_name(f'{trajectory}_final_{i}') for i in ('preview', 'hdf5'))
    pictures = (
        colour.glob('frame.*.color.hdf5')
        if variant == 'color'
        else preview.glob('frame.*.tonemap.jpg')
    )
    distances = images.glob('frame.*.depth_meters.hdf5')
    return sorted({path.name.split('.')[1] for path in (*distances, *pictures)})


def _entry(
    scene: Path,
    camera: str,
    frame: str,
    distance: Path,
    lens: Lens,
    poses: np.ndarray,
    variant: str,
) -> Entry:
    if int(frame) >= len(poses):
        raise BrokenFile(distance, f'the trajectory has {len(poses)} poses, none for it')
    images = scene / 'images'
    if variant == 'color':
        image: Path | np.ndarray = tonemap(
            _dataset(images / f'scene_{camera}_final_hdf5' / f'frame.{frame}.color.hdf5', 3),
            _dataset(distance.with_name(f'frame.{frame}.render_entity_id.hdf5'), 2),
        )
    else:
        image = present(images / f'scene_{camera}_final_preview' / f'frame.{frame}.tonemap.jpg')
    return Entry(
        name=f'{scene.name}/{camera}/{frame}',
        image=image,
        depth=present(distance),
        camera=lens.camera(distance),
        depth_kind='ray',
        pose=poses[int(frame)],
        sequence=f'{scene.name}/{camera}',
    )


def tonemap(colour: np.ndarray, entity: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 RGB of linear colour, by the operator of the Hypersim toolkit.

    The 90th percentile of the brightness of all pixels that show something becomes 0.8 after a
    gamma of 2.2.

    Args:
        colour: (H, W, 3) linear RGB, no range.
        entity: (H, W) number of the thing seen, -1 for none.
    """
    colour = colour.astype(np.float32)
    brightness = (colour @ np.array([0.3, 0.59, 0.11], dtype=np.float32))[entity != -1]
    if brightness.size == 0:
        scale = 1.0
    else:
        bright = float(np.percentile(brightness, 90))
        scale = 0.8**2.2 / bright if bright >= 1e-4 else 0.0
    return np.rint(np.clip(np.maximum(scale * colour, 0) ** (1 / 2.2), 0, 1) * 255).astype(
        np.uint8
    )


def _poses(detail: Path, lens: Lens) -> np.ndarray:
    """(N, 4, 4) world_from_camera of the lens's optical frame, metres."""
    positions = _dataset(detail / 'camera_keyframe_positions.hdf5', 2)
    rotations = _dataset(detail / 'camera_keyframe_orientations.hdf5', 3)
    if positions.shape[1:] != (3,) or rotations.shape != (len(positions), 3, 3):
        raise BrokenFile(detail, f'positions {positions.shape}, orientations {rotations.shape}')
    poses = np.tile(np.eye(4), (len(positions), 1, 1))
    poses[:, :3, :3] = rotations.astype(np.float64) @ lens.authors_from_optical
    poses[:, :3, 3] = positions * lens.metres_per_unit
    return poses


def _dataset(path: Path, dimensions: int) -> np.ndarray:
    return read_hdf5(present(path), dimensions, 'dataset')


def _table(root: Path, base: Path, name: str) -> Path:
    for place in (root, base, base.parent):
        if (place / name).is_file():
            return place / name
    raise ImporterError(f"{root / name} is not there: copy it from the dataset's toolkit")


def _frames_of(table: Path, split: str) -> set[tuple[str, str, int]]:
    with table.open(newline='') as file:
        return {
            (row['scene_name'], row['camera_name'], int(row['frame_id']))
            for row in csv.DictReader(file)
            if row['split_partition_name'] == split
        }


IMPORTER = Importer(
    name='hypersim',
    layout='{ai_VVV_NNN/{images, _detail}/, metadata_camera_parameters.csv}',
    source='Roberts et al., Hypersim: A Photorealistic Synthetic Dataset for Holistic Indoor '
    'Scene Understanding, 2021',
    licence='CC BY-SA 3.0',
    read=frames,
    splits=('train', 'val', 'test'),
    variants=('preview', 'color'),
)
