"""Jobs whose processes are no children of their supervisors: a launcher written from the public contract, named by a kit."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from sundog.components.launchers.process import ProcessLauncher
from sundog.kernel.operator_roles import Launcher
from sundog.kits.protocol.answers import JobReport
from sundog.kits.supervisor.kit_parts import KitParts
from sundog.kits.workspace import posix

from ..docs.pages import Page
from .test_processes import ABORTED, COMPLETED, KILL, Federation, Gate, executed, federation_of, trainer

EXAMPLE = Path(__file__).parents[2] / "examples" / "hello-numpy"
SITES = ("site-1", "site-2")


@pytest.fixture
def launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Launcher]:
    """As a kit names it: by path, with its arguments."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    address = str(tmp_path / "host")
    host = subprocess.Popen([sys.executable, Path(__file__).with_name("remote_host.py"), address], stdout=subprocess.PIPE)
    with host:
        assert host.stdout is not None
        assert host.stdout.readline() == b"ready\n"
        yield kit_launcher(path="remote_launcher.RemoteLauncher", args={"host": address})
        host.terminate()


@pytest.fixture
async def federation(tmp_path: Path, launcher: Launcher) -> AsyncIterator[Federation]:
    async with federation_of(tmp_path / "f", *SITES, launcher=launcher) as made:
        yield made


def kit_launcher(**spec: object) -> Launcher:
    """As a participant finds it in its kit."""
    found: Launcher = KitParts([{"id": "launcher", **spec}], "startup/fed_client.json").take(Launcher, "ProcessLauncher")
    return found


async def example_run_by(launcher: Launcher, root: Path) -> JobReport:
    async with federation_of(root / "f", *SITES, launcher=launcher) as made:
        job = await made.server.jobs.take_in(shutil.copytree(EXAMPLE, root / "job"))
        return await made.end(job.id)


async def test_a_job_gives_the_same_model_as_with_processes_of_our_own(tmp_path: Path, launcher: Launcher) -> None:
    remote = await example_run_by(launcher, tmp_path / "remote")
    local = await example_run_by(ProcessLauncher(), tmp_path / "local")

    assert remote.status == local.status == COMPLETED
    assert remote.model_sha256 == local.model_sha256


async def test_what_a_job_prints_is_in_its_log(federation: Federation, tmp_path: Path) -> None:
    job_id = await federation.submit(trainer(tmp_path / "job", "print('hello from', task.step)"))

    assert (await federation.end(job_id)).status == COMPLETED
    text = (federation.root / "site-1" / "runs" / job_id / "log.txt").read_text()
    assert [line for line in text.splitlines() if line.startswith("hello")] == ["hello from 0", "hello from 1"]


async def test_one_that_is_killed_is_started_again_at_the_same_task(federation: Federation, tmp_path: Path) -> None:
    job_id = await federation.submit(trainer(tmp_path / "job", f"if once('killed'): {KILL}"))

    assert (await federation.end(job_id)).status == COMPLETED
    assert [step for step, _ in executed(federation, job_id)] == ["0", "0", "1"]


async def test_an_abort_ends_one_that_does_not_look(federation: Federation, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    job_id = await federation.submit(trainer(tmp_path / "job", f"{gate.code}; signal.pause()"))
    await gate.open()

    await federation.server.abort_job(federation.server.jobs.table.find(job_id), "by alice")

    assert (await federation.end(job_id)).status == ABORTED
    assert federation.server.runs == {}
    await federation.sites["site-1"].close()
    assert [posix.processes_of_run(f"{job_id}/{name}") for name in ("server", "site-1")] == [[], []]


async def test_the_launcher_of_the_page_runs_a_job(tmp_path: Path, operator_module: Callable[[str], None]) -> None:
    (block,) = [block for block in Page("docs/plugins.md").blocks("python") if "class NiceLauncher" in block]
    operator_module(block)

    report = await example_run_by(kit_launcher(path="clinic_plugins.NiceLauncher", args={"by": 5}), tmp_path)

    assert report.status == COMPLETED
