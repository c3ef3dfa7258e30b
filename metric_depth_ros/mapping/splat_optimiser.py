"""Adam over Gaussians that come and go."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from .gaussians import Gaussians


@dataclass(frozen=True)
class LearningRates:
    """Steps of Adam. Those of Kerbl et al. 2023 (Section 7.1 and their code) are for 30 000
    steps; a map from depth begins near its goal and takes hundreds, so these are larger.

    means: metres a step. log_scales, quaternions, opacity_logits, f_dc: their own units a step.
    """

    means: float = 3e-3
    log_scales: float = 1e-2
    quaternions: float = 5e-3
    opacity_logits: float = 5e-2
    f_dc: float = 1e-2


class GaussianAdam:
    """Owns the Gaussians while they are optimised; moments stay with the Gaussian they are of."""

    def __init__(self, gaussians: Gaussians, rates: LearningRates) -> None:
        self._rates = [getattr(rates, field.name) for field in fields(rates)]
        groups = [
            {'params': [value.detach().clone().requires_grad_()], 'lr': rate}
            for value, rate in zip(gaussians.tensors(), self._rates, strict=True)
        ]
        self._adam = torch.optim.Adam(groups, eps=1e-15)

    @property
    def gaussians(self) -> Gaussians:
        """The parameters themselves, part of the graph."""
        return Gaussians(*(group['params'][0] for group in self._adam.param_groups))

    def step(self, rate: float = 1.0) -> None:
        """One step along the gradients, all learning rates times `rate`; clears the gradients."""
        for group, full in zip(self._adam.param_groups, self._rates, strict=True):
            group['lr'] = full * rate
        self._adam.step()
        self._adam.zero_grad()

    def replace(self, kept: Tensor, added: Gaussians) -> None:
        """Keep the Gaussians of the bool mask (N,) and append others, which start at rest."""
        for group, more in zip(self._adam.param_groups, added.tensors(), strict=True):
            old = group['params'][0]
            new = torch.cat((old.detach()[kept], more.to(old))).requires_grad_()
            state = self._adam.state.pop(old, {})
            for moment in ('exp_avg', 'exp_avg_sq'):
                if moment in state:
                    state[moment] = torch.cat((state[moment][kept], torch.zeros_like(more)))
            if state:
                self._adam.state[new] = state
            group['params'] = [new]
