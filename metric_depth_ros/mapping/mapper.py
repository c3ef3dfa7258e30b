"""A map that grows frame by frame: surface, Gaussians and trajectory, and the files of them.

The mapping node and `metric-depth fuse` both run this; neither ROS nor files of input are known
here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from .. import rigid
from ..types import Camera, DepthPrediction, Frame
from .block_grid import BYTES_PER_BLOCK
from .gating import Gates, Weighting
from .gaussians import Gaussians
from .mesh import Cloud, Mesh, write_cloud, write_mesh
from .odometry import OdometryConfig, RgbdOdometry
from .rasterizer import Rasterizer, rasterize
from .saving import write_content
from .splat import OptimiseReport, SeedReport, SplatMapper, SplatSettings
from .splat_ply import write_splat_ply
from .trajectory import Trajectory, trajectory_of, tum_text
from .tsdf import DEFAULT_MAX_BLOCKS, IntegrationReport, TsdfVolume, with_parts
from .view import MappingError, View

MESH_FILE, CLOUD_FILE = 'mesh.ply', 'cloud.ply'
TRAJECTORY_FILE, SPLAT_FILE = 'trajectory.txt', 'splat.ply'


@dataclass(frozen=True)
class MapSettings:
    """What a map is made with.

    voxel_size: metres. truncation: metres either side of a surface; None for four voxels.
    max_blocks: of voxels; at this many the ones farthest from the camera go, see `TsdfVolume`.
    overflow: folder for the surface of those that went; None to forget it.
    min_views: the surface is where so many views saw it.
    splat: None for no Gaussians; its gates are replaced by `gates`.
    key_metres, key_degrees: a view becomes a key frame of the Gaussians once the camera has moved
        or turned so far since the last one.
    odometry: for frames that come without a pose. track_map: correct it to the map so far, which
        keeps drift from adding up and costs a rendering of the map a frame.
    max_poses: of the trajectory; at this many every second one is forgotten.

    Raises:
        MappingError: a number out of range, here or where it is used.
    """

    voxel_size: float = 0.02
    truncation: float | None = None
    max_blocks: int = DEFAULT_MAX_BLOCKS
    overflow: Path | None = None
    gates: Gates = field(default_factory=Gates)
    weighting: Weighting = field(default_factory=Weighting)
    min_views: int = 1
    splat: SplatSettings | None = field(default_factory=SplatSettings)
    key_metres: float = 0.2
    key_degrees: float = 15.0
    odometry: OdometryConfig = field(default_factory=OdometryConfig)
    track_map: bool = True
    max_poses: int = 1_000_000

    def __post_init__(self) -> None:
        for name in ('key_metres', 'key_degrees'):
            if not getattr(self, name) >= 0:
                raise MappingError(f'{name} is {getattr(self, name)}, expected 0 or more')
        if self.max_poses < 2:
            raise MappingError(f'max_poses is {self.max_poses}, expected at least 2')


@dataclass(frozen=True)
class Added:
    """What became of one frame.

    world_from_camera: (4, 4) float64 where it was put; where the camera was last if it was not.
    why: one line, why the map learnt nothing from it; empty where it did.
    fused: None where there was no pose. seeded: None unless it became a key frame.
    """

    world_from_camera: Tensor
    why: str = ''
    fused: IntegrationReport | None = None
    seeded: SeedReport | None = None


@dataclass(frozen=True)
class MapStats:
    """A map in numbers.

    frames: fused. lost: without a pose, odometry not knowing where. useless: without one usable
    pixel. blocks of max_blocks, in voxel_bytes. dropped, refused: blocks at that limit.
    key_frames, gaussians: of the splat; refused_gaussians: there was no room for. path_m: metres
    travelled.
    """

    frames: int
    lost: int
    useless: int
    blocks: int
    max_blocks: int
    voxel_bytes: int
    dropped: int
    refused: int
    key_frames: int
    gaussians: int
    refused_gaussians: int
    path_m: float


@dataclass(frozen=True)
class Snapshot:
    """A map as it was at one moment, to be written while the map itself grows on.

    overflow_parts: files of the surface that the limit of blocks has moved out of memory.
    gaussians: None where there are none.
    """

    trajectory: Trajectory
    mesh: Mesh
    cloud: Cloud
    overflow_parts: tuple[Path, ...]
    gaussians: Gaussians | None

    def write(self, folder: Path) -> tuple[Path, ...]:
        """Write trajectory, mesh, cloud and Gaussians; the files, each whole or as it was before.

        Raises:
            MappingError: a file could not be written.
        """
        paths = [folder / TRAJECTORY_FILE, folder / MESH_FILE, folder / CLOUD_FILE]
        write_content(paths[0], tum_text(self.trajectory).encode())
        write_mesh(paths[1], with_parts(self.mesh, self.overflow_parts))
        write_cloud(paths[2], self.cloud)
        if self.gaussians is not None:
            paths.append(folder / SPLAT_FILE)
            write_splat_ply(paths[-1], self.gaussians)
        return tuple(paths)


class Mapper:
    """Frames with depth in, with their poses or without; a map out. Not thread-safe.

    Args:
        device: of voxels and Gaussians, 'cpu' or 'cuda'.
        seed: of every random choice; same frames and seed, same map.

    Raises:
        MappingError: a setting out of range, Open3D is not installed or lacks the device.
    """

    def __init__(
        self,
        settings: MapSettings | None = None,
        *,
        device: torch.device | str = 'cpu',
        seed: int = 0,
    ) -> None:
        self.settings = chosen = settings or MapSettings()
        self.volume = TsdfVolume(
            chosen.voxel_size,
            truncation=chosen.truncation,
            device=device,
            weighting=chosen.weighting,
            gates=chosen.gates,
            max_blocks=chosen.max_blocks,
            overflow=chosen.overflow,
        )
        self.splat: SplatMapper | None = None
        if chosen.splat is not None:
            splat = replace(chosen.splat, gates=chosen.gates)
            self.splat = SplatMapper(
                splat, device=device, rasterizer=_rasterizer_for(device), seed=seed
            )
        model = self._depth_of_map if chosen.track_map else None
        self._odometry = RgbdOdometry(chosen.odometry, model=model)
        self._poses: list[tuple[int, Tensor]] = []
        self._key_pose: Tensor | None = None
        self._fused = self._lost = self._useless = self._refused_gaussians = 0
        self._path_m = 0.0

    def add(
        self,
        frame: Frame,
        prediction: DepthPrediction,
        world_from_camera: Tensor | None = None,
        *,
        held_out: bool = False,
    ) -> Added:
        """Fuse one frame at a pose (4, 4) float64; without one, where odometry says it is.

        Args:
            held_out: it becomes no key frame, so that the Gaussians may be judged by it.

        Raises:
            MappingError: the pose is no rigid motion, depth is of another camera, or what the
                limit of blocks drops cannot be written. The map so far is kept.
        """
        if world_from_camera is None:
            tracked = self._odometry.track(frame, prediction)
            if not tracked.ok:
                self._lost += 1
                return Added(tracked.world_from_camera, f'odometry is lost: {tracked.why}')
            world_from_camera = tracked.world_from_camera
        view = View(frame, prediction, world_from_camera)
        fused = self.volume.integrate(view)
        self._remember(frame.stamp_ns, world_from_camera)
        if not fused.gates.used:
            self._useless += 1
            return Added(world_from_camera, f'no depth to fuse: {fused}', fused)
        self._fused += 1
        seeded = None if held_out else self._seed(view)
        return Added(world_from_camera, fused=fused, seeded=seeded)

    def start_at(self, world_from_camera: Tensor) -> None:
        """Put the first frame that comes without a pose here (4, 4) float64, not at the origin.

        Raises:
            MappingError: the pose is no rigid motion.
        """
        self._odometry.restart(world_from_camera)

    def refine(self, steps: int) -> OptimiseReport | None:
        """Fit the Gaussians to their key frames for some steps; None where there are none."""
        if self.splat is None or not self.splat.key_frames:
            return None
        return self.splat.optimise(steps)

    def finish(
        self, steps: int, *, show: Callable[[int, int], None] | None = None
    ) -> OptimiseReport | None:
        """`refine` for the last time: the steps become smaller and smaller."""
        if self.splat is None or not self.splat.key_frames:
            return None
        return self.splat.optimise(steps, final=True, show=show)

    def mesh(self) -> Mesh:
        """The surface so far, without what the limit of blocks has dropped."""
        return self.volume.mesh(min_views=self.settings.min_views)

    def cloud(self) -> Cloud:
        """The surface so far as points, likewise."""
        return self.volume.cloud(min_views=self.settings.min_views)

    def trajectory(self) -> Trajectory:
        """Where the camera was at every frame that had a pose."""
        return trajectory_of(self._poses)

    @property
    def stats(self) -> MapStats:
        """The map in numbers."""
        volume, splat = self.volume, self.splat
        return MapStats(
            frames=self._fused,
            lost=self._lost,
            useless=self._useless,
            blocks=volume.num_blocks,
            max_blocks=volume.max_blocks,
            voxel_bytes=volume.num_blocks * BYTES_PER_BLOCK,
            dropped=volume.dropped,
            refused=volume.refused,
            key_frames=len(splat.key_frames) if splat else 0,
            gaussians=len(splat.gaussians) if splat else 0,
            refused_gaussians=self._refused_gaussians,
            path_m=self._path_m,
        )

    def save(self, folder: Path) -> tuple[Path, ...]:
        """Write all files at once; see `Snapshot.write`.

        Raises:
            MappingError: a file could not be written; the map is kept in memory.
        """
        return self.snapshot().write(folder)

    def snapshot(self) -> Snapshot:
        """All that `save` writes, as it is now, whatever happens to the map later."""
        gaussians = None
        if self.splat is not None and len(self.splat.gaussians):
            gaussians = self.splat.gaussians.copy()
        parts = tuple(self.volume.overflow_parts)
        return Snapshot(self.trajectory(), self.mesh(), self.cloud(), parts, gaussians)

    def _depth_of_map(self, camera: Camera, world_from_camera: Tensor) -> Tensor:
        return self.volume.render(camera, world_from_camera)

    def _remember(self, stamp_ns: int, pose: Tensor) -> None:
        if self._poses:
            self._path_m += float((pose[:3, 3] - self._poses[-1][1][:3, 3]).norm())
        self._poses.append((stamp_ns, pose))
        if len(self._poses) > self.settings.max_poses:
            del self._poses[1:-1:2]

    def _seed(self, view: View) -> SeedReport | None:
        if self.splat is None or not self._moved_on(view.world_from_camera):
            return None
        self._key_pose = view.world_from_camera
        report = self.splat.add(view)
        self._refused_gaussians += report.refused
        return report

    def _moved_on(self, pose: Tensor) -> bool:
        if self._key_pose is None:
            return True
        step = rigid.inverse(self._key_pose) @ pose
        settings = self.settings
        far = rigid.distance(step) >= settings.key_metres
        return far or math.degrees(rigid.angle(step)) >= settings.key_degrees


def _rasterizer_for(device: torch.device | str) -> Rasterizer:
    """gsplat's on CUDA where it is installed; else the one of plain torch."""
    if torch.device(device).type == 'cuda' and find_spec('gsplat') is not None:
        from . import gsplat_rasterizer

        return gsplat_rasterizer.rasterize
    return rasterize


def map_device(name: str) -> torch.device:
    """Where a map is made: of 'auto', CUDA where PyTorch and Open3D both know one.

    Raises:
        MappingError: there is no such device.
    """
    if name != 'auto':
        try:
            return torch.device(name)
        except RuntimeError:
            raise MappingError(f'device is {name!r}, expected auto, cpu, cuda or cuda:N') from None
    if torch.cuda.is_available():
        import open3d

        if open3d.core.cuda.is_available():
            return torch.device('cuda')
    return torch.device('cpu')
