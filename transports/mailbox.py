"""What has arrived and waits to be taken by one task: frames of a connection, connections of a listener."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from ..kernel.errors import TransportError
from ..kernel.transport import BusyError

Item = TypeVar("Item")

WINDOW_BYTES = 4 * 1024 * 1024
"""More than this waiting, and the wire stops reading."""
WINDOW_ITEMS = 64
"""So many items waiting, and the wire stops reading, however small they are."""


class End(NamedTuple):
    """Why nothing more will come."""

    kind: type[TransportError]
    what: str


class Mailbox(Generic[Item]):
    """A queue with a window and an end: any number put, one task gets.

    Nothing blocks a put: the wire looks at `is_full` and stops reading; `on_room` tells it to go on.

    Args:
        where: the address that stands in the errors.
        on_room: called when a full mailbox is half empty again.
    """

    def __init__(self, where: str, *, on_room: Callable[[], None] = lambda: None) -> None:
        self.end: End | None = None
        self.is_full = False
        """Whether the wire should stop reading until `on_room` is called."""
        self._where = where
        self._on_room = on_room
        self._items: deque[tuple[Item, int]] = deque()
        self._bytes = 0
        self._waiter: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._items)

    @property
    def state(self) -> str:
        """For people: "open", or why it has ended."""
        return self.end.what if self.end else "open"

    def put(self, item: Item, size_bytes: int = 0) -> None:
        """Add an item; after the end it is dropped."""
        if self.end is None:
            self._items.append((item, size_bytes))
            self._bytes += size_bytes
            self.is_full = self.is_full or self._bytes > WINDOW_BYTES or len(self._items) >= WINDOW_ITEMS
            self._wake()

    def finish(self, kind: type[TransportError], what: str, *, drop: bool = False) -> list[Item]:
        """Nothing more will come: `get` raises this error once the items are taken. The first cause is kept.

        Args:
            kind: the error that `get` will raise.
            what: its sentence.
            drop: take the items away (they are returned); if there are any, the cause becomes this one, because
                "everything was received" would be a lie.
        """
        dropped = [item for item, _ in self._items] if drop else []
        if self.end is None or dropped:
            self.end = End(kind, what)
        if drop:
            self._items.clear()
            self._bytes = 0
            self._make_room()
        self._wake()
        return dropped

    def error(self) -> TransportError:
        """A new error that tells why it ended."""
        if self.end is None:
            raise RuntimeError("the mailbox has not ended")
        return self.end.kind(self.end.what, where=self._where)

    async def get(self) -> Item:
        """Wait for the next item. Cancelling loses nothing: it is taken only when this returns.

        Raises:
            BusyError: another task is already waiting.
            TransportError: the end, of the kind given to `finish`.
        """
        if self._waiter is not None:
            raise BusyError("another task is already waiting here", where=self._where)
        while not self._items:
            if self.end is not None:
                raise self.error()
            await self._wait()
        item, size_bytes = self._items.popleft()
        self._bytes -= size_bytes
        self._make_room()
        return item

    def _make_room(self) -> None:
        if self.is_full and self._bytes <= WINDOW_BYTES // 2 and len(self._items) <= WINDOW_ITEMS // 2:
            self.is_full = False
            self._on_room()

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


async def a_turn() -> None:
    """Let the tasks that are ready take a step."""
    turn = asyncio.get_running_loop().create_future()
    turn.get_loop().call_soon(turn.set_result, None)
    await turn
