"""Two faults a job, at seeded places of its protocol, on each wire: then all is as if nothing had been. `make campaign` tries more."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from sundog.kits.protocol.answers import JobReport
from sundog.kits.server.run_program import ServerRunProgram
from sundog.kits.site.run_program import SiteRunProgram
from sundog.kits.workspace import posix

from ..faults.proxy import Proxy, proxy_to
from .jobs import JobFolder, custom, executor, training
from .test_processes import COMPLETED, Federation

SITES = ("site-1", "site-2")
PARTICIPANTS = ("server", *SITES)
WIRES = ("tcp", "zmq", "grpc")
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP)
PAUSE_SECONDS = 0.3
"""How long a process is stopped, or a wire silent."""
SAMPLE = 3
CODE = """
import numpy as np
from sundog import Executor, Persistor, Shareable

SIZE = 30_000

class Zeros(Persistor):
    def load(self):
        return Shareable("WEIGHTS", {"w": np.zeros(SIZE, "float32")})

    def save(self, model): ...

class Trainer(Executor):
    "What it makes depends on the model, on its state and on the dice; all are larger than a message."
    def execute(self, task, ctx):
        ctx.metrics.add_scalar(task.name, float(task.step))
        if task.name == "validate":
            mean = float(np.mean(task.model.tensors["w"]))
            return Shareable("METRICS", meta={"metrics": {"mean": mean}, "num_examples": 1})
        if task.name == "train":
            before = ctx.state.tensors["m"] if ctx.state is not None else np.zeros(SIZE, "float32")
            momentum = (0.5 * before + ctx.rng.standard_normal(SIZE)).astype("float32")
            ctx.state = Shareable("WEIGHTS", {"m": momentum})
            return Shareable("WEIGHTS", {"w": task.model.tensors["w"] + momentum}, {"num_examples": int(ctx.site[-1])})
        return Shareable("WEIGHTS", {"w": ctx.state.tensors["m"]}, {"num_examples": 1})
"""


def job(root: Path) -> JobFolder:
    """Training, every model at every site, training."""
    workflows = [training(3), {"id": "matrix", "name": "CrossSiteModelEval"}, {**training(2), "id": "again"}]
    made = JobFolder(root, workflows, [executor(custom("Trainer"), "*")], code=CODE)
    others = [part for part in made.server["components"] if part["id"] != "persistor"]
    made.server["components"] = [{"id": "persistor", **custom("Zeros")}, *others]
    return made


@dataclass
class Faults:
    """Counts what happens to the run, at the server and at the sites, and does what is planned for the n-th time."""

    plan: dict[int, Callable[[], object]]
    count: int = 0

    def watch(self, patch: pytest.MonkeyPatch) -> None:
        for kind in (ServerRunProgram, SiteRunProgram):
            patch.setattr(kind, "feed", self._counted(kind.feed))

    def _counted(self, feed: Callable[..., None]) -> Callable[..., None]:
        def counted(*arguments: object) -> None:
            feed(*arguments)
            self.count += 1
            if (act := self.plan.pop(self.count, None)) is not None:
                asyncio.get_running_loop().call_soon(act)

        return counted


@dataclass
class Tried:
    """A job that is over."""

    report: JobReport
    events: int


async def tried(root: Path, patch: pytest.MonkeyPatch, wire: str, seed: int | None = None, events: int = 0) -> Tried:
    """Run the job; with a seed, with two faults. What must be so after it, whatever happened, is looked at here."""
    async with AsyncExitStack() as stack:
        federation = Federation(root, stack, listen=f"{wire}://127.0.0.1:0")
        await federation.start()
        target = urlsplit(federation.server.addresses[0])
        proxy = await stack.enter_async_context(proxy_to("127.0.0.1", target.port or 0))
        federation.dialled = f"{wire}://127.0.0.1:{proxy.port}"
        for site in SITES:
            await federation.add(site)
        await federation.server.wait_for_sites(len(SITES))
        faults = Faults(planned(federation, proxy, random.Random(seed), events) if seed is not None else {})
        with patch.context() as watching:
            faults.watch(watching)
            job_id = await federation.submit(job(root / "job"))
            report = await federation.end(job_id)
            async with asyncio.timeout(30):  # for the sites to hear of the end
                await asyncio.gather(*(run.ended.wait() for site in federation.sites.values() for run in list(site.runs.values())))
        look(federation, job_id)
        return Tried(report, faults.count)


def look(federation: Federation, job_id: str) -> None:
    """No process is left, no file is offered, and the server has the metrics of the sites, byte for byte."""
    assert [posix.processes_of_run(f"{job_id}/{name}") for name in PARTICIPANTS] == [[], [], []]
    for site in SITES:
        for link in (federation.sites[site].link, federation.server.acceptor.find("site", site)):
            assert "0 offers, 0 out" in repr(link)
        own = (federation.root / site / "runs" / job_id / "metrics.jsonl").read_bytes()
        assert (federation.root / "server" / "runs" / job_id / "metrics" / f"{site}.jsonl").read_bytes() == own


def planned(federation: Federation, proxy: Proxy, dice: random.Random, events: int) -> dict[int, Callable[[], object]]:
    """Two faults, each at one of the events that an undisturbed run has."""
    kinds: list[Callable[[], object]] = [
        *(lambda who=who, number=number: strike(federation, who, number) for who in PARTICIPANTS for number in SIGNALS),
        proxy.cut,
        lambda: silence(proxy),
    ]
    return {dice.randint(1, events): dice.choice(kinds) for _ in range(2)}


def strike(federation: Federation, participant: str, number: signal.Signals) -> None:
    """Send a signal to the participant's job process, if there is one now."""
    for run in (federation.server if participant == "server" else federation.sites[participant]).runs.values():
        if run._process is not None and run._process.pid:
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(run._process.pid)
                process.send_signal(number)
                if number is signal.SIGSTOP:
                    asyncio.get_running_loop().call_later(PAUSE_SECONDS, go_on, process)


def go_on(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.Error):
        process.resume()


def silence(proxy: Proxy) -> None:
    proxy.freeze()
    asyncio.get_running_loop().call_later(PAUSE_SECONDS, proxy.thaw)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Tried:
    with pytest.MonkeyPatch.context() as patch:
        return asyncio.run(tried(tmp_path_factory.mktemp("undisturbed"), patch, "tcp"))


@pytest.mark.parametrize("seed", [pytest.param(n, marks=[] if n < SAMPLE else pytest.mark.campaign) for n in range(120)])
async def test_two_faults_change_nothing(seed: int, undisturbed: Tried, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PROTOCOL §6, §8: each task that died is done again from the same state, each result counts once, no metric is lost."""
    report = (await tried(tmp_path, monkeypatch, WIRES[seed % len(WIRES)], seed, undisturbed.events)).report

    assert report.status == COMPLETED, report
    assert report.model_sha256 == undisturbed.report.model_sha256
    assert [(r.workflow, r.round, r.used) for r in report.rounds] == [(r.workflow, r.round, r.used) for r in undisturbed.report.rounds]
