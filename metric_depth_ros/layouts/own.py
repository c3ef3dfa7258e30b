"""Our own layout: config.json, model.safetensors, README.md and perhaps novelty.safetensors.

config.json:
    {"format": 1, "name": ..., "method": a name of METHODS, "licence": ..., "source": ...,
     "architecture": {the fields of the method's Config},
     "calibration": {the fields of Calibration}}
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ..methods import METHODS
from ..nn import latent_folder
from ..types import DepthMethod
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
    from_dict,
    load_tensors,
    read_card,
    replacing,
    write_novelty,
)
from .latent import is_latent


def save(folder: Path, method: DepthMethod, card: Card) -> None:
    """Write a checkpoint."""
    weights = method.state_dict()  # type: ignore[attr-defined]
    with replacing(folder, may_lack=[NOVELTY]) as new:
        (new / CONFIG).write_text(json.dumps(about(method, card), indent=2) + '\n')
        (new / README).write_text(card.readme)
        write_novelty(new, card.novelty)
        save_file({k: _compact(v.cpu().contiguous()) for k, v in weights.items()}, new / WEIGHTS)


def _compact(values: Tensor) -> Tensor:
    """In half precision if that loses nothing, as with weights that were given in it."""
    half = values.half()
    return half if values.dtype == torch.float32 and torch.equal(half.float(), values) else values


def load(folder: Path) -> Checkpoint:
    """The checkpoint in `folder`."""
    name, config, card = read(folder)
    method = METHODS[name](config)
    method.load_state_dict(load_tensors(folder / WEIGHTS, method.state_dict()))
    return Checkpoint(method.eval(), card)


def read(folder: Path) -> tuple[str, Any, Card]:
    """Name of the method, its config and the card."""
    path = folder / CONFIG
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise CheckpointError(
                f'checkpoint {folder} has no {name}, expected {CONFIG} and {WEIGHTS}'
            )
    name, architecture, card = read_card(path)
    if is_latent(METHODS[name]):
        raise CheckpointError(
            f'{path}: a {name} comes with {latent_folder.INDEX} and {CARD}, as it is saved'
        )
    return name, from_dict(METHODS[name].Config, architecture, path, 'architecture'), card
