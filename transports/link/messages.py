"""What the two ends of a link say to each other for the link's own sake: signs of life, and transfers (tags 10 to 29)."""

from __future__ import annotations

from ...kernel.errors import Failure
from ...kernel.messages import Message


class Ping(Message, tag=10):
    """Are you there?"""

    number: int


class Pong(Message, tag=11):
    """I am."""

    number: int


class Bye(Message, tag=12):
    """This side leaves on purpose; do not wait for it."""

    reason: str


class Get(Message, tag=20):
    """Send me what has this key, from an offset; at most `credit` bytes before I say more."""

    transfer: int
    key: str
    """A sha256, or "stream:<run>/<name>"."""
    offset: int
    credit: int


class Chunk(Message, tag=21):
    """Bytes (the body) of a transfer."""

    transfer: int
    offset: int


class Credit(Message, tag=22):
    """You may send up to this offset."""

    transfer: int
    upto: int


class Done(Message, tag=23):
    """All was sent."""

    transfer: int
    size: int


class TransferFailed(Message, tag=24):
    """The transfer ends without what was asked for (from the sender), or is no longer wanted (from the receiver)."""

    transfer: int
    failure: Failure


LinkMessage = Ping | Pong | Bye | Get | Chunk | Credit | Done | TransferFailed
"""A link handles these itself; all others are its owner's."""
