"""RGB-D odometry: where the camera is, from its images and their depth alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .. import rigid
from ..types import Camera, DepthPrediction, Frame
from .gating import Gates
from .registration import (
    Agreement,
    DepthImage,
    Registration,
    agreement,
    depth_image,
    guess_by_features,
    register,
    slide,
)
from .view import MappingError, check_pose

# (h, w) depth in metres of what a map looks like to a camera at world_from_camera (4, 4) float64,
# NaN where it knows nothing.
Model = Callable[[Camera, Tensor], Tensor]

_SAME_MODEL = 0.1  # metres: further than this the map does not correct a motion
_SAME_COLOURS = 0.03  # more difference of shade than this, and it has slid along a plain wall


@dataclass(frozen=True)
class OdometryConfig:
    """Limits of RgbdOdometry.

    gates: which pixels count, by depth, std and depth edges; where std is unknown it is taken for
        a depth sensor's, 0.5 % of depth.
    pixels: area that images are reduced to; odometry is no more precise on larger ones.
    min_usable: share of pixels that must have depth within the gates.
    min_fitness: share of those that must lie on the surface of the key frame, else it is lost.
    min_surface: the same share of only those that the key frame sees too.
    keyframe_overlap: a frame that has less in common with the key frame becomes the next one.
    max_step_m, max_step_deg: a motion between two frames beyond these is a jump, not a motion.
    """

    gates: Gates = field(default_factory=lambda: Gates(assumed_relative_std=0.005))
    pixels: int = 320 * 240
    min_usable: float = 0.05
    min_fitness: float = 0.25
    min_surface: float = 0.6
    keyframe_overlap: float = 0.9
    max_step_m: float = 1.0
    max_step_deg: float = 45.0

    def __post_init__(self) -> None:
        for name in ('min_usable', 'min_fitness', 'min_surface', 'keyframe_overlap'):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise MappingError(f'{name} is {value}, expected 0 to 1')
        for name in ('pixels', 'max_step_m', 'max_step_deg'):
            value = getattr(self, name)
            if not value > 0:
                raise MappingError(f'{name} is {value}, expected a positive number')


@dataclass(frozen=True)
class Tracked:
    """Where the camera is after one more frame.

    world_from_camera: (4, 4) float64; the last pose that was known where `ok` is False.
    fitness: share of the pixels with depth that lie on the surface of the key frame, 0 to 1.
    ok: whether the pose may be used. why: one line, why it is lost; empty where it is not.
    keyframe: whether this frame became a key frame.
    """

    world_from_camera: Tensor
    fitness: float
    ok: bool
    why: str = ''
    keyframe: bool = False


@dataclass(frozen=True)
class _Keyframe:
    image: DepthImage
    world_from_camera: Tensor


class RgbdOdometry:
    """Follows a camera through a scene that stands still, frame by frame.

    Each frame is aligned with the last key frame (`registration.register`), from the guesses that
    it moves on as it did, that it stands still, and that matched features make. Where a `model` of
    the scene is given, the pose is then corrected to it, which keeps drift from adding up frame by
    frame. When it is lost it says so and tries again with the next frame.

    Args:
        config: limits. model: renders the map so far; it is called at every frame but the first.
        world_from_camera: (4, 4) float64 pose of the first frame; None for the identity, so that
            the world is the first frame's optical frame.

    Raises:
        MappingError: the first pose is no rigid motion.
    """

    def __init__(
        self,
        config: OdometryConfig | None = None,
        *,
        model: Model | None = None,
        world_from_camera: Tensor | None = None,
    ) -> None:
        self.config = config or OdometryConfig()
        self.lost = 0
        self._model = model
        self._pose = torch.eye(4, dtype=torch.float64)
        if world_from_camera is not None:
            check_pose(world_from_camera)
            self._pose = world_from_camera
        self._keyframe: _Keyframe | None = None
        self._stamp_ns: int | None = None
        self._step: Tensor | None = None  # last motion, and the nanoseconds it took
        self._step_ns = 0

    def restart(self, world_from_camera: Tensor | None = None) -> None:
        """Begin anew with the next frame, at a pose or where the camera was last.

        Raises:
            MappingError: the pose is no rigid motion.
        """
        if world_from_camera is not None:
            check_pose(world_from_camera)
            self._pose = world_from_camera
        self._keyframe = self._stamp_ns = self._step = None
        self.lost = 0

    def track(self, frame: Frame, prediction: DepthPrediction) -> Tracked:
        """Where the camera is that took this frame; frames come in order of time.

        No depth is too bad: a frame of no use leaves `ok` False and says why.

        Raises:
            MappingError: the prediction is of another camera than the frame.
        """
        if prediction.camera != frame.camera:
            raise MappingError('depth is of another camera than the image, expected the same')
        image = depth_image(frame, prediction, self.config.gates, self.config.pixels)
        if image.usable < self.config.min_usable:
            return self._lose(
                f'{100 * image.usable:.1f} % of the pixels have depth that may be trusted, '
                f'expected at least {100 * self.config.min_usable:g} %'
            )
        if self._keyframe is None:
            self._stamp_ns = frame.stamp_ns
            self._keyframe = _Keyframe(image, self._pose)
            return Tracked(self._pose, 1.0, ok=True, keyframe=True)
        if image.camera != self._keyframe.image.camera:
            return self._lose('the camera is another than before; restart to go on with it')
        elapsed_ns = frame.stamp_ns - (self._stamp_ns or 0)
        found = register(image, self._keyframe.image, self._guesses(image, elapsed_ns))
        why = self._doubt(found)
        if why:
            return self._lose(why, found.agreement)
        found = self._correct_to_model(image, found)
        return self._advance(frame, image, found, elapsed_ns)

    def _guesses(self, image: DepthImage, elapsed_ns: int) -> Iterator[Tensor]:
        """keyframe_from_camera, likeliest first; made when they are asked for."""
        assert self._keyframe is not None
        keyframe_from_world = rigid.inverse(self._keyframe.world_from_camera)
        if self._step is not None and not self.lost:
            share = elapsed_ns / self._step_ns if self._step_ns > 0 and elapsed_ns > 0 else 1.0
            still = torch.eye(4, dtype=torch.float64)
            step = rigid.interpolate(still, self._step, min(share, 2.0))
            yield keyframe_from_world @ self._pose @ step
        yield keyframe_from_world @ self._pose
        by_features = guess_by_features(image, self._keyframe.image)
        if by_features is not None:
            yield by_features

    def _doubt(self, found: Registration) -> str:
        """Why a registration is not to be believed; empty where it is."""
        assert self._keyframe is not None
        config, fit = self.config, found.agreement
        if fit.fitness < config.min_fitness or fit.surface < config.min_surface:
            return (
                f'{100 * fit.fitness:.0f} % of the depth fits the key frame '
                f'({100 * fit.surface:.0f} % of what both see), expected at least '
                f'{100 * config.min_fitness:g} % ({100 * config.min_surface:g} %)'
            )
        pose = self._keyframe.world_from_camera @ found.target_from_source
        step = rigid.inverse(self._pose) @ pose
        # While it was lost the camera may have gone any way.
        metres, degrees = rigid.distance(step), math.degrees(rigid.angle(step))
        if not self.lost and (metres > config.max_step_m or degrees > config.max_step_deg):
            return (
                f'a jump of {metres:.2f} m and {degrees:.0f} degrees, expected at most '
                f'{config.max_step_m:g} m and {config.max_step_deg:g} degrees'
            )
        return ''

    def _correct_to_model(self, image: DepthImage, found: Registration) -> Registration:
        """The same motion corrected to the map, if the key frame's colours agree no less then.

        Its depth is not asked again: the map is made of many frames and knows better.
        """
        if self._model is None or self._keyframe is None:
            return found
        pose = self._keyframe.world_from_camera @ found.target_from_source
        depth = self._model(image.camera, pose).cpu()
        depth = torch.where(image.depth.isfinite(), depth, torch.nan)
        std = torch.where(depth.isfinite(), image.std, torch.nan)
        model = image.with_depth(depth, std)
        if model.usable < self.config.min_fitness * image.usable:
            return found
        correction = slide(image, model)
        if correction is None or rigid.distance(correction) > _SAME_MODEL:
            return found
        motion = found.target_from_source @ correction
        corrected = Registration(motion, agreement(image, self._keyframe.image, motion))
        slid = corrected.agreement.shade > found.agreement.shade + _SAME_COLOURS
        return found if slid or self._doubt(corrected) else corrected

    def _advance(
        self, frame: Frame, image: DepthImage, found: Registration, elapsed_ns: int
    ) -> Tracked:
        assert self._keyframe is not None
        pose = self._keyframe.world_from_camera @ found.target_from_source
        self._step = None if self.lost else rigid.inverse(self._pose) @ pose
        self._step_ns = elapsed_ns
        self._pose, self._stamp_ns, self.lost = pose, frame.stamp_ns, 0
        fitness = found.agreement.fitness
        promoted = found.agreement.overlap < self.config.keyframe_overlap
        if promoted:
            self._keyframe = _Keyframe(image, pose)
        return Tracked(pose, fitness, ok=True, keyframe=promoted)

    def _lose(self, why: str, fit: Agreement | None = None) -> Tracked:
        self.lost += 1
        return Tracked(self._pose, fit.fitness if fit else 0.0, ok=False, why=why)
