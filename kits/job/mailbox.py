"""What the main thread of a job process does next: a queue of work that other threads fill."""

from __future__ import annotations

import contextlib
import os
import queue
import sys
from collections.abc import Callable

Work = Callable[[], None]


class Mailbox:
    """Work for one thread, in the order it was posted. Job code runs inside `pump`, one call at a time."""

    def __init__(self, after: Work = lambda: None) -> None:
        """`after` is called whenever a pump has done what there was."""
        self._pid = os.getpid()
        self._queue: queue.SimpleQueue[Work] = queue.SimpleQueue()
        self._after = after

    def post(self, work: Work) -> None:
        """Add work; from any thread."""
        self._queue.put(work)

    def pump(self, timeout_seconds: float | None = None) -> None:
        """Do the next piece of work; wait for it, at most as long as said."""
        with contextlib.suppress(queue.Empty):
            self._do(self._queue.get(timeout=timeout_seconds))
        self._after()

    def pump_all(self, timeout_seconds: float | None = None) -> None:
        """Do all the work that is there; if there is none, wait for it, at most as long as said."""
        with contextlib.suppress(queue.Empty):
            self._do(self._queue.get(timeout=timeout_seconds))
            while True:
                self._do(self._queue.get_nowait())
        self._after()

    def _do(self, work: Work) -> None:
        work()
        if os.getpid() != self._pid:  # job code forked, and its child came back: as in a script, it ends here
            sys.stdout.flush()
            os._exit(0)
