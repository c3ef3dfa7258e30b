"""The rasteriser on CUDA, by the kernels of the package `gsplat` (1.4 or later, Apache-2.0).

Same arguments and result as `rasterizer.rasterize`, with these differences of the kernels: pixels
stop once less than 1e-4 of the light gets through, and ellipses end at about three standard
deviations. `pip install gsplat` brings the package; it compiles its kernels on first use.
"""

from __future__ import annotations

from torch import Tensor

from .. import geometry
from ..types import Camera
from .rasterizer import LOW_PASS, NEAR, Rendering, check_inputs
from .view import MappingError


def rasterize(
    means: Tensor,  # (N, 3) metres, world frame
    quaternions: Tensor,  # (N, 4) w x y z, of any length but 0
    scales: Tensor,  # (N, 3) metres, one standard deviation
    opacities: Tensor,  # (N,) in [0, 1]
    colours: Tensor,  # (N, 3)
    camera: Camera,
    camera_from_world: Tensor,  # (4, 4)
) -> Rendering:
    """What a pinhole camera sees of the Gaussians; see `rasterizer.rasterize`.

    Raises:
        MappingError: gsplat is not installed, the tensors are not on a CUDA device, the camera is
            distorted, or shapes do not agree.
    """
    check_inputs(means, quaternions, scales, opacities, colours, camera, camera_from_world)
    if means.device.type != 'cuda':
        raise MappingError(
            f'Gaussians are on {means.device}, gsplat expects a CUDA device; rasterizer.rasterize '
            'draws on any'
        )
    try:
        import gsplat
    except ImportError as error:
        raise MappingError('gsplat is not installed, get it with: pip install gsplat') from error
    if not len(means):
        nothing = means.new_zeros(camera.height, camera.width)
        black = nothing[..., None].expand(-1, -1, 3)
        return Rendering(black, nothing, nothing, means[:, :2], means[:, 0])

    intrinsics = geometry.matrix(camera).to(means)
    intrinsics[:2, 2] += 0.5  # gsplat has (0, 0) at the corner of the first pixel
    seen, alpha, meta = gsplat.rasterization(
        means=means,
        quats=quaternions,
        scales=scales,
        opacities=opacities,
        colors=colours,
        viewmats=camera_from_world.to(means)[None],
        Ks=intrinsics[None],
        width=camera.width,
        height=camera.height,
        near_plane=NEAR,
        eps2d=LOW_PASS,
        render_mode='RGB+ED',
        packed=False,
    )
    # radii are (1, N) or, in later versions, (1, N, 2).
    radii = meta['radii'].reshape(len(means), -1).amax(1).to(means.dtype)
    return Rendering(seen[0, ..., :3], seen[0, ..., 3], alpha[0, ..., 0], meta['means2d'], radii)
