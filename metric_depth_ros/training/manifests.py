"""Real datasets as training frames: any manifest, with depth dense or as sparse as a LiDAR's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from .. import geometry
from ..evaluation.datasets import Manifest, Sample
from .data import SHARD, write_shard
from .recipe import ManifestData


def read_frames(folder: Path, source: ManifestData, progress: Callable[[int, int], None]) -> None:
    """Write the frames of a manifest into `folder` as shards; those it has already are kept.

    Args:
        progress: called at once and after every shard, with frames done and frames in all.

    Raises:
        DatasetError: the manifest, a line of it or a file it names cannot be used.
    """
    manifest = Manifest(Path(source.manifest))
    starts = range(0, len(manifest), SHARD)
    shards = {folder / f'{number:05d}.shard': first for number, first in enumerate(starts)}
    missing = {path: first for path, first in shards.items() if not path.is_dir()}
    done = (len(shards) - len(missing)) * SHARD
    progress(min(done, len(manifest)), len(manifest))
    for path, first in missing.items():
        last = min(first + SHARD, len(manifest))
        frames = [fit(manifest[i], source.width, source.height) for i in range(first, last)]
        image, ray_distance, rays = (torch.stack(column) for column in zip(*frames, strict=True))
        write_shard(path, image, ray_distance, rays)
        done += SHARD
        progress(min(done, len(manifest)), len(manifest))


def fit(sample: Sample, width: int, height: int) -> tuple[Tensor, Tensor, Tensor]:
    """A frame resized to fit into width x height, its camera along, the rest padded.

    Returns:
        (height, width, 3) uint8 RGB, 0 in the padding; (height, width) ray_distance in metres,
        NaN where there is none; (height, width, 3) viewing rays, NaN in the padding.
    """
    camera = sample.frame.camera
    scale = min(width / camera.width, height / camera.height)
    size = max(1, round(camera.width * scale)), max(1, round(camera.height * scale))
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    small = geometry.resize_camera(camera, *size)
    placed = geometry.crop_camera(small, -left, -top, width, height)
    within = (slice(top, top + size[1]), slice(left, left + size[0]))

    image = torch.zeros(height, width, 3, dtype=torch.uint8)
    pixels = sample.frame.image.permute(2, 0, 1).float()
    resized = geometry.resize_image(pixels, *size).round().clamp(0, 255)
    image[within] = resized.to(torch.uint8).permute(1, 2, 0)

    rays = torch.full((height, width, 3), torch.nan)
    rays[within] = geometry.rays(placed)[within]
    depth = torch.full((height, width), torch.nan)
    depth[within] = pick_depth(sample.depth, *size)
    return image, geometry.ray_distance_from_depth(depth, rays), rays


def pick_depth(depth: Tensor, width: int, height: int) -> Tensor:
    """(H, W) metres, NaN where none, at width x height: picked, never blended.

    Of the known pixels that fall into a new one the nearest to its centre is taken, so that
    scattered measurements are kept as long as there is room; a map that grows repeats pixels.
    """
    high, wide = depth.shape
    if width >= wide or height >= high:
        row = ((torch.arange(height) + 0.5) * high / height).long()
        column = ((torch.arange(width) + 0.5) * wide / width).long()
        return depth[row[:, None], column]
    v, u = (~depth.isnan()).nonzero().unbind(1)
    x, y = (u + 0.5) * width / wide, (v + 0.5) * height / high
    off_centre = (x - x.floor() - 0.5) ** 2 + (y - y.floor() - 0.5) ** 2
    target = y.long() * width + x.long()
    # Sorted by target and then by distance, the first of each target is what it takes.
    order = off_centre.argsort(stable=True)
    order = order[target[order].argsort(stable=True)]
    firsts = torch.ones_like(order, dtype=torch.bool)
    firsts[1:] = target[order][1:] != target[order][:-1]
    chosen = order[firsts]
    picked = torch.full((height * width,), torch.nan)
    picked[target[chosen]] = depth[v[chosen], u[chosen]]
    return picked.view(height, width)
