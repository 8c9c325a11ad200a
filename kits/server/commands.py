"""What the server answers to each command of an admin."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from ...kernel.errors import AdminError
from ...kernel.records import Status
from ...transports.link import Link
from ..supervisor.travel import fetch_folder, offer_folder, withdraw_folder
from ..workspace.job_state import Job
from ..workspace.manifest import Limits, Manifest, decode_manifest, manifest_of
from .report import as_document

if TYPE_CHECKING:
    from .server import Server

Arguments = Mapping[str, Any]
Answer = Awaitable[dict[str, Any]]
SITE_ANSWER_SECONDS = 10.0


class UnknownCommand(AdminError):
    """The server does not know a command.

    Cause: the admin's program is newer than the server.

    Cure: compare `sundog --version` on both sides.
    """

    code = "SD-6001"


class StillRunning(AdminError):
    """A job has not ended, so it has no result yet.

    Cause: the job is waiting or running.

    Cure: `monitor_job` waits for its end; `abort_job` brings it about.
    """

    code = "SD-6002"


class Commands:
    """The commands, by name."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._table: dict[str, Callable[[Link, Arguments], Answer]] = {
            "check_status": self.check_status, "submit_job": self.submit_job, "list_jobs": self.list_jobs,
            "get_job_report": self.get_job_report, "abort_job": self.abort_job, "download_job": self.download_job,
            "watch_job": self.watch_job, "download_done": self.download_done,
        }  # fmt: skip
        self._offered: dict[tuple[Link, str], list[Manifest]] = {}

    async def run(self, link: Link, name: str, arguments: Arguments) -> dict[str, Any]:
        """Do it.

        Raises:
            SundogError: it is refused; the admin is told.
        """
        command = self._table.get(name)
        if command is None:
            raise UnknownCommand(f"there is no command {name!r} at this server")
        return await command(link, arguments)

    # --- status -------------------------------------------------------------------------------------------------

    async def check_status(self, _link: Link, arguments: Arguments) -> dict[str, Any]:
        """The server's own status, or that of sites."""
        if arguments.get("target") == "client":
            return {"sites": await self._site_statuses(arguments.get("sites") or [])}
        jobs = [{"job_id": run, "app_name": str(program.meta.name)} for run, program in self._server.runs.items()]
        sites = [
            {"client": name, "token": link.peer.instance, "last_connect_seconds": round(time.time() - link.silent_seconds, 3)}
            for name, link in self._server.sites().items()
        ]
        return {"engine_status": "started" if jobs else "stopped", "jobs": jobs, "registered_clients": len(sites), "clients": sites}

    async def _site_statuses(self, wanted: list[str]) -> list[dict[str, Any]]:
        known = sorted({link.peer.name for link in self._server.acceptor.links.values() if link.peer.role == "site"})
        answers = await asyncio.gather(*(self._site_status(site) for site in wanted or known))
        return [row for rows in answers for row in rows]

    async def _site_status(self, site: str) -> list[dict[str, Any]]:
        """One row for each of its runs; one that says so when it has none, or does not answer."""
        try:
            said = await self._server.questions.ask(site, "status", {}, SITE_ANSWER_SECONDS)
        except AdminError:
            return [{"client": site, "app_name": "", "job_id": "", "status": "No Reply"}]
        rows = [{"client": site, "app_name": self._app_name(one["job_id"]), **one} for one in said["runs"]]
        return rows or [{"client": site, "app_name": "", "job_id": "", "status": "No Jobs"}]

    def _app_name(self, job_id: str) -> str:
        program = self._server.runs.get(job_id)
        return program.meta.name if program is not None else ""

    # --- jobs ---------------------------------------------------------------------------------------------------

    async def submit_job(self, link: Link, arguments: Arguments) -> dict[str, Any]:
        """Fetch the job, check it, take it in; the same request id again is the same job."""
        request = str(arguments["request"])
        limits = Limits(self._server.kit.limits.max_job_files, self._server.kit.limits.max_job_bytes)
        manifest = decode_manifest(msgspec.msgpack.encode([arguments["files"]]), limits)
        async with self._server.jobs.submitting:  # the same request, sent again by a second console, waits for the first
            known = self._server.jobs.table.by_request(request)
            if known is None:
                known = await self._take_in(link, request, manifest, str(arguments.get("name", "")))
        return {"job_id": known.id}

    async def _take_in(self, link: Link, request: str, manifest: Manifest, name: str) -> Job:
        incoming = self._server.workspace.jobs / f".{request}" / (name or "job")
        try:
            await fetch_folder(link, manifest, incoming)
            return await self._server.jobs.take_in(incoming, request=request, submitter=link.peer.name)
        finally:
            shutil.rmtree(incoming.parent, ignore_errors=True)

    async def list_jobs(self, _link: Link, arguments: Arguments) -> dict[str, Any]:
        """Jobs, the newest first."""
        jobs = self._server.jobs.table.listing(str(arguments.get("name_prefix", "")), str(arguments.get("id_prefix", "")))
        return {"jobs": [self._row(job, detailed=bool(arguments.get("detailed"))) for job in jobs]}

    def _row(self, job: Job, *, detailed: bool) -> dict[str, Any]:
        row: dict[str, Any] = {
            "job_id": job.id, "name": job.name, "status": str(job.status), "submit_time": job.submitted_seconds,
            "duration_seconds": round(job.duration_seconds(time.time()), 3), "reason": job.reason or job.waits_for,
        }  # fmt: skip
        if detailed:
            history = [{"status": str(c.status), "time_seconds": c.time_seconds, "reason": c.reason} for c in job.history]
            row |= {"meta": job.meta, "content_sha256": job.content, "history": history, **job.extra}
        return row

    async def get_job_report(self, _link: Link, arguments: Arguments) -> dict[str, Any]:
        """What came out, or how far it is."""
        return as_document(self._server.jobs.report(self._server.jobs.table.find(str(arguments["job_id"]))))

    async def watch_job(self, _link: Link, arguments: Arguments) -> dict[str, Any]:
        """The report, once it says more than what the asker has seen; at once if it does already."""
        job_id = self._server.jobs.table.find(str(arguments["job_id"])).id
        seen = (arguments.get("status"), arguments.get("rounds"), arguments.get("waits_for"))
        return as_document(await self._server.jobs.next_report(job_id, seen))

    async def abort_job(self, link: Link, arguments: Arguments) -> dict[str, Any]:
        """End a job; answers when it has ended."""
        job = self._server.jobs.table.find(str(arguments["job_id"]))
        await self._server.abort_job(job, f"aborted by {link.peer.name}")
        return {"job_id": job.id, "status": str(Status.ABORTED)}

    async def download_job(self, link: Link, arguments: Arguments) -> dict[str, Any]:
        """Offer the files of a job and its result."""
        job = self._server.jobs.table.find(str(arguments["job_id"]))
        if not job.status.is_end:
            raise StillRunning(f"the job is {job.status}", where=job.id)
        parts = {"job": self._server.jobs.folder(job.id), "workspace": self._server.workspace.run(job.id).root}
        manifests = {}
        for name, root in parts.items():
            manifest = await asyncio.to_thread(manifest_of, root, Limits(10**6, 2**60)) if root.is_dir() else Manifest(())
            offer_folder(link, manifest, root)
            manifests[name] = manifest
        self._offered[link, job.id] = list(manifests.values())
        return {"job_id": job.id, **{name: msgspec.to_builtins(manifest.files) for name, manifest in manifests.items()}}

    async def download_done(self, link: Link, arguments: Arguments) -> dict[str, Any]:
        """The admin has it all: offer it no longer."""
        for manifest in self._offered.pop((link, str(arguments["job_id"])), []):
            withdraw_folder(link, manifest)
        return {}
