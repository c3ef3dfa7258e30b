"""A folder {config.json, model.safetensors, README.md} <-> a depth method with its weights.

Loading is strict: every field of config.json must be known, every tensor present, of its shape
and finite. Weights are safetensors only; nothing in a checkpoint is ever executed.

config.json:
    {"format": 1, "name": ..., "method": a name of METHODS, "licence": ..., "source": ...,
     "architecture": {the fields of the method's Config},
     "calibration": {the fields of Calibration}}

A latent method's checkpoint is a folder in the public layout of diffusers instead (see
nn/latent_folder.py), with metric_depth.json in the place of config.json; its `architecture` lacks
`latent`, which the layout says. Such a folder without metric_depth.json, as Marigold is published,
opens as MetricGold.

A field whose dataclass metadata says `later` came after the first checkpoints were written: a file
may lack it, and then means its default, or what the metadata has as `before`. New fields of a
Config or of Calibration are marked so.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import shutil
import tempfile
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from .calibration import Calibration
from .errors import MetricDepthError
from .methods import METHODS
from .methods.coarse import UNCALIBRATED, Coarse, coarse_architecture, is_public, load_coarse
from .methods.coarse_models import PUBLIC_MODELS, public_model
from .nn import latent_folder
from .nn.latent import MissingLibraryError
from .types import DepthMethod

FORMAT = 1
DEFAULT_MODEL = 'default'
SHIPPED = Path(__file__).parent / 'checkpoints'
SHIPPED_DEFAULT = 'grin-small'

_CONFIG, _WEIGHTS, _README = 'config.json', 'model.safetensors', 'README.md'
_PUBLIC_CARD = 'metric_depth.json'  # beside the files of a public depth model
_HUB_FILES = [
    _CONFIG, _PUBLIC_CARD, 'preprocessor_config.json', 'model*.safetensors',
    'model.safetensors.index.json', _README,
]  # fmt: skip
_HUB_ID = re.compile(r'[\w.-]+/[\w.-]+')
_LATENT_CARD = 'metric_depth.json'  # beside the parts of a latent method
_MARIGOLD = 'metricgold'  # the method that a folder in the layout of diffusers has that says none
_MARIGOLD_ASPECT = 4 / 3


class CheckpointError(MetricDepthError):
    """A model that is not there, or a checkpoint folder that is not whole."""


@dataclass(frozen=True)
class Card:
    """What config.json says of a model beside its architecture.

    readme: the text of README.md, the model card a person reads.
    """

    name: str
    licence: str
    source: str
    calibration: Calibration = field(default_factory=Calibration)
    readme: str = ''


@dataclass(frozen=True)
class Checkpoint:
    """A loaded model: the method with its weights, and what is said of it."""

    method: DepthMethod
    card: Card


@dataclass(frozen=True)
class ModelEntry:
    """One line of `metric-depth models`; checkpoint is None for a preset without weights.

    parameters: None for a public model, whose weights are on the hub.
    hub_id: of a public model, which is its name too.
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


def save(folder: Path | str, method: DepthMethod, card: Card) -> None:
    """Write a checkpoint; an older one in `folder` is replaced only once all is written."""
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(method, Coarse):
        _save_public(folder, method, card)
        return
    config = _about(method, card)
    if is_latent(type(method)):
        _save_latent(folder, method, config, card)
        return
    weights = method.state_dict()  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f'.{folder.name}-') as new:
        (Path(new) / _CONFIG).write_text(json.dumps(config, indent=2) + '\n')
        (Path(new) / _README).write_text(card.readme)
        save_file({k: v.cpu().contiguous() for k, v in weights.items()}, Path(new) / _WEIGHTS)
        folder.mkdir(exist_ok=True)
        for name in (_WEIGHTS, _CONFIG, _README):
            (Path(new) / name).replace(folder / name)
            shutil.copymode(__file__, folder / name)


def _about(method: DepthMethod, card: Card) -> dict[str, Any]:
    """What the checkpoint's JSON says."""
    return {
        'format': FORMAT,
        'name': card.name,
        'method': _method_name(method),
        'licence': card.licence,
        'source': card.source,
        'architecture': dataclasses.asdict(method.config),  # type: ignore[attr-defined]
        'calibration': dataclasses.asdict(card.calibration),
    }


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
    if is_public(folder):
        return _load_public(folder, model, scale)
    if scale is not None:
        raise CheckpointError(
            f'scale is {scale}, but model {str(model)!r} is metric: leave the scale out'
        )
    if latent_folder.is_latent_folder(folder):
        return _load_latent(folder)
    name, config, card = _read_config(folder)
    method = METHODS[name](config)
    _load_weights(method, folder / _WEIGHTS)
    return Checkpoint(method.eval(), card)


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
    shipped = sorted(path.parent.name for path in SHIPPED.glob(f'*/{_CONFIG}'))
    known = ', '.join([DEFAULT_MODEL, *shipped])
    raise CheckpointError(
        f'model is {name!r}, expected one of {known}, a checkpoint folder or a hub id org/name'
    )


