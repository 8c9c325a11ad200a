"""A whole federation in one process: server and sites are the real ones over `inproc://`, only job code runs elsewhere.

The supervisors live on an event loop in a thread of its own; the calling thread runs the job code. So `breakpoint()`,
signals and torch behave in a trainer as they do in a plain script.
"""

from __future__ import annotations

import asyncio
import gc
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from functools import partial
from pathlib import Path

import msgspec

from ...components.resources.unlimited import AlwaysYes
from ...components.schedulers.fifo import FifoScheduler
from ...kernel.context import RunAborted
from ...kernel.errors import CommandLineError
from ...transports.link.refusals import Refused
from ..protocol.answers import JobReport
from ..server.server import Server
from ..site.site import Site
from ..supervisor.means import Means, open_means
from ..workspace.disk import Disk
from ..workspace.folders import Workspace
from ..workspace.job_folder import read_job
from ..workspace.kit import Limits, ServerKit, SiteKit
from ..workspace.log import keep_quiet
from ..workspace.posix import WorkspaceLock
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


class VirtualSiteRefused(CommandLineError):
    """The simulator's own server refuses one of its sites, for good.

    Cause: the message is the server's own; the simulator makes its server with room for all sites, so this is a fault in Sundog.

    Cure: report it with the message.
    """

    code = "SD-7171"


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
        ValueError: the seed is no whole number from 0 to 2**63 - 1.
        KeyboardInterrupt: after Ctrl-C (or SIGTERM, SIGHUP), when the job has been aborted.
    """
    keep_quiet()
    if seed is not None and not (type(seed) is int and 0 <= seed < 2**63):
        raise ValueError(f"seed: wanted a whole number from 0 to 2**63 - 1, got {seed!r:.80}")
    folder = read_job(Path(job))
    names = _site_names(folder.meta.sites, sites)
    reason = folder.meta.waits_for(names)
    if reason:
        raise TooFewVirtualSites(f"the job {reason}", where=str(job))
    with ExitStack() as stack:
        root = Path(workspace if workspace is not None else tempfile.mkdtemp(prefix="sundog-"))
        if workspace is None:
            stack.callback(Disk().rmtree, root)
        return _Simulation(Path(job), root, names, seed, watch).run()


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
    """One simulation: `run` gives the calling thread to the job's code, a second thread carries the supervisors' event loop."""

    def __init__(self, job: Path, root: Path, sites: list[str], seed: int | None, watch: Watcher | None) -> None:
        self._job = job
        self._root = root
        self._sites = sites
        self._seed = seed
        self._watch = watch
        self._report: JobReport | None = None
        self._error: BaseException | None = None
        self._is_over = False
        self._end: Callable[[], object] = lambda: None
        """Has the supervisors end at once, whatever they wait for."""
        self._abort: Callable[[], object] = lambda: None
        """What the first Ctrl-C does: until the job is submitted, the same; from then on it is aborted."""
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
            except BaseException:  # an interrupt too: the supervisors are ended before this thread leaves
                self._give_up()
                self._end()
                raise
            finally:
                supervisors.join()
        if self._interruption.has_come:
            raise KeyboardInterrupt(self._last_words())
        if self._error is not None:
            raise self._error
        if self._report is None:
            raise RuntimeError("the simulation ended without a report")
        return self._report

    def _interrupted(self) -> None:
        self._abort()  # what this does changes as the simulation goes on

    def _last_words(self) -> str:
        if self._report is None:
            return "aborted by you, before the job had started"
        rounds = len(self._report.rounds)
        return f"aborted by you: {self._report.name} is {self._report.status} after {rounds} round{'' if rounds == 1 else 's'}"

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

    # --- the supervisors' thread ----------------------------------------------------------------------------------

    async def _federate(self) -> None:
        loop, this = asyncio.get_running_loop(), asyncio.current_task()
        if this is not None:
            self._end = self._abort = partial(call_on, loop, this.cancel)
        launcher = InprocLauncher(self._main)
        self._give_up = launcher.give_up
        async with AsyncExitStack() as stack:
            server_folder = self._workspace("server")
            stack.enter_context(WorkspaceLock(server_folder.lock))  # one for all: two simulations in one folder have one server's
            means = await stack.enter_async_context(open_means(near={}))  # one writer thread for all
            address = f"inproc://simulation-{id(self)}"
            # durability: a simulation never goes on, it begins anew
            kit = ServerKit(project=PROJECT, listen=address, admin_listen=address, durability="none", limits=_limits_for(len(self._sites)))
            server = Server(server_folder, kit, means, launcher=launcher, scheduler=FifoScheduler())
            await stack.enter_async_context(server)
            sites = [self._site(name, address, means, launcher) for name in self._sites]
            stack.push_async_callback(_close_all, sites)
            await self._wait_for(sites, server)
            stack.enter_context(_not_collected())
            self._report = await self._run_job(server)

    def _site(self, name: str, address: str, means: Means, launcher: InprocLauncher) -> Site:
        kit = SiteKit(project=PROJECT, name=name, endpoints=[address])
        return Site(self._workspace(name), kit, means, launcher=launcher, resources=AlwaysYes())

    async def _wait_for(self, sites: list[Site], server: Server) -> None:
        """Start the sites and wait until all are linked.

        Raises:
            VirtualSiteRefused: the server refuses one for good.
        """
        refused: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def give_up(site: Site, error: Refused) -> None:
            if not refused.done():
                refused.set_exception(VirtualSiteRefused(f"the server refuses {site.kit.name}: {error.what}", where=error.where))

        for site in sites:
            site.on_refused = partial(give_up, site)
            await site.start()
        linked = asyncio.ensure_future(server.wait_for_sites(len(sites)))
        try:
            await asyncio.wait((linked, refused), return_when=asyncio.FIRST_COMPLETED)
            if refused.done():
                await refused
        finally:
            linked.cancel()
            refused.cancel()

    async def _run_job(self, server: Server) -> JobReport:
        copy = server.workspace.jobs / ".simulated" / self._job.resolve().name
        await asyncio.to_thread(_copy_job, self._job, copy)
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


@contextmanager
def _not_collected() -> Iterator[None]:
    """Leave what is there out of garbage collections: it stays to the end, and with many sites each full one takes half a second."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _limits_for(sites: int) -> Limits:
    """A server's limits, with room for all virtual sites."""
    return Limits(max_sites=max(Limits().max_sites, sites))


def _copy_job(job: Path, copy: Path) -> None:
    Disk().rmtree(copy)
    shutil.copytree(job, copy, ignore=shutil.ignore_patterns("__pycache__"))


async def _close_all(sites: list[Site]) -> None:
    """Side by side: each waits for its peer and for the writer."""
    async with asyncio.TaskGroup() as tasks:
        for site in sites:
            tasks.create_task(site.close())
