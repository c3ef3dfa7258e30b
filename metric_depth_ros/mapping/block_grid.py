"""Open3D's VoxelBlockGrid as torch tensors, with a limit: blocks of 8^3 voxels, made on demand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from .view import MappingError

RESOLUTION = 8  # voxels along the edge of a block
VOXELS = RESOLUTION**3
# What a voxel has, and how many numbers of it; 4 bytes each, the count of views 1 byte.
ATTRIBUTES = {'tsdf': 1, 'weight': 1, 'color': 3, 'views': 1}
BYTES_PER_BLOCK = VOXELS * (5 * 4 + 1)
_FIRST_CAPACITY = 4096
_KEY_BITS = 21  # of a block's coordinate along one axis, so that three fit into an int64
_KEY_OFFSET = 1 << (_KEY_BITS - 1)


class BlockGrid:
    """Blocks of voxels wherever one was asked for, at most `max_blocks`, on the CPU or on CUDA.

    Block (i, j, k) spans [i, i + 1) x ... times RESOLUTION * voxel_size metres of the world.
    Values live in slots that move when the grid grows: ask for them anew after `add`.

    Raises:
        MappingError: voxel_size or max_blocks is not positive, Open3D is not installed, or it
            knows no such device.
    """

    def __init__(self, voxel_size: float, max_blocks: int, device: torch.device | str) -> None:
        if not 0 < voxel_size < float('inf'):
            raise MappingError(f'voxel_size is {voxel_size}, expected a positive length in metres')
        if max_blocks < 1:
            raise MappingError(f'max_blocks is {max_blocks}, expected at least 1')
        self.voxel_size, self.max_blocks = voxel_size, max_blocks
        self.device = torch.device(device)
        self._open3d = _open3d()
        self._grid = self._make(min(_FIRST_CAPACITY, max_blocks))

    def _make(self, capacity: int) -> Any:
        core = self._open3d.core
        name = f'{self.device.type.upper()}:{self.device.index or 0}'
        try:
            return self._open3d.t.geometry.VoxelBlockGrid(
                tuple(ATTRIBUTES),
                (core.float32, core.float32, core.float32, core.uint8),
                tuple(ATTRIBUTES.values()),
                voxel_size=self.voxel_size,
                block_resolution=RESOLUTION,
                block_count=capacity,
                device=core.Device(name),
            )
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise MappingError(
                f'Open3D makes no voxels on {name}, expected a device it was built for: {reason}'
            ) from error

    @property
    def block_size(self) -> float:
        """Metres along the edge of a block."""
        return RESOLUTION * self.voxel_size

    def __len__(self) -> int:
        return int(self._grid.hashmap().size())

    def blocks(self) -> tuple[Tensor, Tensor]:
        """(N, 3) int64 coordinates of all blocks and their slots (N,) int64."""
        table = self._grid.hashmap()
        slots = self._torch(table.active_buf_indices()).long()
        return self._torch(table.key_tensor())[slots].long(), slots

    def missing(self, blocks: Tensor) -> Tensor:
        """Those of blocks (N, 3) that are not there."""
        return blocks[~self.find(blocks)[1]]

    def find(self, blocks: Tensor) -> tuple[Tensor, Tensor]:
        """(N,) int64 slots of blocks (N, 3), and (N,) bool which are there; else a slot is 0."""
        if not len(blocks):
            return blocks.new_zeros(0), torch.zeros(0, dtype=torch.bool, device=self.device)
        slots, there = self._grid.hashmap().find(self._keys(blocks))
        found = self._torch(there)
        return torch.where(found, self._torch(slots).long(), 0), found

    def add(self, blocks: Tensor) -> None:
        """Make blocks (N, 3) that are not there yet, all zero."""
        needed = len(self) + len(blocks)
        if needed > self.max_blocks:
            raise MappingError(f'{needed} blocks, expected at most {self.max_blocks}')
        if needed > self._grid.hashmap().capacity():
            self._grow(needed)
        slots = self._activate(blocks)
        for value in self._slot_values():
            value[slots] = 0  # the slot may have been another block's

    def _activate(self, blocks: Tensor) -> Tensor:
        slots, _ = self._grid.hashmap().activate(self._keys(blocks))
        return self._torch(slots).long()

    def _slot_values(self) -> list[Tensor]:
        return [self._torch(value) for value in self._grid.hashmap().value_tensors()]

    def _grow(self, needed: int) -> None:
        """Move to a grid of twice the slots: the hash map's own way to grow takes ten times it."""
        blocks, slots = self.blocks()
        old = self._slot_values()
        self._grid = self._make(min(self.max_blocks, max(needed, 2 * len(old[0]))))
        moved = self._activate(blocks)
        for into, values in zip(self._slot_values(), old, strict=True):
            into[moved] = values[slots]

    def remove(self, blocks: Tensor) -> None:
        if len(blocks):  # Open3D refuses none
            self._grid.hashmap().erase(self._keys(blocks))

    def centres(self, blocks: Tensor) -> Tensor:
        """(N, 3) float32 middles of blocks (N, 3), metres in the world."""
        return ((blocks.double() + 0.5) * self.block_size).float()

    def voxels(self, slots: Tensor) -> tuple[Tensor, Tensor]:
        """(N * VOXELS, 3) float32 places of the voxels of slots (N,), and their flat indices."""
        tensor = self._from_torch(slots.int())
        points, index = self._grid.voxel_coordinates_and_flattened_indices(tensor)
        return self._torch(points), self._torch(index)

    def values(self, name: str) -> Tensor:
        """(capacity * VOXELS, C) of 'tsdf', 'weight', 'color' or 'views'; write into it."""
        value = self._torch(self._grid.attribute(name))
        return value.reshape(-1, value.shape[-1])

    @contextmanager
    def showing(self, min_weight: float, min_views: int) -> Iterator[Any]:
        """Open3D's grid with only the voxels of more than min_weight, seen min_views times.

        Meant for its extractions with weight_threshold=0: the others' weights are negative for so
        long, which costs no memory.
        """
        weight, views = self.values('weight'), self.values('views')
        hidden = (weight <= min_weight) | (views < min_views)
        weight[hidden] *= -1
        try:
            yield self._grid
        finally:
            weight.abs_()

    def _keys(self, blocks: Tensor) -> Any:
        return self._from_torch(blocks.int())

    def _torch(self, tensor: Any) -> Tensor:
        if tensor.num_elements() == 0:  # DLPack of nothing has no address
            return torch.empty(tuple(tensor.shape), dtype=torch.int64, device=self.device)
        return torch.utils.dlpack.from_dlpack(tensor.to_dlpack())

    def _from_torch(self, tensor: Tensor) -> Any:
        return self._open3d.core.Tensor.from_dlpack(tensor.contiguous().__dlpack__())


