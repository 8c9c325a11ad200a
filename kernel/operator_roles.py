"""The roles that an operator fills in a participant's kit, and the trackers of a job."""

from __future__ import annotations

import contextlib
import signal
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .transport import Connection


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

        Returns:
            From 1 to 255 characters.

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
        """Free resources in the form of a `resource_spec`, such as {"gpu": 2}.

        At most 64, with names of at most 64 characters; values are numbers from 0 on, or lists of at most 1024 integers
        and texts. The server drops others.

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


CHANNEL_VARIABLE = "SUNDOG_CHANNEL"
"""Where a job process finds its supervisor: `fd:NUMBER`, an inherited stream socket, or `unix:PATH`, a socket to connect to."""
TOKEN_VARIABLE = "SUNDOG_CHANNEL_TOKEN"
"""With `unix:`: the first bytes that the job process sends. Valid for one connection."""
PARENT_VARIABLE = "SUNDOG_PARENT"
"""A launcher that starts its process as a child sets this to its own pid: the system then kills the job process when that
process ends (Linux: when the *thread* that forked it ends). Unset, the end of the channel is the only sign."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a job process may use; None is no limit.

    Declared: the supervisor enforces none of them. A launcher that can, passes them on (a cgroup, a container's
    resources, an rlimit); ProcessLauncher does not.
    """

    wall_seconds: float | None = None
    memory_bytes: int | None = None
    disk_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """A job process to start: everything that a launcher has to know of it."""

    run_id: str
    role: str
    """"server" or "site"."""
    name: str
    """The participant's name."""
    folder: Path
    """The run's folder and the process' working directory. The process reads and writes below it, under this same path:
    mount it there in a container, and let the supervisor own or share what the process writes."""
    command: tuple[str, ...]
    """The complete argv. command[0] is the supervisor's Python: where the process runs on another file system, put that
    one's interpreter in its place; Sundog must be installed there in the same version. The run's id is the last word."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What has to be set for the process. The rest, such as PATH and HOME, is the launcher's choice. It holds a secret
    (TOKEN_VARIABLE): never log it, never put it on a command line. `SUNDOG_RUN` marks every process of the run."""
    limits: Limits = Limits()
    descriptors: tuple[int, ...] = ()
    """For the channel "inherited", the one of the channel: keep it open in the process, under its number, or set
    CHANNEL_VARIABLE to the number that it has there. It is closed here once `launch` has returned."""
    address: str = ""
    """For the channel "address": what the process connects to, `unix:PATH`. The socket lies in a folder that only the
    supervisor's user can enter; a container has it mounted under the same path. A launcher that relays may set
    CHANNEL_VARIABLE to an address of its own and pass the bytes on, both ways, unread."""


class JobHandle(ABC):
    """A started job process, seen from its supervisor, on whose event loop every method is called."""

    pid: int = 0
    """The pid if the process is a child of the supervisor's own and leads a process group; else 0.

    With a pid, the supervisor itself also ends, after the process, every local process that carries the run's mark.
    Without one nothing is assumed to be local: `signal` alone has to reach what the process started.
    """
    output: int | None = None
    """A descriptor to read stdout and stderr from, in the order written: a pipe's read end or a stream socket. The
    supervisor owns it from now on, reads it all the time and writes the run's log. When the process has ended, what is
    there is read; the end of file is not waited for, since what it started may hold the other end. None: nothing to read.

    Whoever forwards output must go on when nobody reads it any more: a lost reader never costs the process its life.
    """
    connection: Connection | None = None
    """For the channel "connection": the supervisor's end. None for the others."""

    @abstractmethod
    async def wait(self) -> str:
        """Wait until the process has ended; gives "" for exit status 0, else how, in words: `describe_exit` has them.

        Called once. A process that cannot be watched any more (its host is gone) has ended: say so in words.
        Cancelling it leaves the process running. Never raises.
        """

    @abstractmethod
    def signal(self, number: int) -> None:
        """Send a signal to the process and to all that it started. Does not wait; nothing happens when they are gone.

        SIGTERM asks, SIGKILL ends. SIGKILL is also sent after `wait` has returned, for what the process left behind:
        with it everything of this process is to end, such as its group, container or pod.
        """

    def release(self) -> None:  # noqa: B027  # most hold nothing
        """Let go of what the handle holds. The last call; `wait` has returned, or was cancelled because the supervisor ends."""


class Launcher(ABC):
    """Starts job processes. Has one instance per participant, built from the kit; all calls come from one event loop."""

    isolation: str = "none"
    """none | user | container"""
    channel: Literal["inherited", "address", "connection"] = "inherited"
    """How job processes of this launcher reach the supervisor:

    - inherited: `LaunchSpec.descriptors` are passed on, over fork and exec or as a message of a unix socket.
    - address: the process connects to `LaunchSpec.address`, once, and shows a token. It has a minute for that from the
      return of `launch`, so fetch what takes long, such as an image, before.
    - connection: the launcher carries the frames itself and gives `JobHandle.connection`.
    """

    @abstractmethod
    async def launch(self, spec: LaunchSpec) -> JobHandle:
        """Start one job process. Returns when it has been started, not when it is ready.

        A run has one process at a time at a participant; a process that died is followed by a new call.

        Cancelling it leaves nothing running.

        Raises:
            OSError, SundogError: it could not be started, and nothing of it runs. This counts as a death of the process.
        """


def describe_exit(status: int) -> str:
    """An exit status in words, as `JobHandle.wait` gives them: "" for 0; negative ones are signals, as in `subprocess`."""
    if status >= 0:
        return f"exit status {status}" if status else ""
    with contextlib.suppress(ValueError):
        return f"killed by signal {-status} ({signal.Signals(-status).name})"
    return f"killed by signal {-status}"


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
