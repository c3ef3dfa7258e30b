"""Fusion of depth into a truncated signed distance field, each pixel weighted by its certainty.

Curless and Levoy, "A Volumetric Method for Building Complex Models from Range Images" (SIGGRAPH
1996), in sparse blocks of voxels (Niessner et al. 2013). A voxel keeps the weighted mean of its
distance to the surface along the viewing ray, cut off at the truncation: positive in front.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .. import geometry
from ..types import Camera
from .block_grid import RESOLUTION, VOXELS, BlockGrid, blocks_around, is_in
from .gating import GateCounts, GatedDepth, Gates, Weighting, gate
from .mesh import Cloud, Mesh, join, read_mesh, write_mesh
from .raycast import cast
from .saving import write_whole
from .view import MappingError, View, check_pose

DEFAULT_MAX_BLOCKS = 100_000
_CHUNK_BLOCKS = 128  # of voxels handled at once: few enough for a CPU's caches
_CHUNK_BLOCKS_CUDA = 16_384
_KEPT_AT_LIMIT = 0.9  # so that not every view at the limit has to make room
_POOL = 16  # pixels of the coarse depth map that finds the blocks in view
_SURE = 3.0  # standard deviations
_MAX_VIEWS = 255
_STATE_VERSION = 1
_ATTRIBUTES = {'tsdf': 1, 'weight': 1, 'color': 3, 'views': 1}
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
        seen = self._see(view)
        dropped, refused = 0, 0
        if seen.gates.used:
            dropped, refused = self._make_room(seen)
        voxels = 0
        chunk = _CHUNK_BLOCKS if self.device.type == 'cpu' else _CHUNK_BLOCKS_CUDA
        for slots in self._in_view(seen).split(chunk) if seen.gates.used else ():
            voxels += self._update(seen, slots)
        self.views += 1
        self.dropped += dropped
        self.refused += refused
        return IntegrationReport(
            seen.gates, voxels, self.num_blocks, self.max_blocks, dropped, refused
        )

    def _see(self, view: View) -> _Seen:
        prediction = view.prediction
        on_device = type(prediction)(
            prediction.depth.to(self.device),
            prediction.std.to(self.device),
            prediction.camera,
            prediction.stamp_ns,
            prediction.frame_id,
        )
        gated = gate(on_device, self.gates)
        weight = self.weighting.of(gated.depth, gated.std, prediction.camera, self.voxel_size)
        return _Seen(
            camera=prediction.camera,
            world_from_camera=view.world_from_camera.to(self.device),
            depth=gated.depth,
            table=_pixel_table(gated, weight),
            colours=view.frame.image.to(self.device).reshape(-1, 3).float(),
            gates=gated.counts,
        )

    def _make_room(self, seen: _Seen) -> tuple[int, int]:
        """Make the blocks around the surface; how many old ones went and new ones were refused."""
        points = geometry.unproject(seen.depth, seen.camera).reshape(-1, 3)
        points = points[points[:, 2].isfinite()].double()
        rotation, centre = seen.world_from_camera[:3, :3], seen.world_from_camera[:3, 3]
        world = points @ rotation.T + centre
        new = self._grid.missing(blocks_around(world, self.truncation, self._grid.block_size))
        old, _ = self._grid.blocks()
        if len(old) + len(new) <= self.max_blocks:
            self._grid.add(new)
            return 0, 0
        both = torch.cat((old, new))
        distance = (self._grid.centres(both) - centre).norm(dim=-1)
        kept = torch.zeros(len(both), dtype=torch.bool, device=self.device)
        kept[distance.topk(max(1, int(_KEPT_AT_LIMIT * self.max_blocks)), largest=False)[1]] = True
        keep_old, keep_new = kept[: len(old)], kept[len(old) :]
        self._drop(old[~keep_old])
        self._grid.add(new[keep_new])
        return int((~keep_old).sum()), int((~keep_new).sum())

    def _in_view(self, seen: _Seen) -> Tensor:
        """(N,) slots of the blocks that the view may say something about."""
        blocks, slots = self._grid.blocks()
        points = seen.to_camera(self._grid.centres(blocks))
        distance = points.norm(dim=-1)
        reach = self._grid.block_size  # more than half a block's diagonal
        furthest, nearest = seen.coarse_distance()
        pixels = geometry.project(points, seen.camera)
        spread = reach * max(seen.camera.fx, seen.camera.fy) / distance.clamp_min(reach)
        size = pixels.new_tensor((seen.camera.width, seen.camera.height))
        inside = ((pixels > -spread[:, None]) & (pixels < size + spread[:, None])).all(-1)
        cell = (pixels / _POOL).nan_to_num(0.0).long()
        rows, columns = furthest.shape
        u, v = cell[:, 0].clamp(0, columns - 1), cell[:, 1].clamp(0, rows - 1)
        # A block that covers more pixels than the coarse map looks around is let pass.
        limit = torch.where(spread < _POOL, furthest[v, u], furthest.max())
        chosen = inside & (distance - reach < limit + self.truncation)
        if not self.carve:
            near = torch.where(spread < _POOL, nearest[v, u], nearest.min())
            chosen &= distance + reach > near - self.truncation
        return slots[chosen | (distance < 2 * reach)]

    def _update(self, seen: _Seen, slots: Tensor) -> int:
        """Fuse the view into the voxels of some slots; how many it could say something about."""
        world, index = self._grid.voxels(slots)
        points = seen.to_camera(world)
        u, v = geometry.project(points, seen.camera).unbind(-1)
        column, row = u.round(), v.round()  # NaN fails the comparisons
        inside = (column >= 0) & (column < seen.camera.width)
        inside &= (row >= 0) & (row < seen.camera.height) & (points[:, 2] > 0)
        chosen = inside.nonzero()[:, 0]
        column, row = column[chosen], row[chosen]
        pixel = (row * seen.camera.width + column).long()
        inverse, slope_u, slope_v, weight, empty = seen.table.index_select(0, pixel).unbind(-1)
        # Between pixel centres depth follows the plane around the pixel.
        inverse = inverse + slope_u * (u[chosen] - column) + slope_v * (v[chosen] - row)
        points = points[chosen]
        sdf = (1 / (inverse * points[:, 2]) - 1) * points.norm(dim=-1)  # along the ray
        sdf /= self.truncation
        # What is further in front than the truncation is surely empty only beyond the noise.
        # Without that, errors towards the surface would count and those away from it not.
        kept = (weight > 0) & (sdf >= -1) & ((sdf <= 1) | (sdf > empty / self.truncation))
        if not self.carve:
            kept &= sdf <= 1
        kept = kept.nonzero()[:, 0]
        self._average(index[chosen[kept]], sdf[kept], weight[kept], seen.colours, pixel[kept])
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
        parts = [read_mesh(part) for part in self.overflow_parts]
        mesh = join([*parts, self.mesh(min_weight=min_weight, min_views=min_views)])
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
        if not len(blocks):
            return
        if self.overflow is not None:
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
        blocks, slots = self._grid.blocks()
        arrays = {
            name: self._grid.values(name).unflatten(0, (-1, VOXELS))[slots].cpu().numpy()
            for name in _ATTRIBUTES
        }

        def write(file: BinaryIO) -> None:
            np.savez(
                file,
                version=_STATE_VERSION,
                voxel_size=self.voxel_size,
                truncation=self.truncation,
                views_fused=self.views,
                blocks=blocks.cpu().numpy().astype(np.int32),
                **arrays,
            )

        write_whole(path, write)

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
        try:
            with np.load(path, allow_pickle=False) as file:
                state = {name: file[name] for name in file.files}
            if int(state['version']) != _STATE_VERSION:
                raise ValueError(f'version {state["version"]}, expected {_STATE_VERSION}')
            blocks = torch.from_numpy(state['blocks']).long()
            values = {name: torch.from_numpy(state[name]) for name in _ATTRIBUTES}
            for name, value in values.items():
                if value.shape != (len(blocks), VOXELS, _ATTRIBUTES[name]):
                    raise ValueError(f'{name} of shape {tuple(value.shape)}')
        except (ValueError, KeyError, zipfile.BadZipFile, EOFError) as error:
            raise MappingError(f'{path} is no saved volume, or is cut short: {error}') from error
        if len(blocks) > max_blocks:
            raise MappingError(
                f'{path} has {len(blocks)} blocks, expected at most {max_blocks}; raise max_blocks'
            )
        volume = cls(
            float(state['voxel_size']),
            truncation=float(state['truncation']),
            device=device,
            weighting=weighting,
            gates=gates,
            max_blocks=max_blocks,
            carve=carve,
            overflow=overflow,
        )
        volume.views = int(state['views_fused'])
        grid = volume._grid
        grid.add(blocks.to(grid.device))
        order, _ = grid.find(blocks.to(grid.device))
        for name, value in values.items():
            grid.values(name).unflatten(0, (-1, VOXELS))[order] = value.to(grid.device)
        return volume


@dataclass(frozen=True)
class _Seen:
    """One view on the device of the map.

    depth: (H, W) metres, NaN where gated. table: (H * W, 5) see _pixel_table. colours: (H * W, 3)
    float, 0 to 255.
    """

    camera: Camera
    world_from_camera: Tensor
    depth: Tensor
    table: Tensor
    colours: Tensor
    gates: GateCounts

    def to_camera(self, points: Tensor) -> Tensor:
        """(N, 3) float32 points of the world in the optical frame."""
        rotation, centre = self.world_from_camera[:3, :3], self.world_from_camera[:3, 3]
        return (points - centre.float()) @ rotation.float()

    def coarse_distance(self) -> tuple[Tensor, Tensor]:
        """Furthest and nearest ray distance around every _POOL-th pixel; 0 and inf where none."""
        ray = geometry.rays(self.camera, device=self.depth.device)
        distance = self.depth / ray[..., 2]
        seen = distance.isfinite()

        def pooled(values: Tensor) -> Tensor:
            cells = F.max_pool2d(values[None], _POOL, ceil_mode=True)
            return F.max_pool2d(cells, 3, 1, 1)[0]

        furthest = pooled(torch.where(seen, distance, 0.0))
        return furthest, -pooled(torch.where(seen, -distance, -torch.inf))


def _pixel_table(gated: GatedDepth, weight: Tensor) -> Tensor:
    """(H * W, 5) of every pixel: inverse depth, its slopes along u and v, weight, and how far in
    front of the surface, in metres, space is surely empty.

    Inverse depth of a plane is linear in the pixels. Slopes are 0 beside pixels without depth.
    """
    inverse = 1 / gated.depth
    slope_u, slope_v = torch.zeros_like(inverse), torch.zeros_like(inverse)
    slope_u[:, 1:-1] = (inverse[:, 2:] - inverse[:, :-2]) / 2
    slope_v[1:-1] = (inverse[2:] - inverse[:-2]) / 2
    slopes = (slope_u.nan_to_num(0.0), slope_v.nan_to_num(0.0))
    return torch.stack((inverse, *slopes, weight, _SURE * gated.std), -1).reshape(-1, 5)


def _tensor(values: Any) -> Tensor:
    return torch.from_numpy(values.cpu().numpy().copy())


def _bytes(colours: Any) -> Tensor:
    return (_tensor(colours) * 255).round().clamp(0, 255).byte()
