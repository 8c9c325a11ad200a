"""How does one transfer arrive? Chunks are checked, written in batches, and paid for with credit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from ...kernel.errors import Failure, LinkError, SundogError
from ...kernel.messages import CHUNK_BYTES, Message
from .intake import STREAM_CREDIT_BYTES, Intake, Share
from .messages import Credit, Get, TransferFailed
from .partfile import PartFile
from .timers import Clock

LEAST_CREDIT_BYTES = 64 * 1024
"""What the slowest peer may send ahead."""
FIRST_CREDIT_BYTES = 1024 * 1024
"""What a peer may send ahead before its rate is known."""

Progress = Callable[[int], None]
"""Called on the event loop with the bytes that are written, from the beginning of the file."""


class BrokenTransfer(LinkError):
    """The peer broke the rules of a transfer; it was dropped.

    Cause: a damaged stream, or a program that does not keep to the protocol.

    Cure: compare `sundog --version` on both sides; the transfer goes on when the link is up again.
    """

    code = "SD-2124"


class TransferStalled(LinkError):
    """A transfer brought nothing for a long time, though its peer is alive.

    Cause: the disk of the side that sends hangs, or the way is overloaded.

    Cure: look at that machine's disk; the transfer goes on from where it was when it is asked for again.
    """

    code = "SD-2125"


class NotWanted(LinkError):
    """A transfer is no longer wanted by the side that asked for it.

    Cause: the run was aborted, or the receiver has what it needs.

    Cure: nothing to mend.
    """

    code = "SD-2126"


class ConnectionGone(LinkError):
    """The connection broke in the middle of a transfer, which will go on over the next one.

    Cause: see the link's own message in the log.

    Cure: nothing to mend.
    """

    code = "SD-2127"


class Window:
    """How far ahead a sender may be: one second of the measured rate, within limits and this transfer's share of the process's."""

    def __init__(self, clock: Clock, share: Share | None = None) -> None:
        self._clock = clock
        self._share = share or Share(STREAM_CREDIT_BYTES, least=LEAST_CREDIT_BYTES, most=STREAM_CREDIT_BYTES)
        self._since = clock.time()
        self._bytes = 0
        self.size_bytes = FIRST_CREDIT_BYTES

    def measure(self, count: int) -> None:
        """So many bytes more were written."""
        self._bytes += count
        if self._bytes >= self.size_bytes // 2:
            seconds = self._clock.time() - self._since
            rate = self._bytes / seconds if seconds > 0 else float("inf")
            self.size_bytes = int(max(LEAST_CREDIT_BYTES, min(self._share.bytes_each, rate)))
            self._since += seconds
            self._bytes = 0


class Download:
    """One Get, from the asking to the sender's last word.

    Args:
        number: the transfer's, on this link.
        file: open; what it holds already is the offset.
        upto: the size of the file, or how much of a stream is wanted.
        intake: what it shares with the other downloads of the process.
        send: sends a message to the peer.
        clock: measures the rate.
    """

    def __init__(self, number: int, file: PartFile, upto: int, *, intake: Intake, send: Callable[[Message], None], clock: Clock) -> None:
        self.number = number
        self.progress: Progress = lambda _: None
        """Whom to tell."""
        self._file = file
        self._upto = upto
        self._writer = intake.writer
        self._send = send
        self._clock = clock
        self._received = self._granted = file.written_bytes
        self._waiting: list[memoryview] = []
        self._writing: asyncio.Future[None] | None = None
        self._window = Window(clock, intake.downloads)
        self._heard = clock.time()
        self._is_unwanted = False
        self._said: SundogError | int | None = None
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def ask(self, key: str) -> None:
        """Say Get."""
        self._granted = min(self._upto, self._received + self._window.size_bytes)
        self._send(Get(self.number, key, self._received, self._granted - self._received))

    async def finish(self) -> None:
        """Wait until all that was sent is written.

        Raises:
            ConnectionGone: the connection is lost; what came is written.
            RemoteError: the sender cannot go on.
            CannotWrite, TransferStalled: this side cannot.
        """
        try:
            await asyncio.shield(self._over)
        except asyncio.CancelledError:
            self.refuse(NotWanted("the transfer was cancelled"))
            raise

    def take(self, offset: int, body: memoryview) -> None:
        """A chunk.

        Raises:
            BrokenTransfer: it is not the next one, too large, or more than was granted.
        """
        most = min(CHUNK_BYTES, self._granted - self._received)
        if offset != self._received or not 0 < len(body) <= most:
            wanted = f"at most {most} bytes at {self._received}"
            raise BrokenTransfer(f"transfer {self.number}: wanted {wanted}, got {len(body)} bytes at {offset}")
        self._received += len(body)
        self._heard = self._clock.time()
        if not self._is_unwanted:
            self._waiting.append(body)
            self._write_on()

    def end(self, said: SundogError | int) -> None:
        """The sender's last word: the size that it has sent up to, or why it does not.

        Raises:
            BrokenTransfer: the size is not what was received.
        """
        if isinstance(said, int) and said != self._received:
            raise BrokenTransfer(f"transfer {self.number}: {said} bytes are said to be sent, {self._received} were received")
        self._said = said
        self._settle()

    def lose(self) -> None:
        """The connection is gone: no more will come."""
        if self._said is None:
            self._said = ConnectionGone(f"transfer {self.number} stopped at {self._received} bytes")
        self._settle()

    def tick(self, stall_seconds: float) -> None:
        """Give up if nothing has come for so long."""
        silent = self._clock.time() - self._heard
        if silent >= stall_seconds and not self._waiting and self._writing is None:
            self.refuse(TransferStalled(f"nothing has come for {silent:.0f} s; {self._received:,} bytes are here"))

    def refuse(self, why: BaseException) -> None:
        """Tell the sender to stop, and whoever waits why; the sender's last word is still to come."""
        self._stop(why)
        self._waiting.clear()
        if not self._over.done():
            self._over.set_exception(why)
            self._over.exception()  # whoever was cancelled does not ask for it

    def _write_on(self) -> None:
        """Write all that waits in one go, unless the writer has some of ours in hand."""
        if self._waiting and self._writing is None:
            parts, self._waiting = self._waiting, []
            count = sum(map(len, parts))
            self._writing = self._writer.post(partial(self._file.write, parts))
            self._writing.add_done_callback(partial(self._written, count))

    def _written(self, count: int, writing: asyncio.Future[None]) -> None:
        self._writing = None
        error = writing.exception()
        if error is not None:
            self.refuse(error)
            return
        self._window.measure(count)
        self.progress(self._file.written_bytes)
        self._grant()
        self._write_on()
        self._settle()

    def _grant(self) -> None:
        """More credit, when a quarter of the window is free."""
        upto = min(self._upto, self._file.written_bytes + self._window.size_bytes)
        if self._said is not None or self._is_unwanted or upto <= self._granted:
            return
        if upto == self._upto or upto - self._granted >= self._window.size_bytes // 4:
            self._granted = upto
            self._send(Credit(self.number, upto))

    def _stop(self, why: BaseException) -> None:
        if self._said is None and not self._is_unwanted:
            self._send(TransferFailed(self.number, told(why)))
        self._is_unwanted = True

    def _settle(self) -> None:
        """Tell whoever waits, once the last word is here and all is written."""
        if self._waiting or self._writing is not None or self._over.done():
            return
        if isinstance(self._said, SundogError):
            self._over.set_exception(self._said)
            self._over.exception()  # likewise
        elif self._said is not None:
            self._over.set_result(None)
        elif self._file.is_stream and self._received == self._upto:
            # A stream has no end of its own: this side says where.
            self._stop(NotWanted("enough"))
            self._over.set_result(None)


def told(error: BaseException) -> Failure:
    """What a peer may know of an error: not where it was, nor the trace, which name folders of this machine."""
    failure = Failure.of(error)
    return Failure(failure.code, failure.what, cure=failure.cure)
