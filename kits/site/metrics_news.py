"""When is the server told that the metrics of a run have grown? At once, but not more often than it can use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

TELL_SECONDS = 0.1
"""Between two words about one file: the server asks for all that is new, so a word a metric would only be work."""


class MetricsNews:
    """What the server was told of the size of one growing file. Needs a running event loop.

    Args:
        tell: says the size to the server.
    """

    def __init__(self, tell: Callable[[int], None]) -> None:
        self._tell = tell
        self._size = self._told = 0
        self._pause: asyncio.TimerHandle | None = None

    def grew(self, size: int) -> None:
        """The file has this size now."""
        self._size = size
        if self._pause is None:
            self._go_on()

    def tell(self) -> None:
        """Say what was not said yet: something comes that may be the last word of the run."""
        if self._size != self._told:
            self._told = self._size
            self._tell(self._size)

    def tell_again(self) -> None:
        """What was said while the link was down was said to nobody."""
        self._told = 0
        self.tell()

    def close(self) -> None:
        """Say nothing more."""
        if self._pause is not None:
            self._pause.cancel()

    def _go_on(self) -> None:
        self._pause = None
        if self._size != self._told:
            self.tell()
            self._pause = asyncio.get_running_loop().call_later(TELL_SECONDS, self._go_on)
