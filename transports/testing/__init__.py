"""The conformance suite for transports, ours and third-party ones; each case states a promise of kernel/transport.py.

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

from . import endings, hostile, listeners, pressure, secured, traffic
from .wire import Poke, Wire, claim

__all__ = ["CASES", "Case", "Poke", "Wire", "applicable", "run_case"]

Case = Callable[[Wire], Awaitable[None]]

_CASE_SECONDS = 60.0


def _cases(module: ModuleType) -> dict[str, Case]:
    found = inspect.getmembers(module, inspect.iscoroutinefunction)
    return {name: case for name, case in found if case.__module__ == module.__name__ and not name.startswith("_")}


_HOSTILE = _cases(hostile)
_SECURED = _cases(secured)
CASES: dict[str, Case] = {**_cases(traffic), **_cases(pressure), **_cases(endings), **_cases(listeners), **_HOSTILE, **_SECURED}
"""Name, which says the fact, → the case that shows it."""


def applicable(wire: Wire) -> list[str]:
    """The names of the cases for a wire: those with raw bytes need its `poke`, those with certificates its `credentials`."""
    left_out = set() if wire.poke is not None else set(_HOSTILE)
    left_out |= _SECURED.keys() if wire.credentials is None else {listeners.security_that_is_not_supported_is_refused.__name__}
    return [name for name in CASES if name not in left_out]


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
