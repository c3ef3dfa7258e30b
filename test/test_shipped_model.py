"""The model that ships: better than trivial on unseen scenes, and metric through its camera."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from metric_depth_ros import Camera, Frame, geometry, load_predictor
from metric_depth_ros.evaluation.evaluation import (
    DEFAULT_PROTOCOLS,
    EvaluatedFrame,
    Evaluation,
    all_results,
)
from metric_depth_ros.evaluation.frame_scores import score_frame
from metric_depth_ros.evaluation.metrics import PLAIN
from metric_depth_ros.evaluation.results import Result
from metric_depth_ros.predictor import Predictor
from metric_depth_ros.synthetic import make_scenes, random_pose, render, render_batch

FRAMES = 32

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def predictor() -> Predictor:
    return load_predictor(device='cpu')


@pytest.fixture(scope='module')
def results(predictor: Predictor) -> dict[str, Result]:
    """On held-out scenes: textures, layouts and fields of view that training never shows."""
    batch = render_batch(FRAMES, 128, 96, torch.Generator().manual_seed(77), split='heldout')
    frames = []
    for image, camera, depth, valid in zip(
        batch.image, batch.cameras, batch.depth, batch.valid, strict=True
    ):
        found, truth = predictor(Frame(image, camera)), torch.where(valid, depth, torch.nan)
        scored = score_frame(found.depth, found.std, truth, camera, DEFAULT_PROTOCOLS)
        frames.append(EvaluatedFrame(str(len(frames)), scored))
    evaluation = Evaluation('ours', 'held out', DEFAULT_PROTOCOLS, tuple(frames))
    return {r.model: r for r in all_results([evaluation]) if r.protocol == 'plain'}


@pytest.mark.parametrize('baseline', ['best constant', 'median depth', 'per-row mean'])
def test_it_clearly_beats_what_knows_no_image(results: dict[str, Result], baseline: str) -> None:
    ours, trivial = results['ours'].metrics, results[baseline].metrics
    assert ours.coverage == 1
    assert ours.rmse_log < 0.95 * trivial.rmse_log
    assert ours.silog < 0.95 * trivial.silog
    assert ours.delta1 > 1.2 * trivial.delta1


def view(camera: Camera, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Image and true depth of a scene of `seed`, from a place that does not depend on camera."""
    generator = torch.Generator().manual_seed(seed)
    scene = make_scenes('indoor', 1, generator)
    place = random_pose(scene, generator)
    found = render(scene, [camera], place, torch.Generator().manual_seed(0))
    return found.image[0], found.depth[0]


def test_depth_stays_when_only_the_focal_length_changes(predictor: Predictor) -> None:
    """The same room through a longer lens is as far away as before."""
    wide = Camera(80, 80, 63.5, 47.5, 128, 96)
    long = replace(wide, fx=120.0, fy=120.0)
    change = []
    for seed in range(12):
        image, _ = view(wide, seed)
        long_image, _ = view(long, seed)
        depth = predictor(Frame(image, wide)).depth
        long_depth = predictor(Frame(long_image, long)).depth
        seen_by_both = geometry.view_pixels(wide, long)  # where the wide one sees the same
        same, _ = geometry.resample_depth(depth, depth, seen_by_both)
        change.append((long_depth / same).log().nanmedian())
    assert abs(float(torch.stack(change).median())) < math.log(1.1)


def test_a_wrong_focal_length_gives_a_wrong_scale(predictor: Predictor) -> None:
    """Told that the lens is 1.5 times as long, the same picture must lie farther away."""
    camera = Camera(80, 80, 63.5, 47.5, 128, 96)
    wrong = replace(camera, fx=120.0, fy=120.0)
    ratios = []
    for seed in range(12):
        image, _ = view(camera, seed)
        right, told = (predictor(Frame(image, c)).depth for c in (camera, wrong))
        ratios.append((told / right).nanmedian())
    assert float(torch.stack(ratios).median()) > 1.15


def test_the_error_bar_is_positive_and_grows_with_the_error(predictor: Predictor) -> None:
    batch = render_batch(8, 128, 96, torch.Generator().manual_seed(5), split='heldout')
    inside = total = 0
    for image, camera, depth, valid in zip(
        batch.image, batch.cameras, batch.depth, batch.valid, strict=True
    ):
        prediction = predictor(Frame(image, camera))
        at = valid & torch.isfinite(prediction.depth)
        assert bool((prediction.std[at] > 0).all())
        assert bool(torch.isfinite(prediction.std[at]).all())
        inside += int(((prediction.depth - depth).abs() < prediction.std)[at].sum())
        total += int(at.sum())
    assert 0.4 < inside / total < 0.95  # one sigma; eight frames are few


def relative_std(predictor: Predictor, images: torch.Tensor, cameras: tuple[Camera, ...]) -> float:
    """Mean of std / depth over all pixels that have both."""
    shares = []
    for image, camera in zip(images, cameras, strict=True):
        prediction = predictor(Frame(image, camera))
        share = prediction.std / prediction.depth
        shares.append(share[torch.isfinite(share)])
    return float(torch.cat(shares).mean())


def test_what_is_no_scene_at_all_has_a_larger_error_bar(predictor: Predictor) -> None:
    """Noise, and one grey all over, against rooms."""
    generator = torch.Generator().manual_seed(6)
    batch = render_batch(16, 128, 96, generator, kind='indoor', split='heldout')
    known = relative_std(predictor, batch.image, batch.cameras)
    few = (4, *batch.image.shape[1:])  # they look all the same
    noise = torch.randint(0, 256, few, generator=generator, dtype=torch.uint8)
    assert relative_std(predictor, noise, batch.cameras[:4]) > 2 * known
    grey = torch.full(few, 128, dtype=torch.uint8)
    assert relative_std(predictor, grey, batch.cameras[:4]) > 2 * known


@pytest.mark.parametrize('fov_deg', [75, 100])
def test_a_fisheye_costs_little(predictor: Predictor, fov_deg: int) -> None:
    """The same places through a pinhole and through an equidistant lens of that field of view."""
    half = math.radians(fov_deg) / 2
    pinhole = Camera(64 / math.tan(half), 64 / math.tan(half), 63.5, 47.5, 128, 96)
    fisheye = replace(
        pinhole, fx=64 / half, fy=64 / half, distortion_model='equidistant', distortion=(0.0,) * 4
    )
    scenes = make_scenes('both', 24, torch.Generator().manual_seed(11), split='heldout')
    places = random_pose(scenes, torch.Generator().manual_seed(12), [pinhole] * len(scenes))
    abs_rel = []
    for camera in (pinhole, fisheye):
        seen = render(scenes, [camera] * len(scenes), places, torch.Generator().manual_seed(0))
        scores = []
        for image, depth, valid in zip(seen.image, seen.depth, seen.valid, strict=True):
            truth = torch.where(valid, depth, torch.nan)
            scores.append(PLAIN.score(predictor(Frame(image, camera)).depth, truth).abs_rel)
        abs_rel.append(sum(scores) / len(scores))
    assert abs_rel[1] < 1.25 * abs_rel[0]
