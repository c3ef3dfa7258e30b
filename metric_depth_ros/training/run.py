"""What a training step changes, and how: weights, their average and the optimiser."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..errors import MetricDepthError
from ..precision import multiplies_bf16
from .curve import Curve
from .feed import Feed
from .fields import signature
from .lion import Lion
from .muon import Muon
from .objectives import OBJECTIVES
from .recipe import Recipe
from .schedule import seed_of
from .workers import Workers

_BETAS = (0.9, 0.99)
_MUON_SIDE = 32


class Run:
    """The method, its averaged weights and its optimiser: what a step changes."""

    def __init__(self, recipe: Recipe, method: Any, workers: Workers) -> None:
        self.recipe = recipe
        self.method = method
        self.workers = workers
        self.frozen = freeze(method, recipe.frozen)
        self.parts = parts_of_a_batch(recipe, workers.count)
        self.average = AveragedModel(
            method, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema_decay), use_buffers=True
        )
        self.optimizer = make_optimizer(recipe, method)

    def step(self, step: int, feed: Feed) -> dict[str, float]:
        """Take step number `step`; its losses, the means over the parts of the batch.

        Each part has its own seed, whichever process computes it: so many processes take the
        steps that one process takes with as many parts, up to the order of sums.
        """
        recipe, workers = self.recipe, self.workers
        for group in self.optimizer.param_groups:
            group['lr'] = learning_rate(recipe, step)
        self.method.train()
        for module in self.frozen:
            module.eval()
        self.optimizer.zero_grad(set_to_none=True)
        computed: list[dict[str, float]] = []
        running = PartStatistics(self.method, self.parts, workers)
        for part in range(workers.rank, self.parts, workers.count):
            losses = self._losses(step, part, feed)
            (losses['loss'] / self.parts).backward()
            computed.append({name: float(loss.detach()) for name, loss in losses.items()})
            running.end_part()
        values = _means(workers.gather(computed))
        if not math.isfinite(values['loss']):
            raise MetricDepthError(
                f'the loss is {values["loss"]} at step {step}, expected a finite number: '
                f'resume from the last saved state with a lower learning_rate'
            )
        workers.sum_gradients(self.method.parameters())
        running.end_step()
        nn.utils.clip_grad_norm_(self.method.parameters(), recipe.clip_norm)
        self.optimizer.step()
        self.average.update_parameters(self.method)
        return values

    def _losses(self, step: int, part: int, feed: Feed) -> dict[str, Tensor]:
        recipe, device = self.recipe, self.workers.device
        seed = seed_of(recipe.seed, 'step', step, part)
        cpu = torch.Generator().manual_seed(seed)
        generator = torch.Generator(device).manual_seed(seed)
        batch = feed.batch(step, cpu, device, part=part, parts=self.parts)
        bf16 = recipe.precision == 'bf16' and multiplies_bf16(device.type)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            return OBJECTIVES[recipe.method](self.method, batch, generator)

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
        about = {'step': str(step), 'recipe': signature(self.recipe), 'curve': curve.pending()}
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
        if metadata.get('recipe') != signature(self.recipe):
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


class PartStatistics:
    """Running statistics of batch norms when a batch is computed in parts.

    Every part starts from those before the step, and their mean is what the step leaves: the same
    for parts one after the other and parts in as many processes.
    """

    def __init__(self, method: nn.Module, parts: int, workers: Workers) -> None:
        self.parts, self.workers = parts, workers
        norms = [m for m in method.modules() if isinstance(m, nn.BatchNorm2d)]
        self._buffers = [b for m in norms for b in m.buffers()] if parts > 1 else []
        self._before = [b.clone() for b in self._buffers]
        self._total = [torch.zeros_like(b) for b in self._buffers]

    def end_part(self) -> None:
        """Count what one part has left, and go back."""
        for buffer, before, total in zip(self._buffers, self._before, self._total, strict=True):
            total.add_(buffer)
            buffer.copy_(before)

    def end_step(self) -> None:
        """Leave the mean over all parts of all processes."""
        self.workers.sum(self._total)
        for buffer, total in zip(self._buffers, self._total, strict=True):
            buffer.copy_(total / self.parts)


def _means(losses: list[dict[str, float]]) -> dict[str, float]:
    """The mean of each loss over the parts that have it."""
    names = dict.fromkeys(name for part in losses for name in part)
    return {
        name: statistics.fmean(part[name] for part in losses if name in part) for name in names
    }


def parts_of_a_batch(recipe: Recipe, workers: int) -> int:
    """Parts that a batch is computed in: the recipe's `accumulate`, or more, as many for each.

    Raises:
        MetricDepthError: the batch cannot be divided so.
    """
    parts = -(-recipe.accumulate // workers) * workers
    if recipe.batch_size % parts:
        raise MetricDepthError(
            f'batch_size is {recipe.batch_size}, expected a multiple of {parts}, to divide it '
            f'among {workers} processes with accumulate {recipe.accumulate}'
        )
    return parts


def freeze(method: nn.Module, names: Sequence[str]) -> list[nn.Module]:
    """Take these parts of the method, by name, out of its training, norms included.

    Raises:
        MetricDepthError: it has no such part.
    """
    parts = dict(method.named_children())
    for name in names:
        if name not in parts:
            raise MetricDepthError(
                f'frozen is {name!r}, expected a part of the method: {", ".join(sorted(parts))}'
            )
        parts[name].requires_grad_(False)
    return [parts[name] for name in names]


def make_optimizer(recipe: Recipe, method: nn.Module) -> torch.optim.Optimizer:
    """The recipe's; only the weights of layers decay, no biases, norms or learned tokens."""
    named = [(name, p) for name, p in method.named_parameters() if p.requires_grad]
    decaying = [p for name, p in named if p.ndim >= 2 and name.endswith('weight')]
    chosen = {id(p) for p in decaying}
    groups: list[dict[str, Any]] = [
        {'params': decaying, 'weight_decay': recipe.weight_decay},
        {'params': [p for _, p in named if id(p) not in chosen], 'weight_decay': 0.0},
    ]
    if recipe.optimizer == 'lion':
        return Lion(groups, lr=recipe.learning_rate, betas=_BETAS)
    if recipe.optimizer == 'muon':
        # Layers of few inputs or outputs are no matrices to speak of: AdamW has them.
        broad = [p for p in decaying if min(p.flatten(1).shape) >= _MUON_SIDE]
        chosen = {id(p) for p in broad}
        groups[0]['params'] = [p for p in decaying if id(p) not in chosen]
        matrices = {'params': broad, 'weight_decay': recipe.weight_decay, 'matrix': True}
        return Muon([matrices, *groups], lr=recipe.learning_rate, betas=_BETAS)
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=_BETAS, fused=True)


def learning_rate(recipe: Recipe, step: int) -> float:
    """Linear warm-up, then a cosine to zero (GRIN, Section 5.2)."""
    if step < recipe.warmup_steps:
        return recipe.learning_rate * (step + 1) / recipe.warmup_steps
    done = (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
