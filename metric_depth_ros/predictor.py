"""Frame -> DepthPrediction: everything around a depth method that is not its paper's.

The way of one frame:
1. the image is resized, and its camera with it, to the size the method works at;
2. a method that does not read rays gets a rectified view instead of the raw one;
3. the method draws a few depth maps;
4. their median is the depth, their calibrated spread its standard deviation (GRIN, Section 5.6);
5. both are carried back to the pixels of the camera, without inventing depth at edges.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from . import checkpoint, geometry
from .calibration import Calibration
from .errors import MetricDepthError
from .targets import Targets, TargetsError, target_mask
from .types import Camera, Conditioning, DepthMethod, DepthPrediction, Frame


class Predictor:
    """Turns Frames into DepthPredictions with one depth method.

    Args:
        method: an nn.Module that is a DepthMethod (see types.py).
        name: what the model is called in reports and messages.
        num_samples: draws a prediction is made of; more are steadier and slower. None leaves it
            to the method.
        num_steps: denoising steps of a draw; None leaves it to the method.
        seed: of the noise. A frame's prediction depends on the frame and the seed alone, not on
            what was predicted before, so that dropping a frame changes no other.
        device: where the method runs, 'cpu', 'cuda', 'cuda:1', ...; 'auto' takes a GPU if any.
        calibration: from the model's checkpoint.

    Raises:
        MetricDepthError: an argument is out of its range, or the device does not exist.
    """

    def __init__(
        self,
        method: DepthMethod,
        *,
        name: str = '',
        num_samples: int | None = None,
        num_steps: int | None = None,
        seed: int = 0,
        device: str | torch.device = 'auto',
        calibration: Calibration | None = None,
    ) -> None:
        if num_samples is not None and num_samples < 1:
            raise MetricDepthError(f'num_samples is {num_samples}, expected at least 1')
        if num_steps is not None and num_steps < 1:
            raise MetricDepthError(f'num_steps is {num_steps}, expected at least 1 or None')
        self.device = find_device(device)
        self.method = cast(DepthMethod, cast(torch.nn.Module, method).to(self.device).eval())
        self.name = name
        self.num_samples = num_samples or self.method.num_samples
        self.num_steps = num_steps
        self.seed = seed
        self.calibration = calibration or Calibration()

    @torch.inference_mode()
    def __call__(self, frame: Frame, *, targets: Targets | None = None) -> DepthPrediction:
        """Depth and std of every pixel of `frame`, float32 on the CPU.

        Args:
            targets: predict these pixels of the frame alone (GRIN, Section 4.5): a mask, a Box or
                a list of pixels, see targets.py; all others are NaN. The fewer, the faster; what
                is said of a pixel is the same as in the dense prediction if the method's latents
                read the same pixels whichever are asked for, as those of the shipped model do.

        Raises:
            TargetsError: the targets are empty or outside the image, or this method predicts whole
                images only.
            MetricDepthError: what the method raises on input it cannot take.
        """
        view = self.view_camera(frame.camera)
        pixels = geometry.view_pixels(view, frame.camera, device=self.device)
        asked = drawn = None
        if targets is not None:
            asked = self._targets(targets, frame.camera)
            pixels = pixels[asked]
            drawn = geometry.pixels_read(pixels, view.width, view.height)
            drawn = _dilated(drawn, self.calibration.reach)
        samples = self.method.draw(
            self.condition(frame, view),
            self.num_samples,
            torch.Generator(self.device).manual_seed(self.seed),
            num_steps=self.num_steps,
            targets=drawn,
        )
        depth = middle(samples)
        std = self.calibration.std(depth, samples)
        depth, std = geometry.resample_depth(depth.float(), std.float(), pixels)
        if asked is not None:
            depth, std = _at(asked, depth), _at(asked, std)
        return DepthPrediction(
            depth.cpu(), std.cpu(), frame.camera, frame.stamp_ns, frame.frame_id
        )

    def _targets(self, targets: Targets, camera: Camera) -> Tensor:
        if not self.method.takes_targets:
            raise TargetsError(
                f'model {self.name!r} predicts whole images only: leave the targets out'
            )
        return target_mask(targets, camera).to(self.device)

    def view_camera(self, camera: Camera) -> Camera:
        """The camera the method looks through: working size, and rectified if it must be."""
        if not self.method.takes_rays:
            camera = geometry.rectified_camera(camera)
        width, height = geometry.fit_size(
            camera.width, camera.height, self.method.working_pixels, self.method.multiple_of
        )
        return geometry.resize_camera(camera, width, height)

    def condition(self, frame: Frame, view: Camera) -> Conditioning:
        """What the method may look at of `frame`, through the camera `view`."""
        image = frame.image.to(self.device).permute(2, 0, 1).float() / 127.5 - 1
        if not self.method.takes_rays and frame.camera.distortion_model != 'none':
            full = geometry.resize_camera(view, frame.camera.width, frame.camera.height)
            pixels = geometry.view_pixels(frame.camera, full, device=self.device)
            image = geometry.resample_image(image, pixels)
        rays = geometry.rays(view, device=self.device).permute(2, 0, 1)
        valid = rays[2] > 0
        return Conditioning(
            image=geometry.resize_image(image, view.width, view.height),
            rays=torch.where(valid, rays, 0.0),
            valid=valid,
        )


def _dilated(mask: Tensor, reach: int) -> Tensor:
    """The mask (h, w) and the pixels up to `reach` around it."""
    return F.max_pool2d(mask[None].float(), 2 * reach + 1, 1, reach)[0] > 0


def _at(mask: Tensor, values: Tensor) -> Tensor:
    """(H, W) of the values (N,) where the mask (H, W) is True, NaN elsewhere."""
    whole = values.new_full(mask.shape, torch.nan)
    whole[mask] = values
    return whole


def middle(samples: Tensor) -> Tensor:
    """(h, w) median of (S, h, w); of an even number the mean of the middle two."""
    ordered = samples.sort(dim=0).values  # NaN sorts last, but is NaN in every sample of a pixel
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def load_predictor(
    model: str = checkpoint.DEFAULT_MODEL,
    *,
    device: str | torch.device = 'auto',
    num_samples: int = 4,
    num_steps: int | None = None,
    seed: int = 0,
) -> Predictor:
    """A Predictor with the weights and the calibration of `model`.

    Args:
        model: a name that `metric-depth models` lists, a checkpoint folder, or a hub id.
        device, num_samples, num_steps, seed: see Predictor.

    Raises:
        CheckpointError: the checkpoint is missing, incomplete or malformed.
    """
    loaded = checkpoint.load(model)
    return Predictor(
        loaded.method,
        name=loaded.card.name,
        num_samples=num_samples,
        num_steps=num_steps,
        seed=seed,
        device=device,
        calibration=loaded.card.calibration,
    )


def find_device(device: str | torch.device) -> torch.device:
    """The torch device called `device`; 'auto' is the GPU where there is one.

    Raises:
        MetricDepthError: there is no such device on this machine.
    """
    if device == 'auto':
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise MetricDepthError(
            f"device is {str(device)!r}, expected 'auto', 'cpu' or a GPU of this machine: {reason}"
        ) from None
    return found
