"""PointCloud2 and rgb8 as published, parsed back by nothing but the table of fields."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from metric_depth_ros.messages import (
    cloud_fields,
    image_fields,
    image_from_message,
    map_cloud_fields,
    stamp_ns,
)

NAN, INF = float('nan'), float('inf')


def parsed(cloud: Any) -> np.ndarray:
    """(H, W) records of a cloud of FLOAT32 columns."""
    assert all((field.datatype, field.count) == (7, 1) for field in cloud.fields)
    dtype = np.dtype(
        {
            'names': [field.name for field in cloud.fields],
            'formats': ['>f4' if cloud.is_bigendian else '<f4'] * len(cloud.fields),
            'offsets': [field.offset for field in cloud.fields],
            'itemsize': cloud.point_step,
        }
    )
    assert len(cloud.data) == cloud.row_step * cloud.height
    rows = np.frombuffer(bytes(cloud.data), np.uint8).reshape(cloud.height, cloud.row_step)
    used = np.ascontiguousarray(rows[:, : cloud.width * cloud.point_step])
    return used.view(dtype)


def scene(height: int = 5, width: int = 7) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    points = 10 * torch.randn(height, width, 3, generator=generator)
    image = torch.randint(
        0, 256, (height, width, 3), generator=generator, dtype=torch.uint8
    )  # fmt: skip
    return points, image, torch.rand(height, width, generator=generator)


def test_columns_shape_and_values(library: Any) -> None:
    points, image, std = scene()
    cloud = library.publish(cloud_fields(points, image, std))
    assert (cloud.height, cloud.width) == (5, 7)
    assert [field.name for field in cloud.fields] == ['x', 'y', 'z', 'rgb', 'std']
    assert not cloud.is_dense
    records = parsed(cloud)
    for axis, name in enumerate('xyz'):
        np.testing.assert_array_equal(records[name], points[..., axis].numpy())
    np.testing.assert_array_equal(records['std'], std.numpy())


def test_rgb_is_packed_as_pcl_reads_it(library: Any) -> None:
    points, image, std = scene()
    image[0, 0] = torch.tensor([255, 128, 1], dtype=torch.uint8)
    cloud = library.publish(cloud_fields(points, image, std))
    packed = np.ascontiguousarray(parsed(cloud)['rgb']).view('<u4')
    assert packed[0, 0] == 0x00FF8001
    unpacked = np.stack([packed >> 16 & 255, packed >> 8 & 255, packed & 255], axis=-1)
    np.testing.assert_array_equal(unpacked, image.numpy())
    np.testing.assert_array_equal(packed >> 24, 0)


@pytest.mark.parametrize(
    'bad', [(NAN, NAN, NAN), (1.0, 2.0, NAN), (INF, 0.0, 1.0), (INF, -INF, 1.0)]
)
def test_a_point_that_is_not_there_is_nan_and_so_is_its_std(
    library: Any, bad: tuple[float, ...]
) -> None:
    points, image, std = scene()
    points[2, 3] = torch.tensor(bad)
    std[4, 4] = NAN
    records = parsed(library.publish(cloud_fields(points, image, std)))
    for name in ('x', 'y', 'z'):
        expected = np.zeros((5, 7), dtype=bool)
        expected[2, 3] = True
        np.testing.assert_array_equal(np.isnan(records[name]), expected)
    expected[4, 4] = True
    np.testing.assert_array_equal(np.isnan(records['std']), expected)
    colours = np.ascontiguousarray(records['rgb']).view('<u4')
    red, green, blue = image[2, 3].tolist()
    assert colours[2, 3] == red << 16 | green << 8 | blue


def test_cloud_of_a_map(library: Any) -> None:
    points, image, _ = scene()
    cloud = library.publish(map_cloud_fields(points.reshape(-1, 3), image.reshape(-1, 3)))
    assert (cloud.height, cloud.width) == (1, 35)
    assert cloud.is_dense
    records = parsed(cloud)[0]
    for axis, name in enumerate('xyz'):
        np.testing.assert_array_equal(records[name], points.reshape(-1, 3)[:, axis].numpy())
    red, green, blue = image.reshape(-1, 3)[4].tolist()
    assert records['rgb'].view('<u4')[4] == red << 16 | green << 8 | blue
    nothing = torch.zeros(0, 3)
    assert library.publish(map_cloud_fields(nothing, nothing.byte())).width == 0


def test_the_arguments_are_left_as_they_were() -> None:
    points, image, std = scene()
    points[0, 0, 2] = NAN
    before = points.clone(), image.clone(), std.clone()
    cloud_fields(points, image, std)
    for now, then in zip((points, image, std), before, strict=True):
        torch.testing.assert_close(now, then, rtol=0, atol=0, equal_nan=True)


def test_views_are_sent_as_they_look(library: Any) -> None:
    points, image, std = scene(6, 8)
    flipped = cloud_fields(points.flip(1), image.flip(1), std.flip(1))
    transposed = cloud_fields(points.transpose(0, 1), image.transpose(0, 1), std.T)
    straight = parsed(library.publish(cloud_fields(points, image, std)))
    for fields, expected in ((flipped, straight[:, ::-1]), (transposed, straight.T)):
        records = parsed(library.publish(fields))
        assert records.tobytes() == np.ascontiguousarray(expected).tobytes()


def test_image_is_sent_as_rgb8(library: Any) -> None:
    _, image, _ = scene()
    sent = library.publish(image_fields(image))
    assert (sent.encoding, sent.step) == ('rgb8', 21)
    torch.testing.assert_close(image_from_message(sent), image)


def test_header_is_passed_on(library: Any) -> None:
    header = library.header(sec=12, nanosec=345_678_901, frame_id='camera_optical')
    sent = library.publish(cloud_fields(*scene()), header)
    assert sent.header.frame_id == 'camera_optical'
    assert stamp_ns(sent.header) == 12_345_678_901


def test_both_libraries_send_the_same_bytes(
    rclpy_library: Any, rosbags_library: Any, rosbags_store: Any
) -> None:
    """Serialised by each, a cloud is the same on the wire."""
    serialization = pytest.importorskip('rclpy.serialization')
    for fields in (cloud_fields(*scene()), image_fields(scene()[1])):
        arguments = {'sec': 5, 'nanosec': 6, 'frame_id': 'optical'}
        ours = rclpy_library.publish(fields, rclpy_library.header(**arguments))
        theirs = rosbags_library.publish(fields, rosbags_library.header(**arguments))
        name = f'sensor_msgs/msg/{fields.ros_type}'
        read_back = rosbags_store.deserialize_cdr(serialization.serialize_message(ours), name)
        assert read_back.header == theirs.header
        np.testing.assert_array_equal(read_back.data, theirs.data)
        assert rosbags_store.serialize_cdr(read_back, name) == rosbags_store.serialize_cdr(
            theirs, name
        )


def test_agrees_with_sensor_msgs_py(rclpy_library: Any) -> None:
    point_cloud2 = pytest.importorskip('sensor_msgs_py.point_cloud2')
    points, image, std = scene()
    points[1, 1] = NAN
    cloud = rclpy_library.publish(cloud_fields(points, image, std))
    records = point_cloud2.read_points(cloud)
    expected = parsed(cloud).reshape(-1)
    for name in ('x', 'y', 'z', 'rgb', 'std'):
        np.testing.assert_array_equal(records[name], expected[name])
    finite = point_cloud2.read_points(cloud, field_names=('x', 'y', 'z'), skip_nans=True)
    assert len(finite) == 34
