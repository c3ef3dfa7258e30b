"""A bag through a node of its own, over DDS: real recordings and made-up ones."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('rclpy')

from metric_depth_ros.bags.reader import Bag, BagMessage
from metric_depth_ros.bags.topics import CAMERA_INFO_TYPE, IMAGE_TYPE, Topics
from metric_depth_ros.ros.bag_player import LiveResult, play_through_node
from metric_depth_ros.ros.child_node import NodeError, environment, large_message_profile
from metric_depth_ros.ros.parameters import Parameters

TOPICS = Topics('/camera/image_raw', '/camera/camera_info')


def play(
    bag_path: Path, model_folder: Path, rate: float, stop_s: float | None = None
) -> tuple[LiveResult, dict[int, Any]]:
    """What came back, and the frames of the bag by their stamps."""
    with Bag(bag_path) as bag:
        topics = bag.find_topics()
        cameras = (topics.image, topics.camera_info)
        stop_ns = None
        if stop_s is not None:
            stop_ns = next(bag.messages(cameras)).recorded_ns + round(stop_s * 1e9)
        frames = {f.frame.stamp_ns: f.frame for f in bag.frames(topics, stop_ns=stop_ns)}
        parameters = Parameters(model=str(model_folder), device='cpu', samples=1)
        result = play_through_node(
            bag.messages(cameras, stop_ns=stop_ns), topics, parameters=parameters, rate=rate
        )
    return result, frames


def check_result(result: LiveResult, frames: dict[int, Any]) -> None:
    assert list(result.sent) == list(frames)
    assert set(result.predictions) | set(result.dropped) == set(frames)
    assert not set(result.predictions) & set(result.dropped)
    assert result.sent[-1] in result.predictions  # the latest frame wins
    assert result.clouds == set(result.predictions) == set(result.latencies_s)
    for stamp, prediction in result.predictions.items():
        frame = frames[stamp]
        assert prediction.stamp_ns == stamp
        assert prediction.frame_id == frame.frame_id
        assert prediction.camera == frame.camera
        finite = prediction.depth.isfinite()
        assert finite.any()
        assert (prediction.std[finite] > 0).all()
        assert prediction.std[finite].isfinite().all()
    assert 0 < result.latency_ms(50) <= result.latency_ms(99)
    counts = {key: int(result.status[key]) for key in ('received', 'processed', 'dropped')}
    assert counts['received'] == len(result.sent)
    assert counts['processed'] == len(result.predictions)
    assert counts['dropped'] == len(result.dropped)
    assert not [line for line in result.log if 'WARN' in line or 'ERROR' in line]
    assert 'Traceback' not in '\n'.join(result.log)


def test_raw_bag(shared_data: Path, model_folder: Path):
    result, frames = play(shared_data / 'bags' / 'cabinet_raw_mcap', model_folder, rate=6.0)
    check_result(result, frames)
    assert len(frames) == 7


def test_jpeg_bag_faster_than_the_node(shared_data: Path, model_folder: Path):
    path = shared_data / 'bags' / 'cabinet_jpeg_mcap'
    result, frames = play(path, model_folder, rate=60.0, stop_s=20.0)
    check_result(result, frames)
    assert len(frames) > 20
    assert result.dropped


def recording(changes: dict[str, Any], count: int = 3) -> Iterator[BagMessage]:
    """Images and camera_infos as a bag has them, 50 ms apart; `changes` spoil the second image."""
    from builtin_interfaces.msg import Time
    from rclpy.serialization import serialize_message
    from sensor_msgs.msg import CameraInfo, Image
    from std_msgs.msg import Header

    for index in range(count):
        header = Header(stamp=Time(sec=index + 1, nanosec=5), frame_id='camera')
        image = {'width': 8, 'height': 6, 'step': 24, 'encoding': 'rgb8', 'data': b'\x50' * 144}
        image |= changes if index == 1 else {}
        k = [9.0, 0.0, 4.0, 0.0, 9.0, 3.0, 0.0, 0.0, 1.0]
        info = CameraInfo(header=header, width=8, height=6, k=k)
        recorded_ns = index * 50_000_000
        yield BagMessage(
            TOPICS.camera_info, CAMERA_INFO_TYPE, recorded_ns, serialize_message(info)
        )
        raw = serialize_message(Image(header=header, **image))
        yield BagMessage(TOPICS.image, IMAGE_TYPE, recorded_ns, raw)


def test_node_that_dies_is_one_clear_line(tmp_path: Path):
    words = r'^depth_node ended with exit status 2: cannot load model .*no_such_folder'
    with pytest.raises(NodeError, match=words) as caught:
        play_through_node(
            recording({}), TOPICS, parameters=Parameters(model=str(tmp_path / 'no_such_folder'))
        )
    assert '\n' not in str(caught.value)


def test_attached_to_a_node_that_loses_a_frame(make_rig: Any):
    rig = make_rig(qos_publish='best_effort')
    assert rig.node.start()
    topics = Topics(f'{rig.namespace}/image', f'{rig.namespace}/camera_info')
    names = {TOPICS.image: topics.image, TOPICS.camera_info: topics.camera_info}
    spoilt = [replace(m, topic=names[m.topic]) for m in recording({'step': 3})]
    progress: list[tuple[int, int]] = []
    result = play_through_node(
        spoilt,
        topics,
        attach=True,
        namespace=rig.namespace,
        rate=0.2,
        on_progress=lambda sent, received: progress.append((sent, received)),
    )
    bad = 2_000_000_005
    assert result.sent == (1_000_000_005, bad, 3_000_000_005)
    assert result.dropped == (bad,)
    assert {p.frame_id for p in result.predictions.values()} == {'camera'}
    assert result.status['failed'] == '1'
    assert 'step is 3' in result.status['last_warning']
    assert result.log == ()
    assert progress == sorted(progress)
    assert progress[-1] == (3, 2)


@pytest.mark.parametrize(
    ('messages', 'rate', 'words'),
    [([], 1.0, 'no message on /camera/image_raw'), ([], 0.0, 'rate is 0.0, expected a positive')],
)
def test_nothing_to_play(messages: list[BagMessage], rate: float, words: str):
    with pytest.raises(NodeError, match=words):
        play_through_node(messages, TOPICS, rate=rate)


def test_without_ros_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, 'diagnostic_msgs.msg', None)  # as where it is not installed
    with pytest.raises(NodeError, match=r'playing live needs ROS 2.*pip install'):
        play_through_node(recording({}), TOPICS, attach=True)


def test_attaching_to_nobody_ends(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr('metric_depth_ros.ros.bag_player.ATTACH_TIMEOUT_S', 0.2)
    with pytest.raises(NodeError, match='nobody subscribes to /camera/image_raw'):
        play_through_node(recording({}), TOPICS, attach=True)


def test_environment_is_as_it_was_afterwards(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv('ROS_DOMAIN_ID', '7')
    monkeypatch.delenv('FASTDDS_DEFAULT_PROFILES_FILE', raising=False)
    profile = large_message_profile()
    assert Path(profile['FASTDDS_DEFAULT_PROFILES_FILE']).is_file()
    with environment({'ROS_DOMAIN_ID': '8'} | profile):
        assert os.environ['ROS_DOMAIN_ID'] == '8'
        assert large_message_profile() == {}  # what the user has chosen stays
    assert os.environ['ROS_DOMAIN_ID'] == '7'
    assert 'FASTDDS_DEFAULT_PROFILES_FILE' not in os.environ
