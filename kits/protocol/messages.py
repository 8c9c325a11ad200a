"""What server, sites and admins say to each other over their links (tags from 13, 14 and 30 on)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec

from ...kernel.errors import Failure
from ...kernel.messages import Message, MessageError, Payload
from .requests import OwnId

MAX_TOKEN_CHARACTERS = 255
Token = Annotated[str, msgspec.Meta(max_length=MAX_TOKEN_CHARACTERS)]
"""What a site's resource manager gave for a reservation; the server says it back."""


class RunSync(Message, tag=13):
    """What a site holds of one run; part of Sync."""

    run: str
    working: list[str]
    kept: list[str]


class Sync(Message, tag=14):
    """After each HELLO, and from a site when a run has ended there: what I run. The server names the runs it wants running at this site."""

    runs: list[RunSync]
    free: dict[str, Any] = {}
    """From a site: resources that it has free, as a hint for the scheduler."""


# --- runs ---------------------------------------------------------------------------------------


class TaskFor(Message, tag=30):
    """A task for a site, or for its job process. Body: the payload."""

    run: str
    task_id: OwnId
    name: str
    workflow: str
    step: int
    site: str
    seed: int
    deadline_seconds: float | None
    payload: Payload
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
    """Yes, with a token that holds for 30 s and is renewed by another Check; or no, and why."""

    run: str
    token: Token
    reason: str = ""


class Cancel(Message, tag=42):
    """Give the reservation back."""

    run: str
    token: Token


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
    token: Token
    sites: list[str]
    seed: int


class Started(Message, tag=46):
    """The job process runs, or why not."""

    run: str
    failure: Failure | None = None


class Free(Message, tag=47):
    """The free resources of a site have changed."""

    free: dict[str, Any]


class Grew(Message, tag=50):
    """A stream of a run (log.txt, metrics.jsonl) has this size now; ask for the tail when you like."""

    run: str
    site: str
    stream: str
    size: int


# --- administration -----------------------------------------------------------------------------------------------


class Command(Message, tag=60):
    """A command of an admin. Body: a msgpack map of arguments."""

    request: str
    name: str


class Reply(Message, tag=61):
    """The answer. Body: a msgpack map."""

    request: str
    failure: Failure | None = None


class Ask(Message, tag=62):
    """A command that the server asks of a site. Body: a msgpack map of arguments."""

    request: str
    name: str
    admin: str = ""
    """The subject's name, as the server says; the site's own rule decides."""
    organisation: str = ""
    role: str = "admin"


class Answer(Message, tag=63):
    """A site's answer. Body: a msgpack map."""

    request: str
    failure: Failure | None = None


class Withdraw(Message, tag=64):
    """Nobody waits for the answer to a Command or an Ask any more. What only waits to tell something ends; all else goes on."""

    request: str


PeerMessage = (
    Sync | TaskFor | Offer | Stored | Verdicts | Unknown | AbortRun | AbortTask | SiteFailed | RunEnded | Check
    | Checked | Cancel | Deploy | Deployed | StartRun | Started | Free | Grew | Command | Reply | Ask | Answer
    | Withdraw
)  # fmt: skip
"""What may be said on a link besides what the link itself says."""

MAY_SAY: Final[Mapping[tuple[str, str], frozenset[type[Message]]]] = {
    ("site", "server"): frozenset({Sync, Offer, SiteFailed, Checked, Deployed, Started, Free, Grew, Answer}),
    ("server", "site"): frozenset({
        Sync, TaskFor, Stored, Verdicts, Unknown, AbortRun, AbortTask, RunEnded, Check, Cancel, Deploy, StartRun, Ask, Withdraw,
    }),
    ("admin", "server"): frozenset({Command, Withdraw}),
    ("server", "admin"): frozenset({Reply}),
}  # fmt: skip
"""(role that says it, role that hears it) → the messages that may be said. Everything else is refused."""


def refuse_unless_said(message: Message, speaker: str, hearer: str) -> None:
    """Go on if a message is one that the role `speaker` may say to the role `hearer`.

    Raises:
        MessageError: it is not; the link drops the connection.
    """
    if type(message) not in MAY_SAY.get((speaker, hearer), frozenset()):
        raise MessageError(f"{type(message).__name__} is nothing that a {speaker} says to a {hearer}")
