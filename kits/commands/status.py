"""check_status and list_sessions: the server, its sites and its admins."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

from ...kernel.errors import SundogError
from ...transports.address import place_of
from ..protocol.answers import SessionList
from ..protocol.requests import Parameter, Request
from .declaration import AtServer, AtSite, Command
from .text import Piece, Table, moment, with_reason

NO_JOBS = "No Jobs"
NO_REPLY = "No Reply"
FIXED_SSID = "ebc6125d-0a56-4688-9b08-355fe9e4d61a"
"""The SSID of a project without an overseer, where no other server can take over; it is that of FLARE 2.1."""


class CheckStatus(Request, frozen=True, kw_only=True):
    """The status of the server, or of the sites."""

    target: Literal["server", "client"]
    sites: Annotated[list[str], msgspec.Meta(max_length=10_000), Parameter("Names of sites.", metavar="SITE", completes="sites")] = []
    """Empty: all that are known."""
    after: Annotated[int | None, Parameter(is_typed=False)] = None
    """Answer when the revision is another one than this; None: at once."""


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


class SitesStatus(msgspec.Struct, frozen=True):
    """`check_status client`."""

    clients: list[SiteRow]
    revision: int
    """Rises whenever something moves at the server."""


class RunRow(msgspec.Struct, frozen=True):
    """One run at a site, as it says itself."""

    job_id: str
    status: str
    """working or waiting."""


class SiteRuns(msgspec.Struct, frozen=True):
    """The answer of a site to `check_status`."""

    runs: list[RunRow]


async def _check(here: AtServer, asked: CheckStatus) -> ServerStatus | SitesStatus:
    """The status, once something has moved since the revision that was seen."""
    await here.jobs.wait_until(lambda: here.jobs.revision != asked.after)
    return await _sites_status(here, asked.sites) if asked.target == "client" else _server_status(here)


def _server_status(here: AtServer) -> ServerStatus:
    jobs = [AppRow(run, name) for run, name in here.running().items()]
    now = here.now()
    sites = [ClientRow(name, link.peer.instance, round(now - link.silent_seconds, 3)) for name, link in here.sites().items()]
    fl_port = place_of(here.addresses[0])[1]
    return ServerStatus("started" if jobs else "stopped", jobs, len(sites), sites, here.jobs.revision, fl_port, FIXED_SSID)


async def _sites_status(here: AtServer, wanted: list[str]) -> SitesStatus:
    """Rows by site, all sites asked side by side. The revision is that from before: what moves meanwhile is news."""
    revision = here.jobs.revision
    rows = await asyncio.gather(*(_site_rows(here, site) for site in dict.fromkeys(wanted) or here.known_sites()))
    return SitesStatus([row for of_site in rows for row in of_site], revision)


async def _site_rows(here: AtServer, site: str) -> list[SiteRow]:
    """One row for each of its runs; one that says so when it has none, or does not answer."""
    try:
        said = await here.ask(site, CHECK_STATUS, CheckStatus(target="client"), SiteRuns)
    except SundogError as exc:
        return [SiteRow(site, "", "", NO_REPLY, exc.what)]
    names = here.running()
    return [SiteRow(site, names.get(one.job_id, ""), one.job_id, one.status) for one in said.runs] or [SiteRow(site, "", "", NO_JOBS)]


async def _runs(here: AtSite, _asked: CheckStatus) -> SiteRuns:
    return SiteRuns([RunRow(run, "working" if is_working else "waiting") for run, is_working in here.running().items()])


def _status_text(answer: ServerStatus | SitesStatus) -> Iterator[Piece]:
    if isinstance(answer, ServerStatus):
        yield from _server_text(answer)
    elif not answer.clients:
        yield "No clients."
    else:
        rows = [[row.client, row.app_name, row.job_id, with_reason(row.status, row.reason)] for row in answer.clients]
        yield Table(["CLIENT", "APP_NAME", "JOB_ID", "STATUS"], rows)


def _server_text(answer: ServerStatus) -> Iterator[Piece]:
    yield f"Engine status: {answer.engine_status}"
    if answer.jobs:
        yield Table(["JOB_ID", "APP NAME"], [[row.job_id, row.app_name] for row in answer.jobs])
    yield f"Registered clients: {answer.registered_clients}"
    if answer.clients:
        rows = [[row.client, row.token, moment(row.last_connect_time)] for row in answer.clients]
        yield Table(["CLIENT", "TOKEN", "LAST CONNECT TIME"], rows)


CHECK_STATUS: Command[CheckStatus, ServerStatus | SitesStatus] = Command(
    name="check_status", right="view", request=CheckStatus, answers=(ServerStatus, SitesStatus), site_answer=SiteRuns,
    answer_of=lambda asked: SitesStatus if asked.target == "client" else ServerStatus,
    only_waits=True, server=_check, site=_runs,
    group="status", summary="Show how the server is, or how the sites are.",
    details="Without names, all sites that were connected since the server started.", show=_status_text,
)  # fmt: skip


# --- admins ---------------------------------------------------------------------------------------------------------


class ListSessions(Request, frozen=True, kw_only=True):
    """The admins that are connected."""


async def _list_sessions(here: AtServer, _asked: ListSessions) -> SessionList:
    return here.sessions()


def _sessions_text(answer: SessionList) -> Iterator[Piece]:
    rows = [
        [row.user, row.session_id, moment(row.start_time), moment(row.last_active_time), f"{row.idle_seconds:.0f} s"]
        for row in answer.sessions
    ]
    yield Table(["USER", "SESSION ID", "START", "LAST ACTIVE", "IDLE"], rows)


LIST_SESSIONS = Command(
    name="list_sessions", right="view", request=ListSessions, answers=(SessionList,), server=_list_sessions,
    group="status", summary="List the admins that are connected.", show=_sessions_text,
)  # fmt: skip
