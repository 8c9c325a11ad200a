"""Where are a payload's bytes? In a blob: a tensor file that never changes, inline when small, else an open file.

A blob holds its file open, so it stays readable when a supervisor renames or unlinks it. It is read by offset, never
through a shared file position, so that threads may share it. Only `map` maps it, copy-on-write, for user code.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import secrets
import stat
import weakref
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Self

import msgspec
import numpy as np

from . import tensors
from .errors import PayloadError, SundogError
from .messages import INLINE_LIMIT_BYTES
from .tensors import Array, Entry, Layout
from .wording import did_you_mean, reason_of

Buffer = bytes | bytearray | memoryview
BLOCK_BYTES = 1024 * 1024
"""Files are hashed, copied and buffered in blocks of this size: it fits into a core's cache."""


class BlobUnreadable(PayloadError):
    """A blob's file cannot be opened or read, or is no plain file.

    Cause: it was removed, cut or closed, is a link or a device, or the disk failed.

    Cure: look whether the named file exists, and at the message for the system's own reason.
    """

    code = "SD-1205"


class BlobUnwritable(PayloadError):
    """A blob cannot be written; the part that was written is removed.

    Cause: mostly a full disk or a read-only folder; the system's own reason is in the message.

    Cure: make room, or name another folder for the workspace.
    """

    code = "SD-1206"


class NoSuchTensor(PayloadError, KeyError):
    """A payload has no tensor of this name.

    Cause: a misspelt name, or a model of another architecture.

    Cure: compare with the names the payload has.
    """

    code = "SD-1207"

    @classmethod
    def among(cls, name: str, known: Iterable[str]) -> Self:
        """The error for a name that is not among the known ones."""
        return cls(f"no tensor {str(name)[:200]!r}{did_you_mean(str(name), known)}")


class BlobRef(msgspec.Struct, array_like=True, frozen=True):
    """How messages and records name a blob. The hash is 64 lower-case hex digits, so it is safe as a file name."""

    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$", max_length=64)]
    size_bytes: Annotated[int, msgspec.Meta(ge=0)]


