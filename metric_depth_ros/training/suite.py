"""A suite of ablations, written down: what `metric-depth ablate SUITE` reads.

A suite is a YAML file; those that come with the package lie in training/suites/. It names a base
recipe and variants of it, each a few changes:

    base: grin-small                        # the name of a recipe, or all the fields of one
    changes: {steps: 1000}                  # of the base, for every variant
    variants:
      full: {what: everything}
      linear: {what: linear code, changes: {config: {code_base: 1.0}}}
      single: {what: one sample, weights_of: full, num_samples: 1}
      second: {what: a second stage, begins_with: full, changes: {learning_rate: 0.001}}

A change names the fields it is about; those of a mapping that it does not name stay.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .coarse import BlurredTruth, CoarseModel, coarse_settings
from .fields import RecipeError, build
from .recipe import Recipe, make_recipe, read_recipe
from .validation import NUM_SAMPLES

SUITES = Path(__file__).parent / 'suites'
_NAME = re.compile(r'[a-z0-9][a-z0-9._-]*')


@dataclass(frozen=True)
class FieldFrames:
    """Frames of the generator that is never trained on, see synthetic.render_fields_batch.

    frames: how many, of the size of the recipes' validation; seed: of all that is random.
    """

    frames: int
    seed: int


@dataclass(frozen=True)
class Variant:
    """A row of the table.

    what: it is, in a few words. changes: of the base. weights_of: the variant whose weights are
    taken; '' to train its own. begins_with: the variant, among those before, whose trained weights
    are the recipe's base; '' for the base that the recipe says. num_samples: draws that a
    prediction is the median of. regression: judge the head that regresses, without any diffusion.
    coarse: what to refine when it is judged, if that is not what it was trained with.
    """

    what: str
    changes: dict[str, Any] = field(default_factory=dict)
    weights_of: str = ''
    begins_with: str = ''
    num_samples: int = NUM_SAMPLES
    regression: bool = False
    coarse: BlurredTruth | CoarseModel | None = None

    def judged_with(self, recipe: Recipe) -> BlurredTruth | CoarseModel | None:
        """The coarse depth that it refines when it is judged, trained by `recipe`."""
        return self.coarse or recipe.coarse


@dataclass(frozen=True)
class Suite:
    """Variants and their recipes, by name, and what they are judged on.

    The frames of the recipes' validation, which is the same for all, and those of `fields`.
    """

    name: str
    variants: dict[str, Variant]
    recipes: dict[str, Recipe]
    fields: FieldFrames | None


@dataclass(frozen=True)
class _File:
    """A suite as it is written."""

    base: dict | str
    variants: dict[str, Any]
    changes: dict[str, Any] = field(default_factory=dict)
    fields: FieldFrames | None = None


def load_suite(suite: str | Path) -> Suite:
    """The suite called `suite`, or in the file `suite`.

    Raises:
        RecipeError: there is none, or what it says, or one of its recipes, makes no sense.
    """
    import yaml

    path = SUITES / f'{suite}.yaml'
    if not path.is_file():
        path = Path(suite)
    if not path.is_file():
        known = ', '.join(sorted(p.stem for p in SUITES.glob('*.yaml')))
        raise RecipeError(f'suite is {str(suite)!r}, expected a YAML file or one of {known}')
    try:
        return _suite(path.stem, build(_File, yaml.safe_load(path.read_text()), ''), path.parent)
    except yaml.YAMLError as error:
        raise RecipeError(f'{path} is not YAML: {" ".join(str(error).split())}') from None
    except RecipeError as error:
        raise RecipeError(f'{path}: {error}') from None


def _suite(name: str, file: _File, folder: Path) -> Suite:
    base = file.base
    if not isinstance(base, dict):
        base, path = read_recipe(base)
        folder = path.parent
    base = merged(base, file.changes)
    variants, recipes = {}, {}
    for key, raw in file.variants.items():
        where = f'variants.{key}'
        if not isinstance(key, str) or not _NAME.fullmatch(key):
            raise RecipeError(f'{where}: expected a name of small letters, digits, ., _ and -')
        if isinstance(raw, dict) and isinstance(raw.get('coarse'), dict):
            raw = {**raw, 'coarse': coarse_settings(raw['coarse'], f'{where}.coarse')}
        variants[key] = variant = build(Variant, raw, where)
        changed = merged(base, {**variant.changes, 'name': f'{name}-{key}'})
        try:
            recipes[key] = make_recipe(changed, folder)
        except RecipeError as error:
            raise RecipeError(f'{where}: {error}') from None
    _check(variants, recipes)
    return Suite(name, variants, recipes, file.fields)


def _check(variants: dict[str, Variant], recipes: dict[str, Recipe]) -> None:
    if not variants:
        raise RecipeError('variants is empty, expected at least one')
    trained = [name for name, variant in variants.items() if not variant.weights_of]
    first = next(iter(recipes.values()))
    before: list[str] = []
    for name, variant in variants.items():
        where = f'variants.{name}'
        if variant.begins_with and variant.begins_with not in before:
            raise RecipeError(
                f'{where}.begins_with is {variant.begins_with!r}, expected one that is trained '
                f'before: {", ".join(before) or "none is"}'
            )
        if not variant.weights_of:
            before.append(name)
        if variant.weights_of and variant.weights_of not in trained:
            raise RecipeError(
                f'{where}.weights_of is {variant.weights_of!r}, expected one of '
                f'{", ".join(trained)}'
            )
        if variant.weights_of and variant.changes:
            raise RecipeError(f'{where} has weights_of and changes, expected one of them')
        if variant.num_samples < 1:
            raise RecipeError(f'{where}.num_samples is {variant.num_samples}, expected 1 or more')
        if recipes[name].validation != first.validation:
            raise RecipeError(f'{where} changes validation, expected the same for all variants')


def merged(base: Any, changes: Any) -> Any:
    """`base` with `changes`: mappings field by field, all else replaced."""
    if not isinstance(base, dict) or not isinstance(changes, dict):
        return changes
    return {**base, **{key: merged(base.get(key), value) for key, value in changes.items()}}
