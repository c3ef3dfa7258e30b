"""Any depth model of Hugging Face's transformers: a method of its own, or the coarse part of one.

The image goes through the model's own image processor and network, and what comes out is carried
to the size of the image, as the model's own post-processing does it; torchvision is not needed.
What the numbers are, metres or not, depth or disparity, public_models.py knows.

These networks say one depth for one image; further draws look at it in other ways (looks.py).
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..calibration import Calibration
from ..errors import MetricDepthError
from ..looks import Look, looks
from ..public_models import ARCHITECTURES, METRIC_DEPTH, Quantity, public_model
from ..types import Conditioning

_CONFIG, _PREPROCESSOR = 'config.json', 'preprocessor_config.json'
_ZOEDEPTH_PADDING = 3.0  # times the square root of half the side, as its processor pads
_DEPTH_PRO_RANGE = (1e-4, 1e4)  # of inverse depth, 1/m

# Nobody has measured these models yet: a tenth of depth, and more where the views differ.
UNCALIBRATED = Calibration(std_scale=1.0, std_floor=0.1, std_single=0.1)


class CoarseError(MetricDepthError):
    """A public depth model that cannot be loaded, or that does not say what is needed of it."""


class Processor(Protocol):
    """(H, W, 3) uint8 image -> (1, 3, h, w) float input of a network."""

    def __call__(self, image: Tensor) -> Tensor: ...


class Coarse(nn.Module):
    """A public depth model as a DepthMethod.

    A model of relative disparity draws that instead of depth, unless it is given a scale.

    Args:
        network: a transformers model for depth estimation.
        processor: what makes its input.
        quantity: what it predicts.
        scale: of a relative model: depth = scale / disparity, metres.

    Raises:
        CoarseError: the scale is not above 0, or the model has no use for one.
    """

    SOURCE = 'a public depth model'
    takes_rays = False
    takes_targets = False
    takes_coarse = False
    needs_metric_coarse = False
    working_pixels: int | None = None
    multiple_of = 1
    num_samples = 2
    half_weights = True  # the network may have weights of half precision

    def __init__(
        self,
        network: nn.Module,
        processor: Processor,
        quantity: Quantity,
        *,
        scale: float | None = None,
    ) -> None:
        super().__init__()
        if scale is not None and not 0 < scale < math.inf:
            raise CoarseError(f'scale is {scale}, expected a finite number above 0')
        if scale is not None and quantity.metric:
            raise CoarseError(f'scale is {scale}, but the model is metric: leave the scale out')
        self.network, self.processor = network, processor
        self.quantity, self.scale = quantity, scale

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return next(self.network.parameters()).dtype

    @property
    def metric(self) -> bool:
        """Whether it draws metres along z, rather than relative values."""
        return self.quantity.metric or self.scale is not None

    @property
    def disparity(self) -> bool:
        """Whether what it draws grows with nearness; only relative values may."""
        return self.quantity.disparity and not self.metric

    def draw(
        self,
        conditioning: Conditioning,
        num_samples: int,
        generator: torch.Generator,
        *,
        num_steps: int | None = None,
        targets: Tensor | None = None,
    ) -> Tensor:
        """(num_samples, h, w), one of each of `looks`."""
        draws = [
            look.back(self._see(look, conditioning))
            for look in looks(conditioning, num_samples, generator)
        ]
        depth = torch.stack(draws)
        return torch.where(conditioning.valid, depth, torch.nan)

    def _see(self, look: Look, conditioning: Conditioning) -> Tensor:
        """What the network says of one look at a view, of the look's size or of the view's."""
        image = look.conditioning.image
        pixels = ((image + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        values = self.network(
            pixel_values=self.processor(pixels.permute(1, 2, 0).cpu()).to(image.device, self.dtype)
        ).predicted_depth.float()
        size = look.size
        if self.quantity.metric and self.quantity.disparity:
            return _depth_of_canonical(values, conditioning.rays, size)
        if _pads(self.processor):
            values = _unpadded(values, (image.shape[-2], image.shape[-1]))
        values = F.interpolate(values[None], size, mode='bicubic', align_corners=False)[0, 0]
        if self.scale is not None:
            return torch.where(values > 0, self.scale / values, torch.inf)
        if self.disparity:
            return values
        return torch.where(values > 0, values, torch.nan)


def _depth_of_canonical(values: Tensor, rays: Tensor, size: tuple[int, int]) -> Tensor:
    """(h, w) metres of the canonical inverse depth (1, ., .) that Depth Pro says.

    Source: Bochkovskii et al., Depth Pro (ICLR 2025), Section 3.2: depth is focal length over
    width and canonical inverse depth. The focal length is the camera's, which is known better
    here than the network's guess of it.
    """
    tangents = rays[0] / rays[2]
    focal = (size[1] - 1) / (tangents[0, -1] - tangents[0, 0]) if size[1] > 1 else 1.0
    inverse = F.interpolate(values[None] * (size[1] / focal), size, mode='bilinear')[0, 0]
    return inverse.clamp(*_DEPTH_PRO_RANGE).reciprocal()


def _pads(processor: Processor) -> bool:
    return isinstance(processor, _PublicProcessor) and processor.pads


def _unpadded(values: Tensor, size: tuple[int, int]) -> Tensor:
    """The part (1, *size) of values (1, ., .) that is not ZoeDepth's padding around the image."""
    rows, columns = (int(math.sqrt(side / 2) * _ZOEDEPTH_PADDING) for side in size)
    whole = (size[0] + 2 * rows, size[1] + 2 * columns)
    values = F.interpolate(values[None], whole, mode='bicubic', align_corners=False)[0]
    return values[:, rows : rows + size[0], columns : columns + size[1]]