class Blob:
    """A tensor file that never changes. Made by `of_bytes`, `open`, `pack` or a BlobWriter."""

    def __init__(self, size_bytes: int, *, inline: bytes | None = None, fd: int = -1, path: Path | None = None, sha256: str = "") -> None:
        self.size_bytes = size_bytes
        self.inline = inline
        """All the bytes, when there are at most 64 KiB of them."""
        self.path = path
        """Where the file lay when it was opened or written; None when it never had a name."""
        self.is_fresh = False
        """Whether the file was written for this blob and nobody was given it."""
        self._fd = fd
        self._sha256 = sha256
        self._layout: Layout | None = None
        self._close = weakref.finalize(self, os.close, fd) if fd >= 0 else None

    @classmethod
    def of_bytes(cls, data: Buffer, sha256: str = "") -> Blob:
        """A blob of at most 64 KiB, from its bytes. A given hash is believed."""
        if len(data) > INLINE_LIMIT_BYTES:
            raise BlobUnreadable(f"an inline blob has at most {INLINE_LIMIT_BYTES:,} bytes, got {len(data):,}")
        return cls(len(data), inline=bytes(data), sha256=sha256)

    @classmethod
    def open(cls, path: Path, sha256: str = "", *, no_follow: bool = False) -> Blob:
        """The blob in a plain file; a small one is read at once. A given hash is believed.

        Raises:
            BlobUnreadable: there is no such file, or it is no plain file, or (with `no_follow`) a symbolic link.
        """
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (os.O_NOFOLLOW if no_follow else 0)  # NONBLOCK: never wait for a pipe
        with disk_errors(BlobUnreadable, path):
            fd = os.open(path, flags)
        status = os.fstat(fd)
        blob = cls(status.st_size, fd=fd, path=path, sha256=sha256)
        if not stat.S_ISREG(status.st_mode):
            raise BlobUnreadable("wanted a plain file", where=str(path))
        if status.st_size <= INLINE_LIMIT_BYTES:
            blob.inline = blob.read(0, status.st_size)
            blob.close()
        return blob

    @property
    def sha256(self) -> str:
        """The hash of all bytes; computed once, when it was not known."""
        if not self._sha256:
            digest = hashlib.sha256()
            for block in self.blocks():
                digest.update(block)
            self._sha256 = digest.hexdigest()
        return self._sha256

    @property
    def ref(self) -> BlobRef:
        """Hash and size."""
        return BlobRef(self.sha256, self.size_bytes)

    @property
    def layout(self) -> Layout:
        """The parsed header; read once.

        Raises:
            MalformedTensors: these are not the bytes of a tensor file.
        """
        if self._layout is None:
            prefix = self.read(0, min(tensors.LENGTH_BYTES, self.size_bytes))
            self._layout = tensors.parse(self.read(0, tensors.head_size(prefix, self.size_bytes)), self.size_bytes)
        return self._layout

    @property
    def entries(self) -> Mapping[str, Entry]:
        """Where each tensor lies, in file order."""
        return self.layout.entries

    def read(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes from an offset."""
        if not 0 <= offset <= offset + size <= self.size_bytes:
            raise BlobUnreadable(f"{size:,} bytes from {offset:,} are outside of its {self.size_bytes:,}", where=self._place)
        if self.inline is not None:
            return self.inline[offset : offset + size]
        data = bytearray(size)
        self.read_into(data, offset)
        return bytes(data)

    def read_into(self, buffer: bytearray | memoryview, offset: int) -> None:
        """Fill a buffer of bytes with what lies from an offset on.

        Raises:
            BlobUnreadable: there are fewer bytes, or the system's reason.
        """
        view = memoryview(buffer)
        if self.inline is not None:
            view[:] = self.read(offset, len(view))
            return
        while view:
            with disk_errors(BlobUnreadable, self._place):
                count = os.preadv(self._fd, [view], offset)
            if count == 0:
                raise BlobUnreadable(f"the file ends before byte {offset + len(view):,}", where=self._place)
            view, offset = view[count:], offset + count

    def blocks(self) -> Iterator[memoryview]:
        """All bytes, in blocks of 1 MiB; each is valid until the next is asked for."""
        buffer = memoryview(bytearray(min(BLOCK_BYTES, self.size_bytes)))
        for offset in range(0, self.size_bytes, BLOCK_BYTES):
            block = buffer[: self.size_bytes - offset]
            self.read_into(block, offset)
            yield block

    def array(self, name: str) -> Array:
        """One tensor, read into memory of its own.

        Raises:
            NoSuchTensor: it has no tensor of this name.
        """
        entry = self.entries.get(name)
        if entry is None:
            raise NoSuchTensor.among(name, self.entries)
        array: Array = np.empty(entry.shape, tensors.numpy_dtype(entry.dtype))
        self.read_into(tensors.raw_bytes(array), entry.start)
        return array

    def map(self) -> dict[str, Array]:
        """All tensors, mapped copy-on-write: they can be written to, the blob never changes."""
        with disk_errors(BlobUnreadable, self._place):
            memory = bytearray(self.inline) if self.inline is not None else mmap.mmap(self._fd, self.size_bytes, access=mmap.ACCESS_COPY)
        arrays: dict[str, Array] = {}
        for entry in self.entries.values():
            array: Array = np.ndarray(entry.shape, tensors.numpy_dtype(entry.dtype), buffer=memory, offset=entry.start)
            arrays[entry.name] = array if array.flags.aligned else array.copy()  # other tools align to 8 bytes at most
        return arrays

    def save(self, path: Path) -> Path:
        """Write a copy; it appears under its name only when it is complete.

        Raises:
            BlobUnwritable: for the system's reason.
        """
        with disk_errors(BlobUnwritable, path), draft_of(path) as draft, draft.open("xb", buffering=0) as file:
            for block in self.blocks():
                file.write(block)
        return path

    def give(self, folder: Path) -> Path:
        """A file in `folder` for the caller to hand over: the blob's own if it was written there, and only once; else a copy."""
        if self.is_fresh and self.path is not None and self.path.parent == folder:
            self.is_fresh = False
            return self.path
        return self.save(new_path(folder).with_suffix(".blob"))

    def close(self) -> None:
        """Let go of the file; an inline blob stays readable. Twice is fine; collection does it too."""
        if self._close is not None:
            self._close()
            self._fd = -1

    @property
    def _place(self) -> str:
        return str(self.path or "a blob")

    def __repr__(self) -> str:
        place = "inline" if self.inline is not None else self._place
        return f"<Blob {self._sha256[:12] or 'not hashed yet'}, {self.size_bytes:,} bytes, {place}>"


def new_path(folder: Path) -> Path:
    """A name for a file in the making that was never used before: two blobs with equal bytes can both be handed over."""
    return folder / f"{secrets.token_hex(12)}.part"


@contextlib.contextmanager
def draft_of(path: Path) -> Iterator[Path]:
    """A name beside `path` to write a file under, which takes its place at the end of the block; nothing is left if that raises."""
    draft = new_path(path.parent)
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextlib.contextmanager
def disk_errors(error: type[SundogError], place: Path | str) -> Iterator[None]:
    """Turn the system's error into ours, with the place."""
    try:
        yield
    except OSError as exc:
        raise error(reason_of(exc), where=str(place)) from exc
