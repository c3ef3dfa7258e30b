"""What each choice buys: variants of a recipe, trained alike and judged on the same frames.

A folder holds all of it, and can be left at any moment and gone on with:

    out/frames/               the frames, rendered or read
    out/VARIANT/              a run of training, see loop
    out/VARIANT/scores.json   what became of it
    out/table.md, table.json  all variants that are done
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from .. import checkpoint, geometry
from ..errors import MetricDepthError
from ..evaluation.metrics import PLAIN, Scores, best_constant, metric_names, row_means
from .coarse import MakeCoarse, make_coarse
from .curve import Curve
from .data import FramePool, write_shard
from .fields import signature
from .judging import NEAR_M, SetScores, judge, judge_coarse, judge_method, true_depths
from .loop import Progress, train
from .recipe import ManifestData, Recipe
from .sources import fill_pool, pool_name
from .suite import FieldFrames, Suite

_RENDER_BATCH = 16
_TRAINED = 'trained.txt'


@dataclass(frozen=True)
class Row:
    """A line of the table.

    minutes: of training; 0 if it took another's weights. sets: by name of the set.
    """

    name: str
    what: str
    parameters: int
    steps: int
    minutes: float
    sets: dict[str, SetScores]


@dataclass(frozen=True)
class Table:
    """What a suite has shown so far; baselines: title -> scores by name of the set."""

    suite: str
    rows: tuple[Row, ...]
    baselines: dict[str, dict[str, SetScores]]
    frames: dict[str, int]

    def json(self) -> dict[str, Any]:
        """For scripts."""
        return asdict(self)

    def markdown(self) -> str:
        """A table for each set; the first row is what the others are compared with."""
        return '\n'.join(self._of_set(name, count) for name, count in self.frames.items())

    def _of_set(self, name: str, frames: int) -> str:
        lines = [(f'{r.name}: {r.what}', r.sets[name], f'{r.minutes:.1f}') for r in self.rows]
        lines += [(title, sets[name], '') for title, sets in self.baselines.items()]
        reference = self.rows[0].sets[name].plain.abs_rel
        body = ''.join(
            f'| {title} | {s.plain.abs_rel:.3f} | {s.plain.abs_rel / reference - 1:+.0%} '
            f'| {s.plain.rmse:.2f} | {s.plain.delta1:.3f} | {s.aligned.abs_rel:.3f} '
            f'| {s.aligned.delta1:.3f} | {s.near_abs_rel:.3f} | {s.near_log_error:.3f} '
            f'| {s.boundary_error:.2f} | {s.boundary_f1:.3f} | {minutes} |\n'
            for title, s, minutes in lines
        )
        return (
            f'{name}, {frames} frames:\n\n'
            f'| {self.suite} | AbsRel | against {self.rows[0].name} | RMSE (m) | delta1 '
            f'| AbsRel, median aligned | delta1, median aligned | AbsRel below {NEAR_M:g} m '
            f'| mean of abs(ln) there | boundary error (px) | boundary F1 | minutes |\n'
            f'|{"---|" * 12}\n{body}'
        )


def ablate(
    suite: Suite,
    out: Path,
    *,
    frames: Path | None = None,
    only: Sequence[str] = (),
    manifests: Sequence[Path] = (),
    device: str | torch.device = 'cpu',
    stop: Callable[[], bool] = lambda: False,
    show: Callable[[str, Progress], None] = lambda name, progress: None,
) -> Table | None:
    """Train and judge the variants that are not done yet; None if `stop` said so before the end.

    Args:
        out: folder of the suite; what is there of an earlier call is gone on with.
        frames: folder of the rendered frames, which suites may share; out/frames if None.
        only: names of variants; all if empty. The table has all that are done.
        manifests: datasets to judge on beside the suite's own frames.
        stop, show: see loop.train; show gets the variant's name too.

    Raises:
        MetricDepthError: there is no such variant, the folder holds another suite, or a dataset
            cannot be used.
    """
    if unknown := sorted(set(only) - suite.variants.keys()):
        raise MetricDepthError(
            f'variant is {unknown[0]!r}, expected one of {", ".join(suite.variants)}'
        )
    bench = Bench(suite, out, frames or out / 'frames', manifests, torch.device(device))
    for name in only or suite.variants:
        if bench.row(name) is None:
            folder = bench.train(name, stop, show)
            if folder is None:
                return None
            show(name, Progress('judge', 0, 1))
            bench.judge(name, folder)
            show(name, Progress('judge', 1, 1))
    table = bench.table()
    (out / 'table.json').write_text(json.dumps(table.json(), indent=2) + '\n')
    (out / 'table.md').write_text(table.markdown())
    return table


class Bench:
    """A suite, the folder of its runs, and the frames that it is judged on."""

    def __init__(
        self,
        suite: Suite,
        out: Path,
        frames: Path,
        manifests: Sequence[Path],
        device: torch.device,
    ) -> None:
        self.suite, self.out, self.frames, self.device = suite, out, frames, device
        self.sets = self._sets(manifests)

    def train(
        self, name: str, stop: Callable[[], bool], show: Callable[[str, Progress], None]
    ) -> Path | None:
        """The checkpoint of a variant, trained if it is not yet; None if stopped."""
        name = self.suite.variants[name].weights_of or name
        recipe, folder = self.suite.recipes[name], self.out / name
        trained = folder / _TRAINED
        if trained.is_file() and trained.read_text() == self._signature(name):
            return folder / 'checkpoint'
        if first := self.suite.variants[name].begins_with:
            base = self.train(first, stop, show)
            if base is None:
                return None
            recipe = replace(recipe, base=str(base))
        finished = train(
            recipe,
            folder,
            resume=(folder / 'state.safetensors').exists(),
            frames=self.frames,
            device=self.device,
            stop=stop,
            show=lambda progress: show(name, progress),
        )
        if finished is not None:
            trained.write_text(self._signature(name))
        return finished

    def _signature(self, name: str) -> str:
        """What the weights of a variant depend on: its recipe, and that of what it begins with."""
        own = signature(self.suite.recipes[name])
        first = self.suite.variants[name].begins_with
        return f'{own} after {self._signature(first)}' if first else own

    def judge(self, name: str, folder: Path) -> None:
        """Score a variant on all sets and write it down."""
        variant, recipe = self.suite.variants[name], self.suite.recipes[name]
        method: Any = checkpoint.load(folder).method
        method = method.to(self.device)
        minutes = (
            sum(line['seconds'] for line in Curve(folder.parent / 'curve.jsonl').lines()) / 60
        )
        row = Row(
            name,
            variant.what,
            parameters=sum(p.numel() for p in method.parameters()),
            steps=recipe.steps,
            minutes=0.0 if variant.weights_of else minutes,
            sets={
                title: judge_method(
                    method,
                    pool,
                    seed=recipe.seed,
                    num_samples=variant.num_samples,
                    regression=variant.regression,
                    coarse=make_coarse(variant.judged_with(recipe), self.device),
                )
                for title, pool in self.sets.items()
            },
        )
        self._scores_file(name).parent.mkdir(parents=True, exist_ok=True)
        self._scores_file(name).write_text(
            json.dumps({'of': self._of(name), **asdict(row)}) + '\n'
        )

    def row(self, name: str) -> Row | None:
        """The scores of a variant, if it has been judged as the suite says now."""
        path = self._scores_file(name)
        if not path.is_file():
            return None
        raw = json.loads(path.read_text())
        if raw.pop('of') != self._of(name):
            return None
        sets = {
            title: SetScores(Scores(**of.pop('plain')), Scores(**of.pop('aligned')), **of)
            for title, of in raw.pop('sets').items()
        }
        return Row(**{**raw, 'what': self.suite.variants[name].what}, sets=sets)

    def table(self) -> Table:
        """All rows that are there, and constants beside them."""
        rows = [row for name in self.suite.variants if (row := self.row(name)) is not None]
        baselines: dict[str, dict[str, SetScores]] = {'best constant': {}, 'mean of each row': {}}
        for title, pool in self.sets.items():
            truths = [truth for truth in true_depths(pool) if PLAIN.valid(truth).any()]
            constant, rows_mean = best_constant(truths), row_means(truths)
            baselines['best constant'][title] = judge(
                [(torch.full_like(truth, constant), truth) for truth in truths]
            )
            baselines['mean of each row'][title] = judge(
                [(rows_mean[:, None].expand_as(truth), truth) for truth in truths]
            )
            for name, make, seed in self._coarse():
                scores = judge_coarse(pool, make, seed=seed)
                if scores is not None:
                    baselines.setdefault(name, {})[title] = scores
        counts = {title: len(pool) for title, pool in self.sets.items()}
        return Table(self.suite.name, tuple(rows), baselines, counts)

    def _coarse(self) -> list[tuple[str, MakeCoarse, int]]:
        """Title, maker and seed of every coarse depth that variants are judged with."""
        found = {}
        for name, variant in self.suite.variants.items():
            recipe = self.suite.recipes[variant.weights_of or name]
            settings = variant.judged_with(recipe)
            make = make_coarse(settings, self.device)
            if settings is not None and make is not None:
                title = f'the coarse depth alone: {settings.describe()}'
                found[title] = (title, make, recipe.seed)
        return list(found.values())

    def _sets(self, manifests: Sequence[Path]) -> dict[str, FramePool]:
        held = next(iter(self.suite.recipes.values())).validation
        folder = self.frames / f'heldout-{pool_name(held)}'
        sets = {'held-out scenes': fill_pool(folder, held, 'heldout')}
        if self.suite.fields is not None:
            size = held.width, held.height
            sets['another generator'] = field_pool(self.frames, self.suite.fields, *size)
        for path in manifests:
            source = ManifestData(str(path), held.width, held.height)
            title = path.resolve().parent.name
            if title in sets:
                raise MetricDepthError(
                    f'{path} lies in a folder called {title!r} as another set of frames does: '
                    f'expected folders of different names'
                )
            sets[title] = fill_pool(self.frames / pool_name(source), source, 'manifest')
        return sets

    def _scores_file(self, name: str) -> Path:
        return self.out / name / 'scores.json'

    def _of(self, name: str) -> str:
        """What scores depend on."""
        variant = self.suite.variants[name]
        recipe: Recipe = self.suite.recipes[variant.weights_of or name]
        how = f'{variant.num_samples} samples, regression {variant.regression}'
        how += f', coarse {signature(variant.judged_with(recipe))}'
        on = f'{", ".join(self.sets)}; {self.suite.fields}'
        trained = self._signature(variant.weights_of or name)
        return f'{trained}; {how}; {on}; {", ".join(metric_names())}, edges'


def field_pool(folder: Path, fields: FieldFrames, width: int, height: int) -> FramePool:
    """Frames of the generator that is never trained on, rendered once into `folder`."""
    from ..synthetic import render_fields_batch

    folder = folder / f'fields-{fields.frames}-{width}x{height}-seed{fields.seed}'
    folder.mkdir(parents=True, exist_ok=True)
    for first in range(0, fields.frames, _RENDER_BATCH):
        shard = folder / f'{first:05d}.shard'
        if shard.is_dir():
            continue
        generator = torch.Generator().manual_seed(fields.seed * 1_000_003 + first)
        count = min(_RENDER_BATCH, fields.frames - first)
        rendered = render_fields_batch(count, width, height, generator)
        rays = torch.stack([geometry.rays(camera) for camera in rendered.cameras])
        write_shard(shard, rendered.image, rendered.ray_distance, rays)
    return FramePool(folder)
