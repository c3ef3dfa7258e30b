"""Pictures of a map from fixed viewpoints, beside photographs, and of the camera's way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .. import geometry, rigid
from ..mapping.gaussians import Gaussians
from ..mapping.mapper import Mapper
from ..mapping.mesh import Cloud, Mesh
from ..mapping.rasterizer import rasterize
from ..mapping.saving import write_whole
from ..mapping.trajectory import Trajectory, TrajectoryError, associated
from ..types import Camera
from .drawing import Drawn, draw_points, draw_surface
from .samples import Sample
from .viewpoints import Level, Viewpoint, viewpoints

_SIZE = (640, 480)  # pixels of one look at the map
_FINER = 2  # drawn so many times as large, then reduced: smooth edges
_DPI = 100
_SKY = 1.0  # white
_AMBIENT = 0.5
_DARKEST = 0.3  # of the colours of heights: light and shade are to be seen on the floor, too
_PATH, _TRUTH = '#d62728', '#111111'
_PHOTOGRAPHS = 3
_GREY = '0.85'


def save_map(
    path: Path, mapper: Mapper, mesh: Mesh, trajectory: Trajectory, truth: Trajectory
) -> None:
    """Shape, colours, cloud and Gaussians, each from the same four viewpoints, with the way.

    Args:
        path: of the PNG. mesh: of the mapper's surface, not empty. truth: the true way, drawn
            beneath; may be empty.
    """
    cloud = mapper.cloud()
    looks = viewpoints(mesh.vertices, trajectory, *_SIZE)
    heights = height_colours(mesh, Level.of(trajectory).up)
    splat = None if mapper.splat is None else _on_cpu(mapper.splat.gaussians)
    names = ['surface by height', 'surface in colour', 'cloud'] + (['Gaussians'] if splat else [])
    width, height = _SIZE
    figure = _figure(len(looks) * width, len(names) * (height + 34))
    axes = figure.subplots(len(names), len(looks), squeeze=False)
    voxel = mapper.settings.voxel_size
    photographed = mesh.colours.float() / 255
    for column, look in enumerate(looks):
        camera = _finer(look.camera)
        drawn = draw_surface(mesh.vertices, mesh.triangles, camera, look.world_from_camera)
        images = [
            shaded(drawn, heights, mesh.normals, look.world_from_camera),
            shaded(drawn, photographed, mesh.normals, look.world_from_camera),
            cloud_image(cloud, voxel, camera, look.world_from_camera),
        ]
        if splat:
            images.append(splat_image(splat, cloud, look.camera, look.world_from_camera))
        for row, (name, image) in enumerate(zip(names, images, strict=True)):
            axis = axes[row, column]
            _show(axis, _reduced(image, look.camera), f'{name}, {look.name}')
            _draw_way(axis, truth, look, _TRUTH, 2.2)
            _draw_way(axis, trajectory, look, _PATH, 1.4)
            _draw_scale(axis, look)
    _save(figure, path)


def save_photographs(path: Path, mapper: Mapper, mesh: Mesh, samples: list[Sample]) -> None:
    """A few frames: the photograph, the map as seen from there, depths, and Gaussians."""
    some = [samples[i] for i in _evenly(len(samples), _PHOTOGRAPHS)]
    columns = 5 if mapper.splat is not None and len(mapper.splat.gaussians) else 4
    figure = _figure(columns * 420, len(some) * (round(420 * _aspect(some)) + 34))
    axes = figure.subplots(len(some), columns, squeeze=False)
    for row, sample in zip(axes, some, strict=True):
        view = sample.view
        drawn = draw_surface(
            mesh.vertices, mesh.triangles, _finer(view.camera), view.world_from_camera
        )
        known = sample.truth.isfinite().any()
        depth = sample.truth if known else view.depth
        low, high = _range(depth)
        shade = {'cmap': _depth_colours(), 'vmin': low, 'vmax': high, 'interpolation': 'nearest'}
        _show(row[0], view.image, f'photograph {Path(sample.name).name}')
        colour = drawn.interpolate(mesh.colours.float() / 255)
        colour = torch.where(drawn.seen[..., None], colour, torch.tensor(_SKY))
        _show(row[1], _reduced(colour, view.camera), 'surface in colour')
        row[2].imshow(np.ma.masked_invalid(depth.numpy()), **shade)
        row[2].set_title('true depth' if known else 'depth that was fused', fontsize=10)
        row[3].imshow(np.ma.masked_invalid(drawn.depth.numpy()), **shade)
        row[3].set_title(f'depth of the surface, {low:.1f} to {high:.1f} m', fontsize=10)
        if columns == 5 and mapper.splat is not None:
            seen = mapper.splat.render(view.camera, view.world_from_camera)
            kind = 'held out' if sample.held_out else 'key frame'
            _show(row[4], seen.colour.cpu(), f'Gaussians ({kind})')
        for axis in row:
            axis.set_axis_off()
    _save(figure, path)


def save_trajectory(path: Path, trajectory: Trajectory, truth: Trajectory) -> None:
    """The way from above and its height; where the truth is known, it and the distance to it."""
    level = Level.of(trajectory)
    origin = trajectory.world_from_camera[0, :3, 3]
    try:
        ours, theirs = associated(trajectory, truth)
        differs = not torch.equal(ours.world_from_camera, theirs.world_from_camera)
    except TrajectoryError:
        differs = False
    figure = _figure(1500, 620)
    plan, side = figure.subplots(1, 2, width_ratios=(1, 1.2))
    start_ns = trajectory.stamps_ns[0]

    def place(way: Trajectory) -> tuple[np.ndarray, ...]:
        steps = way.world_from_camera[:, :3, 3] - origin
        time = (np.array(way.stamps_ns) - start_ns) / 1e9
        along = (steps @ axis for axis in (level.right, level.forward, level.up))
        return time, *(each.numpy() for each in along)

    if differs:
        time, right, forward, up = place(truth)
        plan.plot(right, forward, color=_TRUTH, linewidth=3, alpha=0.35, label='truth')
        side.plot(time, up, color=_TRUTH, linewidth=3, alpha=0.35, label='height, truth')
    time, right, forward, up = place(trajectory)
    name = 'odometry' if differs else 'the way of the camera'
    plan.plot(right, forward, 'o-', color=_PATH, markersize=2.5, linewidth=1.2, label=name)
    plan.plot(right[0], forward[0], 's', color=_PATH, markersize=7, label='first frame')
    looking = trajectory.world_from_camera[:, :3, 2]
    plan.quiver(
        right, forward, (looking @ level.right).numpy(), (looking @ level.forward).numpy(),
        color='0.45', width=0.002, scale=25,
    )  # fmt: skip
    plan.set_aspect('equal', adjustable='datalim')
    plan.set_xlabel('right [m]')
    plan.set_ylabel('forward [m]')
    plan.set_title(f'from above; {trajectory.length:.2f} m', fontsize=11)
    side.plot(time, up, color=_PATH, linewidth=1.2, label='height')
    side.set_title('over time', fontsize=11)
    if differs:
        error = (ours.world_from_camera[:, :3, 3] - theirs.world_from_camera[:, :3, 3]).norm(dim=1)
        stamps = (np.array(ours.stamps_ns) - start_ns) / 1e9
        side.plot(stamps, error.numpy(), color='#1f77b4', label='distance to the truth')
    side.set_xlabel('seconds')
    side.set_ylabel('metres')
    for axis in (plan, side):
        axis.grid(True, color=_GREY, linewidth=0.6)
        axis.legend(fontsize=9)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    """PNG, whole or not at all."""
    write_whole(path, lambda file: figure.savefig(file, format='png', dpi=_DPI))


def _on_cpu(gaussians: Gaussians) -> Gaussians | None:
    return Gaussians(*(value.cpu() for value in gaussians.tensors())) if len(gaussians) else None


# --- what is drawn -----------------------------------------------------------------------------


def shaded(drawn: Drawn, colours: Tensor, normals: Tensor, world_from_camera: Tensor) -> Tensor:
    """(H, W, 3) of a surface under a lamp beside the camera, over white.

    Args:
        colours: (V, 3) RGB in [0, 1] of the vertices. normals: (V, 3) unit.
    """
    light = _lamp(F.normalize(drawn.interpolate(normals), dim=-1), world_from_camera)
    colour = drawn.interpolate(colours) * (_AMBIENT + (1 - _AMBIENT) * light[..., None])
    return torch.where(drawn.seen[..., None], colour, torch.tensor(_SKY))


def height_colours(mesh: Mesh, up: Tensor) -> Tensor:
    """(V, 3) RGB of the vertices by their height: dark and blue is low, yellow is high."""
    import matplotlib

    height = (mesh.vertices.double() @ up).numpy()
    low, high = np.percentile(height, (2, 98))
    share = _DARKEST + (1 - _DARKEST) * ((height - low) / max(high - low, 1e-6)).clip(0, 1)
    return torch.from_numpy(matplotlib.colormaps['cividis'](share)[:, :3]).float()


def cloud_image(cloud: Cloud, voxel: float, camera: Camera, world_from_camera: Tensor) -> Tensor:
    """(H, W, 3) of the points whose surface faces the camera, each nearly a voxel wide."""
    front = _facing(cloud.points, cloud.normals, world_from_camera)
    points, normals, colours = cloud.points[front], cloud.normals[front], cloud.colours[front]
    winner = draw_points(points, 0.8 * voxel, camera, world_from_camera)
    seen = winner >= 0
    image = torch.full((*winner.shape, 3), _SKY)
    index = winner[seen]
    light = _lamp(normals[index], world_from_camera)
    image[seen] = colours[index].float() / 255 * (_AMBIENT + (1 - _AMBIENT) * light[:, None])
    return image


def splat_image(
    gaussians: Gaussians, cloud: Cloud, camera: Camera, world_from_camera: Tensor
) -> Tensor:
    """(H, W, 3) of the Gaussians over white, without those whose surface shows its back.

    A Gaussian has no front; it takes that of the surface nearest to it.
    """
    from scipy.spatial import cKDTree

    nearest = torch.from_numpy(cKDTree(cloud.points.numpy()).query(gaussians.means.numpy())[1])
    front = gaussians[_facing(gaussians.means, cloud.normals[nearest], world_from_camera)]
    seen = rasterize(
        front.means, front.quaternions, front.scales, front.opacities, front.colours, camera,
        rigid.inverse(world_from_camera),
    )  # fmt: skip
    return (seen.colour + _SKY * (1 - seen.alpha[..., None])).clamp(0, 1)


def _facing(points: Tensor, normals: Tensor, world_from_camera: Tensor) -> Tensor:
    """(N,) bool: the side of the surface that its normal (N, 3) is on is seen."""
    return ((world_from_camera[:3, 3].to(points) - points) * normals).sum(-1) > 0


def _lamp(normals: Tensor, world_from_camera: Tensor) -> Tensor:
    """(...) 0 to 1: light from above the camera's left shoulder."""
    direction = F.normalize(torch.tensor((-0.6, -0.3, -0.8), dtype=torch.float64), dim=0)
    towards = (world_from_camera[:3, :3] @ direction).to(normals)
    return (normals @ towards).clamp(0, 1)


