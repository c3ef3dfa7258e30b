"""The state of a TSDF volume as one .npz file, without pickle."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .block_grid import ATTRIBUTES, VOXELS, BlockGrid
from .saving import write_whole
from .view import MappingError

_VERSION = 1


@dataclass(frozen=True)
class TsdfState:
    """All a volume needs to go on; lengths in metres.

    blocks: (N, 3) int64. values: of each of ATTRIBUTES, (N, VOXELS, channels).
    """

    voxel_size: float
    truncation: float
    views: int
    blocks: Tensor
    values: dict[str, Tensor]

    @classmethod
    def of(cls, grid: BlockGrid, truncation: float, views: int) -> TsdfState:
        """A copy of what is in the grid."""
        blocks, slots = grid.blocks()
        values = {
            name: grid.values(name).unflatten(0, (-1, VOXELS))[slots].cpu() for name in ATTRIBUTES
        }
        return cls(grid.voxel_size, truncation, views, blocks.cpu(), values)

    def fill(self, grid: BlockGrid) -> None:
        """Put it into an empty grid."""
        blocks = self.blocks.to(grid.device)
        grid.add(blocks)
        slots, _ = grid.find(blocks)
        for name, values in self.values.items():
            grid.values(name).unflatten(0, (-1, VOXELS))[slots] = values.to(grid.device)

    def write(self, path: Path) -> None:
        """Raises MappingError if the file could not be written; what was there before is kept."""
        contents: dict[str, Any] = {name: value.numpy() for name, value in self.values.items()}
        contents |= {
            'version': _VERSION,
            'voxel_size': self.voxel_size,
            'truncation': self.truncation,
            'views_fused': self.views,
            'blocks': self.blocks.numpy().astype(np.int32),
        }
        write_whole(path, lambda file: np.savez(file, **contents))

    @classmethod
    def read(cls, path: Path) -> TsdfState:
        """What `write` wrote.

        Raises:
            MappingError: the file is not a whole state of this version.
            OSError: it cannot be read.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                state = {name: file[name] for name in file.files}
            if int(state['version']) != _VERSION:
                raise ValueError(f'version {state["version"]}, expected {_VERSION}')
            blocks = torch.from_numpy(state['blocks']).long()
            values = {name: torch.from_numpy(state[name]) for name in ATTRIBUTES}
            for name, value in values.items():
                if tuple(value.shape) != (len(blocks), VOXELS, ATTRIBUTES[name]):
                    raise ValueError(f'{name} has the shape {tuple(value.shape)}')
            return cls(
                float(state['voxel_size']),
                float(state['truncation']),
                int(state['views_fused']),
                blocks,
                values,
            )
        except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise MappingError(f'{path} is no whole state of a TSDF volume: {error}') from error
