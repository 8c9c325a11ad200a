"""How do the growing files of sites (metrics, logs) reach the server's run folder: as fast as asked for, never lost, never twice?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import structlog

from ...kernel.errors import SundogError
from ...transports.link.link import Link
from ...transports.link.partfile import CannotWrite
from ..supervisor.tasks import Tasks

log = structlog.get_logger()
SETTLE_SECONDS = 5.0


class Streams:
    """Fetches the tail of each stream that grew, one Get at a time for each."""

    def __init__(self, on_read: Callable[[str, str, str, int], None]) -> None:
        """`on_read(run, site, stream, size)` is called when more of a stream is here."""
        self._on_read = on_read
        self._wanted: dict[tuple[str, str, str], int] = {}
        self._running: dict[tuple[str, str, str], asyncio.Task[None]] = {}
        self._lost: set[tuple[str, str, str]] = set()
        """Those that cannot be written: job code has put something in their place, say."""
        self._tasks = Tasks("streams")

    def grew(self, link: Link, run: str, stream: str, size: int, target: Path) -> None:
        """A site says that one of its streams has this size now."""
        key = (run, link.peer.name, stream)
        self._wanted[key] = max(size, self._wanted.get(key, 0))
        if key not in self._running and key not in self._lost:
            self._running[key] = self._tasks.start(self._follow(link, key, target))

    async def settle(self, run: str) -> None:
        """Wait until everything that sites said they have of a run is here, or cannot be had: a lost site holds up no run's end."""
        if running := [task for key, task in self._running.items() if key[0] == run]:
            await asyncio.wait(running, timeout=SETTLE_SECONDS)

    def forget(self, run: str) -> None:
        """The run is over."""
        for key in [key for key in self._wanted if key[0] == run]:
            del self._wanted[key]
        self._lost = {key for key in self._lost if key[0] != run}

    async def close(self) -> None:
        """End all."""
        await self._tasks.close()

    async def _follow(self, link: Link, key: tuple[str, str, str], target: Path) -> None:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            await self._fetch(link, key, target)
        except (OSError, CannotWrite) as exc:  # for good: the run goes on without it, and the log says so once
            self._lost.add(key)
            log.warning("stream_not_written", run=key[0], site=key[1], stream=key[2], error=str(exc))
        except SundogError as exc:
            log.warning("stream_interrupted", run=key[0], site=key[1], stream=key[2], error=exc.what)
        finally:
            del self._running[key]  # at once: what is said to have grown from now on starts another

    async def _fetch(self, link: Link, key: tuple[str, str, str], target: Path) -> None:
        run, site, stream = key
        here, before = -1, -2
        while before < here < self._wanted.get(key, 0):  # a site may say more than it has
            before, here = here, await link.transfers.fetch(f"stream:{run}/{stream}", self._wanted[key], target)
            self._on_read(run, site, stream, here)