# --- figures -----------------------------------------------------------------------------------


def _figure(width: int, height: int) -> Any:
    # Not pyplot: it keeps every figure, and picks a window system where there is one.
    from matplotlib.figure import Figure

    size = (width / _DPI, height / _DPI)
    return Figure(figsize=size, layout='constrained', facecolor='white')


def _show(axis: Any, image: Tensor, title: str) -> None:
    axis.imshow(image.clamp(0, 1).numpy(), interpolation='antialiased')
    axis.set_title(title, fontsize=11)
    axis.set_axis_off()


def _draw_way(axis: Any, way: Trajectory, look: Viewpoint, colour: str, width: float) -> None:
    if not len(way):
        return
    camera_from_world = rigid.inverse(look.world_from_camera)
    place = way.world_from_camera[:, :3, 3] @ camera_from_world[:3, :3].T
    place = place + camera_from_world[:3, 3]
    u = look.camera.fx * place[:, 0] / place[:, 2] + look.camera.cx
    v = look.camera.fy * place[:, 1] / place[:, 2] + look.camera.cy
    hidden = place[:, 2] <= 0
    u[hidden], v[hidden] = torch.nan, torch.nan
    axis.plot(u.numpy(), v.numpy(), color=colour, linewidth=width, alpha=0.9)
    axis.plot(u[:1].numpy(), v[:1].numpy(), 's', color=colour, markersize=5)
    axis.set_xlim(-0.5, look.camera.width - 0.5)
    axis.set_ylim(look.camera.height - 0.5, -0.5)


