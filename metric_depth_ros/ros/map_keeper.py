"""The map of mapping_node: used by several threads, and saved whatever happens. ROS-free."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from ..mapping import MappingError
from ..mapping.mapper import Added, Mapper, map_device
from ..types import DepthPrediction, Frame
from .mapping_parameters import MappingParameters


class MapKeeper:
    """One map from configuration to clean-up.

    stats: of the map after the last frame. folder: where it is saved, unlike that of any map
    before. saved_frames: how many are in the files there.

    Raises:
        MappingError: the parameters do not go together, the folder cannot be made, Open3D is not
            installed or lacks the device.
    """

    def __init__(self, chosen: MappingParameters) -> None:
        device = map_device(chosen.device)
        self.folder = _fresh_folder(Path(chosen.folder).expanduser())
        self._mapper = Mapper(chosen.map_settings(device, self.folder / 'overflow'), device=device)
        self._steps_a_key_frame = chosen.splat_steps
        self._steps_left = 0
        self._lock = threading.Lock()
        self._saving = threading.Lock()  # held longer: only one at a time writes the files
        self._changes = self._changes_saved = 0
        self.device = device
        self.stats = self._mapper.stats
        self.saved_frames = 0

    @property
    def at_limit(self) -> bool:
        """True if the memory limit has cost the map something."""
        stats = self.stats
        return stats.dropped + stats.refused + stats.refused_gaussians > 0

    @property
    def unsaved(self) -> bool:
        """True if there is more in the map than in the files."""
        return self._changes != self._changes_saved

    @property
    def wants_refinement(self) -> bool:
        """True if the Gaussians have optimisation steps to their credit."""
        return self._steps_left > 0

    @contextmanager
    def using(self) -> Iterator[Mapper]:
        """The map, to one thread at a time."""
        with self._lock:
            yield self._mapper

    def add(
        self, frame: Frame, prediction: DepthPrediction, world_from_camera: Tensor | None
    ) -> Added:
        """Fuse one frame; see `Mapper.add`.

        Raises:
            MappingError: see `Mapper.add`.
        """
        with self._lock:
            added = self._mapper.add(frame, prediction, world_from_camera)
            self.stats = self._mapper.stats
            self._changes += not added.why
        if added.seeded is not None:
            self._steps_left = min(
                self._steps_left + self._steps_a_key_frame, 10 * self._steps_a_key_frame
            )
        return added

    def refine(self) -> None:
        """One optimisation step of the Gaussians."""
        self._steps_left -= 1
        with self._lock:
            self._mapper.refine(1)
            self._changes += 1

    def save(self, folder: Path | None = None) -> str:
        """Write the files; one line about them. Frames go on into the map meanwhile.

        Raises:
            MappingError: nothing to save yet, or it could not be written; the map is kept.
        """
        if not self.stats.frames:
            raise MappingError('no frame has been fused yet, there is no map to save')
        folder = folder or self.folder
        with self._saving:
            with self._lock:
                snapshot = self._mapper.snapshot()
                changes, frames = self._changes, self._mapper.stats.frames
            try:
                paths = snapshot.write(folder)
            except MappingError as error:
                raise MappingError(f'{error}; the map is still in memory') from error
            self._changes_saved, self.saved_frames = changes, frames
        names = ', '.join(path.name for path in paths)
        return f'{frames} frames saved in {folder}: {names}'

    def rescue(self) -> str:
        """Save for the last time: where the folder cannot take it, among temporary files.

        Raises:
            MappingError: neither can.
        """
        try:
            return self.save()
        except MappingError as error:
            elsewhere = Path(tempfile.gettempdir()) / f'metric_depth_map_{self.folder.name}'
            return f'{error}; done: {self.save(elsewhere)}'


def _fresh_folder(parent: Path) -> Path:
    """A folder that is not there yet, named by the time, in one that is."""
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MappingError(
            f'parameter folder is {str(parent)!r}, expected a folder to save maps in: '
            f'{error.strerror}'
        ) from error
    name = time.strftime('%Y-%m-%d_%H-%M-%S')
    folder, count = parent / name, 1
    while folder.exists():
        count += 1
        folder = parent / f'{name}_{count}'
    return folder
