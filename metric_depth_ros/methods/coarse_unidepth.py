"""UniDepth, metric depth of any pinhole camera, through its authors' own package.

Piccinelli et al., UniDepth: Universal Monocular Metric Depth Estimation (CVPR 2024), and
UniDepthV2 (2025): the coarse model that SharpDepth was trained on. The package `unidepth` has a
licence that forbids commercial use, so it is no dependency; where it is installed, its models are
used like any public one. The camera's true intrinsics go in, as its `infer` takes them.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..looks import Look
from ..public_models import METRIC_DEPTH
from ..types import Conditioning
from .coarse import Coarse, CoarseError

_CONFIG = 'config.json'
_PREFIX = 'UniDepthV'


class UniDepth(Coarse):
    """UniDepth as a DepthMethod.

    Args:
        network: a model of the package `unidepth`.
    """

    half_weights = False  # `infer` chooses the precision itself

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network, _NoProcessor(), METRIC_DEPTH)

    def _see(self, look: Look, conditioning: Conditioning) -> Tensor:
        """(h', w') metres along z of one look at a view."""
        pixels = ((look.conditioning.image + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        camera = intrinsics(look.conditioning.rays)
        depth = self.network.infer(pixels, camera)['depth']  # type: ignore[operator]
        depth = depth.reshape(depth.shape[-2:]).float()
        return torch.where(depth > 0, depth, torch.nan)


class _NoProcessor:
    """UniDepth prepares its images itself."""

    def __call__(self, image: Tensor) -> Tensor:
        return image

    def save_pretrained(self, folder: Path) -> None:
        """Nothing to save."""


def intrinsics(rays: Tensor) -> Tensor:
    """(3, 3) matrix, pixels, of the pinhole whose rays (3, h, w) are."""
    _, h, w = rays.shape
    x, y = rays[0, 0] / rays[2, 0], rays[1, :, 0] / rays[2, :, 0]
    fx, fy = (w - 1) / (x[-1] - x[0]), (h - 1) / (y[-1] - y[0])
    matrix = torch.eye(3, device=rays.device)
    matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2] = fx, fy, -x[0] * fx, -y[0] * fy
    return matrix


# --- loading ----------------------------------------------------------------------------------


def is_unidepth(folder: Path) -> bool:
    """Whether `folder` holds a UniDepth as its package saves one."""
    return _kind(folder) is not None


def load_unidepth(folder: Path, *, name: str) -> UniDepth:
    """The model in `folder`, in eval mode on the CPU.

    Args:
        name: its hub id, or what else it is called.

    Raises:
        CoarseError: the package `unidepth` is not installed or has no such model, or the weights
            are not there or do not fit.
    """
    kind = _kind(folder)
    models = _package(name)
    if kind is None or not hasattr(models, kind):
        raise CoarseError(
            f'model {name!r} is a {kind}, which the installed package unidepth does not have: '
            f'install a newer one'
        )
    if not (folder / 'model.safetensors').is_file():
        raise CoarseError(
            f'model {name!r} in {folder} has no model.safetensors; weights that are pickled are '
            f'not opened: choose a model with safetensors, or convert it'
        )
    try:
        network = getattr(models, kind).from_pretrained(str(folder))
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CoarseError(f'model {name!r}: {folder} cannot be read: {reason}') from None
    return UniDepth(network.float()).eval()


def _package(name: str) -> Any:
    try:
        return importlib.import_module('unidepth.models')
    except ImportError as error:
        raise CoarseError(
            f'model {name!r} is a UniDepth, which needs the package unidepth of its authors '
            f'(lpiccinelli-eth/UniDepth, CC-BY-NC-4.0): install it, or choose another model '
            f'({error})'
        ) from None


def _kind(folder: Path) -> str | None:
    """Name of the model's class, as its configuration says it; None of anything else."""
    try:
        raw = json.loads((folder / _CONFIG).read_text())
    except (OSError, ValueError):
        return None
    model = raw.get('model') if isinstance(raw, dict) else None
    name = model.get('name') if isinstance(model, dict) else None
    return name if isinstance(name, str) and name.startswith(_PREFIX) else None
