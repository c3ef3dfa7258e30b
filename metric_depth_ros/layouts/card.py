"""What every checkpoint says of its model, whatever its layout; reading and writing its files.

The JSON is config.json in our own layout, metric_depth.json beside the files of a public one.
Reading is strict: no unknown field, none missing, and nothing in a checkpoint is ever executed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..calibration import Calibration
from ..errors import MetricDepthError
from ..methods import METHODS
from ..novelty import Gaussian, Novelty
from ..types import DepthMethod

FORMAT = 1
CONFIG, WEIGHTS, README = 'config.json', 'model.safetensors', 'README.md'
CARD = 'metric_depth.json'  # what config.json is to us, in a layout where that is another's
NOVELTY = 'novelty.safetensors'  # of Card.novelty; no file where that is None


class CheckpointError(MetricDepthError):
    """A model that is not there, or a checkpoint folder that is not whole."""


@dataclass(frozen=True)
class Card:
    """What config.json says of a model beside its architecture.

    readme: the text of README.md, the model card a person reads.
    novelty: what is usual to the model; None if that was never fitted.
    """

    name: str
    licence: str
    source: str
    calibration: Calibration = field(default_factory=Calibration)
    readme: str = ''
    novelty: Novelty | None = None


@dataclass(frozen=True)
class Checkpoint:
    """A loaded model: the method with its weights, and what is said of it."""

    method: DepthMethod
    card: Card


@contextlib.contextmanager
def replacing(folder: Path, *, may_lack: Sequence[str] = ()) -> Iterator[Path]:
    """A new folder to write into; its files replace those of `folder` only once all are there.

    Args:
        may_lack: files that go from `folder` if the new one has none of that name.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f'.{folder.name}-') as name:
        yield Path(name)
        gone = [file for file in may_lack if not (Path(name) / file).is_file()]
        for path in sorted(Path(name).rglob('*')):
            if path.is_file():
                shutil.copymode(__file__, path)  # safetensors writes for the owner alone
                place = folder / path.relative_to(name)
                place.parent.mkdir(parents=True, exist_ok=True)
                path.replace(place)
        for left_over in gone:
            (folder / left_over).unlink(missing_ok=True)


def about(method: DepthMethod, card: Card) -> dict[str, Any]:
    """What the checkpoint's JSON says."""
    return {
        'format': FORMAT,
        'name': card.name,
        'method': method_name(method),
        'licence': card.licence,
        'source': card.source,
        'architecture': dataclasses.asdict(method.config),  # type: ignore[attr-defined]
        'calibration': dataclasses.asdict(card.calibration),
    }


def read_card(path: Path) -> tuple[str, Any, Card]:
    """Name of the method, the fields of its config, unchecked, and the card."""
    raw = read_json(path)
    fields = {'format', 'name', 'method', 'licence', 'source', 'architecture', 'calibration'}
    check_keys(raw, fields, path)
    if raw['format'] != FORMAT:
        raise CheckpointError(f'{path}: format is {raw["format"]!r}, expected {FORMAT}')
    if raw['method'] not in METHODS:
        raise CheckpointError(
            f'{path}: method is {raw["method"]!r}, expected one of {", ".join(METHODS)}'
        )
    calibration = from_dict(Calibration, raw['calibration'], path, 'calibration')
    readme = path.parent / README
    card = Card(
        raw['name'],
        raw['licence'],
        raw['source'],
        calibration,
        readme.read_text() if readme.is_file() else '',
        read_novelty(path.parent, calibration),
    )
    return raw['method'], raw['architecture'], card


def write_novelty(folder: Path, novelty: Novelty | None) -> None:
    """Nothing if there is none."""
    if novelty is None:
        return
    tensors = {}
    for kind in dataclasses.fields(Novelty):
        gaussian = getattr(novelty, kind.name)
        if gaussian is not None:
            tensors[f'{kind.name}.mean'] = gaussian.mean.contiguous()
            tensors[f'{kind.name}.whitening'] = gaussian.whitening.contiguous()
    save_file(tensors, folder / NOVELTY)


