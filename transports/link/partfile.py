"""What does the writer do with bytes that arrive? Write, hash, check, rename. Every call here runs in the writer."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from ...kernel.blobs import disk_errors
from ...kernel.errors import LinkError
from ...kernel.transport import Frame

_HASH_AT_ONCE_BYTES = 32 * 1024 * 1024
"""A prefix is read again in pieces, so that others get their turn at the writer."""
_READ_BYTES = 1024 * 1024
_MAX_PARTS = 512
"""Below the limit of every system for one vectored write (IOV_MAX, 1024 on Linux and macOS)."""


class CannotWrite(LinkError):
    """A file that is being received cannot be written.

    Cause: the system's message says it: a full disk, a folder that is gone, missing rights.

    Cure: mend what it names; what was received is kept, and the transfer goes on from there.
    """

    code = "SD-2122"


class WrongHash(LinkError):
    """What was received is not what was announced, twice.

    Cause: the file changed at the other side, or its disk or memory is damaged.

    Cure: look at the disk of the side that sent it; the file was dropped here.
    """

    code = "SD-2123"


class PartFile:
    """A file that grows: `<target>.part`, hashed as it is written, renamed when all is right.

    Args:
        target: the name that the file gets in the end.
        sha256: hex, what it must hash to. Empty: a stream; it is appended to the target itself.
        size_bytes: how much there will be.
    """

    def __init__(self, target: Path, sha256: str, size_bytes: int) -> None:
        self.target = target
        self.written_bytes = 0
        self._sha256 = sha256
        self._size_bytes = size_bytes
        self._path = target.with_name(f"{target.name}.part") if sha256 else target
        self._fd = -1
        self._hashed_bytes = 0
        self._hash = hashlib.sha256()

    @property
    def is_stream(self) -> bool:
        """Whether it is appended to the target itself, and has no hash."""
        return not self._sha256

    def open(self) -> bool:
        """Open what is there already; False if nothing is to be received at all.

        Raises:
            CannotWrite: it cannot be opened.
        """
        with disk_errors(CannotWrite, self._path):
            if not self.is_stream and self.target.is_file():  # named only when its hash was right
                return False
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._fd = os.open(self._path, flags, 0o600)
            self.written_bytes = os.fstat(self._fd).st_size
            if not self.is_stream and self.written_bytes > self._size_bytes:
                self.restart()
        return True

    def hash_more(self) -> bool:
        """Hash another piece of what was there when it was opened; whether there is more to hash."""
        end = min(self.written_bytes, self._hashed_bytes + _HASH_AT_ONCE_BYTES)
        while not self.is_stream and self._hashed_bytes < end:
            piece = os.pread(self._fd, min(_READ_BYTES, end - self._hashed_bytes), self._hashed_bytes)
            if not piece:
                raise CannotWrite("the file became shorter while it was read", where=str(self._path))
            self._hash.update(piece)
            self._hashed_bytes += len(piece)
        return not self.is_stream and self._hashed_bytes < self.written_bytes

    def write(self, parts: Sequence[Frame]) -> None:
        """Add these bytes, in this order.

        Raises:
            CannotWrite: they, or some of them, could not be written; the file is as long as `written_bytes` says.
        """
        with disk_errors(CannotWrite, self._path):
            for at in range(0, len(parts), _MAX_PARTS):
                self._write_all(parts[at : at + _MAX_PARTS])
        if not self.is_stream:
            for part in parts:
                self._hash.update(part)

    def is_right(self) -> bool:
        """Whether size and hash are those announced; always so for a stream."""
        return self.is_stream or (self.written_bytes == self._size_bytes and self._hash.hexdigest() == self._sha256)

    def publish(self) -> None:
        """Give the file its name. A stream has it already."""
        if not self.is_stream:
            with disk_errors(CannotWrite, self.target):
                self._path.rename(self.target)

    def restart(self) -> None:
        """Forget what was received."""
        os.ftruncate(self._fd, 0)
        self.written_bytes = self._hashed_bytes = 0
        self._hash = hashlib.sha256()

    def discard(self) -> None:
        """Remove what was received."""
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the descriptor. Twice is fine."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _write_all(self, parts: Sequence[Frame]) -> None:
        total = sum(map(len, parts))
        done = os.pwritev(self._fd, parts, self.written_bytes)
        self.written_bytes += done
        if done < total:  # the disk is filling up, or a signal came: the rest says which
            rest = memoryview(b"".join(parts))[done:]
            while rest:
                done = os.pwrite(self._fd, rest, self.written_bytes)
                self.written_bytes += done
                rest = rest[done:]
