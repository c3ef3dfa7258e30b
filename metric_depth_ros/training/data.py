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
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> FramePool:
    """The frames that `data` describes; what `folder` has already is not rendered again.

    Every shard has a seed of its own, so that the frames do not depend on the number of workers.

    Args:
        split: 'train' or 'heldout', see synthetic.
        workers: processes; one a core if None.
        progress: called with frames done and frames in all.

    Raises:
        MetricDepthError: the folder holds frames of another description.
    """
    folder.mkdir(parents=True, exist_ok=True)
    about = folder / 'frames.json'
    description = {**dataclasses.asdict(data), 'split': split}
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
    return FramePool(folder)


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
    """Frames in a folder, mapped into memory; a batch of any of them is a few copies away."""

    def __init__(self, folder: Path) -> None:
        shards = sorted(folder.glob('*.shard'))
        if not shards:
            raise MetricDepthError(f'{folder} holds no frames: render them first')

        def column(name: str) -> list[np.ndarray]:
            return [np.load(shard / f'{name}.npy', mmap_mode='r') for shard in shards]

        self._image, self._ray_distance = column('image'), column('ray_distance')
        self._rays = column('rays')
        self._place = [(s, i) for s, shard in enumerate(self._image) for i in range(len(shard))]

    def __len__(self) -> int:
        return len(self._place)

    def batch(self, index: list[int], *, device: torch.device | None = None) -> Batch:
        """Frames `index` as they were rendered. See Batch for what sky is."""
        places = [self._place[i] for i in index]

        def gather(column: list[np.ndarray]) -> Tensor:
            return torch.from_numpy(np.stack([column[s][i] for s, i in places])).to(device)

        image = gather(self._image).permute(0, 3, 1, 2).float() / 127.5 - 1
        rays = gather(self._rays).permute(0, 3, 1, 2).float() / _RAY_SCALE
        ray_distance = gather(self._ray_distance).float()
        inside = rays[:, 2] > 0
        return Batch(image, rays, ray_distance, inside & torch.isfinite(ray_distance), inside)


def augment(batch: Batch, generator: torch.Generator) -> Batch:
    """Mirrors half of the images, with their rays, and jitters brightness and colour.

    The generator is the CPU's, so that a run is the same on every device.
    """
    count = len(batch.image)
    flip = torch.rand(count, generator=generator) < 0.5
    gain = 1 + 0.4 * (torch.rand(count, 3, 1, 1, generator=generator) - 0.5)
    gain = gain.mean(1, keepdim=True) + 0.3 * (gain - gain.mean(1, keepdim=True))
    lift = 0.2 * (torch.rand(count, 1, 1, 1, generator=generator) - 0.5)
    device = batch.image.device
    flip, gain, lift = flip.to(device), gain.to(device), lift.to(device)

    def mirror(value: Tensor) -> Tensor:
        shape = (count, *(1 for _ in value.shape[1:]))
        return torch.where(flip.view(shape), value.flip(-1), value)

    sign = torch.ones_like(batch.rays[:, :, :1, :1])
    sign[flip, 0] = -1
    return Batch(
        image=((mirror(batch.image) + 1) * gain + lift - 1).clamp(-1, 1),
        rays=mirror(batch.rays) * sign,
        ray_distance=mirror(batch.ray_distance),
        valid=mirror(batch.valid),
        inside=mirror(batch.inside),
    )
