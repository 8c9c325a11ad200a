"""How much may strangers put into the log? Some lines in a while, and then how many more there were."""

from __future__ import annotations

import structlog

from .timers import Clock

_log = structlog.get_logger("sundog.link")

LINES = 50
"""So many lines about strangers in each period."""
PERIOD_SECONDS = 10.0


class Complaints:
    """Warnings that anybody who reaches the port can cause."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since = clock.time()
        self._lines = 0
        self._untold = 0

    def log(self, event: str, **facts: str) -> None:
        """Say it, unless there were too many of late; the next line that is said tells how many were not."""
        if self._clock.time() - self._since >= PERIOD_SECONDS:
            self._since, self._lines = self._clock.time(), 0
        if self._lines >= LINES:
            self._untold += 1
            return
        self._lines += 1
        more = {"untold": self._untold} if self._untold else {}
        self._untold = 0
        _log.warning(event, **facts, **more)
