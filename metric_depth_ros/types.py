"""The nouns that travel through the whole package: Camera, Frame, Conditioning, DepthPrediction.

Units are metres, pixels and nanoseconds. Frames of reference are ROS optical frames: x right,
y down, z forward (REP 103). Pixel (0, 0) is the *centre* of the top-left pixel, as in OpenCV and
sensor_msgs/CameraInfo.

No input or output, no networks and no ROS here: everything else imports this file, and this file
imports nothing of the package but the root of its errors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from .errors import MetricDepthError

# Number of distortion coefficients each model of sensor_msgs/CameraInfo may carry.
DISTORTION_COEFFICIENTS: dict[str, tuple[int, ...]] = {
    'none': (0,),
    'plumb_bob': (4, 5),  # k1 k2 p1 p2 [k3]
    'rational_polynomial': (8,),  # k1 k2 p1 p2 k3 k4 k5 k6
    'equidistant': (4,),  # k1 k2 k3 k4 (fisheye)
}


class CameraError(MetricDepthError):
    """A camera that cannot be: says which value, and what was expected."""


@dataclass(frozen=True)
class Camera:
    """Intrinsics of one camera, in pixels, as sensor_msgs/CameraInfo tells them.

    Args:
        fx, fy: focal lengths, pixels, finite and positive.
        cx, cy: principal point, pixels; (0, 0) is the centre of the top-left pixel.
        width, height: size of the image, pixels.
        distortion_model: one of DISTORTION_COEFFICIENTS.
        distortion: coefficients in OpenCV's order (k1 k2 p1 p2 k3 ..., fisheye k1 k2 k3 k4).

    Raises:
        CameraError: a value is missing, not finite, of the wrong sign or of the wrong count.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    distortion_model: str = 'none'
    distortion: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in ('fx', 'fy', 'cx', 'cy'):
            value = getattr(self, name)
            if not math.isfinite(value):
                raise CameraError(f'camera {name} is {value}, expected a finite number of pixels')
            if name in ('fx', 'fy') and value <= 0:
                raise CameraError(f'camera {name} is {value}, expected a positive focal length')
        for name in ('width', 'height'):
            value = getattr(self, name)
            if value != int(value) or value < 1:
                raise CameraError(f'camera {name} is {value}, expected a positive whole number')
        if self.distortion_model not in DISTORTION_COEFFICIENTS:
            raise CameraError(
                f'camera distortion_model is {self.distortion_model!r}, expected one of '
                f'{", ".join(DISTORTION_COEFFICIENTS)}'
            )
        counts = DISTORTION_COEFFICIENTS[self.distortion_model]
        if len(self.distortion) not in counts:
            raise CameraError(
                f'camera distortion has {len(self.distortion)} coefficients, expected '
                f'{" or ".join(map(str, counts))} for {self.distortion_model}'
            )
        if not all(math.isfinite(k) for k in self.distortion):
            raise CameraError(f'camera distortion is {self.distortion}, expected finite numbers')
        object.__setattr__(self, 'distortion', tuple(float(k) for k in self.distortion))


@dataclass(frozen=True)
class Frame:
    """One image as the camera saw it, with the camera that saw it.

    image: (H, W, 3) uint8 RGB. It becomes float on the device, not before.
    stamp_ns: nanoseconds, the time the image was taken. frame_id: an optical frame.

    Raises:
        MetricDepthError: the image is not (camera.height, camera.width, 3) uint8.
    """

    image: Tensor
    camera: Camera
    stamp_ns: int = 0
    frame_id: str = ''

    def __post_init__(self) -> None:
        expected = (self.camera.height, self.camera.width, 3)
        if tuple(self.image.shape) != expected or self.image.dtype != torch.uint8:
            raise MetricDepthError(
                f'image is {self.image.dtype} of shape {tuple(self.image.shape)}, expected '
                f'torch.uint8 of shape {expected} (camera height, width, RGB)'
            )


@dataclass(frozen=True)
class CoarseDepth:
    """What a coarse model says of a view, for a method to refine.

    values: (h, w) float. Metres along z if `metric`; else known up to a scale and a shift alone,
        and then nearer is larger if `disparity`. NaN where there is no estimate.
    std: (h, w) metres, one sigma; None if it is not metric, or its model's error bar never fitted.
    model: its name.
    """

    values: Tensor
    metric: bool = True
    disparity: bool = False
    std: Tensor | None = None
    model: str = ''


@dataclass(frozen=True)
class Conditioning:
    """What a depth method may look at, at the size it works at. Made by the Predictor.

    image: (3, h, w) float, RGB in [-1, 1].
    rays: (3, h, w) float, unit viewing rays in the optical frame; 0 where `valid` is False.
    valid: (h, w) bool, pixels that the camera model gives a ray in front of the camera.
    coarse: of the same view, for methods that take one; None for all others.
    """

    image: Tensor
    rays: Tensor
    valid: Tensor
    coarse: CoarseDepth | None = None

    def expect_multiple_of(self, pixels: int) -> None:
        """Nothing, or a MetricDepthError if h or w is no multiple of `pixels`."""
        h, w = self.valid.shape
        if h % pixels or w % pixels:
            raise MetricDepthError(
                f'conditioning is {w}x{h}, expected multiples of {pixels} pixels'
            )


@dataclass(frozen=True)
class DepthPrediction:
    """Metric depth and its standard deviation, pixel for pixel of the Frame it came from.

    depth: (H, W) float32, metres along z; NaN = no estimate, +inf = beyond range (REP 117, 118).
    std: (H, W) float32, metres, one sigma; NaN = unknown.
    novelty: how unlike the frames the model was calibrated on this one is, 1 = as usual; None if
        the model does not know. `std` heeds it.
    """

    depth: Tensor
    std: Tensor
    camera: Camera
    stamp_ns: int = 0
    frame_id: str = ''
    novelty: float | None = None

    def __post_init__(self) -> None:
        expected = (self.camera.height, self.camera.width)
        for name, value in (('depth', self.depth), ('std', self.std)):
            if tuple(value.shape) != expected or value.dtype != torch.float32:
                raise MetricDepthError(
                    f'{name} is {value.dtype} of shape {tuple(value.shape)}, expected '
                    f'torch.float32 of shape {expected}'
                )


class DepthMethod(Protocol):
    """What the Predictor needs of a method; an nn.Module, no base class to inherit from.

    takes_rays: True if the method reads the camera through `Conditioning.rays` and so works on
        raw, distorted images; False if it wants rectified ones.
    working_pixels: about how many pixels the network was made for; the Predictor resizes the
        image to that area, aspect kept. None for images as large as they come.
    multiple_of: h and w of the conditioning are multiples of this.
    num_samples: draws a prediction is made of, unless the caller says otherwise.
    takes_targets: True if `draw` can predict some of the pixels alone.

    A method that refines a coarse depth also has `takes_coarse = True`, and unless it finds the
    metres by itself `needs_metric_coarse = True`; then `Conditioning.coarse` is there.
    """

    takes_rays: bool
    takes_targets: bool
    multiple_of: int
    num_samples: int

    @property
    def working_pixels(self) -> int | None: ...

    def draw(
        self,
        conditioning: Conditioning,
        num_samples: int,
        generator: torch.Generator,
        *,
        num_steps: int | None = None,
        targets: Tensor | None = None,
    ) -> Tensor:
        """(num_samples, h, w) float32 depth in metres along z.

        NaN where not `valid`, +inf where a sample lies beyond the range of the method.

        Args:
            targets: (h, w) bool, the pixels to predict; the others are NaN. None for all, which
                is what a method that takes no targets gets.
        """
        ...
