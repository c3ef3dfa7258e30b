"""What the scripts beside this one that convert others' weights end with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

Convolution = tuple[NDArray[np.float16], NDArray[np.float16]]  # weight, bias


def write(out: Path, names: Sequence[str], convolutions: Sequence[Convolution]) -> None:
    """A safetensors file of the convolutions, called by `names`, one each."""
    tensors = {}
    for name, (weight, bias) in zip(names, convolutions, strict=True):
        tensors |= {f'{name}.weight': weight, f'{name}.bias': bias}
    save_file(tensors, out)
    print(f'{out}: {sum(v.size for v in tensors.values()):,} values')
