"""An optimiser for few steps: about half of AdamW's to the same loss, on a small network."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from ..precision import multiplies_bf16

# Newton-Schulz iteration of Jordan et al.: a quintic whose fixed points lie near 1.
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Muon for the matrices, AdamW for all else.

    Jordan et al., Muon: an optimizer for hidden layers in neural networks, 2024: the momentum of
    a weight matrix is made orthogonal before it is applied, so that every direction of it learns
    equally fast. A convolution's weight counts as a matrix of (out, in * height * width).

    Args:
        params: groups, as for any optimiser; 'matrix': True marks those that Muon takes.
        lr: of the matrices. adam_lr_ratio: AdamW's learning rate over it, for the others.
        momentum: of the matrices; betas: of the others.
        weight_decay: share of each weight that goes a step, times its learning rate.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.02,
        adam_lr_ratio: float = 0.05,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {
            'lr': lr,
            'adam_lr_ratio': adam_lr_ratio,
            'momentum': momentum,
            'betas': betas,
            'weight_decay': weight_decay,
            'matrix': False,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step from the gradients that are there."""
        value = None
        if closure is not None:
            with torch.enable_grad():
                value = closure()
        for group in self.param_groups:
            for weight in group['params']:
                if weight.grad is None:
                    continue
                if group['matrix']:
                    self._step_matrix(weight, group)
                else:
                    self._step_adam(weight, group)
        return value

    def _step_matrix(self, weight: Tensor, group: dict[str, Any]) -> None:
        state, gradient = self.state[weight], weight.grad
        assert gradient is not None
        if not state:
            state['momentum'] = torch.zeros_like(weight)
        momentum = state['momentum'].mul_(group['momentum']).add_(gradient)
        ahead = gradient + group['momentum'] * momentum  # Nesterov
        matrix = ahead.flatten(1)
        update = orthogonal(matrix).view_as(weight)
        tall = max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
        weight.mul_(1 - group['lr'] * group['weight_decay'])
        weight.add_(update, alpha=-group['lr'] * tall)

    def _step_adam(self, weight: Tensor, group: dict[str, Any]) -> None:
        state, gradient = self.state[weight], weight.grad
        assert gradient is not None
        if not state:
            state['step'] = torch.zeros(())
            state['mean'], state['square'] = torch.zeros_like(weight), torch.zeros_like(weight)
        state['step'] += 1
        beta1, beta2 = group['betas']
        rate = group['lr'] * group['adam_lr_ratio']
        state['mean'].lerp_(gradient, 1 - beta1)
        state['square'].lerp_(gradient.square(), 1 - beta2)
        count = float(state['step'])
        mean = state['mean'] / (1 - beta1**count)
        square = state['square'] / (1 - beta2**count)
        weight.mul_(1 - rate * group['weight_decay'])
        weight.addcdiv_(mean, square.sqrt().add_(1e-8), value=-rate)


def orthogonal(matrix: Tensor) -> Tensor:
    """About U V^T of a matrix U S V^T: its singular values go to between 0.7 and 1.2.

    In bfloat16, which the iteration bears, where that is faster.
    """
    a, b, c = _QUINTIC
    x = matrix.to(torch.bfloat16 if multiplies_bf16(matrix.device.type) else torch.float32)
    wide = x.shape[0] <= x.shape[1]
    x = x if wide else x.T
    x = x / (x.norm() + 1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x if wide else x.T).to(matrix.dtype)
