"""Rendered frames to disk: images and exact depth under a manifest, or a rosbag2 of a camera."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Generator, Tensor

from ..bags.reader import type_store
from ..bags.writer import BagWriter
from ..messages import (
    CameraInfoFields,
    ImageFields,
    camera_info_fields,
    depth_fields,
    image_fields,
    rosbags_message,
)
from ..types import Frame
from .lidar import lidar_mask
from .render import Rendered, render_batch
from .trajectory import SequenceFrame

WORLD, BODY = 'world', 'base_link'
IMAGE_TOPIC = '/camera/image_raw'
CAMERA_INFO_TOPIC = '/camera/camera_info'
DEPTH_TOPIC = '/camera/depth_registered/image_raw'
_BATCH = 8


def single_frames(
    kind: str,
    count: int,
    width: int,
    height: int,
    generator: Generator,
    *,
    render: Callable[..., Rendered] = render_batch,
    **options: Any,
) -> Iterator[SequenceFrame]:
    """`count` frames, each of a scene and with a camera of its own.

    Args:
        render: render_batch or render_fields_batch; options: of it.
    """
    for start in range(0, count, _BATCH):
        size = min(_BATCH, count - start)
        batch = render(size, width, height, generator, kind=kind, **options)
        for i in range(size):
            yield SequenceFrame(
                Frame(batch.image[i].cpu(), batch.cameras[i], (start + i) * 1_000_000_000),
                batch.depth[i].cpu(),
                batch.ray_distance[i].cpu(),
                batch.world_from_camera[i].cpu().double(),
            )


def like_lidar(
    frames: Iterable[SequenceFrame], share: float, generator: Generator
) -> Iterator[SequenceFrame]:
    """The frames with depth only where a LiDAR would measure it: `share` of the pixels at most."""
    for frame in frames:
        kept = lidar_mask(frame.frame.camera, frame.ray_distance, generator, share=share)
        nowhere = torch.full_like(frame.depth, torch.nan)
        yield SequenceFrame(
            frame.frame,
            torch.where(kept, frame.depth, nowhere),
            torch.where(kept, frame.ray_distance, nowhere),
            frame.world_from_camera,
        )


def write_manifest(frames: Iterable[SequenceFrame], folder: Path, sequence: str) -> Iterator[int]:
    """Write PNG images, float32 z-depth as .npy and manifest.jsonl; yields the count so far.

    Depth is +inf for the sky and NaN where it is not known.

    Args:
        sequence: what the manifest calls the sequence the frames belong to; '' of separate ones.
    """
    for name in ('rgb', 'depth'):
        (folder / name).mkdir(parents=True, exist_ok=True)
    partial = folder / 'manifest.jsonl.partial'
    with partial.open('w') as manifest:
        for number, item in enumerate(frames):
            image, depth = f'rgb/{number:06d}.png', f'depth/{number:06d}.npy'
            cv2.imwrite(str(folder / image), item.frame.image.numpy()[..., ::-1])
            np.save(folder / depth, item.depth.numpy())
            line = {
                'image': image,
                'depth': depth,
                'depth_scale': 1.0,
                'depth_kind': 'z',
                'camera': asdict(item.frame.camera),
                'mask': None,
                'pose': item.world_from_camera.flatten().tolist(),
                'stamp': item.frame.stamp_ns / 1e9,
                'sequence': sequence,
            }
            manifest.write(json.dumps(line) + '\n')
            yield number + 1
    partial.replace(folder / 'manifest.jsonl')


def write_bag(frames: Iterable[SequenceFrame], path: Path) -> Iterator[int]:
    """Write a rosbag2 (MCAP) as a robot would record it; yields the count so far.

    Topics: the image, its camera_info, true depth (32FC1), /tf (world -> base_link ->
    the optical frame) and /odom of base_link, which looks along its x (REP 103, 105).
    """
    with BagWriter(path, author='metric-depth render') as bag:
        previous: tuple[int, Tensor] | None = None
        for number, item in enumerate(frames):
            stamp_ns, frame_id = item.frame.stamp_ns, item.frame.frame_id
            world_from_body = item.world_from_camera @ _camera_from_body()
            header = _header(stamp_ns, frame_id)
            outgoing: dict[str, ImageFields | CameraInfoFields] = {
                IMAGE_TOPIC: image_fields(item.frame.image),
                CAMERA_INFO_TOPIC: camera_info_fields(item.frame.camera),
                DEPTH_TOPIC: depth_fields(item.depth),
            }
            for topic, fields in outgoing.items():
                message = rosbags_message(fields, header, type_store().types)
                bag.write(topic, f'sensor_msgs/msg/{fields.ros_type}', stamp_ns, message)
            body_from_camera = torch.linalg.inv(_camera_from_body())
            transforms = [
                _transform(stamp_ns, WORLD, BODY, world_from_body),
                _transform(stamp_ns, BODY, frame_id, body_from_camera),
            ]
            types = type_store().types
            tf = types['tf2_msgs/msg/TFMessage'](transforms=transforms)
            bag.write('/tf', 'tf2_msgs/msg/TFMessage', stamp_ns, tf)
            odometry = _odometry(stamp_ns, world_from_body, previous)
            bag.write('/odom', 'nav_msgs/msg/Odometry', stamp_ns, odometry)
            previous = stamp_ns, world_from_body
            yield number + 1


# --- poses as messages ------------------------------------------------------------------------


def _camera_from_body() -> Tensor:
    """(4, 4) float64: body x forward, y left, z up; camera x right, y down, z forward."""
    return torch.tensor(
        [[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], dtype=torch.float64
    )


def quaternion(rotation: Tensor) -> tuple[float, float, float, float]:
    """(x, y, z, w) of a rotation matrix (3, 3): through the axis of its largest component."""
    r = rotation.double().tolist()
    trace = r[0][0] + r[1][1] + r[2][2]
    squares = [1 + 2 * r[i][i] - trace for i in range(3)] + [1 + trace]  # 4 x^2, y^2, z^2, w^2
    largest = max(range(4), key=squares.__getitem__)
    if largest == 3:
        parts = [r[2][1] - r[1][2], r[0][2] - r[2][0], r[1][0] - r[0][1], squares[3]]
    else:
        i, j, k = largest, (largest + 1) % 3, (largest + 2) % 3
        parts = [0.0, 0.0, 0.0, r[k][j] - r[j][k]]
        parts[i], parts[j], parts[k] = squares[i], r[j][i] + r[i][j], r[k][i] + r[i][k]
    norm = sum(part * part for part in parts) ** 0.5
    x, y, z, w = (part / norm for part in parts)
    return x, y, z, w


def _header(stamp_ns: int, frame_id: str) -> Any:
    types = type_store().types
    stamp = types['builtin_interfaces/msg/Time'](*divmod(stamp_ns, 1_000_000_000))
    return types['std_msgs/msg/Header'](stamp, frame_id)


def _vector(values: Tensor, kind: str = 'Vector3') -> Any:
    return type_store().types[f'geometry_msgs/msg/{kind}'](*values.tolist())


def _quaternion(rotation: Tensor) -> Any:
    return type_store().types['geometry_msgs/msg/Quaternion'](*quaternion(rotation))


def _transform(stamp_ns: int, parent: str, child: str, pose: Tensor) -> Any:
    types = type_store().types
    transform = types['geometry_msgs/msg/Transform'](_vector(pose[:3, 3]), _quaternion(pose))
    return types['geometry_msgs/msg/TransformStamped'](_header(stamp_ns, parent), child, transform)


def _odometry(stamp_ns: int, pose: Tensor, previous: tuple[int, Tensor] | None) -> Any:
    """Pose of the body in the world, and its velocity since `previous` in its own frame."""
    types = type_store().types
    linear = angular = torch.zeros(3, dtype=torch.float64)
    if previous is not None:
        seconds = (stamp_ns - previous[0]) / 1e9
        motion = torch.linalg.inv(pose) @ previous[1]  # where it was, seen from where it is
        linear = -motion[:3, 3] / seconds
        x, y, z, w = quaternion(motion[:3, :3])
        angle = 2 * torch.atan2(torch.tensor((x, y, z)).norm(), torch.tensor(w))
        axis = torch.tensor((x, y, z), dtype=torch.float64)
        angular = -axis / axis.norm().clamp_min(1e-12) * angle / seconds
    place = types['geometry_msgs/msg/Pose'](
        _vector(pose[:3, 3], 'Point'), _quaternion(pose[:3, :3])
    )
    exact = np.zeros(36)
    return types['nav_msgs/msg/Odometry'](
        _header(stamp_ns, WORLD),
        BODY,
        types['geometry_msgs/msg/PoseWithCovariance'](place, exact),
        types['geometry_msgs/msg/TwistWithCovariance'](
            types['geometry_msgs/msg/Twist'](_vector(linear), _vector(angular)), exact
        ),
    )