def models() -> list[ModelEntry]:
    """Every known configuration: the shipped checkpoints, then the presets without weights."""
    entries = []
    for folder in sorted(SHIPPED.glob(f'*/{_CONFIG}')):
        method, _, card = _read_config(folder.parent)
        with safe_open(folder.parent / _WEIGHTS, framework='pt') as weights:
            count = sum(
                torch.Size(weights.get_slice(key).get_shape()).numel()
                for key in weights.keys()  # noqa: SIM118, not a mapping
            )
        entries.append(
            ModelEntry(card.name, method, count, card.licence, card.source, str(folder.parent))
        )
    for method, kind in METHODS.items():
        for name, config in kind.PRESETS.items():
            if name not in {entry.name for entry in entries}:
                try:
                    with torch.device('meta'):
                        count = sum(p.numel() for p in kind(config()).parameters())
                except MissingLibraryError:  # nobody who lacks it can use this one
                    continue
                entries.append(
                    ModelEntry(name, method, count, 'Apache-2.0', kind.SOURCE, checkpoint=None)
                )
    for public in PUBLIC_MODELS:
        entries.append(
            ModelEntry(
                public.hub_id,
                'coarse',
                None,
                public.licence,
                public.family,
                checkpoint=None,
                hub_id=public.hub_id,
                quantity='metric depth' if public.quantity.metric else 'relative disparity',
                scenes=public.scenes,
            )
        )
    return entries


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
        if is_public(folder):
            return coarse_architecture(folder, name=_public_name(folder, model))
        if latent_folder.is_latent_folder(folder):
            network: Any = _load_latent(folder).method
            return network.to('meta')
        name, config, _ = _read_config(folder)
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


# --- public depth models, in the layout of transformers -----------------------------------------


def _public_name(folder: Path, model: str | Path) -> str:
    """The hub id where `model` is one, else the name of the folder."""
    return str(model) if public_model(str(model)) or not Path(model).is_dir() else folder.name


def _load_public(folder: Path, model: str | Path, scale: float | None) -> Checkpoint:
    name = _public_name(folder, model)
    known = public_model(name)
    licence = known.licence if known else 'see its README.md'
    source = known.family if known else Coarse.SOURCE
    calibration = UNCALIBRATED
    own = folder / _PUBLIC_CARD
    if own.is_file():
        raw = _read_json(own)
        _check_keys(raw, {'format', 'name', 'licence', 'source', 'scale', 'calibration'}, own)
        if raw['format'] != FORMAT:
            raise CheckpointError(f'{own}: format is {raw["format"]!r}, expected {FORMAT}')
        calibration = _from_dict(Calibration, raw['calibration'], own, 'calibration')
        name, licence, source = raw['name'], raw['licence'], raw['source']
        scale = raw['scale'] if scale is None else scale
    method = load_coarse(folder, name=name, scale=scale)
    readme = folder / _README
    text = readme.read_text() if readme.is_file() else ''
    return Checkpoint(method, Card(name, licence, source, calibration, text))


def _save_public(folder: Path, method: Coarse, card: Card) -> None:
    about = {
        'format': FORMAT,
        'name': card.name,
        'licence': card.licence,
        'source': card.source,
        'scale': method.scale,
        'calibration': dataclasses.asdict(card.calibration),
    }
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f'.{folder.name}-') as new:
        method.network.save_pretrained(new)  # type: ignore[operator]
        method.processor.save_pretrained(Path(new))  # type: ignore[attr-defined]
        (Path(new) / _PUBLIC_CARD).write_text(json.dumps(about, indent=2) + '\n')
        (Path(new) / _README).write_text(card.readme)
        folder.mkdir(exist_ok=True)
        for path in sorted(Path(new).iterdir()):
            path.replace(folder / path.name)
            shutil.copymode(__file__, folder / path.name)


# --- latent methods, in the layout of diffusers --------------------------------------------------


def is_latent(kind: type) -> bool:
    """Whether methods of this class are saved in the layout of diffusers."""
    config = getattr(kind, 'Config', None)
    return config is not None and any(f.name == 'latent' for f in dataclasses.fields(config))


def _save_latent(folder: Path, method: Any, config: dict[str, Any], card: Card) -> None:
    del config['architecture']['latent']
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f'.{folder.name}-') as name:
        new = Path(name)
        latent_folder.save(new, method.latent, metric=method.metric)
        (new / _LATENT_CARD).write_text(json.dumps(config, indent=2) + '\n')
        (new / _README).write_text(card.readme)
        for path in sorted(new.rglob('*')):
            if path.is_file():
                shutil.copymode(__file__, path)
                (folder / path.relative_to(new)).parent.mkdir(parents=True, exist_ok=True)
                path.replace(folder / path.relative_to(new))


