"""Rendered frames on disk: what is read back is what was rendered, poses included."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from rosbags.highlevel import AnyReader

from metric_depth_ros import geometry
from metric_depth_ros.bags.reader import Bag
from metric_depth_ros.synthetic import export, sequence
from metric_depth_ros.synthetic.trajectory import SequenceFrame
from metric_depth_ros.types import Camera


@pytest.fixture(scope='module')
def frames() -> list[SequenceFrame]:
    generator = torch.Generator().manual_seed(3)
    return list(sequence('indoor', 4, 64, 48, generator, rate=10.0, lens='plumb_bob'))


def matrix(transform: object) -> np.ndarray:
    """(4, 4) of a geometry_msgs Transform or Pose, its rotation by OpenCV."""
    place = getattr(transform, 'translation', None) or transform.position
    turn = getattr(transform, 'rotation', None) or transform.orientation
    pose = np.eye(4)
    axis = np.array([turn.x, turn.y, turn.z])
    sine = np.linalg.norm(axis)
    angle = 2 * np.arctan2(sine, turn.w)
    pose[:3, :3] = cv2.Rodrigues(axis / max(sine, 1e-12) * angle)[0]
    pose[:3, 3] = place.x, place.y, place.z
    return pose


def read(path: Path, topic: str) -> list[object]:
    with AnyReader([path]) as reader:
        connections = [c for c in reader.connections if c.topic == topic]
        return [reader.deserialize(raw, c.msgtype) for c, _, raw in reader.messages(connections)]


def test_the_bag_holds_what_was_rendered(frames: list[SequenceFrame], tmp_path: Path) -> None:
    assert list(export.write_bag(frames, tmp_path / 'walk')) == [1, 2, 3, 4]
    with Bag(tmp_path / 'walk') as bag:
        topics = bag.find_topics()
        assert (topics.image, topics.camera_info, topics.depth) == (
            export.IMAGE_TOPIC, export.CAMERA_INFO_TOPIC, export.DEPTH_TOPIC,
        )  # fmt: skip
        found = list(bag.frames(topics))
        assert not bag.problems
    assert len(found) == 4
    for have, want in zip(found, frames, strict=True):
        assert torch.equal(have.frame.image, want.frame.image)
        assert have.frame.camera == want.frame.camera
        assert have.frame.stamp_ns == want.frame.stamp_ns
        assert have.frame.frame_id == want.frame.frame_id
        # beyond range is kept as it is, an image without any is as good as none
        finite = torch.isfinite(want.depth)
        assert torch.equal(have.depth[finite], want.depth[finite])


def test_tf_leads_from_the_world_to_the_optical_frame(
    frames: list[SequenceFrame], tmp_path: Path
) -> None:
    for _ in export.write_bag(frames, tmp_path / 'walk'):
        pass
    for message, frame in zip(read(tmp_path / 'walk', '/tf'), frames, strict=True):
        chain = {t.header.frame_id: t for t in message.transforms}
        assert chain['world'].child_frame_id == 'base_link'
        assert chain['base_link'].child_frame_id == frame.frame.frame_id
        pose = matrix(chain['world'].transform) @ matrix(chain['base_link'].transform)
        np.testing.assert_allclose(pose, frame.world_from_camera.numpy(), atol=1e-6)
        # base_link looks along its x and has z up: REP 103
        body = matrix(chain['world'].transform)
        np.testing.assert_allclose(body[:3, 0], frame.world_from_camera[:3, 2], atol=1e-6)
        assert body[2, 2] > 0.5


def test_odometry_moves_the_body_from_pose_to_pose(
    frames: list[SequenceFrame], tmp_path: Path
) -> None:
    for _ in export.write_bag(frames, tmp_path / 'walk'):
        pass
    odometry = read(tmp_path / 'walk', '/odom')
    poses = [matrix(message.pose.pose) for message in odometry]
    for before, after, message in zip(poses, poses[1:], odometry[1:], strict=False):
        linear, angular = message.twist.twist.linear, message.twist.twist.angular
        step = np.array([linear.x, linear.y, linear.z]) * 0.1
        turn = cv2.Rodrigues(np.array([angular.x, angular.y, angular.z]) * 0.1)[0]
        # the twist is of the body, in its frame at the end of the step
        np.testing.assert_allclose(before[:3, :3] @ turn, after[:3, :3], atol=1e-6)
        np.testing.assert_allclose(after[:3, :3] @ step, after[:3, 3] - before[:3, 3], atol=1e-3)


def test_the_manifest_tells_all(frames: list[SequenceFrame], tmp_path: Path) -> None:
    assert list(export.write_manifest(frames, tmp_path, 'walk')) == [1, 2, 3, 4]
    lines = [json.loads(line) for line in (tmp_path / 'manifest.jsonl').read_text().splitlines()]
    assert len(lines) == 4
    for line, frame in zip(lines, frames, strict=True):
        image = cv2.imread(str(tmp_path / line['image']))[..., ::-1]
        np.testing.assert_array_equal(image, frame.frame.image.numpy())
        depth = np.load(tmp_path / line['depth'], allow_pickle=False) * line['depth_scale']
        np.testing.assert_array_equal(depth, frame.depth.numpy())
        assert line['depth_kind'] == 'z'
        camera = {**line['camera'], 'distortion': tuple(line['camera']['distortion'])}
        assert Camera(**camera) == frame.frame.camera
        pose = torch.tensor(line['pose'], dtype=torch.float64).view(4, 4)
        assert torch.equal(pose, frame.world_from_camera)
        assert line['stamp'] == pytest.approx(frame.frame.stamp_ns / 1e9)


def test_an_interrupted_manifest_is_not_taken_for_a_whole_one(
    frames: list[SequenceFrame], tmp_path: Path
) -> None:
    writing = export.write_manifest(frames, tmp_path, 'walk')
    next(writing)
    writing.close()
    assert not (tmp_path / 'manifest.jsonl').exists()


def test_single_frames_have_scenes_and_cameras_of_their_own() -> None:
    generator = torch.Generator().manual_seed(0)
    found = list(export.single_frames('both', 3, 32, 24, generator))
    assert len({frame.frame.camera for frame in found}) == 3


def test_lidar_like_depth_is_sparse_and_true(frames: list[SequenceFrame]) -> None:
    generator = torch.Generator().manual_seed(0)
    for sparse, dense in zip(export.like_lidar(frames, 0.02, generator), frames, strict=True):
        kept = torch.isfinite(sparse.depth)
        assert 0 < kept.sum() <= 0.02 * kept.numel() + 1
        assert torch.equal(sparse.depth[kept], dense.depth[kept])


@pytest.mark.parametrize('seed', range(6))
def test_quaternion_is_the_rotation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, np.pi)
    axis = rng.normal(size=3)
    axis /= np.linalg.norm(axis)
    rotation = cv2.Rodrigues(axis * angle)[0]
    found = np.array(export.quaternion(torch.from_numpy(rotation)))
    expected = np.array([*(axis * np.sin(angle / 2)), np.cos(angle / 2)])
    np.testing.assert_allclose(found * np.sign(found @ expected), expected, atol=1e-9)


def test_the_world_is_seen_from_its_poses(frames: list[SequenceFrame]) -> None:
    """A point of the first frame, seen by the second, lies on the surface the second sees."""
    first, second = frames[0], frames[1]
    points = geometry.unproject(first.depth, first.frame.camera).double()
    points = points[torch.isfinite(points).all(-1)]
    pose = torch.linalg.inv(second.world_from_camera) @ first.world_from_camera
    moved = points @ pose[:3, :3].T + pose[:3, 3]
    pixel = geometry.project(moved, second.frame.camera).round()
    seen = (pixel[:, 0] >= 0) & (pixel[:, 0] < 64) & (pixel[:, 1] >= 0) & (pixel[:, 1] < 48)
    u, v = pixel[seen].long().unbind(-1)
    error = (second.depth[v, u] - moved[seen, 2]).abs() / moved[seen, 2]
    assert float(error.median()) < 0.02
