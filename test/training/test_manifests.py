"""Datasets as training frames: cameras follow the resizing, depth is picked and never blended."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from metric_depth_ros import geometry
from metric_depth_ros.errors import MetricDepthError
from metric_depth_ros.evaluation.datasets import DatasetError, Manifest
from metric_depth_ros.training.loop import Progress, train
from metric_depth_ros.training.manifests import fit, pick_depth
from metric_depth_ros.training.recipe import ManifestData, SyntheticData, load_recipe
from metric_depth_ros.training.sources import fill_pool

CAMERA = {'fx': 100.0, 'fy': 101.0, 'cx': 60.2, 'cy': 40.7, 'width': 120, 'height': 90,
          'distortion_model': 'plumb_bob', 'distortion': [-0.1, 0.02, 0.001, 0.0]}  # fmt: skip


def write_dataset(folder: Path, frames: int = 3, share: float = 0.05) -> Path:
    """A tilted wall, z = 3 + 0.01 u metres, seen at a few pixels; colours say where a pixel is."""
    random = np.random.default_rng(0)
    v, u = np.mgrid[0:90, 0:120]
    lines = []
    for i in range(frames):
        colours = np.stack((u * 2, v * 2, np.full_like(u, 10 * i)), axis=-1).astype(np.uint8)
        cv2.imwrite(str(folder / f'{i}.png'), colours[..., ::-1])
        depth = ((3 + 0.01 * u) / 0.0002).round().astype(np.uint16)
        depth[random.random(depth.shape) >= share] = 0
        cv2.imwrite(str(folder / f'{i}_depth.png'), depth)
        entry = {'image': f'{i}.png', 'depth': f'{i}_depth.png', 'depth_scale': 0.0002}
        lines.append(json.dumps({**entry, 'camera': CAMERA}))
    path = folder / 'manifest.jsonl'
    path.write_text('\n'.join(lines) + '\n')
    return path


def test_a_frame_keeps_its_geometry_when_it_is_made_to_fit(tmp_path: Path) -> None:
    sample = Manifest(write_dataset(tmp_path))[1]
    image, ray_distance, rays = fit(sample, 64, 64)  # 64 x 48 and padding above and below
    assert image.shape == (64, 64, 3)
    padding = torch.ones(64, 64, dtype=torch.bool)
    padding[8:56] = False
    assert torch.equal(rays[..., 0].isnan(), padding)
    assert ray_distance[padding].isnan().all()
    # Colours tell which pixel of the original is shown, and its camera which ray that has.
    shown = image[10:54, 2:62].float()[..., :2] / 2
    expected = geometry.directions(shown, sample.frame.camera)
    torch.testing.assert_close(rays[10:54, 2:62], expected, atol=6e-3, rtol=0)
    # The truth still lies on the wall, to within half a pixel of the original.
    z = ray_distance * rays[..., 2]
    seen = z.isfinite()
    column = (torch.arange(64) + 0.5) * 120 / 64 - 0.5
    wall = (3 + 0.01 * column).expand(64, -1)
    torch.testing.assert_close(z[seen], wall[seen], atol=0.011, rtol=0)


@pytest.mark.parametrize('size', [(60, 45), (53, 31), (30, 22)])
def test_sparse_depth_is_kept_as_long_as_there_is_room_and_never_blended(
    size: tuple[int, int],
) -> None:
    generator = torch.Generator().manual_seed(0)
    depth = 1 + torch.rand(90, 120, generator=generator)
    depth[torch.rand(90, 120, generator=generator) > 0.03] = torch.nan
    width, height = size
    picked = pick_depth(depth, width, height)
    values = depth[~depth.isnan()].tolist()
    places = (~depth.isnan()).nonzero().tolist()
    known = {round(z, 6): tuple(place) for z, place in zip(values, places, strict=True)}
    cells = set()
    for v, u in known.values():
        cells.add((int((v + 0.5) * height / 90), int((u + 0.5) * width / 120)))
    filled = (~picked.isnan()).nonzero().tolist()
    assert {(row, column) for row, column in filled} == cells
    for row, column in filled:
        v, u = known[round(picked[row, column].item(), 6)]
        y, x = (v + 0.5) * height / 90, (u + 0.5) * width / 120
        assert (int(y), int(x)) == (row, column)
        chosen = (y - row - 0.5) ** 2 + (x - column - 0.5) ** 2
        for b, a in known.values():  # no known pixel of the cell is nearer to its centre
            y, x = (b + 0.5) * height / 90, (a + 0.5) * width / 120
            if (int(y), int(x)) == (row, column):
                assert chosen <= (y - row - 0.5) ** 2 + (x - column - 0.5) ** 2 + 1e-5


def test_dense_depth_is_what_opencv_picks() -> None:
    depth = torch.rand(90, 120, generator=torch.Generator().manual_seed(1)) + 1
    for size in ((40, 30), (240, 180), (120, 90)):
        expected = cv2.resize(depth.numpy(), size, interpolation=cv2.INTER_NEAREST_EXACT)
        assert np.array_equal(pick_depth(depth, *size).numpy(), expected)
    depth[0, 0] = torch.inf  # sky is known
    assert pick_depth(depth, 120, 90)[0, 0].isposinf()


def test_a_pool_of_a_dataset(tmp_path: Path) -> None:
    manifest = write_dataset(tmp_path)
    source = ManifestData(str(manifest), 64, 64)
    pool = fill_pool(tmp_path / 'pool', source, 'train')
    assert len(pool) == 3
    batch = pool.batch([2, 0])
    assert batch.image[0, 2, 32, 32] * 127.5 + 127.5 == pytest.approx(20, abs=1)
    # Of 3.5 pixels that make one, 1 - 0.95 ** 3.5 = 16 % hold a measurement; 3 / 4 are inside.
    assert batch.valid.float().mean().item() == pytest.approx(0.75 * 0.165, abs=0.02)
    assert batch.inside.float().mean() == pytest.approx(0.75)
    assert not (batch.valid & ~batch.inside).any()
    written = (tmp_path / 'pool' / '00000.shard' / 'image.npy').stat().st_mtime_ns
    fill_pool(tmp_path / 'pool', source, 'train')
    assert (tmp_path / 'pool' / '00000.shard' / 'image.npy').stat().st_mtime_ns == written
    manifest.write_text(manifest.read_text().splitlines()[0] + '\n')
    with pytest.raises(MetricDepthError, match='holds frames of another recipe'):
        fill_pool(tmp_path / 'pool', source, 'train')


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('{"image": "0.png"}', r"manifest.jsonl, line 2: 'depth' is missing"),
        ('nothing', r'manifest.jsonl, line 2: not a frame in JSON'),
        (json.dumps({'image': 'x.png', 'depth': '0_depth.png', 'camera': CAMERA}),
         r'manifest.jsonl, line 2: .*x.png is not there'),
    ],
    ids=['lacking', 'not JSON', 'no file'],
)  # fmt: skip
def test_malformed_entries_name_file_and_line(tmp_path: Path, line: str, message: str) -> None:
    manifest = write_dataset(tmp_path, frames=1)
    manifest.write_text(manifest.read_text() + line + '\n')
    with pytest.raises(DatasetError, match=message):
        fill_pool(tmp_path / 'pool', ManifestData(str(manifest), 64, 64), 'train')
    assert not list((tmp_path / 'pool').glob('*.shard'))


def test_a_manifest_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r'none.jsonl: there is no such manifest'):
        fill_pool(tmp_path / 'pool', ManifestData(str(tmp_path / 'none.jsonl'), 64, 64), 'train')


def test_a_dataset_is_read_in_as_many_legs_as_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A leg without time reads one shard, so that many of them come to an end."""
    monkeypatch.setattr('metric_depth_ros.training.manifests.SHARD', 1)
    dataset = ManifestData(str(write_dataset(tmp_path)), 64, 64)
    small = load_recipe('grin-small')
    validation = SyntheticData(2, 64, 32, 'indoor', 1)
    recipe = dataclasses.replace(
        small, data=(dataset,), validation=validation, width=64, height=64, batch_size=3,
        stages=(), accumulate=1,
    )  # fmt: skip
    shown: list[Progress] = []
    for leg in range(3):
        before = len(list((tmp_path / 'run').glob('frames/train-*/*.shard')))
        assert before == leg
        if leg < 2:
            done = train(recipe, tmp_path / 'run', resume=True, max_minutes=0, show=shown.append)
            assert done is None
    pool = fill_pool(next((tmp_path / 'run' / 'frames').glob('train-*')), dataset, 'train')
    assert len(pool) == 3
    blue = (pool.batch([0, 1, 2]).image[:, 2, 32, 32] + 1) * 127.5
    assert blue.tolist() == pytest.approx([0, 10, 20], abs=1)
    counts = [(p.done, p.total) for p in shown]
    assert counts == [(0, 3), (1, 3), (1, 3), (2, 3)]
