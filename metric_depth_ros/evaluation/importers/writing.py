"""What importers find, written as a manifest; what they could not use, told by name."""

from __future__ import annotations

import dataclasses
import json
import os
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from ...errors import MetricDepthError
from ..datasets import read_sample
from .entry import Entry, Problem

# The end-of-image marker is the end of a JPEG but for what some cameras pad it with.
_TAIL = 4096


@dataclass(frozen=True)
class _Files:
    """The files of an entry, all on disk."""

    image: Path
    depth: Path
    mask: Path | None
    edges: Path | None

    def all(self) -> list[Path]:
        return [path for path in (self.image, self.depth, self.mask, self.edges) if path]


def write_manifest(
    found: Iterable[Entry | Problem], out: Path, *, check: bool = True
) -> Iterator[Entry | Problem]:
    """Write `out` line by line; yields each frame once it is written, or why it is not.

    Arrays go to a folder beside `out`: NAME_files/ of NAME.jsonl. The manifest appears when all
    is done and at least one frame could be used; before that it is `out` with .part added.

    check: read every image and depth map as an evaluation will, so that no broken file is found
        only then; False looks only whether they are there.

    Raises:
        OSError: `out` cannot be written.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(out.name + '.part')
    frames = 0
    try:
        with part.open('w') as manifest:
            for item in found:
                problem = item if isinstance(item, Problem) else None
                if isinstance(item, Entry):
                    files = _files(item, out.with_name(f'{out.stem}_files'))
                    line = _line(item, files, out.parent)
                    problem = _problem(files, line, out.parent, check=check)
                    if problem is None:
                        manifest.write(json.dumps(line) + '\n')
                        frames += 1
                yield item if problem is None else problem
        if frames:
            part.replace(out)
    finally:
        part.unlink(missing_ok=True)


def _files(entry: Entry, folder: Path) -> _Files:
    """Where the files of `entry` are; its arrays are written below `folder`."""

    def place(kind: str, ending: str) -> Path:
        path = folder / kind / f'{entry.name}{ending}'
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    image, depth = entry.image, entry.depth
    if isinstance(image, np.ndarray):
        image = _save_png(place('image', '.png'), image[..., ::-1])
    if isinstance(depth, np.ndarray):
        if depth.dtype == np.uint16:
            depth = _save_png(place('depth', '.png'), depth)
        else:
            depth = _save_npz(place('depth', '.npz'), depth)
    pictures = []
    for kind in ('mask', 'edges'):
        picture = getattr(entry, kind)
        if isinstance(picture, np.ndarray):
            picture = _save_png(place(kind, '.png'), picture.astype(np.uint8) * 255)
        pictures.append(picture)
    return _Files(image, depth, *pictures)


def _save_png(path: Path, pixels: np.ndarray) -> Path:
    if not cv2.imwrite(str(path), np.ascontiguousarray(pixels)):
        raise OSError(f'{path} cannot be written')
    return path


def _save_npz(path: Path, depth: np.ndarray) -> Path:
    """As np.savez_compressed, at its fastest: sparse depth shrinks well and maps are large."""
    with (
        zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open('depth.npy', 'w', force_zip64=True) as file,
    ):
        np.lib.format.write_array(file, np.ascontiguousarray(depth, dtype=np.float32))
    return path


def _problem(files: _Files, line: dict[str, Any], folder: Path, *, check: bool) -> Problem | None:
    """What is wrong with the frame of a line of a manifest in `folder`, if anything."""
    for path in files.all():
        if not path.is_file():
            return Problem(path, 'is not there')
    if not check:
        return None
    try:
        sample = read_sample(folder, line)
    except (MetricDepthError, OSError) as error:
        return Problem(files.image, str(error))
    if _is_cut_off(files.image):
        return Problem(files.image, 'is a JPEG that breaks off before its end')
    if not torch.isfinite(sample.depth).any():
        return Problem(files.depth, 'has no pixel with depth')
    return None


def _is_cut_off(path: Path) -> bool:
    """Whether a JPEG lacks its end, which OpenCV makes up in grey without an error."""
    if path.suffix.lower() not in ('.jpg', '.jpeg'):
        return False
    with path.open('rb') as file:
        file.seek(max(path.stat().st_size - _TAIL, 0))
        return b'\xff\xd9' not in file.read()


def _line(entry: Entry, files: _Files, folder: Path) -> dict[str, Any]:
    """The line of a manifest in `folder`; keys that few datasets need only where they say it."""

    def relative(path: Path | None) -> str | None:
        return None if path is None else os.path.relpath(path.resolve(), folder.resolve())

    line = {
        'image': relative(files.image),
        'depth': relative(files.depth),
        'depth_scale': entry.depth_scale,
        'depth_kind': entry.depth_kind,
        'camera': dataclasses.asdict(entry.camera),
        'mask': relative(files.mask),
        'pose': None if entry.pose is None else np.asarray(entry.pose, float).flatten().tolist(),
        'stamp': entry.stamp,
        'sequence': entry.sequence,
    }
    if entry.depth_max is not None:
        line['depth_max'] = entry.depth_max
    if entry.disparity_offset:
        line['disparity_offset'] = entry.disparity_offset
    if files.edges is not None:
        line['edges'] = relative(files.edges)
    return line