def _draw_scale(axis: Any, look: Viewpoint) -> None:
    """A bar as long as a round number of metres at the centre of the map."""
    most = 0.25 * look.camera.width / look.pixels_per_metre
    metres = max((m for m in (0.01, 0.1, 0.5, 1, 2, 5, 10, 20, 50) if m <= most), default=0.01)
    left, low = 18, look.camera.height - 16
    length = metres * look.pixels_per_metre
    axis.plot((left, left + length), (low, low), color='0.2', linewidth=3, solid_capstyle='butt')
    axis.text(left, low - 8, f'{metres:g} m', fontsize=9, color='0.2')


def _finer(camera: Camera) -> Camera:
    return geometry.resize_camera(camera, _FINER * camera.width, _FINER * camera.height)


def _reduced(image: Tensor, camera: Camera) -> Tensor:
    """(H, W, 3) of the size of the camera, each pixel the mean of those drawn for it."""
    if image.shape[:2] == (camera.height, camera.width):
        return image
    return F.avg_pool2d(image.permute(2, 0, 1)[None], _FINER)[0].permute(1, 2, 0)


def _depth_colours() -> Any:
    import matplotlib

    return matplotlib.colormaps['turbo_r'].with_extremes(bad=_GREY)


def _range(depth: Tensor) -> tuple[float, float]:
    finite = depth[depth.isfinite()].numpy()
    if not len(finite):
        return 0.0, 1.0
    low, high = np.percentile(finite, (1, 99))
    return float(low), max(float(high), float(low) + 0.01)


def _evenly(count: int, most: int) -> list[int]:
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]


def _aspect(samples: list[Sample]) -> float:
    camera = samples[0].view.camera
    return camera.height / camera.width
