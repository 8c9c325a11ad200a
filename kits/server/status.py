"""How are the server and its sites, as `check_status` tells it?"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ...kernel.errors import SundogError
from ...transports.address import place_of
from ..protocol.answers import AppRow, ClientRow, ServerStatus, SiteRow, SiteRuns, SitesStatus
from ..protocol.messages import Ask
from ..protocol.requests import CheckStatus

if TYPE_CHECKING:
    from .server import Server

NO_JOBS = "No Jobs"
NO_REPLY = "No Reply"
FIXED_SSID = "ebc6125d-0a56-4688-9b08-355fe9e4d61a"
"""The SSID of a project without an overseer, where no other server can take over; it is that of FLARE 2.1."""


async def check_status(server: Server, admin: str, asked: CheckStatus) -> ServerStatus | SitesStatus:
    """The status of the server or of sites, once something has moved since the revision that the asker names."""
    await server.jobs.wait_until(lambda: server.jobs.revision != asked.after)
    return await _sites_status(server, admin, asked.sites) if asked.target == "client" else _server_status(server)


def _server_status(server: Server) -> ServerStatus:
    jobs = [AppRow(run, program.meta.name) for run, program in server.runs.items()]
    now = server.now()
    sites = [ClientRow(name, link.peer.instance, round(now - link.silent_seconds, 3)) for name, link in server.sites().items()]
    fl_port = place_of(server.addresses[0])[1]
    return ServerStatus("started" if jobs else "stopped", jobs, len(sites), sites, server.jobs.revision, fl_port, FIXED_SSID)


async def _sites_status(server: Server, admin: str, wanted: list[str]) -> SitesStatus:
    """Rows by site, all sites asked side by side. The revision is that from before: what moves meanwhile is news."""
    revision = server.jobs.revision
    known = sorted({link.peer.name for link in server.acceptor.links.values() if link.peer.role == "site"})
    rows = await asyncio.gather(*(_site_rows(server, admin, site) for site in wanted or known))
    return SitesStatus([row for of_site in rows for row in of_site], revision)


async def _site_rows(server: Server, admin: str, site: str) -> list[SiteRow]:
    """One row for each of its runs; one that says so when it has none, or does not answer."""
    try:
        said = await server.questions.ask(site, Ask("", CheckStatus.command, admin), CheckStatus(), SiteRuns)
    except SundogError as exc:
        return [SiteRow(site, "", "", NO_REPLY, exc.what)]
    rows = [SiteRow(site, _app_name(server, one.job_id), one.job_id, one.status) for one in said.runs]
    return rows or [SiteRow(site, "", "", NO_JOBS)]


def _app_name(server: Server, job_id: str) -> str:
    program = server.runs.get(job_id)
    return program.meta.name if program is not None else ""
