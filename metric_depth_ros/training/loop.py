"""The one training loop: frames in, checkpoint out, whatever the method.

A run lives in a folder and can be stopped at any moment:

    out/frames/, out/validation/    the rendered frames
    out/state.safetensors           weights, their average, optimiser; the step in its metadata
    out/curve.jsonl                 one line every validation: step, loss, accuracy, seconds
    out/checkpoint/                 the model, written at the end

Everything random in step k comes from a generator seeded by (recipe.seed, k): a run that was
stopped and resumed takes the same steps as one that was not.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..checkpoint import Card, save
from ..errors import MetricDepthError
from ..methods import METHODS
from .data import FramePool, augment, render_pool
from .model_card import model_card
from .objectives import OBJECTIVES
from .recipe import Recipe
from .validation import calibrate, validate

_WORD = 2**32


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
    device: str | torch.device = 'cpu',
    max_minutes: float = math.inf,
    show: Callable[[Progress], None] = lambda progress: None,
) -> Path | None:
    """Train as `recipe` says; the folder of the finished checkpoint, or None if time ran out.

    Args:
        out: the folder of the run.
        resume: go on from out/state.safetensors; without it, a run that is there is an error.
        max_minutes: stop after this long, state saved, to be resumed.
        show: called often, for a progress bar.

    Raises:
        MetricDepthError: the folder holds another run, or nothing to resume.
    """
    deadline = time.monotonic() + 60 * max_minutes
    state_file = out / 'state.safetensors'
    if state_file.exists() and not resume:
        raise MetricDepthError(f'{out} holds a run already: --resume it, or choose another --out')
    device = torch.device(device)

    def rendering(name: str) -> Callable[[int, int], None]:
        return lambda done, total: show(Progress('render', done, total, name))

    frames = render_pool(out / 'frames', recipe.data, 'train', progress=rendering('training'))
    heldout = render_pool(
        out / 'validation', recipe.validation, 'heldout', progress=rendering('held-out')
    )

    torch.manual_seed(recipe.seed)  # the initial weights; nothing later uses this generator
    method = METHODS[recipe.method](METHODS[recipe.method].PRESETS[recipe.preset]()).to(device)
    run = Run(recipe, method)
    curve = Curve(out / 'curve.jsonl')
    step = run.load(state_file, curve) if state_file.exists() else 0
    while step < recipe.steps:
        loss = run.step(step, frames, device)
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


class Run:
    """The method, its averaged weights and its optimiser: what a step changes."""

    def __init__(self, recipe: Recipe, method: Any) -> None:
        self.recipe = recipe
        self.method = method
        self.average = AveragedModel(
            method, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema_decay), use_buffers=True
        )
        matrices = [p for p in method.parameters() if p.ndim >= 2]
        others = [p for p in method.parameters() if p.ndim < 2]
        self.optimizer = torch.optim.AdamW(
            [{'params': matrices, 'weight_decay': recipe.weight_decay},
             {'params': others, 'weight_decay': 0.0}],
            lr=recipe.learning_rate,
            betas=(0.9, 0.99),
        )  # fmt: skip

    def step(self, step: int, frames: FramePool, device: torch.device) -> dict[str, float]:
        """Take step number `step`; its losses."""
        recipe = self.recipe
        cpu = torch.Generator().manual_seed(recipe.seed * _WORD + step)
        generator = torch.Generator(device).manual_seed(recipe.seed * _WORD + step)
        index = torch.randint(len(frames), (recipe.batch_size,), generator=cpu).tolist()
        batch = augment(frames.batch(index, device=device), cpu)
        for group in self.optimizer.param_groups:
            group['lr'] = learning_rate(recipe, step)
        self.method.train()
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == 'bf16'):
            losses = OBJECTIVES[recipe.method](self.method, batch, generator)
        values = {name: float(value.detach()) for name, value in losses.items()}
        if not math.isfinite(values['loss']):
            raise MetricDepthError(
                f'the loss is {values["loss"]} at step {step}, expected a finite number: '
                f'resume from the last saved state with a lower learning_rate'
            )
        self.optimizer.zero_grad(set_to_none=True)
        losses['loss'].backward()
        nn.utils.clip_grad_norm_(self.method.parameters(), recipe.clip_norm)
        self.optimizer.step()
        self.average.update_parameters(self.method)
        return values

    def tensors(self) -> dict[str, Tensor]:
        """Everything that changes, by name; the tensors themselves, not copies."""
        named = {f'method.{k}': v for k, v in self.method.state_dict().items()}
        named |= {f'average.{k}': v for k, v in self.average.state_dict().items()}
        for number, moments in self.optimizer.state_dict()['state'].items():
            named |= {f'optimizer.{number}.{k}': v for k, v in moments.items()}
        return named

    def save(self, path: Path, step: int, curve: Curve) -> None:
        """Write the state; the old one stays until the new one is whole."""
        partial = path.with_suffix('.partial')
        tensors = {k: v.detach().cpu().contiguous().clone() for k, v in self.tensors().items()}
        about = {'step': str(step), 'recipe': repr(self.recipe), 'curve': curve.pending()}
        save_file(tensors, partial, metadata=about)
        partial.replace(path)

    def load(self, path: Path, curve: Curve) -> int:
        """Read the state; the step it was written after."""
        try:
            with safe_open(path, framework='pt') as file:
                metadata = file.metadata()
                saved = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise MetricDepthError(f'{path} is not the state of a run: {error}') from None
        if metadata.get('recipe') != repr(self.recipe):
            raise MetricDepthError(
                f'{path} was made by another recipe: resume with the recipe it began with, or '
                f'choose another --out'
            )
        self.method.load_state_dict(_part(saved, 'method.'))
        self.average.load_state_dict(_part(saved, 'average.'))
        state: dict[int, dict[str, Any]] = {}
        for key, value in _part(saved, 'optimizer.').items():
            number, name = key.split('.', 1)
            state.setdefault(int(number), {})[name] = value
        groups = self.optimizer.state_dict()['param_groups']
        self.optimizer.load_state_dict({'state': state, 'param_groups': groups})
        step = int(metadata['step'])
        curve.resume(step, metadata['curve'])
        return step


def learning_rate(recipe: Recipe, step: int) -> float:
    """Linear warm-up, then a cosine to zero (GRIN, Section 5.2)."""
    if step < recipe.warmup_steps:
        return recipe.learning_rate * (step + 1) / recipe.warmup_steps
    done = (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


class Curve:
    """The training curve: a file of JSON lines, one every validation, with the mean losses since.

    `pending` is what has been added since the last line; it is saved with the state, so that a
    run that was resumed writes the very lines of one that was not.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sums: dict[str, float] = {}
        self._count = 0
        self._seconds = 0.0
        self._last = time.monotonic()

    def lines(self) -> list[dict[str, float]]:
        """All lines, oldest first; [] before the first."""
        if not self.path.is_file():
            return []
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def add(self, losses: dict[str, float]) -> None:
        """Count the losses of one step, and the time since the step before."""
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1
        now = time.monotonic()
        self._seconds += now - self._last
        self._last = now

    def write(self, step: int, scores: dict[str, float]) -> None:
        """Append a line; `seconds` is of training alone."""
        means = {name: total / self._count for name, total in self._sums.items()}
        line = {'step': step, 'seconds': round(self._seconds, 1), **means, **scores}
        with self.path.open('a') as file:
            file.write(json.dumps(line) + '\n')
        self._sums, self._count, self._seconds = {}, 0, 0.0
        self._last = time.monotonic()

    def pending(self) -> str:
        return json.dumps([self._sums, self._count, self._seconds])

    def resume(self, step: int, pending: str) -> None:
        """Go back to where the state of `step` was saved."""
        kept = [line for line in self.lines() if line['step'] <= step]
        self.path.write_text(''.join(json.dumps(line) + '\n' for line in kept))
        self._sums, self._count, self._seconds = json.loads(pending)
        self._last = time.monotonic()


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
