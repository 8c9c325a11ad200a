"""What can happen to a run at the server, and what it can ask to be done: the vocabulary of `ServerRun`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...kernel.errors import Failure
from ...kernel.messages import Message, Payload, ScatterEnd, StepMetrics
from ..handover.messages import Finish
from ..protocol.messages import Offer
from ..protocol.records import AnyRecord, Carried, OpenTask, ResultReceived, RunFinished

# `at` is the time of an event, in seconds since 1970: the reducer has no clock of its own.


@dataclass(frozen=True, slots=True)
class Begun:
    """Every site was told to start; the run may begin."""

    seed: int
    at: float


@dataclass(frozen=True, slots=True)
class StepAsked:
    """The job opens a step; what it handed over is in the blob store."""

    workflow: str
    step: int
    policy: str
    tasks: tuple[OpenTask, ...]
    carried: tuple[Carried, ...]
    at: float
    ended: tuple[ScatterEnd, ...] = ()
    """How those ended that were under way before."""


@dataclass(frozen=True, slots=True)
class CommitAsked:
    """The job closes a step; its state is in the blob store."""

    workflow: str
    step: int
    payloads: tuple[Payload, ...]
    metas: tuple[bytes, ...]
    has_state: bool
    used: tuple[str, ...]
    still_open: Mapping[str, str]
    metrics: StepMetrics
    at: float
    notes: tuple[str, ...] = ()
    files: tuple[tuple[str, Payload | None], ...] = ()
    unused: tuple[str, ...] = ()
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class RejectAsked:
    """The job refuses a result."""

    task_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class WorkflowOver:
    """A workflow has ended; the components' states are in the blob store."""

    workflow: str
    payloads: tuple[Payload, ...]
    metas: tuple[bytes, ...]
    used: tuple[str, ...]
    still_open: Mapping[str, str]
    metrics: StepMetrics
    at: float
    notes: tuple[str, ...] = ()
    files: tuple[tuple[str, Payload | None], ...] = ()
    unused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FinishSaid:
    """The job says that it has come to its end."""

    finish: Finish
    at: float


@dataclass(frozen=True, slots=True)
class Broken:
    """The run cannot go on, and the job process does not know it yet: it could not build its components, or broke the rules."""

    failure: Failure
    at: float


@dataclass(frozen=True, slots=True)
class JobDied:
    """The server's job process is gone."""

    how: str
    """Empty for exit status 0."""
    last_words: str
    at: float


@dataclass(frozen=True, slots=True)
class Offered:
    """A site offers a result."""

    site: str
    offer: Offer
    meta: bytes
    inline: bytes | None


@dataclass(frozen=True, slots=True)
class ResultHere:
    """A result's bytes are in the spool (or it has none)."""

    site: str
    offer: Offer
    meta: bytes
    inline: bytes | None
    at: float


@dataclass(frozen=True, slots=True)
class ReceiveFailed:
    """A result could not be fetched: the site offers it again when it is back; or, with a failure, it will never be had."""

    site: str
    task_id: str
    failure: Failure | None
    at: float


@dataclass(frozen=True, slots=True)
class SiteUp:
    """A site's link is up, and it said what it works on and what it keeps."""

    site: str
    working: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SiteDown:
    """A site's link is down; nothing is lost by that."""

    site: str


@dataclass(frozen=True, slots=True)
class SiteStalled:
    """A site gave no sign of life for the stall time."""

    site: str
    failure: Failure


@dataclass(frozen=True, slots=True)
class SiteCannot:
    """A site's part of the run has ended with a failure."""

    site: str
    failure: Failure
    at: float


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """A task took longer than it may."""

    task_id: str
    failure: Failure
    at: float


@dataclass(frozen=True, slots=True)
class AbortAsked:
    """Somebody wants the run to end."""

    reason: str
    at: float


Event = (
    Begun | StepAsked | CommitAsked | RejectAsked | WorkflowOver | FinishSaid | Broken | JobDied | Offered | ResultHere | ReceiveFailed
    | SiteUp | SiteDown | SiteStalled | SiteCannot | DeadlinePassed | AbortAsked
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Launch:
    """Start the job process, with what is committed."""


@dataclass(frozen=True, slots=True)
class Tell:
    """Say something to the job process; a result's bytes go along, from the spool or inline."""

    message: Message
    received: ResultReceived | None = None
    inline: bytes | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """Say something to a site; a task's payload goes along."""

    site: str
    message: Message
    carried: Carried | None = None


@dataclass(frozen=True, slots=True)
class Receive:
    """Get a result's bytes into the spool."""

    site: str
    offer: Offer
    meta: bytes
    inline: bytes | None


@dataclass(frozen=True, slots=True)
class Release:
    """A step is closed: what only the step before it needed may go."""


@dataclass(frozen=True, slots=True)
class StopJob:
    """Ask the job process to end; after the grace period, make it."""

    reason: str
    grace_seconds: float


@dataclass(frozen=True, slots=True)
class EndRun:
    """The end is recorded."""

    finished: RunFinished


Action = Launch | Tell | Send | Receive | Release | StopJob | EndRun
Decision = tuple[list[AnyRecord], list[Action]]
