"""Signals in a simulation, on the main thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from queue import Empty

from sundog.kits.simulator.interruption import STRIKE, Interruption

Strike = Callable[[], bool]


class Nested:
    """A queue of strikes; the handler that takes the first one is interrupted by another handler, as it may be between two bytecodes."""

    def __init__(self, interruption: Interruption, *strikes: Strike) -> None:
        self._interruption = interruption
        self._waiting = deque(strikes)
        self._is_nested = False

    def qsize(self) -> int:
        return len(self._waiting)

    def get(self) -> Strike:
        return self._next(AssertionError("this would wait for ever, and the main thread with it"))

    def get_nowait(self) -> Strike:
        return self._next(Empty())

    def _next(self, error: Exception) -> Strike:
        if not self._is_nested:
            self._is_nested = True
            self._interruption._on_strike(STRIKE, None)
        if not self._waiting:
            raise error
        return self._waiting.popleft()


def test_a_strike_that_interrupts_the_handler_of_another_leaves_none_waiting() -> None:
    interruption, asked = Interruption(lambda: None), list[str]()

    def is_hit() -> bool:
        asked.append("asked")
        return False

    interruption._strikes = Nested(interruption, is_hit, is_hit)  # type: ignore[assignment]
    interruption._on_strike(STRIKE, None)

    assert asked == ["asked", "asked"]
