"""How does a file leave? Read in batches beside the loop, sent as far as the receiver's credit goes."""

from __future__ import annotations

import asyncio
import os
import stat
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from ...kernel.errors import LinkError, SundogError
from ...kernel.messages import CHUNK_BYTES, Message, encode
from ...kernel.wording import reason_of
from .carrier import Carrier
from .download import told
from .intake import Share
from .messages import Chunk, Done, Get, TransferFailed

T = TypeVar("T")


class CannotRead(LinkError):
    """A file that was offered cannot be read, or is not what was offered.

    Cause: it was removed or changed after it was offered.

    Cure: the system's message, or the two sizes, say what happened to it.
    """

    code = "SD-2128"


class Offer(NamedTuple):
    """What a peer may get under a key."""

    path: Path
    size_bytes: int | None
    """None: a stream, which may grow."""


class Upload:
    """The answer to one Get: chunks, then one last word, Done or TransferFailed."""

    def __init__(self, get: Get, offer: Offer, carrier: Carrier, share: Share) -> None:
        self._share = share
        self._number = get.transfer
        self._offer = offer
        self._carrier = carrier
        self._position = get.offset
        self._upto = get.offset + get.credit
        self._credit = asyncio.Event()

    def grant(self, upto: int) -> None:
        """The receiver takes bytes up to this offset."""
        if upto > self._upto:
            self._upto = upto
            self._credit.set()

    async def run(self) -> Message:
        """Send the file, or as much of a stream as there is now; the last word, which is still to be said."""
        source = _Source(self._offer)
        try:
            size = await _beside(source.open)
            with self._share.taken():
                await self._send_up_to(source, size)
        except SundogError as error:
            return TransferFailed(self._number, told(error))
        except OSError as error:
            why = CannotRead(f"{self._offer.path.name}: {reason_of(error)}")
            return TransferFailed(self._number, told(why))
        finally:
            source.close()
        return Done(self._number, self._position)

    async def _send_up_to(self, source: _Source, size: int) -> None:
        """Fill one buffer while the other one is sent."""
        room = min(self._share.bytes_each // 2, max(0, size - self._position))
        spare: deque[tuple[memoryview, asyncio.Future[None] | None]] = deque((memoryview(bytearray(room)), None) for _ in range(2))
        while self._position < size:
            await self._wait_for_credit()
            buffer, sent = spare.popleft()
            if sent is not None:
                await sent
            count = await _beside(partial(source.read, buffer[: min(size, self._upto) - self._position], self._position))
            if not count:
                raise CannotRead(f"{self._offer.path.name}: wanted {size:,} bytes, it ended at {self._position:,}")
            spare.append((buffer, self._post(buffer[:count])))

    async def _wait_for_credit(self) -> None:
        while self._upto <= self._position:
            self._credit.clear()
            await self._credit.wait()

    def _post(self, data: memoryview) -> asyncio.Future[None]:
        """Queue the chunks; what is returned is set when the wire took the last of them."""
        sent: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for at in range(0, len(data), CHUNK_BYTES):
            part = data[at : at + CHUNK_BYTES]
            is_last = at + CHUNK_BYTES >= len(data)
            self._carrier.post_bulk(encode(Chunk(self._number, self._position)), part, sent=sent if is_last else None)
            self._position += len(part)
        return sent


class _Source:
    """The file that is read; every call but `close` runs in a thread."""

    def __init__(self, offer: Offer) -> None:
        self._offer = offer
        self._fd = -1

    def open(self) -> int:
        """The size; for a stream, what it has now."""
        # O_NONBLOCK: a job could have put a pipe in the place of its log, and opening it would wait for ever.
        self._fd = os.open(self._offer.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        found = os.fstat(self._fd)
        if not stat.S_ISREG(found.st_mode):
            raise CannotRead(f"{self._offer.path.name}: wanted an ordinary file")
        if self._offer.size_bytes not in (None, found.st_size):
            raise CannotRead(f"{self._offer.path.name}: wanted the {self._offer.size_bytes:,} bytes offered, it has {found.st_size:,}")
        return found.st_size

    def read(self, buffer: memoryview, offset: int) -> int:
        """Fill the buffer from there; how far it came."""
        return os.preadv(self._fd, [buffer], offset)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)


async def _beside(work: Callable[[], T]) -> T:
    """Do it in a thread. Cancelling waits for the thread, which has our descriptor in its hands."""
    future = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        raise
