"""Is this a transport? The suite that ours pass, for anybody's: at the base of each case stands kernel/transport.py.

It needs no test framework. With pytest it is two lines::

    @pytest.mark.parametrize("name", applicable(WIRE))
    async def test_my_transport(name): await run_case(name, WIRE)

where WIRE is a `Wire`: the transport, and how to make addresses for it. A case that fails raises AssertionError.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from types import ModuleType

from . import endings, hostile, listeners, pressure, traffic
from .wire import Poke, Wire, claim

__all__ = ["CASES", "Case", "Poke", "Wire", "applicable", "run_case"]

Case = Callable[[Wire], Awaitable[None]]

_CASE_SECONDS = 60.0


def _cases(module: ModuleType) -> dict[str, Case]:
    found = inspect.getmembers(module, inspect.iscoroutinefunction)
    return {name: case for name, case in found if case.__module__ == module.__name__ and not name.startswith("_")}


_HOSTILE = _cases(hostile)
CASES: dict[str, Case] = {**_cases(traffic), **_cases(pressure), **_cases(endings), **_cases(listeners), **_HOSTILE}
"""Name, which says the fact, → the case that shows it."""


def applicable(wire: Wire) -> list[str]:
    """The names of the cases that can be tried on a wire: all, or all but the raw bytes."""
    return [name for name in CASES if wire.poke is not None or name not in _HOSTILE]


async def run_case(name: str, wire: Wire) -> None:
    """Run one case within 60 seconds; afterwards no task of it may be left.

    Raises:
        AssertionError: the transport does not do what the case's name says.
        TimeoutError: it waited for ever.
    """
    before = asyncio.all_tasks()
    async with asyncio.timeout(_CASE_SECONDS):
        await CASES[name](wire)
        left = asyncio.all_tasks() - before
        if left:
            _, running = await asyncio.wait(left, timeout=1)
            claim(not running, f"tasks are left: {running}")