# --- loading ----------------------------------------------------------------------------------


def is_public(folder: Path) -> bool:
    """Whether `folder` is laid out as transformers saves a model."""
    try:
        raw = json.loads((folder / _CONFIG).read_text())
    except (OSError, ValueError):
        return False
    return isinstance(raw, dict) and 'model_type' in raw


def load_coarse(folder: Path, *, name: str, scale: float | None = None) -> Coarse:
    """The model in `folder`, in eval mode on the CPU, float32.

    Args:
        name: its hub id, or what else it is called.
        scale: see Coarse.

    Raises:
        CoarseError: the folder is not a whole depth model, has no safetensors, or holds a model
            of which it is not known what it predicts.
    """
    config = _config(folder, name)
    if not any(folder.glob('model*.safetensors')):
        raise CoarseError(
            f'model {name!r} in {folder} has no model.safetensors; weights that are pickled are '
            f'not opened: choose a model with safetensors, or convert it'
        )
    quantity = _quantity(config, name)
    network = _network(folder, name, config)
    return Coarse(network, _processor(folder, name, config), quantity, scale=scale).eval()


def coarse_architecture(folder: Path, *, name: str) -> nn.Module:
    """The network without memory for its weights (on 'meta').

    Raises:
        CoarseError: see load_coarse.
    """
    config = _config(folder, name)
    with torch.device('meta'):
        return _transformers().AutoModelForDepthEstimation.from_config(config)


def _transformers() -> Any:
    try:
        import transformers
    except ImportError:
        raise CoarseError(
            "public depth models need transformers: pip install 'metric_depth_ros[models]'"
        ) from None
    transformers.logging.disable_progress_bar()  # of reading weights, which takes a second
    return transformers


def _config(folder: Path, name: str) -> Any:
    try:
        config = _transformers().AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CoarseError(
            f'model {name!r}: {folder / _CONFIG} is not of a model that transformers knows: '
            f'{_first_line(error)}'
        ) from None
    if config.model_type not in ARCHITECTURES:
        raise CoarseError(
            f'model {name!r} is a {config.model_type}, expected a depth model of one of '
            f'{", ".join(ARCHITECTURES)}'
        )
    return config


def _quantity(config: Any, name: str) -> Quantity:
    """The configuration's own word first, then what is known of the very model."""
    if getattr(config, 'depth_estimation_type', '') == 'metric':
        return METRIC_DEPTH
    known = public_model(name)
    if known is not None and config.model_type == 'dpt':  # one architecture, several meanings
        return known.quantity
    return ARCHITECTURES[config.model_type]


def _network(folder: Path, name: str, config: Any) -> nn.Module:
    from safetensors import SafetensorError

    try:
        network, report = _transformers().AutoModelForDepthEstimation.from_pretrained(
            folder,
            config=config,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise CoarseError(
            f'model {name!r}: the weights in {folder} cannot be read: {_first_line(error)}'
        ) from None
    missing = sorted(report['missing_keys'])
    if missing:
        shown = ', '.join(map(str, missing[:3]))
        raise CoarseError(f'model {name!r}: {folder} lacks {len(missing)} tensors: {shown}, ...')
    for key, value in network.named_parameters():
        if not bool(torch.isfinite(value).all()):
            raise CoarseError(f'model {name!r}: {key} holds values that are not finite')
    return cast(nn.Module, network.float())


def _processor(folder: Path, name: str, config: Any) -> Processor:
    try:
        if config.model_type == 'depth_pro':  # transformers has this one for torchvision alone
            return _DepthProProcessor(json.loads((folder / _PREPROCESSOR).read_text()))
        processor = _transformers().AutoImageProcessor.from_pretrained(
            folder, backend='pil', local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise CoarseError(
            f'model {name!r}: {folder / _PREPROCESSOR} cannot be used, expected the settings of '
            f'its image processor: {_first_line(error)}'
        ) from None
    return _PublicProcessor(processor, pads=config.model_type == 'zoedepth' and processor.do_pad)


class _PublicProcessor:
    """A transformers image processor that works on NumPy and Pillow."""

    def __init__(self, processor: Any, *, pads: bool) -> None:
        self._processor = processor
        self.pads = pads

    def __call__(self, image: Tensor) -> Tensor:
        made = self._processor(
            images=image.numpy(), input_data_format='channels_last', return_tensors='pt'
        )
        return cast(Tensor, made['pixel_values'])

    def save_pretrained(self, folder: Path) -> None:
        self._processor.save_pretrained(folder)


class _DepthProProcessor:
    """Normalised, then resized without antialiasing, as Depth Pro has it.

    Args:
        settings: what preprocessor_config.json says.

    Raises:
        KeyError, TypeError: a setting is missing or not of its type.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._size = (int(settings['size']['height']), int(settings['size']['width']))
        self._mean = torch.tensor(settings['image_mean'])[:, None, None]
        self._std = torch.tensor(settings['image_std'])[:, None, None]

    def __call__(self, image: Tensor) -> Tensor:
        normal = (image.permute(2, 0, 1).float() / 255 - self._mean) / self._std
        return F.interpolate(normal[None], self._size, mode='bilinear', align_corners=False)

    def save_pretrained(self, folder: Path) -> None:
        (folder / _PREPROCESSOR).write_text(json.dumps(self._settings, indent=2) + '\n')


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
