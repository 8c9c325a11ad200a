"""Does the one writer keep the order of the calls, and tell each caller?"""

from __future__ import annotations

import asyncio
import threading

import pytest

from sundog.transports.link import Writer


async def test_work_is_done_in_the_order_of_the_calls_on_one_thread() -> None:
    done: list[tuple[int, int]] = []
    async with Writer() as writer:
        for number in range(1000):
            writer.post(lambda number=number: done.append((number, threading.get_ident())))  # type: ignore[misc]
        await writer.do(lambda: None)

    assert [number for number, _ in done] == list(range(1000))
    assert len({thread for _, thread in done} - {threading.get_ident()}) == 1


async def test_the_caller_gets_what_the_work_returned_or_raised() -> None:
    async with Writer() as writer:
        assert await writer.do(lambda: 6 * 7) == 42
        with pytest.raises(ZeroDivisionError):
            await writer.do(lambda: 1 // 0)
        assert await writer.do(lambda: "still there") == "still there"


async def test_answers_come_to_the_loop_in_batches() -> None:
    """One wake-up of the loop for all that is finished by then."""
    gate = threading.Event()
    loop = asyncio.get_running_loop()
    async with Writer() as writer:
        wakes = 0
        wake = loop.call_soon_threadsafe

        def counted(*args: object) -> object:
            nonlocal wakes
            wakes += 1
            return wake(*args)  # type: ignore[arg-type]

        loop.call_soon_threadsafe = counted  # type: ignore[assignment,method-assign]
        futures = [writer.post(gate.wait)] + [writer.post(lambda: True) for _ in range(100)]
        last = threading.Event()
        ending = writer.post(last.set)
        gate.set()
        last.wait()  # the loop cannot look while it waits here
        await asyncio.gather(*futures, ending)

    assert wakes <= 3


async def test_work_is_done_though_its_caller_was_cancelled() -> None:
    done: list[int] = []
    gate = threading.Event()
    async with Writer() as writer:
        writer.post(gate.wait)
        caller = writer.post(lambda: done.append(1))
        caller.cancel()
        gate.set()

    assert done == [1]


async def test_closing_finishes_the_work_and_takes_no_more() -> None:
    done: list[int] = []
    writer = Writer()
    for number in range(10):
        writer.post(lambda number=number: done.append(number))  # type: ignore[misc]
    await writer.close()
    await writer.close()

    assert done == list(range(10))
    with pytest.raises(RuntimeError, match="closed"):
        writer.post(lambda: None)


async def test_the_writer_keeps_no_buffer_that_was_written() -> None:
    import gc
    import weakref

    class Buffer(bytearray):
        pass

    async with Writer() as writer:
        buffer = Buffer(10)
        gone = weakref.ref(buffer)
        await writer.do(lambda kept=buffer: len(kept))  # type: ignore[misc]
        del buffer
        gc.collect()

        assert gone() is None
