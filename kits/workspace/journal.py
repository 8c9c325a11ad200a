"""How is a record written so that it is there after any death, and how is a file of records read again (PROTOCOL §2)?

A journal is one append-only file of frames [u32 length][u32 crc32 of the record][record, msgpack], big-endian. Each
record carries the hash of the one before it, the first one "": no record can be changed, lost or exchanged unseen.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import struct
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from ...kernel.errors import DaemonError
from ...kernel.wording import reason_of
from ...transports.link.writer import Writer
from ..protocol.records import AnyRecord, decode_record, encode_record
from .disk import Disk

Durability = Literal["none", "process", "disk"]
"""none: records go nowhere · process: they survive kill -9 · disk: they survive a power cut (fsync)."""

BALLAST_BYTES = 1024 * 1024
_HEADER = struct.Struct(">II")


class JournalDamaged(DaemonError):
    """A journal cannot be trusted from some place on.

    Cause: the storage, or somebody, changed bytes in the middle of the file. (A record cut short by a crash is no damage:
    nobody was told of it, and it is dropped.)

    Cure: stop; keep a copy of the file; restore it from a backup or the standby server, or abort the run it belongs to.
    """

    code = "SD-5005"


class JournalFailed(DaemonError):
    """A record could not be written, so nothing may be built on it.

    Cause: the storage is full or broken. A failed fsync is never tried again: the system may already have dropped the data.

    Cure: free space or mend the storage, then start again; what was acknowledged before is in the file.
    """

    code = "SD-5006"


Work = Callable[[], object]


@dataclass(frozen=True, slots=True)
class JournalText:
    """What is in a journal's file."""

    records: list[AnyRecord]
    end: int
    """Offset behind the last whole record."""
    torn_bytes: int
    """What follows it: a record that a crash cut short."""
    last_hash: str
    """What the next record carries as `previous`."""


class Ballast:
    """A written file that is given up so that a journal can say how it ended when the storage is full."""

    def __init__(self, path: Path, disk: Disk | None = None) -> None:
        self._path = path
        self._disk = disk or Disk()

    @property
    def is_there(self) -> bool:
        """Whether it can still be given up."""
        return self._path.is_file()

    def ensure(self) -> None:
        """Write it if it is missing. Raises OSError when there is no space yet."""
        if not self.is_there:
            self._disk.atomic_write(self._path, os.urandom(BALLAST_BYTES))  # random: a file system that compresses keeps no room for zeros

    def release(self) -> None:
        """Give it up."""
        self._disk.unlink(self._path)


