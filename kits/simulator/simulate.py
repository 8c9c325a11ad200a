"""A whole federation in one process: server and sites are the real ones over `inproc://`, only job code runs elsewhere.

The supervisors live on an event loop in a thread of its own; the calling thread runs the job code. So `breakpoint()`,
signals and torch behave in a trainer as they do in a plain script.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from pathlib import Path

import msgspec

from ...components.resources.unlimited import AlwaysYes
from ...components.schedulers.fifo import FifoScheduler
from ...kernel.context import RunAborted
from ...kernel.errors import CommandLineError
from ..protocol.answers import JobReport
from ..server.server import Server
from ..site.site import Site
from ..supervisor.means import open_means
from ..workspace.folders import Workspace
from ..workspace.job_folder import read_job
from ..workspace.kit import ServerKit, SiteKit
from ..workspace.log import keep_quiet
from .inproc_launcher import InprocLauncher, MainThread, call_on
from .interruption import Interruption

PROJECT = "simulation"
Watcher = Callable[[JobReport], None]


class TooFewVirtualSites(CommandLineError):
    """The simulator was asked for fewer sites than the job needs.

    Cause: deploy_map, min_clients or mandatory_clients want more than `-n` gives.

    Cure: give more sites with -n, or name them.
    """

    code = "SD-7101"


def simulate(
    job: str | Path,
    *,
    sites: int | Sequence[str] = 2,
    workspace: str | Path | None = None,
    seed: int | None = None,
    watch: Watcher | None = None,
) -> JobReport:
    """Run a job with virtual sites and give its report. Call it from the main thread.

    Args:
        job: the job's folder, as it would be submitted.
        sites: how many (named site-1, site-2, …; those a deploy_map names come first), or their names.
        workspace: where server/ and the sites' folders are made; default: a temporary folder, gone afterwards.
        seed: instead of the one in meta.json.
        watch: called on the loop's thread with the report whenever it says more.

    Raises:
        JobRefused, NoJob: the folder is no valid job.
        KeyboardInterrupt: after Ctrl-C (or SIGTERM, SIGHUP), when the job has been aborted.
    """
    keep_quiet()
    folder = read_job(Path(job))
    names = _site_names(folder.meta.sites, sites)
    reason = folder.meta.waits_for(names)
    if reason:
        raise TooFewVirtualSites(f"the job {reason}", where=str(job))
    with ExitStack() as stack:
        root = workspace if workspace is not None else stack.enter_context(tempfile.TemporaryDirectory(prefix="sundog-"))
        return _Simulation(Path(job), Path(root), names, seed, watch).run()


def _site_names(named: tuple[str, ...] | None, wanted: int | Sequence[str]) -> list[str]:
    if not isinstance(wanted, int):
        return sorted(wanted)
    names = list(named or ())
    number = 1
    while len(names) < wanted:
        if f"site-{number}" not in names:
            names.append(f"site-{number}")
        number += 1
    return names


class _Simulation:
    def __init__(self, job: Path, root: Path, sites: list[str], seed: int | None, watch: Watcher | None) -> None:
        self._job = job
        self._root = root
        self._sites = sites
        self._seed = seed
        self._watch = watch
        self._report: JobReport
        self._error: BaseException | None = None
        self._is_over = False
        self._abort: Callable[[], object] = lambda: None
        self._give_up: Callable[[], object] = lambda: None
        self._interruption = Interruption(self._interrupted)
        self._main = MainThread(self._interruption.strike)

    def run(self) -> JobReport:
        """The job code runs in here, on the calling thread."""
        with self._interruption:
            supervisors = threading.Thread(target=self._supervise, name="supervisors")
            supervisors.start()
            try:
                self._pump()
            except BaseException:
                self._abort()
                self._give_up()
                raise
            finally:
                supervisors.join()
        if self._interruption.has_come:
            raise KeyboardInterrupt
        if self._error is not None:
            raise self._error
        return self._report

    def _interrupted(self) -> None:
        self._abort()  # what this does changes as the simulation goes on

    def _pump(self) -> None:
        while not self._is_over:
            try:
                self._main.mailbox.pump()
            except RunAborted:  # it hit where one piece of job code ended and the next had not begun
                continue

    def _supervise(self) -> None:
        try:
            asyncio.run(self._federate())
        except BaseException as exc:  # noqa: BLE001  # whatever it is, the calling thread raises it
            self._error = exc
        self._main.mailbox.post(self._leave)

    def _leave(self) -> None:
        self._is_over = True

    async def _federate(self) -> None:
        launcher = InprocLauncher(self._main)
        self._give_up = launcher.give_up
        address = f"inproc://simulation-{id(self)}"
        async with AsyncExitStack() as stack:
            means = await stack.enter_async_context(open_means(near={}))  # one writer thread for all
            kit = ServerKit(project=PROJECT, listen=address, admin_listen=address, durability="none")  # it never goes on: it begins anew
            server = Server(self._workspace("server"), kit, means, launcher=launcher, scheduler=FifoScheduler())
            await stack.enter_async_context(server)
            for name in self._sites:
                site_kit = SiteKit(project=PROJECT, name=name, endpoints=[address])
                site = Site(self._workspace(name), site_kit, means, launcher=launcher, resources=AlwaysYes())
                await stack.enter_async_context(site)
            await server.wait_for_sites(len(self._sites))
            self._report = await self._run_job(server)

    async def _run_job(self, server: Server) -> JobReport:
        copy = self._root / "server" / "transfer" / self._job.resolve().name
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self._job, copy, ignore=shutil.ignore_patterns("__pycache__"))
        job = await server.jobs.take_in(copy, seed=self._seed)
        loop = asyncio.get_running_loop()
        self._abort = partial(call_on, loop, server.start_abort, job.id, "interrupted")
        if self._interruption.has_come:  # before there was anything to abort
            self._abort()
        seen: tuple[str, int] = ("", 0)
        while True:
            report = await server.jobs.next_report(job.id, seen)
            seen = (report.status, len(report.rounds))
            if self._watch is not None:
                self._watch(report)
            if report.is_end:
                path = server.workspace.run(job.id).root / report.model_path if report.model_path else ""
                return msgspec.structs.replace(report, model_path=str(path))

    def _workspace(self, name: str) -> Workspace:
        root = self._root / name
        (root / "startup").mkdir(parents=True, exist_ok=True)
        return Workspace(root).create()