def read_novelty(folder: Path, calibration: Calibration) -> Novelty | None:
    """What is usual to the model in `folder`; None if nobody has fitted that.

    Raises:
        CheckpointError: the calibration asks for what is not there, or the file is malformed.
    """
    path = folder / NOVELTY
    if not path.is_file():
        if calibration.heeds_novelty:
            raise CheckpointError(
                f'checkpoint {folder} has no {NOVELTY}, which its calibration asks for: copy all '
                f'of the checkpoint'
            )
        return None
    tensors = _read_tensors(path)
    kinds = [f.name for f in dataclasses.fields(Novelty)]
    kinds = [kind for kind in kinds if kind == 'picture' or f'{kind}.mean' in tensors]
    check_keys(
        tensors, {f'{kind}.{part}' for kind in kinds for part in ('mean', 'whitening')}, path
    )
    try:
        return Novelty(
            **{k: Gaussian(tensors[f'{k}.mean'], tensors[f'{k}.whitening']) for k in kinds}
        )
    except MetricDepthError as error:
        raise CheckpointError(f'{path}: {error}') from None


def read_json(path: Path) -> Any:
    """What the file says; a CheckpointError if it is not JSON."""
    try:
        return json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f'{path} is not JSON: {error}') from None


def from_dict(kind: type, raw: Any, path: Path, where: str) -> Any:
    """An instance of the dataclass `kind`: every field that is not `later`, no unknown one."""
    fields = dataclasses.fields(kind)
    later = {f.name for f in fields if f.metadata.get('later')}
    check_keys(raw, {f.name for f in fields}, path, where, optional=later)
    values = {f.name: f.metadata['before'] for f in fields if 'before' in f.metadata}
    values |= {k: tuple(v) if isinstance(v, list) else v for k, v in raw.items()}
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f'{path}: {where}: {error}') from None


def check_keys(
    raw: Any,
    expected: set[str],
    path: Path,
    where: str = 'the file',
    *,
    optional: Collection[str] = (),
) -> None:
    """Nothing, or a CheckpointError if `raw` has not the keys expected, or others too."""
    if not isinstance(raw, dict):
        raise CheckpointError(f'{path}: {where} is {type(raw).__name__}, expected an object')
    missing = expected - raw.keys() - set(optional)
    for title, keys in (('lacks', missing), ('has unknown', raw.keys() - expected)):
        if keys:
            raise CheckpointError(f'{path}: {where} {title} {", ".join(sorted(keys))}')


def load_tensors(path: Path, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors in the file at `path`: all that are expected, of their shapes, and no others.

    Raises:
        CheckpointError: they are not, or hold values that are not finite.
    """
    tensors = _read_tensors(path)
    for title, keys in (
        ('lacks', expected.keys() - tensors.keys()),
        ('has unknown', tensors.keys() - expected.keys()),
    ):
        if keys:
            shown = ', '.join(sorted(keys)[:3])
            raise CheckpointError(f'{path} {title} {len(keys)} tensors: {shown}, ...')
    for key, value in tensors.items():
        if value.shape != expected[key].shape:
            raise CheckpointError(
                f'{path}: {key} has shape {tuple(value.shape)}, expected '
                f'{tuple(expected[key].shape)}'
            )
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise CheckpointError(f'{path}: {key} holds values that are not finite')
    return tensors


def _read_tensors(path: Path) -> dict[str, Tensor]:
    """All that the file holds; a CheckpointError if it is not safetensors."""
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f'{path} is not a safetensors file: {error}') from None
    return tensors


def method_name(method: object) -> str:
    """What METHODS calls it."""
    for name, kind in METHODS.items():
        if type(method) is kind:
            return name
    raise TypeError(f'{type(method).__name__} is not in METHODS')
