"""Models that know the truth, wholly or nearly, scored frame by frame; resumed; on a page."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from metric_depth_ros import geometry
from metric_depth_ros.evaluation.analysis import analyse
from metric_depth_ros.evaluation.evaluate import cache_settings, evaluate
from metric_depth_ros.evaluation.evaluation import (
    DEFAULT_PROTOCOLS,
    Evaluation,
    all_results,
    chosen_frames,
    warnings,
)
from metric_depth_ros.evaluation.evaluation_files import (
    write_evaluation_csv,
    write_evaluation_json,
)
from metric_depth_ros.evaluation.frame_sets import FrameSetError, ManifestFrames, open_frames
from metric_depth_ros.evaluation.gallery import save_frames
from metric_depth_ros.evaluation.metrics import PROTOCOLS, Scores
from metric_depth_ros.evaluation.page import ModelOnSet, Page
from metric_depth_ros.evaluation.score_cache import ScoreCache
from metric_depth_ros.evaluation.sources import FolderSource, PredictionError
from metric_depth_ros.types import Camera, DepthPrediction, Frame

WIDTH, HEIGHT = 48, 36
CAMERA = {'fx': 30.0, 'fy': 31.0, 'cx': 23.5, 'cy': 17.5, 'width': WIDTH, 'height': HEIGHT}


def true_depth(index: int) -> np.ndarray:
    """A slope whose slant depends on the frame, with a hole."""
    rows = np.linspace(6 + index, 1, HEIGHT, dtype=np.float32)
    depth = np.repeat(rows[:, None], WIDTH, axis=1)
    depth[:3, :5] = 0
    return depth


def write_manifest(folder: Path, count: int = 4, sequences: tuple[str, ...] = ('a',)) -> Path:
    lines = []
    for sequence in sequences:
        (folder / sequence).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            pixels = np.full((HEIGHT, WIDTH, 3), 40 * index, np.uint8)
            cv2.imwrite(str(folder / sequence / f'{index}.png'), pixels)
            np.save(folder / sequence / f'{index}_truth.npy', true_depth(index))
            lines.append(
                {
                    'image': f'{sequence}/{index}.png',
                    'depth': f'{sequence}/{index}_truth.npy',
                    'camera': CAMERA,
                }
            )
    path = folder / 'manifest.jsonl'
    path.write_text(''.join(json.dumps(line) + '\n' for line in lines))
    return path


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return write_manifest(tmp_path / 'data')


@dataclass
class TruthReader:
    """Says the truth of frame N.png, changed; counts how often it is asked."""

    change: Callable[[Tensor, int], Tensor] = lambda depth, index: depth
    name: str = 'truth reader'
    identity: str = '1'
    asked: int = 0
    fails_after: float = math.inf

    def predict(self, name: str, frame: Frame) -> DepthPrediction:
        if self.asked >= self.fails_after:
            raise KeyboardInterrupt
        self.asked += 1
        index = int(Path(name).stem)
        truth = torch.from_numpy(true_depth(index))
        depth = self.change(torch.where(truth > 0, truth, 3.0), index)
        return DepthPrediction(depth, 0.1 * depth, frame.camera)


def too_far(depth: Tensor, index: int) -> Tensor:
    return 1.1 * depth


def scores_of(evaluation: Evaluation, protocol: str = 'plain') -> Scores:
    (found,) = [r for r in evaluation.results() if r.protocol == protocol]
    return found.metrics


def test_the_truth_has_no_error(manifest: Path) -> None:
    evaluation = evaluate(TruthReader(), ManifestFrames(manifest))
    scores = scores_of(evaluation)
    assert (scores.abs_rel, scores.rmse, scores.silog, scores.delta1) == (0, 0, 0, 1)
    assert scores.coverage == 1
    assert len(evaluation.frames) == 4
    assert evaluation.unscored == ()
    assert all(part.abs_rel == 0 for part in analyse(evaluation).by_distance)


def test_ten_percent_too_far(manifest: Path) -> None:
    evaluation = evaluate(TruthReader(too_far), ManifestFrames(manifest))
    plain, forgiven = scores_of(evaluation), scores_of(evaluation, 'plain-median')
    assert plain.abs_rel == pytest.approx(0.1, abs=1e-6)
    assert plain.delta1 == 1
    assert plain.silog == pytest.approx(0, abs=1e-4)
    assert forgiven.abs_rel == pytest.approx(0, abs=1e-6)
    for part in analyse(evaluation).by_distance:
        assert part.bias == pytest.approx(0.1, abs=1e-5)


def test_ray_distance_taken_for_depth_is_caught(manifest: Path) -> None:
    rays = geometry.rays(Camera(**CAMERA))

    def swapped(depth: Tensor, index: int) -> Tensor:
        return geometry.ray_distance_from_depth(depth, rays)

    evaluation = evaluate(TruthReader(swapped), ManifestFrames(manifest))
    scores = scores_of(evaluation)
    known = torch.from_numpy(true_depth(0) > 0)
    assert scores.abs_rel == pytest.approx(float((1 / rays[..., 2] - 1)[known].mean()), rel=1e-4)
    assert scores.abs_rel > 0.05
    assert evaluation.quantity().swapped == 'prediction'
    (warning,) = warnings([evaluation, evaluate(TruthReader(), ManifestFrames(manifest))])
    assert 'the prediction looks like ray distance' in warning


def test_baselines_are_those_of_the_whole_pixels(manifest: Path) -> None:
    evaluation = evaluate(TruthReader(), ManifestFrames(manifest))
    results = {(r.model, r.protocol): r for r in all_results([evaluation])}
    truths = [np.where(true_depth(i) > 0, true_depth(i), np.nan) for i in range(4)]
    rows = np.nanmean(np.stack(truths), axis=(0, 2))
    by_hand = np.mean([np.nanmean(np.abs(rows[:, None] - t) / t) for t in truths])
    assert results['per-row mean', 'plain'].metrics.abs_rel == pytest.approx(by_hand, rel=1e-5)
    assert results['per-row mean', 'plain'].frames == 4


def test_protocols_forgive_what_they_say(manifest: Path) -> None:
    def affine(depth: Tensor, index: int) -> Tensor:
        return 1 / (0.5 / depth + 0.02 * (1 + index))

    for name, forgiven in (('betterdepth', True), ('grin', False)):
        evaluation = evaluate(
            TruthReader(affine), ManifestFrames(manifest), protocols=[PROTOCOLS[name]]
        )
        by_distance = analyse(evaluation).by_distance
        worst = max(part.abs_rel for part in by_distance)
        assert (scores_of(evaluation, name).abs_rel < 1e-4) is forgiven
        assert (worst < 1e-4) is forgiven


def test_a_killed_run_goes_on_and_counts_nothing_twice(manifest: Path, tmp_path: Path) -> None:
    frames = ManifestFrames(manifest)
    uneven = TruthReader(lambda depth, index: depth * (1 + 0.1 * index))
    whole = evaluate(uneven, frames)

    def cache(source: TruthReader) -> ScoreCache:
        return ScoreCache(tmp_path / 'scores', cache_settings(source, frames, DEFAULT_PROTOCOLS))

    killed = replace(uneven, asked=0, fails_after=2)
    with pytest.raises(KeyboardInterrupt):
        evaluate(killed, frames, cache=cache(killed))
    (file,) = (tmp_path / 'scores').iterdir()
    file.write_bytes(file.read_bytes() + b'{"name": "a/2.png", "sc')  # killed in mid-line
    resumed = replace(uneven, asked=0)
    again = evaluate(resumed, frames, cache=cache(resumed))
    assert resumed.asked == 2
    assert again.results() == whole.results()
    for mine, theirs in zip(again.frames, whole.frames, strict=True):
        assert mine.name == theirs.name
        torch.testing.assert_close(
            mine.scored.thin, theirs.scored.thin, rtol=0, atol=0, equal_nan=True
        )
    third = replace(uneven, asked=0)
    assert evaluate(third, frames, cache=cache(third)).results() == whole.results()
    assert third.asked == 0
    other = replace(uneven, asked=0, identity='2')
    evaluate(other, frames, cache=cache(other))
    assert other.asked == 4


def test_a_frame_that_changed_is_scored_again(manifest: Path, tmp_path: Path) -> None:
    reader = TruthReader()
    for expected in (4, 5):
        frames = ManifestFrames(manifest)
        cache = ScoreCache(tmp_path / 's', cache_settings(reader, frames, DEFAULT_PROTOCOLS))
        evaluate(reader, frames, cache=cache)
        assert reader.asked == expected
        lines = manifest.read_text().splitlines()
        lines[1] = lines[1].replace('"camera"', '"depth_scale": 2.0, "camera"')
        manifest.write_text('\n'.join(lines))


def test_missing_and_broken_files_are_named(manifest: Path) -> None:
    folder = manifest.parent / 'a'
    (folder / '1_truth.npy').unlink()
    (folder / '2.png').write_bytes(b'no picture')
    np.save(folder / '3_truth.npy', np.zeros((HEIGHT, WIDTH), np.float32))
    manifest.write_text(manifest.read_text() + 'not JSON\n')
    evaluation = evaluate(TruthReader(), ManifestFrames(manifest))
    assert [frame.name for frame in evaluation.frames] == ['a/0.png']
    reasons = {missing.name: missing.reason for missing in evaluation.unscored}
    assert list(reasons) == ['a/1.png', 'a/2.png', 'a/3.png', 'line 5']
    assert '1_truth.npy' in reasons['a/1.png']
    assert '2.png' in reasons['a/2.png']
    assert 'no pixel of the truth' in reasons['a/3.png']


def test_predictions_are_matched_by_name(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / 'data', 3, ('a', 'b'))
    made = tmp_path / 'made'
    (made / 'a').mkdir(parents=True)
    np.save(made / 'a' / '0.npy', 1.1 * true_depth(0))
    millimetres = (1000 * true_depth(1)).round().astype(np.uint16)
    cv2.imwrite(str(made / 'a' / '1_depth.png'), millimetres)
    np.save(made / 'a' / '2.npy', true_depth(2)[:10])
    np.save(made / '1.npy', true_depth(1))  # could be of a/1 or b/1
    frames = ManifestFrames(manifest)
    source = FolderSource(made, [file.name for file in frames])
    evaluation = evaluate(source, frames)
    abs_rel = {frame.name: frame.abs_rel for frame in evaluation.frames}
    assert abs_rel == pytest.approx({'a/0.png': 0.1, 'a/1.png': 0.0}, abs=2e-4)
    reasons = {missing.name: missing.reason for missing in evaluation.unscored}
    assert 'is 48x10 pixels, expected 48x36' in reasons['a/2.png']
    assert 'there is no prediction of it' in reasons['b/0.png']
    assert '1 could be of several frames' in reasons['b/1.png']
    with pytest.raises(PredictionError, match='there is no such folder'):
        FolderSource(tmp_path / 'nowhere', [])
    (tmp_path / 'empty').mkdir()
    with pytest.raises(PredictionError, match='no depth map in it'):
        FolderSource(tmp_path / 'empty', [])


def test_folders_and_what_is_none(manifest: Path, tmp_path: Path) -> None:
    assert open_frames(manifest.parent).name == str(manifest)
    (tmp_path / 'empty').mkdir()
    with pytest.raises(FrameSetError, match=r'expected a manifest\.jsonl in it, or a bag'):
        open_frames(tmp_path / 'empty')


class Parser(HTMLParser):
    """Collects what a page shows and points to; notices tags that are not closed."""

    VOID = ('meta', 'img', 'br', 'link')

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.pictures: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ('src', 'href', 'data', 'action', 'srcset'):
                (self.pictures if tag == 'img' else self.links).append(value or '')

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_stands_alone_and_shows_every_frame(manifest: Path, tmp_path: Path) -> None:
    frames = ManifestFrames(manifest)
    shown = []
    for source in (
        TruthReader(lambda depth, index: depth * (1.1, 1.3, 1.0, 1.2)[index], 'uneven & <odd>'),
        TruthReader(too_far, 'too far'),
    ):
        evaluation = evaluate(source, frames)
        pictures = save_frames(source, frames, evaluation, tmp_path / 'pictures')
        shown.append(ModelOnSet(evaluation, analyse(evaluation), pictures))
    ranks = chosen_frames(shown[0].evaluation.frames)
    assert {rank: frame.name for rank, frame in ranks.items()} == {
        'best': 'a/2.png', 'median': 'a/3.png', 'worst': 'a/1.png',
    }  # fmt: skip
    results = all_results([part.evaluation for part in shown])
    page = Page('A title', {}, DEFAULT_PROTOCOLS, tuple(results), tuple(shown), {}).html()
    parser = Parser()
    parser.feed(page)
    assert parser.open == []
    assert len(parser.pictures) == 6
    assert all(source.startswith('data:image/jpeg;base64,') for source in parser.pictures)
    assert all(link.startswith('#') for link in parser.links)
    assert 'svg' in parser.tags
    assert not parser.tags & {'script', 'link', 'iframe'}
    assert not re.search(r'https?:|@import|url\((?!#)', page)
    assert '<odd>' not in page
    for text in ('best of 4 frames, a/2.png', 'worst of 4 frames, a/1.png', 'AUSE', 'per-row mean',
                 'best constant', 'Error by distance', 'Sparsification', 'RMSE at confidence',
                 'uneven &amp; &lt;odd&gt;', 'too far'):  # fmt: skip
        assert text in page
    for picture in shown[0].pictures:
        assert cv2.imread(str(picture.path)).std() > 10


def test_json_and_csv_say_what_was_found(manifest: Path, tmp_path: Path) -> None:
    (manifest.parent / 'a' / '3.png').unlink()
    evaluation = evaluate(TruthReader(too_far), ManifestFrames(manifest))
    results = all_results([evaluation])
    write_evaluation_json(tmp_path / 'r.json', results, [evaluation], [analyse(evaluation)])
    write_evaluation_csv(tmp_path / 'f.csv', [evaluation])
    content = json.loads((tmp_path / 'r.json').read_text())
    assert list(content['results'][0]) == ['model', 'data', 'protocol', 'frames', 'metrics']
    assert content['results'][0]['metrics']['abs_rel'] == pytest.approx(0.1, abs=1e-6)
    # 0.1 / 1.1 of the prediction is the error, 0.1 the error bar
    assert content['analyses'][0]['uncertainty']['coverage_1'] == 1
    assert [missing['name'] for missing in content['unscored']] == ['a/3.png']
    with (tmp_path / 'f.csv').open() as file:
        rows = list(csv.DictReader(file))
    plain = [row for row in rows if row['protocol'] == 'plain']
    assert [row['frame'] for row in plain] == ['a/0.png', 'a/1.png', 'a/2.png']
    assert all(float(row['abs_rel']) == pytest.approx(0.1, abs=1e-6) for row in plain)
    assert '3.png' in rows[-1]['not_scored_because']


def test_the_real_sequence(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / 'tum_fr3_cabinet'
    camera = json.loads((folder / 'camera.json').read_text())
    camera = {key: camera[key] for key in CAMERA}
    depths = sorted((folder / 'depth').glob('*.png'))[:5]
    lines = [
        {'image': str(folder / 'rgb' / f'{d.stem}.jpg'), 'depth': str(d),
         'depth_scale': 1 / 5000, 'camera': camera}
        for d in depths
    ]  # fmt: skip
    path = tmp_path / 'cabinet.jsonl'
    path.write_text('\n'.join(json.dumps(line) for line in lines))
    frames = ManifestFrames(path)
    names = [file.name for file in frames]
    exact = scores_of(evaluate(FolderSource(folder / 'depth', names, scale=1 / 5000), frames))
    assert (exact.abs_rel, exact.rmse, exact.delta1) == (0, 0, 1)
    far = scores_of(evaluate(FolderSource(folder / 'depth', names, scale=1.1 / 5000), frames))
    assert far.abs_rel == pytest.approx(0.1, abs=1e-6)
    assert (far.delta1, far.silog) == (1, pytest.approx(0, abs=1e-4))
