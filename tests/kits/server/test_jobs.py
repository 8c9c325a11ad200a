"""The jobs of a server: what is stored of them, and when they may be dispatched."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sundog.kits.protocol.records import Status
from sundog.kits.server.jobs import FolderDiffers, Jobs
from sundog.kits.server.report import MAX_REPORT_BYTES
from sundog.kits.workspace.disk import Disk
from sundog.kits.workspace.folders import Workspace
from sundog.kits.workspace.job_state import Job, JobTable
from sundog.kits.workspace.journal import Journal, JournalFailed
from sundog.kits.workspace.kit import ServerKit
from sundog.kits.workspace.manifest import Manifest
from sundog.transports.link import Writer


class WatchedTable(JobTable):
    """Notes whether a job's folder was there when the job came into the table."""

    jobs: Path
    was_there: bool = False

    def submit(self, *args: Any, **kwargs: Any) -> tuple[Job, asyncio.Future[None]]:
        job, durable = super().submit(*args, **kwargs)
        self.was_there = (self.jobs / job.id / "meta.json").is_file()
        return job, durable


def write_job(folder: Path) -> Path:
    documents = {
        "meta.json": {"name": "tiny", "min_clients": 1, "deploy_map": {"app": ["@ALL"]}},
        "app/config/config_fed_server.json": {"format_version": 2, "workflows": [], "components": []},
        "app/config/config_fed_client.json": {"format_version": 2, "executors": [], "components": []},
    }
    for name, document in documents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document))
    return folder


class StuckDisk(Disk):
    """A disk whose journals are not written until the test allows it, or fail."""

    def __init__(self, *, is_full: bool = False) -> None:
        self.is_asked = asyncio.Event()
        self.may_write = threading.Event()
        self._is_full = is_full
        self._loop = asyncio.get_running_loop()

    def append(self, descriptor: int, data: bytes) -> None:
        self._loop.call_soon_threadsafe(self.is_asked.set)
        self.may_write.wait()
        if self._is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().append(descriptor, data)


@asynccontextmanager
async def open_jobs(root: Path, table: JobTable, disk: Disk | None = None) -> AsyncIterator[Jobs]:
    (root / "server" / "startup").mkdir(parents=True)
    workspace = Workspace(root / "server").create().create_shared()
    kit = ServerKit(project="test", listen="inproc://jobs", admin_listen="inproc://jobs")
    async with Writer() as writer:
        jobs = Jobs(workspace, kit, table.open(Journal(workspace.project_journal, writer, disk=disk or Disk())), {})
        yield jobs
        await jobs.close()


async def test_a_jobs_folder_is_in_place_before_the_job_can_be_dispatched(tmp_path: Path) -> None:
    table = WatchedTable()
    async with open_jobs(tmp_path, table) as jobs:
        table.jobs = jobs.folder("")

        await jobs.take_in(write_job(tmp_path / "tiny"))

        assert table.was_there


async def test_a_job_is_not_dispatched_before_its_submission_is_durable(tmp_path: Path) -> None:
    disk = StuckDisk()
    async with open_jobs(tmp_path, JobTable(), disk) as jobs:
        submission = asyncio.create_task(jobs.take_in(write_job(tmp_path / "tiny")))
        async with asyncio.timeout(20):
            await disk.is_asked.wait()
        assert [job.status for job in jobs.table] == [Status.SUBMITTED]
        assert jobs.waiting() == []

        disk.may_write.set()

        job = await submission
        assert jobs.waiting() == [job]


async def test_nothing_is_left_of_a_job_whose_submission_could_not_be_written(tmp_path: Path) -> None:
    disk = StuckDisk(is_full=True)
    disk.may_write.set()
    async with open_jobs(tmp_path, JobTable(), disk) as jobs:
        with pytest.raises(JournalFailed, match="No space left"):
            await jobs.take_in(write_job(tmp_path / "tiny"), request="r")

        assert list(jobs.table) == jobs.waiting() == []
        assert jobs.table.by_request("r") is None
        assert list(jobs.folder("").iterdir()) == []


