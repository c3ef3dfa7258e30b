"""A map that is saved now and then, so that not even loss of power costs more. ROS-free."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ..mapping import MappingError
from .map_keeper import MapKeeper


class Autosave:
    """Saves a map every `period_s` seconds if there is more in it than in its files.

    In a thread of its own; the map is held up only while its surface is read, not while it is
    written.

    Args:
        max_share: of the time, that saving may take: where it takes long it comes more seldom.
        complain: called from that thread with why the map could not be saved, each time.
    """

    def __init__(
        self,
        keeper: MapKeeper,
        period_s: float,
        complain: Callable[[str], None],
        *,
        max_share: float = 0.1,
    ) -> None:
        self._keeper, self._complain = keeper, complain
        self._period_s, self._max_share = period_s, max_share
        self._ended = threading.Event()
        # Files are whole at any moment: it need not keep alive what ends in an error.
        self._thread = threading.Thread(target=self._run, name='autosave', daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Save no more; one that has begun is finished."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        pause_s = self._period_s
        while not self._ended.wait(pause_s):
            began = time.monotonic()
            if self._keeper.unsaved:
                try:
                    self._keeper.save()
                except MappingError as error:
                    self._complain(f'autosave: {error}')
                except Exception as error:  # a fault of ours must not end the saving for good
                    self._complain(f'autosave: {type(error).__name__}: {error}')
            pause_s = max(self._period_s, (time.monotonic() - began) / self._max_share)
