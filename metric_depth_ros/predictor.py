"""Frame -> DepthPrediction: everything around a depth method that is not its paper's.

The way of one frame:
1. the image is resized, and its camera with it, to the size the method works at;
2. a method that does not read rays gets a rectified view instead of the raw one;
3. the method draws a few depth maps;
4. their median is the depth, their calibrated spread its standard deviation (GRIN, Section 5.6),
   the wider the more the view is unlike those the model was calibrated on;
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
from .methods.coarse import UNCALIBRATED, Coarse
from .novelty import Novelty
from .precision import AUTO, computing, convert, find_precision
from .targets import Targets, TargetsError, target_mask
from .types import Camera, CoarseDepth, Conditioning, DepthMethod, DepthPrediction, Frame

_COARSE_EXAMPLE = 'depth-anything/Depth-Anything-V2-Metric-Indoor-Small-hf'


class CoarseModelError(MetricDepthError):
    """A model that needs a coarse one, gets one it cannot use, or is fit for nothing else."""


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
        calibration, novelty: from the model's checkpoint.
        coarse: the model whose depth the method refines, for methods that take one. Any model
            but one that itself needs a coarse one; it may be of relative depth (load_coarse).
        precision: 'fp32', 'bf16' or 'fp16', what the network computes with; 'auto' leaves it to
            method and device, see precision.py. The method is converted in place.

    Raises:
        CoarseModelError: the method needs a coarse model and has none, or cannot use this one.
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
        coarse: Predictor | None = None,
        precision: str = AUTO,
        novelty: Novelty | None = None,
    ) -> None:
        if num_samples is not None and num_samples < 1:
            raise MetricDepthError(f'num_samples is {num_samples}, expected at least 1')
        if num_steps is not None and num_steps < 1:
            raise MetricDepthError(f'num_steps is {num_steps}, expected at least 1 or None')
        self.device = find_device(device)
        network = cast(torch.nn.Module, method)
        self.dtype = find_precision(precision, network, self.device)
        convert(network, self.dtype)
        self.method = cast(DepthMethod, network.to(self.device).eval())
        self.name = name
        self.num_samples = num_samples or self.method.num_samples
        self.num_steps = num_steps
        self.seed = seed
        self.calibration = calibration or Calibration()
        self.novelty = novelty
        self.coarse = coarse
        _check_coarse(self, coarse)

    @property
    def metric(self) -> bool:
        """Whether it predicts metres; False for what is good as a coarse model alone."""
        return getattr(self.method, 'metric', True)

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
            CoarseModelError: the model is of relative depth, which is not metres.
            MetricDepthError: what the method raises on input it cannot take.
        """
        if not self.metric:
            raise CoarseModelError(_relative_alone(self))
        view = self.view_camera(frame.camera)
        pixels = geometry.view_pixels(view, frame.camera, device=self.device)
        asked = drawn = None
        if targets is not None:
            asked = self._targets(targets, frame.camera)
            pixels = pixels[asked]
            drawn = geometry.pixels_read(pixels, view.width, view.height)
            drawn = _dilated(drawn, self.calibration.reach)
        conditioning = self.condition(frame, view)
        samples = self.draw(conditioning, targets=drawn)
        depth = combined(self.method, samples)
        novelty = self.novelty_of(conditioning)
        std = self.calibration.std(depth, samples, conditioning.coarse, novelty)
        depth, std = geometry.resample_depth(depth, std, pixels)
        if asked is not None:
            depth, std = _at(asked, depth), _at(asked, std)
        return DepthPrediction(
            depth.cpu(),
            std.cpu(),
            frame.camera,
            frame.stamp_ns,
            frame.frame_id,
            None if novelty is None else float(novelty.max()),
        )

    def draw(self, conditioning: Conditioning, *, targets: Tensor | None = None) -> Tensor:
        """(num_samples, h, w) float32 samples of a view; see DepthMethod."""
        with computing(cast(torch.nn.Module, self.method), self.dtype, self.device):
            samples = self.method.draw(
                conditioning,
                self.num_samples,
                torch.Generator(self.device).manual_seed(self.seed),
                num_steps=self.num_steps,
                targets=targets,
            )
        return samples.float()

    def novelty_of(self, conditioning: Conditioning) -> Tensor | None:
        """(2,) of a view, see Novelty.of; None if the model does not know what is usual."""
        if self.novelty is None:
            return None
        with computing(cast(torch.nn.Module, self.method), self.dtype, self.device):
            return self.novelty.of(self.method, conditioning)

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
        if self.method.working_pixels is None:
            return camera
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
        coarse = (
            None
            if self.coarse is None
            else self.coarse.coarse_depth(frame, view, device=self.device)
        )
        return Conditioning(
            image=geometry.resize_image(image, view.width, view.height),
            rays=torch.where(valid, rays, 0.0),
            valid=valid,
            coarse=coarse,
        )

    def coarse_depth(
        self, frame: Frame, view: Camera, *, device: torch.device | None = None
    ) -> CoarseDepth:
        """What this model says of `frame`, for another method that looks through `view`."""
        own = self.view_camera(frame.camera)
        conditioning = self.condition(frame, own)
        samples = self.draw(conditioning)
        values = combined(self.method, samples)
        pixels = geometry.view_pixels(own, view, device=self.device)
        if getattr(self.method, 'disparity', False):
            values = geometry.resample_values(values, pixels)
            return CoarseDepth(values.to(device), self.metric, disparity=True, model=self.name)
        if not self.metric or self.calibration in (Calibration(), UNCALIBRATED):
            values, _ = geometry.resample_depth(values, values, pixels)
            return CoarseDepth(values.to(device), self.metric, model=self.name)
        std = self.calibration.std(values, samples, novelty=self.novelty_of(conditioning))
        values, std = geometry.resample_depth(values, std, pixels)
        return CoarseDepth(values.to(device), std=std.to(device), model=self.name)


