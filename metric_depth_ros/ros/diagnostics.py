"""What depth_node tells about itself: counts and latencies, and warnings that do not flood."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from diagnostic_msgs.msg import DiagnosticStatus

WINDOW_S = 5.0  # the rate is counted over this long
RECENT = 256  # the latency percentiles are taken over this many frames


class Throttle:
    """Lets one message of a kind through each `period_s`.

    Messages are of one kind if they differ in their numbers only: a stream of broken images,
    each of another length, is one complaint.
    """

    def __init__(self, period_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._period_s = period_s
        self._clock = clock
        self._last: dict[str, float] = {}

    def allows(self, text: str) -> bool:
        """True if no message of the kind of `text` was let through during the last period."""
        kind = re.sub(r'\d+', '#', text)
        now = self._clock()
        if now - self._last.get(kind, -self._period_s) < self._period_s:
            return False
        if len(self._last) >= RECENT:  # text from outside must not fill the memory
            self._last.clear()
        self._last[kind] = now
        return True


class Health:
    """The node's counts since activation.

    Every image received is later processed, dropped (a newer one came before its turn) or failed
    (it could not be turned into depth); at most two are still on their way: one in the inbox,
    one with the worker.
    """

    def __init__(self) -> None:
        self.received = 0
        self.processed = 0
        self.dropped = 0
        self.failed = 0
        self.last_warning = ''
        self._failed_reported = 0
        self._start_cpu_s = time.process_time()
        self._finished_s: deque[float] = deque(maxlen=4 * RECENT)
        self._latencies_s: deque[float] = deque(maxlen=RECENT)

    def finish(self, latency_s: float) -> None:
        """Count one frame that was published `latency_s` after it had arrived."""
        self.processed += 1
        self._latencies_s.append(latency_s)
        self._finished_s.append(time.monotonic())

    def rate_hz(self) -> float:
        """Frames published a second, over the last WINDOW_S."""
        since = time.monotonic() - WINDOW_S
        return sum(t >= since for t in tuple(self._finished_s)) / WINDOW_S

    def latency_ms(self, percentile: float) -> float:
        """From arrival to publication, in milliseconds; NaN before the first frame."""
        latencies = tuple(self._latencies_s)
        return 1e3 * float(np.percentile(latencies, percentile)) if latencies else float('nan')

    def status(self, name: str, device: str, **more: str) -> DiagnosticStatus:
        """All of it, and what `more` there is to tell, as a diagnostic_msgs/DiagnosticStatus.

        Its level is WARN where frames failed since the last time.
        """
        from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

        failing = self.failed > self._failed_reported
        self._failed_reported = self.failed
        values = {
            'received': f'{self.received}',
            'processed': f'{self.processed}',
            'dropped': f'{self.dropped}',
            'failed': f'{self.failed}',
            'rate_hz': f'{self.rate_hz():.2f}',
            'latency_p50_ms': f'{self.latency_ms(50):.1f}',
            'latency_p99_ms': f'{self.latency_ms(99):.1f}',
            'cpu_s': f'{time.process_time() - self._start_cpu_s:.2f}',
            'device': device,
            'last_warning': self.last_warning,
            **more,
        }
        return DiagnosticStatus(
            level=DiagnosticStatus.WARN if failing else DiagnosticStatus.OK,
            name=name,
            message=self.last_warning if failing else f'{values["rate_hz"]} Hz',
            hardware_id=device,
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )
