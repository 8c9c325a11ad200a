"""What participants say to each other: every message, its tag, and how a frame is laid out.

A frame is [u32 length of the header][header][body]. The header is one message, a msgpack array that starts
with the tag; the body belongs to whoever the message is for and is never decoded on the way. New fields are added
at the end, with defaults; a tag is never used again. HELLO alone is a bare map, frozen for ever (see `hello`).
"""

from __future__ import annotations

from typing import Any

import msgspec

from .errors import Failure, PayloadError
from .transport import Frame

PROTOCOL_VERSIONS = (1, 1)
"""The oldest and the newest version of the protocol that this program speaks."""

MAX_HEADER_BYTES = 4 * 1024 * 1024
CHUNK_BYTES = 512 * 1024
MAX_LINK_FRAME_BYTES = 16 * 1024 * 1024
INLINE_BYTES = 64 * 1024
"""A blob up to this size rides in the message's body."""


class MessageError(PayloadError):
    """A frame does not hold a message that this program knows.

    Cause: the other side is not a Sundog participant, or a newer one that did not keep to the negotiated version.

    Cure: compare `sundog --version` on both sides.
    """

    code = "SD-1231"


class Message(msgspec.Struct, array_like=True):
    """A message; sub-classes state their tag."""


class Payload(msgspec.Struct, array_like=True, frozen=True):
    """One Shareable in a body: its encoded meta, and its tensors as a blob, inline (up to 64 KiB) or by name."""

    meta_bytes: int
    sha256: str = ""
    size_bytes: int = 0
    name: str = ""
    """File name in the hand-over folder; empty on a link."""

    @property
    def is_inline(self) -> bool:
        """Whether the blob's bytes are in the body."""
        return bool(self.sha256) and self.size_bytes <= INLINE_BYTES


# --- a link's own -------------------------------------------------------------------------------------------------


class Ping(Message, tag=10):
    """Are you there?"""

    number: int


class Pong(Message, tag=11):
    """I am."""

    number: int


class Bye(Message, tag=12):
    """This side leaves on purpose; do not wait for it."""

    reason: str


class RunSync(Message, tag=13):
    """What a site holds of one run; part of Sync."""

    run: str
    working: list[str]
    kept: list[str]


class Sync(Message, tag=14):
    """After each HELLO: what I run. The server names the runs it wants running at this site."""

    runs: list[RunSync]
    streams: list[tuple[str, str, int]] = []
    """(run, stream, size in bytes) of logs and metrics."""


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


# --- a run, server and site ---------------------------------------------------------------------------------------


class TaskFor(Message, tag=30):
    """A task for a site, or for its job process. Body: the payload."""

    run: str
    task_id: str
    name: str
    workflow: str
    step: int
    site: str
    seed: int
    deadline_seconds: float | None
    payload: Payload | None
    state: Payload | None = None
    """Only to a job process: the site's state, behind the payload in the body."""


class Offer(Message, tag=31):
    """A site has a result, or says why there is none. Body: the payload."""

    run: str
    task_id: str
    payload: Payload | None
    failure: Failure | None = None


class Stored(Message, tag=32):
    """The result is durable at the server; stop offering, but keep it."""

    run: str
    task_id: str


class Verdicts(Message, tag=33):
    """What became of results; the site may forget them if the term is not below the highest it knows."""

    term: int
    run: str
    verdicts: list[tuple[str, str, str]]
    """(task id, used | late | rejected, reason)."""


class Unknown(Message, tag=34):
    """The server has no such task."""

    run: str
    task_id: str


class AbortRun(Message, tag=35):
    """End a run at once."""

    run: str
    reason: str


class AbortTask(Message, tag=36):
    """Stop one task; its result is a failure."""

    run: str
    task_id: str
    reason: str


class SiteFailed(Message, tag=37):
    """A site cannot take part in a run any more."""

    run: str
    failure: Failure


class RunEnded(Message, tag=38):
    """The run is over; let its job process end, free what it held."""

    run: str
    status: str


# --- scheduling ---------------------------------------------------------------------------------------------------


class Check(Message, tag=40):
    """Could you run this job now?"""

    run: str
    spec: dict[str, Any]


