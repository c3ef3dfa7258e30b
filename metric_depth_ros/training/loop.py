"""The one training loop: frames in, checkpoint out, whatever the method.

A run lives in a folder and can be stopped at any moment:

    out/frames/                     the frames, rendered or read
    out/state.safetensors           weights, their average, optimiser; the step in its metadata
    out/curve.jsonl                 one line every validation: step, loss, accuracy, seconds
    out/tensorboard/                the same and more for TensorBoard, if asked for
    out/checkpoint/                 the model, written at the end

Everything random in step k comes from a generator seeded by (recipe.seed, k): a run that was
stopped and resumed takes the same steps as one that was not.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..checkpoint import Card, save
from ..errors import MetricDepthError
from ..methods import METHODS
from .beginning import approach, initial_method
from .board import Board
from .calibrating import calibrate
from .coarse import MakeCoarse, make_coarse
from .curve import Curve
from .data import FramePool
from .feed import Feed
from .judging import SetScores, judge
from .model_card import model_card
from .recipe import Recipe, Source
from .run import Run, learning_rate
from .sources import fill_pool, pool_name
from .validation import HeldOutFrame, validate
from .workers import Workers, joined

JUDGED_FRAMES = 128


@dataclass(frozen=True)
class Progress:
    """What a progress bar shows. stage: 'render', 'train' or 'calibrate'."""

    stage: str
    done: int
    total: int
    note: str = ''


def train(
    recipe: Recipe,
    out: Path,
    *,
    resume: bool = False,
    frames: Path | None = None,
    device: str | torch.device = 'cpu',
    max_minutes: float = math.inf,
    tensorboard: bool = False,
    stop: Callable[[], bool] = lambda: False,
    show: Callable[[Progress], None] = lambda progress: None,
) -> Path | None:
    """Train as `recipe` says; the folder of the finished checkpoint, or None if time ran out.

    Started by torchrun or accelerate launch, the processes share each batch; `out` and `frames`
    must be the same folders for all of them.

    Args:
        out: the folder of the run.
        resume: go on from out/state.safetensors; without it, a run that is there is an error.
        frames: folder of the rendered frames, which runs may share; out/frames if None.
        max_minutes: stop after this long, what is done saved, to be resumed.
        tensorboard: write losses and scores to out/tensorboard, too.
        stop: asked after every step whether to stop there, the state saved, to be resumed.
        show: called often, for a progress bar; in every process.

    Raises:
        MetricDepthError: the folder holds another run, the data cannot be used, or tensorboard is
            asked for and not installed.
    """
    deadline = time.monotonic() + 60 * max_minutes
    state_file = out / 'state.safetensors'
    if state_file.exists() and not resume:
        raise MetricDepthError(f'{out} holds a run already: --resume it, or choose another --out')
    out.mkdir(parents=True, exist_ok=True)
    board = Board(out / 'tensorboard', enabled=tensorboard)
    with joined(torch.device(device)) as workers, board:
        pools = _pools(recipe, frames or out / 'frames', workers, deadline, show)
        if pools is None:
            return None
        *sources, heldout = pools
        coarse = make_coarse(recipe.coarse, workers.device)
        # A network that does not see the coarse depth needs it for its metres alone.
        learns = getattr(METHODS[recipe.method], 'learns_from_coarse', True)
        feed = Feed(recipe, sources, coarse if learns else None)

        run = Run(recipe, _begun(recipe, workers.device), workers)
        curve = Curve(out / 'curve.jsonl')
        step = run.load(state_file, curve) if state_file.exists() else curve.start()
        while step < recipe.steps:
            loss = run.step(step, feed)
            step += 1
            curve.add(loss)
            if workers.first:
                board.add(
                    'train', step, {**loss, 'learning_rate': learning_rate(recipe, step - 1)}
                )
            show(Progress('train', step, recipe.steps, f'loss {loss["loss"]:.4f}'))
            last = step == recipe.steps
            ending = workers.any(time.monotonic() > deadline or stop())
            if workers.first and (step % recipe.validate_every == 0 or last):
                average: Any = run.average.module
                scores = validate(
                    average, heldout, seed=recipe.seed, training=sources, coarse=coarse
                )
                curve.write(step, scores)
                board.add('heldout', step, scores)
            if workers.first and (step % recipe.save_every == 0 or last or ending):
                run.save(state_file, step, curve)
            if ending and not last:
                return None
        if workers.first:
            _finish(recipe, out, run, heldout, coarse, curve, show)
    return out / 'checkpoint'


def _begun(recipe: Recipe, device: torch.device) -> Any:
    """The method as training begins."""
    torch.manual_seed(recipe.seed)  # the initial weights; nothing later uses this generator
    return initial_method(recipe).to(device)


class _OutOfTimeError(Exception):
    """Preparing the frames takes longer than there is time."""


def _pools(
    recipe: Recipe,
    folder: Path,
    workers: Workers,
    deadline: float,
    show: Callable[[Progress], None],
) -> list[FramePool] | None:
    """The frames of each source, and the held-out ones last; None if time ran out.

    The first process prepares them while the others wait.
    """

    def pool(source: Source, split: str, device: torch.device | None) -> FramePool:
        name = f'{split}-{pool_name(source)}'
        began = False

        def progress(done: int, total: int) -> None:
            nonlocal began
            show(Progress('render', done, total, name))
            if began and done < total and time.monotonic() > deadline:
                raise _OutOfTimeError
            began = True  # each leg gets something done, however short

        return fill_pool(folder / name, source, split, device=device, progress=progress)

    def everything() -> list[FramePool]:
        sources = [pool(source, 'train', workers.device) for source in recipe.data]
        return [*sources, pool(recipe.validation, 'heldout', None)]

    pools: list[FramePool] | None = None
    if workers.first:
        with contextlib.suppress(_OutOfTimeError):
            pools = everything()
    if workers.any(workers.first and pools is None):
        return None
    return pools or everything()


def _finish(
    recipe: Recipe,
    out: Path,
    run: Run,
    heldout: FramePool,
    coarse: MakeCoarse | None,
    curve: Curve,
    show: Callable[[Progress], None],
) -> None:
    """Calibrate the averaged weights and write them, with their card, to out/checkpoint."""
    best: Any = run.average.module.eval()
    if recipe.base_share:
        approach(best, _begun(recipe, run.workers.device), recipe.base_share)
    show(Progress('calibrate', 0, 1))
    made = calibrate(
        best, heldout, seed=recipe.seed, coarse=coarse, augmentation=recipe.augmentation
    )
    judged = _judged(recipe, made.frames[:JUDGED_FRAMES])
    show(Progress('calibrate', 1, 1))
    card = Card(recipe.name, recipe.licence, recipe.source, made.calibration, novelty=made.novelty)
    readme = model_card(recipe, best, card, made.report, judged, curve.lines())
    save(out / 'checkpoint', best, dataclasses.replace(card, readme=readme))


def _judged(recipe: Recipe, frames: Sequence[HeldOutFrame]) -> dict[str, SetScores]:
    """Edges and the near range on frames that calibration has not seen, by title."""
    scores = {recipe.name: judge((frame.depth, frame.truth) for frame in frames)}
    alone = [(frame.coarse, frame.truth) for frame in frames if frame.coarse is not None]
    if alone and recipe.coarse is not None:
        scores[f'the coarse depth alone: {recipe.coarse.describe()}'] = judge(alone)
    return scores
