"""The processes that train together: one, or as many as torchrun or accelerate launch started.

Gradients are summed by hand, in one message a step, rather than by DistributedDataParallel: that
watches `forward`, and an objective calls a method's parts.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn

# The first process renders and validates while the others wait.
_PATIENCE = timedelta(hours=24)


@dataclass(frozen=True)
class Workers:
    """This process, number `rank` of `count`, and where it computes."""

    device: torch.device
    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Each tensor becomes its sum over the processes; one message for all."""
        if self.count == 1 or not tensors:
            return
        message = torch.cat([t.flatten() for t in tensors])
        distributed.all_reduce(message)
        for t, summed in zip(tensors, message.split([t.numel() for t in tensors]), strict=True):
            t.copy_(summed.view_as(t))

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Every gradient becomes its sum over the processes; None if it is None in all."""
        if self.count == 1:
            return
        weights = list(parameters)
        used = torch.tensor([float(p.grad is not None) for p in weights], device=self.device)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in weights]
        self.sum([used, *gradients])
        for p, gradient, seen in zip(weights, gradients, used.tolist(), strict=True):
            p.grad = gradient if seen else None

    def gather(self, losses: list[dict[str, float]]) -> list[dict[str, float]]:
        """The losses of all processes."""
        if self.count == 1:
            return losses
        gathered: list[list[dict[str, float]]] = [[] for _ in range(self.count)]
        distributed.all_gather_object(gathered, losses)
        return [part for each in gathered for part in each]

    def any(self, flag: bool) -> bool:
        """Whether the flag is up in any process; all wait for all."""
        if self.count == 1:
            return flag
        message: Tensor = torch.tensor(float(flag), device=self.device)
        distributed.all_reduce(message, distributed.ReduceOp.MAX)
        return bool(message)


@contextmanager
def joined(device: torch.device) -> Iterator[Workers]:
    """The group that this process was started in, as the launcher's environment says."""
    count = int(os.environ.get('WORLD_SIZE', '1'))
    if count == 1:
        yield Workers(device)
        return
    if device.type == 'cuda':
        device = torch.device('cuda', int(os.environ.get('LOCAL_RANK', '0')))
        torch.cuda.set_device(device)
    backend = 'nccl' if device.type == 'cuda' else 'gloo'
    distributed.init_process_group(backend, timeout=_PATIENCE)
    try:
        yield Workers(device, distributed.get_rank(), count)
        # Leave together: who finds the others gone while it still listens is aborted.
        distributed.barrier()
    finally:
        distributed.destroy_process_group()
