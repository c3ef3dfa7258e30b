"""The layout of diffusers, in which latent methods come (see nn/latent_folder.py for its parts).

Beside the public parts lie
    metric_depth.json           as config.json in our own layout; `architecture` lacks `latent`,
                                which the parts say
    metric_depth.safetensors    what the method has beside the parts: every tensor of its
                                state_dict that no part holds, but for those of the modules that
                                it says are for TRAINING_ONLY; no file if there is none
    README.md, novelty.safetensors
so that diffusers opens the parts, whatever a method adds to them. A folder without
metric_depth.json, as Marigold is published, opens as MetricGold.
"""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from ..methods import METHODS
from ..nn import latent_folder
from .card import (
    CARD,
    CONFIG,
    NOVELTY,
    README,
    WEIGHTS,
    Card,
    Checkpoint,
    CheckpointError,
    about,
    check_keys,
    from_dict,
    load_tensors,
    method_name,
    read_card,
    replacing,
    write_novelty,
)

EXTRA = 'metric_depth.safetensors'
_OF_PARTS = ('latent.unet.', 'latent.vae.', 'latent.empty_prompt')
_MARIGOLD = 'metricgold'  # the method that a folder has whose layout says none
_MARIGOLD_ASPECT = 4 / 3


def is_latent(kind: type) -> bool:
    """Whether methods of this class are saved in the layout of diffusers."""
    config = getattr(kind, 'Config', None)
    return config is not None and any(f.name == 'latent' for f in dataclasses.fields(config))


def save(folder: Path, method: Any, card: Card) -> None:
    """Write a checkpoint whose parts diffusers opens."""
    config = about(method, card)
    del config['architecture']['latent']
    extra = _extra(method)
    with replacing(folder, may_lack=[EXTRA, NOVELTY]) as new:
        latent_folder.save(new, method.latent, metric=method.metric)
        (new / CARD).write_text(json.dumps(config, indent=2) + '\n')
        (new / README).write_text(card.readme)
        write_novelty(new, card.novelty)
        if extra:
            save_file({k: v.cpu().contiguous() for k, v in extra.items()}, new / EXTRA)


def load(folder: Path) -> Checkpoint:
    """The checkpoint in `folder`, or a public model of diffusers."""
    path = folder / CARD
    relative = _is_relative(folder)
    name, fields, card = read_card(path) if path.is_file() else _read_marigold(folder, relative)
    if not is_latent(METHODS[name]):
        raise CheckpointError(f'{path}: a {name} comes with {CONFIG} and {WEIGHTS}')
    known = {f.name for f in dataclasses.fields(METHODS[name].Config)} - {'latent'}
    later = {f.name for f in dataclasses.fields(METHODS[name].Config) if f.metadata.get('later')}
    check_keys(fields, known, path, 'architecture', optional=later)
    network = latent_folder.load(folder)
    fields = {**fields, 'latent': network.config}
    config = from_dict(METHODS[name].Config, fields, path, 'architecture')
    method = METHODS[name](config, network).eval()
    _load_extra(folder, method)
    method.metric = not relative
    return Checkpoint(method, card)


def begin_with_extra(folder: Path, method: nn.Module) -> None:
    """Give a method that begins with the parts in `folder` what its own kind has beside them.

    Raises:
        CheckpointError: a method of its kind lies there, but not with the same tensors.
    """
    path = folder / EXTRA
    if path.is_file() and read_card(folder / CARD)[0] == method_name(method):
        _take_extra(path, method)


def _extra(method: nn.Module) -> dict[str, Tensor]:
    """What the method has beside the parts, and needs to predict."""
    training_only = tuple(f'{name}.' for name in getattr(method, 'TRAINING_ONLY', ()))
    not_these = (*_OF_PARTS, *training_only)
    return {k: v for k, v in method.state_dict().items() if not k.startswith(not_these)}


def _load_extra(folder: Path, method: nn.Module) -> None:
    expected = _extra(method)
    path = folder / EXTRA
    if expected and not path.is_file():
        raise CheckpointError(
            f'checkpoint {folder} has no {EXTRA}, expected {len(expected)} tensors of '
            f'{method_name(method)} in it: copy all of the checkpoint'
        )
    if path.is_file():
        _take_extra(path, method)


def _take_extra(path: Path, method: nn.Module) -> None:
    # load_tensors is strict about these; the parts, which are not among them, stay as they are
    method.load_state_dict(load_tensors(path, _extra(method)), strict=False)


def _is_relative(folder: Path) -> bool:
    """Whether depth is known up to scale and shift only, as Marigold's, whose index says so."""
    index = latent_folder.read_index(folder)
    return bool(index.get('scale_invariant', True) or index.get('shift_invariant', True))


def _read_marigold(folder: Path, relative: bool) -> tuple[str, Any, Card]:
    """What read_card would say of a folder that only the index of diffusers describes.

    What Marigold decodes is affine in depth: a linear code.
    """
    index = latent_folder.read_index(folder)
    config = METHODS[_MARIGOLD].Config()
    fields = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    del fields['latent']
    if relative:
        fields |= {'log_code': False, 'beyond': math.inf}
    if steps := index.get('default_denoising_steps'):
        fields['num_steps'] = steps
    if width := index.get('default_processing_resolution'):
        fields['working_pixels'] = round(width**2 / _MARIGOLD_ASPECT)
    source = f'{index.get("_class_name", "diffusers")}, {"relative" if relative else "metric"}'
    return _MARIGOLD, fields, Card(folder.name, 'see its README.md', source)
