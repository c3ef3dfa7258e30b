"""Cameras to viewing rays and back, z-depth to ray distance and back, and views of one camera.

Pure functions. Optical frame: x right, y down, z forward, metres. Pixels are (u, v) with (0, 0)
at the centre of the top-left pixel. Lens models are OpenCV's: `plumb_bob` and
`rational_polynomial` are cv2.projectPoints with 5 and 8 coefficients, `equidistant` is
cv2.fisheye (Kannala and Brandt 2006).

A lens polynomial is only meaningful up to the angle where it stops growing; beyond it two
directions share one pixel. Everything out there is NaN here, never a wrong ray.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from .types import Camera

# The lens polynomials are tabulated this finely to start Newton's method close to its solution.
_TABLE_SIZE = 4096
_MAX_TAN = math.tan(math.radians(85))  # widest angle a perspective lens model is followed to


# --- pixels and intrinsics --------------------------------------------------------------------


def pixel_grid(
    width: int,
    height: int,
    *,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """(H, W, 2) coordinates (u, v) of all pixel centres."""
    v, u = torch.meshgrid(
        torch.arange(height, device=device, dtype=dtype),
        torch.arange(width, device=device, dtype=dtype),
        indexing='ij',
    )
    return torch.stack((u, v), dim=-1)


def matrix(camera: Camera) -> Tensor:
    """(3, 3) float64 intrinsic matrix K."""
    return torch.tensor(
        [[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]], dtype=torch.float64
    )


def resize_camera(camera: Camera, width: int, height: int) -> Camera:
    """The camera of the same view resampled to width x height pixels.

    Pixel centres are at whole numbers, so the image spans [-0.5, width - 0.5]:
    u' = (u + 0.5) s - 0.5. Lens coefficients act on normalised coordinates and stay.
    """
    sx, sy = width / camera.width, height / camera.height
    return replace(
        camera,
        fx=camera.fx * sx,
        fy=camera.fy * sy,
        cx=(camera.cx + 0.5) * sx - 0.5,
        cy=(camera.cy + 0.5) * sy - 0.5,
        width=width,
        height=height,
    )


def crop_camera(camera: Camera, left: int, top: int, width: int, height: int) -> Camera:
    """The camera of the window whose top-left pixel is (left, top); it may reach outside."""
    return replace(camera, cx=camera.cx - left, cy=camera.cy - top, width=width, height=height)


def flip_camera(camera: Camera) -> Camera:
    """The camera that sees the mirrored world: for images flipped left to right."""
    distortion = camera.distortion
    if camera.distortion_model in ('plumb_bob', 'rational_polynomial'):
        k1, k2, p1, p2, *rest = distortion
        distortion = (k1, k2, p1, -p2, *rest)  # the tangential term that is even in x changes sign
    return replace(camera, cx=camera.width - 1 - camera.cx, distortion=distortion)


def fit_size(width: int, height: int, pixels: int, multiple_of: int = 1) -> tuple[int, int]:
    """(w, h) of about the aspect of width x height and the area `pixels`, in whole multiples."""
    scale = math.sqrt(pixels / (width * height))

    def nearest(length: int) -> int:
        return max(1, round(length * scale / multiple_of)) * multiple_of

    return nearest(width), nearest(height)


# --- lens models ------------------------------------------------------------------------------


def _radial(camera: Camera, r2: Tensor) -> tuple[Tensor, Tensor]:
    """Radial factor of the perspective lens models and its derivative by r^2."""
    k1, k2, _, _, k3, k4, k5, k6 = (*camera.distortion, *([0.0] * (8 - len(camera.distortion))))
    top = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    bottom = 1 + r2 * (k4 + r2 * (k5 + r2 * k6))
    d_top = k1 + r2 * (2 * k2 + 3 * r2 * k3)
    d_bottom = k4 + r2 * (2 * k5 + 3 * r2 * k6)
    return top / bottom, (d_top * bottom - top * d_bottom) / bottom**2


def _theta_distorted(camera: Camera, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Fisheye polynomial theta_d(theta) and its derivative (Kannala and Brandt 2006, Eq. 6)."""
    k1, k2, k3, k4 = camera.distortion
    t2 = theta**2
    value = theta * (1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4))))
    slope = 1 + t2 * (3 * k1 + t2 * (5 * k2 + t2 * (7 * k3 + t2 * 9 * k4)))
    return value, slope


