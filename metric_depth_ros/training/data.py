"""Training frames on disk: shards in a folder, mapped into memory.

A frame costs tens of milliseconds to render or to read and is looked at many times, so preparing
frames (see sources) and training on them are apart.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import MetricDepthError
from .batch import Batch

SHARD = 256  # frames
_RAY_SCALE = 32767  # unit rays are kept as int16: 0.002 degrees


def write_shard(path: Path, image: Tensor, ray_distance: Tensor, rays: Tensor) -> None:
    """Write frames of one size as the folder `path`, which appears when all is there.

    Args:
        image: (N, h, w, 3) uint8 RGB.
        ray_distance: (N, h, w) metres; +inf for sky, NaN where there is no ground truth.
        rays: (N, h, w, 3) unit viewing rays; NaN, or 0, where a pixel has none.
    """
    partial = path.with_suffix(f'.partial-{os.getpid()}')
    partial.mkdir(exist_ok=True)
    np.save(partial / 'image.npy', image.numpy())
    np.save(partial / 'ray_distance.npy', ray_distance.to(torch.float16).numpy())
    packed = (rays.nan_to_num(0.0) * _RAY_SCALE).round().to(torch.int16)
    np.save(partial / 'rays.npy', packed.numpy())
    if path.is_dir():  # another run that shares the folder was faster
        shutil.rmtree(partial)
    else:
        partial.rename(path)


class FramePool:
    """Frames in a folder; a batch of any of them is a few copies away.

    Mapped into memory for the CPU; for another device all of them are loaded onto it, because
    there a step takes no longer than gathering its frames would.
    """

    def __init__(self, folder: Path, *, device: torch.device | None = None) -> None:
        shards = sorted(folder.glob('*.shard'))
        if not shards:
            raise MetricDepthError(f'{folder} holds no frames: render them first')
        self._image = _Column(shards, 'image', device)
        self._ray_distance = _Column(shards, 'ray_distance', device)
        self._rays = _Column(shards, 'rays', device)

    def __len__(self) -> int:
        return len(self._image)

    def batch(self, index: list[int], *, device: torch.device | None = None) -> Batch:
        """Frames `index` as they were rendered. See Batch for what sky is."""
        image = self._image[index].to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
        rays = self._rays[index].to(device).permute(0, 3, 1, 2).float() / _RAY_SCALE
        ray_distance = self._ray_distance[index].to(device).float()
        inside = rays[:, 2] > 0
        return Batch(image, rays, ray_distance, inside & torch.isfinite(ray_distance), inside)


class _Column:
    """One array of all shards, as if they were one."""

    def __init__(self, shards: list[Path], name: str, device: torch.device | None) -> None:
        self._parts = [np.load(shard / f'{name}.npy', mmap_mode='r') for shard in shards]
        self._place = [(s, i) for s, part in enumerate(self._parts) for i in range(len(part))]
        self._loaded: Tensor | None = None
        if device is not None and device.type != 'cpu':
            parts = [torch.from_numpy(np.array(part)).to(device) for part in self._parts]
            self._loaded = torch.cat(parts)

    def __len__(self) -> int:
        return len(self._place)

    def __getitem__(self, index: list[int]) -> Tensor:
        if self._loaded is not None:
            return self._loaded[torch.tensor(index, device=self._loaded.device)]
        places = [self._place[i] for i in index]
        return torch.from_numpy(np.stack([self._parts[s][i] for s, i in places]))
