"""What does the server know of its jobs, and who is told when that changes?"""

from __future__ import annotations

import asyncio
import shutil
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import structlog

from ...kernel.errors import Failure, JobError, SundogError
from ...kernel.observers import Observers
from ...kernel.plugins import plugins
from ..protocol.answers import JobReport
from ..protocol.records import Status
from ..supervisor.tasks import Tasks
from ..workspace.disk import Disk
from ..workspace.folders import Workspace
from ..workspace.job_folder import read_job
from ..workspace.job_meta import JobMeta
from ..workspace.job_state import Job, JobTable
from ..workspace.kit import ServerKit
from ..workspace.manifest import Limits, Manifest, decode_manifest, first_difference, manifest_of
from .report import ReportUnreadable, job_report, read_report
from .run_program import ServerRunProgram
from .site_calls import Prepared

log = structlog.get_logger()

HOOKS = ("job_state_changed",)
"""The hooks that a server calls."""


class FolderDiffers(JobError):
    """The files of a job in the server's store are not those that were submitted.

    Cause: a file was changed, removed or added there, or the disk is damaged; the message names the first one, if it is known.

    Cure: submit the job again, and find out who can write to the server's workspace.
    """

    code = "SD-4022"


class Jobs:
    """The jobs of a server: taken in, reported on, watched.

    Args:
        runs: the runs that live now, by job id.
        disk: moves and removes folders.
        now: seconds since 1970.
    """

    def __init__(
        self,
        workspace: Workspace,
        kit: ServerKit,
        table: JobTable,
        runs: Mapping[str, ServerRunProgram],
        *,
        disk: Disk | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.table = table
        self.revision = 0
        """Rises whenever something moves; see `moved`."""
        self.on_change: Callable[[], None] = lambda: None
        """Called when a job has a new state."""
        self._workspace = workspace
        self._durability = kit.durability
        self._limits = Limits(kit.limits.max_job_files, kit.limits.max_job_bytes)
        self._runs = runs
        self._disk = disk or Disk()
        self._now = now
        self._writing: dict[str, asyncio.Future[None]] = {}
        """Jobs whose newest state is not durable yet; nobody is told of it before."""
        self._news = asyncio.Condition()
        self._is_telling = False
        self._tasks = Tasks("jobs")
        self.observers: Observers = plugins().observers()
        """Called when a job has a new state; a kit's program puts its own here."""

    def folder(self, job_id: str) -> Path:
        """Where a job lies as it was submitted."""
        return self._workspace.jobs / job_id

    async def take_in(self, folder: Path, *, request: str = "", submitter: str = "", seed: int | None = None) -> Job:
        """Check a job's folder, move it into the store, and let it wait for its turn.

        Raises:
            JobRefused, NoJob: it is no valid job.
        """
        read = await asyncio.to_thread(read_job, folder)
        meta = read.meta if seed is None else read.meta.replace(seed=seed)
        manifest = await self._hash(folder)
        return await self._enter(folder, msgspec.to_builtins(meta), manifest, request, {"submitter": submitter})

    async def clone(self, job: Job, *, request: str, submitter: str) -> Job:
        """Submit a job once more, as it was submitted: same files, same meta, new id.

        Raises:
            FolderDiffers: the files are not what they were.
        """
        source, draft = self.folder(job.id), self.folder(f".{request}.clone")
        try:
            await asyncio.to_thread(_copy, source, draft)
            manifest = await self._hash_unchanged(job, draft)
            return await self._enter(draft, dict(job.meta), manifest, request, {"submitter": submitter, "cloned_from": job.id})
        finally:
            await asyncio.to_thread(self._disk.rmtree, draft)

    async def _hash(self, folder: Path) -> Manifest:
        return await asyncio.to_thread(manifest_of, folder, self._limits)

    async def _hash_unchanged(self, job: Job, folder: Path) -> Manifest:
        """The manifest of a job's folder, or of a copy of it.

        Raises:
            FolderDiffers: it is not what was submitted; names the job, and the first file that differs, if that is known.
        """
        manifest = await self._hash(folder)
        if manifest.sha256 != job.content:
            difference = await asyncio.to_thread(self._difference, job, manifest)
            raise FolderDiffers(f"its files were changed in the server's store: {difference}", where=f"job {job.id}")
        return manifest

    def _difference(self, job: Job, manifest: Manifest) -> str:
        try:
            submitted = decode_manifest(self._manifest(job.id).read_bytes())
        except (OSError, SundogError):
            submitted = Manifest(())
        if submitted.sha256 != job.content:  # it is lost or damaged too
            return f"wanted a manifest with the hash {job.content}, got {manifest.sha256}"
        return first_difference(submitted, manifest)

    def _manifest(self, job_id: str) -> Path:
        """Where the manifest of a job lies as it was submitted; only to tell what has changed."""
        return self._workspace.jobs / f".{job_id}.manifest"

    async def _enter(self, folder: Path, meta: dict[str, Any], manifest: Manifest, request: str, extra: dict[str, Any]) -> Job:
        job_id = str(uuid.uuid4())
        await asyncio.to_thread(self._store, folder, manifest, job_id)  # first: what is in the table may be dispatched at once
        try:
            job, durable = self.table.submit(meta, job_id=job_id, request=request, content=manifest.sha256, extra=extra)
        except Exception:  # no record can be made of it
            await asyncio.to_thread(self._remove_files, job_id)
            raise
        self._writing[job.id] = durable
        try:
            await asyncio.shield(durable)
        except SundogError:  # what is not written is no job: nothing may come of it after it was refused
            if job.id == job_id:
                self.table.withdraw(job_id)
            await asyncio.to_thread(self._remove_files, job_id)
            raise
        finally:
            if self._writing.get(job.id) is durable:
                del self._writing[job.id]
        self._changed(job)
        return job

    def _store(self, folder: Path, manifest: Manifest, job_id: str) -> None:
        self._disk.atomic_write(self._manifest(job_id), manifest.encode())
        self._disk.rename(folder, self.folder(job_id))

    async def delete(self, job: Job, admin: str) -> None:
        """Take out a job that has ended, then remove its files; what a crash leaves of them goes at the next start."""
        await self.table.delete(job.id, admin)
        await asyncio.to_thread(self._remove_files, job.id)
        log.info("job_deleted", job=job.id, admin=admin)
        self.moved()

    async def remove_leftovers(self) -> None:
        """Remove what is left of jobs that were deleted before."""
        for job_id in self.table.deleted:
            try:
                await asyncio.to_thread(self._remove_files, job_id)
            except Exception as exc:  # whatever it is, the server starts; the next start tries again
                log.exception("job_not_removed", job=job_id, reason=str(exc))

    def _remove_files(self, job_id: str) -> None:
        for folder in (self.folder(job_id), self._workspace.run(job_id).root, self._workspace.blobs / job_id):
            self._disk.rmtree(folder)
            if folder.exists():
                log.warning("job_not_removed", job=job_id, folder=str(folder))
        for file in (*self._workspace.run_journals(job_id), self._manifest(job_id)):
            self._disk.unlink(file)

    def meta(self, job: Job) -> JobMeta:
        """What a job wants, as it was submitted: a seed may have been given with it."""
        meta = msgspec.convert(dict(job.meta), JobMeta)
        return meta.replace(durability=meta.durability or self._durability)

    async def prepare(self, job: Job) -> Prepared:
        """A job that is about to be dispatched, read anew.

        Raises:
            FolderDiffers: its folder is not what was submitted.
        """
        manifest = await self._hash_unchanged(job, self.folder(job.id))
        folder = await asyncio.to_thread(read_job, self.folder(job.id))
        return Prepared(replace(folder, meta=self.meta(job)), manifest)

    def waiting(self) -> list[Job]:
        """Submitted jobs, the oldest first; without those whose newest state is not durable yet, because it may never be."""
        return [job for job in self.table.in_state(Status.SUBMITTED) if job.id not in self._writing]

    def change(self, job_id: str, status: Status, reason: str = "", **extra: Any) -> asyncio.Future[None]:
        """Bring a job to its next state; see JobTable.change. Those who watch are told when it is durable."""
        durable = self._writing[job_id] = self.table.change(job_id, status, reason, **extra)
        durable.add_done_callback(partial(self._written, self.table.find(job_id)))
        return durable

    def break_run(self, job_id: str, failure: Failure) -> bool:
        """End a run as failed, after which it writes the job's end itself; False if no run of the job has begun."""
        program = self._runs.get(job_id)
        if program is None:
            return False
        program.fail(failure)
        return True

    def _written(self, job: Job, durable: asyncio.Future[None]) -> None:
        if self._writing.get(job.id) is durable:
            del self._writing[job.id]
        if not durable.cancelled() and (error := durable.exception()) is not None:
            log.error("job_state_not_written", job=job.id, status=str(job.status), reason=str(error))
        self._changed(job)

    def report(self, job: Job) -> JobReport:
        """What came out of a job, or how far it is."""
        program = self._runs.get(job.id)
        if program is not None:
            return job_report(job, program.run, self._now())
        try:
            kept = read_report(self._workspace.run(job.id).report)
        except ReportUnreadable as exc:
            return job_report(job, None, self._now(), [Failure.of(exc)])
        if kept is None:
            return job_report(job, None, self._now())
        return msgspec.structs.replace(kept, status=str(job.status), reason=job.reason)

    async def next_report(self, job_id: str, seen: tuple[Any, ...]) -> JobReport:
        """The report of a job once it says more than (status, number of rounds, what it waits for), as far as those are given."""

        def is_news() -> bool:
            job, program = self.table.find(job_id), self._runs.get(job_id)
            rounds = len(program.run.rounds if program is not None else self.report(job).rounds)
            return job_id not in self._writing and (str(job.status), rounds, job.waits_for)[: len(seen)] != seen

        async with self._news:
            await self._news.wait_for(is_news)
        return self.report(self.table.find(job_id))

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds; it is looked at whenever something moves."""
        async with self._news:
            await self._news.wait_for(condition)

    def moved(self) -> None:
        """A job, a site or a step has changed. Who waits looks again."""
        self.revision += 1
        if not self._is_telling:  # one task tells of all that has moved by then
            self._is_telling = True
            self._tasks.start(self._tell())

    def _changed(self, job: Job) -> None:
        self.observers.events.job_state_changed(job_id=job.id, state=str(job.status), reason=job.reason)
        self.on_change()
        self.moved()

    async def _tell(self) -> None:
        async with self._news:
            self._is_telling = False
            self._news.notify_all()

    async def close(self) -> None:
        """Tell nobody any more, and close the table."""
        await self._tasks.close()
        await self.table.close()


def _copy(source: Path, target: Path) -> None:
    Disk().rmtree(target)  # of a process that died in the middle
    shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
