"""What TensorBoard shows of a run: losses and learning rate of every step, scores held out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import MetricDepthError


class Board:
    """Scalars in a folder that TensorBoard reads; does nothing unless `enabled`.

    A run that was resumed goes on in the same folder; what an earlier leg wrote beyond the state
    that was saved is no longer shown.

    Raises:
        MetricDepthError: tensorboard is not installed.
    """

    def __init__(self, folder: Path, *, enabled: bool) -> None:
        self._folder = folder
        self._kind: Any = _writer() if enabled else None
        self._writer: Any = None

    def __enter__(self) -> Board:
        return self

    def __exit__(self, *error: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def add(self, group: str, step: int, values: Mapping[str, float]) -> None:
        """Show `values` as group/name at this step, counted from 1."""
        if self._kind is None:
            return
        if self._writer is None:
            self._writer = self._kind(str(self._folder), purge_step=step)
        for name, value in values.items():
            self._writer.add_scalar(f'{group}/{name}', value, step)


def _writer() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MetricDepthError(
            "--tensorboard needs tensorboard: pip install 'metric_depth_ros[train]'"
        ) from None
    return SummaryWriter