def blocks_around(points: Tensor, margin: float, block_size: float) -> Tensor:
    """(N, 3) int64 coordinates of all blocks within `margin` of points (M, 3), axis by axis.

    Points and margin are in metres. Points are first sorted into cells of half a block, which
    are far fewer.

    Raises:
        MappingError: a point is too far from the origin to be counted in blocks.
    """
    cell = block_size / 2
    furthest = float(points.abs().max()) if len(points) else 0.0
    if furthest + margin > cell * (_KEY_OFFSET - 4):
        raise MappingError(
            f'a point lies {furthest:.3g} m from the origin of the world, expected at most '
            f'{cell * (_KEY_OFFSET - 4):.3g} m with these voxels'
        )
    cells = _unique((points / cell).floor().long())
    reach = int(-(-margin // cell))
    steps = torch.arange(-reach, reach + 1, device=points.device)
    near = torch.cartesian_prod(steps, steps, steps)
    return _unique((cells[:, None] + near).reshape(-1, 3).div(2, rounding_mode='floor'))


def is_in(blocks: Tensor, others: Tensor) -> Tensor:
    """(N,) bool: which of blocks (N, 3) are among others (M, 3)."""
    return torch.isin(_code(blocks), _code(others))


def _code(cells: Tensor) -> Tensor:
    """(N,) int64: each row of (N, 3) as one number, which sorts much faster."""
    shifted = cells + _KEY_OFFSET
    return (shifted[:, 0] << 2 * _KEY_BITS) | (shifted[:, 1] << _KEY_BITS) | shifted[:, 2]


def _unique(cells: Tensor) -> Tensor:
    """The distinct rows of (N, 3) int64."""
    code = torch.unique(_code(cells))
    mask = (1 << _KEY_BITS) - 1
    rows = torch.stack((code >> 2 * _KEY_BITS, code >> _KEY_BITS & mask, code & mask), -1)
    return rows - _KEY_OFFSET


def _open3d() -> Any:
    try:
        import open3d
    except ImportError as error:
        raise MappingError(
            'fusion needs Open3D, which is not installed: pip install "metric_depth_ros[mapping]"'
        ) from error
    return open3d
