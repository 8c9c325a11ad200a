"""What does the server answer to an admin? One type an answer; they are the published JSON form of each command.

Times are seconds since 1970, durations seconds. Fields are only added, at the end and with defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import msgspec

from ...kernel.errors import Failure, SundogError

Numbers = Mapping[str, float | None]
"""Name → value. JSON has no word for NaN and the infinities: there they are null."""
Files = list[tuple[str, int, str, bool]]
"""The files of a folder as its manifest has them: path, size in bytes, sha256, whether it is executable."""


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


# --- status -------------------------------------------------------------------------------------------------------


class AppRow(msgspec.Struct, frozen=True):
    """A job that runs at the server."""

    job_id: str
    app_name: str


class ClientRow(msgspec.Struct, frozen=True):
    """A site that is connected."""

    client: str
    token: str
    """The instance of its program: new each time it starts."""
    last_connect_time: float
    """When it was last heard."""


class ServerStatus(msgspec.Struct, frozen=True):
    """`check_status server`."""

    engine_status: str
    """started while a job runs, else stopped."""
    jobs: list[AppRow]
    registered_clients: int
    clients: list[ClientRow]
    revision: int
    """Rises whenever something moves at the server."""
    fl_port: int = 0
    """Where sites dial in; 0 if that is no port."""
    service_session_id: str = ""
    """SSID: which server's reign this is."""


class SiteRow(msgspec.Struct, frozen=True):
    """One job at a site; or a word on the site when it has none, or does not answer."""

    client: str
    app_name: str
    job_id: str
    status: str
    """working, waiting, "No Jobs" or "No Reply"."""
    reason: str = ""
    """Why there is no reply."""


class RunRow(msgspec.Struct, frozen=True):
    """One run at a site, as it says itself."""

    job_id: str
    status: str
    """working or waiting."""


class SiteRuns(msgspec.Struct, frozen=True):
    """What a site answers to `check_status`."""

    runs: list[RunRow]


class SitesStatus(msgspec.Struct, frozen=True):
    """`check_status client`."""

    clients: list[SiteRow]
    revision: int
    """Rises whenever something moves at the server."""


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


# --- jobs ---------------------------------------------------------------------------------------------------------


class SubmittedJob(msgspec.Struct, frozen=True):
    """`submit_job`."""

    job_id: str


class JobChange(msgspec.Struct, frozen=True):
    """A state that a job came to."""

    status: str
    time_seconds: float
    reason: str


class JobDetail(msgspec.Struct, frozen=True):
    """What `list_jobs -d` tells besides."""

    meta: dict[str, Any]
    """meta.json, as it was submitted."""
    content_sha256: str
    """The hash of the job's manifest."""
    history: list[JobChange]
    submitter: str
    sites: list[str]
    """Those it was sent to; empty while it waits."""
    failure: Problem | None = None
    """The first cause, when the job failed."""


class JobRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """A job in a list."""

    job_id: str
    name: str
    status: str
    submit_time: float
    duration_seconds: float
    """How long it has run."""
    reason: str
    """What it waits for, or why it ended as it did."""
    detail: JobDetail | None = None
    """Only if asked for."""


class JobList(msgspec.Struct, frozen=True):
    """`list_jobs`: the newest first."""

    jobs: list[JobRow]


class AbortedJob(msgspec.Struct, frozen=True):
    """`abort_job`."""

    job_id: str
    status: str
    """FINISHED:ABORTED, unless the job came to another end first."""


class DeletedJob(msgspec.Struct, frozen=True):
    """`delete_job`."""

    job_id: str


class ClonedJob(msgspec.Struct, frozen=True):
    """`clone_job`."""

    job_id: str
    cloned_from: str


class DownloadOffer(msgspec.Struct, frozen=True):
    """What `download_job` may fetch."""

    job_id: str
    job: Files
    """The job as it was submitted."""
    workspace: Files
    """What the run wrote at the server."""


class Nothing(msgspec.Struct, frozen=True):
    """It is done, and there is nothing to say."""


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
    """What components had to say in it, each once a run."""


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
