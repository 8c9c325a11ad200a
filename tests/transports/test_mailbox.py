"""Does a mailbox keep its order, its window and its end?"""

from __future__ import annotations

import asyncio

import pytest

from sundog.kernel.transport import ConnectionLost, EndOfConnection
from sundog.transports.mailbox import WINDOW_BYTES, WINDOW_ITEMS, Mailbox


async def test_items_come_in_order_then_the_end_with_its_place() -> None:
    mailbox: Mailbox[str] = Mailbox("tcp://there:1")
    mailbox.put("a")
    mailbox.put("b")
    mailbox.finish(EndOfConnection, "the peer has closed")
    mailbox.put("after the end")

    assert [await mailbox.get(), await mailbox.get()] == ["a", "b"]
    with pytest.raises(EndOfConnection, match=r"\[SD-2001\] tcp://there:1: the peer has closed"):
        await mailbox.get()


async def test_the_first_cause_is_kept_unless_items_are_dropped() -> None:
    mailbox: Mailbox[str] = Mailbox("here")
    mailbox.put("unread")
    mailbox.finish(EndOfConnection, "the peer has closed")

    assert mailbox.finish(EndOfConnection, "again") == []
    assert mailbox.finish(ConnectionLost, "this side has aborted", drop=True) == ["unread"]
    assert mailbox.finish(EndOfConnection, "too late", drop=True) == []

    with pytest.raises(ConnectionLost, match="aborted"):
        await mailbox.get()


@pytest.mark.parametrize(("count", "size_bytes"), [(WINDOW_ITEMS, 0), (2, WINDOW_BYTES // 2 + 1)])
async def test_a_full_mailbox_calls_for_more_when_it_is_half_empty(count: int, size_bytes: int) -> None:
    calls: list[int] = []
    mailbox: Mailbox[int] = Mailbox("here", on_room=lambda: calls.append(len(mailbox)))
    for number in range(count):
        mailbox.put(number, size_bytes)
    assert mailbox.is_full

    for _ in range(count):
        if not calls:
            await mailbox.get()

    assert calls == [len(mailbox)]
    assert len(mailbox) * size_bytes <= WINDOW_BYTES // 2


async def test_dropping_makes_room() -> None:
    calls: list[str] = []
    mailbox: Mailbox[int] = Mailbox("here", on_room=lambda: calls.append("room"))
    mailbox.put(1, WINDOW_BYTES + 1)

    mailbox.finish(ConnectionLost, "gone", drop=True)

    assert calls == ["room"]


async def test_a_getter_cancelled_in_the_moment_of_a_put_leaves_the_item() -> None:
    mailbox: Mailbox[str] = Mailbox("here")
    getting = asyncio.create_task(mailbox.get())
    await asyncio.wait({getting}, timeout=0)
    mailbox.put("kept")
    getting.cancel()
    await asyncio.wait({getting})

    assert getting.cancelled()
    assert await mailbox.get() == "kept"
