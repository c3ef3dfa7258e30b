"""What commands that train show meanwhile, and how they are interrupted."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from ..training.loop import Progress


class Interruption:
    """SIGINT and SIGTERM, noted while training, to stop when a step is done and the state saved.

    asked: whether one has come. patient: whether to wait for the step; if not, and when asked a
    second time, stop at once.
    """

    def __init__(self) -> None:
        self.asked = False
        self.patient = False

    def __enter__(self) -> Interruption:
        self._before = {s: signal.signal(s, self._note) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: object) -> None:
        if self.asked or not self.patient:
            raise KeyboardInterrupt
        self.asked = True


class TrainingBars:
    """A bar for each stage of a training; of rendering, one for each set of frames.

    Args:
        interruption: is patient while a step is taken.

    trained: 'N of TOTAL', the steps that the last training shown has taken; '' before any.
    """

    def __init__(self, bars: Bars, interruption: Interruption) -> None:
        self.trained = ''
        self._bars, self._interruption = bars, interruption
        self._tasks: dict[tuple[str, str, str], TaskID] = {}

    def show(self, progress: Progress, run: str = '') -> None:
        """Move the bar of that stage; `run` says of which, where there are several."""
        training = progress.stage == 'train'
        self._interruption.patient = training
        if training:
            self.trained = f'{progress.done} of {progress.total}'
        key = (run, progress.stage, '' if training else progress.note)
        if key not in self._tasks:
            self._tasks[key] = self._bars.add_task('', total=progress.total)
        title = f'{progress.stage} {progress.note}'.strip()
        self._bars.update(
            self._tasks[key],
            completed=progress.done,
            description=f'{run}: {title}' if run else title,
        )
