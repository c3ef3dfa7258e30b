"""Which places of a floor are taken, so that things rarely stand in each other."""

from __future__ import annotations

import math


class Floor:
    """Rectangles along the axes."""

    def __init__(self) -> None:
        self.taken: list[tuple[float, float, float, float]] = []

    def take(self, x: float, y: float, deep: float, wide: float, yaw: float = 0.0) -> bool:
        """Takes deep x wide metres around (x, y), turned by yaw; False if something is there."""
        c, s = abs(math.cos(yaw)), abs(math.sin(yaw))
        half_x, half_y = (c * deep + s * wide) / 2, (s * deep + c * wide) / 2
        for u, v, hu, hv in self.taken:
            if abs(x - u) < half_x + hu and abs(y - v) < half_y + hv:
                return False
        self.taken.append((x, y, half_x, half_y))
        return True
