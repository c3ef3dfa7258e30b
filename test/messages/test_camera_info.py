"""CameraInfo -> Camera and back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from metric_depth_ros.messages import camera_from_message, camera_info_fields
from metric_depth_ros.types import Camera, CameraError

PLUMB_BOB = (0.1, -0.2, 0.001, -0.002, 0.05)
RATIONAL = (*PLUMB_BOB, 0.3, -0.1, 0.02)
FISHEYE = (0.05, -0.01, 0.002, -0.001)


def test_intrinsics(library: Any) -> None:
    camera = camera_from_message(library.camera_info(), (640, 480))
    assert camera == Camera(500.0, 510.0, 320.0, 240.0, 640, 480)


@pytest.mark.parametrize(
    ('name', 'sent', 'model', 'expected'),
    [
        ('plumb_bob', (), 'none', ()),
        ('', (), 'none', ()),
        ('plumb_bob', (0.0,) * 5, 'none', ()),
        ('equidistant', (0.0,) * 4, 'equidistant', (0.0,) * 4),
        ('equidistant', (), 'equidistant', (0.0,) * 4),
        ('whatever', (0.0,) * 7, 'none', ()),
        ('plumb_bob', PLUMB_BOB, 'plumb_bob', PLUMB_BOB),
        ('plumb_bob', PLUMB_BOB[:4], 'plumb_bob', PLUMB_BOB[:4]),
        ('plumb_bob', (*PLUMB_BOB, 0.0, 0.0, 0.0), 'plumb_bob', PLUMB_BOB),
        ('', PLUMB_BOB, 'plumb_bob', PLUMB_BOB),
        ('rational_polynomial', RATIONAL, 'rational_polynomial', RATIONAL),
        ('', RATIONAL, 'rational_polynomial', RATIONAL),
        ('rational_polynomial', PLUMB_BOB, 'rational_polynomial', (*PLUMB_BOB, 0.0, 0.0, 0.0)),
        ('rational_polynomial', (*RATIONAL, *(0.0,) * 4), 'rational_polynomial', RATIONAL),
        ('rational_polynomial', (*RATIONAL, *(0.0,) * 6), 'rational_polynomial', RATIONAL),
        ('equidistant', FISHEYE, 'equidistant', FISHEYE),
        ('fisheye', FISHEYE, 'equidistant', FISHEYE),
    ],
)
def test_distortion(
    library: Any,
    name: str,
    sent: tuple[float, ...],
    model: str,
    expected: tuple[float, ...],
) -> None:
    camera = camera_from_message(library.camera_info(distortion_model=name, d=sent))
    assert (camera.distortion_model, camera.distortion) == (model, expected)


@pytest.mark.parametrize('count', [5, 12, 14])
def test_zeros_at_the_end_mean_the_same_to_opencv(library: Any, count: int) -> None:
    """Why coefficients may be cut and added: OpenCV projects to the same pixels."""
    sent = (*RATIONAL, *(0.0,) * 6)[:count]
    info = library.camera_info(distortion_model='rational_polynomial', d=sent)
    kept = camera_from_message(info).distortion
    points = np.random.default_rng(1).uniform([-1, -1, 1], [1, 1, 4], (50, 3))
    k = np.array([[500.0, 0, 320], [0, 510, 240], [0, 0, 1]])
    no_motion = np.zeros(3), np.zeros(3)
    theirs, _ = cv2.projectPoints(points, *no_motion, k, np.array(sent))
    ours, _ = cv2.projectPoints(points, *no_motion, k, np.array(kept))
    np.testing.assert_allclose(ours, theirs, atol=1e-9)


@pytest.mark.parametrize(
    ('changes', 'expected'),
    [
        ({'k': (0.0,) * 9}, ['0.0', 'not calibrated']),
        ({'k': (0.0, 0, 320, 0, 510, 240, 0, 0, 1)}, ['fx', '0.0', 'positive']),
        ({'k': (500.0, 0, 320, 0, float('nan'), 240, 0, 0, 1)}, ['fy', 'nan', 'finite']),
        ({'k': (float('inf'), 0, 320, 0, 510, 240, 0, 0, 1)}, ['fx', 'inf', 'finite']),
        ({'k': (-500.0, 0, 320, 0, 510, 240, 0, 0, 1)}, ['fx', '-500.0', 'positive']),
        ({'k': (500.0, 0, float('nan'), 0, 510, 240, 0, 0, 1)}, ['cx', 'nan', 'finite']),
        ({'size': (0, 0)}, ['width', '0']),
        ({'distortion_model': 'thin_prism', 'd': FISHEYE}, ["'thin_prism'", 'plumb_bob']),
        ({'distortion_model': '', 'd': FISHEYE}, ["''", '4 coefficients', 'equidistant']),
        ({'d': RATIONAL}, ['8', '[0.3, -0.1, 0.02]', 'at most 5', 'plumb_bob']),
        ({'d': (0.1, 0.2)}, ['2 coefficients', '4 or 5', 'plumb_bob']),
        ({'d': (0.1, float('nan'), 0.0, 0.0)}, ['nan', 'finite']),
        (
            {'distortion_model': 'rational_polynomial', 'd': (*RATIONAL, 0.0, 0.7, 0.0, 0.0)},
            ['12', '0.7', 'at most 8'],
        ),
        ({'roi': (600, 0, 100, 480)}, ['100x480', '(600, 0)', '640x480']),
        ({'roi': (0, 1, 640, 480)}, ['640x480', '(0, 1)']),
    ],
)
def test_cameras_that_cannot_be(
    library: Any, changes: dict[str, Any], expected: list[str]
) -> None:
    with pytest.raises(CameraError) as caught:
        camera_from_message(library.camera_info(**changes))
    text = str(caught.value)
    assert '\n' not in text
    assert all(part in text for part in expected), text


def test_image_of_another_size(library: Any) -> None:
    with pytest.raises(CameraError, match="640x480 pixels, expected the image's 320x240"):
        camera_from_message(library.camera_info(), (320, 240))


def test_rectified_takes_p_and_no_distortion(library: Any) -> None:
    p = (450.0, 0, 310, -45, 0, 455, 235, 0, 0, 0, 1, 0)
    info = library.camera_info(p=p, d=PLUMB_BOB)
    assert camera_from_message(info, rectified=True) == Camera(450, 455, 310, 235, 640, 480)
    assert camera_from_message(info).fx == 500
    assert camera_from_message(info).distortion == PLUMB_BOB


def test_rectified_without_p_takes_k(library: Any) -> None:
    info = library.camera_info(d=PLUMB_BOB)
    assert camera_from_message(info, rectified=True) == Camera(500, 510, 320, 240, 640, 480)


def test_region_of_interest_moves_the_principal_point(library: Any) -> None:
    info = library.camera_info(roi=(100, 40, 320, 200), d=PLUMB_BOB)
    camera = camera_from_message(info, (320, 200))
    assert camera == Camera(500, 510, 220, 200, 320, 200, 'plumb_bob', PLUMB_BOB)


def test_region_of_interest_of_the_whole_sensor(library: Any) -> None:
    info = library.camera_info(roi=(0, 0, 640, 480))
    assert camera_from_message(info) == camera_from_message(library.camera_info())


@pytest.mark.parametrize('binning', [(2, 2), (4, 2), (1, 3)])
def test_binned_pixels_are_the_means_of_the_pixels_that_they_merge(
    library: Any, binning: tuple[int, int]
) -> None:
    """Bin a picture of u and one of v by hand, cropped first: each merged pixel then holds the
    place on the sensor that it looks through, which must have the ray the Camera gives it."""
    bin_x, bin_y = binning
    x0, y0, width, height = 24, 12, 48, 36
    info = library.camera_info(
        k=(80.0, 0, 47.3, 0, 90.0, 31.7, 0, 0, 1),
        size=(96, 64),
        roi=(x0, y0, width, height),
        binning=binning,
    )
    v, u = np.mgrid[y0 : y0 + height, x0 : x0 + width].astype(float)
    merged = (height // bin_y, bin_y, width // bin_x, bin_x)
    u, v = (field.reshape(merged).mean(axis=(1, 3)) for field in (u, v))
    camera = camera_from_message(info, (width // bin_x, height // bin_y))
    row, column = np.mgrid[: camera.height, : camera.width]
    np.testing.assert_allclose((column - camera.cx) / camera.fx, (u - 47.3) / 80, atol=1e-12)
    np.testing.assert_allclose((row - camera.cy) / camera.fy, (v - 31.7) / 90, atol=1e-12)


def test_an_odd_sensor_loses_the_pixels_that_fill_no_bin(library: Any) -> None:
    camera = camera_from_message(library.camera_info(size=(641, 483), binning=(2, 2)), (320, 241))
    assert (camera.width, camera.height) == (320, 241)


def test_ros1_writes_the_matrices_in_capitals(library: Any) -> None:
    ros2 = library.camera_info(d=PLUMB_BOB, p=(450.0, 0, 310, 0, 0, 455, 235, 0, 0, 0, 1, 0))
    rest = ('width', 'height', 'distortion_model', 'binning_x', 'binning_y', 'roi')
    ros1 = SimpleNamespace(
        D=ros2.d, K=ros2.k, P=ros2.p, **{name: getattr(ros2, name) for name in rest}
    )
    assert camera_from_message(ros1) == camera_from_message(ros2)
    assert camera_from_message(ros1, rectified=True).fx == 450


@pytest.mark.parametrize(
    'camera',
    [
        Camera(500.5, 501.25, 319.5, 239.75, 640, 480),
        Camera(500.5, 501.25, 319.5, 239.75, 640, 480, 'plumb_bob', PLUMB_BOB),
        Camera(500.5, 501.25, 319.5, 239.75, 640, 480, 'rational_polynomial', RATIONAL),
        Camera(300.5, 301.25, 319.5, 239.75, 640, 480, 'equidistant', FISHEYE),
    ],
    ids=lambda camera: camera.distortion_model,
)
def test_round_trip(library: Any, rosbags_store: Any, camera: Camera) -> None:
    info = library.publish(camera_info_fields(camera))
    if library.name == 'rosbags':  # through the wire, which has opinions on types
        name = 'sensor_msgs/msg/CameraInfo'
        info = rosbags_store.deserialize_cdr(rosbags_store.serialize_cdr(info, name), name)
    assert camera_from_message(info, (640, 480)) == camera
    assert camera_from_message(info, rectified=True) == Camera(
        camera.fx, camera.fy, camera.cx, camera.cy, 640, 480
    )
    np.testing.assert_array_equal(np.reshape(info.r, (3, 3)), np.eye(3))
    np.testing.assert_array_equal(np.reshape(info.p, (3, 4))[:, :3], np.reshape(info.k, (3, 3)))
    np.testing.assert_array_equal(np.reshape(info.p, (3, 4))[:, 3], 0)


def test_no_distortion_is_sent_as_plumb_bob_with_five_zeros() -> None:
    fields = camera_info_fields(Camera(500, 500, 320, 240, 640, 480))
    assert fields.distortion_model == 'plumb_bob'
    np.testing.assert_array_equal(fields.d, np.zeros(5))
