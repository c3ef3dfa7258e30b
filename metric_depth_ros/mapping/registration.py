"""How the camera moved between two images with depth: Open3D's tensor odometry, from many guesses.

Direct alignment only finds the motion nearest to its guess, so several are refined, by geometry
and colour (hybrid, Park et al. 2017) and by one of them alone (point to plane, Newcombe et al.
2011, or intensity, Steinbruecker et al. 2011, where depth is noisy), and the motion under which
the two images agree best is taken. A guess that
needs no closeness comes from matched features (SIFT, Lowe 2004) and their depth.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from .. import geometry, rigid
from ..types import Camera, DepthPrediction, Frame
from .gating import Gates, gate
from .view import MappingError

_LEVELS = (20, 15, 10)  # most iterations at a quarter, half and all of the working size
_MIN_POINTS = 200  # fewer pixels in common say nothing about a motion
_SAME_SURFACE = 0.02  # of depth: two views of one surface differ by less, beside what std allows
_SAME_SHADE = 0.06  # of full scale, of local contrast
_SURFACE_OVER_SHADE = 4.0  # light changes with the view and exposure with time, surfaces do not
_CONTRAST_REACH = 12.0  # pixels; shades are compared with those around them, whatever the exposure
_SMOOTHING = 1.0  # pixels, against noise and the blocks of JPEG
_MAX_FEATURES = 1500
_MIN_MATCHES = 6
_DISTINCT = 0.8  # nearest descriptor / second nearest (Lowe 2004, section 7.1)
_REPROJECTION = 2.0  # pixels


@dataclass(frozen=True)
class DepthImage:
    """An image with the depth that may be trusted, rectified and of working size.

    image: (h, w, 3) uint8 RGB. depth, std: (h, w) float32 metres, NaN where gated. camera: of
    these pixels, without distortion.
    """

    image: np.ndarray
    depth: Tensor
    std: Tensor
    camera: Camera

    @property
    def usable(self) -> float:
        """Share of pixels with depth, 0 to 1."""
        return float(self.depth.isfinite().float().mean())

    @cached_property
    def contrast(self) -> Tensor:
        """(h, w) grey in [0, 1] less its surroundings: the same under another exposure."""
        grey = cv2.cvtColor(self.image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
        fine = cv2.GaussianBlur(grey, (0, 0), _SMOOTHING)
        return torch.from_numpy(fine - cv2.GaussianBlur(grey, (0, 0), _CONTRAST_REACH))

    @cached_property
    def features(self) -> tuple[np.ndarray, np.ndarray | None]:
        """(N, 2) pixels and (N, 128) descriptors; None where nothing stands out."""
        pixels = ((self.contrast / 0.6 + 0.5).clamp(0, 1) * 255).byte().numpy()
        sift: Any = cv2.SIFT.create(_MAX_FEATURES, contrastThreshold=0.01)
        points, descriptors = sift.detectAndCompute(pixels, None)
        return np.array([point.pt for point in points]).reshape(-1, 2), descriptors

    @cached_property
    def open3d(self) -> Any:
        """The same as an Open3D RGBDImage."""
        return _open3d_image(self.image, self.depth)

    def with_depth(self, depth: Tensor, std: Tensor) -> DepthImage:
        """The same image with another depth (h, w)."""
        return DepthImage(self.image, depth, std, self.camera)


def depth_image(
    frame: Frame, prediction: DepthPrediction, gates: Gates, pixels: int
) -> DepthImage:
    """A frame and its depth, gated, rectified and no larger than about `pixels` in area."""
    pinhole = geometry.rectified_camera(frame.camera)
    image = frame.image
    if pinhole != frame.camera:
        planes = image.permute(2, 0, 1).float()
        planes = geometry.resample_image(planes, geometry.view_pixels(frame.camera, pinhole))
        image = planes.round().byte().permute(1, 2, 0)
    size = pinhole.width, pinhole.height
    if pixels < pinhole.width * pinhole.height:
        size = geometry.fit_size(*size, pixels, multiple_of=2 ** (len(_LEVELS) - 1))
    camera = geometry.resize_camera(pinhole, *size)
    trusted = gate(prediction, gates)
    depth, std = geometry.resample_depth(
        trusted.depth.cpu(), trusted.std.cpu(), geometry.view_pixels(frame.camera, camera)
    )
    small = cv2.resize(image.cpu().numpy(), size, interpolation=cv2.INTER_AREA)
    return DepthImage(small, depth, std, camera)


@dataclass(frozen=True)
class Agreement:
    """How well two images agree under a motion.

    overlap: share of the source's pixels with depth that fall on such of the target. surface:
        share of those that lie where the target's surface is. distance: mean distance from it,
        cut off at 1, what one surface may differ by. precision: how much less than noisy depth may
        differ, 1 for the best of sensors and towards 0 the larger std is. shade: mean difference
        of local contrast where both see one surface, 0 (same) to 1.
    """

    overlap: float
    surface: float
    distance: float
    precision: float
    shade: float

    @property
    def fitness(self) -> float:
        """Share of the source's pixels with depth that lie on the target's surface."""
        return self.overlap * self.surface

    @property
    def cost(self) -> float:
        """Of two motions the one of lower cost is the better; surfaces count by 1 / variance."""
        return _SURFACE_OVER_SHADE * self.precision**2 * self.distance + self.shade


NO_AGREEMENT = Agreement(0.0, 0.0, 1.0, 1.0, 1.0)


def agreement(source: DepthImage, target: DepthImage, target_from_source: Tensor) -> Agreement:
    """How well `source`, moved by (4, 4) float64, agrees with `target` of the same camera."""
    points = geometry.unproject(source.depth, source.camera)
    seen = points[..., 2].isfinite()
    count = int(seen.sum())
    motion = target_from_source.float()
    moved = points[seen] @ motion[:3, :3].T + motion[:3, 3]
    uv = geometry.project(moved, target.camera).round()
    inside = (uv >= 0).all(-1) & (uv[:, 0] < target.camera.width)
    inside &= uv[:, 1] < target.camera.height
    u, v = uv[inside].long().unbind(-1)
    expected, found = moved[inside, 2], target.depth[v, u]
    both = found.isfinite()
    if int(both.sum()) < _MIN_POINTS:
        return NO_AGREEMENT
    spread = torch.hypot(source.std[seen][inside], target.std[v, u])
    tolerance = torch.maximum(_SAME_SURFACE * expected, 2 * spread)
    distance = ((found - expected).abs() / tolerance)[both]
    same = both & ((found - expected).abs() <= tolerance)
    shade = (source.contrast[seen][inside] - target.contrast[v, u]).abs()[same]
    return Agreement(
        overlap=int(both.sum()) / count,
        surface=int(same.sum()) / int(both.sum()),
        distance=float(distance.clamp(max=1).mean()),
        precision=float((_SAME_SURFACE * expected / tolerance)[both].mean()),
        shade=float((shade / _SAME_SHADE).clamp(max=1).mean()) if len(shade) else 1.0,
    )


@dataclass(frozen=True)
class Registration:
    """A motion target_from_source (4, 4) float64, and how well the images agree under it."""

    target_from_source: Tensor
    agreement: Agreement


def register(source: DepthImage, target: DepthImage, guesses: Iterable[Tensor]) -> Registration:
    """The best motion that any of the guesses leads to.

    Once two methods lead from one guess to the same motion, no further guess is tried. A guess
    stands for itself too: Open3D may have no solution (too little in common, a degenerate scene),
    and noisy depth may lead away from a good one.

    Args:
        source, target: of one camera. guesses: (4, 4) float64 target_from_source, likeliest first.
    """
    best = Registration(torch.eye(4, dtype=torch.float64), NO_AGREEMENT)
    for guess in guesses:
        refined = list(_refine(source, target, guess))
        for motion in [guess, *refined]:
            found = Registration(motion, agreement(source, target, motion))
            best = min(best, found, key=lambda each: each.agreement.cost)
        if len(refined) == 2 and _alike(*refined) and best.agreement.fitness > 0:
            break
    return best


def slide(source: DepthImage, target: DepthImage) -> Tensor | None:
    """target_from_source near the identity by geometry alone; None where there is none."""
    return _odometry(source, target, torch.eye(4, dtype=torch.float64), 'PointToPlane')


def _alike(first: Tensor, second: Tensor) -> bool:
    """Within a centimetre and half a degree."""
    between = rigid.inverse(first) @ second
    return rigid.distance(between) < 0.01 and rigid.angle(between) < 0.01


def _refine(source: DepthImage, target: DepthImage, guess: Tensor) -> Iterator[Tensor]:
    for method in _methods(source):
        motion = _odometry(source, target, guess, method)
        if motion is not None:
            yield motion


def _methods(source: DepthImage) -> tuple[str, str]:
    """Geometry alone only where depth is precise: waves in it would be taken for motion."""
    noise = float((source.std / source.depth).nanmedian())
    precise = noise < _SAME_SURFACE / 2
    return ('PointToPlane', 'Hybrid') if precise else ('Intensity', 'Hybrid')


def _odometry(source: DepthImage, target: DepthImage, guess: Tensor, method: str) -> Tensor | None:
    """The motion that Open3D makes of a guess; None where its equations have no solution."""
    open3d = _open3d()
    odometry = open3d.t.pipelines.odometry
    depth_max = float(torch.nan_to_num(source.depth).max()) + 1
    # Twice the noise may lie between two views of one surface: more than that is another one.
    reach = max(0.07, 3 * float(source.std.nanmedian().nan_to_num()))
    try:
        result = odometry.rgbd_odometry_multi_scale(
            source.open3d,
            target.open3d,
            open3d.core.Tensor(geometry.matrix(source.camera).numpy()),
            open3d.core.Tensor(guess.numpy()),
            1.0,  # depth is in metres
            depth_max,
            [odometry.OdometryConvergenceCriteria(count) for count in _LEVELS],
            getattr(odometry.Method, method),
            odometry.OdometryLossParams(reach, reach * 0.7, 0.1),
        )
    except RuntimeError:  # a singular system: too few points, or all in one plane
        return None
    motion = torch.from_numpy(result.transformation.numpy().copy())
    if not bool(motion.isfinite().all()):
        return None
    return _rigid_again(motion)


def _rigid_again(motion: Tensor) -> Tensor:
    """The same without the rounding that many small steps leave in a rotation."""
    return rigid.rigid(motion[:3, 3], rigid.quaternion(motion))


def _open3d() -> Any:
    try:
        import open3d
    except ImportError:
        raise MappingError(
            "Open3D is not installed: pip install 'metric_depth_ros[mapping]'"
        ) from None
    return open3d


def _open3d_image(image: np.ndarray, depth: Tensor) -> Any:
    open3d = _open3d()

    def plane(pixels: np.ndarray) -> Any:
        tensor = open3d.core.Tensor(np.ascontiguousarray(pixels))
        return open3d.t.geometry.Image(tensor)

    return open3d.t.geometry.RGBDImage(plane(image), plane(depth.numpy()))


def guess_by_features(source: DepthImage, target: DepthImage) -> Tensor | None:
    """target_from_source (4, 4) float64 of matched features; None where too few match.

    RANSAC draws the same random numbers every time.
    """
    (ours, our_descriptors), (theirs, their_descriptors) = source.features, target.features
    if our_descriptors is None or their_descriptors is None or len(theirs) < 2:
        return None
    pairs = cv2.BFMatcher().knnMatch(our_descriptors, their_descriptors, k=2)
    matches = [a for a, b in pairs if a.distance < _DISTINCT * b.distance]
    at = np.array([ours[match.queryIdx] for match in matches]).reshape(-1, 2)
    to = np.array([theirs[match.trainIdx] for match in matches]).reshape(-1, 2)
    points = _points_at(source, at)
    known = np.isfinite(points).all(-1)
    if known.sum() < _MIN_MATCHES:
        return None
    intrinsics = geometry.matrix(target.camera).numpy()
    cv2.setRNGSeed(0)
    found, turn, shift, inliers = cv2.solvePnPRansac(
        points[known], to[known].astype(np.float64), intrinsics, None,
        iterationsCount=300, reprojectionError=_REPROJECTION,
    )  # fmt: skip
    if not found or inliers is None or len(inliers) < _MIN_MATCHES:
        return None
    motion = torch.eye(4, dtype=torch.float64)
    motion[:3, :3] = torch.from_numpy(cv2.Rodrigues(turn)[0])
    motion[:3, 3] = torch.from_numpy(shift[:, 0])
    return motion if bool(motion.isfinite().all()) else None


def _points_at(image: DepthImage, pixels: np.ndarray) -> np.ndarray:
    """(N, 3) float64 points at pixels (N, 2), by the depth of the nearest one."""
    uv = torch.from_numpy(pixels).double()
    u, v = uv.round().long().unbind(-1)
    ray = geometry.directions(uv, image.camera)
    depth = image.depth[v.clamp(0, image.camera.height - 1), u.clamp(0, image.camera.width - 1)]
    return (ray / ray[:, 2:] * depth[:, None]).numpy()
