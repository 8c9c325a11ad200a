"""Who touches the disk? One thread a process, in the order of the calls."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Self, TypeVar

T = TypeVar("T")


class Writer:
    """A thread that does one piece of work after the other and tells the event loop, several answers at a time.

    Made on the event loop that it answers to. Work that was posted is done even when nobody waits for it any more.
    The thread is a daemon: a process that dies does not wait for it, and whatever it writes must survive that anyway.
    """

    def __init__(self, name: str = "writer") -> None:
        self._loop = asyncio.get_running_loop()
        self._work: SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None] = SimpleQueue()
        self._finished: deque[tuple[asyncio.Future[Any], Any, Exception | None]] = deque()
        self._is_told = False
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name=f"sundog-{name}", daemon=True)
        self._thread.start()

    def post(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Let the thread do this after everything posted before; the future has what it returned or raised.

        Raises:
            RuntimeError: the writer is closed.
        """
        if self._is_closed:
            raise RuntimeError("the writer is closed")
        future: asyncio.Future[T] = self._loop.create_future()
        self._work.put((work, future))
        return future

    async def do(self, work: Callable[[], T]) -> T:
        """Post work and wait for it."""
        return await self.post(work)

    async def close(self) -> None:
        """Finish what was posted, then end the thread. Twice is fine."""
        if not self._is_closed:
            last = self.post(lambda: None)
            self._is_closed = True
            self._work.put(None)
            await last
        self._thread.join()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    def _run(self) -> None:
        while (item := self._work.get()) is not None:
            work, future = item
            try:
                self._finished.append((future, work(), None))
            except Exception as error:  # noqa: BLE001  # whatever it is, it belongs to who posted the work
                self._finished.append((future, None, error))
            del item, work, future  # a buffer must not be kept until the next piece of work comes
            self._tell()

    def _tell(self) -> None:
        """Wake the loop, unless it is about to look anyway.

        No lock: `_deliver` lowers the flag before it looks, so what was appended before the flag was read here is seen.
        """
        if not self._is_told:
            self._is_told = True
            try:
                self._loop.call_soon_threadsafe(self._deliver)
            except RuntimeError:  # the loop is closed: nobody waits any more
                self._finished.clear()

    def _deliver(self) -> None:
        self._is_told = False
        while self._finished:
            future, result, error = self._finished.popleft()
            if future.done():  # nobody waits any more
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
