"""What do all links of a process share when they receive blobs? The writer, the credit, the space on the disk."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ...kernel.errors import LinkError
from .writer import Writer

STREAM_CREDIT_BYTES = 4 * 1024 * 1024
"""What one transfer may have on its way to the disk."""
DOWNLOADS_BYTES = 8 * 1024 * 1024
"""What all downloads of a process should have on their way together, so that memory hardly grows with the peers."""
UPLOADS_BYTES = 4 * 1024 * 1024
"""The same for what is read to be sent."""
DOWNLOADS_AT_ONCE = 128
"""Others wait; each has 64 KiB at the least."""
SPARE_BYTES = 64 * 1024 * 1024
"""Space that stays free on the disk, for journals and logs."""


class NoSpace(LinkError):
    """The disk has no room for what is to be received; nothing was asked for.

    Cause: the file system of the workspace is full, or nearly.

    Cure: make room, or move the workspace; the transfer goes on when it is asked for again.
    """

    code = "SD-2121"


def _free_bytes(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


class Share:
    """A number of bytes that those who are at it divide evenly between them, within limits for each."""

    def __init__(self, total_bytes: int, *, least: int, most: int) -> None:
        self._total, self._least, self._most = total_bytes, least, most
        self._users = 0

    @property
    def bytes_each(self) -> int:
        """What one of them may take now."""
        return max(self._least, min(self._most, self._total // max(1, self._users)))

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Be one of them."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1


@dataclass(slots=True)
class _Turn:
    """Who writes a file, and how many wait to."""

    lock: asyncio.Lock
    users: int = 0


class Intake:
    """Admits transfers of a process: so many at once, each file by one at a time, none without space.

    Args:
        writer: the one thread that touches the disk.
        free_bytes: tells how much a folder's file system has left; runs in the writer.
        near: what is offered by whom this process plays itself (the simulator), key → file; shared by their intakes.
            Such a file is not copied but given a second name, and its hash is believed.
    """

    def __init__(self, writer: Writer, *, free_bytes: Callable[[Path], int] = _free_bytes, near: dict[str, Path] | None = None) -> None:
        self.writer = writer
        self.near = near
        self.streams = asyncio.Semaphore(DOWNLOADS_AT_ONCE)
        self.downloads = Share(DOWNLOADS_BYTES, least=64 * 1024, most=STREAM_CREDIT_BYTES)
        self.uploads = Share(UPLOADS_BYTES, least=128 * 1024, most=2 * 1024 * 1024)
        self._free_bytes = free_bytes
        self._promised_bytes = 0
        self._turns: dict[Path, _Turn] = {}

    @asynccontextmanager
    async def turn(self, target: Path) -> AsyncIterator[None]:
        """Be the only one who writes a file; who comes second may find it there."""
        turn = self._turns.setdefault(target, _Turn(asyncio.Lock()))
        turn.users += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[target]

    @asynccontextmanager
    async def space(self, folder: Path, size_bytes: int) -> AsyncIterator[None]:
        """Keep room for so many bytes while the block runs.

        Raises:
            NoSpace: there is not so much beside what was promised to others and 64 MiB.
        """
        # Written bytes are promised until the end, and so counted twice: on the safe side, and it asks the disk once.
        wanted = size_bytes + self._promised_bytes + SPARE_BYTES
        free = await self.writer.do(lambda: self._free_bytes(folder))
        if free < wanted:
            raise NoSpace(f"{size_bytes:,} bytes are to come, {wanted:,} must be free, {free:,} are", where=str(folder))
        self._promised_bytes += size_bytes
        try:
            yield
        finally:
            self._promised_bytes -= size_bytes
