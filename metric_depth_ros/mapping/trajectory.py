"""Trajectories: the TUM text format, and how far an estimate strays from the truth."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import rigid
from .view import MappingError, check_pose

TUM_HEADER = (
    '# timestamp tx ty tz qx qy qz qw (world_from_camera, optical frame, seconds and metres)'
)
_TOLERANCE_S = 0.02  # as the TUM benchmark associates


class TrajectoryError(MappingError):
    """A trajectory that cannot be read, or two that cannot be compared."""


@dataclass(frozen=True)
class Trajectory:
    """Poses of a camera in order of time.

    stamps_ns: N increasing times. world_from_camera: (N, 4, 4) float64.

    Raises:
        TrajectoryError: counts that differ, or times that do not increase.
    """

    stamps_ns: tuple[int, ...]
    world_from_camera: Tensor

    def __post_init__(self) -> None:
        if tuple(self.world_from_camera.shape) != (len(self.stamps_ns), 4, 4):
            raise TrajectoryError(
                f'{len(self.stamps_ns)} stamps with poses of shape '
                f'{tuple(self.world_from_camera.shape)}, expected ({len(self.stamps_ns)}, 4, 4)'
            )
        if any(b <= a for a, b in itertools.pairwise(self.stamps_ns)):
            raise TrajectoryError('stamps of a trajectory do not increase')

    def __len__(self) -> int:
        return len(self.stamps_ns)

    @property
    def length(self) -> float:
        """Metres travelled."""
        places = self.world_from_camera[:, :3, 3]
        return float((places[1:] - places[:-1]).norm(dim=1).sum())


def trajectory_of(poses: Iterable[tuple[int, Tensor]]) -> Trajectory:
    """Of (stamp_ns, world_from_camera) in any order; of one stamp the last counts."""
    ordered = sorted(dict(poses).items())
    matrices = torch.empty(len(ordered), 4, 4, dtype=torch.float64)
    for row, (_, pose) in zip(matrices, ordered, strict=True):
        row.copy_(pose)
    return Trajectory(tuple(stamp for stamp, _ in ordered), matrices)


def seconds(stamp_ns: int) -> str:
    """'12.345678900' of nanoseconds, exactly: a float64 of today's seconds resolves 240 ns."""
    sign = '-' if stamp_ns < 0 else ''
    whole, rest = divmod(abs(stamp_ns), 1_000_000_000)
    return f'{sign}{whole}.{rest:09d}'


def tum_line(stamp_ns: int, world_from_camera: Tensor) -> str:
    """One line of the TUM format, without its end: timestamp tx ty tz qx qy qz qw."""
    numbers = (*world_from_camera[:3, 3].tolist(), *rigid.quaternion(world_from_camera).tolist())
    return ' '.join([seconds(stamp_ns), *(f'{number:.9f}' for number in numbers)])


def tum_text(trajectory: Trajectory) -> str:
    """A whole file of the TUM format."""
    poses = zip(trajectory.stamps_ns, trajectory.world_from_camera, strict=True)
    lines = [TUM_HEADER, *(tum_line(stamp_ns, pose) for stamp_ns, pose in poses)]
    return '\n'.join(lines) + '\n'


def write_trajectory(path: Path, trajectory: Trajectory) -> None:
    """Write the TUM format; what stands at `path` is replaced once all is written.

    Raises:
        OSError: it cannot be written.
    """
    part = path.with_name(f'{path.name}.part')  # so that what stands at `path` is always whole
    part.write_text(tum_text(trajectory))
    part.replace(path)


def read_trajectory(path: Path) -> Trajectory:
    """Read the TUM format: lines of eight numbers, # begins a remark, in any order of time.

    Raises:
        TrajectoryError: there is no such file, or a line is not a stamp and a pose.
    """
    if not path.is_file():
        raise TrajectoryError(f'{path}: there is no such trajectory')
    poses = []
    for number, line in enumerate(path.read_text(errors='replace').splitlines(), 1):
        words = line.replace(',', ' ').split()
        if words and not words[0].startswith('#'):
            try:
                poses.append(_parse(words))
            except ValueError as error:
                raise TrajectoryError(f'{path}, line {number}: {error}') from None
    return trajectory_of(poses)


def _parse(words: list[str]) -> tuple[int, Tensor]:
    if len(words) != 8:
        raise TrajectoryError(
            f'{len(words)} words, expected 8: timestamp tx ty tz qx qy qz qw, seconds and metres'
        )
    numbers = torch.tensor([float(word) for word in words[1:]], dtype=torch.float64)
    pose = rigid.rigid(numbers[:3], numbers[3:])
    check_pose(pose)
    return _nanoseconds(words[0]), pose


def _nanoseconds(word: str) -> int:
    """Exact where the word is plain decimal."""
    whole, _, rest = word.partition('.')
    if whole.isdigit() and (not rest or rest.isdigit()):
        return int(whole) * 1_000_000_000 + int(rest[:9].ljust(9, '0'))
    return round(float(word) * 1e9)


def associated(
    estimate: Trajectory, truth: Trajectory, tolerance_s: float = _TOLERANCE_S
) -> tuple[Trajectory, Trajectory]:
    """The poses of both that are at most `tolerance_s` apart in time, pair by pair.

    Raises:
        TrajectoryError: fewer than two are.
    """
    stamps = torch.tensor(truth.stamps_ns, dtype=torch.int64)
    pairs: dict[int, int] = {}  # of truth -> of estimate
    for index, stamp in enumerate(estimate.stamps_ns if len(stamps) else ()):
        near = int((stamps - stamp).abs().argmin())
        if abs(truth.stamps_ns[near] - stamp) <= tolerance_s * 1e9:
            pairs.setdefault(near, index)
    if len(pairs) < 2:
        raise TrajectoryError(
            f'{len(pairs)} of {len(estimate)} poses have a true one within {tolerance_s:g} s, '
            'expected at least 2'
        )
    theirs, ours = sorted(pairs), [pairs[i] for i in sorted(pairs)]
    stamps_ns = tuple(truth.stamps_ns[i] for i in theirs)
    return (
        Trajectory(stamps_ns, estimate.world_from_camera[ours]),
        Trajectory(stamps_ns, truth.world_from_camera[theirs]),
    )


