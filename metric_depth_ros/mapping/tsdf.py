"""Fusion of depth into a truncated signed distance field, each pixel weighted by its certainty.

Curless and Levoy, "A Volumetric Method for Building Complex Models from Range Images" (SIGGRAPH
1996), in sparse blocks of voxels (Niessner et al. 2013). A voxel keeps the weighted mean of its
distance to the surface along the viewing ray, cut off at the truncation: positive in front.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..types import Camera
from .block_grid import RESOLUTION, BlockGrid, blocks_around, is_in
from .gating import GateCounts, Gates, Weighting
from .mesh import Cloud, Mesh, join, read_mesh, write_mesh
from .observation import Observation
from .raycast import cast
from .tsdf_state import TsdfState
from .view import MappingError, View, check_pose

DEFAULT_MAX_BLOCKS = 100_000
_CHUNK_BLOCKS = 128  # of voxels handled at once: few enough for a CPU's caches
_CHUNK_BLOCKS_CUDA = 16_384
_KEPT_AT_LIMIT = 0.9  # so that not every view at the limit has to make room
_MAX_VIEWS = 255
_PARTS = 'surface-*.ply'
_FURTHEST_CAST = 100.0  # metres


@dataclass(frozen=True)
class IntegrationReport:
    """What one view did to the map.

    gates: what happened to its pixels. voxels: how many were updated. blocks: how many the map
    has now, of at most max_blocks. At that limit the nearest to the camera stay: dropped blocks
    were forgotten (their surface is in the overflow folder if there is one), refused ones were
    not made.
    """

    gates: GateCounts
    voxels: int
    blocks: int
    max_blocks: int
    dropped: int = 0
    refused: int = 0

    def __str__(self) -> str:
        gates = self.gates
        text = (
            f'{gates.used} of {gates.pixels} pixels used (no depth {gates.no_depth}, range '
            f'{gates.range}, std {gates.std}, edges {gates.edges}), {self.blocks} blocks'
        )
        if self.dropped or self.refused:
            text += (
                f'; at the limit of {self.max_blocks} blocks: {self.dropped} far ones dropped, '
                f'{self.refused} new ones refused'
            )
        return text


class TsdfVolume:
    """A map that views are fused into, in blocks of 8^3 voxels where a surface was seen.

    Memory is bounded by max_blocks * BYTES_PER_BLOCK (10.5 kB), and half as much again while it
    grows. At the limit the blocks farthest from the camera go, as nvblox does beyond its clearing
    radius: they are counted, and their surface is first written to `overflow` if that is given.
    Not thread-safe.

    Args:
        voxel_size: metres. truncation: metres either side of a surface that are mapped; None for
            four voxels. It should exceed the usual error of the depth.
        device: 'cpu' or 'cuda', where Open3D was built for it.
        carve: let a view empty the space in front of what it sees in blocks that are there
            already, so that things that left and points that were wrong vanish.
        overflow: folder for the surface of dropped blocks, one PLY file each time.

    Raises:
        MappingError: a length or count is not positive, Open3D is not installed or lacks the
            device.
    """

    def __init__(
        self,
        voxel_size: float,
        *,
        truncation: float | None = None,
        device: torch.device | str = 'cpu',
        weighting: Weighting | None = None,
        gates: Gates | None = None,
        max_blocks: int = DEFAULT_MAX_BLOCKS,
        carve: bool = True,
        overflow: Path | None = None,
    ) -> None:
        self._grid = BlockGrid(voxel_size, max_blocks, device)
        self.truncation = 4 * voxel_size if truncation is None else truncation
        if not voxel_size <= self.truncation < float('inf'):
            raise MappingError(
                f'truncation is {self.truncation} m, expected at least a voxel, {voxel_size} m'
            )
        self.weighting = weighting or Weighting()
        self.gates = gates or Gates()
        self.carve = carve
        self.overflow = overflow
        self.overflow_parts: list[Path] = []
        if overflow is not None and any(overflow.glob(_PARTS)):
            raise MappingError(f'{overflow} has the surface of another map, expected it empty')
        self.views = 0
        self.dropped = 0
        self.refused = 0

    @property
    def voxel_size(self) -> float:
        """Metres."""
        return self._grid.voxel_size

    @property
    def max_blocks(self) -> int:
        """The most blocks there may be."""
        return self._grid.max_blocks

    @property
    def device(self) -> torch.device:
        """Where the voxels are."""
        return self._grid.device

    @property
    def num_blocks(self) -> int:
        """Blocks there are now, of BYTES_PER_BLOCK bytes each."""
        return len(self._grid)

    # --- integration --------------------------------------------------------------------------

    @torch.no_grad()
    def integrate(self, view: View) -> IntegrationReport:
        """Fuse one view. A view without a usable pixel changes nothing, and the report says why.

        Raises:
            MappingError: the pose is so far off that blocks cannot be counted.
        """
        seen = Observation.of(view, self.gates, self.weighting, self.voxel_size, self.device)
        dropped = refused = voxels = 0
        if seen.counts.used:
            dropped, refused = self._make_room(seen)
            chunk = _CHUNK_BLOCKS if self.device.type == 'cpu' else _CHUNK_BLOCKS_CUDA
            voxels = sum(self._update(seen, some) for some in self._in_view(seen).split(chunk))
        self.views += 1
        self.dropped += dropped
        self.refused += refused
        return IntegrationReport(
            seen.counts, voxels, self.num_blocks, self.max_blocks, dropped, refused
        )

    def _make_room(self, seen: Observation) -> tuple[int, int]:
        """Make the blocks around the surface; how many old ones went and new ones were refused."""
        grid = self._grid
        new = grid.missing(blocks_around(seen.surface(), self.truncation, grid.block_size))
        old, _ = grid.blocks()
        if len(old) + len(new) <= self.max_blocks:
            grid.add(new)
            return 0, 0
        distance = (grid.centres(torch.cat((old, new))) - seen.centre).norm(dim=-1)
        count = max(1, int(_KEPT_AT_LIMIT * self.max_blocks))
        kept = torch.zeros_like(distance, dtype=torch.bool)
        kept[distance.topk(count, largest=False).indices] = True
        keep_old, keep_new = kept.split((len(old), len(new)))
        self._drop(old[~keep_old])
        grid.add(new[keep_new])
        return int((~keep_old).sum()), int((~keep_new).sum())

    def _in_view(self, seen: Observation) -> Tensor:
        """(N,) slots of the blocks that the view may say something about."""
        blocks, slots = self._grid.blocks()
        centres, size = self._grid.centres(blocks), self._grid.block_size
        # A block's size is more than half its diagonal.
        return slots[seen.may_see(centres, size, self.truncation, empty=self.carve)]

    def _update(self, seen: Observation, slots: Tensor) -> int:
        """Fuse the view into the voxels of some slots; how many it could say something about."""
        points, voxel = self._grid.voxels(slots)
        found = seen.sdf(points)
        sdf = found.distance / self.truncation
        # What is further in front than the truncation is surely empty only beyond the noise.
        # Without that, errors towards the surface would count and those away from it not.
        kept = (sdf <= 1) | (found.distance > found.empty) if self.carve else sdf <= 1
        kept = (kept & (sdf >= -1) & (found.weight > 0)).nonzero()[:, 0]
        self._average(
            voxel[found.index[kept]],
            sdf[kept],
            found.weight[kept],
            seen.colours,
            found.pixel[kept],
        )
        return len(kept)

    def _average(
        self, index: Tensor, sdf: Tensor, weight: Tensor, colours: Tensor, pixel: Tensor
    ) -> None:
        """Running weighted means at voxels index (N,).

        Args:
            sdf: (N,) in truncations. weight: (N,). colours: (H * W, 3). pixel: (N,), of colours.
        """
        grid = self._grid
        tsdf, total, views = (grid.values(name)[:, 0] for name in ('tsdf', 'weight', 'views'))
        before = total[index]
        share = weight / (before + weight)
        tsdf[index] = torch.lerp(tsdf[index], sdf.clamp(max=1.0), share)
        total[index] = (before + weight).clamp(max=self.weighting.max_total)

        surface = (sdf <= 1).nonzero()[:, 0]  # empty space has no colour
        index, share = index[surface], share[surface]
        count = views[index]
        share = torch.where(count == 0, 1.0, share)[:, None]
        mean = grid.values('color')
        mean[index] = torch.lerp(mean[index], colours[pixel[surface]], share)
        views[index] = count + (count < _MAX_VIEWS)

    # --- what comes out -----------------------------------------------------------------------

    @torch.no_grad()
    def mesh(self, *, min_weight: float = 0.0, min_views: int = 1) -> Mesh:
        """The surface by marching cubes, on the CPU.

        Args:
            min_weight: only voxels of more than this weight; 1 is one view from the front whose
                std is at most the weighting's min_std.
            min_views: only voxels that so many views saw near a surface, at most 255.
        """
        if not self.num_blocks:
            return Mesh.empty()
        with self._grid.showing(min_weight, min_views) as grid:
            mesh = grid.extract_triangle_mesh(weight_threshold=0.0)
        if 'positions' not in mesh.vertex or not mesh.vertex.positions.shape[0]:
            return Mesh.empty()
        vertex = mesh.vertex
        return Mesh(
            _tensor(vertex.positions),
            _tensor(mesh.triangle.indices).long(),
            _tensor(vertex.normals),
            _bytes(vertex.colors),
        )

    @torch.no_grad()
    def cloud(self, *, min_weight: float = 0.0, min_views: int = 1) -> Cloud:
        """The surface as points, where it crosses the edges between voxels; see `mesh`."""
        nothing = Mesh.empty()
        if not self.num_blocks:
            return Cloud(nothing.vertices, nothing.normals, nothing.colours)
        with self._grid.showing(min_weight, min_views) as grid:
            points = grid.extract_point_cloud(weight_threshold=0.0).point
        if 'positions' not in points or not points.positions.shape[0]:
            return Cloud(nothing.vertices, nothing.normals, nothing.colours)
        return Cloud(_tensor(points.positions), _tensor(points.normals), _bytes(points.colors))

    def save_mesh(self, path: Path, *, min_weight: float = 0.0, min_views: int = 1) -> Mesh:
        """Write the surface as PLY, that of dropped blocks in the overflow folder included.

        Raises:
            MappingError: the file could not be written; what was there before is kept.
        """
        mesh = self.mesh(min_weight=min_weight, min_views=min_views)
        mesh = with_parts(mesh, self.overflow_parts)
        write_mesh(path, mesh)
        return mesh

    @torch.no_grad()
    def render(
        self,
        camera: Camera,
        world_from_camera: Tensor,
        *,
        min_weight: float = 0.0,
        min_views: int = 1,
    ) -> Tensor:
        """(H, W) float32 depth of the surface as a camera would see it; NaN where there is none.

        From the gates' min_depth to their max_depth. NaN too where the lens has no ray.

        Raises:
            MappingError: the pose is no rigid motion.
        """
        check_pose(world_from_camera)
        near, far = self.gates.min_depth, min(self.gates.max_depth, _FURTHEST_CAST)
        with self._grid.showing(min_weight, min_views):
            return cast(self._grid, camera, world_from_camera, near, far, self.truncation).cpu()

    # --- memory and disk ----------------------------------------------------------------------

    def _drop(self, blocks: Tensor) -> None:
        """Forget blocks (N, 3); write their surface to the overflow folder if there is one."""
        if self.overflow is not None and len(blocks):
            mesh = self.mesh()
            # Every cell with a corner in those blocks: none of these can be built any more.
            cell = (mesh.vertices[mesh.triangles].mean(1) / self.voxel_size).floor().long()
            steps = torch.tensor((0, 1))
            lost = torch.zeros(len(cell), dtype=torch.bool)
            for step in torch.cartesian_prod(steps, steps, steps):
                corner = (cell + step).div(RESOLUTION, rounding_mode='floor')
                lost |= is_in(corner, blocks.cpu())
            part = self.overflow / f'surface-{len(self.overflow_parts):05d}.ply'
            write_mesh(part, mesh.select(lost))
            self.overflow_parts.append(part)
        self._grid.remove(blocks)

    def save(self, path: Path) -> None:
        """Write the whole state as .npz, for `load`; weighting and gates are the caller's to keep.

        Raises:
            MappingError: the file could not be written; what was there before is kept.
        """
        TsdfState.of(self._grid, self.truncation, self.views).write(path)

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        device: torch.device | str = 'cpu',
        weighting: Weighting | None = None,
        gates: Gates | None = None,
        max_blocks: int = DEFAULT_MAX_BLOCKS,
        carve: bool = True,
        overflow: Path | None = None,
    ) -> TsdfVolume:
        """The volume that `save` wrote, to go on with.

        Raises:
            MappingError: the file is not a whole state of a volume, or has more than max_blocks.
        """
        state = TsdfState.read(path)
        if len(state.blocks) > max_blocks:
            raise MappingError(
                f'{path} has {len(state.blocks)} blocks, expected at most max_blocks, {max_blocks}'
            )
        volume = cls(
            state.voxel_size,
            truncation=state.truncation,
            device=device,
            weighting=weighting,
            gates=gates,
            max_blocks=max_blocks,
            carve=carve,
        )
        volume.views = state.views
        volume.overflow = overflow
        volume.overflow_parts = sorted(overflow.glob(_PARTS)) if overflow else []
        state.fill(volume._grid)
        return volume


def with_parts(mesh: Mesh, overflow_parts: Iterable[Path]) -> Mesh:
    """A surface and what the limit of blocks has moved to files, which need no grid any more."""
    return join([*(read_mesh(part) for part in overflow_parts), mesh])


def _tensor(values: Any) -> Tensor:
    return torch.from_numpy(values.cpu().numpy().copy())


def _bytes(colours: Any) -> Tensor:
    return (_tensor(colours) * 255).round().clamp(0, 255).byte()
