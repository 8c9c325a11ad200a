"""Documents that several parts make and show: problems, sessions, the check of a job, the job report.

They are published JSON forms; those of single commands are beside their declarations, in `kits.commands`. Times are
seconds since 1970, durations seconds. Fields are only added, at the end and with defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Self

import msgspec

from ...kernel.errors import Failure, SundogError

Numbers = Mapping[str, float | None]
"""Name → value. JSON has no word for NaN and the infinities: there they are null."""
Files = list[tuple[str, int, str, bool]]
"""The files of a folder as its manifest has them: path, size in bytes, sha256, whether it is executable."""


EXIT_STATUS: Final = {
    "FINISHED:COMPLETED": 0,
    "FINISHED:DEGRADED": 3,
    "FINISHED:ABORTED": 4,
    "FINISHED:EXECUTION_EXCEPTION": 5,
    "FINISHED:CANNOT_SCHEDULE": 6,
}
"""End state of a job → exit status."""


class Problem(msgspec.Struct, frozen=True):
    """An error, as documents show it."""

    code: str
    what: str
    where: str = ""
    cure: str = ""
    site: str = ""
    component: str = ""
    trace: str = ""

    @property
    def place(self) -> str:
        """Where it happened, for people: each part once."""
        return " ".join(dict.fromkeys(part for part in (self.site, self.component, self.where) if part))

    @classmethod
    def of(cls, error: Failure | SundogError) -> Self:
        """What a document says of an error, or of one that has travelled."""
        if isinstance(error, SundogError):
            return cls(error.code, error.what, error.where, error.cure)
        return cls(**msgspec.structs.asdict(error))


class CommandFailed(msgspec.Struct, frozen=True):
    """What `--json` prints instead of an answer when a command fails."""

    error: Problem


# --- admins -------------------------------------------------------------------------------------------------------


class SessionRow(msgspec.Struct, frozen=True):
    """An admin who is connected."""

    user: str
    session_id: str
    """The instance of its program."""
    start_time: float
    last_active_time: float
    """When its newest command came, or its connection if there was none yet."""
    idle_seconds: float
    """How long that is ago; 0 while a command is under way."""


class SessionList(msgspec.Struct, frozen=True):
    """`list_sessions`: the oldest first."""

    sessions: list[SessionRow]


# --- the check of a job -------------------------------------------------------------------------------------------


class CheckedWorkflow(msgspec.Struct, frozen=True):
    """A workflow of a job that was checked."""

    app: str
    workflow: str
    tasks: list[str]
    """Those it sends to the sites."""
    policy: str
    """Who must answer, in words."""


class JobCheck(msgspec.Struct, frozen=True):
    """`sundog job check`: what can be known of a job before it is submitted."""

    name: str
    mistakes: list[Problem]
    notes: list[str]
    """What is left out because it is not needed here; no mistakes."""
    workflows: list[CheckedWorkflow]
    """In the order in which they run; empty when there are mistakes that keep them from being made."""


# --- the job report -----------------------------------------------------------------------------------------------


class RoundReport(msgspec.Struct, frozen=True):
    """One closed step."""

    workflow: str
    round: int
    """From 0."""
    seconds: float
    invited: list[str]
    used: list[str]
    late: list[str]
    missing: list[str]
    rejected: dict[str, str]
    """Site → reason."""
    metrics: Mapping[str, Numbers]
    """Site → name → value."""
    own_metrics: Numbers
    """What the workflow itself reported of the step."""
    open: list[str] = []
    """Sites that were still at work on a task of it when it closed; their results may be used by a later one."""
    notes: list[str] = []
    """Notes of components, each once per run."""


class JobReport(msgspec.Struct, frozen=True):
    """A job and what came out of it: `get_job_report`."""

    job_id: str
    name: str
    status: str
    reason: str
    seconds: float
    """From the start of the run to its end, or to now."""
    sites: list[str]
    metrics: Numbers
    """The last numbers of each workflow."""
    model_sha256: str
    """Of the canonical blob of the last committed model; empty when there is none."""
    model_path: str
    """Relative to the run's folder, which is `workspace/` in a download."""
    rounds: list[RoundReport]
    failure: Problem | None = None
    """The first cause, when the job failed."""
    faults: list[Problem] = []
    """Observers and trackers that raised; the job went on."""
    waits_for: str = ""
    """Why the job has not started, while it waits."""

    @property
    def is_end(self) -> bool:
        """Whether the job has come to its end."""
        return self.status.startswith("FINISHED:")

    @property
    def exit_status(self) -> int:
        """The exit status that tells how the job ended, of the command that ran or watched it."""
        return EXIT_STATUS.get(self.status, 1)
