"""What a supervisor and its job process say to each other over their socketpair (PROTOCOL §4)."""

from __future__ import annotations

from typing import Annotated

import msgspec

from ...kernel.errors import Failure
from ...kernel.messages import Codec, Message, Payload, ScatterEnd, StepMetrics
from ...kernel.tasks import MAX_NAME_CHARACTERS
from ...workflows.supervision import LeftOpen
from ..protocol.messages import Grew, TaskFor
from ..protocol.requests import OwnId

MAX_SAID_BYTES = 3 * 1024 * 1024
"""The header of what a job process says: smaller than a link's, so that what its supervisor then says on a link always fits.

10,000 tasks with a payload each need 2.2 MB.
"""

Name = Annotated[str, msgspec.Meta(max_length=MAX_NAME_CHARACTERS)]
"""The name of a task, of a workflow or of a site."""


class Start(Message, tag=70):
    """First word to a job process. Body: a StartDocument, msgpack."""

    run: str


class StateFile(msgspec.Struct):
    """A Shareable to read: its encoded meta, and the file of its tensors."""

    meta: bytes
    path: str


class CommittedState(msgspec.Struct):
    """What a workflow last committed: its step, its state, and the tasks left open."""

    step: int
    state: StateFile | None = None
    is_last: bool = False
    """Whether it is the workflow's last step."""
    left_open: list[LeftOpen] = []


class KeptFile(msgspec.Struct):
    """A file in the run's folder as the last commit has it."""

    path: str
    """Below the run's folder."""
    sha256: str
    place: str
    """Where its bytes lie now."""


class StartDocument(msgspec.Struct):
    """All that a job process must know to begin, or to go on after another one died."""

    run: str
    role: str
    """"server" or "site"."""
    name: str
    sites: list[str]
    seed: int
    threads: int
    folder: str
    """The run's folder, with app/, in/, out/."""
    committed: dict[str, CommittedState] = {}
    ended: list[str] = []
    """Workflows that have ended: they are not run again."""
    parts: StateFile | None = None
    """The components' states as the newest record of them has them."""
    files: list[KeptFile] = []
    """What components kept by `ctx.keep`: to be put back before anything else."""


class Ready(Message, tag=71):
    """The job's components are built; or why not."""

    failure: Failure | None = None


class OpenStep(Message, tag=72):
    """Tasks of a step, one for each site named. Body: the payloads in order."""

    workflow: Name
    step: int
    name: Name
    tasks: list[tuple[OwnId, Name, int, int]]
    """(task id, site, index of its payload, n: it is the n-th of this name for the site in the step)."""
    payloads: list[Payload]
    deadline_seconds: float | None
    policy: str
    ended: list[ScatterEnd] = []
    """How those ended that were under way when the tasks before were sent, and are not any more."""


class StepOpened(Message, tag=73):
    """The tasks are recorded and on their way. Results that are here already were handed on before."""

    workflow: str
    step: int
    before: ScatterEnd | None = None
    """How these tasks ended for a job process that died: to be repeated exactly."""


class ResultFor(Message, tag=74):
    """A result, from a site's job process to its supervisor and from the server to its job process. Body: the payload."""

    task_id: OwnId
    site: str
    payload: Payload | None
    failure: Failure | None = None
    state: Payload | None = None
    """Only from a site's job process: the site's new state."""
    number: int = 0
    """Only to a server's job process: the place among all results of the run, from 1."""
    rejected: str = ""
    """Only to a server's job process that was started again: why the one before rejected it."""


class Kept(Message, tag=75):
    """The result is in the outbox."""

    task_id: str


class Reject(Message, tag=76):
    """The job refuses a result."""

    task_id: OwnId
    reason: str


class CommitStep(Message, tag=78):
    """Close a step. Body: the payloads in order: the state, if there is one, the components' states, if any, then the files."""

    workflow: Name
    step: int
    payloads: list[Payload]
    has_state: bool
    used: list[OwnId]
    still_open: dict[OwnId, str]
    """Task id → "sent" or "late", of those whose results a later step may use."""
    metrics: StepMetrics
    notes: list[str] = []
    """Notes of components, for the job report."""
    files: list[tuple[str, Payload | None]] = []
    """Kept files of the run's folder that are new or other since the step before; None: gone."""
    unused: list[OwnId] = []
    """Tasks whose results came to a scatter that failed."""
    is_last: bool = False
    """Whether it is the workflow's last step."""


class EndWorkflow(Message, tag=77):
    """A workflow has ended. Body: the components' states, if any, then the small files.

    It is not answered: whatever the job says next is recorded behind it.
    """

    workflow: Name
    payloads: list[Payload]
    used: list[OwnId]
    """Tasks whose results it used behind its last commit."""
    still_open: dict[OwnId, str]
    """Task id → "sent" or "late", of those that nobody waits for any more."""
    metrics: StepMetrics
    notes: list[str] = []
    files: list[tuple[str, Payload | None]] = []
    unused: list[OwnId] = []
    """As in CommitStep."""


class StepClosed(Message, tag=79):
    """The step exists."""

    workflow: str
    step: int


class SiteGone(Message, tag=80):
    """Nothing more will come from a site: it is lost, or cannot go on."""

    site: str
    failure: Failure


class SiteBack(Message, tag=81):
    """A site that was gone is there again."""

    site: str


class Abort(Message, tag=82):
    """Stop: the whole run, or one task."""

    reason: str
    task_id: str = ""


class Finish(Message, tag=83):
    """The job has come to its end: completed, or failed for a reason."""

    failure: Failure | None = None
    faults: list[Failure] = []
    """Observers and trackers that raised; the job went on."""
    aborted: str = ""


class Finished(Message, tag=84):
    """The end is recorded; exit."""


class Checkpoint(Message, tag=85):
    """A trainer's state in the middle of a task. Body: the payload."""

    task_id: OwnId
    payload: Payload


JobMessage = (
    Start | Ready | OpenStep | StepOpened | ResultFor | Kept | Reject | EndWorkflow | CommitStep | StepClosed
    | SiteGone | SiteBack | Abort | Finish | Finished | Checkpoint | TaskFor | Grew
)  # fmt: skip
"""What may be said between the two."""

job_codec = Codec(JobMessage)
"""Reads what a supervisor says."""

said_codec = Codec(JobMessage, MAX_SAID_BYTES)
"""Reads what a job process says."""
