"""In which order are actions performed when some must wait for a record to be durable?"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class Ordered:
    """Performs what it is given in the order it is given, each once its future is done; at once when there is nothing to wait for."""

    def __init__(self, on_failure: Callable[[BaseException], None]) -> None:
        self._waiting: deque[tuple[asyncio.Future[None] | None, Callable[[], None]]] = deque()
        self._on_failure = on_failure
        self._is_running = False

    def after(self, durable: asyncio.Future[None] | None, act: Callable[[], None]) -> None:
        """Perform `act` after everything given before, and after `durable`; if that failed, report it instead."""
        self._waiting.append((durable, act))
        if durable is not None and not durable.done():
            durable.add_done_callback(lambda _: self._go_on())
        self._go_on()

    def _go_on(self) -> None:
        if self._is_running:  # an action led to further ones: they wait their turn
            return
        self._is_running = True
        try:
            while self._waiting and (self._waiting[0][0] is None or self._waiting[0][0].done()):
                durable, act = self._waiting.popleft()
                error = durable.exception() if durable is not None and not durable.cancelled() else None
                if error is not None:
                    self._on_failure(error)
                else:
                    act()
        finally:
            self._is_running = False
