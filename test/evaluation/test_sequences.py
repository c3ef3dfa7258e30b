"""A wall that a camera drives towards, and an edge that somebody labelled: known numbers."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from metric_depth_ros import geometry
from metric_depth_ros.evaluation.analysis import Analysis, analyse
from metric_depth_ros.evaluation.evaluate import cache_settings, evaluate
from metric_depth_ros.evaluation.evaluation import Evaluation
from metric_depth_ros.evaluation.evaluation_files import write_evaluation_json
from metric_depth_ros.evaluation.frame_scores import score_frame
from metric_depth_ros.evaluation.frame_sets import ManifestFrames
from metric_depth_ros.evaluation.metrics import PROTOCOLS
from metric_depth_ros.evaluation.score_cache import ScoreCache
from metric_depth_ros.evaluation.side_tables import side_tables
from metric_depth_ros.types import Camera, DepthPrediction, Frame

WIDTH, HEIGHT = 120, 90
CAMERA = {'fx': 80.0, 'fy': 82.0, 'cx': 58.0, 'cy': 46.0, 'width': WIDTH, 'height': HEIGHT}
FAR, STEP = 5.0, 0.5  # metres to the wall at first, and nearer with every frame
FRAMES = 4


@pytest.fixture
def wall(tmp_path: Path) -> Path:
    lines = []
    for index in range(FRAMES):
        cv2.imwrite(str(tmp_path / f'{index}.png'), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
        np.save(
            tmp_path / f'{index}.npy', np.full((HEIGHT, WIDTH), FAR - index * STEP, np.float32)
        )
        pose = np.eye(4)
        pose[2, 3] = index * STEP
        lines.append(
            {
                'image': f'{index}.png',
                'depth': f'{index}.npy',
                'camera': CAMERA,
                'pose': pose.flatten().tolist(),
                'stamp': 1e9 + index / 2,
                'sequence': 'to the wall',
            }
        )
    path = tmp_path / 'manifest.jsonl'
    path.write_text(''.join(json.dumps(line) + '\n' for line in lines))
    return path


@dataclass
class Wall:
    """Says `scales[index]` times the truth."""

    scales: tuple[float, ...] = (1.0,) * FRAMES
    name: str = 'wall'
    identity: str = '1'

    def predict(self, name: str, frame: Frame) -> DepthPrediction:
        index = int(Path(name).stem)
        depth = torch.full((HEIGHT, WIDTH), self.scales[index] * (FAR - index * STEP))
        return DepthPrediction(depth, torch.full_like(depth, torch.nan), frame.camera)


def analysed(wall: Path, source: Wall, *protocols: str, still: bool = False) -> Analysis:
    chosen = [PROTOCOLS[name] for name in protocols or ('plain',)]
    return analyse(evaluate(source, ManifestFrames(wall), protocols=chosen), still=still)


def test_the_truth_is_steady(wall: Path) -> None:
    (found,) = analysed(wall, Wall()).sequences
    assert (found.sequence, found.frames, found.flicker) == ('to the wall', FRAMES, None)
    assert found.drift is not None
    assert found.drift.drift == pytest.approx(0, abs=1e-6)
    assert found.consistency is not None
    assert found.consistency.mean == pytest.approx(0, abs=1e-6)
    assert found.consistency.agreeing == 1


def test_a_scale_that_grows_by_a_percent_a_second(wall: Path) -> None:
    source = Wall(tuple(1.3 * math.exp(0.01 * index / 2) for index in range(FRAMES)))
    (found,) = analysed(wall, source).sequences
    assert found.drift is not None
    assert found.drift.drift == pytest.approx(0.01, abs=1e-5)
    assert found.drift.scales[0] == pytest.approx(1.3, rel=1e-6)
    (aligned,) = analysed(wall, source, 'plain-median').sequences
    assert aligned.drift is None


@pytest.mark.parametrize('protocol', ['plain', 'plain-ray'])
def test_a_wrong_scale_shows_when_the_camera_moves(wall: Path, protocol: str) -> None:
    (found,) = analysed(wall, Wall((1.1,) * FRAMES), protocol).sequences
    there = [FAR - (index + 1) * STEP for index in range(FRAMES - 1)]
    # 1.1 z less the way driven, against 1.1 (z less the way)
    expected = np.mean([0.1 * STEP / (1.1 * z) for z in there])
    assert found.consistency is not None
    assert found.consistency.median == pytest.approx(expected, rel=1e-4)


def test_flicker_only_where_all_is_still(wall: Path) -> None:
    # undo the approach: what is predicted is 5 m in every frame but the third, 1 % more
    scales = [FAR / (FAR - index * STEP) for index in range(FRAMES)]
    scales[2] *= math.exp(0.01)
    (found,) = analysed(wall, Wall(tuple(scales)), still=True).sequences
    assert found.flicker is not None
    assert found.flicker.step == pytest.approx(0.02 / 3, rel=1e-3)
    assert found.flicker.spread == pytest.approx(0.005, rel=1e-3)


def test_kept_scores_say_the_same(wall: Path, tmp_path: Path) -> None:
    frames, source, protocols = ManifestFrames(wall), Wall((1.1,) * FRAMES), [PROTOCOLS['plain']]

    def run() -> Evaluation:
        cache = ScoreCache(tmp_path / 'scores', cache_settings(source, frames, protocols))
        return evaluate(source, frames, protocols=protocols, cache=cache, boundaries=True)

    first = analyse(run())
    source.predict = None  # type: ignore[assignment,method-assign]
    again = run()
    assert analyse(again).sequences == first.sequences
    write_evaluation_json(tmp_path / 'r.json', [], [again], [analyse(again)])
    (written,) = json.loads((tmp_path / 'r.json').read_text())['analyses']
    assert written['sequences'][0]['consistency']['mean'] > 0.005


def test_labelled_edges_are_compared_where_there_are_any(wall: Path) -> None:
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[:, 60] = 255
    cv2.imwrite(str(wall.parent / 'edges.png'), labels)
    stepped = np.full((HEIGHT, WIDTH), 2.0, np.float32)
    stepped[:, 60:] = 4.0
    for index in range(FRAMES):
        np.save(wall.parent / f'{index}.npy', stepped)

    class Stepped(Wall):
        def predict(self, name: str, frame: Frame) -> DepthPrediction:
            depth = torch.from_numpy(stepped.copy())
            return DepthPrediction(depth, torch.full_like(depth, torch.nan), frame.camera)

    plain = [PROTOCOLS['plain']]
    unlabelled = evaluate(Stepped(), ManifestFrames(wall), protocols=plain, boundaries=True)
    found = unlabelled.boundaries()
    assert found is not None
    assert math.isnan(found.dbe_accuracy)
    assert (found.pdbe_accuracy, found.edge_precision, found.edge_recall) == (0, 1, 1)
    assert found.boundary_f1 == 0.25  # three of four sides have no boundary, and count 0
    lines = [json.loads(line) for line in wall.read_text().splitlines()]
    wall.write_text(''.join(json.dumps({**x, 'edges': 'edges.png'}) + '\n' for x in lines))
    labelled = evaluate(Stepped(), ManifestFrames(wall), protocols=plain, boundaries=True)
    found = labelled.boundaries()
    assert found is not None
    assert found.dbe_accuracy <= 1
    (table,) = [t for t in side_tables({'wall': analyse(labelled)}) if t.title == 'Boundaries']
    assert table.rows[0][0] == 'wall'
    assert table.rows[0][-1] == '0.250'
    assert evaluate(Stepped(), ManifestFrames(wall), protocols=plain).boundaries() is None


def test_the_kept_pixels_have_a_camera() -> None:
    camera = Camera(500.0, 510.0, 331.0, 236.0, 640, 480, 'plumb_bob', (-0.2, 0.05, 0.001, 0.002))
    truth = torch.linspace(1, 9, 640 * 480).reshape(480, 640)
    kept = score_frame(truth, None, truth, camera, [PROTOCOLS['plain']])
    assert kept.thin_camera is not None
    assert tuple(kept.thin.shape[1:]) == (kept.thin_camera.height, kept.thin_camera.width)
    points = geometry.unproject(kept.thin[2], kept.thin_camera)
    back = geometry.project(points, camera)
    # every kept pixel lies at a whole pixel of the camera, evenly spaced
    inside = back[5:-5, 5:-5]
    assert float((inside - inside.round()).abs().max()) < 0.01
    u, v = (inside.round()[3, 4]).long().tolist()
    assert float(kept.thin[2, 8, 9]) == pytest.approx(float(truth[v, u]))
