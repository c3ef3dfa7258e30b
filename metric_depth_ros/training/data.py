"""Training data: frames rendered once into a folder, then drawn from it at random.

A frame costs tens of milliseconds to render and is looked at many times, so rendering and
training are apart: `render_pool` fills a folder with shards, `FramePool` maps them into memory.
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .. import geometry
from ..errors import MetricDepthError
from .batch import Batch
from .recipe import SyntheticData

SHARD = 256  # frames
_RENDER_BATCH = 16
_RAY_SCALE = 32767  # unit rays are kept as int16: 0.002 degrees


def render_pool(
    folder: Path,
    data: SyntheticData,
    split: str,
    *,
    workers: int | None = None,
    device: torch.device | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> FramePool:
    """The frames that `data` describes; what `folder` has already is not rendered again.

    Every shard has a seed of its own, so that the frames do not depend on the number of workers.

    Args:
        split: 'train' or 'heldout', see synthetic.
        workers: processes; one a core if None.
        device: that the frames are for, see FramePool.
        progress: called with frames done and frames in all.

    Raises:
        MetricDepthError: the folder holds frames of another description.
    """
    folder.mkdir(parents=True, exist_ok=True)
    about = folder / 'frames.json'
    description = {**dataclasses.asdict(data), 'split': split}
    del description['weight']  # of the training, not of the frames
    if about.is_file() and json.loads(about.read_text()) != description:
        raise MetricDepthError(
            f'{folder} holds frames of another recipe ({about.read_text().strip()}), expected '
            f'{json.dumps(description)}: choose another --out or delete the folder'
        )
    about.write_text(json.dumps(description) + '\n')
    jobs = []
    for number in range(-(-data.frames // SHARD)):
        count = min(SHARD, data.frames - number * SHARD)
        path = folder / f'{number:05d}.shard'
        if not path.is_dir():
            jobs.append((path, data, split, number, count))
    done = data.frames - sum(job[-1] for job in jobs)
    progress(done, data.frames)
    if len(jobs) == 1:  # not worth a process
        progress(done + _render_shard(*jobs[0]), data.frames)
    elif jobs:
        with ProcessPoolExecutor(
            workers or os.cpu_count(),
            mp_context=multiprocessing.get_context('spawn'),  # fork and torch do not mix
            initializer=torch.set_num_threads,
            initargs=(1,),
        ) as pool:
            for future in as_completed([pool.submit(_render_shard, *job) for job in jobs]):
                done += future.result()
                progress(done, data.frames)
    return FramePool(folder, device=device)


def pool_name(data: SyntheticData) -> str:
    """A folder's name that tells apart the frames of different sources."""
    return f'{data.scenes}-{data.frames}-{data.width}x{data.height}-seed{data.seed}'


def _render_shard(path: Path, data: SyntheticData, split: str, number: int, count: int) -> int:
    from ..synthetic import render_batch

    generator = torch.Generator().manual_seed(data.seed * 1_000_003 + number)
    images, distances, rays = [], [], []
    for start in range(0, count, _RENDER_BATCH):
        frames = render_batch(
            min(_RENDER_BATCH, count - start),
            data.width,
            data.height,
            generator,
            kind=data.scenes,
            split=split,
        )
        images.append(frames.image)
        distances.append(frames.ray_distance)
        rays.append(torch.stack([geometry.rays(camera) for camera in frames.cameras]))
    partial = path.with_suffix('.partial')
    partial.mkdir(exist_ok=True)
    np.save(partial / 'image.npy', torch.cat(images).numpy())
    np.save(partial / 'ray_distance.npy', torch.cat(distances).to(torch.float16).numpy())
    packed = (torch.cat(rays).nan_to_num(0.0) * _RAY_SCALE).round().to(torch.int16)
    np.save(partial / 'rays.npy', packed.numpy())
    partial.rename(path)
    return count


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
