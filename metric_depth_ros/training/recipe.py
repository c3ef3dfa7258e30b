"""A training run, written down: what `metric-depth train RECIPE` reads.

A recipe is a YAML file; the ones that come with the package lie in training/recipes/. It owns
everything about the run and nothing about the architecture, which is a preset of the method.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import MetricDepthError
from ..methods import METHODS

RECIPES = Path(__file__).parent / 'recipes'


class RecipeError(MetricDepthError):
    """A recipe that is not there or does not make sense: names the field and its value."""


@dataclass(frozen=True)
class SyntheticData:
    """Frames rendered once, before training. scenes: 'indoor', 'outdoor' or 'both'."""

    frames: int
    width: int
    height: int
    scenes: str
    seed: int


@dataclass(frozen=True)
class Recipe:
    """One run.

    name: of the model it makes. method, preset: the architecture (see METHODS).
    data: what it learns from; validation: what the error bar is fitted on and the curve shows,
        from the held-out split, never trained on.
    learning_rate rises linearly over warmup_steps, then falls by a cosine to zero at `steps`.
    weight_decay acts on weight matrices only (GRIN, Section 5.2). clip_norm: of the gradient.
    ema_decay: of the averaged weights, which are what is saved.
    precision: 'fp32' or 'bf16' (autocast).
    """

    name: str
    method: str
    preset: str
    licence: str
    source: str
    data: SyntheticData
    validation: SyntheticData
    steps: int
    batch_size: int
    learning_rate: float
    warmup_steps: int
    weight_decay: float
    clip_norm: float
    ema_decay: float
    precision: str
    save_every: int
    validate_every: int
    seed: int

    def __post_init__(self) -> None:
        self._expect('method', self.method in METHODS, f'one of {", ".join(METHODS)}')
        presets = METHODS[self.method].PRESETS
        self._expect('preset', self.preset in presets, f'one of {", ".join(presets)}')
        self._expect('precision', self.precision in ('fp32', 'bf16'), 'fp32 or bf16')
        for name in ('steps', 'batch_size', 'save_every', 'validate_every'):
            self._expect(name, getattr(self, name) >= 1, 'at least 1')
        for name in ('data', 'validation'):
            scenes = getattr(self, name).scenes
            if scenes not in ('indoor', 'outdoor', 'both'):
                raise RecipeError(f'{name}.scenes is {scenes!r}, expected indoor, outdoor or both')

    def _expect(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise RecipeError(f'{name} is {getattr(self, name)!r}, expected {expected}')


def load_recipe(recipe: str | Path) -> Recipe:
    """The recipe called `recipe`, or in the file `recipe`.

    Raises:
        RecipeError: there is none, or a field is missing, unknown, of another type or senseless.
    """
    import yaml

    path = RECIPES / f'{recipe}.yaml'
    if not path.is_file():
        path = Path(recipe)
    if not path.is_file():
        known = ', '.join(sorted(p.stem for p in RECIPES.glob('*.yaml')))
        raise RecipeError(f'recipe is {str(recipe)!r}, expected a YAML file or one of {known}')
    try:
        return _build(Recipe, yaml.safe_load(path.read_text()), '')
    except yaml.YAMLError as error:
        raise RecipeError(f'{path} is not YAML: {" ".join(str(error).split())}') from None
    except RecipeError as error:
        raise RecipeError(f'{path}: {error}') from None


def _build(kind: Any, raw: Any, where: str) -> Any:
    if not isinstance(raw, dict):
        raise RecipeError(f'{where or "the file"} is {type(raw).__name__}, expected fields')
    fields = {f.name: f.type for f in dataclasses.fields(kind)}
    for title, keys in (
        ('lacks', fields.keys() - raw.keys()),
        ('has', raw.keys() - fields.keys()),
    ):
        if keys:
            word = title if title == 'lacks' else 'has unknown'
            raise RecipeError(f'{where or "the file"} {word} {", ".join(sorted(keys))}')
    values = {}
    for name, value in raw.items():
        if fields[name] == 'SyntheticData':
            values[name] = _build(SyntheticData, value, name)
            continue
        wanted = {'int': int, 'float': float, 'str': str}[str(fields[name])]
        if wanted is float and isinstance(value, int):
            value = float(value)
        if type(value) is not wanted:
            label = f'{where}.{name}' if where else name
            raise RecipeError(f'{label} is {value!r}, expected {wanted.__name__}')
        values[name] = value
    return kind(**values)
