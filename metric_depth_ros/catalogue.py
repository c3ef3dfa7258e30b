"""Which models there are, told without loading any library: torch alone takes a second or two.

What is known of presets without weights stands in presets.json, as building them takes longer
still. It is written by resource/write_presets.py, and a test holds it to the methods.
"""

from __future__ import annotations

import importlib.util
import json
import math
from dataclasses import dataclass
from pathlib import Path

from .public_models import PUBLIC_MODELS

SHIPPED = Path(__file__).parent / 'checkpoints'
SHIPPED_DEFAULT = 'grin-small'
PRESETS = Path(__file__).with_name('presets.json')


@dataclass(frozen=True)
class ModelEntry:
    """One line of `metric-depth models`; checkpoint is None for a preset without weights.

    parameters: None for a public model, whose weights are on the hub.
    hub_id: of a public model, which is its name too.
    licence_read_in, licence_doubt: of a public model, see Licence. pickled: see PublicModel.
    quantity: 'metric depth' or 'relative disparity'. scenes: 'indoor', 'outdoor' or 'both'.
    """

    name: str
    method: str
    parameters: int | None
    licence: str
    source: str
    checkpoint: str | None
    hub_id: str | None = None
    quantity: str = 'metric depth'
    scenes: str = 'both'
    licence_read_in: str = ''
    licence_doubt: str = ''
    pickled: bool = False


def models() -> list[ModelEntry]:
    """Every known configuration: the shipped checkpoints, the presets without weights, the hub's.

    Presets of which a library is missing are left out.
    """
    shipped = [_shipped(config.parent) for config in sorted(SHIPPED.glob('*/config.json'))]
    return [*shipped, *_presets({entry.name for entry in shipped}), *_public()]


def _shipped(folder: Path) -> ModelEntry:
    about = json.loads((folder / 'config.json').read_text())
    return ModelEntry(
        about['name'],
        about['method'],
        _count(folder / 'model.safetensors'),
        about['licence'],
        about['source'],
        str(folder),
    )


def _count(weights: Path) -> int:
    """How many numbers a safetensors file holds, by its header: its length, then JSON."""
    with weights.open('rb') as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), 'little')))
    return sum(
        math.prod(about['shape']) for name, about in header.items() if name != '__metadata__'
    )


def _presets(shipped: set[str]) -> list[ModelEntry]:
    entries = []
    for about in json.loads(PRESETS.read_text()):
        needs = about.pop('needs')
        there = needs is None or importlib.util.find_spec(needs) is not None
        if there and about['name'] not in shipped:
            entries.append(ModelEntry(**about, licence='Apache-2.0', checkpoint=None))
    return entries


def _public() -> list[ModelEntry]:
    return [
        ModelEntry(
            known.hub_id,
            'coarse',
            None,
            known.licence.name,
            known.family,
            checkpoint=None,
            hub_id=known.hub_id,
            quantity='metric depth' if known.quantity.metric else 'relative disparity',
            scenes=known.scenes,
            licence_read_in=known.licence.read_in,
            licence_doubt=known.licence.doubt,
            pickled=known.pickled,
        )
        for known in PUBLIC_MODELS
    ]
