"""Bags of both ROS and all storages read alike; what cannot be read is named and counted."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from metric_depth_ros.bags.reader import Bag, BagError, deserialize
from metric_depth_ros.bags.topics import Topics

from .conftest import CAMERA, FIRST_NS, STEP_NS, BagMaker, Layout, picture, true_depth

WriteBag = Callable[..., Path]
STAMPS = [FIRST_NS, FIRST_NS + STEP_NS, FIRST_NS + 2 * STEP_NS]


@pytest.mark.parametrize('storage', ['ros1', 'sqlite3', 'mcap'])
@pytest.mark.parametrize('compressed', [False, True])
def test_frames_are_what_was_recorded(write_bag: WriteBag, storage: str, compressed: bool):
    image = '/camera/color/image_raw' + ('/compressed' if compressed else '')
    with Bag(write_bag(Layout(storage, image, compressed=compressed))) as bag:
        topics = bag.find_topics()
        frames = list(bag.frames(topics))
    assert topics == Topics(
        image, '/camera/color/camera_info', '/camera/aligned_depth_to_color/image_raw'
    )
    assert bag.problems == []
    assert [f.frame.stamp_ns for f in frames] == STAMPS
    for index, recorded in enumerate(frames):
        assert recorded.frame.camera == CAMERA
        assert recorded.frame.frame_id == 'camera_optical'
        np.testing.assert_array_equal(recorded.frame.image, picture(index))
        metres = true_depth(index).astype(np.float32) / 1000
        np.testing.assert_array_equal(recorded.depth, np.where(metres > 0, metres, np.nan))
        assert recorded.recorded_ns == STAMPS[index] + 5_000_000
        assert [m.topic for m in recorded.recorded] == [
            topics.image,
            topics.camera_info,
            topics.depth,
        ]


@pytest.mark.parametrize('storage', ['sqlite3', 'mcap'])
def test_a_storage_file_and_a_folder_without_metadata(write_bag: WriteBag, storage: str):
    folder = write_bag(Layout(storage))
    (file,) = [f for f in folder.iterdir() if f.suffix in ('.mcap', '.db3')]
    with Bag(file) as bag:
        assert len(list(bag.frames(bag.find_topics()))) == 3
    (folder / 'metadata.yaml').unlink()
    with Bag(folder) as bag:
        assert len(list(bag.frames(bag.find_topics()))) == 3


@pytest.mark.parametrize('storage', ['ros1', 'mcap'])
def test_messages_come_as_ros2_messages(write_bag: WriteBag, storage: str):
    with Bag(write_bag(Layout(storage))) as bag:
        transforms = list(bag.messages(['/tf']))
        info = next(bag.messages(['/camera/color/camera_info']))
        assert list(bag.messages([])) == []
    assert [m.recorded_ns for m in transforms] == [s + 5_000_000 for s in STAMPS]
    assert {m.type for m in transforms} == {'tf2_msgs/msg/TFMessage'}
    (transform,) = deserialize(transforms[0]).transforms
    assert (transform.transform.translation.z, transform.child_frame_id) == (3.0, 'camera_optical')
    assert deserialize(info).k[0] == CAMERA.fx
    assert deserialize(info).header.stamp.nanosec == FIRST_NS % 10**9


def test_part_of_a_bag(write_bag: WriteBag):
    with Bag(write_bag()) as bag:
        topics = bag.find_topics()
        second = bag.recorded_ns(topics.image, 1)
        assert second == STAMPS[1] + 5_000_000
        assert bag.recorded_ns(topics.image, 3) is None
        assert bag.count(topics.image) == 3
        frames = list(bag.frames(topics, stop_ns=second))
        assert [f.frame.stamp_ns for f in frames] == STAMPS[:1]
        frames = list(bag.frames(topics, start_ns=second))
        assert [f.frame.stamp_ns for f in frames] == STAMPS[1:]


@pytest.mark.parametrize(('delay_ms', 'found'), [(-19, True), (19, True), (21, False)])
def test_depth_is_matched_by_nearest_stamp(write_bag: WriteBag, delay_ms: int, found: bool):
    layout = Layout(depth_delay_ns=delay_ms * 1_000_000)
    with Bag(write_bag(layout)) as bag:
        frames = list(bag.frames(bag.find_topics(), tolerance_s=0.02))
    assert len(frames) == 3
    for index, recorded in enumerate(frames):
        assert (recorded.depth is not None) == found
        if recorded.depth is not None:
            assert recorded.depth[0, 0].item() == pytest.approx(true_depth(index)[0, 0] / 1000)


def test_depth_of_another_frame_is_used_only_when_told(write_bag: WriteBag):
    def shift(writer: BagMaker) -> None:
        stamp_ns = FIRST_NS + 3 * STEP_NS
        writer.write(
            '/camera/color/image_raw', stamp_ns, writer.image(stamp_ns, picture(3), 'rgb8')
        )
        writer.write('/camera/color/camera_info', stamp_ns, writer.camera_info(stamp_ns))
        depth = writer.image(stamp_ns, true_depth(3), '16UC1')
        depth.header.frame_id = 'lidar'
        writer.write('/camera/aligned_depth_to_color/image_raw', stamp_ns, depth)

    with Bag(write_bag(Layout(), shift)) as bag:
        found = list(bag.frames(bag.find_topics()))
        problems = list(bag.problems)
        told = bag.find_topics(depth='/camera/aligned_depth_to_color/image_raw')
        trusted = list(bag.frames(told))
    assert found[3].depth is None
    assert "depth in frame 'lidar', expected 'camera_optical'" in problems[0].reason
    assert trusted[3].depth is not None
    assert len(bag.problems) == len(problems) == 1


def test_one_camera_info_serves_all(write_bag: WriteBag):
    def latched(writer: BagMaker) -> None:
        writer.write('/camera/color/camera_info', FIRST_NS - 10**9, writer.camera_info(0))

    with Bag(write_bag(Layout(camera_info=None), latched)) as bag:
        frames = list(bag.frames(bag.find_topics()))
    assert [f.frame.stamp_ns for f in frames] == STAMPS
    assert {f.frame.camera for f in frames} == {CAMERA}


def test_messages_that_cannot_be_used_are_named_and_the_rest_goes_on(write_bag: WriteBag):
    def damage(writer: BagMaker) -> None:
        def at(index: int) -> int:
            return FIRST_NS + index * STEP_NS

        image = writer.image(at(3), picture(3), 'rgb8')
        data = bytes(writer.store.serialize_cdr(image, 'sensor_msgs/msg/Image'))
        writer.write_raw('/camera/color/image_raw', 'sensor_msgs/msg/Image', at(3), data[:100])
        image.encoding = 'purple8'
        writer.write('/camera/color/image_raw', at(3) + 1, image)
        writer.write('/camera/color/camera_info', at(3) + 2, writer.camera_info(at(3)))
        small = writer.image(at(4), true_depth(4)[:12], '16UC1')
        writer.write('/camera/color/image_raw', at(4), writer.image(at(4), picture(4), 'rgb8'))
        writer.write('/camera/color/camera_info', at(4), writer.camera_info(at(4)))
        writer.write('/camera/aligned_depth_to_color/image_raw', at(4), small)

    with Bag(write_bag(Layout(), damage)) as bag:
        frames = list(bag.frames(bag.find_topics()))
    assert [f.frame.stamp_ns for f in frames] == [*STAMPS, FIRST_NS + 4 * STEP_NS]
    assert frames[-1].depth is None
    topics = [p.topic for p in bag.problems]
    assert topics == ['/camera/color/image_raw'] * 2 + ['/camera/aligned_depth_to_color/image_raw']
    truncated, unknown, unregistered = (p.reason for p in bag.problems)
    assert 'not a sensor_msgs/msg/Image' in truncated
    assert 'purple8' in unknown
    assert '32x12' in unregistered
    assert '32x24' in unregistered
    assert bag.problems[0].recorded_ns == FIRST_NS + 3 * STEP_NS


def test_a_damaged_bag_is_read_as_far_as_it_goes(write_bag: WriteBag):
    path = write_bag(Layout(frames=600))  # more than one chunk of a megabyte
    (file,) = path.glob('*.mcap')
    data = bytearray(file.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 20_000] = b'\xff' * 20_000
    file.write_bytes(data)
    with Bag(path) as bag:
        frames = list(bag.frames(bag.find_topics()))
    assert 0 < len(frames) < 600
    assert 'the rest of the bag cannot be read' in bag.problems[0].reason


@pytest.mark.parametrize('name', ['x.mcap', 'x.bag', 'x.db3', 'x.txt'])
def test_files_that_are_no_bags(tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(b'no bag at all' * 50)
    with pytest.raises(BagError, match=name) as caught:
        Bag(tmp_path / name)
    assert '\n' not in str(caught.value)


def test_bags_that_are_missing_or_incomplete(tmp_path: Path, write_bag: WriteBag):
    with pytest.raises(BagError, match='no such bag'):
        Bag(tmp_path / 'nowhere.mcap')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(BagError, match=r'no metadata\.yaml'):
        Bag(tmp_path / 'empty')
    folder = write_bag()
    (folder / 'metadata.yaml').write_text('nonsense: [')
    with pytest.raises(BagError, match='not a readable bag'):
        Bag(folder)
    shutil.rmtree(folder)


@pytest.mark.parametrize('name', ['cabinet_raw_mcap', 'cabinet_jpeg_mcap'])
def test_real_bags(shared_data: Path, name: str):
    with Bag(shared_data / 'bags' / name) as bag:
        topics = bag.find_topics()
        stop_ns = bag.recorded_ns(topics.image, 3)
        frames = list(bag.frames(topics, stop_ns=stop_ns))
    assert bag.problems == []
    assert topics.depth == '/camera/aligned_depth_to_color/image_raw'
    assert len(frames) == 3
    for recorded in frames:
        assert recorded.frame.image.shape == (480, 640, 3)
        assert (recorded.frame.camera.fx, recorded.frame.camera.cy) == (535.4, 247.6)
        assert recorded.depth is not None
        valid = torch.isfinite(recorded.depth)
        assert 0.5 < valid.float().mean() < 1
        assert 0.4 < recorded.depth[valid].min() < recorded.depth[valid].max() < 10
