"""What does the server know of its jobs?"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from sundog.kits.server.jobs import Jobs
from sundog.kits.workspace.folders import Workspace
from sundog.kits.workspace.job_state import Job, JobTable
from sundog.kits.workspace.journal import Journal
from sundog.kits.workspace.kit import ServerKit
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


async def test_a_jobs_folder_is_in_place_before_the_job_can_be_dispatched(tmp_path: Path) -> None:
    (tmp_path / "server" / "startup").mkdir(parents=True)
    workspace = Workspace(tmp_path / "server").create().create_shared()
    kit = ServerKit(project="test", listen="inproc://jobs", admin_listen="inproc://jobs")
    async with Writer() as writer:
        table = WatchedTable().open(Journal(workspace.project_journal, writer))
        table.jobs = workspace.jobs
        jobs = Jobs(workspace, kit, table, {})

        await jobs.take_in(write_job(workspace.transfer / "tiny"))

        assert table.was_there
        await jobs.close()
