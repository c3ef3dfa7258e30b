"""Gaussians to an image with depth, in plain torch: readable, differentiable, for any device.

The way of an ellipsoid to the pixels is EWA splatting (Zwicker et al. 2002, "EWA Splatting",
Section 6) as 3D Gaussian splatting uses it (Kerbl et al. 2023, Sections 4 and 6):

    t = W x + d                    the mean in the camera's frame
    Sigma' = J W Sigma W^T J^T     the ellipse in the image (Zwicker Eq. 31, Kerbl Eq. 5), with J
                                   the Jacobian of the projection at t (Zwicker Eq. 29)
    alpha = o exp(-q / 2)          q = (p - p')^T (Sigma' + LOW_PASS I)^-1 (p - p')
    C = sum_i c_i alpha_i T_i      T_i = prod_{j < i} (1 - alpha_j), nearest first (Kerbl Eq. 3)

Pixels are worked on in small square tiles. A Gaussian belongs to a tile if its alpha reaches
MIN_ALPHA in the box around it, so tiles change nothing of the result: it is that of every pixel
asking every Gaussian.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from ..types import Camera
from .gaussians import rotation_matrices
from .view import MappingError

NEAR = 0.01  # metres; nearer Gaussians are not drawn
LOW_PASS = 0.3  # pixels^2 added to the ellipses: none is thinner than the pixels can show
MIN_ALPHA = 1 / 255  # what an 8-bit image cannot show is not drawn
MAX_ALPHA = 0.99  # what lies behind always keeps a gradient
TILE = 8  # pixels; larger tiles ask more Gaussians in vain, smaller ones cost more overhead
_MAX_PAIRS = 1 << 18  # Gaussian-pixel pairs worked on at once: they stay in a core's cache


@dataclass(frozen=True)
class Rendering:
    """What a camera sees of the Gaussians.

    colour: (H, W, 3) RGB over black. depth: (H, W) metres along z, the mean over what the pixel
        sees, weighted by how much it sees of each; 0 where it sees nothing. alpha: (H, W) in
        [0, 1), how much of the pixel is covered.
    image_means: (N, 2) or (1, N, 2) pixels, part of the graph: its gradient tells which Gaussians
        the image pulls at. radii: (N,) pixels, the largest half extent in the image; 0 where
        nothing of a Gaussian is drawn.
    """

    colour: Tensor
    depth: Tensor
    alpha: Tensor
    image_means: Tensor
    radii: Tensor


class Rasterizer(Protocol):
    """Draws Gaussians: `rasterize` here, or gsplat's kernels behind the same arguments."""

    def __call__(
        self,
        means: Tensor,  # (N, 3)
        quaternions: Tensor,  # (N, 4)
        scales: Tensor,  # (N, 3)
        opacities: Tensor,  # (N,)
        colours: Tensor,  # (N, 3)
        camera: Camera,
        camera_from_world: Tensor,  # (4, 4)
    ) -> Rendering: ...


@dataclass(frozen=True)
class _Ellipses:
    """M Gaussians as the image sees them, nearest first."""

    index: Tensor  # (M,) which of all Gaussians
    means: Tensor  # (M, 2) pixels
    conics: Tensor  # (M, 3) xx, xy, yy of the inverse of Sigma' + LOW_PASS I
    half_extents: Tensor  # (M, 2) pixels to where alpha falls below MIN_ALPHA
    log_opacities: Tensor  # (M,)
    depths: Tensor  # (M,) metres


def rasterize(
    means: Tensor,  # (N, 3) metres, world frame
    quaternions: Tensor,  # (N, 4) w x y z, of any length but 0
    scales: Tensor,  # (N, 3) metres, one standard deviation
    opacities: Tensor,  # (N,) in [0, 1]
    colours: Tensor,  # (N, 3)
    camera: Camera,
    camera_from_world: Tensor,  # (4, 4)
) -> Rendering:
    """What a pinhole camera sees of the Gaussians; differentiable by all five tensors.

    Gaussians behind the camera, with numbers that are not finite, or too faint for one pixel are
    not drawn and get no gradient. No Gaussians at all give a black image of depth 0.

    Raises:
        MappingError: the camera is distorted (rectify the view first), or shapes do not agree.
    """
    check_inputs(means, quaternions, scales, opacities, colours, camera, camera_from_world)
    ellipses = _project(means, quaternions, scales, opacities, camera, camera_from_world.to(means))
    image_means = means.new_zeros(len(means), 2).index_put((ellipses.index,), ellipses.means)
    features = torch.cat((colours[ellipses.index], ellipses.depths[:, None]), 1)
    # Read back through image_means so that the gradient by it is that of the whole image.
    seen, alpha = _composite(ellipses, image_means[ellipses.index], features, camera)
    radii = means.new_zeros(len(means))
    radii[ellipses.index] = ellipses.half_extents.amax(1)
    depth = seen[..., 3] / alpha.clamp_min(1e-10)
    return Rendering(seen[..., :3], depth, alpha, image_means, radii)


