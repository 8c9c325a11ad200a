"""Deliveries: jobs from an admin, results to one, by manifest and each file by its hash."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from weakref import WeakValueDictionary

import msgspec

from ...kernel.errors import AdminError
from ...transports.link import Link
from ...transports.link.link import LinkClosed
from ..protocol.answers import Files
from ..supervisor.travel import FolderOffers, fetch_folder
from ..workspace.disk import Disk
from ..workspace.folders import PathRefused, Workspace, relative_path
from ..workspace.job_state import Job
from ..workspace.manifest import MIB, Limits, Manifest, decode_manifest, manifest_of
from .jobs import Jobs

RUN_LIMITS = Limits(files=100_000, total_bytes=256 * 1024 * MIB)
"""Of a run's folder: job code may have put anything there."""
NOT_DELIVERED = ("in/", "out/")
"""Parts of a run's folder that only its processes use."""


class RequestReused(AdminError):
    """A request id that made a job came again with another job's files.

    Cause: the job's folder was changed between the two submissions, or two programs use the same request ids.

    Cure: submit without a request id, or with a new one; the same id is only for repeating the same submission.
    """

    code = "SD-6005"


class Deliveries:
    """The folders that travel between the server and its admins.

    Args:
        jobs: takes jobs in.
        workspace: the server's.
        limits: of a job that is submitted.
    """

    def __init__(self, jobs: Jobs, workspace: Workspace, limits: Limits) -> None:
        self._jobs = jobs
        self._workspace = workspace
        self._limits = limits
        self._offers = FolderOffers()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def submit(self, link: Link, request: str, name: str, files: Files) -> Job:
        """Fetch a job, check it, take it in; the same request id again is the same job."""
        manifest = decode_manifest(msgspec.msgpack.encode([files]), self._limits)
        async with self._turns.setdefault(request, asyncio.Lock()):  # sent by two sessions: the second waits for the first
            job = self._jobs.table.by_request(request) or await self._take_in(link, request, name, manifest)
        _refuse_reuse(job, manifest.sha256)
        return job

    async def clone(self, link: Link, source: Job, request: str) -> Job:
        """Submit a job once more; the same request id again is the same clone."""
        async with self._turns.setdefault(request, asyncio.Lock()):
            known = self._jobs.table.by_request(request)
            job = known or await self._jobs.clone(source, request=request, submitter=link.peer.name)
        _refuse_reuse(job, source.content)
        return job

    async def _take_in(self, link: Link, request: str, name: str, manifest: Manifest) -> Job:
        if len(relative_path(name).parts) != 1:
            raise PathRefused(f"wanted the name of a folder, got {name!r}")
        incoming = self._workspace.jobs / f".{request}" / name
        try:
            await fetch_folder(link, manifest, incoming)
            return await self._jobs.take_in(incoming, request=request, submitter=link.peer.name)
        finally:
            await asyncio.to_thread(Disk().rmtree, incoming.parent)

    async def offer(self, link: Link, job: Job, download: str) -> tuple[Files, Files]:
        """Offer the files of a job, and those of its result, to an admin, until it says that it has them."""
        self.done(link, download)  # asked again, after a lost connection
        folders = self._jobs.folder(job.id), self._workspace.run(job.id).root
        manifests = [await _hashed(link, root) for root in folders]
        for manifest, root in zip(manifests, folders, strict=True):
            self._offers.offer(link, download, manifest, root)
        files, results = (msgspec.to_builtins(manifest.files) for manifest in manifests)
        return files, results

    def done(self, link: Link, download: str) -> None:
        """The admin has it all, or gave up."""
        self._offers.withdraw(link, download)


def _refuse_reuse(job: Job, content: str) -> None:
    if job.content != content:
        raise RequestReused(f"the request {job.request} made the job {job.id} from other files")


async def _hashed(link: Link, root: Path) -> Manifest:
    """What is sent of a folder. The hashing stops when nobody waits for it: the link is closed, or this was cancelled."""
    stop = threading.Event()

    def goes_on() -> None:
        if stop.is_set() or link.is_closed:
            raise LinkClosed(f"the link to {link.peer} was closed")

    try:
        return await asyncio.to_thread(_deliverable, root, goes_on)
    finally:
        stop.set()


def _deliverable(root: Path, goes_on: Callable[[], None]) -> Manifest:
    """What is sent of a folder; nothing of one that is not there, because the job never ran."""
    if not root.is_dir():
        return Manifest(())
    return Manifest(
        tuple(entry for entry in manifest_of(root, RUN_LIMITS, goes_on=goes_on).files if not entry.path.startswith(NOT_DELIVERED))
    )
