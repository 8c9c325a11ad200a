"""Who waits at this participant for something to happen, and who of them has left?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar, cast

Who = TypeVar("Who", bound=Hashable)


class Waiting(Generic[Who]):
    """The tasks that do nothing but wait to tell somebody something: they are stopped when he has left."""

    def __init__(self) -> None:
        self._tasks: dict[Who, asyncio.Task[object]] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    @contextmanager
    def here(self, who: Who) -> Iterator[None]:
        """Around what the current task does for him."""
        task = self._tasks[who] = cast("asyncio.Task[object]", asyncio.current_task())
        try:
            yield
        finally:
            if self._tasks.get(who) is task:
                del self._tasks[who]

    def left(self, whom: Callable[[Who], bool]) -> None:
        """Stop what is done for those."""
        for who, task in list(self._tasks.items()):
            if whom(who):
                task.cancel()
