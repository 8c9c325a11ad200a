"""Exchange: a job's folder to the server, and a result back."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path
from weakref import WeakValueDictionary

import msgspec

from ...kernel.errors import AdminError, RemoteError
from ...kernel.wording import reason_of
from ...transports.link.transfer import UnknownKey
from ..commands.jobs import DOWNLOAD_DONE, DOWNLOAD_JOB, SUBMIT_JOB, DownloadDone, DownloadedJob, DownloadJob, DownloadOffer, SubmitJob
from ..protocol.answers import Files
from ..supervisor.travel import FolderOffers, fetch_folder
from ..workspace.folders import is_name
from ..workspace.job_folder import read_job
from ..workspace.manifest import NO_LIMITS, Manifest, decode_manifest, manifest_of
from .connection import AdminConnection, AnswerUnreadable, OutcomeUnknown

Tell = Callable[[tuple[int, int]], None]
"""Is told bytes that are here and bytes in all."""
ATTEMPTS = 3
"""A server that was restarted has forgotten what it offered, and is asked to offer it again."""


class DownloadExists(AdminError):
    """There is a download of this job already, and nothing is overwritten.

    Cause: the job was downloaded before.

    Cure: use what is there, remove it, or download to another folder.
    """

    code = "SD-6014"


class DownloadNotKept(AdminError):
    """A download cannot be written.

    Cause: the system's message says it: a full disk, missing rights.

    Cure: mend what it names and give the command again: it goes on from where it was.
    """

    code = "SD-6015"


class Exchange:
    """The folders that travel between an admin and its server. Lives on the connection's loop."""

    def __init__(self, connection: AdminConnection) -> None:
        self._connection = connection
        self._offers = FolderOffers()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def submit(self, folder: Path, request_id: str | None) -> str:
        """Submit a job; its id. What can be seen to be wrong here is not sent.

        Raises:
            NoJob, JobRefused: see read_job.
            ManifestRefused: it has links, or is too large for any server.
        """
        name, manifest = await asyncio.to_thread(_read, folder)
        offer = secrets.token_hex(8)
        request = SubmitJob(request=request_id or offer, name=name, files=msgspec.to_builtins(manifest.files))
        link = self._connection.link
        self._offers.offer(link, offer, manifest, folder)
        try:
            return (await self._connection.ask(SUBMIT_JOB, request)).job_id
        finally:
            self._offers.withdraw(link, offer)

    async def download(self, job_id: str, into: Path, seconds: float | None, tell: Tell) -> DownloadedJob:
        """Fetch a job and its result to `into`/<id>, whole or not at all; what an attempt before this one got is not asked for again."""
        try:
            async with self._connection.patience(seconds):
                for _ in range(ATTEMPTS - 1):
                    try:
                        return await self._attempt(job_id, into, tell)
                    except RemoteError as exc:
                        if exc.code != UnknownKey.code:
                            raise
                return await self._attempt(job_id, into, tell)
        except TimeoutError:
            what = "the files did not arrive in time; the same command goes on from where it was"
            raise OutcomeUnknown(what, where=f"download_job {job_id}") from None
        except OSError as exc:
            raise DownloadNotKept(reason_of(exc), where=exc.filename or str(into)) from exc

    async def _attempt(self, job_id: str, into: Path, tell: Tell) -> DownloadedJob:
        download = secrets.token_hex(8)
        offer = await self._connection.ask(DOWNLOAD_JOB, DownloadJob(job_id=job_id, download=download))
        try:
            async with self._turns.setdefault(str(into / offer.job_id), asyncio.Lock()):
                return await self._fetch(offer, into, tell)
        finally:
            self._connection.tell(DOWNLOAD_DONE, DownloadDone(download=download))

    async def _fetch(self, offer: DownloadOffer, into: Path, tell: Tell) -> DownloadedJob:
        if not is_name(offer.job_id):
            raise AnswerUnreadable(f"wanted the id of a job, got {offer.job_id!r}", where="download_job")
        destination = into / offer.job_id
        if destination.exists():
            raise DownloadExists("it is there", where=str(destination))
        draft = into / f".{offer.job_id}.incoming"
        draft.mkdir(parents=True, exist_ok=True)
        parts = {"job": _manifest(offer.job), "workspace": _manifest(offer.workspace)}
        total, before = sum(manifest.total_bytes for manifest in parts.values()), 0
        for name, manifest in parts.items():
            if not (draft / name).exists():  # it is when an attempt broke off after it
                await fetch_folder(self._connection.link, manifest, draft / name, progress=partial(_add, tell, before, total))
            before += manifest.total_bytes
            tell((before, total))
        draft.rename(destination)
        return DownloadedJob(offer.job_id, str(destination), sum(len(manifest.files) for manifest in parts.values()), total)


def _read(folder: Path) -> tuple[str, Manifest]:
    """The name and the files of a job's folder, once it is known to be one."""
    read_job(folder)
    return folder.resolve().name, manifest_of(folder, NO_LIMITS)


def _add(tell: Tell, before: int, total: int, here: int) -> None:
    tell((before + here, total))


def _manifest(files: Files) -> Manifest:
    return decode_manifest(msgspec.msgpack.encode([files]), NO_LIMITS)