def check_inputs(
    means: Tensor,
    quaternions: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colours: Tensor,
    camera: Camera,
    camera_from_world: Tensor,
) -> None:
    """Nothing, or a MappingError if `rasterize` cannot take these."""
    if camera.distortion_model != 'none':
        raise MappingError(
            f'camera has the lens model {camera.distortion_model!r}, expected none: rectify the '
            'view before Gaussians are drawn into it'
        )
    count = means.shape[0]
    for name, value, shape in (
        ('means', means, (count, 3)),
        ('quaternions', quaternions, (count, 4)),
        ('scales', scales, (count, 3)),
        ('opacities', opacities, (count,)),
        ('colours', colours, (count, 3)),
        ('camera_from_world', camera_from_world, (4, 4)),
    ):
        if tuple(value.shape) != shape:
            raise MappingError(f'{name} has shape {tuple(value.shape)}, expected {shape}')


def _project(
    means: Tensor,
    quaternions: Tensor,
    scales: Tensor,
    opacities: Tensor,
    camera: Camera,
    camera_from_world: Tensor,
) -> _Ellipses:
    """The Gaussians that at least one pixel may see, as ellipses, nearest first."""
    rotation, translation = camera_from_world[:3, :3], camera_from_world[:3, 3]
    with torch.no_grad():
        depth = means @ rotation[2] + translation[2]
        numbers = torch.cat((means, quaternions, scales, opacities[:, None]), 1)
        drawable = numbers.isfinite().all(1) & (quaternions.norm(dim=1) > 1e-8)
        index = (drawable & (depth > NEAR) & (opacities > MIN_ALPHA)).nonzero()[:, 0]
        index = index[depth[index].argsort(stable=True)]

    t = means[index] @ rotation.T + translation
    x, y, z = t.unbind(1)
    image_means = torch.stack((camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy), 1)
    # Far outside the image J would blow an ellipse up; it is held at 1.3 times the half view.
    left, right = _held(camera.cx, camera.width, camera.fx)
    top, bottom = _held(camera.cy, camera.height, camera.fy)
    x, y = (x / z).clamp(left, right) * z, (y / z).clamp(top, bottom) * z
    zero = torch.zeros_like(z)
    jacobian = torch.stack(
        (camera.fx / z, zero, -camera.fx * x / z**2, zero, camera.fy / z, -camera.fy * y / z**2),
        1,
    ).unflatten(1, (2, 3))

    # Sigma = R S S^T R^T (Kerbl Eq. 6), so Sigma' = M M^T with M = J W R S, and its determinant is
    # that of M's rows' cross product (Cauchy and Binet): never negative, however thin.
    m = jacobian @ rotation @ (rotation_matrices(quaternions[index]) * scales[index, None])
    row_x, row_y = m.unbind(1)
    xx, yy = row_x.square().sum(1), row_y.square().sum(1)
    xy = (row_x * row_y).sum(1)
    area = torch.linalg.cross(row_x, row_y).square().sum(1)
    determinant = area + LOW_PASS * (xx + yy) + LOW_PASS**2
    conics = torch.stack((yy + LOW_PASS, -xy, xx + LOW_PASS), 1) / determinant[:, None]

    with torch.no_grad():  # alpha >= MIN_ALPHA where q <= 2 ln(o / MIN_ALPHA)
        reach = 2 * (opacities[index] / MIN_ALPHA).log()
        half_extents = ((torch.stack((xx, yy), 1) + LOW_PASS) * reach[:, None]).sqrt()
        size = image_means.new_tensor((camera.width, camera.height))
        low, high = image_means - half_extents, image_means + half_extents
        inside = ((high >= 0) & (low <= size - 1) & (low.ceil() <= high.floor())).all(1)
    return _Ellipses(
        index[inside],
        image_means[inside],
        conics[inside],
        half_extents[inside],
        opacities[index][inside].log(),
        z[inside],
    )


def _held(centre: float, size: int, focal: float) -> tuple[float, float]:
    """Range of x / z in which the Jacobian is taken as it is."""
    margin = 0.3 * 0.5 * size / focal
    return -(centre + 0.5) / focal - margin, (size - 0.5 - centre) / focal + margin


