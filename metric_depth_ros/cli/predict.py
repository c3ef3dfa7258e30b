"""`metric-depth predict`: depth, uncertainty, a picture and a cloud of single images."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import MetricDepthError
from .arguments import add_model_arguments, predictor_of

if TYPE_CHECKING:
    from ..targets import Targets
    from ..types import Camera, DepthPrediction, Frame


class InputError(MetricDepthError):
    """An image or a camera that cannot be used."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        'predict',
        help='depth of images',
        description='Predict metric depth of images of one calibrated camera. For each image OUT '
        'gets NAME_depth.npy (float32 metres), NAME_depth.png (uint16 millimetres, 0 = none), '
        'NAME_std.npy (float32 metres, one sigma), NAME_picture.png and NAME_cloud.ply.',
        epilog='example: metric-depth predict photo.jpg --camera 535.4,539.2,320.1,247.6 --out d/ '
        "(add --box 200,120,240,180 or --pixels '320,240;10,20' for the depth of a part alone)",
    )
    parser.add_argument('images', nargs='+', type=Path, metavar='IMAGE')
    camera = parser.add_mutually_exclusive_group()
    camera.add_argument(
        '--camera',
        metavar='C',
        help='fx,fy,cx,cy in pixels, or a JSON file with fx, fy, cx, cy, width, height and, for a '
        'lens with distortion, distortion_model and distortion',
    )
    camera.add_argument(
        '--fov', type=float, metavar='DEG', help='horizontal field of view of a pinhole camera'
    )
    targets = parser.add_mutually_exclusive_group()
    targets.add_argument(
        '--box', metavar='L,T,W,H', help='only a box: left, top, width and height in pixels'
    )
    targets.add_argument(
        '--pixels', metavar='U,V;...',
        help='only these pixels, column and row from 0; their depth and std, metres, are printed',
    )  # fmt: skip
    targets.add_argument(
        '--mask', type=Path, metavar='FILE', help='only where this image of the same size is not 0'
    )
    parser.add_argument('--out', type=Path, required=True, help='folder for everything made')
    add_model_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.progress import track

    from ..targets import target_mask

    _check_files(args.images)
    if args.camera is None and args.fov is None:
        raise InputError(
            'metric depth needs the camera: give --camera fx,fy,cx,cy in pixels (from a '
            'calibration), --camera FILE.json, or the horizontal field of view as --fov DEGREES'
        )
    first = read_frame(args.images[0], args.camera, args.fov)
    targets = read_targets(args.box, args.pixels, args.mask)
    if targets is not None:
        target_mask(targets, first.camera)  # bad input shows before a model is loaded
    predictor = predictor_of(args)
    args.out.mkdir(parents=True, exist_ok=True)
    console = Console(stderr=True)
    for path in track(args.images, 'predicting', console=console):
        frame = read_frame(path, args.camera, args.fov)
        prediction = predictor(frame, targets=targets)
        write_prediction(args.out, path.stem, frame, prediction)
        for u, v in read_pixels(args.pixels or ''):
            depth, std = float(prediction.depth[v, u]), float(prediction.std[v, u])
            print(f'{path} {u},{v}: {depth:.3f} +- {std:.3f} m')
    print(f'{args.out}: depth, std, picture and cloud of {len(args.images)} image(s)')
    return 0


def read_frame(path: Path, camera: str | None, fov_deg: float | None) -> Frame:
    """The image with its camera; see datasets.read_image and find_camera."""
    from ..evaluation.datasets import read_image
    from ..types import Frame

    image = read_image(path)
    height, width, _ = image.shape
    return Frame(image, find_camera(camera, fov_deg, width, height))


def read_targets(box: str | None, pixels: str | None, mask: Path | None) -> Targets | None:
    """What --box, --pixels or --mask ask for; None if none of them is given.

    Raises:
        InputError: not to be understood, or a file that is no image.
    """
    import cv2
    import torch

    from ..targets import Box

    if box is not None:
        return Box(*_whole_numbers('--box', box, 'L,T,W,H'))
    if pixels is not None:
        return read_pixels(pixels)
    if mask is None:
        return None
    values = cv2.imread(str(mask), cv2.IMREAD_UNCHANGED) if mask.is_file() else None
    if values is None:
        raise InputError(f'--mask {mask}: not an image')
    colours = values.reshape(*values.shape[:2], -1)[..., :3]  # without what may be transparency
    return torch.from_numpy(colours.any(axis=-1))


