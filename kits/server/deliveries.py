"""How do jobs come in from an admin, and results go out to one? By manifest, and each file by its hash (PROTOCOL §3)."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import msgspec

from ...kernel.errors import AdminError
from ...transports.link import Link
from ..protocol.answers import ClonedJob, DownloadOffer, SubmittedJob
from ..protocol.requests import CloneJob, DownloadJob, SubmitJob
from ..supervisor.travel import FolderOffers, fetch_folder
from ..workspace.folders import PathRefused, relative_path
from ..workspace.job_state import Job
from ..workspace.manifest import NO_LIMITS, Limits, Manifest, decode_manifest, manifest_of

if TYPE_CHECKING:
    from .server import Server

NOT_DELIVERED = ("in/", "out/")
"""Parts of a run's folder that only its processes use."""


class StillRunning(AdminError):
    """A job has not ended, so its result cannot be fetched, nor the job be deleted.

    Cause: the job is waiting or running.

    Cure: wait for its end (`Session.monitor_job`), or bring it about with `abort_job`.
    """

    code = "SD-6002"


class RequestReused(AdminError):
    """A request id that made a job came again with another job's files.

    Cause: the job's folder was changed between the two submissions, or two programs use the same request ids.

    Cure: submit without a request id, or with a new one; the same id is only for repeating the same submission.
    """

    code = "SD-6005"


class Deliveries:
    """The folders that travel between the server and its admins."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._offers = FolderOffers()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def submit(self, link: Link, asked: SubmitJob) -> SubmittedJob:
        """Fetch a job, check it, take it in; the same request id again is the same job."""
        limits = self._server.kit.limits
        files = msgspec.msgpack.encode([asked.files])
        manifest = decode_manifest(files, Limits(limits.max_job_files, limits.max_job_bytes))
        async with self._turns.setdefault(asked.request, asyncio.Lock()):  # sent by two sessions: the second waits for the first
            job = self._server.jobs.table.by_request(asked.request) or await self._take_in(link, asked, manifest)
        _refuse_reuse(job, manifest.sha256)
        return SubmittedJob(job.id)

    async def clone(self, link: Link, asked: CloneJob) -> ClonedJob:
        """Submit a job once more; the same request id again is the same clone."""
        jobs = self._server.jobs
        source = jobs.table.find(asked.job_id)
        async with self._turns.setdefault(asked.request, asyncio.Lock()):
            known = jobs.table.by_request(asked.request)
            job = known or await jobs.clone(source, request=asked.request, submitter=link.peer.name)
        _refuse_reuse(job, source.content)
        return ClonedJob(job.id, source.id)

    async def _take_in(self, link: Link, asked: SubmitJob, manifest: Manifest) -> Job:
        if len(relative_path(asked.name).parts) != 1:
            raise PathRefused(f"wanted the name of a folder, got {asked.name!r}")
        incoming = self._server.workspace.jobs / f".{asked.request}" / asked.name
        try:
            await fetch_folder(link, manifest, incoming)
            return await self._server.jobs.take_in(incoming, request=asked.request, submitter=link.peer.name)
        finally:
            await asyncio.to_thread(shutil.rmtree, incoming.parent, ignore_errors=True)

    async def offer(self, link: Link, asked: DownloadJob) -> DownloadOffer:
        """Offer a job and its result to an admin, until it says that it has them."""
        job = self._server.jobs.table.find(asked.job_id)
        if not job.status.is_end:
            raise StillRunning(f"the job is {job.status}", where=job.id)
        self.done(link, asked.download)  # asked again, after a lost connection
        folder, run = self._server.jobs.folder(job.id), self._server.workspace.run(job.id).root
        manifests = [await asyncio.to_thread(_deliverable, root) for root in (folder, run)]
        for manifest, root in zip(manifests, (folder, run), strict=True):
            self._offers.offer(link, asked.download, manifest, root)
        return DownloadOffer(job.id, *(msgspec.to_builtins(manifest.files) for manifest in manifests))

    def done(self, link: Link, download: str) -> None:
        """The admin has it all, or gave up."""
        self._offers.withdraw(link, download)


def _refuse_reuse(job: Job, content: str) -> None:
    if job.content != content:
        raise RequestReused(f"the request {job.request} made the job {job.id} from other files")


def _deliverable(root: Path) -> Manifest:
    """What is sent of a folder; nothing of one that is not there, because the job never ran."""
    if not root.is_dir():
        return Manifest(())
    return Manifest(tuple(entry for entry in manifest_of(root, NO_LIMITS).files if not entry.path.startswith(NOT_DELIVERED)))
