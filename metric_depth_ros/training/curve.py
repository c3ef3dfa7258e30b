"""The training curve."""

from __future__ import annotations

import json
import time
from pathlib import Path


class Curve:
    """The training curve: a file of JSON lines, one every validation, with the mean losses since.

    `pending` is what has been added since the last line; it is saved with the state, so that a
    run that was resumed writes the very lines of one that was not.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sums: dict[str, float] = {}
        self._count = 0
        self._seconds = 0.0
        self._last = time.monotonic()

    def lines(self) -> list[dict[str, float]]:
        """All lines, oldest first; [] before the first."""
        if not self.path.is_file():
            return []
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def add(self, losses: dict[str, float]) -> None:
        """Count the losses of one step, and the time since the step before."""
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1
        now = time.monotonic()
        self._seconds += now - self._last
        self._last = now

    def write(self, step: int, scores: dict[str, float]) -> None:
        """Append a line; `seconds` is of training alone."""
        means = {name: total / self._count for name, total in self._sums.items()}
        line = {'step': step, 'seconds': round(self._seconds, 1), **means, **scores}
        with self.path.open('a') as file:
            file.write(json.dumps(line) + '\n')
        self._sums, self._count, self._seconds = {}, 0, 0.0
        self._last = time.monotonic()

    def pending(self) -> str:
        return json.dumps([self._sums, self._count, self._seconds])

    def resume(self, step: int, pending: str) -> None:
        """Go back to where the state of `step` was saved."""
        kept = [line for line in self.lines() if line['step'] <= step]
        self.path.write_text(''.join(json.dumps(line) + '\n' for line in kept))
        self._sums, self._count, self._seconds = json.loads(pending)
        self._last = time.monotonic()
