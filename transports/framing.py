"""How frames lie in a stream of bytes: [u32 length, big endian][so many bytes], at the end a goodbye.

A length of 0xFFFFFFFF is the goodbye: the sender has closed, nothing follows. The other lengths from 0xFFFFFF00 on
are reserved. A stream that stops without a goodbye is a broken one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..kernel.transport import Frame, FrameTooLarge, MalformedFrame

HEAD_BYTES = 4
RESERVED = 0xFFFFFF00
"""Lengths from here on are not lengths."""
GOODBYE = b"\xff\xff\xff\xff"

_SCRATCH_BYTES = 64 * 1024
_FIRST_BYTES = 1024 * 1024
"""Memory for a longer body doubles as its bytes arrive: an announcement alone costs its sender's peer nothing."""


def head(parts: Sequence[memoryview], max_frame_bytes: int, where: str) -> bytes:
    """The head of a frame made of these parts.

    Raises:
        FrameTooLarge: together they are over the limit.
    """
    size = sum(map(len, parts))
    if size > max_frame_bytes:
        raise too_large(size, max_frame_bytes, where)
    return size.to_bytes(HEAD_BYTES, "big")


def too_large(size_bytes: int, max_frame_bytes: int, where: str = "") -> FrameTooLarge:
    """The error for a frame over the limit, with the figures in its sentence."""
    return FrameTooLarge(f"a frame of {size_bytes:,} bytes is over the limit of {max_frame_bytes:,}", where=where)


class FrameReader:
    """Cuts a stream into frames, without doing any I/O: read into `space()`, then tell `advance` how much came.

    Short frames are copied out of a scratch space that one read fills with many; a long one is received where it
    will stay. The reader keeps no reference to a frame that it has delivered.

    Args:
        deliver: gets each frame, and its size in bytes.
        max_frame_bytes: the limit, checked before memory is taken for the frame.
    """

    def __init__(self, deliver: Callable[[Frame, int], None], *, max_frame_bytes: int) -> None:
        if max_frame_bytes >= RESERVED:
            raise ValueError(f"max_frame_bytes: wanted less than {RESERVED:,}, got {max_frame_bytes:,}")
        self.has_ended = False
        self.max_frame_bytes = max_frame_bytes
        self._deliver = deliver
        self._scratch = memoryview(bytearray(_SCRATCH_BYTES))
        self._kept = 0
        self._body: memoryview | None = None
        self._body_bytes = 0
        self._got = 0

    @property
    def is_inside(self) -> bool:
        """Whether the stream has stopped in the middle of a frame."""
        return self._kept > 0 or self._body is not None

    def space(self) -> memoryview:
        """Where to put the next bytes; never empty. Let go of it before the next call."""
        if self._body is None:
            return self._scratch[self._kept :]
        if self._got == len(self._body):
            self._body = _memory(min(self._body_bytes, 2 * self._got), self._body)
        return self._body[self._got :]

    def advance(self, count: int) -> None:
        """The first `count` bytes of `space()` are filled now. What follows a goodbye is ignored.

        Raises:
            FrameTooLarge: a frame over the limit is announced; the frames before it have been delivered.
            MalformedFrame: a reserved length.
        """
        if self._body is None:
            self._cut(self._kept + count)
            return
        self._got += count
        if self._got == self._body_bytes:
            body, self._body = self._body, None
            self._deliver(body, self._body_bytes)

    def release(self) -> None:
        """Give the memory back now, though others may still point here: no more bytes will come."""
        self._scratch = memoryview(b"")
        self._body = None

    def _cut(self, end: int) -> None:
        """Deliver the frames that are whole within the first `end` bytes of the scratch space; keep what is not."""
        at = 0
        while end - at >= HEAD_BYTES:
            start = at + HEAD_BYTES
            size = int.from_bytes(self._scratch[at:start], "big")
            if size > self.max_frame_bytes:
                self._refuse(size)
                return
            at = start + size
            if at > end:
                self._begin(size, self._scratch[start:end])
                return
            self._deliver(bytes(self._scratch[start:at]), size)
        self._kept = end - at
        if self._kept:
            self._scratch[: self._kept] = self._scratch[at:end]

    def _begin(self, size: int, first: memoryview) -> None:
        """Take memory for a body of which `first` is here; the rest will be received right behind it."""
        self._kept = 0
        self._body = _memory(min(size, _FIRST_BYTES), first)
        self._body_bytes = size
        self._got = len(first)

    def _refuse(self, size: int) -> None:
        if size < RESERVED:
            raise too_large(size, self.max_frame_bytes)
        if size.to_bytes(HEAD_BYTES, "big") != GOODBYE:
            raise MalformedFrame(f"a head of {size:#x} is neither a length nor a goodbye")
        self.has_ended = True
        self._kept = 0


def _memory(size: int, begun: memoryview) -> memoryview:
    """Memory that begins with what is here; the rest is not cleared, since all of it is received before anybody sees it."""
    memory = np.empty(size, np.uint8).data
    memory[: len(begun)] = begun
    return memory
