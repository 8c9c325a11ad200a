"""Command: the declaration of one admin command, and what its functions are given at a server, at a site and at an admin."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from ...kernel.errors import AdminError
from ...kernel.operator_roles import Subject
from ...transports.link import Link
from ..protocol.answers import Files, JobReport, SessionList
from ..protocol.requests import Request
from ..supervisor.run_logs import RunLogs
from ..workspace.folders import Workspace
from ..workspace.job_state import Job, JobTable
from .text import Piece

Asked = TypeVar("Asked", bound=Request)
Said = TypeVar("Said", bound=msgspec.Struct)
Given = TypeVar("Given", bound=msgspec.Struct)
SERVER, SITE = "server", "site"


class ArgumentsRefused(AdminError):
    """A participant cannot make sense of a command's arguments.

    Cause: the admin's program, or its plugin, is newer than the participant's; or a program other than Sundog's speaks to it.

    Cure: compare `sundog --version` and `sundog plugins` on both sides; the message names the argument.
    """

    code = "SD-6004"


class AnswerNotDeclared(AdminError):
    """A command's function gave an answer of another type than its declaration says.

    Cause: a mistake in the plugin that brings the command.

    Cure: tell its author; `sundog plugins` names the plugin.
    """

    code = "SD-6071"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command(Generic[Asked, Said]):
    """One admin command.

    What it does at a server or a site is a coroutine function of the place and the request. Without one for the
    server, or where the request's `target` is a site, the server passes the request on to that site.
    """

    name: str
    """The word that is typed, and the one on the wire."""
    request: type[Asked]
    """Its arguments."""
    answers: tuple[type[Said], ...]
    """The types of its answer."""
    right: str = ""
    """The right that it needs: view, files, submit, manage, or one that the operator's access rule knows."""
    server: Callable[[AtServer, Asked], Awaitable[Said]] | None = None
    site: SiteFunction | None = None
    site_answer: type[msgspec.Struct] | None = None
    """The type of a site's answer, where the server makes something else of it."""
    answer_of: Callable[[Asked], type[Said]] | None = None
    """Which of several answers belongs to a request."""
    only_waits: bool = False
    """Whether it does nothing but wait for news: it is stopped when the connection is lost."""

    group: str = ""
    """The heading in help; empty for one that nobody types."""
    summary: str = ""
    """One sentence."""
    details: str = ""
    """What help says besides."""
    show: Callable[[Any], Iterable[Piece]] = lambda answer: [repr(answer)]
    """The answer for people."""
    exit_status: Callable[[Any], int] = lambda _: 0
    """What `sundog admin -c` returns for an answer."""
    line: type[msgspec.Struct] | None = None
    """What is typed, where that is not the request."""
    client: Callable[[Any, Any], msgspec.Struct] | None = None
    """What the admin's side does with a Session and the line; without it, it sends the request."""
    live: Callable[[Any, Any], Iterator[Piece]] | None = None
    """The same, told piece by piece as it goes on, for people; a generator returns the answer if `exit_status` looks at it."""
    gives: tuple[type[msgspec.Struct], ...] = ()
    """The types of what `client` gives, where that is not the answer."""

    def runs_at(self, side: str) -> bool:
        """Whether a server, or a site, does it or passes it on."""
        return self.site is not None or (side == SERVER and self.server is not None)

    def answer_to(self, request: Asked) -> type[Said]:
        """The type of the answer to this request."""
        return self.answers[0] if self.answer_of is None else self.answer_of(request)

    def read_request(self, body: bytes) -> Asked:
        """The request in the body of a message: a msgpack map.

        Raises:
            ArgumentsRefused: an argument is missing, unknown or of another type.
        """
        try:
            return msgspec.msgpack.decode(body, type=self.request)
        except (msgspec.DecodeError, ValueError) as exc:  # ValueError: text that is not UTF-8
            raise ArgumentsRefused(str(exc), where=self.name) from exc

    def write_answer(self, answer: object, side: str) -> bytes:
        """The body of an answer: a msgpack map.

        Raises:
            AnswerNotDeclared: it is not of a declared type.
        """
        wanted = (self.site_answer,) if side == SITE and self.site_answer is not None else self.answers
        if not isinstance(answer, wanted):
            names = " or ".join(kind.__name__ for kind in wanted)
            raise AnswerNotDeclared(f"wanted {names}, got {type(answer).__name__}", where=self.name)
        return msgspec.msgpack.encode(answer)


# --- what its functions are given -----------------------------------------------------------------------------------


class ServerJobs(Protocol):
    """The jobs of a server."""

    table: JobTable
    revision: int
    """Rises whenever something moves."""

    def report(self, job: Job) -> JobReport:
        """What came out of a job, or how far it is."""

    async def next_report(self, job_id: str, seen: tuple[Any, ...]) -> JobReport:
        """The report once it says more than (status, number of rounds, what it waits for), as far as those are given."""

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds; it is looked at whenever something moves."""

    async def delete(self, job: Job, admin: str) -> None:
        """Remove a job that has ended, and its files."""


class Transfers(Protocol):
    """The folders that travel between a server and its admins."""

    async def submit(self, link: Link, request: str, name: str, files: Files) -> Job:
        """Fetch a job and take it in; the same request id again is the same job."""

    async def clone(self, link: Link, source: Job, request: str) -> Job:
        """Submit a job once more; the same request id again is the same clone."""

    async def offer(self, link: Link, job: Job, download: str) -> tuple[Files, Files]:
        """Offer the files of a job, and those of its result, until `done`."""

    def done(self, link: Link, download: str) -> None:
        """Offer them no longer."""


class AskSite(Protocol):
    """A question to a site, on behalf of the subject."""

    async def __call__(self, site: str, command: Command[Any, Any], request: Request, answer: type[Given], *, waits: bool = False) -> Given:
        """Ask and wait for the answer: 10 s, or as long as the site is connected if it `waits`.

        Raises:
            SiteDoesNotAnswer: it is not connected, too slow, or its answer has another form.
            RemoteError: it refuses.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class AtServer:
    """What a command's function is given at a server."""

    subject: Subject
    """The participant that gives the command."""
    workspace: Workspace
    jobs: ServerJobs
    now: Callable[[], float]
    """Seconds since 1970."""
    running: Callable[[], Mapping[str, str]]
    """The jobs that run: id → name."""
    sites: Callable[[], Mapping[str, Link]]
    """The sites that are connected, by name."""
    known_sites: Callable[[], list[str]]
    """The names of all sites that were connected since the server started."""
    ask: AskSite
    abort: Callable[[Job, str], Awaitable[None]]
    """End a job for a reason; returns when it has ended."""
    logs: RunLogs
    sessions: Callable[[], SessionList]
    addresses: list[str]
    """Where the server listens."""
    transfers: Transfers
    link: Link
    """The link of the admin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AtSite:
    """What a command's function is given at a site."""

    subject: Subject
    """The participant that gives the command, as the server says."""
    name: str
    """The site's."""
    workspace: Workspace
    running: Callable[[], Mapping[str, bool]]
    """The runs of this site: id → whether it is working on a task."""
    logs: RunLogs


SiteFunction = Callable[[AtSite, Any], Awaitable[msgspec.Struct]]
