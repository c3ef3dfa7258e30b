"""sensor_msgs/CameraInfo -> Camera of the image that comes with it."""

from __future__ import annotations

from typing import Any

from ..types import DISTORTION_COEFFICIENTS, Camera, CameraError

# Names in use -> ours.
_MODEL_NAMES = {
    'none': 'none',
    'plumb_bob': 'plumb_bob',
    'rational_polynomial': 'rational_polynomial',
    'equidistant': 'equidistant',
    'fisheye': 'equidistant',
}
# Simulators and old drivers leave the name empty; four coefficients could then be either model.
_UNNAMED_MODELS = {5: 'plumb_bob', 8: 'rational_polynomial'}


def camera_from_message(
    info: Any, image_size: tuple[int, int] | None = None, *, rectified: bool = False
) -> Camera:
    """Camera of the image as delivered: K moved to the region of interest, then binned.

    A CameraInfo describes the full sensor; `roi` is a window of it in unbinned pixels, and
    `binning` merges rectangles of pixels into one. The centre of merged pixel j lies at
    b j + (b - 1) / 2 of the sensor, hence c' = (c - offset + 0.5) / b - 0.5.

    Args:
        info: sensor_msgs/CameraInfo of ROS 1 (K, D, P) or ROS 2 (k, d, p).
        image_size: (width, height) of the image that came with it, which must agree.
        rectified: the image is rectified: take P and no distortion (K where P is not filled).

    Returns:
        Camera; a perspective lens whose distortion is all zero becomes the model 'none'.

    Raises:
        CameraError: not calibrated, values that cannot be, a distortion model that is not
            supported, or an image of another size.
    """
    k, p = _numbers(info, 'k'), _numbers(info, 'p')
    if rectified and p[0] != 0:
        fx, fy, cx, cy = p[0], p[5], p[2], p[6]
    else:
        fx, fy, cx, cy = k[0], k[4], k[2], k[5]
    if fx == 0 and fy == 0:
        raise CameraError(
            'camera_info fx and fy are 0.0, expected positive focal lengths: the camera is not '
            'calibrated'
        )
    model, coefficients = ('none', ()) if rectified else _distortion(info)
    roi = info.roi
    bin_x, bin_y = int(info.binning_x) or 1, int(info.binning_y) or 1
    window_width = int(roi.width) or int(info.width)
    window_height = int(roi.height) or int(info.height)
    if roi.x_offset + window_width > info.width or roi.y_offset + window_height > info.height:
        raise CameraError(
            f'camera_info roi is {window_width}x{window_height} pixels at '
            f'({roi.x_offset}, {roi.y_offset}), expected it inside the '
            f'{info.width}x{info.height} pixels of the sensor'
        )
    camera = Camera(
        fx=fx / bin_x,
        fy=fy / bin_y,
        cx=(cx - int(roi.x_offset) + 0.5) / bin_x - 0.5,
        cy=(cy - int(roi.y_offset) + 0.5) / bin_y - 0.5,
        width=window_width // bin_x,
        height=window_height // bin_y,
        distortion_model=model,
        distortion=coefficients,
    )
    if image_size is not None and tuple(image_size) != (camera.width, camera.height):
        raise CameraError(
            f'camera_info is for {camera.width}x{camera.height} pixels, expected the '
            f"image's {image_size[0]}x{image_size[1]}"
        )
    return camera


def _numbers(info: Any, name: str) -> list[float]:
    """Numbers of a field whose name is a small letter in ROS 2 and a capital in ROS 1."""
    values = getattr(info, name) if hasattr(info, name) else getattr(info, name.upper())
    return [float(value) for value in values]


def _distortion(info: Any) -> tuple[str, tuple[float, ...]]:
    """(model, coefficients) in the counts that Camera takes.

    OpenCV's coefficients are nested: a longer vector with zeros at its end means the same as the
    shorter one, so zeros are cut or added; anything else of a wrong count is an error.
    """
    coefficients = _numbers(info, 'd')
    name = info.distortion_model.lower()
    model = _MODEL_NAMES.get(name) if name else _UNNAMED_MODELS.get(len(coefficients))
    if not any(coefficients):
        # Zeros undo a perspective lens model; an equidistant lens with zeros is still a fisheye.
        return ('equidistant', (0.0,) * 4) if model == 'equidistant' else ('none', ())
    if model is None:
        raise CameraError(
            f'camera_info distortion_model is {info.distortion_model!r} with '
            f'{len(coefficients)} coefficients, expected one of {", ".join(_MODEL_NAMES)}'
        )
    limit = max(DISTORTION_COEFFICIENTS[model])
    if any(coefficients[limit:]):
        raise CameraError(
            f'camera_info has {len(coefficients)} distortion coefficients, the last '
            f'{len(coefficients) - limit} being {coefficients[limit:]}, expected at most '
            f'{limit} that are not zero for {model}'
        )
    if model == 'rational_polynomial':
        coefficients += [0.0] * (limit - len(coefficients))
    return model, tuple(coefficients[:limit])
