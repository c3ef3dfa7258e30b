"""Views as a sequence in the layout of the TUM RGB-D benchmark, which other SLAM systems read.

    rgb/, depth/                 png; depth 16 bits, 5000 a metre along z, 0 for none
    rgb.txt, depth.txt           stamp, file (MonoGS, SplaTAM)
    associations.txt             stamp, rgb file, stamp, depth file (ORB-SLAM3)
    groundtruth.txt              stamp tx ty tz qx qy qz qw of world_from_camera
    camera.json                  fx fy cx cy width height, for everybody else
    orb_slam3.yaml, monogs.yaml, splatam.yaml, splatam.py      the camera as each of them reads it

The readers were asked what they trip over: ORB-SLAM3 takes a remark in associations.txt for a
frame, MonoGS and SplaTAM skip the first line of groundtruth.txt whatever it says and drop frames
less than 1/32 s after the one before. SplaTAM undistorts colour but not depth, and none knows
every lens model, so images and depth are rectified here and no distortion is left.
"""

from __future__ import annotations

import errno
import json
import os
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
import torch
from torch import Tensor

from .. import geometry
from ..types import Camera
from .gating import Gates, gate
from .saving import write_content
from .slam_configs import SLAM_CONFIGS
from .trajectory import TUM_HEADER, seconds, tum_line
from .view import MappingError, View

UNITS_PER_METRE = 5000
FARTHEST = 65535 / UNITS_PER_METRE  # metres that 16 bits hold

_LISTS = ('rgb.txt', 'depth.txt', 'associations.txt', 'groundtruth.txt')


class ExportError(MappingError):
    """A sequence that cannot be written: says why."""


@dataclass(frozen=True)
class Exported:
    """frames: how many were written. beyond_range: share of their pixels with depth that lie
    further than 16 bits hold, 13.1 m, and have become none."""

    frames: int
    beyond_range: float


class TumExport:
    """Writes views as they come; every one that is written stays, whatever happens next.

    Use it as a context manager, or call `close`.

    Args:
        folder: new, or empty. gates: depth that they do not trust is written as none; None to
            write all there is.

    Raises:
        ExportError: there is something in `folder`.
        OSError: it cannot be made.
    """

    def __init__(self, folder: str | Path, *, gates: Gates | None = None) -> None:
        self.folder = Path(folder)
        self._gates = gates
        self._camera: Camera | None = None
        self._stamp_ns: int | None = None
        self._frames = self._known = self._beyond = 0
        if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            raise ExportError(f'{self.folder} is there already, expected a new or empty folder')
        for name in ('rgb', 'depth'):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self._files = {name: (self.folder / name).open('wb', buffering=0) for name in _LISTS}
        _append(self._files['groundtruth.txt'], TUM_HEADER)

    def __enter__(self) -> TumExport:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> Exported:
        """Close the files; what was written."""
        for file in self._files.values():
            file.close()
        return Exported(self._frames, self._beyond / max(self._known, 1))

    def add(self, view: View) -> None:
        """Write one view; they come in order of time and are of one camera.

        Raises:
            ExportError: another camera than before, or a stamp that is not later.
            MappingError: a file cannot be written, such as on a full disk; the lists then name
                only frames that are whole.
        """
        stamp_ns = view.frame.stamp_ns
        if self._stamp_ns is not None and stamp_ns <= self._stamp_ns:
            raise ExportError(
                f'view at {seconds(stamp_ns)} s comes after {seconds(self._stamp_ns)} s, '
                'expected views in order of time'
            )
        if self._camera is None:
            _write_camera(self.folder, geometry.rectified_camera(view.frame.camera))
            self._camera = view.frame.camera
        elif view.frame.camera != self._camera:
            raise ExportError('view is of another camera than those before, expected one camera')
        image, depth = rectified(view, self._gates)
        name = f'{seconds(stamp_ns)}.png'
        _save_png(self.folder / 'rgb' / name, image.numpy()[..., ::-1])
        _save_png(self.folder / 'depth' / name, self._units(depth))
        stamp = seconds(stamp_ns)
        lines = (
            f'{stamp} rgb/{name}',
            f'{stamp} depth/{name}',
            f'{stamp} rgb/{name} {stamp} depth/{name}',
            tum_line(stamp_ns, view.world_from_camera),
        )
        for file, line in zip(self._files.values(), lines, strict=True):
            _append(file, line)
        self._stamp_ns = stamp_ns
        self._frames += 1

    def _units(self, depth: Tensor) -> np.ndarray:
        """(H, W) uint16 of depth in metres."""
        known = depth.isfinite() & (depth > 0)
        units = (torch.where(known, depth, 0.0).double() * UNITS_PER_METRE).round()
        beyond = units > 65535
        self._known += int(known.sum())
        self._beyond += int(beyond.sum())
        return torch.where(beyond, 0, units).numpy().astype(np.uint16)


def rectified(view: View, gates: Gates | None = None) -> tuple[Tensor, Tensor]:
    """(H, W, 3) uint8 and (H, W) depth in metres of a view, on the CPU, without distortion.

    Of a camera without any they are the view's own, so depth is not interpolated.

    Args:
        gates: depth that they do not trust is NaN; None for all there is.
    """
    image, depth, std = view.frame.image.cpu(), view.prediction.depth, view.prediction.std
    if gates is not None:
        trusted = gate(view.prediction, gates)
        depth, std = trusted.depth, trusted.std
    depth, std = depth.cpu(), std.cpu()
    pinhole = geometry.rectified_camera(view.frame.camera)
    if pinhole == view.frame.camera:
        return image, depth
    pixels = geometry.view_pixels(view.frame.camera, pinhole)
    planes = geometry.resample_image(image.permute(2, 0, 1).float(), pixels)
    depth, _ = geometry.resample_depth(depth, std, pixels)
    return planes.round().byte().permute(1, 2, 0), depth


def _save_png(path: Path, pixels: np.ndarray) -> None:
    """Through bytes, because cv2.imwrite does not say that a disk is full."""
    content = cv2.imencode('.png', np.ascontiguousarray(pixels))[1].tobytes()
    write_content(path, content)


def _append(file: FileIO, line: str) -> None:
    """A whole line or nothing of it."""
    before, text = file.tell(), f'{line}\n'.encode()
    try:
        if file.write(text) < len(text):  # the disk has room for a part of it
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        file.truncate(before)
        raise ExportError(f'could not write {file.name}: {error.strerror}') from error


def _write_camera(folder: Path, camera: Camera) -> None:
    values = {
        'width': camera.width,
        'height': camera.height,
        'fx': camera.fx,
        'fy': camera.fy,
        'cx': camera.cx,
        'cy': camera.cy,
        'distortion': [0.0] * 5,
        'depth_unit': f'uint16, {UNITS_PER_METRE} per metre, 0 = none',
    }
    texts = {'camera.json': json.dumps(values, indent=1) + '\n'}
    texts |= {name: text(folder.resolve(), camera) for name, text in SLAM_CONFIGS.items()}
    for name, text in texts.items():
        write_content(folder / name, text.encode())
