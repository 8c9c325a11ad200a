"""How long does a link wait for what, and by which clock?"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol


class Alarm(Protocol):
    """A call that is still to come."""

    def cancel(self) -> None:
        """Do not make it; fine when it was made already."""


class Clock(Protocol):
    """Time that only rises, and calls made later; a test hands in one that it moves itself."""

    def time(self) -> float:
        """Seconds since some moment."""

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Alarm:
        """Call back on the running loop when so many seconds have gone by."""


class LoopClock:
    """The event loop's own time."""

    def time(self) -> float:
        return time.monotonic()

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Alarm:
        return asyncio.get_running_loop().call_later(seconds, callback)


def full_jitter(ceiling: float) -> float:
    """Anything from nothing to the ceiling, so that a thousand sites do not come back at the same moment."""
    return random.uniform(0, ceiling)


@dataclass(frozen=True, slots=True)
class Timers:
    """Every wait of a link, in seconds, and the clock and the dice that tests replace."""

    heartbeat_seconds: float = 5.0
    """A link this long without a frame from the peer asks for one."""
    dead_seconds: float = 15.0
    """A link this long without a frame from the peer is dropped."""
    hello_seconds: float = 5.0
    """From the connection to the answer to HELLO; also the longest goodbye."""
    duplicate_seconds: float = 3.0
    """How long the first of two instances has to show that it lives."""
    stall_seconds: float = 60.0
    """A transfer this long without a byte is given up, though its link lives."""
    forget_seconds: float = 300.0
    """How long the link of an admin who went away is kept for a resumed transfer."""
    backoff_first_seconds: float = 0.2
    backoff_most_seconds: float = 5.0
    refused_seconds: float = 30.0
    """The ceiling between two attempts at a server whose refusal will not heal by itself."""
    clock: Clock = field(default_factory=LoopClock)
    jitter: Callable[[float], float] = full_jitter


@asynccontextmanager
async def deadline(clock: Clock, seconds: float) -> AsyncIterator[None]:
    """Interrupt the block when the clock has gone so far.

    Raises:
        TimeoutError: it was interrupted.
    """
    async with asyncio.timeout(None) as timeout:
        alarm = clock.call_later(seconds, lambda: timeout.reschedule(0))
        try:
            yield
        finally:
            alarm.cancel()
