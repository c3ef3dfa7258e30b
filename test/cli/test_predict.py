"""`metric-depth predict`: files of one image, and cameras in every form."""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from metric_depth_ros import checkpoint
from metric_depth_ros.cli.main import main
from metric_depth_ros.cli.predict import InputError, find_camera, read_camera
from metric_depth_ros.evaluation.datasets import read_image
from metric_depth_ros.methods.grin import Grin, GrinConfig
from metric_depth_ros.types import Camera

WIDTH, HEIGHT = 48, 36


@pytest.fixture(scope='module')
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a tiny random network."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp('models') / 'tiny'
    checkpoint.save(folder, Grin(GrinConfig.tiny()), checkpoint.Card('tiny', 'Apache-2.0', 'test'))
    return folder


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / 'photo.png'), pixels)
    return tmp_path / 'photo.png'


def test_what_is_written_of_an_image(photo: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / 'out'
    command = ['predict', str(photo), '--camera', '40,41,23.5,17.5', '--model', str(model)]
    assert main([*command, '--out', str(out)]) == 0
    depth, std = np.load(out / 'photo_depth.npy'), np.load(out / 'photo_std.npy')
    assert (depth.shape, depth.dtype, std.shape) == ((HEIGHT, WIDTH), np.float32, (HEIGHT, WIDTH))
    millimetres = cv2.imread(str(out / 'photo_depth.png'), cv2.IMREAD_UNCHANGED)
    assert millimetres.dtype == np.uint16
    fits = np.isfinite(depth) & (depth < 65)
    np.testing.assert_allclose(millimetres[fits] / 1000, depth[fits], atol=0.0006)
    assert (millimetres[~np.isfinite(depth)] == 0).all()
    vertices = f'element vertex {np.isfinite(depth).sum()}'.encode()
    assert vertices in (out / 'photo_cloud.ply').read_bytes()[:200]
    assert cv2.imread(str(out / 'photo_picture.png')) is not None

    again = tmp_path / 'again'
    assert main([*command, '--out', str(again)]) == 0
    np.testing.assert_array_equal(np.load(again / 'photo_depth.npy'), depth)


def test_parts_of_an_image(
    photo: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ['predict', str(photo), '--fov', '60', '--model', str(model), '--out']
    assert main([*command, str(tmp_path / 'whole')]) == 0
    whole = np.load(tmp_path / 'whole' / 'photo_depth.npy')
    asked = np.zeros((HEIGHT, WIDTH), dtype=bool)
    asked[3:15, 10:40] = True
    cv2.imwrite(str(tmp_path / 'mask.png'), asked.astype(np.uint8))
    pixels = np.zeros_like(asked)
    pixels[20, 5] = pixels[0, 47] = True
    for option, value, there in (
        ('--box', '10,3,30,12', asked),
        ('--mask', str(tmp_path / 'mask.png'), asked),
        ('--pixels', '5,20;47,0', pixels),
    ):
        capsys.readouterr()
        assert main([*command, str(tmp_path / option), option, value]) == 0
        depth = np.load(tmp_path / option / 'photo_depth.npy')
        std = np.load(tmp_path / option / 'photo_std.npy')
        assert np.isnan(depth[~there]).all()
        assert np.isnan(std[~there]).all()
        np.testing.assert_allclose(depth[there], whole[there], rtol=1e-3)
        assert (std[there] > 0).all()
        assert (tmp_path / option / 'photo_picture.png').is_file()
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith(f'{photo} 5,20: {depth[20, 5]:.3f} +- {std[20, 5]:.3f} m')
    assert printed[1].startswith(f'{photo} 47,0: ')


def test_image_is_rgb(tmp_path: Path) -> None:
    blue = np.zeros((4, 5, 3), dtype=np.uint8)
    blue[..., 0] = 255  # OpenCV's order
    cv2.imwrite(str(tmp_path / 'blue.png'), blue)
    assert read_image(tmp_path / 'blue.png')[0, 0].tolist() == [0, 0, 255]


def test_camera_from_numbers_and_field_of_view() -> None:
    assert find_camera('500,510,320,240', None, 640, 480) == Camera(500, 510, 320, 240, 640, 480)
    camera = find_camera(None, 90, 640, 480)
    assert (camera.fx, camera.fy) == pytest.approx((320, 320))
    assert (camera.cx, camera.cy) == (319.5, 239.5)
    # the outer edges of the outer pixels are 90 degrees apart
    assert math.degrees(2 * math.atan((camera.cx + 0.5) / camera.fx)) == pytest.approx(90)


@pytest.mark.parametrize(
    ('extra', 'model', 'distortion'),
    [
        ({}, 'none', ()),
        ({'distortion': [0, 0, 0, 0, 0]}, 'none', ()),
        ({'distortion': [0.1, 0, 0, 0, 0]}, 'plumb_bob', (0.1, 0, 0, 0, 0)),
        ({'distortion': [0.1] * 8}, 'rational_polynomial', (0.1,) * 8),
        (
            {'distortion': [0.1, 0, 0, 0], 'distortion_model': 'equidistant'},
            'equidistant',
            (0.1, 0, 0, 0),
        ),
    ],
)
def test_camera_from_json(
    tmp_path: Path, extra: dict[str, object], model: str, distortion: tuple[float, ...]
) -> None:
    values = {'fx': 50, 'fy': 51, 'cx': 24, 'cy': 18, 'width': WIDTH, 'height': HEIGHT, **extra}
    (tmp_path / 'camera.json').write_text(json.dumps(values))
    expected = Camera(50, 51, 24, 18, WIDTH, HEIGHT, model, distortion)
    assert read_camera(tmp_path / 'camera.json') == expected
    assert find_camera(str(tmp_path / 'camera.json'), None, WIDTH, HEIGHT) == expected
    with pytest.raises(InputError, match='48x36 pixels, expected 640x480'):
        find_camera(str(tmp_path / 'camera.json'), None, 640, 480)


def test_camera_of_the_real_sequence(shared_data: Path) -> None:
    camera = read_camera(shared_data / 'tum_fr3_cabinet' / 'camera.json')
    assert camera == Camera(535.4, 539.2, 320.1, 247.6, 640, 480)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ([], 'metric depth needs the camera: give --camera fx,fy,cx,cy'),
        (['--camera', '1,2,3'], "--camera is '1,2,3', expected four numbers"),
        (['--camera', '0,0,3,4'], 'camera fx is 0.0, expected a positive focal length'),
        (['--camera', 'a,b,c,d'], 'expected four numbers'),
        (['--camera', '{tmp}/none.json'], '{tmp}/none.json: No such file'),
        (['--camera', '{tmp}/half.json'], "{tmp}/half.json: 'cy' is missing"),
        (['--camera', '{tmp}/text.json'], '{tmp}/text.json: not a camera in JSON'),
        (['--camera', '{tmp}/list.json'], '{tmp}/list.json: not a camera in JSON'),
        (['--fov', '60', '--box', '1,2,3'], "--box has '1,2,3', expected whole numbers L,T,W,H"),
        (['--fov', '60', '--box', '40,2,9,9'], 'reaches outside the image of 48x36 pixels'),
        (['--fov', '60', '--pixels', '1,2;x'], "--pixels has 'x', expected whole numbers U,V"),
        (['--fov', '60', '--pixels', '48,2'], 'pixel (48, 2) to predict is outside the image'),
        (['--fov', '60', '--pixels', ';'], 'no pixel is asked for'),
        (['--fov', '60', '--mask', '{tmp}/none'], '--mask {tmp}/none: not an image'),
        (['--fov', '180'], '--fov is 180.0, expected degrees between 0 and 180'),
        (['--fov', '60', '--model', '{tmp}/nothing'], '{tmp}/nothing'),
        (['--fov', '60', '{tmp}/text.json'], 'text.json: not an image'),
        (['--fov', '60', '{tmp}/nothing.jpg'], 'nothing.jpg: there is no such image'),
        (['--fov', '60', '{photo}'], 'another image is called photo too'),
    ],
)
def test_bad_input_is_one_line(
    photo: Path,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    (tmp_path / 'half.json').write_text('{"fx": 1, "fy": 1, "cx": 1}')
    (tmp_path / 'text.json').write_text('fx=1')
    (tmp_path / 'list.json').write_text('[1, 2, 3, 4]')
    places = {'photo': photo, 'tmp': tmp_path}
    arguments = [argument.format(**places) for argument in arguments]
    images = [a for a in arguments if a.endswith(('.jpg', '.png', 'text.json'))]
    images = [a for a in images if arguments[arguments.index(a) - 1] != '--camera']
    options = [a for a in arguments if a not in images]
    if '--model' not in options:
        options += ['--model', str(model)]
    command = ['predict', str(photo), *images, *options, '--out', str(tmp_path / 'out')]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert message.format(**places) in error
    assert len([line for line in error.splitlines() if line.startswith('metric-depth')]) == 1
