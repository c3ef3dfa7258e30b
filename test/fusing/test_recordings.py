"""Bags and manifests as frames with poses, and what is no recording of one camera."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from metric_depth_ros.errors import MetricDepthError
from metric_depth_ros.fusing.fuse import some_of
from metric_depth_ros.fusing.recordings import Recorded, Unusable, open_recording
from metric_depth_ros.mapping import View
from metric_depth_ros.synthetic.export import write_bag, write_manifest
from metric_depth_ros.synthetic.trajectory import SequenceFrame

Views = Callable[[int], View]


def frames(views: Views, count: int) -> list[SequenceFrame]:
    return [
        SequenceFrame(v.frame, v.prediction.depth, v.prediction.depth, v.world_from_camera)
        for v in map(views, range(count))
    ]


@pytest.fixture
def manifest(corner_view: Views, tmp_path: Path) -> Path:
    list(write_manifest(frames(corner_view, 3), tmp_path / 'walk', 'walk'))
    return tmp_path / 'walk' / 'manifest.jsonl'


def change(manifest: Path, line: int, **values: object) -> None:
    lines = manifest.read_text().splitlines()
    lines[line] = json.dumps({**json.loads(lines[line]), **values})
    manifest.write_text('\n'.join(lines) + '\n')


def test_a_bag_has_the_poses_of_its_transforms(corner_view: Views, tmp_path: Path) -> None:
    list(write_bag(frames(corner_view, 3), tmp_path / 'bag'))
    recording = open_recording(tmp_path / 'bag')
    assert (len(recording), recording.has_depth, recording.has_poses) == (3, True, True)
    for number, found in enumerate(recording):
        view = corner_view(number)
        assert isinstance(found, Recorded)
        assert found.frame.stamp_ns == view.frame.stamp_ns
        assert found.depth is not None
        torch.testing.assert_close(found.depth, view.prediction.depth)
        assert found.world_from_camera is not None
        torch.testing.assert_close(found.world_from_camera, view.world_from_camera)


def test_a_manifest_in_order_of_time(manifest: Path, corner_view: Views) -> None:
    lines = manifest.read_text().splitlines()
    manifest.write_text('\n'.join(reversed(lines)) + '\n')
    found = list(open_recording(manifest.parent))
    stamps = [corner_view(n).frame.stamp_ns for n in range(3)]
    assert [each.frame.stamp_ns for each in found if isinstance(each, Recorded)] == stamps
    assert [each.name for each in some_of(found, every=2)] == [found[0].name, found[2].name]
    assert len(list(some_of(found, most=2))) == 2


def test_frames_of_no_use_are_named(manifest: Path) -> None:
    pose = [float('nan')] * 16
    change(manifest, 0, image='rgb/none.png')
    change(manifest, 1, pose=pose)
    far = torch.eye(4).flatten().tolist()
    far[3] = 500.0
    lost, nowhere, last = open_recording(manifest)
    assert isinstance(lost, Unusable)
    assert 'rgb/none.png is not there' in lost.reason
    assert isinstance(nowhere, Recorded)
    assert nowhere.world_from_camera is None
    assert 'expected finite numbers' in nowhere.why_no_pose
    assert isinstance(last, Recorded)
    assert last.world_from_camera is not None


def test_a_jump_of_half_a_kilometre_is_no_pose(manifest: Path) -> None:
    far = torch.eye(4).flatten().tolist()
    far[3] = 500.0
    change(manifest, 2, pose=far)
    last = list(open_recording(manifest))[-1]
    assert isinstance(last, Recorded)
    assert last.world_from_camera is None
    assert 'm from the one before, expected at most 100 m' in last.why_no_pose


def test_without_stamps_frames_follow_each_other(manifest: Path) -> None:
    for line in range(3):
        change(manifest, line, stamp=None)
    stamps = [found.frame.stamp_ns for found in open_recording(manifest)]  # type: ignore[union-attr]
    assert stamps == [0, 100_000_000, 200_000_000]


def test_what_is_no_recording_of_one_camera(manifest: Path, tmp_path: Path) -> None:
    change(manifest, 1, sequence='other')
    with pytest.raises(MetricDepthError, match=r"2 sequences.*--sequence, such as 'other'"):
        open_recording(manifest)
    assert len(open_recording(manifest, sequence='walk')) == 2
    with pytest.raises(MetricDepthError, match=r"no sequence 'run', expected 'other' or 'walk'"):
        open_recording(manifest, sequence='run')
    with pytest.raises(MetricDepthError, match='is a manifest, which has no topics'):
        open_recording(manifest, image='/image')
    with pytest.raises(MetricDepthError, match=r'expected a manifest\.jsonl in it, or a bag'):
        open_recording(tmp_path)
    with pytest.raises(MetricDepthError, match='there is no such manifest'):
        open_recording(tmp_path / 'nothing.jsonl')
