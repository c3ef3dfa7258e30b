"""The layout of transformers, in which public depth models come; and UniDepth's, which is like it.

Saved by us there is metric_depth.json beside them: config.json of our own layout without the
architecture, and with `scale`.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from torch import nn

from ..calibration import Calibration
from ..methods.coarse import (
    UNCALIBRATED,
    Coarse,
    CoarseError,
    coarse_architecture,
    is_public,
    load_coarse,
)
from ..methods.coarse_unidepth import is_unidepth, load_unidepth
from ..public_models import public_model
from .card import (
    CARD,
    FORMAT,
    README,
    Card,
    Checkpoint,
    CheckpointError,
    check_keys,
    from_dict,
    read_json,
    replacing,
)


def is_public_layout(folder: Path) -> bool:
    """Whether `folder` holds a public depth model."""
    return is_public(folder) or is_unidepth(folder)


def architecture(folder: Path, model: str | Path) -> nn.Module:
    """The network without memory for its weights (on 'meta'); `model` as of load."""
    name = public_name(folder, model)
    if is_unidepth(folder):
        return load_unidepth(folder, name=name).network.to('meta')
    return coarse_architecture(folder, name=name)


def public_name(folder: Path, model: str | Path) -> str:
    """The hub id where `model` is one, else the name of the folder."""
    return folder.name if Path(model).is_dir() else str(model)


def load(folder: Path, model: str | Path, scale: float | None) -> Checkpoint:
    """The checkpoint in `folder`; `model` is what it was asked for as, scale as of Coarse."""
    name = public_name(folder, model)
    known = public_model(name)
    licence = known.licence.name if known else 'see its README.md'
    source = known.family if known else Coarse.SOURCE
    calibration = UNCALIBRATED
    own = folder / CARD
    if own.is_file():
        raw = read_json(own)
        check_keys(raw, {'format', 'name', 'licence', 'source', 'scale', 'calibration'}, own)
        if raw['format'] != FORMAT:
            raise CheckpointError(f'{own}: format is {raw["format"]!r}, expected {FORMAT}')
        calibration = from_dict(Calibration, raw['calibration'], own, 'calibration')
        name, licence, source = raw['name'], raw['licence'], raw['source']
        scale = raw['scale'] if scale is None else scale
    if is_unidepth(folder):
        if scale is not None:
            raise CoarseError(f'scale is {scale}, but the model is metric: leave the scale out')
        method: Coarse = load_unidepth(folder, name=name)
    else:
        method = load_coarse(folder, name=name, scale=scale)
    readme = folder / README
    text = readme.read_text() if readme.is_file() else ''
    return Checkpoint(method, Card(name, licence, source, calibration, text))


def save(folder: Path, method: Coarse, card: Card) -> None:
    """Write a checkpoint that transformers opens too."""
    about = {
        'format': FORMAT,
        'name': card.name,
        'licence': card.licence,
        'source': card.source,
        'scale': method.scale,
        'calibration': dataclasses.asdict(card.calibration),
    }
    with replacing(folder) as new:
        method.network.save_pretrained(new)  # type: ignore[operator]
        method.processor.save_pretrained(new)  # type: ignore[attr-defined]
        (new / CARD).write_text(json.dumps(about, indent=2) + '\n')
        (new / README).write_text(card.readme)
