"""What the main thread of a job process does next: a queue of work that other threads fill."""

from __future__ import annotations

import queue
from collections.abc import Callable

Work = Callable[[], None]


class Mailbox:
    """Work for one thread, in the order it was posted. Job code runs inside `pump`, one call at a time."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Work] = queue.SimpleQueue()

    def post(self, work: Work) -> None:
        """Add work; from any thread."""
        self._queue.put(work)

    def pump(self, timeout_seconds: float | None = None) -> None:
        """Do the next piece of work; wait for it, at most as long as said."""
        try:
            work = self._queue.get(timeout=timeout_seconds)
        except queue.Empty:
            return
        work()
