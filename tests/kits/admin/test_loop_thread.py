"""Plain code calls an event loop, and is told what happens there."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest

from sundog.kits.admin.loop_thread import LoopThread


@pytest.fixture
def thread() -> Iterator[LoopThread]:
    made = LoopThread()
    yield made
    made.close()


async def name_of_thread() -> str:
    return threading.current_thread().name


async def fail() -> None:
    raise ValueError("three")


async def count(tell: Callable[[int], None]) -> str:
    for number in range(3):
        tell(number)
    return "counted"


def test_work_is_done_on_the_loop_and_its_value_comes_back(thread: LoopThread) -> None:
    assert thread.call(name_of_thread()) == "sundog-session"


def test_what_it_raises_is_raised_here(thread: LoopThread) -> None:
    with pytest.raises(ValueError, match="three"):
        thread.call(fail())


def test_news_is_heard_on_the_calling_thread(thread: LoopThread) -> None:
    heard: list[tuple[int, threading.Thread]] = []

    assert thread.follow(count, lambda number: heard.append((number, threading.current_thread()))) == "counted"

    assert heard == [(number, threading.current_thread()) for number in range(3)]


def test_a_listener_that_raises_cancels_the_work(thread: LoopThread) -> None:
    cancelled = threading.Event()

    async def work(tell: Callable[[int], None]) -> None:
        tell(1)
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with pytest.raises(KeyboardInterrupt):
        thread.follow(work, interrupt)

    assert cancelled.wait(20)


def interrupt(_: int) -> None:
    raise KeyboardInterrupt


def test_closing_cancels_what_waits(thread: LoopThread) -> None:
    started = threading.Event()

    async def wait() -> None:
        started.set()
        await asyncio.Event().wait()

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lambda: thread.call(wait()))
        started.wait(20)
        thread.close()

        with pytest.raises(CancelledError):
            waiting.result()
    with pytest.raises(CancelledError):
        thread.call(wait())
    thread.close()