def _check_coarse(predictor: Predictor, coarse: Predictor | None) -> None:
    takes = getattr(predictor.method, 'takes_coarse', False)
    if takes and coarse is None:
        raise CoarseModelError(
            f'model {predictor.name!r} refines a coarse depth: give it a coarse model, such as '
            f'{_COARSE_EXAMPLE} (--coarse, or the parameter coarse of the node)'
        )
    if coarse is None:
        return
    if not takes:
        raise CoarseModelError(
            f'coarse is {coarse.name!r}, but model {predictor.name!r} takes no coarse model: '
            f'leave coarse out'
        )
    if getattr(coarse.method, 'takes_coarse', False):
        raise CoarseModelError(
            f'coarse is {coarse.name!r}, which refines a coarse depth itself: expected a model '
            f'that needs none, such as {_COARSE_EXAMPLE}'
        )
    if getattr(predictor.method, 'needs_metric_coarse', False) and not coarse.metric:
        raise CoarseModelError(
            f'coarse is {coarse.name!r}, whose depth is relative, but model {predictor.name!r} '
            f'needs metres: choose a metric one, such as {_COARSE_EXAMPLE}, or give its scale'
        )


def _relative_alone(predictor: Predictor) -> str:
    found = 'disparity' if getattr(predictor.method, 'disparity', False) else 'depth'
    return (
        f'model {predictor.name!r} says relative {found}, expected a model of metric depth such '
        f'as {_COARSE_EXAMPLE}: use it as the coarse model of another, or give its scale in metres'
    )


def _dilated(mask: Tensor, reach: int) -> Tensor:
    """The mask (h, w) and the pixels up to `reach` around it."""
    return F.max_pool2d(mask[None].float(), 2 * reach + 1, 1, reach)[0] > 0


def _at(mask: Tensor, values: Tensor) -> Tensor:
    """(H, W) of the values (N,) where the mask (H, W) is True, NaN elsewhere."""
    whole = values.new_full(mask.shape, torch.nan)
    whole[mask] = values
    return whole


def combined(method: DepthMethod, samples: Tensor) -> Tensor:
    """(h, w) of the samples (S, h, w): their median, or their mean if the method `takes_mean`.

    A mean is of the samples within range, where most of them are.
    """
    median = middle(samples)
    if not getattr(method, 'takes_mean', False):
        return median
    finite = samples.isfinite()
    mean = torch.where(finite, samples, 0).sum(dim=0) / finite.sum(dim=0).clamp(min=1)
    return torch.where(median.isfinite(), mean, median)


def middle(samples: Tensor) -> Tensor:
    """(h, w) median of (S, h, w); of an even number the mean of the middle two."""
    ordered = samples.sort(dim=0).values  # NaN sorts last, but is NaN in every sample of a pixel
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def load_predictor(
    model: str = checkpoint.DEFAULT_MODEL,
    *,
    device: str | torch.device = 'auto',
    num_samples: int | None = 4,
    num_steps: int | None = None,
    seed: int = 0,
    coarse: str | None = None,
    scale: float | None = None,
    precision: str = AUTO,
) -> Predictor:
    """A Predictor with the weights and the calibration of `model`.

    Args:
        model: a name that `metric-depth models` lists, a checkpoint folder, or a hub id; also of
            a public depth model in the layout of transformers.
        device, num_samples, num_steps, seed: see Predictor.
        precision: see Predictor; of the coarse model, too.
        coarse: likewise, for a model that refines a coarse depth.
        scale: depth = scale / disparity, metres, of a public model of relative disparity: of
            `coarse` if there is one, else of `model`.

    Raises:
        CheckpointError: the checkpoint is missing, incomplete or malformed.
        CoarseModelError: model or coarse are of relative depth where metres are needed, or do not
            fit together.
    """
    guide = None
    if coarse is not None:
        guide = load_coarse(coarse, device=device, seed=seed, scale=scale, precision=precision)
    loaded = checkpoint.load(model, scale=scale if coarse is None else None)
    predictor = Predictor(
        loaded.method,
        name=loaded.card.name,
        num_samples=num_samples,
        num_steps=num_steps,
        seed=seed,
        device=device,
        calibration=loaded.card.calibration,
        novelty=loaded.card.novelty,
        coarse=guide,
        precision=precision,
    )
    if not predictor.metric:
        raise CoarseModelError(_relative_alone(predictor))
    return predictor


def load_coarse(
    model: str,
    *,
    device: str | torch.device = 'auto',
    seed: int = 0,
    scale: float | None = None,
    precision: str = AUTO,
) -> Predictor:
    """A Predictor to be the coarse part of another; unlike load_predictor's it may be relative.

    Raises:
        CheckpointError: the checkpoint is missing, incomplete or malformed.
        CoarseModelError: the model needs a coarse one itself.
    """
    loaded = checkpoint.load(model, scale=scale)
    if getattr(loaded.method, 'takes_coarse', False):
        raise CoarseModelError(
            f'coarse is {model!r}, which refines a coarse depth itself: expected a model that '
            f'needs none, such as {_COARSE_EXAMPLE}'
        )
    # One look: a method learns from coarse depth as the model says it, not from a median.
    num_samples = 1 if isinstance(loaded.method, Coarse) else None
    return Predictor(
        loaded.method,
        name=loaded.card.name,
        num_samples=num_samples,
        seed=seed,
        device=device,
        calibration=loaded.card.calibration,
        novelty=loaded.card.novelty,
        precision=precision,
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
