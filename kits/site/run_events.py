"""What can happen to a run at a site, and what it can ask to be done: the vocabulary of `SiteRun`."""

from __future__ import annotations

from dataclasses import dataclass

from ...kernel.errors import Failure
from ...kernel.messages import Message
from ..handover.messages import ResultFor
from ..protocol.messages import TaskFor


@dataclass(frozen=True, slots=True)
class TaskCame:
    """The server sent a task; a small model came along."""

    task: TaskFor
    meta: bytes
    inline: bytes | None


@dataclass(frozen=True, slots=True)
class ModelHere:
    """A task's model is in the hand-over folder."""

    task_id: str


@dataclass(frozen=True, slots=True)
class ModelFailed:
    """A task's model cannot be had."""

    task_id: str
    failure: Failure


@dataclass(frozen=True, slots=True)
class JobStarted:
    """The job process has built its components; or why not."""

    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class JobAnswered:
    """The job process has a result."""

    result: ResultFor
    body: bytes


@dataclass(frozen=True, slots=True)
class ResultKept:
    """A result is in the outbox."""

    task_id: str


@dataclass(frozen=True, slots=True)
class JobDied:
    """The job process is gone."""

    how: str
    last_words: str


@dataclass(frozen=True, slots=True)
class LinkUp:
    """The server is there, and has heard what this site works on and keeps."""


@dataclass(frozen=True, slots=True)
class VerdictHeard:
    """What became of a result.

    `is_current`: it was said under the highest term this site knows. `is_unknown`: the server does not know the task.
    """

    task_id: str
    is_current: bool
    is_unknown: bool = False


@dataclass(frozen=True, slots=True)
class TaskAborted:
    """The server wants a task stopped."""

    task_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class GraceOver:
    """A task that was to stop has had time enough."""

    task_id: str


@dataclass(frozen=True, slots=True)
class RunOver:
    """The run has ended, or is to: the job process must go, at once when there is a reason."""

    reason: str = ""


Event = (
    TaskCame | ModelHere | ModelFailed | JobStarted | JobAnswered | ResultKept | JobDied | LinkUp | VerdictHeard
    | TaskAborted | GraceOver | RunOver
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Launch:
    """Start the job process."""


@dataclass(frozen=True, slots=True)
class FetchModel:
    """Get a task's model into the hand-over folder: from the message, or from the server."""

    task: TaskFor
    inline: bytes | None


@dataclass(frozen=True, slots=True)
class GiveTask:
    """Hand a task to the job process, with its model and the site's state."""

    task: TaskFor
    meta: bytes
    inline: bytes | None


@dataclass(frozen=True, slots=True)
class Keep:
    """Put a result, and the state that goes with it, into the outbox."""

    result: ResultFor
    body: bytes


@dataclass(frozen=True, slots=True)
class MakeOffer:
    """Offer a result from the outbox to the server."""

    task_id: str


@dataclass(frozen=True, slots=True)
class Forget:
    """A verdict is in: the result may go from the outbox, and the model if no other task needs it.

    `takes_back`: the site's state is again the one before this task.
    """

    task_id: str
    model_sha256: str
    takes_back: bool = False


@dataclass(frozen=True, slots=True)
class Tell:
    """Say something to the job process."""

    message: Message


@dataclass(frozen=True, slots=True)
class Report:
    """Say something to the server."""

    message: Message


@dataclass(frozen=True, slots=True)
class StopJob:
    """Ask the job process to end; after the grace period, make it."""

    reason: str
    grace_seconds: float


@dataclass(frozen=True, slots=True)
class StopTask:
    """Ask the job process to give up a task; if it has not after the grace period, make it."""

    task_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class EndRun:
    """Nothing of the run is left here but its folder."""


Action = Launch | FetchModel | GiveTask | Keep | MakeOffer | Forget | Tell | Report | StopJob | StopTask | EndRun
