"""Which alarms of a run are set, so that each can be put off, and none rings when the run is over?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Alarms:
    """Alarms by name. Needs a running event loop."""

    def __init__(self) -> None:
        self._set: dict[str, asyncio.TimerHandle] = {}

    def set(self, name: str, seconds: float, ring: Callable[[], object]) -> None:
        """Call `ring` in so many seconds, in the place of what was set under this name."""
        self.cancel(name)
        self._set[name] = asyncio.get_running_loop().call_later(seconds, self._ring, name, ring)

    def cancel(self, name: str) -> None:
        """Do not ring. Fine when it is not set."""
        if (alarm := self._set.pop(name, None)) is not None:
            alarm.cancel()

    def _ring(self, name: str, ring: Callable[[], object]) -> None:
        del self._set[name]
        ring()

    def close(self) -> None:
        """Ring no more."""
        for name in list(self._set):
            self.cancel(name)
