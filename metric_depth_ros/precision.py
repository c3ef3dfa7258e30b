"""How many bits a network computes with: fp32, bf16 or fp16.

Where memory is short, or the hardware has units for it, half of the bits will do. The networks of
latent methods and public models get weights of that type, as diffusers and transformers have it;
all others keep theirs and compute under autocast, which leaves in float32 what needs it. What a
method does with the depth itself, its codes and its fits, stays in float32.

Of latent codes bf16 keeps eight bits, with a logarithmic code over three decades about one percent
of depth; fp16 keeps eleven.
"""

from __future__ import annotations

import contextlib
import functools
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn

from .errors import MetricDepthError
from .methods.coarse import Coarse
from .nn.latent import LatentNetwork

AUTO = 'auto'
_TYPES = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}
PRECISIONS = (AUTO, *_TYPES)
# What CPUs call the units that multiply bfloat16: of Intel and AMD, and of ARM.
_BF16_UNITS = ('avx512_bf16', 'amx_bf16', 'bf16')


@functools.cache
def multiplies_bf16(device_type: str) -> bool:
    """Whether the device multiplies bfloat16 in hardware.

    Many CPUs do not, and take ten times as long to emulate it as they take for float32. One that
    this version of PyTorch cannot ask is taken to do.
    """
    if device_type != 'cpu' or not hasattr(torch.cpu, 'get_capabilities'):
        return True
    return any(torch.cpu.get_capabilities().get(unit) for unit in _BF16_UNITS)


def find_precision(precision: str, method: nn.Module, device: torch.device) -> torch.dtype:
    """The type of numbers called `precision`.

    'auto' is fp32, but fp16 for latent methods on CUDA: Marigold's authors publish their network
    so, as Stable Diffusion's do, and fp32 takes twice the memory. A network whose weights are of
    half precision already is left as it is.

    Raises:
        MetricDepthError: there is none of that name.
    """
    if precision not in PRECISIONS:
        raise MetricDepthError(
            f'precision is {precision!r}, expected one of {", ".join(PRECISIONS)}'
        )
    if precision != AUTO:
        return _TYPES[precision]
    network = _network(method)
    if network is None:
        return torch.float32
    own = next(network.parameters()).dtype
    latent = isinstance(network, LatentNetwork)
    return torch.float16 if own == torch.float32 and latent and device.type == 'cuda' else own


def convert(method: nn.Module, dtype: torch.dtype) -> None:
    """Give the network of `method` weights of that type, in place, if it takes them."""
    network = _network(method)
    if network is not None:
        network.to(dtype)


def computing(
    method: nn.Module, dtype: torch.dtype, device: torch.device
) -> AbstractContextManager[Any]:
    """What to let `method`, which is converted, compute under."""
    if dtype == torch.float32 or _network(method) is not None:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype)


def _network(method: nn.Module) -> nn.Module | None:
    """The part of a method that takes weights of another type; None if it has no such part."""
    if isinstance(method, Coarse):
        return method.network if method.half_weights else None
    network = getattr(method, 'latent', None)
    return network if isinstance(network, LatentNetwork) else None
