"""A bag in; a bag, numbers and pictures out, and all of them agree."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from metric_depth_ros.bags.reader import Bag, BagFrame, deserialize
from metric_depth_ros.evaluation.gallery import choose_frames, save_gallery
from metric_depth_ros.evaluation.metrics import PLAIN, best_constant
from metric_depth_ros.evaluation.recording import Recorder
from metric_depth_ros.evaluation.replay import Outcome, ReplayReport, predict_frames, replay
from metric_depth_ros.evaluation.report import summary, summary_lines, write_csv, write_json
from metric_depth_ros.messages import camera_from_message, depth_from_message, stamp_ns
from metric_depth_ros.types import DepthPrediction, Frame

from ..bags.conftest import CAMERA, FIRST_NS, STEP_NS, BagMaker, Layout, true_depth

Predict = Callable[[Frame], DepthPrediction]
OUR_TOPICS = ('/depth/image', '/depth/uncertainty', '/depth/camera_info', '/depth/points')


def play(bag_path: Path, out: Path, predictor: Predict, points: bool = True) -> ReplayReport:
    with Bag(bag_path) as bag, Recorder(out, points=points) as recorder:
        topics = bag.find_topics()
        outcomes = predict_frames(bag.frames(topics), predictor)
        return replay(bag, topics, outcomes, recorder, model='reader')


def stamps(path: Path, topic: str) -> list[int]:
    with Bag(path) as bag:
        return [stamp_ns(deserialize(m).header) for m in bag.messages([topic])]


@pytest.mark.parametrize('storage', ['ros1', 'sqlite3', 'mcap'])
def test_a_model_that_knows_the_truth(
    write_bag: Callable[..., Path], truth_reader: Callable[..., Predict], tmp_path: Path,
    storage: str,
):  # fmt: skip
    report = play(write_bag(Layout(storage)), tmp_path / 'bag', truth_reader())
    results = {(r.model, r.protocol): r for r in report.results}
    exact = results['reader', 'plain'].metrics
    assert (exact.abs_rel, exact.rmse, exact.silog, exact.delta1) == (0, 0, 0, 1)
    assert exact.coverage == 1
    assert results['reader', 'plain'].frames == 3
    assert results['reader', 'plain'].data == report.bag.name
    assert (len(report.frames), len(report.processed), len(report.dropped)) == (3, 3, 0)


def test_ten_percent_too_far_and_the_baselines(
    write_bag: Callable[..., Path], truth_reader: Callable[..., Predict], tmp_path: Path
):
    report = play(write_bag(), tmp_path / 'bag', truth_reader(1.1))
    results = {(r.model, r.protocol): r.metrics for r in report.results}
    plain, aligned = results['reader', 'plain'], results['reader', 'plain-median']
    assert plain.abs_rel == pytest.approx(0.1, abs=1e-6)
    assert plain.delta1 == 1
    assert plain.silog == pytest.approx(0, abs=1e-4)
    assert aligned.abs_rel == pytest.approx(0, abs=1e-6)

    truths = [np.where(true_depth(i) > 0, true_depth(i) / 1000, np.nan) for i in range(3)]
    tensors = [torch.from_numpy(t).float() for t in truths]
    constant = best_constant(tensors)
    by_hand = np.mean([np.nanmean(np.abs(constant - t) / t) for t in truths])
    assert results['best constant', 'plain'].abs_rel == pytest.approx(by_hand, rel=1e-5)
    rows = np.nanmean(np.stack(truths), axis=(0, 2))
    by_hand = np.mean([np.nanmean(np.abs(rows[:, None] - t) / t) for t in truths])
    assert results['per-row mean', 'plain'].abs_rel == pytest.approx(by_hand, rel=1e-5)
    # the scene is a slope: rows tell more than one number
    assert results['per-row mean', 'plain'].abs_rel < results['best constant', 'plain'].abs_rel


def test_the_written_bag_holds_the_predictions(
    write_bag: Callable[..., Path], truth_reader: Callable[..., Predict], tmp_path: Path
):
    predictor = truth_reader(1.05)
    play(write_bag(), tmp_path / 'bag', predictor)
    expected = [FIRST_NS + i * STEP_NS for i in range(3)]
    for topic in OUR_TOPICS:
        assert stamps(tmp_path / 'bag', topic) == expected
    with Bag(tmp_path / 'bag') as bag:
        topics = bag.find_topics()
        frames = list(bag.frames(topics))
        read = {t: [deserialize(m) for m in bag.messages([t])] for t in OUR_TOPICS}
        assert bag.count('/tf') == 3
    assert topics.depth == '/camera/aligned_depth_to_color/image_raw'
    for index, frame in enumerate(frames):
        predicted = predictor(frame.frame)
        depth, std, info, cloud = (read[topic][index] for topic in OUR_TOPICS)
        torch.testing.assert_close(
            depth_from_message(depth), predicted.depth, rtol=0, atol=0, equal_nan=True
        )
        torch.testing.assert_close(
            depth_from_message(std), predicted.std, rtol=0, atol=0, equal_nan=True
        )
        assert camera_from_message(info) == CAMERA
        assert {m.header.frame_id for m in (depth, std, info, cloud)} == {'camera_optical'}
        z = cloud.data.view('<f4').reshape(cloud.height, cloud.width, -1)[..., 2]
        np.testing.assert_allclose(z, predicted.depth, rtol=1e-6)


def test_clouds_can_be_left_out(
    write_bag: Callable[..., Path], truth_reader: Callable[..., Predict], tmp_path: Path
):
    play(write_bag(), tmp_path / 'bag', truth_reader(), points=False)
    with Bag(tmp_path / 'bag') as bag:
        assert bag.count('/depth/image') == 3
        assert bag.count('/depth/points') == 0


def test_a_recorded_topic_with_the_name_of_ours(
    write_bag: Callable[..., Path], truth_reader: Callable[..., Predict], tmp_path: Path
):
    recorded = write_bag(Layout(depth='/depth/image'))
    report = play(recorded, tmp_path / 'bag', truth_reader(1.1))
    assert report.topics.depth == '/depth/image'
    with Bag(tmp_path / 'bag') as bag:
        assert bag.find_topics().depth == '/recorded/depth/image'
        depths = [
            depth_from_message(deserialize(next(bag.messages([topic]))))
            for topic in ('/depth/image', '/recorded/depth/image')
        ]
    torch.testing.assert_close(depths[0], 1.1 * depths[1], equal_nan=True)
    play(tmp_path / 'bag', tmp_path / 'again', truth_reader())  # ours is a bag like any other
    assert len(stamps(tmp_path / 'again', '/depth/image')) == 3


def test_a_failure_leaves_the_earlier_bag_and_no_debris(
    write_bag: Callable[..., Path], truth_reader: Callable[..., Predict], tmp_path: Path
):
    out = tmp_path / 'out'
    out.mkdir()
    play(write_bag(), out / 'bag', truth_reader())

    def broken(frame: Frame) -> DepthPrediction:
        raise RuntimeError('out of order')

    with pytest.raises(RuntimeError, match='out of order'):
        play(tmp_path / 'recorded', out / 'bag', broken)
    assert [path.name for path in out.iterdir()] == ['bag']
    assert len(stamps(out / 'bag', '/depth/image')) == 3


def with_a_drop(frames: Iterator[BagFrame], predictor: Predict) -> Iterator[Outcome]:
    """The second frame is dropped; frame i takes i + 1 hundredths of a second."""
    for index, frame in enumerate(frames):
        dropped = index == 1
        prediction = None if dropped else predictor(frame.frame)
        yield Outcome(frame, prediction, None if dropped else 0.01 * (index + 1))


@pytest.fixture
def dropped_report(
    write_bag: Callable[..., Path], truth_reader: Callable[..., Predict], tmp_path: Path
) -> ReplayReport:
    def malformed(writer: BagMaker) -> None:
        writer.write_raw(
            '/camera/color/image_raw', 'sensor_msgs/msg/Image', FIRST_NS + 1, b'\0\1\0\0short'
        )

    path = write_bag(Layout(), malformed)
    with Bag(path) as bag, Recorder(tmp_path / 'bag') as recorder:
        topics = bag.find_topics()
        outcomes = with_a_drop(bag.frames(topics), truth_reader(1.1))
        return replay(bag, topics, outcomes, recorder, model='slow reader')


def test_drops_and_latency(dropped_report: ReplayReport, tmp_path: Path):
    assert [f.dropped for f in dropped_report.frames] == [False, True, False]
    assert dropped_report.latency_s(0.5) == pytest.approx(0.02)
    assert dropped_report.latency_s(1.0) == pytest.approx(0.03)
    lines = '\n'.join(summary_lines(dropped_report))
    assert '3 frames sent, 2 processed, 1 dropped' in lines
    assert f'dropped: {(FIRST_NS + STEP_NS) / 1e9:.3f}' in lines
    assert 'latency 20 ms p50' in lines
    assert '1 unusable on /camera/color/image_raw: not a sensor_msgs/msg/Image' in lines
    assert len(stamps(tmp_path / 'bag', '/camera/color/image_raw')) == 3  # what was seen stays
    assert len(stamps(tmp_path / 'bag', '/depth/image')) == 2


def test_json_and_csv_say_the_same(dropped_report: ReplayReport, tmp_path: Path):
    write_json(dropped_report, tmp_path / 'metrics.json')
    write_csv(dropped_report, tmp_path / 'frames.csv')
    report = json.loads((tmp_path / 'metrics.json').read_text())
    with (tmp_path / 'frames.csv').open() as file:
        rows = list(csv.DictReader(file))

    assert list(report['results'][0]) == ['model', 'data', 'protocol', 'frames', 'metrics']
    assert {r['model'] for r in report['results']} == {
        'slow reader', 'best constant', 'median depth', 'per-row mean',
    }  # fmt: skip
    assert report['replay']['dropped_stamps_ns'] == [FIRST_NS + STEP_NS]
    assert (report['replay']['sent'], report['replay']['processed']) == (3, 2)
    (problem,) = report['problems']
    assert problem['topic'] == '/camera/color/image_raw'

    assert [row['protocol'] for row in rows] == [
        'plain',
        'plain-median',
        '',
        'plain',
        'plain-median',
    ]
    assert [row['dropped'] for row in rows] == ['0', '0', '1', '0', '0']
    for frame in report['frames']:
        for protocol, metrics in frame['metrics'].items():
            (row,) = [
                r for r in rows
                if r['stamp_ns'] == str(frame['stamp_ns']) and r['protocol'] == protocol
            ]  # fmt: skip
            assert float(row['latency_s']) == frame['latency_s']
            assert {name: float(row[name]) for name in metrics} == metrics
    per_frame = [f['metrics']['plain']['abs_rel'] for f in report['frames'] if f['metrics']]
    assert report['results'][0]['metrics']['abs_rel'] == pytest.approx(np.mean(per_frame))


def test_unknown_numbers_are_null(write_bag: Callable[..., Path], tmp_path: Path):
    def blind(frame: Frame) -> DepthPrediction:
        nothing = torch.full((CAMERA.height, CAMERA.width), math.nan)
        return DepthPrediction(nothing, nothing, frame.camera, frame.stamp_ns, frame.frame_id)

    report = play(write_bag(), tmp_path / 'bag', blind)
    write_json(report, tmp_path / 'metrics.json')
    metrics = json.loads((tmp_path / 'metrics.json').read_text())['results'][0]['metrics']
    assert metrics['abs_rel'] is None
    assert metrics['coverage'] == 0


def test_without_truth_there_is_everything_but_metrics(
    write_bag: Callable[..., Path], truth_reader: Callable[..., Predict], tmp_path: Path
):
    report = play(write_bag(Layout(depth=None, frames=1)), tmp_path / 'bag', truth_reader())
    assert report.results == ()
    assert 'no true depth to compare with: no metrics' in summary_lines(report)
    files = save_gallery(report, tmp_path / 'bag', tmp_path)
    assert [f.name for f in files] == ['frame_middle.png', 'cloud_side.png', 'overview.png']
    assert all(cv2.imread(str(f)).std() > 10 for f in files)


def test_the_table_shows_model_and_baselines(
    write_bag: Callable[..., Path], truth_reader: Callable[..., Predict], tmp_path: Path
):
    from rich.console import Console

    report = play(write_bag(), tmp_path / 'bag', truth_reader(1.1))
    console = Console(width=80, record=True, file=(tmp_path / 'table').open('w'))
    console.print(summary(report))
    text = console.export_text()
    (row,) = [line for line in text.splitlines() if line.split()[:1] == ['reader']][:1]
    assert row.split()[1] == '0.100'
    assert 'best constant' in text
    assert 'per-row mean' in text
    assert 'RMSE (m)' in text


def test_best_median_and_worst(write_bag: Callable[..., Path], tmp_path: Path):
    factors = {FIRST_NS: 1.3, FIRST_NS + STEP_NS: 1.0, FIRST_NS + 2 * STEP_NS: 1.2}

    def uneven(frame: Frame) -> DepthPrediction:
        index = (frame.stamp_ns - FIRST_NS) // STEP_NS
        metres = torch.from_numpy(true_depth(index).astype(np.float32)) / 1000
        depth = torch.where(metres > 0, metres * factors[frame.stamp_ns], math.nan)
        return DepthPrediction(depth, depth, frame.camera, frame.stamp_ns, frame.frame_id)

    report = play(write_bag(), tmp_path / 'bag', uneven)
    chosen = {name: f.scores[PLAIN.name].abs_rel for name, f in choose_frames(report).items()}
    assert chosen == pytest.approx({'best': 0, 'median': 0.2, 'worst': 0.3}, abs=1e-6)


def test_real_bag(shared_data: Path, tmp_path: Path):
    with (
        Bag(shared_data / 'bags' / 'cabinet_jpeg_mcap') as bag,
        Recorder(tmp_path / 'bag', points=False) as recorder,
    ):
        topics = bag.find_topics()
        frames = list(bag.frames(topics, stop_ns=bag.recorded_ns(topics.image, 3)))
        truths = {f.frame.stamp_ns: f.depth for f in frames}

        def too_far(frame: Frame) -> DepthPrediction:
            depth = 1.1 * truths[frame.stamp_ns]
            return DepthPrediction(depth, depth, frame.camera, frame.stamp_ns, frame.frame_id)

        report = replay(bag, topics, predict_frames(frames, too_far), recorder, model='too far')
    by_model = {r.model: r.metrics for r in report.results if r.protocol == 'plain'}
    assert by_model['too far'].abs_rel == pytest.approx(0.1, abs=1e-6)
    assert by_model['too far'].delta1 == 1
    assert by_model['best constant'].abs_rel > by_model['per-row mean'].abs_rel > 0.1
    assert stamps(tmp_path / 'bag', '/depth/image') == list(truths)
