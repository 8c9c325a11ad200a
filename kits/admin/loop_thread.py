"""How does plain code call asynchronous code? A thread with an event loop, and a door to it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")
News = TypeVar("News")


class LoopThread:
    """An event loop in a thread of its own, from now until `close`. Every thread but that one may call."""

    def __init__(self, name: str = "sundog-session") -> None:
        self._loop = asyncio.new_event_loop()
        self._calls: set[Future[Any]] = set()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run this on the loop and wait for what it returns or raises; an interrupt (Ctrl-C) cancels it.

        Raises:
            CancelledError: the thread was closed, before or meanwhile.
        """
        return self._finished(self._started(work))

    def follow(self, work: Callable[[Callable[[News], None]], Coroutine[Any, Any, T]], on_news: Callable[[News], object]) -> T:
        """The same for work that tells something on its way: it is handed on here, on the calling thread."""
        said: SimpleQueue[tuple[News] | None] = SimpleQueue()
        future = self._started(work(lambda news: said.put((news,))))
        future.add_done_callback(lambda _: said.put(None))
        try:
            while (news := said.get()) is not None:
                on_news(*news)
        finally:
            future.cancel()  # does nothing to one that is done
        return self._finished(future)

    def close(self) -> None:
        """Cancel what still runs and end the thread. Twice is fine."""
        if not self._is_closed:
            self._is_closed = True
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        for future in list(self._calls):  # of a call that came when the loop had stopped
            future.cancel()

    def _started(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        if self._is_closed:
            work.close()
            raise CancelledError
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        self._calls.add(future)
        future.add_done_callback(self._calls.discard)
        return future

    def _finished(self, future: Future[T]) -> T:
        try:
            return future.result()
        finally:
            future.cancel()  # does nothing to one that is done

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.get_loop().run_forever()