def _composite(
    ellipses: _Ellipses, means: Tensor, features: Tensor, camera: Camera
) -> tuple[Tensor, Tensor]:
    """Features (M, C) blended to (H, W, C), and alpha (H, W)."""
    across, down = math.ceil(camera.width / TILE), math.ceil(camera.height / TILE)
    tile, ellipse = _intersections(ellipses, across, down)
    counts = torch.bincount(tile, minlength=across * down)
    starts = counts.cumsum(0) - counts

    ones = torch.ones_like(means[:, :1])
    rows = torch.cat((means, ellipses.conics, ellipses.log_opacities[:, None], features, ones), 1)
    # Tiles of a group are filled up to the longest list with one Gaussian that nothing shows.
    nothing = rows.new_zeros(1, rows.shape[1])
    nothing[0, 5] = -1e4  # ln alpha
    rows = torch.cat((rows, nothing))

    offset = torch.arange(TILE, device=means.device, dtype=means.dtype) - (TILE - 1) / 2
    v, u = (axis.flatten() for axis in torch.meshgrid(offset, offset, indexing='ij'))
    monomials = torch.stack((torch.ones_like(u), u, v, u * u, u * v, v * v), 1)

    order = counts.argsort(descending=True)
    order = order[: int((counts > 0).sum())]
    # None at first, so that an image in which nothing is drawn is part of the graph as well.
    drawn = [rows[:0, None, 6:].expand(-1, TILE * TILE, -1)]
    for group in _groups(order, counts):
        place = torch.arange(int(counts[group[0]]), device=means.device)
        listed = place < counts[group, None]  # (G, K)
        position = (starts[group, None] + place).clamp(max=len(ellipse) - 1)
        chosen = torch.where(listed, ellipse[position], len(rows) - 1)
        centre = torch.stack((group % across, group // across), 1) * TILE + (TILE - 1) / 2
        drawn.append(_blend(rows[chosen], centre.to(means.dtype), monomials))

    tiles = means.new_zeros(across * down, TILE * TILE, features.shape[1] + 1)
    tiles = tiles.index_copy(0, order, torch.cat(drawn))
    image = tiles.reshape(down, across, TILE, TILE, -1).transpose(1, 2)
    image = image.reshape(down * TILE, across * TILE, -1)[: camera.height, : camera.width]
    return image[..., :-1], image[..., -1]


@torch.no_grad()
def _intersections(ellipses: _Ellipses, across: int, down: int) -> tuple[Tensor, Tensor]:
    """(I,) tile numbers, growing, and (I,) ellipses that reach them, nearest first in each."""
    low = (ellipses.means - ellipses.half_extents).ceil().long().div(TILE, rounding_mode='floor')
    high = (ellipses.means + ellipses.half_extents).floor().long()
    high = high.div(TILE, rounding_mode='floor')
    last = torch.tensor((across - 1, down - 1), device=low.device)
    low, high = low.clamp_min(0), torch.minimum(high, last)
    size = high - low + 1
    counts = size.prod(1)
    ellipse = torch.arange(len(counts), device=low.device).repeat_interleave(counts)
    within = torch.arange(len(ellipse), device=low.device)
    within = within - (counts.cumsum(0) - counts)[ellipse]
    width = size[ellipse, 0]
    column = low[ellipse, 0] + within % width
    row = low[ellipse, 1] + within.div(width, rounding_mode='floor')
    tile, order = (row * across + column).sort(stable=True)  # keeps nearest first
    return tile, ellipse[order]


def _groups(order: Tensor, counts: Tensor) -> list[Tensor]:
    """Tiles, those with the longest lists first, in groups of similar length and bounded work."""
    groups, start = [], 0
    while start < len(order):
        longest = int(counts[order[start]])
        similar = int((counts[order[start:]] >= longest * 3 // 4).sum())
        take = max(1, min(similar, _MAX_PAIRS // (longest * TILE * TILE)))
        groups.append(order[start : start + take])
        start += take
    return groups


def _blend(rows: Tensor, centre: Tensor, monomials: Tensor) -> Tensor:
    """(G, P, C) blended features of the P pixels of G tiles.

    rows: (G, K, 6 + C) mean, conic, log opacity and features of each tile's Gaussians, nearest
    first. centre: (G, 2) pixels. monomials: (P, 6) of the pixels around the centre.
    """
    du, dv = (centre[:, None] - rows[..., :2]).unbind(-1)  # (G, K)
    a, b, c, log_opacity = rows[..., 2:6].unbind(-1)
    # ln alpha is a quadratic polynomial of the pixel, so one matrix product evaluates it.
    polynomial = torch.stack(
        (
            log_opacity - 0.5 * (a * du * du + c * dv * dv) - b * du * dv,
            -(a * du + b * dv),
            -(b * du + c * dv),
            -0.5 * a,
            -b,
            -0.5 * c,
        ),
        1,
    )  # (G, 6, K)
    alpha = (monomials @ polynomial).exp().clamp(max=MAX_ALPHA)  # (G, P, K)
    alpha = F.threshold(alpha, MIN_ALPHA, 0.0)
    transmittance = (1 - alpha).cumprod(-1)
    # Shifted by one: what reaches a Gaussian is what those before it let through.
    before = torch.cat((torch.ones_like(alpha[..., :1]), transmittance[..., :-1]), -1)
    return (alpha * before) @ rows[..., 6:]