@dataclass(frozen=True)
class Drift:
    """How an estimate strays along the way, with no alignment.

    translation_percent, rotation_deg_per_m: error of the motion over each stretch of about
        `stretch_m` of true path, relative to its length; mean over all stretches (Geiger et al.,
        "Are we ready for autonomous driving?", CVPR 2012). stretch_m: the metres asked for, or
        the whole path where it is shorter.
    end_m, end_deg: error of the motion from the first pose to the last. length_m: of true path.
    scale: path of the estimate / true path.
    """

    translation_percent: float
    rotation_deg_per_m: float
    stretch_m: float
    end_m: float
    end_deg: float
    length_m: float
    scale: float


def drift(
    estimate: Trajectory,
    truth: Trajectory,
    *,
    stretch_m: float = 1.0,
    tolerance_s: float = _TOLERANCE_S,
) -> Drift:
    """Drift of an estimate against the truth, by the poses that both have.

    Raises:
        TrajectoryError: fewer than two poses agree in time, or the true camera never moved.
    """
    ours, theirs = associated(estimate, truth, tolerance_s)
    places = theirs.world_from_camera[:, :3, 3]
    steps = (places[1:] - places[:-1]).norm(dim=1)
    travelled = torch.cat((steps.new_zeros(1), steps.cumsum(0)))
    length = float(travelled[-1])
    if length == 0:
        raise TrajectoryError('the true camera never moved: drift has no path to refer to')
    stretch_m = min(stretch_m, length)
    errors = []
    for first, begin in enumerate(travelled.tolist()):
        last = int(torch.searchsorted(travelled, begin + stretch_m - 1e-9))
        if last < len(travelled):
            path = float(travelled[last]) - begin
            metres, radians = _motion_error(ours, theirs, first, last)
            errors.append((metres / path, radians / path))
    translation, rotation = torch.tensor(errors, dtype=torch.float64).mean(0).tolist()
    end_m, end_rad = _motion_error(ours, theirs, 0, len(theirs) - 1)
    return Drift(
        translation_percent=100 * translation,
        rotation_deg_per_m=math.degrees(rotation),
        stretch_m=stretch_m,
        end_m=end_m,
        end_deg=math.degrees(end_rad),
        length_m=length,
        scale=ours.length / length,
    )


def _motion_error(
    ours: Trajectory, theirs: Trajectory, first: int, last: int
) -> tuple[float, float]:
    """Metres and radians between the two motions from one pose to another."""
    motions = [
        rigid.inverse(each.world_from_camera[first]) @ each.world_from_camera[last]
        for each in (ours, theirs)
    ]
    error = rigid.inverse(motions[1]) @ motions[0]
    return rigid.distance(error), rigid.angle(error)


@dataclass(frozen=True)
class TrajectoryScore:
    """evo's figures for an estimate, root mean squares.

    ate_m: absolute trajectory error after a rigid alignment (no scale); ate_scaled_m: with scale,
        and scale the factor that the alignment found. rpe_m, rpe_deg: relative pose error from
        frame to frame. poses: how many were compared.
    """

    ate_m: float
    ate_scaled_m: float
    scale: float
    rpe_m: float
    rpe_deg: float
    poses: int


def score(
    estimate: Trajectory, truth: Trajectory, *, tolerance_s: float = _TOLERANCE_S
) -> TrajectoryScore:
    """ATE and RPE as the evo package computes them (Umeyama alignment).

    Raises:
        TrajectoryError: evo is not installed, or there is too little to compare.
    """
    try:
        from evo.core import geometry as evo_geometry
        from evo.core import metrics, trajectory
    except ImportError:
        raise TrajectoryError('evo is not installed: pip install evo') from None
    ours, theirs = associated(estimate, truth, tolerance_s)

    def path(poses: Trajectory) -> Any:
        return trajectory.PosePath3D(poses_se3=list(poses.world_from_camera.numpy()))

    def rmse(metric: Any, estimated: Any) -> float:
        metric.process_data((path(theirs), estimated))
        return float(metric.get_statistic(metrics.StatisticsType.rmse))

    def translation_error() -> Any:
        return metrics.APE(metrics.PoseRelation.translation_part)

    def step_error(relation: Any) -> Any:
        return metrics.RPE(relation, delta=1, delta_unit=metrics.Unit.frames)

    rigidly, scaled = path(ours), path(ours)
    try:
        rigidly.align(path(theirs))
        _, _, scale = scaled.align(path(theirs), correct_scale=True)
    except evo_geometry.GeometryException as error:
        raise TrajectoryError(f'the trajectories cannot be aligned: {error}') from None
    return TrajectoryScore(
        ate_m=rmse(translation_error(), rigidly),
        ate_scaled_m=rmse(translation_error(), scaled),
        scale=float(scale),
        rpe_m=rmse(step_error(metrics.PoseRelation.translation_part), path(ours)),
        rpe_deg=rmse(step_error(metrics.PoseRelation.rotation_angle_deg), path(ours)),
        poses=len(ours),
    )