class Checked(Message, tag=41):
    """Yes, with a token that holds for 30 s; or no, and why."""

    run: str
    token: str
    reason: str = ""


class Cancel(Message, tag=42):
    """Give the reservation back."""

    run: str
    token: str


class Deploy(Message, tag=43):
    """Here is your app. Body: the manifest, msgpack."""

    run: str
    meta: dict[str, Any]


class Deployed(Message, tag=44):
    """The app is here, or why not."""

    run: str
    failure: Failure | None = None


class StartRun(Message, tag=45):
    """Start the job process; the token becomes an allocation."""

    run: str
    token: str
    sites: list[str]
    seed: int


class Started(Message, tag=46):
    """The job process runs, or why not."""

    run: str
    failure: Failure | None = None


class Grew(Message, tag=50):
    """A stream of a run (log.txt, metrics.jsonl) has this size now; ask for the tail when you like."""

    run: str
    site: str
    stream: str
    size: int


# --- administration -----------------------------------------------------------------------------------------------


class Command(Message, tag=60):
    """A command of an admin. Body: a JSON object of arguments."""

    request: str
    name: str


class Reply(Message, tag=61):
    """The answer. Body: a JSON document."""

    request: str
    failure: Failure | None = None


class Ask(Message, tag=62):
    """A command that the server asks of a site. Body: a JSON object of arguments."""

    request: str
    name: str


class Answer(Message, tag=63):
    """A site's answer. Body: a JSON document."""

    request: str
    failure: Failure | None = None


class StepMetrics(Message):
    """The numbers of a step: the workflow's own, and each site's."""

    own: dict[str, float]
    sites: dict[str, dict[str, float]]


LinkMessage = (
    Ping | Pong | Bye | Sync | Get | Chunk | Credit | Done | TransferFailed | TaskFor | Offer | Stored | Verdicts | Unknown | AbortRun
    | AbortTask | SiteFailed | RunEnded | Check | Checked | Cancel | Deploy | Deployed | StartRun | Started | Grew | Command | Reply | Ask
    | Answer
)  # fmt: skip
"""What may be said on a link."""

_encoder = msgspec.msgpack.Encoder()


def encode(message: Message) -> bytes:
    """Length and header of a frame; the body, if any, is sent behind it."""
    header = _encoder.encode(message)
    return len(header).to_bytes(4, "big") + header


class Codec:
    """Reads frames that hold one of a fixed set of messages (a union type such as LinkMessage)."""

    def __init__(self, known: Any) -> None:
        self._decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(known)

    def decode(self, frame: Frame) -> tuple[Any, memoryview]:
        """The message and a view of the body.

        Raises:
            MessageError: no message of the set; nothing was allocated for what it announces.
        """
        view = memoryview(frame)
        size = int.from_bytes(view[:4], "big")
        if len(view) < 4 or size > min(MAX_HEADER_BYTES, len(view) - 4):
            raise MessageError(f"the header is said to have {size} bytes, the frame has {len(view)}")
        try:
            return self._decoder.decode(view[4 : 4 + size]), view[4 + size :]
        except (msgspec.MsgspecError, ValueError, RecursionError) as exc:  # ValueError: text that is not UTF-8
            raise MessageError(str(exc)) from exc


def split_body(payloads: list[Payload], body: Frame) -> list[tuple[bytes, bytes | None]]:
    """For each payload in order: its meta, and its blob's bytes if they ride along.

    Raises:
        MessageError: the body is shorter or longer than the payloads say.
    """
    view = memoryview(body)
    wanted = sum(p.meta_bytes + (p.size_bytes if p.is_inline else 0) for p in payloads)
    if wanted != len(view) or any(p.meta_bytes < 0 or p.size_bytes < 0 for p in payloads):
        raise MessageError(f"the payloads want {wanted} bytes, the body has {len(view)}")
    found, at = [], 0
    for payload in payloads:
        meta, at = bytes(view[at : at + payload.meta_bytes]), at + payload.meta_bytes
        inline = None
        if payload.is_inline:
            inline, at = bytes(view[at : at + payload.size_bytes]), at + payload.size_bytes
        found.append((meta, inline))
    return found
