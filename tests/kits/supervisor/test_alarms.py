"""Alarms by name."""

from __future__ import annotations

import asyncio

from sundog.kits.supervisor.alarms import Alarms


async def test_an_alarm_that_is_set_again_rings_once_and_one_that_is_cancelled_never() -> None:
    alarms, rung = Alarms(), asyncio.Queue[str]()
    for word in ("first", "second"):
        alarms.set("deadline", 0.01, lambda word=word: rung.put_nowait(word))  # type: ignore[misc]
    alarms.set("stall", 0.0, lambda: rung.put_nowait("never"))
    alarms.cancel("stall")
    alarms.cancel("stall")

    assert await rung.get() == "second"
    assert rung.empty()


async def test_after_close_nothing_rings() -> None:
    alarms, rung = Alarms(), asyncio.Queue[str]()
    alarms.set("a", 0.0, lambda: rung.put_nowait("a"))

    alarms.close()

    await asyncio.get_running_loop().run_in_executor(None, lambda: None)
    assert rung.empty()
