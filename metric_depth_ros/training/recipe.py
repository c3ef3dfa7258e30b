"""A training run, written down: what `metric-depth train RECIPE` reads.

A recipe is a YAML file; the ones that come with the package lie in training/recipes/. It owns
everything about the run. The architecture is a preset of the method, and `config` changes fields
of it by name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..methods import METHODS
from .fields import RecipeError, build, override

__all__ = ['RECIPES', 'Augmentation', 'Recipe', 'RecipeError', 'SyntheticData', 'load_recipe']

RECIPES = Path(__file__).parent / 'recipes'


@dataclass(frozen=True)
class SyntheticData:
    """Frames rendered once, before training.

    frames, width, height: how many, and their size in pixels; training resizes them.
    scenes: 'indoor', 'outdoor' or 'both'. seed: of the scenes, the cameras and all else.
    weight: share of the training images beside the other sources', in whatever unit.
    """

    frames: int
    width: int
    height: int
    scenes: str
    seed: int
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.scenes not in ('indoor', 'outdoor', 'both'):
            raise RecipeError(f'scenes is {self.scenes!r}, expected indoor, outdoor or both')
        for name in ('frames', 'width', 'height'):
            if getattr(self, name) < 1:
                raise RecipeError(f'{name} is {getattr(self, name)}, expected at least 1')
        if self.weight < 0:
            raise RecipeError(f'weight is {self.weight}, expected 0 or more')

    def describe(self) -> str:
        """What it is, in a few words, for the model card."""
        return (
            f'{self.frames:,} procedural frames ({self.scenes} scenes) of '
            f'{self.width}x{self.height} pixels'
        )


@dataclass(frozen=True)
class Augmentation:
    """How a frame is changed each time it is seen (GRIN, Section 5.2).

    resize: range of the size, relative to fitting the training size; larger is cropped, smaller
        padded. flip: share of mirrored images. colour: strength of the colour jitter, 0 for none.
    """

    resize: tuple[float, float] = (0.5, 1.5)
    flip: float = 0.5
    colour: float = 1.0

    def __post_init__(self) -> None:
        low, high = self.resize
        if not 0 < low <= high:
            raise RecipeError(f'resize is {[low, high]}, expected two growing numbers above 0')
        if not 0 <= self.flip <= 1:
            raise RecipeError(f'flip is {self.flip}, expected 0 to 1')
        if not 0 <= self.colour <= 2:
            raise RecipeError(f'colour is {self.colour}, expected 0 to 2')


@dataclass(frozen=True)
class Recipe:
    """One run.

    name: of the model it makes. method, preset: the architecture (see METHODS); config: fields
        of it to change, nested ones as mappings.
    data: what it learns from, each source with its weight; validation: what the error bar is
        fitted on and the curve shows, from the held-out split, never trained on.
    width, height: of the training images, pixels.
    supervision: pixels that keep their ground truth, 'dense' (all), 'random' or 'lidar' (scan
        lines); supervised_share: of all pixels, about as many of them. Which ones is a property
        of the frame: the others are never seen.
    optimizer: 'adamw' or 'lion'. learning_rate rises linearly over warmup_steps, then falls by a
        cosine to zero at `steps`.
    weight_decay acts on the layers' weight matrices only (GRIN, Section 5.2). clip_norm: of the
        gradient. ema_decay: of the averaged weights, which are what is saved.
    precision: 'fp32' or 'bf16' (autocast).
    """

    name: str
    method: str
    preset: str
    licence: str
    source: str
    data: tuple[SyntheticData, ...]
    validation: SyntheticData
    width: int
    height: int
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
    config: dict[str, Any] = field(default_factory=dict)
    augmentation: Augmentation = field(default_factory=Augmentation)
    supervision: str = 'dense'
    supervised_share: float = 1.0
    optimizer: str = 'adamw'

    def __post_init__(self) -> None:
        self._expect('method', self.method in METHODS, f'one of {", ".join(METHODS)}')
        presets = METHODS[self.method].PRESETS
        self._expect('preset', self.preset in presets, f'one of {", ".join(presets)}')
        self._expect('precision', self.precision in ('fp32', 'bf16'), 'fp32 or bf16')
        self._expect('optimizer', self.optimizer in ('adamw', 'lion'), 'adamw or lion')
        kinds = ('dense', 'random', 'lidar')
        self._expect('supervision', self.supervision in kinds, f'one of {", ".join(kinds)}')
        self._expect('supervised_share', 0 < self.supervised_share <= 1, 'above 0, at most 1')
        for name in ('steps', 'batch_size', 'save_every', 'validate_every'):
            self._expect(name, getattr(self, name) >= 1, 'at least 1')
        multiple = METHODS[self.method].multiple_of
        for name in ('width', 'height'):
            value = getattr(self, name)
            self._expect(name, value > 0 and value % multiple == 0, f'a multiple of {multiple}')
        self._expect('data', sum(s.weight for s in self.data) > 0, 'a source of weight above 0')
        self.architecture()

    def architecture(self) -> Any:
        """The config of the method: the preset with the recipe's changes."""
        return override(METHODS[self.method].PRESETS[self.preset](), self.config, 'config')

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
        raw = yaml.safe_load(path.read_text())
        if isinstance(raw, dict) and 'data' in raw:
            raw['data'] = _sources(raw['data'])
        return build(Recipe, raw, '')
    except yaml.YAMLError as error:
        raise RecipeError(f'{path} is not YAML: {" ".join(str(error).split())}') from None
    except RecipeError as error:
        raise RecipeError(f'{path}: {error}') from None


def _sources(raw: Any) -> list[SyntheticData]:
    """The sources: a list of them, or one alone."""
    if not isinstance(raw, list):
        return [build(SyntheticData, raw, 'data')]
    return [build(SyntheticData, source, f'data[{i}]') for i, source in enumerate(raw)]
