"""depth_node over real DDS, with a tiny random model: what arrives, and what does not."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy')

from metric_depth_ros.predictor import Predictor

TOPICS = ('depth/image', 'depth/uncertainty', 'depth/camera_info', 'depth/points')
WIDTH, HEIGHT = 64, 48


def pixels(message: Any, dtype: str) -> np.ndarray:
    return np.frombuffer(message.data, dtype).reshape(message.height, message.width)


def test_every_frame_is_answered_under_its_own_stamp_and_frame(make_rig):
    rig = make_rig().start()
    rig.send_info()
    for stamp in (11, 12, 13):
        rig.send_image(stamp, header=rig.header(stamp, f'camera_{stamp}'))
        rig.expect(stamp, *TOPICS)
    for topic in TOPICS:
        assert rig.stamps(topic) == [11, 12, 13]
        for message in rig.received[topic]:
            stamp = message.header.stamp
            assert stamp.nanosec == stamp.sec + 7
            assert message.header.frame_id == f'camera_{stamp.sec}'
            assert (message.width, message.height) == (WIDTH, HEIGHT)


def test_depth_is_metres_with_a_positive_finite_standard_deviation(make_rig):
    rig = make_rig().start()
    rig.send_info()
    rig.send_image(1)
    rig.expect(1, *TOPICS)
    (depth_message,), (std_message,) = (rig.received[topic] for topic in TOPICS[:2])
    assert depth_message.encoding == std_message.encoding == '32FC1'
    depth, std = pixels(depth_message, '<f4'), pixels(std_message, '<f4')
    finite = np.isfinite(depth)
    assert finite.sum() > 100
    assert (depth[finite] > 0).all()
    assert (std[finite] > 0).all()
    assert np.isfinite(std[finite]).all()


def test_cloud_is_the_unprojected_depth_in_the_colours_of_the_image(make_rig):
    rig = make_rig().start()
    rig.send_info()
    rig.send_image(5)
    rig.expect(5, *TOPICS)
    depth = pixels(rig.received['depth/image'][0], '<f4')
    std = pixels(rig.received['depth/uncertainty'][0], '<f4')
    info, cloud = rig.received['depth/camera_info'][0], rig.received['depth/points'][0]
    offsets = {f.name: f.offset for f in cloud.fields}
    raw = np.frombuffer(cloud.data, np.uint8).reshape(HEIGHT, WIDTH, cloud.point_step)

    def column(name: str, dtype: str) -> np.ndarray:
        start = offsets[name]
        return np.ascontiguousarray(raw[..., start : start + 4]).view(dtype)[..., 0]

    v, u = np.mgrid[:HEIGHT, :WIDTH]
    finite = np.isfinite(depth)
    z = np.where(finite, depth, 0)
    expected = {
        'x': (u - info.k[2]) / info.k[0] * z,
        'y': (v - info.k[5]) / info.k[4] * z,
        'z': z,
        'std': std,
    }
    for name, values in expected.items():
        scale = std if name == 'std' else z
        error = np.abs(column(name, '<f4') - values)[finite] / scale[finite]
        assert error.max() < 1e-4, name
        assert np.isnan(column(name, '<f4')[~finite]).all()
    colours = column('rgb', '<u4')
    rgb = np.stack([colours >> 16 & 255, colours >> 8 & 255, colours & 255], axis=-1)
    sent = np.frombuffer(rig.image(5).data, np.uint8).reshape(HEIGHT, WIDTH, 3)
    np.testing.assert_array_equal(rgb, sent)


def test_camera_info_of_the_depth_is_that_of_the_image(make_rig):
    rig = make_rig().start()
    distortion = [0.1, -0.05, 0.001, 0.002, 0.01]
    rig.send_info(d=distortion)
    rig.send_image(1)
    rig.expect(1, 'depth/camera_info')
    info = rig.received['depth/camera_info'][0]
    assert info.distortion_model == 'plumb_bob'
    np.testing.assert_allclose(info.d, distortion)
    np.testing.assert_allclose(info.k, [60, 0, 31, 0, 61, 23, 0, 0, 1])


def test_rectified_images_have_the_camera_of_p(make_rig):
    rig = make_rig(rectified=True).start()
    p = [50.0, 0.0, 30.0, 0.0, 0.0, 52.0, 22.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    rig.send_info(d=[0.1, -0.05, 0.001, 0.002, 0.01], p=p)
    rig.send_image(1)
    rig.expect(1, 'depth/camera_info')
    info = rig.received['depth/camera_info'][0]
    np.testing.assert_allclose(info.k, [50, 0, 30, 0, 52, 22, 0, 0, 1])
    assert not any(info.d)


def test_metric_message_holds_the_same_numbers(make_rig):
    msg = pytest.importorskip('metric_depth_ros.msg', reason='the messages are not built')
    rig = make_rig().start()
    rig._listen(msg.MetricDepth, 'depth/metric')
    rig.wait(lambda: all(p.get_subscription_count() for p in rig.node_publishers()))
    assert f'{rig.namespace}/depth/metric' in {p.topic_name for p in rig.node_publishers()}
    rig.send_info()
    rig.send_image(3)
    rig.expect(3, *TOPICS, 'depth/metric')
    (metric,) = rig.received['depth/metric']
    assert metric.depth == rig.received['depth/image'][0]
    assert metric.uncertainty == rig.received['depth/uncertainty'][0]
    assert metric.camera_info == rig.received['depth/camera_info'][0]
    assert metric.model == 'tiny'
    assert 0 < metric.latency_ms < 20_000


def test_jpeg_from_the_compressed_topic_is_what_the_raw_pixels_of_it_are(make_rig):
    raw, compressed = make_rig().start(), make_rig(image_transport='compressed').start()
    bgr = cv2.resize(np.arange(12, dtype=np.uint8).reshape(2, 2, 3) * 20, (WIDTH, HEIGHT))
    data = cv2.imencode('.jpg', bgr)[1]
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    from sensor_msgs.msg import CompressedImage

    jpeg = CompressedImage(header=raw.header(1), format='jpeg', data=data.tobytes())
    for rig in (raw, compressed):
        rig.send_info()
    raw.send_image(1, encoding='bgr8', data=decoded.tobytes())
    compressed.jpegs.publish(jpeg)
    for rig in (raw, compressed):
        rig.expect(1)
    depths = [pixels(rig.received['depth/image'][0], '<f4') for rig in (raw, compressed)]
    np.testing.assert_array_equal(*depths)


def test_latest_frame_wins_and_the_others_are_counted(make_rig):
    rig = make_rig(samples=16, steps=20).start()
    rig.send_info()
    stamps = range(1, 31)
    for stamp in stamps:
        rig.send_image(stamp)
    rig.expect(stamps[-1])
    rig.wait(lambda: rig.status()['processed'] == str(len(rig.stamps('depth/image'))))
    answered = rig.stamps('depth/image')
    assert answered == sorted(answered)
    assert len(answered) < len(stamps)
    status = rig.status()
    assert int(status['received']) == int(status['processed']) + int(status['dropped'])
    assert int(status['dropped']) > 0
    assert status['failed'] == '0'


def test_diagnostics_say_what_runs_where_and_how_fast(make_rig):
    rig = make_rig().start()
    rig.send_info()
    rig.send_image(1)
    rig.wait(lambda: rig.status()['processed'] == '1')
    status = rig.status()
    assert rig.received['/diagnostics'][-1].status[0].level == b'\0'
    assert (status['model'], status['device'], status['state']) == ('tiny', 'cpu', 'active')
    assert status['received'] == '1'
    assert float(status['rate_hz']) == pytest.approx(1 / 5)
    assert 0 < float(status['latency_p50_ms']) <= float(status['latency_p99_ms'])
    assert 0 < float(status['cpu_s']) < 60
    assert status['image_publishers'] == status['camera_info_publishers'] == '1'
    assert status['last_warning'] == ''
    assert status['novelty'] == ''  # this model does not know


def test_what_the_predictor_throws_costs_one_frame(make_rig, monkeypatch):
    import torch

    rig = make_rig().start()
    rig.send_info()
    faults = {1: torch.OutOfMemoryError('CUDA out of memory'), 2: KeyError('a fault of ours')}
    predict = Predictor.__call__

    def faulty(self: Predictor, frame: Any) -> Any:
        stamp = frame.stamp_ns // 1_000_000_000
        if stamp in faults:
            raise faults[stamp]
        return predict(self, frame)

    monkeypatch.setattr(Predictor, '__call__', faulty)
    for stamp in faults:
        rig.send_image(stamp)
        rig.wait(lambda stamp=stamp: rig.node.health.failed == stamp)
    rig.send_image(3)
    rig.expect(3)
    text = '\n'.join(rig.warnings())
    assert 'image: no GPU memory left with samples = 2' in text
    assert "KeyError: 'a fault of ours'" in text
    assert 'Traceback' in text  # a fault of ours is shown with its place
    rig.wait(lambda: rig.status()['failed'] == '2')
    assert rig.status()['processed'] == '1'
