"""What `metric-depth fuse` made, in numbers: as JSON and as a table."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..mapping.export import Exported
from ..mapping.gating import GateCounts
from ..mapping.mapper import MapStats
from ..mapping.saving import write_content
from ..mapping.trajectory import Drift, TrajectoryScore
from .recordings import Unusable
from .samples import SplatScore, SurfaceScore

_NAMED = 5  # unused frames in the terminal; the file has all


@dataclass(frozen=True)
class Report:
    """One map.

    depth: 'truth', or the name of the model. poses: 'truth' or 'odometry'. frames: asked for.
    area_m2: of the mesh. drift, ate: of the trajectory against the true one; None where the poses
    are the true ones or there are none, and ate_missing says why it is not known.
    exported: None unless a sequence was written. seconds: by the wall clock. files: in the folder.
    """

    recording: str
    depth: str
    poses: str
    voxel_size: float
    frames: int
    unused: tuple[Unusable, ...]
    pixels: GateCounts
    interrupted: bool
    stats: MapStats
    triangles: int
    area_m2: float
    points: int
    drift: Drift | None
    ate: TrajectoryScore | None
    ate_missing: str
    surface: SurfaceScore | None
    splat: SplatScore | None
    exported: Exported | None
    seconds: float
    files: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Of numbers, texts, lists and None alone: NaN and infinity become None."""
        known = _plain(asdict(self))
        assert isinstance(known, dict)
        return known


def write_report(path: Path, report: Report) -> None:
    """Write the report as JSON.

    Raises:
        MappingError: it cannot be written.
    """
    text = json.dumps(report.to_json(), indent=1) + '\n'
    write_content(path, text.encode())


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def table(report: Report) -> Any:
    """A rich table of two columns: what, and how much."""
    from rich.table import Table

    out = Table(show_header=False, title=f'{report.recording}', title_justify='left')
    out.add_column(style='bold')
    out.add_column()
    for name, text in rows(report):
        out.add_row(name, text)
    return out


def rows(report: Report) -> list[tuple[str, str]]:
    """The lines of the table."""
    stats = report.stats
    lines = [
        ('depth, poses', f'{report.depth}, {report.poses}'),
        ('frames', _frames(report)),
        ('pixels', pixels_line(report.pixels)),
        ('path', f'{stats.path_m:.2f} m'),
    ]
    if report.drift is not None:
        lines.append(('drift', _drift(report.drift)))
    if report.ate is not None:
        lines.append(('trajectory (evo)', _ate(report.ate)))
    elif report.ate_missing:
        lines.append(('trajectory (evo)', report.ate_missing))
    lines.append(
        (
            'mesh',
            f'{report.triangles} triangles, {report.area_m2:.2f} m2, voxels of '
            f'{100 * report.voxel_size:g} cm, {stats.voxel_bytes / 1e6:.0f} MB',
        )
    )
    lines.append(('cloud', f'{report.points} points'))
    if stats.dropped or stats.refused:
        lines.append(
            (
                'memory limit',
                f'{stats.dropped} blocks dropped (their surface is in the mesh), {stats.refused} '
                f'refused, of {stats.max_blocks}',
            )
        )
    if report.surface is not None:
        lines.append(('map against true depth', _surface(report.surface)))
    if stats.gaussians:
        lines.append(('splat', f'{stats.gaussians} Gaussians, {stats.key_frames} key frames'))
    if report.splat is not None:
        lines.append((_views(report.splat), _splat(report.splat)))
    if report.exported is not None:
        lines.append(('sequence', f'{report.exported.frames} frames in the TUM RGB-D layout'))
    lines.append(('time', f'{report.seconds:.1f} s'))
    return lines


def pixels_line(counts: GateCounts) -> str:
    """Which share of all pixels was fused, and what the others lacked."""
    share = {name: 100 * value / counts.pixels for name, value in asdict(counts).items()}
    return (
        f'{share["used"]:.0f} % fused; {share["no_depth"]:.0f} % without depth, '
        f'{share["range"]:.0f} % out of range, {share["std"]:.0f} % too uncertain, '
        f'{share["edges"]:.0f} % at depth edges'
    )


def _frames(report: Report) -> str:
    text = f'{report.stats.frames} fused of {report.frames}'
    if report.stats.lost:
        text += f', odometry lost in {report.stats.lost}'
    if report.interrupted:
        text += '; stopped before the end'
    return text


def _drift(drift: Drift) -> str:
    return (
        f'{drift.translation_percent:.2f} % and {drift.rotation_deg_per_m:.2f} deg/m over '
        f'{drift.stretch_m:.1f} m; {drift.end_m:.3f} m and {drift.end_deg:.1f} deg at the end of '
        f'{drift.length_m:.2f} m; scale {drift.scale:.3f}'
    )


def _ate(score: TrajectoryScore) -> str:
    return (
        f'ATE {score.ate_m:.4f} m ({score.ate_scaled_m:.4f} m at scale {score.scale:.3f}), RPE '
        f'{score.rpe_m:.4f} m and {score.rpe_deg:.2f} deg, {score.poses} poses'
    )


def _surface(score: SurfaceScore) -> str:
    return (
        f'{100 * score.error_m:.2f} cm mean error ({100 * score.abs_rel:.2f} %), median '
        f'{100 * score.median_m:+.2f} cm, {100 * score.covered:.0f} % covered, {score.views} views'
    )


def _views(score: SplatScore) -> str:
    return 'splat, held-out views' if score.held_out else 'splat, views it was fitted to'


def _splat(score: SplatScore) -> str:
    depth = '' if math.isnan(score.depth_l1) else f', depth L1 {100 * score.depth_l1:.2f} cm'
    return f'PSNR {score.psnr:.2f} dB, SSIM {score.ssim:.3f}{depth}, {score.views} views'


def unused_lines(report: Report) -> list[str]:
    """Frames that the map has nothing of, counted, the first few by name and reason."""
    if not report.unused:
        return []
    lines = [f'{len(report.unused)} not fused:']
    lines += [f'  {frame.name}: {frame.reason}' for frame in report.unused[:_NAMED]]
    if len(report.unused) > _NAMED:
        lines.append(f'  and {len(report.unused) - _NAMED} more')
    return lines
