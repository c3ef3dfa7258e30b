"""The optimiser that GRIN was trained with (5.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch


class Lion(torch.optim.Optimizer):
    """Lion: the sign of an interpolated momentum, and decoupled weight decay.

    Chen et al., Symbolic Discovery of Optimization Algorithms, 2023, Algorithm 2. Every weight
    moves by the learning rate, so that wants to be 3 to 10 times smaller than AdamW's.

    Args:
        lr: step of every weight. betas: of the interpolation, and of the momentum.
        weight_decay: share of each weight that goes a step, times lr.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {'lr': lr, 'betas': betas, 'weight_decay': weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step from the gradients that are there."""
        value = None
        if closure is not None:
            with torch.enable_grad():
                value = closure()
        for group in self.param_groups:
            beta1, beta2 = group['betas']
            weights = [p for p in group['params'] if p.grad is not None]
            if not weights:
                continue
            gradients = [p.grad for p in weights]
            for p in weights:
                if not self.state[p]:
                    self.state[p]['momentum'] = torch.zeros_like(p)
            momenta = [self.state[p]['momentum'] for p in weights]
            updates = torch._foreach_lerp(gradients, momenta, beta1)
            torch._foreach_sign_(updates)
            torch._foreach_mul_(weights, 1 - group['lr'] * group['weight_decay'])
            torch._foreach_add_(weights, updates, alpha=-group['lr'])
            torch._foreach_lerp_(momenta, gradients, 1 - beta2)
        return value