async def test_nothing_is_left_of_a_job_of_which_no_record_can_be_made(tmp_path: Path) -> None:
    async with open_jobs(tmp_path, JobTable()) as jobs:
        with pytest.raises(OverflowError):
            await jobs.take_in(write_job(tmp_path / "tiny"), request="r", seed=10**30)

        assert list(jobs.table) == jobs.waiting() == []
        assert list(jobs.folder("").iterdir()) == []


async def test_a_job_whose_files_were_changed_is_refused_and_the_first_change_named(tmp_path: Path) -> None:
    async with open_jobs(tmp_path, JobTable()) as jobs:
        job = await jobs.take_in(write_job(tmp_path / "tiny"))
        assert (await jobs.prepare(job)).manifest.sha256 == job.content

        (jobs.folder(job.id) / "app" / "more.txt").touch()

        with pytest.raises(FolderDiffers, match=rf"job {job.id}: its files were changed .*: app/more.txt is additional"):
            await jobs.prepare(job)


@pytest.mark.parametrize("manifest", [b"", b"no manifest", Manifest(()).encode()])
async def test_without_the_manifest_as_it_was_submitted_the_hashes_are_named(tmp_path: Path, manifest: bytes) -> None:
    async with open_jobs(tmp_path, JobTable()) as jobs:
        job = await jobs.take_in(write_job(tmp_path / "tiny"))
        (jobs.folder(job.id) / "meta.json").unlink()
        (jobs.folder("") / f".{job.id}.manifest").write_bytes(manifest)

        with pytest.raises(FolderDiffers, match=f"wanted a manifest with the hash {job.content}, got "):
            await jobs.prepare(job)


async def test_the_files_of_a_deleted_job_are_gone(tmp_path: Path) -> None:
    async with open_jobs(tmp_path, JobTable()) as jobs:
        job = await jobs.take_in(write_job(tmp_path / "tiny"))
        await jobs.change(job.id, Status.ABORTED)

        await jobs.delete(jobs.table.find(job.id), "alice")

        assert list(jobs.folder("").iterdir()) == []


class BrokenDisk(Disk):
    """A disk on which some names cannot be removed."""

    def __init__(self) -> None:
        self.held = ""

    def unlink(self, path: Path) -> None:
        if self.held and self.held in path.name:
            raise PermissionError(errno.EPERM, "Operation not permitted", str(path))
        super().unlink(path)


async def test_leftovers_of_one_job_that_cannot_be_removed_keep_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = BrokenDisk()
    async with open_jobs(tmp_path, JobTable()) as jobs:
        monkeypatch.setattr(jobs, "_disk", disk)
        held, other = [await jobs.take_in(write_job(tmp_path / name)) for name in ("held", "other")]
        for job in (held, other):
            await jobs.change(job.id, Status.ABORTED)
            await jobs.table.delete(job.id, "alice")
        disk.held = held.id

        await jobs.remove_leftovers()

        assert [path.name for path in jobs.folder("").iterdir()] == [f".{held.id}.manifest"]


def put_large_file(place: Path) -> None:
    place.touch()
    os.truncate(place, MAX_REPORT_BYTES + 1)


PUT: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a link": lambda place: place.symlink_to("/dev/zero"),
    "a folder": Path.mkdir,
    "no report": lambda place: place.write_bytes(b"\xff{"),
    "a deep one": lambda place: place.write_bytes(b'{"x":' + b"[" * 100_000),
    "a large one": put_large_file,
}


@pytest.mark.parametrize("put", PUT.values(), ids=list(PUT))
async def test_of_a_job_whose_kept_report_cannot_be_read_the_state_is_told(tmp_path: Path, put: Callable[[Path], object]) -> None:
    async with open_jobs(tmp_path, JobTable()) as jobs:
        job = await jobs.take_in(write_job(tmp_path / "tiny"))
        await jobs.change(job.id, Status.ABORTED, "enough")
        put(Workspace(tmp_path / "server").run(job.id).create().report)

        report = await jobs.next_report(job.id, (None,))

        assert (report.job_id, report.status, report.reason, report.rounds) == (job.id, str(Status.ABORTED), "enough", [])
        assert [fault.code for fault in report.faults] == ["SD-4070"]
