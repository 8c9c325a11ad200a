"""Actions wait for the records before them, and for nothing else."""

from __future__ import annotations

import asyncio

from sundog.kits.supervisor.effects import Ordered


def ordered() -> tuple[Ordered, list[str]]:
    done: list[str] = []
    return Ordered(lambda error: done.append(f"failed: {error}")), done


async def test_what_waits_for_nothing_is_done_at_once() -> None:
    effects, done = ordered()

    effects.after(None, lambda: done.append("a"))

    assert done == ["a"]


async def test_a_later_action_waits_for_an_earlier_record() -> None:
    effects, done = ordered()
    first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    effects.after(first, lambda: done.append("a"))
    effects.after(None, lambda: done.append("b"))
    assert done == []

    first.set_result(None)
    await asyncio.wait([first])
    await asyncio.get_running_loop().run_in_executor(None, lambda: None)

    assert done == ["a", "b"]


async def test_records_that_become_durable_out_of_order_keep_the_order_of_the_actions() -> None:
    effects, done = ordered()
    loop = asyncio.get_running_loop()
    first, second = loop.create_future(), loop.create_future()
    effects.after(first, lambda: done.append("a"))
    effects.after(second, lambda: done.append("b"))

    second.set_result(None)
    await loop.run_in_executor(None, lambda: None)
    assert done == []
    first.set_result(None)
    await loop.run_in_executor(None, lambda: None)

    assert done == ["a", "b"]


async def test_a_record_that_failed_is_reported_in_the_place_of_its_actions() -> None:
    effects, done = ordered()
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    failed.set_exception(OSError("disk full"))

    effects.after(failed, lambda: done.append("never"))
    effects.after(None, lambda: done.append("b"))

    assert done == ["failed: disk full", "b"]


async def test_an_action_that_leads_to_others_is_finished_first() -> None:
    effects, done = ordered()

    def act() -> None:
        effects.after(None, lambda: done.append("inner"))
        done.append("outer")

    effects.after(None, act)

    assert done == ["outer", "inner"]
