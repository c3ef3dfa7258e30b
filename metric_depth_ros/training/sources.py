"""What the frames of a recipe come from: scenes that are rendered, datasets that are read.

Both become shards of one kind, once, before training; what a folder has already is kept.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import torch

from .. import geometry
from ..errors import MetricDepthError
from .data import SHARD, FramePool, write_shard
from .recipe import ManifestData, Source, SyntheticData

_RENDER_BATCH = 16

Progress = Callable[[int, int], None]


def pool_name(source: Source) -> str:
    """A folder's name that tells apart the frames of different sources."""
    size = f'{source.width}x{source.height}'
    if isinstance(source, ManifestData):
        place = hashlib.sha256(str(Path(source.manifest).resolve()).encode()).hexdigest()
        return f'{Path(source.manifest).stem}-{place[:8]}-{size}'
    less = ''.join(f'-no-{name}' for name in source.without)
    return f'{source.scenes}-{source.frames}-{size}-seed{source.seed}{less}'


def fill_pool(
    folder: Path,
    source: Source,
    split: str,
    *,
    workers: int | None = None,
    device: torch.device | None = None,
    progress: Progress = lambda done, total: None,
) -> FramePool:
    """The frames that `source` describes; what `folder` has already is not made again.

    Every shard has a seed of its own, so that the frames do not depend on the number of workers.

    Args:
        split: 'train' or 'heldout', see synthetic; a dataset is what its manifest says.
        workers: processes that render; one a core if None.
        device: that the frames are for, see FramePool.
        progress: called at once and after every shard, with frames done and frames in all.

    Raises:
        MetricDepthError: the folder holds frames of another description, or a dataset cannot be
            read: names the file.
    """
    _claim(folder, {**_description(source), 'split': split})
    if isinstance(source, ManifestData):
        from .manifests import read_frames

        read_frames(folder, source, progress)
    else:
        _render(folder, source, split, workers, progress)
    return FramePool(folder, device=device)


def _description(source: Source) -> dict[str, object]:
    """What the frames depend on, as JSON has it."""
    said = dataclasses.asdict(source)
    del said['weight']  # of the training, not of the frames
    if isinstance(source, ManifestData):
        path = Path(source.manifest)
        content = path.read_bytes() if path.is_file() else b''
        return {**said, 'manifest': hashlib.sha256(content).hexdigest()}
    if not said['without']:
        del said['without']
    return said


def _claim(folder: Path, description: dict[str, object]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    about = folder / 'frames.json'
    text = json.dumps(description)
    if not about.is_file():
        about.write_text(text + '\n')
    elif (held := about.read_text()) and json.loads(held) != json.loads(text):
        raise MetricDepthError(
            f'{folder} holds frames of another recipe ({held.strip()}), expected {text}: choose '
            f'another --out or delete the folder'
        )


def _render(
    folder: Path, source: SyntheticData, split: str, workers: int | None, progress: Progress
) -> None:
    jobs = []
    for number in range(-(-source.frames // SHARD)):
        count = min(SHARD, source.frames - number * SHARD)
        path = folder / f'{number:05d}.shard'
        if not path.is_dir():
            jobs.append((path, source, split, number, count))
    done = source.frames - sum(job[-1] for job in jobs)
    progress(done, source.frames)
    if len(jobs) == 1:  # not worth a process
        progress(done + _render_shard(*jobs[0]), source.frames)
    elif jobs:
        pool = ProcessPoolExecutor(
            workers or os.cpu_count(),
            mp_context=multiprocessing.get_context('spawn'),  # fork and torch do not mix
            initializer=torch.set_num_threads,
            initargs=(1,),
        )
        try:
            for future in as_completed([pool.submit(_render_shard, *job) for job in jobs]):
                done += future.result()
                progress(done, source.frames)
        finally:
            pool.shutdown(cancel_futures=True)


def _render_shard(path: Path, source: SyntheticData, split: str, number: int, count: int) -> int:
    from ..synthetic import render_batch
    from .switches import without

    generator = torch.Generator().manual_seed(source.seed * 1_000_003 + number)
    appearance, content = without(source.without)
    images, distances, rays = [], [], []
    for start in range(0, count, _RENDER_BATCH):
        frames = render_batch(
            min(_RENDER_BATCH, count - start),
            source.width,
            source.height,
            generator,
            kind=source.scenes,
            split=split,
            appearance=appearance,
            content=content,
        )
        images.append(frames.image)
        distances.append(frames.ray_distance)
        rays.append(torch.stack([geometry.rays(camera) for camera in frames.cameras]))
    write_shard(path, torch.cat(images), torch.cat(distances), torch.cat(rays))
    return count
