"""A training run, written down: what `metric-depth train RECIPE` reads.

A recipe is a YAML file; the ones that come with the package lie in training/recipes/. It owns
everything about the run. The architecture is a preset of the method, and `config` changes fields
of it by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..methods import METHODS
from .coarse import BlurredTruth, CoarseModel, coarse_settings
from .fields import AFTERWARDS, RecipeError, build, override

__all__ = [
    'RECIPES',
    'Augmentation',
    'ManifestData',
    'Recipe',
    'RecipeError',
    'Source',
    'Stage',
    'SyntheticData',
    'load_recipe',
    'make_recipe',
    'read_recipe',
    'with_manifests',
]

RECIPES = Path(__file__).parent / 'recipes'


@dataclass(frozen=True)
class SyntheticData:
    """Frames rendered once, before training.

    frames, width, height: how many, and their size in pixels; training resizes them.
    scenes: 'indoor', 'close', 'outdoor', 'both' or 'road'.
    seed: of the scenes, the cameras and all else.
    weight: share of the training images beside the other sources', in whatever unit.
    without: names of fields of synthetic.Appearance, Sensor and Content that are turned off.
    """

    frames: int
    width: int
    height: int
    scenes: str
    seed: int
    weight: float = 1.0
    without: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.scenes not in ('indoor', 'close', 'outdoor', 'both', 'road'):
            raise RecipeError(
                f'scenes is {self.scenes!r}, expected indoor, close, outdoor, both or road'
            )
        _at_least_one(self, 'frames', 'width', 'height')
        _weight(self.weight)
        if self.without:
            from .switches import without

            without(self.without)

    def describe(self) -> str:
        """What it is, in a few words, for the model card."""
        less = f' without {", ".join(self.without)}' if self.without else ''
        return (
            f'{self.frames:,} procedural frames ({self.scenes} scenes{less}) of '
            f'{self.width}x{self.height} pixels'
        )


@dataclass(frozen=True)
class ManifestData:
    """Frames of a dataset with ground truth, dense or as sparse as a LiDAR's.

    manifest: file of JSON lines, see evaluation.datasets; relative to the recipe's folder.
    width, height: that frames are resized to fit into, once, before training, pixels.
    weight: as SyntheticData's.
    """

    manifest: str
    width: int
    height: int
    weight: float = 1.0

    def __post_init__(self) -> None:
        _at_least_one(self, 'width', 'height')
        _weight(self.weight)

    def describe(self) -> str:
        """What it is, in a few words, for the model card."""
        return f'{Path(self.manifest).name}, frames that fit {self.width}x{self.height} pixels'


Source = SyntheticData | ManifestData


@dataclass(frozen=True)
class Stage:
    """A part of a curriculum (GRIN, Section 5.2: synthetic and small images first).

    steps: how many. weights: of the sources during them, instead of their own.
    width, height: of the training images, instead of the recipe's.
    """

    steps: int
    weights: tuple[float, ...] | None = None
    width: int | None = None
    height: int | None = None

    def __post_init__(self) -> None:
        _at_least_one(self, 'steps')
        if self.weights is not None and (min(self.weights) < 0 or sum(self.weights) <= 0):
            raise RecipeError(
                f'weights is {list(self.weights)}, expected 0 or more each, and one above 0'
            )


@dataclass(frozen=True)
class Augmentation:
    """How a frame is changed each time it is seen (GRIN, Section 5.2).

    resize: range of the size, relative to fitting the training size; larger is cropped, smaller
        padded. flip: share of mirrored images. colour: strength of the colour jitter, 0 for none.
    patches: share of images with patches of one colour painted on, see augment.paint_patches.
    contrast: range of the factor by which an image's values are spread about their mean.
    sharpness: largest strength with which the differences to neighbouring pixels are raised.
    imprints: share of images with the fine structure of another printed on, see
        augment.imprint_details.
    bands: share of the batches that are cut to wide bands, see augment.cut_band.
    """

    resize: tuple[float, float] = (0.5, 1.5)
    flip: float = 0.5
    colour: float = 1.0
    patches: float = 0.0
    contrast: tuple[float, float] = (1.0, 1.0)
    sharpness: float = 0.0
    imprints: float = 0.0
    bands: float = 0.0

    def __post_init__(self) -> None:
        for name in ('resize', 'contrast'):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise RecipeError(f'{name} is {[low, high]}, expected two growing numbers above 0')
        if not 0 <= self.flip <= 1:
            raise RecipeError(f'flip is {self.flip}, expected 0 to 1')
        if not 0 <= self.colour <= 2:
            raise RecipeError(f'colour is {self.colour}, expected 0 to 2')
        if not 0 <= self.sharpness <= 10:
            raise RecipeError(f'sharpness is {self.sharpness}, expected 0 to 10')
        for name in ('patches', 'imprints', 'bands'):
            share = getattr(self, name)
            if not 0 <= share <= 1:
                raise RecipeError(f'{name} is {share}, expected 0 to 1')


@dataclass(frozen=True)
class Recipe:
    """One run.

    name: of the model it makes. method, preset: the architecture (see METHODS); config: fields
        of it to change, nested ones as mappings. base: the model whose
        weights training begins with: for latent methods a folder or hub id in the layout of
        diffusers, for the others a model of the same method and architecture.
    frozen: parts of the method, by name, that stay as `base` has them.
    base_share: of the weights that training began with in those that are saved, which lie so far
        from the learned ones on the way back: most of what was learned, and most of what was known
        (Wortsman et al., Robust fine-tuning of zero-shot models, 2022, Eq. 1).
    coarse: what a method that refines a coarse depth is given to refine, see coarse.
    data: what it learns from, each source with its weight; stages: a curriculum, in order, all
        steps together; none for the same all the way. validation: what the error bar is
        fitted on and the curve shows, from the held-out split, never trained on.
    width, height: of the training images, pixels.
    supervision: pixels of synthetic frames that keep their ground truth, 'dense' (all), 'random'
        or 'lidar' (scan lines); supervised_share: of all pixels, about as many of them. Which
        ones is a property of the frame: the others are never seen.
    optimizer: 'adamw', 'lion' or 'muon'. learning_rate rises linearly over warmup_steps, then
        falls by a cosine to zero at `steps`.
    weight_decay acts on the layers' weight matrices only (GRIN, Section 5.2). clip_norm: of the
        gradient. ema_decay: of the averaged weights, which are what is saved.
    precision: 'fp32' or 'bf16' (autocast); a device that would have to emulate bf16 takes fp32.
    """

    name: str
    method: str
    preset: str
    licence: str
    source: str
    data: tuple[Source, ...]
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
    accumulate: int = 1
    stages: tuple[Stage, ...] = ()
    base: str | None = None
    frozen: tuple[str, ...] = ()
    base_share: float = field(default=0.0, metadata=AFTERWARDS)
    coarse: BlurredTruth | CoarseModel | None = None

    def __post_init__(self) -> None:
        self._expect('method', self.method in METHODS, f'one of {", ".join(METHODS)}')
        presets = METHODS[self.method].PRESETS
        self._expect('preset', self.preset in presets, f'one of {", ".join(presets)}')
        self._expect('precision', self.precision in ('fp32', 'bf16'), 'fp32 or bf16')
        optimizers = ('adamw', 'lion', 'muon')
        self._expect('optimizer', self.optimizer in optimizers, f'one of {", ".join(optimizers)}')
        kinds = ('dense', 'random', 'lidar')
        self._expect('supervision', self.supervision in kinds, f'one of {", ".join(kinds)}')
        self._expect('supervised_share', 0 < self.supervised_share <= 1, 'above 0, at most 1')
        _at_least_one(self, 'steps', 'batch_size', 'save_every', 'validate_every', 'accumulate')
        self._expect(
            'batch_size', self.batch_size % self.accumulate == 0, 'a multiple of accumulate'
        )
        self._check_size('', self.width, self.height)
        self._expect('data', sum(s.weight for s in self.data) > 0, 'a source of weight above 0')
        self._check_stages()
        self._expect('frozen', self.base is not None or not self.frozen, 'none without a base')
        self._expect('base_share', 0 <= self.base_share < 1, 'at least 0, below 1')
        self._expect(
            'base_share', self.base is not None or not self.base_share, '0 without a base'
        )
        takes_coarse = getattr(METHODS[self.method], 'takes_coarse', False)
        self._expect(
            'coarse',
            takes_coarse == (self.coarse is not None),
            f'{"the coarse depth" if takes_coarse else "none"} of the method {self.method}',
        )
        self.architecture()

    def architecture(self) -> Any:
        """The config of the method: the preset with the recipe's changes."""
        return override(METHODS[self.method].PRESETS[self.preset](), self.config, 'config')

    def _check_stages(self) -> None:
        if self.stages and sum(stage.steps for stage in self.stages) != self.steps:
            raise RecipeError(
                f'stages have {sum(stage.steps for stage in self.stages)} steps, expected '
                f'{self.steps}, the steps of the recipe'
            )
        for i, stage in enumerate(self.stages):
            where = f'stages[{i}].'
            self._check_size(where, stage.width or self.width, stage.height or self.height)
            if stage.weights is not None and len(stage.weights) != len(self.data):
                raise RecipeError(
                    f'{where}weights is {list(stage.weights)}, expected {len(self.data)}, one for '
                    f'each source in data'
                )

    def _check_size(self, where: str, width: int, height: int) -> None:
        multiple = METHODS[self.method].multiple_of
        for name, value in (('width', width), ('height', height)):
            if value < 1 or value % multiple:
                raise RecipeError(f'{where}{name} is {value}, expected a multiple of {multiple}')

    def _expect(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise RecipeError(f'{name} is {getattr(self, name)!r}, expected {expected}')


def _at_least_one(fields: Any, *names: str) -> None:
    for name in names:
        if getattr(fields, name) < 1:
            raise RecipeError(f'{name} is {getattr(fields, name)}, expected at least 1')


def _weight(weight: float) -> None:
    if weight < 0:
        raise RecipeError(f'weight is {weight}, expected 0 or more')


def load_recipe(recipe: str | Path) -> Recipe:
    """The recipe called `recipe`, or in the file `recipe`.

    Raises:
        RecipeError: there is none, or a field is missing, unknown, of another type or senseless.
    """
    raw, path = read_recipe(recipe)
    try:
        return make_recipe(raw, path.parent)
    except RecipeError as error:
        raise RecipeError(f'{path}: {error}') from None


def read_recipe(recipe: str | Path) -> tuple[Any, Path]:
    """What a recipe's file says, unchecked, and the file.

    Raises:
        RecipeError: there is none, or it is not YAML.
    """
    import yaml

    path = RECIPES / f'{recipe}.yaml'
    if not path.is_file():
        path = Path(recipe)
    if not path.is_file():
        known = ', '.join(sorted(p.stem for p in RECIPES.glob('*.yaml')))
        raise RecipeError(f'recipe is {str(recipe)!r}, expected a YAML file or one of {known}')
    try:
        return yaml.safe_load(path.read_text()), path
    except yaml.YAMLError as error:
        raise RecipeError(f'{path} is not YAML: {" ".join(str(error).split())}') from None


def make_recipe(raw: Any, folder: Path) -> Recipe:
    """The recipe that a mapping says, as YAML gives it.

    Args:
        folder: that the manifests in it are relative to.

    Raises:
        RecipeError: a field is missing, unknown, of another type or senseless.
    """
    if isinstance(raw, dict) and 'data' in raw:
        raw = {**raw, 'data': _sources(raw['data'], folder)}
    if isinstance(raw, dict) and isinstance(raw.get('coarse'), dict):
        raw = {**raw, 'coarse': coarse_settings(raw['coarse'], 'coarse')}
    return build(Recipe, raw, '')


def with_manifests(recipe: Recipe, manifests: Sequence[Path]) -> Recipe:
    """The recipe with frames of these manifests beside its own, half of what is seen.

    Raises:
        RecipeError: there is no such file.
    """
    if not manifests:
        return recipe
    for path in manifests:
        if not path.is_file():
            raise RecipeError(
                f'manifest is {str(path)!r}, expected a file of JSON lines: `metric-depth import` '
                f'makes one'
            )
    # Larger than they are trained on, so that there is something to crop.
    width, height = round(1.5 * recipe.width), round(1.5 * recipe.height)
    share = sum(source.weight for source in recipe.data) / len(manifests)
    given = (ManifestData(str(path.resolve()), width, height, share) for path in manifests)
    return replace(recipe, data=(*recipe.data, *given))


def _sources(raw: Any, folder: Path) -> list[Source]:
    """The sources: a list of them, or one alone."""
    if not isinstance(raw, list):
        return [_source(raw, 'data', folder)]
    return [_source(source, f'data[{i}]', folder) for i, source in enumerate(raw)]


def _source(raw: Any, where: str, folder: Path) -> Source:
    if not isinstance(raw, dict) or 'manifest' not in raw:
        return build(SyntheticData, raw, where)
    source = build(ManifestData, raw, where)
    return replace(source, manifest=str(folder / source.manifest))
