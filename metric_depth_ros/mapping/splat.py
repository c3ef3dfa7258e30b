"""A map of Gaussians that grows with the key frames of a moving camera (Kerbl et al. 2023).

Depth says where Gaussians begin, and holds them there: its squared error counts 1 / std^2, as
the negative logarithm of its likelihood says.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .. import geometry
from ..types import Camera
from .densify import Density, Pull, densify, worth_keeping
from .gating import GateCounts, Gates
from .gaussians import Gaussians
from .image_scores import ssim
from .key_frame import KeyFrame, key_frame
from .rasterizer import Rasterizer, Rendering, rasterize
from .splat_optimiser import GaussianAdam, LearningRates
from .view import MappingError, View, check_pose

SEED_OPACITY = 0.7
COVERED = 0.5  # alpha from which a pixel counts as covered by the map
SIGMAS = 3.0  # how many standard deviations still agree; errors beyond count linearly


@dataclass(frozen=True)
class SplatSettings:
    """What a map of Gaussians is made with.

    max_pixels: larger views are reduced to about this many.
    max_gaussians: at this number nothing is added until some are pruned; see `SplatMapper`.
    max_key_frames: beyond it the one most like another is forgotten.
    seed_stride: pixels between two Gaussians seeded from one view. seed_relative_std: standard
        deviation over depth up to which a pixel seeds one; less certain ones supervise, and fill
        what is uncovered at the end.
    gates: depth that is trusted at all. min_std: metres; std below it counts as this.
    depth_weight: of the depth term beside the colour term; 0 for colour alone.
    ssim_weight: share of 1 - SSIM in the colour term, the rest is the absolute difference
        (Kerbl et al. 2023, Eq. 7).
    rates: of Adam. density: when Gaussians are added and removed.

    Raises:
        MappingError: a number out of range.
    """

    max_pixels: int = 160 * 120
    max_gaussians: int = 50_000
    max_key_frames: int = 100
    seed_stride: int = 2
    seed_relative_std: float = 0.1
    gates: Gates = field(default_factory=Gates)
    min_std: float = 0.005
    depth_weight: float = 0.003
    ssim_weight: float = 0.2
    rates: LearningRates = field(default_factory=LearningRates)
    density: Density = field(default_factory=Density)

    def __post_init__(self) -> None:
        for name in (
            'max_pixels',
            'max_gaussians',
            'max_key_frames',
            'seed_stride',
            'seed_relative_std',
            'min_std',
        ):
            if not getattr(self, name) > 0:
                raise MappingError(
                    f'splat {name} is {getattr(self, name)}, expected a positive number'
                )
        if self.depth_weight < 0 or not 0 <= self.ssim_weight <= 1:
            raise MappingError(
                f'splat depth_weight is {self.depth_weight} and ssim_weight {self.ssim_weight}, '
                'expected 0 or more, and from 0 to 1'
            )


@dataclass(frozen=True)
class SeedReport:
    """What became of one view.

    counts: pixels by what their gates said. explained: pixels sure enough to seed a Gaussian that
        the map has already.
    seeded: Gaussians added. refused: Gaussians that max_gaussians left no room for.
    forgot: the key frames were full, and the most redundant one was dropped.
    """

    counts: GateCounts
    explained: int
    seeded: int
    refused: int
    forgot: bool


@dataclass(frozen=True)
class OptimiseReport:
    """steps taken, mean loss over them (NaN if none), Gaussians added and removed, and left."""

    steps: int
    loss: float
    added: int
    removed: int
    gaussians: int


class SplatMapper:
    """Views in, Gaussians out; the views' poses are taken as they are.

    The number of Gaussians is bounded: a view that wants more than there is room for seeds a
    random part of them, none at max_gaussians, and what was refused is reported; it is a key
    frame all the same. Densifying serves those in most need, then stops. Room returns when pruning
    removes some. Key frames are bounded too.

    Args:
        rasterizer: draws the Gaussians; `gsplat_rasterizer.rasterize` on CUDA devices.
        seed: of every random choice; same views and seed, same map.
    """

    def __init__(
        self,
        settings: SplatSettings | None = None,
        *,
        device: torch.device | str = 'cpu',
        rasterizer: Rasterizer = rasterize,
        seed: int = 0,
    ) -> None:
        self.settings = settings or SplatSettings()
        self.device = torch.device(device)
        self.key_frames: list[KeyFrame] = []
        self._rasterizer = rasterizer
        self._generator = torch.Generator().manual_seed(seed)
        self._adam = GaussianAdam(Gaussians.empty(device=device), self.settings.rates)
        self._pull = Pull(0, self.device)
        self._queue: list[int] = []
        self._steps = 0

    @property
    def gaussians(self) -> Gaussians:
        """The map as it is now, apart from the graph."""
        return Gaussians(*(value.detach() for value in self._adam.gaussians.tensors()))

    def add(self, view: View) -> SeedReport:
        """Make a view a key frame, and seed Gaussians where it sees what the map does not have."""
        frame, counts = key_frame(view, self.settings.gates, self.settings.max_pixels, self.device)
        sure = frame.std <= self.settings.seed_relative_std * frame.depth
        new = sure & self._unexplained(frame)
        explained = int(sure.sum() - new.sum())
        seeded, refused = self._seed(frame, new)
        self.key_frames.append(frame)
        forgot = len(self.key_frames) > self.settings.max_key_frames
        if forgot:
            del self.key_frames[_most_redundant(self.key_frames)]
        self._queue = []
        return SeedReport(counts, explained, seeded, refused, forgot)

    def optimise(
        self,
        steps: int,
        *,
        final: bool = False,
        show: Callable[[int, int], None] | None = None,
    ) -> OptimiseReport:
        """Fit colour and depth of the key frames, one of them a step, and adapt the density.

        Args:
            final: no more views come: what is still uncovered is seeded from less certain depth
                too, learning rates fall to a hundredth over these steps, and the density is left
                alone in the last third.
            show: called with (steps done, steps) after each.
        """
        if not len(self.gaussians):
            return OptimiseReport(0, math.nan, 0, 0, 0)
        total, removed = 0.0, 0
        added = self._fill() if final else 0
        for step in range(steps):
            progress = step / steps if final else 0.0
            total += self._step(self._next_key_frame(), 0.01**progress)
            self._steps += 1
            if self._steps % self.settings.density.every == 0 and progress < 2 / 3:
                more, fewer = self._adapt()
                added, removed = added + more, removed + fewer
            if show:
                show(step + 1, steps)
        return OptimiseReport(
            steps, total / steps if steps else math.nan, added, removed, len(self.gaussians)
        )

    @torch.no_grad()
    def render(self, camera: Camera, world_from_camera: Tensor) -> Rendering:
        """What a pinhole camera at a pose (4, 4) float64 sees; depth is NaN where uncovered.

        Raises:
            MappingError: the pose is no rigid motion, or the camera is distorted.
        """
        check_pose(world_from_camera)
        seen = self._draw(self.gaussians, camera, torch.linalg.inv(world_from_camera))
        depth = torch.where(seen.alpha > COVERED, seen.depth, torch.nan)
        return Rendering(seen.colour.clamp(0, 1), depth, seen.alpha, seen.image_means, seen.radii)

    def _draw(self, gaussians: Gaussians, camera: Camera, camera_from_world: Tensor) -> Rendering:
        return self._rasterizer(
            gaussians.means,
            gaussians.quaternions,
            gaussians.scales,
            gaussians.opacities,
            gaussians.colours,
            camera,
            camera_from_world,
        )

    def _seed(self, frame: KeyFrame, new: Tensor) -> tuple[int, int]:
        """Seed the new pixels (H, W) as far as there is room; how many were, and were not."""
        seeds = self._seeds(frame, new)
        wanted = len(seeds)
        room = max(0, self.settings.max_gaussians - len(self.gaussians))
        if wanted > room:
            chosen = torch.randperm(wanted, generator=self._generator)[:room].sort().values
            seeds = seeds[chosen.to(self.device)]
        self._change(torch.ones(len(self.gaussians), dtype=torch.bool), seeds)
        return len(seeds), wanted - len(seeds)

    @torch.no_grad()
    def _fill(self) -> int:
        """Seed what no certain pixel has covered from any depth its gates let by; how many."""
        seeded = 0
        for frame in self.key_frames:
            seen = self._draw(self.gaussians, frame.camera, frame.camera_from_world)
            seeded += self._seed(frame, frame.depth.isfinite() & (seen.alpha < COVERED))[0]
        return seeded

    @torch.no_grad()
    def _unexplained(self, frame: KeyFrame) -> Tensor:
        """(H, W) bool: the map has nothing there, or only something behind."""
        seen = self._draw(self.gaussians, frame.camera, frame.camera_from_world)
        # The map was seeded from depth that is as uncertain as this, hence the root of two.
        std = math.sqrt(2) * frame.std.clamp_min(self.settings.min_std)
        nearer = frame.depth < seen.depth - SIGMAS * std
        return (seen.alpha < COVERED) | nearer

    def _seeds(self, frame: KeyFrame, new: Tensor) -> Gaussians:
        """A round Gaussian at every seed_stride-th new pixel, as wide as its pixels are apart."""
        stride = self.settings.seed_stride
        left, top = torch.randint(stride, (2,), generator=self._generator).tolist()
        grid = torch.zeros_like(new)
        grid[top::stride, left::stride] = True
        chosen = new & grid
        points = geometry.unproject(frame.depth, frame.camera)[chosen]
        pose = frame.world_from_camera.to(points)
        focal = math.sqrt(frame.camera.fx * frame.camera.fy)
        width = frame.depth[chosen] / focal * stride / 2
        return Gaussians.of(
            means=points @ pose[:3, :3].T + pose[:3, 3],
            scales=width[:, None].expand(-1, 3),
            quaternions=points.new_tensor([1.0, 0.0, 0.0, 0.0]).expand(len(points), 4),
            opacities=points.new_full((len(points),), SEED_OPACITY),
            colours=frame.image[chosen],
        )

    def _next_key_frame(self) -> KeyFrame:
        """Every key frame once, in random order, before any comes again."""
        if not self._queue:
            count = len(self.key_frames)
            self._queue = torch.randperm(count, generator=self._generator).tolist()
        return self.key_frames[self._queue.pop()]

    def _step(self, frame: KeyFrame, rate: float) -> float:
        seen = self._draw(self._adam.gaussians, frame.camera, frame.camera_from_world)
        seen.image_means.retain_grad()
        loss = self._loss(seen, frame)
        loss.backward()
        gradient = seen.image_means.grad
        if gradient is not None:
            camera = frame.camera
            self._pull.add(gradient.reshape(-1, 2), seen.radii, camera.width, camera.height)
        self._adam.step(rate)
        return float(loss.detach())

    def _loss(self, seen: Rendering, frame: KeyFrame) -> Tensor:
        """Colour (Kerbl et al. 2023, Eq. 7), and depth errors over their standard deviation."""
        share = self.settings.ssim_weight
        error = (seen.colour - frame.image).abs()[frame.seen].mean()
        loss = (1 - share) * error
        if share:
            loss = loss + share * (1 - ssim(seen.colour, frame.image, frame.seen))
        judged = frame.depth.isfinite() & (seen.alpha.detach() > COVERED)
        if self.settings.depth_weight and bool(judged.any()):
            std = frame.std[judged].clamp_min(self.settings.min_std)
            sigmas = (seen.depth[judged] - frame.depth[judged]) / std
            zero = torch.zeros_like(sigmas)
            unlikely = torch.nn.functional.huber_loss(sigmas, zero, delta=SIGMAS)
            loss = loss + self.settings.depth_weight * unlikely
        return loss

    def _adapt(self) -> tuple[int, int]:
        """Prune, clone and split; how many were added and removed."""
        density, now = self.settings.density, self.gaussians
        worth = worth_keeping(now, density)
        room = self.settings.max_gaussians - len(now)
        staying, added = densify(now, self._pull, density, room, self._generator)
        added = added[worth_keeping(added, density)]
        kept = worth & staying
        self._change(kept, added)
        return len(added), int((~kept).sum())

    def _change(self, kept: Tensor, added: Gaussians) -> None:
        self._adam.replace(kept.to(self.device), added)
        self._pull = Pull(len(self.gaussians), self.device)


def _most_redundant(frames: list[KeyFrame]) -> int:
    """The older one of the two key frames that are most alike in place and direction."""
    poses = torch.stack([frame.world_from_camera for frame in frames])
    place = torch.cdist(poses[:, :3, 3], poses[:, :3, 3])
    direction = torch.cdist(poses[:, :3, 2], poses[:, :3, 2])
    apart = place + direction  # one metre counts as much as one radian
    apart.fill_diagonal_(torch.inf)
    first, second = divmod(int(apart.argmin()), len(frames))
    return min(first, second)
