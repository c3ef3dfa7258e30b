"""Topics found by convention in the layouts of drivers, simulators and data sets."""

from __future__ import annotations

import pytest

from metric_depth_ros.bags.topics import TopicError, Topics, find_topics, is_rectified

IMAGE, JPEG = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
INFO, CLOUD = 'sensor_msgs/msg/CameraInfo', 'sensor_msgs/msg/PointCloud2'

REALSENSE = {
    '/camera/color/image_raw': IMAGE,
    '/camera/color/image_raw/compressed': JPEG,
    '/camera/color/image_raw/compressedDepth': JPEG,
    '/camera/color/camera_info': INFO,
    '/camera/depth/image_rect_raw': IMAGE,
    '/camera/depth/camera_info': INFO,
    '/camera/aligned_depth_to_color/image_raw': IMAGE,
    '/camera/aligned_depth_to_color/camera_info': INFO,
    '/camera/infra1/image_rect_raw': IMAGE,
    '/camera/infra1/camera_info': INFO,
    '/camera/depth/color/points': CLOUD,
}
TUM = {
    '/camera/rgb/image_color': IMAGE,
    '/camera/rgb/camera_info': INFO,
    '/camera/depth/image': IMAGE,
    '/camera/depth/camera_info': INFO,
}
OPENNI = {
    '/camera/rgb/image_raw': IMAGE,
    '/camera/rgb/image_rect_color': IMAGE,
    '/camera/rgb/camera_info': INFO,
    '/camera/depth/image_raw': IMAGE,
    '/camera/depth_registered/image_raw': IMAGE,
}
STEREO = {
    '/stereo/right/image_raw': IMAGE,
    '/stereo/right/camera_info': INFO,
    '/stereo/left/image_raw': IMAGE,
    '/stereo/left/camera_info': INFO,
    '/stereo/disparity': 'stereo_msgs/msg/DisparityImage',
}
PHONE = {'/image/compressed': JPEG, '/camera_info': INFO, '/imu': 'sensor_msgs/msg/Imu'}
COMPRESSED = {
    '/cam/image_raw/compressed': JPEG,
    '/cam/camera_info': INFO,
    '/cam/depth/image_raw/compressedDepth': JPEG,
}
FAR_INFO = {'/webcam': IMAGE, '/calibration/left_info': INFO}
OURS = {
    '/camera/image_raw': IMAGE,
    '/camera/camera_info': INFO,
    '/depth/image': IMAGE,
    '/depth/uncertainty': IMAGE,
    '/depth/camera_info': INFO,
}


@pytest.mark.parametrize(
    ('topics', 'expected'),
    [
        (
            REALSENSE,
            (
                '/camera/color/image_raw',
                '/camera/color/camera_info',
                '/camera/aligned_depth_to_color/image_raw',
            ),
        ),
        (TUM, ('/camera/rgb/image_color', '/camera/rgb/camera_info', '/camera/depth/image')),
        (
            OPENNI,
            (
                '/camera/rgb/image_raw',
                '/camera/rgb/camera_info',
                '/camera/depth_registered/image_raw',
            ),
        ),
        (STEREO, ('/stereo/left/image_raw', '/stereo/left/camera_info', None)),
        (PHONE, ('/image/compressed', '/camera_info', None)),
        (
            COMPRESSED,
            (
                '/cam/image_raw/compressed',
                '/cam/camera_info',
                '/cam/depth/image_raw/compressedDepth',
            ),
        ),
        (FAR_INFO, ('/webcam', '/calibration/left_info', None)),
        (OURS, ('/camera/image_raw', '/camera/camera_info', None)),
    ],
)
def test_conventions(topics: dict[str, str], expected: tuple[str, str, str | None]):
    assert find_topics(topics) == Topics(*expected)
    backwards = dict(reversed(topics.items()))
    assert find_topics(backwards) == Topics(*expected)


def test_what_is_told_is_taken():
    told = Topics(
        '/camera/infra1/image_rect_raw',
        '/camera/depth/camera_info',
        '/camera/depth/image_rect_raw',
        depth_was_told=True,
    )
    assert find_topics(REALSENSE, told.image, told.camera_info, told.depth) == told
    by_image = find_topics(REALSENSE, '/camera/infra1/image_rect_raw')
    assert by_image.camera_info == '/camera/infra1/camera_info'


@pytest.mark.parametrize(
    ('told', 'message'),
    [
        ({'image': '/nope'}, r'no topic /nope; the bag has .*/camera/rgb/image_color \(sensor_'),
        ({'image': '/camera/rgb/camera_info'}, r'/camera/rgb/camera_info is .*CameraInfo, expec'),
        ({'camera_info': '/nope'}, 'no topic /nope'),
        ({'camera_info': '/camera/depth/image'}, r'is sensor_msgs/msg/Image, expected .*Camera'),
        ({'depth': '/camera/rgb/camera_info'}, 'expected sensor_msgs/msg/Image'),
    ],
)
def test_what_is_told_is_checked(told: dict[str, str], message: str):
    with pytest.raises(TopicError, match=message):
        find_topics(TUM, **told)


@pytest.mark.parametrize(
    ('topics', 'message'),
    [
        ({}, 'no image topic .* the bag is empty'),
        ({'/scan': 'sensor_msgs/msg/LaserScan'}, r'the bag has /scan \(sensor_msgs/msg/LaserScan'),
        ({'/cam/depth/image': IMAGE}, 'no image topic'),
        ({'/cam/image': IMAGE}, r'expected /cam/camera_info, or name one with --camera-info'),
        ({'/a/image': IMAGE, '/b/camera_info': INFO, '/c/camera_info': INFO}, '/a/camera_info'),
    ],
)
def test_what_is_missing_is_named(topics: dict[str, str], message: str):
    with pytest.raises(TopicError, match=message):
        find_topics(topics)


def test_rectified_by_name():
    assert is_rectified('/camera/image_rect_color')
    assert not is_rectified('/camera/direct/image_raw')
