"""A recording to a folder: the map, what it is worth, and pictures of it."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..errors import MetricDepthError
from ..mapping import MappingError
from ..mapping.export import Exported, TumExport
from ..mapping.mapper import MESH_FILE, Mapper, MapSettings
from ..mapping.mesh import Mesh, read_mesh
from ..mapping.trajectory import (
    Drift,
    Trajectory,
    TrajectoryError,
    TrajectoryScore,
    drift,
    score,
)
from .fuse import Fused, FuseError, Observer, Predict, fuse, some_of
from .pictures import save_map, save_photographs, save_trajectory
from .recordings import Recording
from .report import Report, pixels_line, write_report
from .rerun_file import RerunFile
from .samples import Samples, score_splat, score_surface

REPORT_FILE, SEQUENCE_FOLDER = 'fuse.json', 'sequence'
_HOLD_OUT = 6  # every sixth frame is not shown to the Gaussians

# Called with what is being done, how much of it is done, and how much there is.
Show = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Wanted:
    """What to make of a recording.

    folder: for everything. depth: the name of what predicts it, for the report. own_poses: of
    odometry. every, max_frames: which frames. splat_steps: of the Gaussians, if the settings have
    any. export: the sequence in the layout of TUM RGB-D. rerun: a file for it.
    """

    folder: Path
    settings: MapSettings
    depth: str
    device: torch.device | str = 'cpu'
    seed: int = 0
    own_poses: bool = False
    every: int = 1
    max_frames: int | None = None
    splat_steps: int = 500
    export: bool = False
    rerun: Path | None = None
    pictures: bool = True


def make_map(
    recording: Recording, predict: Predict, wanted: Wanted, *, show: Show = lambda *_: None
) -> Report:
    """Fuse, save, judge and draw. Stopped from the keyboard it saves and judges what there is.

    Raises:
        FuseError: no frame could be fused, or all of them give no surface; or something else went
            wrong on the way, and the map so far is saved.
        MappingError: settings out of range, or a file that cannot be written.
        OSError: the folder cannot be made.
    """
    began = time.perf_counter()
    wanted.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix='overflow-', dir=wanted.folder) as overflow:
        settings = replace(wanted.settings, overflow=Path(overflow))
        mapper = Mapper(settings, device=wanted.device, seed=wanted.seed)
        samples = Samples(settings.gates)
        try:
            fused, exported = _fuse(recording, mapper, predict, samples, wanted, show)
        except (MetricDepthError, OSError) as error:
            if not mapper.stats.frames:
                raise
            kept = f'the map of the {mapper.stats.frames} frames before is in {wanted.folder}'
            try:
                _save(mapper, wanted.folder)
            except MappingError as another:
                kept = str(another)
            raise FuseError(f'{error}; {kept}') from error
        interrupted = fused.interrupted or not _finish(mapper, wanted.splat_steps, show)
        try:
            paths = _save(mapper, wanted.folder)
        except KeyboardInterrupt:  # that once is no reason to lose the map
            paths, interrupted = _save(mapper, wanted.folder), True
        files = [path.name for path in paths]
    mesh = read_mesh(wanted.folder / MESH_FILE)  # with what the limit of memory moved to disk
    if not len(mesh.triangles):
        raise FuseError(
            f'{recording.name} gives no surface: of the pixels, {pixels_line(fused.pixels)}; '
            '--max-std takes less certain ones, larger voxels join sparser ones'
        )
    trajectory = mapper.trajectory()
    if wanted.pictures:
        files += _draw(mapper, mesh, fused, samples, wanted, show)
    files += [SEQUENCE_FOLDER] if exported else []
    strayed, scored, missing = _against_truth(trajectory, fused.truth, wanted)
    report = Report(
        recording=recording.name,
        depth=wanted.depth,
        poses='odometry' if wanted.own_poses else 'truth',
        voxel_size=settings.voxel_size,
        frames=fused.frames,
        unused=fused.unused,
        pixels=fused.pixels,
        interrupted=interrupted,
        stats=mapper.stats,
        triangles=len(mesh.triangles),
        area_m2=_area(mesh),
        points=len(mapper.cloud().points),
        drift=strayed,
        ate=scored,
        ate_missing=missing,
        surface=score_surface(mapper, samples.all),
        splat=score_splat(mapper, samples),
        exported=exported,
        seconds=time.perf_counter() - began,
        files=(*files, REPORT_FILE),
    )
    write_report(wanted.folder / REPORT_FILE, report)
    return report


def _fuse(
    recording: Recording,
    mapper: Mapper,
    predict: Predict,
    samples: Samples,
    wanted: Wanted,
    show: Show,
) -> tuple[Fused, Exported | None]:
    total = -(-len(recording) // wanted.every)
    total = min(total, wanted.max_frames or total)
    done = 0

    def shown() -> None:
        nonlocal done
        done += 1
        show('fusing', done, total)

    with ExitStack() as stack:
        observers: list[Observer] = [samples]
        export = None
        if wanted.export:
            gates = mapper.settings.gates
            export = stack.enter_context(TumExport(wanted.folder / SEQUENCE_FOLDER, gates=gates))
            observers.append(_exporting(export))
        rerun = None
        if wanted.rerun is not None:
            rerun = stack.enter_context(RerunFile(wanted.rerun, mapper))
            observers.append(rerun)
        show('fusing', 0, total)
        fused = fuse(
            some_of(recording, wanted.every, wanted.max_frames),
            mapper,
            predict,
            own_poses=wanted.own_poses,
            hold_out=_HOLD_OUT if mapper.splat is not None else None,
            observers=observers,
            show=shown,
        )
        if rerun is not None:
            rerun.finish()
        return fused, None if export is None else export.close()


def _finish(mapper: Mapper, steps: int, show: Show) -> bool:
    """Fit the Gaussians; False if somebody stopped it, which leaves them as they are then."""
    try:
        mapper.finish(steps, show=lambda done, total: show('fitting Gaussians', done, total))
    except KeyboardInterrupt:
        return False
    return True


def _save(mapper: Mapper, folder: Path) -> tuple[Path, ...]:
    """The files; where the folder cannot take them, they are written among temporary ones."""
    try:
        return mapper.save(folder)
    except MappingError as error:
        elsewhere = Path(tempfile.mkdtemp(prefix='metric_depth_map_'))
        try:
            mapper.save(elsewhere)
        except MappingError:
            shutil.rmtree(elsewhere, ignore_errors=True)
            raise MappingError(f'{error}; nor could {elsewhere.parent} take the map') from None
        raise MappingError(f'{error}; the map is in {elsewhere}') from None


def _exporting(export: TumExport) -> Observer:
    return lambda recorded, view, added: export.add(view)


def _draw(
    mapper: Mapper, mesh: Mesh, fused: Fused, samples: Samples, wanted: Wanted, show: Show
) -> list[str]:
    """The pictures' names."""
    trajectory, truth = mapper.trajectory(), fused.truth if wanted.own_poses else _no_way()
    drawings: dict[str, Callable[[Path], None]] = {
        'map.png': lambda path: save_map(path, mapper, mesh, trajectory, truth),
        'photographs.png': lambda path: save_photographs(
            path, mapper, mesh, samples.held_out or samples.all
        ),
        'trajectory.png': lambda path: save_trajectory(path, trajectory, truth),
    }
    show('drawing', 0, len(drawings))
    for done, (name, draw) in enumerate(drawings.items(), 1):
        draw(wanted.folder / name)
        show('drawing', done, len(drawings))
    return list(drawings)


def _no_way() -> Trajectory:
    return Trajectory((), torch.empty(0, 4, 4, dtype=torch.float64))


def _against_truth(
    trajectory: Trajectory, truth: Trajectory, wanted: Wanted
) -> tuple[Drift | None, TrajectoryScore | None, str]:
    """Odometry's drift and evo's figures, and why there is not what could be."""
    if not wanted.own_poses or not len(truth):
        return None, None, ''
    strayed = scored = None
    missing = ''
    try:
        strayed = drift(trajectory, truth)
        scored = score(trajectory, truth)
    except TrajectoryError as error:
        missing = str(error)
    return strayed, scored, missing


def _area(mesh: Mesh) -> float:
    """Square metres."""
    a, b, c = mesh.vertices[mesh.triangles].unbind(1)
    return float(torch.linalg.cross(b - a, c - a).norm(dim=-1).sum() / 2)
