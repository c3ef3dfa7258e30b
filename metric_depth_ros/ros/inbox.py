"""Latest frame wins: where the subscriptions leave their messages for the one worker thread."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Delivery:
    """An image message with the camera_info that was the latest when it was taken out."""

    image: Any
    camera_info: Any
    received_s: float  # time.monotonic() when the image arrived


class Inbox:
    """One slot for an image, one for a camera_info. A newer message replaces an older one.

    An image waits here until there is a camera_info; a camera_info stays and serves every image
    that follows.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._image: Any = None
        self._camera_info: Any = None
        self._received_s = 0.0
        self._waiting_since_s = 0.0  # since when the slot has not been empty
        self._closed = False

    def put_image(self, image: Any) -> bool:
        """Leave an image; True if one that nobody had taken was thrown away for it."""
        with self._changed:
            replaced = self._image is not None
            self._image = image
            self._received_s = time.monotonic()
            if not replaced:
                self._waiting_since_s = self._received_s
            self._changed.notify()
        return replaced

    def put_camera_info(self, camera_info: Any) -> None:
        with self._changed:
            self._camera_info = camera_info
            self._changed.notify()

    def take(self) -> Delivery | None:
        """Wait for an image and a camera_info; None once the inbox is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._complete())
            if self._closed:
                return None
            image, self._image = self._image, None
            return Delivery(image, self._camera_info, self._received_s)

    def lacks_camera_info(self, for_s: float) -> bool:
        """True if images have waited `for_s` seconds or longer for the first camera_info."""
        with self._changed:
            waits = self._image is not None and self._camera_info is None
            return waits and time.monotonic() - self._waiting_since_s >= for_s

    def close(self) -> None:
        """Let whoever waits in `take` go home; what lies here is not delivered any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _complete(self) -> bool:
        return self._image is not None and self._camera_info is not None