class Journal:
    """Appends records to a file on the writer thread; whatever waits there goes out in one write."""

    def __init__(
        self, path: Path, writer: Writer, *, durability: Durability = "process", ballast: Ballast | None = None, disk: Disk | None = None
    ) -> None:
        """Open a file, made if missing, and drop a torn tail.

        Raises:
            JournalDamaged: see `read_journal`.
        """
        self.path = path
        self._writer, self._durability, self._ballast, self._disk = writer, durability, ballast, disk or Disk()
        text = read_journal(path) if path.exists() else JournalText([], 0, 0, "")
        self.found = text.records
        """The records that were there at the start."""
        self._descriptor = self._disk.open_to_append(path)
        self._disk.truncate(self._descriptor, text.end)
        self._end, self._last_hash = text.end, text.last_hash
        self._waiting: deque[tuple[Sequence[Work], bytes]] = deque()  # filled by the loop, emptied by the writer thread
        self._failure: JournalFailed | None = None
        if durability == "disk":
            self._disk.sync_file(path.parent)

    def append(self, records: Sequence[AnyRecord], *, first: Sequence[Work] = ()) -> asyncio.Future[None]:
        """Queue records in order; `previous` is filled in here. Done when they are as durable as agreed, and all before them.

        `first` is done on the writer thread before any of the records is written: the files that they speak of.

        Raises (in the future):
            JournalFailed: they are not; nor is any later one.
        """
        if self._durability == "none":
            return self._writer.post(lambda: _do_all(first)) if first else _done()
        frames, last_hash = [], self._last_hash
        for record in records:
            encoded = encode_record(msgspec.structs.replace(record, previous=last_hash))
            last_hash = _hash(encoded)
            frames.append(_HEADER.pack(len(encoded), zlib.crc32(encoded)) + encoded)
        self._last_hash = last_hash  # all or none: the chain must not go on from a record that is not written
        self._waiting.append((first, b"".join(frames)))
        return self._writer.post(self._flush)

    async def close(self) -> None:
        """Wait for what is queued and close the file."""
        try:
            await self._writer.post(self._flush)
        finally:
            os.close(self._descriptor)

    def _flush(self) -> None:
        """On the writer thread. The first call of a batch writes for all; the others find nothing left to do."""
        if self._failure is not None:
            raise self._failure
        batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if not batch:
            return
        try:
            for first, _ in batch:
                _do_all(first)
            self._write(b"".join(data for _, data in batch))
            if self._durability == "disk":
                self._disk.sync(self._descriptor)
            if self._ballast is not None:
                with contextlib.suppress(OSError):  # there is no room for it yet; the next records try again
                    self._ballast.ensure()
        except OSError as exc:
            self._failure = JournalFailed(reason_of(exc), where=str(self.path))
            raise self._failure from exc

    def _write(self, data: bytes) -> None:
        try:
            self._disk.append(self._descriptor, data)
        except OSError as exc:
            self._disk.truncate(self._descriptor, self._end)
            if exc.errno not in (errno.ENOSPC, errno.EDQUOT) or self._ballast is None or not self._ballast.is_there:
                raise
            self._ballast.release()
            self._disk.append(self._descriptor, data)
        self._end += len(data)

    def __repr__(self) -> str:
        return f"Journal({str(self.path)!r}, {self._end} bytes, {self._durability})"


def _do_all(works: Sequence[Work]) -> None:
    for work in works:
        work()


def read_journal(path: Path) -> JournalText:
    """Read a journal without changing it.

    A record that runs past the end of the file is a torn tail, unless whole records follow; so is a bad checksum in the
    very last record: the writer was killed, or the power failed, before it was acknowledged.

    Raises:
        JournalDamaged: names the file and the offset of the first record that cannot be trusted.
    """
    data = path.read_bytes()
    records: list[AnyRecord] = []
    offset, last_hash = 0, ""
    while (encoded := _frame(data, offset)) is not None:
        record = _decode(encoded, f"{path}:{offset}")
        if record.previous != last_hash:
            got, wanted = record.previous or "none", last_hash or "none"
            raise JournalDamaged(f"wanted a record that follows {wanted}, got one that follows {got}", where=f"{path}:{offset}")
        records.append(record)
        last_hash = _hash(encoded)
        offset += _HEADER.size + len(encoded)
    if _has_frame_after(data, offset):
        raise JournalDamaged("this record is damaged, and others follow it", where=f"{path}:{offset}")
    return JournalText(records, offset, len(data) - offset, last_hash)


def _frame(data: bytes, offset: int) -> bytes | None:
    """The whole, unharmed record at an offset."""
    if offset + _HEADER.size > len(data):
        return None
    length, checksum = _HEADER.unpack_from(data, offset)
    start = offset + _HEADER.size
    if length == 0 or start + length > len(data) or zlib.crc32(memoryview(data)[start : start + length]) != checksum:
        return None
    return data[start : start + length]


def _has_frame_after(data: bytes, offset: int) -> bool:
    """Whether any whole record lies behind a place where there is none; only ever searched behind a crash or damage."""
    return any(_frame(data, at) is not None for at in range(offset + 1, len(data) - _HEADER.size))


def _decode(encoded: bytes, where: str) -> AnyRecord:
    try:
        record: AnyRecord = decode_record(encoded)
    except (msgspec.DecodeError, ValueError) as exc:  # ValueError: text that is not UTF-8
        raise JournalDamaged(f"this is no record that this version knows: {exc}", where=where) from exc
    return record


def _done() -> asyncio.Future[None]:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_result(None)
    return future


def _hash(encoded: bytes) -> str:
    return hashlib.sha256(encoded).hexdigest()[:16]
