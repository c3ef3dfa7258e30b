"""Dataclasses from plain mappings, as YAML gives them: strict about names and types."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any

from ..errors import MetricDepthError

# Metadata of fields that say what becomes of what was learned: a run may change them on its way.
AFTERWARDS = {'afterwards': True}


class RecipeError(MetricDepthError):
    """A recipe that is not there or does not make sense: names the field and its value."""


def build(kind: Any, raw: Any, where: str) -> Any:
    """A `kind` from the mapping `raw`.

    Args:
        where: what `raw` is called in an error; '' for the whole file.

    Raises:
        RecipeError: a field is missing, unknown or of another type.
    """
    values = _mapping(raw, where)
    fields = dataclasses.fields(kind)
    required = {
        f.name
        for f in fields
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    if lacking := required - values.keys():
        raise RecipeError(f'{where or "the file"} lacks {", ".join(sorted(lacking))}')
    _refuse_unknown(values, [f.name for f in fields], where)
    hints = typing.get_type_hints(kind)
    return kind(**{k: convert(hints[k], v, _join(where, k)) for k, v in values.items()})


def override(instance: Any, raw: Any, where: str) -> Any:
    """`instance` with the fields that `raw` names changed; nested dataclasses likewise.

    Raises:
        RecipeError: a field is unknown or of another type.
    """
    values = _mapping(raw, where)
    _refuse_unknown(values, [f.name for f in dataclasses.fields(instance)], where)
    hints = typing.get_type_hints(type(instance))
    changes = {}
    for name, value in values.items():
        current, label = getattr(instance, name), _join(where, name)
        nested = dataclasses.is_dataclass(current) and isinstance(value, dict)
        changes[name] = (
            override(current, value, label) if nested else convert(hints[name], value, label)
        )
    return dataclasses.replace(instance, **changes)


def convert(hint: Any, value: Any, label: str) -> Any:
    """`value` as the type `hint`: whole numbers become floats, lists tuples, mappings dataclasses.

    Raises:
        RecipeError: it is of another type.
    """
    if dataclasses.is_dataclass(hint):
        return value if type(value) is hint else build(hint, value, label)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if any(type(value) is option for option in arguments):
            return value
        return convert(arguments[0], value, label)
    if origin is tuple:
        return _tuple(arguments, value, label)
    wanted = origin or hint
    if wanted is float and type(value) is int:
        value = float(value)
    if type(value) is not wanted:
        raise RecipeError(f'{label} is {value!r}, expected {wanted.__name__}')
    return value


def signature(value: Any) -> str:
    """Text that two values share if they say the same: fields at their default are left out.

    So a field that a later version adds, with a default that changes nothing, changes none; nor
    does a field of metadata AFTERWARDS.
    """
    if isinstance(value, tuple):
        return f'({", ".join(map(signature, value))})'
    if not dataclasses.is_dataclass(value):
        return repr(value)
    said = []
    for f in dataclasses.fields(value):
        default = f.default
        if f.default_factory is not dataclasses.MISSING:
            default = f.default_factory()
        current = getattr(value, f.name)
        if current != default and not f.metadata.get('afterwards'):
            said.append(f'{f.name}={signature(current)}')
    return f'{type(value).__name__}({", ".join(said)})'


def _tuple(hints: tuple[Any, ...], value: Any, label: str) -> tuple[Any, ...]:
    count = None if hints[-1] is Ellipsis else len(hints)
    if not isinstance(value, (list, tuple)) or count not in (None, len(value)):
        expected = 'a list' if count is None else f'a list of {count}'
        raise RecipeError(f'{label} is {value!r}, expected {expected}')
    each = hints[:1] * len(value) if count is None else hints
    return tuple(
        convert(hint, entry, f'{label}[{i}]')
        for i, (hint, entry) in enumerate(zip(each, value, strict=True))
    )


def _mapping(raw: Any, where: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise RecipeError(f'{where or "the file"} is {type(raw).__name__}, expected fields')
    return raw


def _refuse_unknown(values: dict[str, Any], known: list[str], where: str) -> None:
    if unknown := sorted(map(str, values.keys() - set(known))):
        raise RecipeError(
            f'{where or "the file"} has unknown {", ".join(unknown)}, expected some of '
            f'{", ".join(known)}'
        )


def _join(where: str, name: str) -> str:
    return f'{where}.{name}' if where else name
