"""Parts of the synthetic scenes and pictures that a recipe can turn off, by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

from ..synthetic import Appearance, Content
from .fields import RecipeError


def without(names: Collection[str]) -> tuple[Appearance, Content]:
    """Everything on, but the fields called `names` of Appearance, its Sensor and Content.

    Raises:
        RecipeError: there is no such field.
    """
    appearance, content = Appearance(), Content()
    known = {*_names(appearance), *_names(content)}
    if unknown := sorted(set(names) - known):
        raise RecipeError(
            f'without has unknown {", ".join(unknown)}, expected some of '
            f'{", ".join(sorted(known))}'
        )
    return _off(appearance, names), _off(content, names)


def _names(switches: Any) -> list[str]:
    """Names of all fields; of a nested dataclass's too."""
    found = []
    for f in dataclasses.fields(switches):
        value = getattr(switches, f.name)
        found += [f.name, *(_names(value) if dataclasses.is_dataclass(value) else [])]
    return found


def _off(switches: Any, names: Collection[str]) -> Any:
    changes = {}
    for f in dataclasses.fields(switches):
        value = getattr(switches, f.name)
        if dataclasses.is_dataclass(value):
            changes[f.name] = _off(value, _names(value) if f.name in names else names)
        elif f.name in names:
            changes[f.name] = type(value)(0)
    return dataclasses.replace(switches, **changes)