@lru_cache(maxsize=256)
def _lens_table(camera: Camera) -> tuple[Tensor, Tensor]:
    """(undistorted, distorted) radius or angle, both growing, up to where the lens model folds."""
    if camera.distortion_model == 'equidistant':
        undistorted = torch.linspace(0, math.pi, _TABLE_SIZE, dtype=torch.float64)
        distorted, slope = _theta_distorted(camera, undistorted)
    else:
        angle = torch.linspace(0, math.atan(_MAX_TAN), _TABLE_SIZE, dtype=torch.float64)
        undistorted = torch.tan(angle)
        r2 = undistorted**2
        factor, d_factor = _radial(camera, r2)
        distorted = undistorted * factor
        slope = factor + 2 * r2 * d_factor
    growing = slope > 0
    growing[1:] &= distorted[1:] > distorted[:-1]
    count = int(growing.long().cumprod(0).sum())
    return undistorted[:count], distorted[:count]


def _interpolate(x: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
    """Piecewise linear ys(x); x outside the table gives its end values."""
    right = torch.searchsorted(xs, x.contiguous()).clamp(1, len(xs) - 1)
    x0, x1, y0, y1 = xs[right - 1], xs[right], ys[right - 1], ys[right]
    return y0 + (y1 - y0) * ((x - x0) / (x1 - x0)).clamp(0, 1)


def _distort(camera: Camera, xy: Tensor) -> tuple[Tensor, Tensor]:
    """Perspective lens: normalised (..., 2) to distorted (..., 2); its Jacobian (..., 2, 2)."""
    x, y = xy.unbind(-1)
    _, _, p1, p2, *_ = camera.distortion
    r2 = x * x + y * y
    factor, slope = _radial(camera, r2)
    xd = x * factor + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    yd = y * factor + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    dxx = factor + 2 * x * x * slope + 2 * p1 * y + 6 * p2 * x
    dxy = 2 * x * y * slope + 2 * p1 * x + 2 * p2 * y
    dyy = factor + 2 * y * y * slope + 6 * p1 * y + 2 * p2 * x
    jacobian = torch.stack((torch.stack((dxx, dxy), -1), torch.stack((dxy, dyy), -1)), -2)
    return torch.stack((xd, yd), -1), jacobian


def _undistort(camera: Camera, xy_distorted: Tensor) -> Tensor:
    """Inverse of `_distort` by Newton's method; NaN where there is none."""
    undistorted, distorted = (t.to(xy_distorted.device) for t in _lens_table(camera))
    radius = xy_distorted.norm(dim=-1)
    start = _interpolate(radius, distorted, undistorted)
    xy = xy_distorted * (start / radius.clamp_min(1e-12)).unsqueeze(-1)
    for _ in range(8):  # the start is so close that two or three are usual
        value, jacobian = _distort(camera, xy)
        error = value - xy_distorted
        if error.abs().nan_to_num(0.0).max() < 1e-10:
            break
        (a, b), (c, d) = (row.unbind(-1) for row in jacobian.unbind(-2))
        determinant = a * d - b * c
        step = torch.stack((d * error[..., 0] - b * error[..., 1],
                            a * error[..., 1] - c * error[..., 0]), -1)  # fmt: skip
        xy = xy - step / determinant.unsqueeze(-1)
    residual = (_distort(camera, xy)[0] - xy_distorted).norm(dim=-1)
    found = (residual < 1e-7) & (xy.norm(dim=-1) <= undistorted[-1])
    return torch.where(found.unsqueeze(-1), xy, torch.nan)


# --- pixels to rays and back ------------------------------------------------------------------


def directions(pixels: Tensor, camera: Camera) -> Tensor:
    """(..., 3) unit viewing rays of pixels (..., 2); NaN where the lens model has no ray.

    Computed in float64, returned in the dtype of `pixels`. GRIN's r_jk = K^-1 [u, v, 1]^T
    (GRIN, Section 4.2), normalised, for any lens model.
    """
    uv = pixels.to(torch.float64)
    centre = uv.new_tensor((camera.cx, camera.cy))
    xy = (uv - centre) / uv.new_tensor((camera.fx, camera.fy))
    if camera.distortion_model == 'equidistant':
        undistorted, distorted = (t.to(uv.device) for t in _lens_table(camera))
        theta_d = xy.norm(dim=-1)
        theta = _interpolate(theta_d, distorted, undistorted)
        for _ in range(4):
            value, slope = _theta_distorted(camera, theta)
            theta = theta - (value - theta_d) / slope
        theta = torch.where(theta_d <= distorted[-1], theta, torch.nan)
        azimuth = xy / theta_d.clamp_min(1e-12).unsqueeze(-1)
        ray = torch.cat((azimuth * theta.sin().unsqueeze(-1), theta.cos().unsqueeze(-1)), -1)
    else:
        if camera.distortion_model != 'none':
            xy = _undistort(camera, xy)
        ray = torch.cat((xy, torch.ones_like(xy[..., :1])), -1)
        ray = ray / ray.norm(dim=-1, keepdim=True)
    return ray.to(pixels.dtype)


@lru_cache(maxsize=8)
def _cached_rays(camera: Camera, device: torch.device, dtype: torch.dtype) -> Tensor:
    grid = pixel_grid(camera.width, camera.height, device=device, dtype=torch.float64)
    return directions(grid, camera).to(dtype)


def rays(
    camera: Camera, *, device: torch.device | None = None, dtype: torch.dtype = torch.float32
) -> Tensor:
    """(H, W, 3) unit viewing ray of every pixel; NaN where the lens model has none.

    A robot's camera seldom changes, so the last few results are kept: do not write into them.
    """
    return _cached_rays(camera, torch.device(device or 'cpu'), dtype)


def project(points: Tensor, camera: Camera) -> Tensor:
    """(..., 2) pixels of points (..., 3) in the optical frame; NaN where they cannot be seen.

    A pixel outside the image is returned as it is: the caller knows what it wants of it.
    """
    x, y, z = points.to(torch.float64).unbind(-1)
    if camera.distortion_model == 'equidistant':
        radius = torch.hypot(x, y)
        theta = torch.atan2(radius, z)
        seen = (theta <= _lens_table(camera)[0][-1].item()) & (points != 0).any(-1)
        scale = _theta_distorted(camera, theta)[0] / radius.clamp_min(1e-12)
        xy = torch.stack((x, y), -1) * scale.unsqueeze(-1)
    else:
        seen = z > 0
        xy = torch.stack((x, y), -1) / torch.where(seen, z, torch.nan).unsqueeze(-1)
        if camera.distortion_model != 'none':
            seen = seen & (xy.norm(dim=-1) <= _lens_table(camera)[0][-1].item())
            xy = _distort(camera, xy)[0]
    uv = xy * xy.new_tensor((camera.fx, camera.fy)) + xy.new_tensor((camera.cx, camera.cy))
    return torch.where(seen.unsqueeze(-1), uv, torch.nan).to(points.dtype)


# --- depth ------------------------------------------------------------------------------------


def ray_distance_from_depth(depth: Tensor, rays: Tensor) -> Tensor:
    """Euclidean distance along the unit rays (H, W, 3) of z-depth (..., H, W), metres."""
    return depth / rays[..., 2]


def depth_from_ray_distance(ray_distance: Tensor, rays: Tensor) -> Tensor:
    """z-depth of Euclidean distance (..., H, W) along the unit rays (H, W, 3), metres.

    NaN where the ray does not look forward: z-depth has no meaning there.
    """
    z = rays[..., 2]
    return torch.where(z > 0, ray_distance * z, torch.nan)


def unproject(depth: Tensor, camera: Camera) -> Tensor:
    """(..., H, W, 3) points in the optical frame of z-depth (..., H, W), metres.

    NaN where depth is NaN or infinite, where the lens has no ray or it does not look forward.
    """
    ray = rays(camera, device=depth.device, dtype=depth.dtype)
    usable = torch.isfinite(depth) & (ray[..., 2] > 0)
    ray_distance = torch.where(usable, depth, torch.nan) / ray[..., 2]
    return ray * ray_distance.unsqueeze(-1)


# --- resampling -------------------------------------------------------------------------------


def resize_image(image: Tensor, width: int, height: int) -> Tensor:
    """(..., 3, H, W) float image resampled to (..., 3, height, width) without aliasing."""
    flat = image.reshape(-1, *image.shape[-3:])
    resized = F.interpolate(
        flat, (height, width), mode='bilinear', align_corners=False, antialias=True
    )
    return resized.reshape(*image.shape[:-2], height, width)


def view_pixels(source: Camera, target: Camera, *, device: torch.device | None = None) -> Tensor:
    """(H, W, 2) pixels of `source` that look where each pixel of `target` looks.

    The two cameras share one optical centre and frame (a resized, cropped or rectified view), so
    z-depth is the same in both. NaN where the source sees nothing.
    """
    if (source.distortion_model, source.distortion) == (
        target.distortion_model,
        target.distortion,
    ):
        # Same lens: normalised coordinates agree and the lens model cancels.
        uv = pixel_grid(target.width, target.height, device=device)
        scale = uv.new_tensor((source.fx / target.fx, source.fy / target.fy))
        centre = uv.new_tensor((target.cx, target.cy))
        return (uv - centre) * scale + uv.new_tensor((source.cx, source.cy))
    return project(rays(target, device=device, dtype=torch.float64), source).float()


def resample_image(image: Tensor, pixels: Tensor) -> Tensor:
    """(3, H, W) bilinear samples of image (3, h, w) at pixels (H, W, 2); 0 outside."""
    height, width = image.shape[-2:]
    size = pixels.new_tensor((width, height))
    grid = ((pixels + 0.5) / size * 2 - 1).nan_to_num(nan=-2.0)
    return F.grid_sample(image[None], grid[None], align_corners=False)[0]


def resample_depth(
    depth: Tensor, std: Tensor, pixels: Tensor, *, jump: float = 0.1
) -> tuple[Tensor, Tensor]:
    """Depth and std (h, w), metres, sampled at pixels (..., 2) without inventing depth.

    Where the four neighbours agree within the ratio 1 + jump they lie on one surface: inverse
    depth, which is linear in the pixels of a plane, is interpolated. Across a larger jump, beside
    NaN or beside infinity the nearest pixel is taken, so that no point hangs between foreground
    and background. NaN further than half a pixel outside.
    """
    height, width = depth.shape
    corner, weight, inside = _corners(pixels, width, height)
    near = depth.flatten()[corner]
    low, high = near.amin(0), near.amax(0)  # NaN propagates, so the comparison below fails
    smooth = (high <= low * (1 + jump)) & torch.isfinite(high)

    nearest = corner.gather(0, weight.argmax(0, keepdim=True))[0]
    out_depth = torch.where(smooth, 1 / (weight / near).sum(0), depth.flatten()[nearest])
    out_std = torch.where(smooth, (weight * std.flatten()[corner]).sum(0), std.flatten()[nearest])
    return (
        torch.where(inside, out_depth, torch.nan),
        torch.where(inside, out_std, torch.nan),
    )


def resample_values(values: Tensor, pixels: Tensor, *, jump: float = 0.1) -> Tensor:
    """As resample_depth, of what is linear in the pixels of a plane by itself, such as disparity.

    Args:
        values: (h, w) of any sign. jump: how far values on one surface may differ, of the least.
    """
    height, width = values.shape
    corner, weight, inside = _corners(pixels, width, height)
    near = values.flatten()[corner]
    smooth = near.amax(0) - near.amin(0) <= jump * near.abs().amin(0)  # False for NaN and inf
    nearest = corner.gather(0, weight.argmax(0, keepdim=True))[0]
    between = torch.where(smooth, (weight * near).sum(0), values.flatten()[nearest])
    return torch.where(inside, between, torch.nan)


def pixels_read(pixels: Tensor, width: int, height: int) -> Tensor:
    """(height, width) bool: which pixels of a map `resample_depth` looks at for `pixels`."""
    corner, _, inside = _corners(pixels, width, height)
    read = torch.zeros(height * width, dtype=torch.bool, device=pixels.device)
    read[corner[:, inside]] = True
    return read.unflatten(0, (height, width))


def _corners(pixels: Tensor, width: int, height: int) -> tuple[Tensor, Tensor, Tensor]:
    """Flat indices (4, ...) around pixels (..., 2), bilinear weights, and which are inside."""
    u, v = pixels.unbind(-1)
    inside = (u >= -0.5) & (u <= width - 0.5) & (v >= -0.5) & (v <= height - 0.5)
    u = torch.where(inside, u, 0.0).clamp(0, width - 1)
    v = torch.where(inside, v, 0.0).clamp(0, height - 1)
    u0 = u.floor().clamp(max=max(width - 2, 0)).long()
    v0 = v.floor().clamp(max=max(height - 2, 0)).long()
    u1, v1 = (u0 + 1).clamp(max=width - 1), (v0 + 1).clamp(max=height - 1)
    du, dv = u - u0, v - v0
    corner = torch.stack((v0 * width + u0, v0 * width + u1, v1 * width + u0, v1 * width + u1))
    weight = torch.stack(((1 - du) * (1 - dv), du * (1 - dv), (1 - du) * dv, du * dv))
    return corner, weight, inside


def rectified_camera(camera: Camera, *, max_fov_deg: float = 110.0) -> Camera:
    """A pinhole camera of the same size that sees what `camera` sees, up to `max_fov_deg` wide.

    Keeps the focal length unless the lens is wider than what a pinhole image can hold.
    """
    if camera.distortion_model == 'none':
        return camera
    limit = camera.width / 2 / math.tan(math.radians(max_fov_deg) / 2)
    edge = pixel_grid(camera.width, 1) + torch.tensor((0.0, camera.cy))
    ray = directions(edge, camera)[0]
    seen = ray[ray[:, 2] > 0.0]
    half = float((seen[:, 0] / seen[:, 2]).abs().max())
    focal = max(limit, min(camera.fx, camera.width / 2 / half))
    return replace(
        camera, fx=focal, fy=focal * camera.fy / camera.fx, distortion_model='none', distortion=()
    )
