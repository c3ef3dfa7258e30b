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
        self._counts: dict[str, int] = {}
        self._seconds = 0.0
        self._last = time.monotonic()

    def lines(self) -> list[dict[str, float]]:
        """All lines, oldest first; [] before the first."""
        if not self.path.is_file():
            return []
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def start(self) -> int:
        """Forget what an earlier run wrote that was never saved; the first step, 0."""
        self.path.unlink(missing_ok=True)
        return 0

    def add(self, losses: dict[str, float]) -> None:
        """Count the losses of one step, and the time since the step before."""
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1
        now = time.monotonic()
        self._seconds += now - self._last
        self._last = now

    def write(self, step: int, scores: dict[str, float]) -> None:
        """Append a line; `seconds` is of training alone."""
        means = {name: total / self._counts[name] for name, total in self._sums.items()}
        line = {'step': step, 'seconds': round(self._seconds, 1), **means, **scores}
        with self.path.open('a') as file:
            file.write(json.dumps(line) + '\n')
        self._sums, self._counts, self._seconds = {}, {}, 0.0
        self._last = time.monotonic()

    def pending(self) -> str:
        return json.dumps([self._sums, self._counts, self._seconds])

    def resume(self, step: int, pending: str) -> None:
        """Go back to where the state of `step` was saved."""
        text = self.path.read_text() if self.path.is_file() else ''
        whole = [line for line in text.splitlines(keepends=True) if line.endswith('\n')]
        kept = [line for line in whole if json.loads(line)['step'] <= step]
        partial = self.path.with_suffix('.partial')
        partial.write_text(''.join(kept))
        partial.replace(self.path)
        self._sums, self._counts, self._seconds = json.loads(pending)
        self._last = time.monotonic()
