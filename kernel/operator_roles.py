"""The roles that an operator fills in a participant's kit, and the trackers of a job."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Subject:
    """The participant that gives a command."""

    name: str
    organisation: str
    """Empty until certificates tell it."""
    role: str


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer of an access rule, with the reason for it."""

    allowed: bool
    reason: str
    """For the log; of a denial, also for the participant that gave the command."""


class AccessRule(ABC):
    """Decides who may give which command; asked at the receiver, server and site alike."""

    @abstractmethod
    def decide(self, subject: Subject, command: str, about: Mapping[str, Any]) -> Decision:
        """Decide on one command.

        Args:
            subject: the participant that gives it.
            command: its name.
            about: `right`, which the command declares; where they apply, `target` (server, or the name of a site), `job_id`
                and `job` (the job's meta).
        """


class ResourceManager(ABC):
    """The authority over what a site can give to jobs."""

    @abstractmethod
    def check(self, job_id: str, spec: Mapping[str, Any]) -> str:
        """Reserve and give a token; a job that asks for the same again keeps its token, and the reservation is renewed.

        Raises:
            ResourcesMissing: the reason names what is wanted, what is free and which job holds the rest.
        """

    @abstractmethod
    def allocate(self, token: str) -> Mapping[str, Any]:
        """Turn a reservation into an allocation; gives what was allocated, e.g. {"gpu": [0]}."""

    @abstractmethod
    def free(self, token: str) -> None:
        """Give back a reservation or an allocation. Twice is fine."""

    def environment(self, allocated: Mapping[str, Any]) -> dict[str, str]:
        """Environment variables that tell the job process what it was given."""
        return {}

    def available(self) -> Mapping[str, Any]:
        """Free resources in the form of a `resource_spec`, such as {"gpu": 2}; values that JSON has.

        A hint for the server's scheduler: `check` decides. Empty: no hint.
        """
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingJob:
    """A submitted job that is not being started, as a scheduler sees it."""

    id: str
    name: str = ""
    submitter: str = ""
    """Name of the admin."""
    priority: int = 0
    submitted_seconds: float = 0.0
    """Seconds since 1970."""
    sites: tuple[str, ...] | None = None
    """The sites that its deploy_map names; None: all that are connected."""
    min_sites: int = 1
    """It starts with at least this many of them."""
    mandatory_sites: tuple[str, ...] = ()
    """It does not start without these."""
    resource_spec: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Site → what the job asks of its resource manager."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """The job's meta.json."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningJob:
    """A job that runs or is being started, as a scheduler sees it."""

    id: str
    name: str = ""
    submitter: str = ""
    priority: int = 0
    submitted_seconds: float = 0.0
    started_seconds: float | None = None
    """Seconds since 1970; None while it is being started."""
    sites: tuple[str, ...] = ()
    """The sites of the run, in order of name."""
    resource_spec: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)


class Scheduler(ABC):
    """The order in which waiting jobs are tried."""

    @abstractmethod
    def order(self, waiting: Sequence[WaitingJob], running: Sequence[RunningJob], free: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Ids of the waiting jobs to try now, the first to be tried first; a job that is left out is not tried.

        Called on the server's event loop whenever a job could start, and again after each job that is tried: it must be quick.

        Args:
            waiting: in order of submission.
            running: jobs that hold resources; a job that was just picked is among them until its sites have refused it.
            free: connected site → what its resource manager said last that it has free; empty if it gives no hint.
        """


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """What a job process is started with."""

    run_id: str
    role: str
    """"server" or "site"."""
    name: str
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)


class JobHandle(ABC):
    """A started job process, seen from its supervisor."""

    pid: int
    channel: Any
    """The supervisor's end of the channel: a connected stream socket, or a Connection."""

    @abstractmethod
    async def wait(self) -> str:
        """Wait for its end; gives "" for exit status 0, else what happened in words ("killed by signal 9 (SIGKILL)")."""

    @abstractmethod
    def signal(self, number: int) -> None:
        """Send a signal to the process and all it started; nothing happens when they are gone."""


class Launcher(ABC):
    """Starts job processes."""

    isolation: str = "none"
    """none | user | container"""

    @abstractmethod
    async def launch(self, spec: LaunchSpec) -> JobHandle:
        """Start one job process with a channel to it."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric as a site logged it: `value` is a number, a dict of numbers or a text, by `kind`."""

    site: str
    kind: str
    """scalar | scalars | text"""
    tag: str
    value: Any
    step: int
    time_seconds: float
    """Seconds since 1970, on the site's clock."""


class Tracker(ABC):
    """Writes metrics where people look at them. A fault in one never ends a job; it is counted and reported."""

    @abstractmethod
    def open(self, folder: Path) -> None:
        """Begin to write under the server's run folder.

        Also when the job process that did before has died: then all metrics of the run are given once more, in this
        process, so what that one wrote must be replaced.
        """

    @abstractmethod
    def write(self, metric: Metric) -> None:
        """Take one metric; visible to readers after the next flush."""

    @abstractmethod
    def flush(self) -> None:
        """Make what was written visible."""

    @abstractmethod
    def close(self) -> None:
        """Flush and end. Twice is fine."""


OPERATOR_ROLES: tuple[type, ...] = (AccessRule, ResourceManager, Scheduler, Launcher)
"""What a kit's `components` may name."""
