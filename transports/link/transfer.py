"""What may a peer get, and how is a blob fetched from it? One verb, both ways, driven by the receiver."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

from ...kernel.errors import LinkError, RemoteError, SundogError
from ...kernel.messages import Message, encode
from ...kernel.transport import Frame
from .carrier import Carrier
from .download import BrokenTransfer, ConnectionGone, Download, NotWanted, Progress, told
from .hello import Peer
from .intake import Intake
from .messages import Chunk, Credit, Done, Get, TransferFailed
from .partfile import PartFile, WrongHash
from .timers import Timers
from .upload import Offer, Upload

STREAM = "stream:"
"""How the key of a stream begins: a file without a hash, that may grow."""
GETS_AT_ONCE = 2
"""Gets under way in each direction of a link; others wait."""


class UnknownKey(LinkError):
    """The peer asked for something that it was not offered.

    Cause: what was offered was withdrawn: the step that it belonged to is closed.

    Cure: nothing to mend: the next Sync settles what is still wanted.
    """

    code = "SD-2129"


class Way(Protocol):
    """The way to a peer over successive connections, as transfers see their link; there each member is told of."""

    peer: Peer

    @property
    def is_up(self) -> bool:
        """Whether there is a connection."""

    @property
    def carrier(self) -> Carrier:
        """It. Raises: LinkClosed."""

    def send(self, message: Message, *body: Frame) -> None:
        """Send a message; while there is no connection it is dropped."""

    async def wait_up(self) -> None:
        """Wait until there is one. Raises: LinkClosed."""


class Transfers:
    """The blob transfers of a link; they outlive its connections.

    The numbers of the dialer's own Gets are odd and the acceptor's even, so that a number means one transfer.
    """

    def __init__(self, link: Way, intake: Intake, timers: Timers, *, is_dialer: bool) -> None:
        self._link = link
        self._intake = intake
        self._timers = timers
        self._parity = int(is_dialer)
        self._numbers = itertools.count(1 if is_dialer else 2, 2)
        self._offers: dict[str, list[Offer]] = {}
        self._uploads: dict[int, tuple[Upload, asyncio.Task[None]]] = {}
        self._downloads: dict[int, Download] = {}
        self._gets = asyncio.Semaphore(GETS_AT_ONCE)

    def __repr__(self) -> str:
        return f"{len(self._offers)} offers, {len(self._uploads)} out, {len(self._downloads)} in"

    def offer(self, key: str, path: Path, size_bytes: int) -> None:
        """Let the peer get this file under this key until it is withdrawn; a stream's size is that at each Get.

        Equal files may be offered from several places: two runs that begin with the same model.
        """
        offer, offers = Offer(path, None if key.startswith(STREAM) else size_bytes), self._offers.setdefault(key, [])
        if offer not in offers:
            offers.append(offer)
        if self._intake.near is not None and not key.startswith(STREAM):
            self._intake.near[key] = path

    def withdraw(self, key: str, path: Path) -> None:
        """Answer no more Gets for this key with this file; one under way goes on. Fine when it was not offered."""
        others = [offer for offer in self._offers.pop(key, ()) if offer.path != path]
        if others:
            self._offers[key] = others
        if self._intake.near is not None and self._intake.near.get(key) == path:
            del self._intake.near[key]

    async def fetch(self, key: str, size_bytes: int, target: Path, *, progress: Progress | None = None) -> int:
        """Get what has this key from the peer; the size of the file, which has its name when this returns.

        A blob is written to `<target>.part`, checked, and renamed; a target that is there is not asked for. A stream
        is appended to the target itself, from its present size up to `size_bytes` or to what there is. While the link
        is down the fetch waits, and goes on where it was.

        Args:
            key: the sha256 in hex, or "stream:…".
            size_bytes: the size of the blob; how far a stream is wanted.
            target: in a folder that exists.
            progress: is told how much is written.

        Raises:
            WrongHash: the bytes are not those of the key, though asked for twice; nothing is left.
            NoSpace, CannotWrite, TransferStalled: this side cannot go on; what came is kept in the .part file.
            RemoteError: the peer cannot go on, with its reason.
            LinkClosed: the link ended for good.
        """
        file = PartFile(target, "" if key.startswith(STREAM) else key, size_bytes)
        writer = self._intake.writer
        async with self._intake.turn(target), AsyncExitStack() as undo:
            if await self._is_near(key, target):
                return size_bytes
            undo.callback(lambda: writer.post(file.close))
            if not await writer.do(file.open):
                return size_bytes
            while await writer.do(file.hash_more):
                pass
            missing = max(0, size_bytes - file.written_bytes)
            await undo.enter_async_context(self._intake.space(target.parent, missing))
            await self._fill(file, key, size_bytes, progress)
        return file.written_bytes

    async def _is_near(self, key: str, target: Path) -> bool:
        """Whether the file was in this process's own hands, and has a second name now."""
        source = self._intake.near.get(key) if self._intake.near is not None else None
        return source is not None and await self._intake.writer.do(lambda: _named_again(source, target))

    async def _fill(self, file: PartFile, key: str, size_bytes: int, progress: Progress | None) -> None:
        """Get what is missing until it is right; once more from the beginning if the hash is wrong."""
        writer = self._intake.writer
        for _ in range(2):
            while file.written_bytes < size_bytes:
                if await self._get(file, key, size_bytes, progress):
                    break
            if await writer.do(file.is_right):
                await writer.do(file.publish)
                return
            await writer.do(file.restart)
        await writer.do(file.discard)
        raise WrongHash(f"{self._link.peer} sent bytes with another hash than {key}", where=str(file.target))

    async def _get(self, file: PartFile, key: str, size_bytes: int, progress: Progress | None) -> bool:
        """One Get; whether it came to its end, rather than to that of the connection."""
        await self._link.wait_up()
        async with self._gets, self._intake.streams:
            if not self._link.is_up:
                return False
            download = Download(next(self._numbers), file, size_bytes, intake=self._intake, send=self._link.send, clock=self._timers.clock)
            download.progress = progress or download.progress
            self._downloads[download.number] = download
            download.ask(key)
            try:
                with self._intake.downloads.taken():
                    await download.finish()
            except ConnectionGone:
                return False
            return True

    # --- what the link hands over: messages of the peer, and what becomes of its connections ---

    def tick(self) -> None:
        """Give up the Gets that have stalled."""
        for download in self._downloads.values():
            download.tick(self._timers.stall_seconds)

    def lose(self) -> None:
        """The connection is gone; its tasks end by themselves."""
        self._uploads.clear()
        downloads, self._downloads = self._downloads, {}
        for download in downloads.values():
            download.lose()

    def close(self, why: SundogError) -> None:
        """The link ends for good."""
        for download in self._downloads.values():
            download.refuse(why)

    def on_get(self, get: Get, _: memoryview) -> None:
        """The peer asks. A number of this side, or too many at once, breaks the rules."""
        if get.transfer % 2 == self._parity or get.transfer in self._uploads or min(get.transfer, get.offset, get.credit) < 0:
            raise BrokenTransfer(f"a Get numbered {get.transfer} at {get.offset} with credit {get.credit} cannot be this peer's")
        if len(self._uploads) >= GETS_AT_ONCE:
            raise BrokenTransfer(f"wanted at most {GETS_AT_ONCE} Gets at once, got one more")
        offers = self._offers.get(get.key)
        if not offers:
            failure = told(UnknownKey(f"{get.key[:100]!r} is not offered to {self._link.peer}"))
            self._link.send(TransferFailed(get.transfer, failure))
            return
        upload = Upload(get, offers[-1], self._link.carrier, self._intake.uploads)
        self._uploads[get.transfer] = upload, self._link.carrier.spawn(self._answer(get.transfer, upload))

    async def _answer(self, number: int, upload: Upload) -> None:
        """Send a file and the last word, unless that was said already."""
        carrier = self._link.carrier
        last = await upload.run()
        if self._uploads.get(number, (None,))[0] is upload:
            del self._uploads[number]
            carrier.post_bulk(encode(last))

    def on_chunk(self, chunk: Chunk, body: memoryview) -> None:
        """Bytes of a Get of ours."""
        self._download(chunk.transfer).take(chunk.offset, body)

    def on_credit(self, credit: Credit, _: memoryview) -> None:
        """More credit for a Get of the peer, which may be over already."""
        if credit.transfer in self._uploads:
            self._uploads[credit.transfer][0].grant(credit.upto)

    def on_done(self, done: Done, _: memoryview) -> None:
        """All of a Get of ours was sent."""
        self._download(done.transfer).end(done.size)
        del self._downloads[done.transfer]

    def on_failed(self, failed: TransferFailed, _: memoryview) -> None:
        """The last word on a Get of ours; or a Get of the peer, which may be over already, is no longer wanted."""
        if failed.transfer % 2 == self._parity:
            self._download(failed.transfer).end(RemoteError(failed.failure))
            del self._downloads[failed.transfer]
        elif failed.transfer in self._uploads:
            self._uploads.pop(failed.transfer)[1].cancel()
            self._link.carrier.post_bulk(encode(TransferFailed(failed.transfer, told(NotWanted("as you say")))))

    def _download(self, number: int) -> Download:
        download = self._downloads.get(number)
        if download is None:
            raise BrokenTransfer(f"this side asked for no transfer numbered {number}")
        return download


def _named_again(source: Path, target: Path) -> bool:
    """False if it cannot be: on another file system, or gone; then it is fetched like any other."""
    try:
        target.hardlink_to(source)
    except FileExistsError:
        return True
    except OSError:
        return False
    return True
