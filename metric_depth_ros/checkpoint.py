"""A checkpoint folder <-> a depth method with its weights.

A folder is in our own layout (layouts/own.py), or in the public one that the method's parts have:
of diffusers for latent methods (layouts/latent.py), of transformers for public depth models
(layouts/public.py). Loading is strict: every field must be known, every tensor present, of its
shape and finite. Weights are safetensors only; nothing in a checkpoint is ever executed.

A field whose dataclass metadata says `later` came after the first checkpoints were written: a file
may lack it, and then means its default, or what the metadata has as `before`. New fields of a
Config or of Calibration are marked so.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from .catalogue import SHIPPED, SHIPPED_DEFAULT, ModelEntry, models
from .layouts import latent, own, public
from .layouts.card import (
    CARD,
    CONFIG,
    FORMAT,
    NOVELTY,
    README,
    Card,
    Checkpoint,
    CheckpointError,
)
from .methods import METHODS
from .methods.coarse import Coarse
from .nn import latent_folder
from .types import DepthMethod

__all__ = [
    'DEFAULT_MODEL',
    'FORMAT',
    'SHIPPED',
    'SHIPPED_DEFAULT',
    'Card',
    'Checkpoint',
    'CheckpointError',
    'ModelEntry',
    'architecture',
    'find',
    'load',
    'models',
    'parameter_counts',
    'save',
]

DEFAULT_MODEL = 'default'

_HUB_FILES = [
    CONFIG, CARD, latent.EXTRA, 'preprocessor_config.json', 'model*.safetensors',
    'model.safetensors.index.json', NOVELTY, README,
]  # fmt: skip
_HUB_ID = re.compile(r'[\w.-]+/[\w.-]+')


def save(folder: Path | str, method: DepthMethod, card: Card) -> None:
    """Write a checkpoint; an older one in `folder` is replaced only once all is written."""
    if isinstance(method, Coarse):
        public.save(Path(folder), method, card)
    elif latent.is_latent(type(method)):
        latent.save(Path(folder), method, card)
    else:
        own.save(Path(folder), method, card)


def load(model: str | Path, *, scale: float | None = None) -> Checkpoint:
    """The method, in eval mode on the CPU, and its card.

    Args:
        model: a name that `metric-depth models` lists, a checkpoint folder, or a hub id; also of
            a public depth model in the layout of transformers.
        scale: metres, for a public model of relative disparity; see methods.coarse.Coarse.

    Raises:
        CoarseError: a public model is not whole, or the scale does not fit it.
        CheckpointError: names the file, the field or the tensor, its value and what was expected.
    """
    folder = find(model)
    if public.is_public_layout(folder):
        return public.load(folder, model, scale)
    if scale is not None:
        raise CheckpointError(
            f'scale is {scale}, but model {str(model)!r} is metric: leave the scale out'
        )
    if latent_folder.is_latent_folder(folder):
        return latent.load(folder)
    return own.load(folder)


def find(model: str | Path) -> Path:
    """The checkpoint folder that `model` means; a hub id is downloaded once and kept.

    Raises:
        CheckpointError: there is none.
    """
    name = SHIPPED_DEFAULT if str(model) == DEFAULT_MODEL else str(model)
    for folder in (SHIPPED / name, Path(name).expanduser()):
        if folder.is_dir():
            return folder
    presets = [preset for kind in METHODS.values() for preset in kind.PRESETS]
    if name in presets:
        raise CheckpointError(
            f'model {name!r} is an architecture without weights: train it with `metric-depth '
            f'train`, or choose a model whose checkpoint `metric-depth models` shows'
        )
    if _HUB_ID.fullmatch(name):
        return _from_hub(name)
    shipped = sorted(path.parent.name for path in SHIPPED.glob(f'*/{CONFIG}'))
    known = ', '.join([DEFAULT_MODEL, *shipped])
    raise CheckpointError(
        f'model is {name!r}, expected one of {known}, a checkpoint folder or a hub id org/name'
    )


def architecture(model: str | Path) -> torch.nn.Module:
    """The network of a checkpoint or a preset, without memory for its weights (on 'meta').

    Args:
        model: as of `load`, or a preset.

    Raises:
        CheckpointError: there is none.
    """
    presets = {name: kind for kind in METHODS.values() for name in kind.PRESETS}
    if str(model) in presets and not (SHIPPED / str(model)).is_dir():
        kind = presets[str(model)]
        config = kind.PRESETS[str(model)]()
    else:
        folder = find(model)
        if public.is_public_layout(folder):
            return public.architecture(folder, model)
        if latent_folder.is_latent_folder(folder):
            network: Any = latent.load(folder).method
            return network.to('meta')
        name, config, _ = own.read(folder)
        kind = METHODS[name]
    with torch.device('meta'):
        return kind(config)


def parameter_counts(network: torch.nn.Module, depth: int = 2) -> dict[str, int]:
    """Parameters of each module, `depth` levels deep: dotted name -> how many, parents first.

    What a module holds beside its modules stands among them, by its own name; a layer's weight and
    bias are not told apart.
    """
    counts = {}
    for name, parameter in network.named_parameters(recurse=False):
        counts[name] = parameter.numel()
    for name, child in network.named_children():
        total = sum(parameter.numel() for parameter in child.parameters())
        if total:
            counts[name] = total
        if total and depth > 1 and any(child.children()):
            inner = parameter_counts(child, depth - 1)
            counts |= {f'{name}.{key}': count for key, count in inner.items()}
    return counts


def _from_hub(hub_id: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise CheckpointError(
            f'model {hub_id!r} is neither a known name nor a folder; to look it up on the hub, '
            f'pip install huggingface_hub'
        ) from None
    try:
        folder = snapshot_download(
            hub_id,
            allow_patterns=[*_HUB_FILES, *latent_folder.PATTERNS],
            ignore_patterns=list(latent_folder.EXCEPT),
        )
    except Exception as error:  # the hub client has a wide family of errors; all end up here
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(
            f'model {hub_id!r} is neither a known name nor a folder, and the hub did not give it '
            f'({reason}): check the name and the network, or copy the checkpoint to a folder'
        ) from None
    return Path(folder)
