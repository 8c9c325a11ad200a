"""What participants say to each other: every message, its tag, and how a frame is laid out.

A frame is [u32 length of the header][header][body]. The header is one message, a msgpack array that starts
with the tag; the body belongs to whoever the message is for and is never decoded on the way. New fields are added
at the end, with defaults; a tag is never used again. HELLO alone is a bare map, frozen for ever (see `hello`).
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from .errors import PayloadError
from .transport import Frame, FrameTooLarge

PROTOCOL_VERSIONS = (1, 1)
"""The oldest and the newest version of the protocol that this program speaks."""

MAX_HEADER_BYTES = 4 * 1024 * 1024
CHUNK_BYTES = 512 * 1024
MAX_LINK_FRAME_BYTES = 16 * 1024 * 1024
INLINE_LIMIT_BYTES = 64 * 1024
"""A blob up to this size is kept in memory, and rides in the message's body."""


class MessageError(PayloadError):
    """A frame does not hold a message that this program knows.

    Cause: the other side is not a Sundog participant, or a newer one that did not keep to the negotiated version.

    Cure: compare `sundog --version` on both sides.
    """

    code = "SD-1231"


class Message(msgspec.Struct, array_like=True):
    """A message; sub-classes state their tag."""


Sha256 = Annotated[str, msgspec.Meta(pattern=r"\A([0-9a-f]{64})?\Z")]
"""In hex, or empty. It becomes a file's name: anything else is refused where it is read."""

FileName = Annotated[str, msgspec.Meta(max_length=255)]
"""No longer than a file's name can be."""


class Payload(msgspec.Struct, array_like=True, frozen=True):
    """One Shareable in a body, and the values that travel beside it.

    In front stands what is always inline: the Shareable's encoded meta, then the shared values. Its tensors are a blob,
    inline (up to 64 KiB) or by name. A task without a model has neither meta nor blob.
    """

    meta_bytes: int
    """What stands in front, shared values included."""
    sha256: Sha256 = ""
    size_bytes: int = 0
    name: FileName = ""
    """File name in the hand-over folder; empty on a link."""
    shared_bytes: int = 0
    """How many of `meta_bytes`, at their end, are the encoded shared values."""

    @property
    def has_blob(self) -> bool:
        """Whether there are tensors at all; a task without a model has none."""
        return bool(self.sha256)

    @property
    def is_inline(self) -> bool:
        """Whether the blob's bytes are in the body."""
        return self.has_blob and self.size_bytes <= INLINE_LIMIT_BYTES

    @property
    def is_sound(self) -> bool:
        """Whether its sizes can be true."""
        return 0 <= self.shared_bytes <= self.meta_bytes and self.size_bytes >= 0


class ScatterEnd(msgspec.Struct, array_like=True, frozen=True):
    """How the tasks of one scatter (or one `send`) ended: repeated after a death, exactly these results end it."""

    tasks: list[str]
    """Ids of its tasks."""
    results: list[str]
    """Ids of the tasks whose results passed the filters or were rejected by them, in that order; late ones of earlier steps, too."""
    lost: list[tuple[str, str]]
    """(site, why) of those whose results were not used."""
    is_failed: bool = False
    """Whether the policy failed."""
    place: int = 0
    """Its place among those that ended in the step, from 1: single tasks are used in this order again."""


class StepMetrics(Message):
    """The numbers of a step: the workflow's own, and each site's."""

    own: dict[str, float]
    sites: dict[str, dict[str, float]]


_encoder = msgspec.msgpack.Encoder()


def encode(message: Message, max_header_bytes: int = MAX_HEADER_BYTES) -> bytes:
    """Length and header of a frame; the body, if any, is sent behind it.

    Raises:
        FrameTooLarge: who hears it would refuse it, and drop the connection each time that it is said again.
    """
    header = _encoder.encode(message)
    if len(header) > max_header_bytes:
        what = f"wanted a header of at most {max_header_bytes:,} bytes, got {len(header):,} in {type(message).__name__}"
        raise FrameTooLarge(what)
    return len(header).to_bytes(4, "big") + header


class Codec:
    """Reads frames that hold one of a fixed set of messages (a union type such as LinkMessage)."""

    def __init__(self, known: Any, max_header_bytes: int = MAX_HEADER_BYTES) -> None:
        self._max_header_bytes = max_header_bytes
        self._decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(known)

    def decode(self, frame: Frame) -> tuple[Any, memoryview]:
        """The message and a view of the body.

        Raises:
            MessageError: no message of the set; nothing was allocated for what it announces.
        """
        view = memoryview(frame)
        size = int.from_bytes(view[:4], "big")
        if len(view) < 4 or size > min(self._max_header_bytes, len(view) - 4):
            raise MessageError(f"the header is said to have {size} bytes, the frame has {len(view)}")
        try:
            return self._decoder.decode(view[4 : 4 + size]), view[4 + size :]
        except (msgspec.MsgspecError, ValueError, RecursionError) as exc:  # ValueError: text that is not UTF-8
            raise MessageError(str(exc)) from exc


def split_body(payloads: list[Payload], body: Frame) -> list[tuple[bytes, bytes | None]]:
    """For each payload in order: what stands in front, and its blob's bytes if they ride along.

    Raises:
        MessageError: the body is shorter or longer than the payloads say.
    """
    view = memoryview(body)
    wanted = sum(p.meta_bytes + (p.size_bytes if p.is_inline else 0) for p in payloads)
    if wanted != len(view) or not all(payload.is_sound for payload in payloads):
        raise MessageError(f"the payloads want {wanted} bytes, the body has {len(view)}")
    found, at = [], 0
    for payload in payloads:
        meta, at = bytes(view[at : at + payload.meta_bytes]), at + payload.meta_bytes
        inline = None
        if payload.is_inline:
            inline, at = bytes(view[at : at + payload.size_bytes]), at + payload.size_bytes
        found.append((meta, inline))
    return found
