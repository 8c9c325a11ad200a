"""How long does a dialer wait before it tries again?"""

from __future__ import annotations

import asyncio

from .timers import Timers


class Backoff:
    """Waits that double from `backoff_first_seconds` up to a ceiling, each one drawn anew below it (full jitter).

    Source: M. Brooker, "Exponential Backoff And Jitter", 2015.
    """

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._attempt = 0

    def reset(self) -> None:
        """Begin with the short waits again."""
        self._attempt = 0

    async def wait(self, most_seconds: float | None = None) -> None:
        """Wait before the next attempt, at most so many seconds (default: `backoff_most_seconds`)."""
        most = self._timers.backoff_most_seconds if most_seconds is None else most_seconds
        # Capped, so that a year of attempts does not overflow.
        ceiling = min(most, self._timers.backoff_first_seconds * 2 ** min(self._attempt, 16))
        self._attempt += 1
        over = asyncio.Event()
        alarm = self._timers.clock.call_later(self._timers.jitter(ceiling), over.set)
        try:
            await over.wait()
        finally:
            alarm.cancel()