def read_pixels(pixels: str) -> list[tuple[int, ...]]:
    """(u, v) pairs of 'U,V;U,V;...'.

    Raises:
        InputError: not to be understood.
    """
    return [_whole_numbers('--pixels', pair, 'U,V;U,V;...') for pair in pixels.split(';') if pair]


def _whole_numbers(option: str, text: str, form: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(number) for number in text.split(','))
    except ValueError:
        numbers = ()
    if len(numbers) != form.split(';')[0].count(',') + 1:
        raise InputError(f'{option} has {text!r}, expected whole numbers {form}')
    return numbers


def find_camera(camera: str | None, fov_deg: float | None, width: int, height: int) -> Camera:
    """The camera of images of width x height pixels.

    Args:
        camera: 'fx,fy,cx,cy' or the path of a JSON file; None to use fov_deg.
        fov_deg: horizontal field of view of a pinhole whose axis meets the middle of the image.

    Raises:
        InputError: not to be understood, or for another size of image.
        CameraError: a value that no camera has.
    """
    from ..types import Camera

    if camera is None:
        if fov_deg is None or not 0 < fov_deg < 180:
            raise InputError(f'--fov is {fov_deg}, expected degrees between 0 and 180')
        focal = width / 2 / math.tan(math.radians(fov_deg) / 2)
        return Camera(focal, focal, (width - 1) / 2, (height - 1) / 2, width, height)
    if camera.endswith('.json'):
        found = read_camera(Path(camera))
        if (found.width, found.height) != (width, height):
            raise InputError(
                f'{camera} is for {found.width}x{found.height} pixels, expected {width}x{height} '
                'like the image'
            )
        return found
    try:
        fx, fy, cx, cy = (float(value) for value in camera.split(','))
    except ValueError:
        raise InputError(
            f'--camera is {camera!r}, expected four numbers fx,fy,cx,cy or a .json file'
        ) from None
    return Camera(fx, fy, cx, cy, width, height)


def read_camera(path: Path) -> Camera:
    """The camera in a JSON file, as a manifest writes it; distortion may be left out.

    Raises:
        InputError: no such file, not JSON, or a value is missing.
        CameraError: a value that no camera has.
    """
    from ..types import Camera

    try:
        values: dict[str, Any] = json.loads(path.read_text())
        distortion = tuple(float(k) for k in values.get('distortion') or ())
        fx, fy, cx, cy = (float(values[name]) for name in ('fx', 'fy', 'cx', 'cy'))
        width, height = int(values['width']), int(values['height'])
    except OSError as error:
        raise InputError(f'{path}: {error.strerror}') from None
    except KeyError as error:
        raise InputError(
            f'{path}: {error} is missing, expected fx, fy, cx, cy, width, height'
        ) from None
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f'{path}: not a camera in JSON: {error}') from None
    model = values.get('distortion_model') or _USUAL_MODEL.get(len(distortion), '')
    if not any(distortion) and model != 'equidistant':
        return Camera(fx, fy, cx, cy, width, height)
    return Camera(fx, fy, cx, cy, width, height, model, distortion)


# What coefficients without a name of their model mean, as OpenCV tells them apart.
_USUAL_MODEL = {4: 'plumb_bob', 5: 'plumb_bob', 8: 'rational_polynomial'}


def write_prediction(out: Path, name: str, frame: Frame, prediction: DepthPrediction) -> None:
    """Write everything of one prediction into `out`, each file's name beginning with `name`."""
    import cv2
    import numpy as np

    from ..evaluation.pictures import save_comparison
    from ..evaluation.ply import write_ply
    from ..geometry import unproject
    from ..messages import depth_fields

    np.save(out / f'{name}_depth.npy', prediction.depth.numpy())
    np.save(out / f'{name}_std.npy', prediction.std.numpy())
    millimetres = depth_fields(prediction.depth, '16UC1')
    pixels = millimetres.data.view(np.uint16).reshape(millimetres.height, millimetres.width)
    cv2.imwrite(str(out / f'{name}_depth.png'), pixels)
    save_comparison(out / f'{name}_picture.png', frame, prediction, title=name)
    points = unproject(prediction.depth, prediction.camera)
    write_ply(out / f'{name}_cloud.ply', points, frame.image, prediction.std)


def _check_files(images: list[Path]) -> None:
    """All exist, and no two have the same name, which what is written of them would share."""
    names = [image.stem for image in images]
    for image in images:
        if not image.is_file():
            raise InputError(f'{image}: there is no such image')
        if names.count(image.stem) > 1:
            raise InputError(
                f'{image}: another image is called {image.stem} too, expected different names: '
                'the files written are named after them'
            )
