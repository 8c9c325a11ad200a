"""How does a server or a site live as a process of its own: logs, signals, children, and an orderly end (DESIGN §6)?"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import structlog

from ...kernel.errors import SundogError
from ..workspace import posix
from ..workspace.folders import Workspace
from ..workspace.log import start_logging, stop_logging
from .lifeline import Lifeline
from .means import Means, open_means

log = structlog.get_logger()
PRIVATE = 0o077
"""What a daemon writes is its user's own."""


class Daemon(Protocol):
    """A server or a site."""

    addresses: list[str]
    """Once it is started: where it is found, or which it dials."""

    async def start(self) -> None:
        """Begin to work."""

    def hurry(self) -> None:
        """Kill the job processes at once; `close` then finds them ended."""

    async def close(self) -> None:
        """End in order, also after a start that failed."""


def run_daemon(
    workspace: Workspace,
    make: Callable[[Means], Daemon],
    *,
    bound: Mapping[str, str],
    notes: Sequence[str] = (),
    lifeline: Lifeline | None = None,
) -> None:
    """Run it until SIGTERM, Ctrl-C or the loss of its starter; a second signal has its job processes killed at once.

    Args:
        workspace: where it works.
        make: gives the daemon, not started yet; called on the event loop.
        bound: stands in each of its log lines.
        notes: remarks on its kit, for the log.
        lifeline: to the program that started it, if that wants to know.

    Raises:
        WorkspaceInUse: another process works there; nothing of it was touched.
        SundogError: it cannot start; see Server.start and Site.start.
    """
    os.umask(PRIVATE)
    workspace.create()
    with posix.WorkspaceLock(workspace.lock):
        _run(workspace, partial(_live, make, notes, lifeline), bound)


def _run(workspace: Workspace, live: Callable[[], Coroutine[Any, Any, None]], bound: Mapping[str, str]) -> None:
    logging.raiseExceptions = False  # a terminal that was closed is no reason to print a trace for each line
    start_logging(workspace.log)
    structlog.contextvars.bind_contextvars(**bound)
    posix.become_subreaper()
    posix.watch_children()
    try:
        asyncio.run(live())
    finally:
        stop_logging()


async def _live(make: Callable[[Means], Daemon], notes: Sequence[str], lifeline: Lifeline | None) -> None:
    end = _End()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, end.ask, number.name)
    if lifeline is not None:
        lifeline.watch(lambda: end.ask("the program that started it is gone"))
    async with open_means() as means:
        daemon = make(means)
        end.hurry = daemon.hurry
        await _serve(daemon, end, notes, lifeline)
    log.info("stopped")


async def _serve(daemon: Daemon, end: _End, notes: Sequence[str], lifeline: Lifeline | None) -> None:
    try:
        await daemon.start()
        for note in notes:
            log.info("kit_note", note=note)
        if lifeline is not None:
            lifeline.tell_ready(" ".join(daemon.addresses))
        log.info("stopping", why=await end.asked())
    except SundogError as exc:
        log.error("start_failed", code=exc.code, reason=exc.what, where=exc.where)  # noqa: TRY400  # a trace says no more
        raise
    finally:
        await daemon.close()


class _End:
    """Whether the daemon was asked to end, and why."""

    def __init__(self) -> None:
        self.hurry: Callable[[], object] = lambda: None
        self._why: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def ask(self, why: str) -> None:
        """End; asked again: in a hurry."""
        if self._why.done():
            log.warning("hurrying", why=why)
            self.hurry()
        else:
            self._why.set_result(why)

    async def asked(self) -> str:
        return await self._why
