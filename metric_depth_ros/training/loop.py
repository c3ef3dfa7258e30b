"""The one training loop: frames in, checkpoint out, whatever the method.

A run lives in a folder and can be stopped at any moment:

    out/frames/                     the rendered frames
    out/state.safetensors           weights, their average, optimiser; the step in its metadata
    out/curve.jsonl                 one line every validation: step, loss, accuracy, seconds
    out/checkpoint/                 the model, written at the end

Everything random in step k comes from a generator seeded by (recipe.seed, k): a run that was
stopped and resumed takes the same steps as one that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..checkpoint import Card, save
from ..errors import MetricDepthError
from ..methods import METHODS
from .curve import Curve
from .data import FramePool, pool_name, render_pool
from .feed import Feed
from .model_card import model_card
from .recipe import Recipe, SyntheticData
from .run import Run
from .validation import calibrate, validate


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
    show: Callable[[Progress], None] = lambda progress: None,
) -> Path | None:
    """Train as `recipe` says; the folder of the finished checkpoint, or None if time ran out.

    Args:
        out: the folder of the run.
        resume: go on from out/state.safetensors; without it, a run that is there is an error.
        frames: folder of the rendered frames, which runs may share; out/frames if None.
        max_minutes: stop after this long, state saved, to be resumed.
        show: called often, for a progress bar.

    Raises:
        MetricDepthError: the folder holds another run, or nothing to resume.
    """
    deadline = time.monotonic() + 60 * max_minutes
    state_file = out / 'state.safetensors'
    if state_file.exists() and not resume:
        raise MetricDepthError(f'{out} holds a run already: --resume it, or choose another --out')
    out.mkdir(parents=True, exist_ok=True)
    device = torch.device(device)

    def rendered(source: SyntheticData, split: str, on: torch.device | None) -> FramePool:
        name = f'{split}-{pool_name(source)}'

        def progress(done: int, total: int) -> None:
            show(Progress('render', done, total, name))

        folder = (frames or out / 'frames') / name
        return render_pool(folder, source, split, device=on, progress=progress)

    pools = [rendered(source, 'train', device) for source in recipe.data]
    heldout = rendered(recipe.validation, 'heldout', None)
    feed = Feed(recipe, pools)

    torch.manual_seed(recipe.seed)  # the initial weights; nothing later uses this generator
    method = METHODS[recipe.method](recipe.architecture()).to(device)
    run = Run(recipe, method)
    curve = Curve(out / 'curve.jsonl')
    step = run.load(state_file, curve) if state_file.exists() else 0
    while step < recipe.steps:
        loss = run.step(step, feed, device)
        step += 1
        curve.add(loss)
        show(Progress('train', step, recipe.steps, f'loss {loss["loss"]:.4f}'))
        out_of_time = time.monotonic() > deadline
        if step % recipe.validate_every == 0 or step == recipe.steps:
            average: Any = run.average.module
            curve.write(step, validate(average, heldout, seed=recipe.seed))
        if step % recipe.save_every == 0 or step == recipe.steps or out_of_time:
            run.save(state_file, step, curve)
        if out_of_time and step < recipe.steps:
            return None

    best: Any = run.average.module.eval()
    show(Progress('calibrate', 0, 1))
    calibration, scores = calibrate(best, heldout, seed=recipe.seed)
    show(Progress('calibrate', 1, 1))
    card = Card(recipe.name, recipe.licence, recipe.source, calibration)
    readme = model_card(recipe, best, card, scores, curve.lines())
    save(out / 'checkpoint', best, Card(card.name, card.licence, card.source, calibration, readme))
    return out / 'checkpoint'
