"""A box on a floor, measured on a mesh: what anything that fuses depth must get right."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from metric_depth_ros.mapping import View
from metric_depth_ros.mapping.mesh import Mesh
from metric_depth_ros.types import Camera, DepthPrediction, Frame

_ALIGNED = 0.9  # cosine between a face's normal and a triangle's
_NEAR = 0.15  # metres around where a face is expected; ten times what is allowed


@dataclass(frozen=True)
class Box:
    """centre (x, y, z), yaw in radians, half the edges; metres in a world where z is up."""

    centre: tuple[float, float, float]
    yaw: float
    half: tuple[float, float, float]


@dataclass(frozen=True)
class Measured:
    """Metres. floor_area: square metres of floor that were seen within 1 m of the box."""

    floor: float
    floor_low: float  # 5 % of the floor lie below, and 5 % above floor_high
    floor_high: float
    floor_area: float
    top: float
    length: float
    width: float

    def __str__(self) -> str:
        return (
            f'floor {self.floor * 100:+.2f} cm ({self.floor_low * 100:+.2f} to '
            f'{self.floor_high * 100:+.2f}, {self.floor_area:.1f} m2), top {self.top:.4f} m, '
            f'length {self.length:.4f} m, width {self.width:.4f} m'
        )


def measure(mesh: Mesh, box: Box) -> Measured:
    """Floor and box as the area-weighted median of the triangles that face the right way."""
    corners = mesh.vertices.double()[mesh.triangles]
    a, b, c = corners.unbind(1)
    across = torch.linalg.cross(b - a, c - a)
    area = across.norm(dim=-1) / 2
    place = corners.mean(1)
    cosine, sine = math.cos(box.yaw), math.sin(box.yaw)
    turn = torch.tensor(((cosine, sine, 0), (-sine, cosine, 0), (0, 0, 1)), dtype=torch.float64)
    local = (place - torch.tensor(box.centre, dtype=torch.float64)) @ turn.T
    normal = across / (2 * area).clamp_min(1e-12)[:, None] @ turn.T
    half = torch.tensor(box.half, dtype=torch.float64)
    up = normal[:, 2] > _ALIGNED
    beside = (local[:, :2].abs() - half[:2]).clamp_min(0).norm(dim=-1)

    floor = up & (beside > 0.05) & (beside < 1) & (place[:, 2].abs() < _NEAR)
    top = up & (local[:, :2].abs() < half[:2] - 0.03).all(-1)
    top &= (local[:, 2] - half[2]).abs() < _NEAR

    def quantile(values: Tensor, chosen: Tensor, share: float) -> float:
        if not chosen.any():
            return math.nan  # a face that nobody saw
        order = values[chosen].argsort()
        part = area[chosen][order].cumsum(0)
        return float(values[chosen][order][torch.searchsorted(part, share * part[-1])])

    def edge(axis: int) -> float:
        other = 1 - axis
        ends = []
        for side in (-1.0, 1.0):
            face = (normal[:, axis] * side > _ALIGNED) & (local[:, 2].abs() < half[2] - 0.05)
            face &= local[:, other].abs() < half[other] - 0.05
            face &= (local[:, axis] - side * half[axis]).abs() < _NEAR
            ends.append(quantile(local[:, axis], face, 0.5))
        return ends[1] - ends[0]

    height = place[:, 2]
    return Measured(
        floor=quantile(height, floor, 0.5),
        floor_low=quantile(height, floor, 0.05),
        floor_high=quantile(height, floor, 0.95),
        floor_area=float(area[floor].sum()),
        top=quantile(height, top, 0.5),
        length=edge(0),
        width=edge(1),
    )


def read_box(folder: Path) -> Box:
    """The true box of the sequence fr3/cabinet."""
    box = json.loads((folder / 'camera.json').read_text())['object_box']
    return Box(tuple(box['centre']), box['yaw'], tuple(box['half_extent']))


def views(folder: Path, every: int = 1) -> Iterator[View]:
    """Frames with the sensor's depth, its usual deviation, and motion capture's poses.

    The deviation grows as 1.425 mm times depth squared: Khoshelham and Elberink, "Accuracy and
    Resolution of Kinect Depth Data" (Sensors 2012).
    """
    described = json.loads((folder / 'camera.json').read_text())
    camera = Camera(*(described[name] for name in ('fx', 'fy', 'cx', 'cy', 'width', 'height')))
    poses = {row[0]: [float(value) for value in row[1:]] for row in _rows(folder, 'groundtruth')}
    for stamp, image, depth in _rows(folder, 'associations')[::every]:
        colours = cv2.cvtColor(cv2.imread(str(folder / image)), cv2.COLOR_BGR2RGB)
        raw = cv2.imread(str(folder / depth), cv2.IMREAD_UNCHANGED).astype(np.float32)
        metres = torch.from_numpy(np.where(raw > 0, raw / 5000, np.float32('nan')))
        frame = Frame(torch.from_numpy(colours), camera, int(float(stamp) * 1e9))
        yield View(
            frame, DepthPrediction(metres, 1.425e-3 * metres**2, camera), _pose(poses[stamp])
        )


def _rows(folder: Path, name: str) -> list[list[str]]:
    lines = (folder / f'{name}.txt').read_text().splitlines()
    return [line.split() for line in lines if not line.startswith('#')]


def _pose(row: list[float]) -> Tensor:
    x, y, z, w = np.array(row[3:]) / np.linalg.norm(row[3:])
    angle = 2 * math.atan2(math.sqrt(x * x + y * y + z * z), w)
    axis = np.array((x, y, z)) / max(np.linalg.norm((x, y, z)), 1e-12)
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = torch.from_numpy(cv2.Rodrigues(angle * axis)[0])
    pose[:3, 3] = torch.tensor(row[:3], dtype=torch.float64)
    return pose