def _load_latent(folder: Path) -> Checkpoint:
    path = folder / _LATENT_CARD
    relative = _is_relative(folder)
    name, fields, card = _read_card(path) if path.is_file() else _read_marigold(folder, relative)
    if not is_latent(METHODS[name]):
        raise CheckpointError(f'{path}: a {name} comes with {_CONFIG} and {_WEIGHTS}')
    known = {f.name for f in dataclasses.fields(METHODS[name].Config)} - {'latent'}
    later = {f.name for f in dataclasses.fields(METHODS[name].Config) if f.metadata.get('later')}
    _check_keys(fields, known, path, 'architecture', optional=later)
    network = latent_folder.load(folder)
    fields = {**fields, 'latent': network.config}
    config = _from_dict(METHODS[name].Config, fields, path, 'architecture')
    method = METHODS[name](config, network).eval()
    method.metric = not relative
    return Checkpoint(method, card)


def _is_relative(folder: Path) -> bool:
    """Whether depth is known up to scale and shift only, as Marigold's, whose index says so."""
    index = latent_folder.read_index(folder)
    return bool(index.get('scale_invariant', True) or index.get('shift_invariant', True))


def _read_marigold(folder: Path, relative: bool) -> tuple[str, Any, Card]:
    """What _read_card would say of a folder that only the index of diffusers describes.

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


# --- reading, strictly ------------------------------------------------------------------------


def _read_config(folder: Path) -> tuple[str, Any, Card]:
    path = folder / _CONFIG
    for name in (_CONFIG, _WEIGHTS):
        if not (folder / name).is_file():
            raise CheckpointError(
                f'checkpoint {folder} has no {name}, expected {_CONFIG} and {_WEIGHTS}'
            )
    name, architecture, card = _read_card(path)
    if is_latent(METHODS[name]):
        raise CheckpointError(
            f'{path}: a {name} comes with {latent_folder.INDEX} and {_LATENT_CARD}, as it is saved'
        )
    return name, _from_dict(METHODS[name].Config, architecture, path, 'architecture'), card


def _read_card(path: Path) -> tuple[str, Any, Card]:
    """Name of the method, the fields of its config, unchecked, and the card."""
    raw = _read_json(path)
    fields = {'format', 'name', 'method', 'licence', 'source', 'architecture', 'calibration'}
    _check_keys(raw, fields, path)
    if raw['format'] != FORMAT:
        raise CheckpointError(f'{path}: format is {raw["format"]!r}, expected {FORMAT}')
    if raw['method'] not in METHODS:
        raise CheckpointError(
            f'{path}: method is {raw["method"]!r}, expected one of {", ".join(METHODS)}'
        )
    calibration = _from_dict(Calibration, raw['calibration'], path, 'calibration')
    readme = path.parent / _README
    card = Card(
        raw['name'],
        raw['licence'],
        raw['source'],
        calibration,
        readme.read_text() if readme.is_file() else '',
    )
    return raw['method'], raw['architecture'], card


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f'{path} is not JSON: {error}') from None


def _from_dict(kind: type, raw: Any, path: Path, where: str) -> Any:
    """An instance of the dataclass `kind`: every field that is not `later`, no unknown one."""
    fields = dataclasses.fields(kind)
    later = {f.name for f in fields if f.metadata.get('later')}
    _check_keys(raw, {f.name for f in fields}, path, where, optional=later)
    values = {f.name: f.metadata['before'] for f in fields if 'before' in f.metadata}
    values |= {k: tuple(v) if isinstance(v, list) else v for k, v in raw.items()}
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f'{path}: {where}: {error}') from None


def _check_keys(
    raw: Any,
    expected: set[str],
    path: Path,
    where: str = 'the file',
    *,
    optional: Collection[str] = (),
) -> None:
    if not isinstance(raw, dict):
        raise CheckpointError(f'{path}: {where} is {type(raw).__name__}, expected an object')
    missing = expected - raw.keys() - set(optional)
    for title, keys in (('lacks', missing), ('has unknown', raw.keys() - expected)):
        if keys:
            raise CheckpointError(f'{path}: {where} {title} {", ".join(sorted(keys))}')


def _load_weights(method: torch.nn.Module, path: Path) -> None:
    try:
        weights = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f'{path} is not a safetensors file: {error}') from None
    expected = method.state_dict()
    for title, keys in (
        ('lacks', expected.keys() - weights.keys()),
        ('has unknown', weights.keys() - expected.keys()),
    ):
        if keys:
            shown = ', '.join(sorted(keys)[:3])
            raise CheckpointError(f'{path} {title} {len(keys)} tensors: {shown}, ...')
    for key, value in weights.items():
        if value.shape != expected[key].shape:
            raise CheckpointError(
                f'{path}: {key} has shape {tuple(value.shape)}, expected '
                f'{tuple(expected[key].shape)}'
            )
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise CheckpointError(f'{path}: {key} holds values that are not finite')
    method.load_state_dict(weights)


def _method_name(method: object) -> str:
    for name, kind in METHODS.items():
        if type(method) is kind:
            return name
    raise TypeError(f'{type(method).__name__} is not in METHODS')


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
