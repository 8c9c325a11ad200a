"""Faults at seeded places of a job's protocol, on each wire: then all is as if nothing had been. `make campaign` tries more."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from sundog.kits.protocol.answers import JobReport
from sundog.kits.server.run_program import ServerRunProgram
from sundog.kits.simulator.simulate import simulate
from sundog.kits.site.run_program import SiteRunProgram
from sundog.kits.workspace import posix

from ..faults.proxy import Proxy, proxy_to
from .exact import COMMITS, exact_job, left_in
from .test_processes import COMPLETED, Federation

SITES = ("site-1", "site-2")
PARTICIPANTS = ("server", *SITES)
WIRES = ("tcp", "zmq", "grpc")
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP)
PAUSE_SECONDS = 0.3
"""How long a process is stopped, or a wire silent."""
SAMPLE = 3


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
    files: dict[str, str]
    events: int = 0

    @property
    def outcome(self) -> Any:
        """All that a death must not change."""
        rounds = [(r.workflow, r.round, r.used, r.own_metrics, r.metrics, r.notes) for r in self.report.rounds]
        return self.report.status, self.report.model_sha256, self.report.faults, rounds, self.files


Plan = Callable[[Federation, Proxy], dict[int, Callable[[], object]]]


def nothing(_federation: Federation, _proxy: Proxy) -> dict[int, Callable[[], object]]:
    return {}


async def tried(root: Path, patch: pytest.MonkeyPatch, wire: str, plan: Plan = nothing, die_at: int = 0) -> Tried:
    """Run the job with the faults that are planned. What must be so after it, whatever happened, is looked at here."""
    async with AsyncExitStack() as stack:
        federation = Federation(root, stack, listen=f"{wire}://127.0.0.1:0")
        await federation.start()
        target = urlsplit(federation.server.addresses[0])
        proxy = await stack.enter_async_context(proxy_to("127.0.0.1", target.port or 0))
        federation.dialled = f"{wire}://127.0.0.1:{proxy.port}"
        for site in SITES:
            await federation.add(site)
        await federation.server.wait_for_sites(len(SITES))
        faults = Faults(plan(federation, proxy))
        with patch.context() as watching:
            faults.watch(watching)
            job_id = await federation.submit(exact_job(root / "job", die_at))
            report = await federation.end(job_id)
            async with asyncio.timeout(30):  # for the sites to hear of the end
                await asyncio.gather(*(run.ended.wait() for site in federation.sites.values() for run in list(site.runs.values())))
        look(federation, job_id)
        return Tried(report, left_in(root / "server" / "runs" / job_id), faults.count)


def look(federation: Federation, job_id: str) -> None:
    """No process is left, no file is offered, and the server has the metrics of the sites, byte for byte."""
    assert [posix.processes_of_run(f"{job_id}/{name}") for name in PARTICIPANTS] == [[], [], []]
    for site in SITES:
        for link in (federation.sites[site].link, federation.server.acceptor.find("site", site)):
            assert "0 offers, 0 out" in repr(link)
        own = (federation.root / site / "runs" / job_id / "metrics.jsonl").read_bytes()
        assert (federation.root / "server" / "runs" / job_id / "metrics" / f"{site}.jsonl").read_bytes() == own


def two_faults(seed: int, events: int) -> Plan:
    """Each at one of the events that an undisturbed run has."""

    def plan(federation: Federation, proxy: Proxy) -> dict[int, Callable[[], object]]:
        dice = random.Random(seed)
        kinds: list[Callable[[], object]] = [
            *(lambda who=who, number=number: strike(federation, who, number) for who in PARTICIPANTS for number in SIGNALS),
            proxy.cut,
            lambda: silence(proxy),
        ]
        return {dice.randint(1, events): dice.choice(kinds) for _ in range(2)}

    return plan


def one_kill(seed: int, events: int, side: str) -> Plan:
    """Of the server's job process, or of a site's."""

    def plan(federation: Federation, _proxy: Proxy) -> dict[int, Callable[[], object]]:
        dice = random.Random(f"{side} {seed}")
        who = "server" if side == "server" else dice.choice(SITES)
        return {dice.randint(1, events): lambda: strike(federation, who, signal.SIGKILL)}

    return plan


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


def sampled(count: int, sample: int) -> list[Any]:
    """Seeds, all but the first few for the campaign only."""
    return [pytest.param(n, marks=[] if n < sample else pytest.mark.campaign) for n in range(count)]


@pytest.mark.parametrize("seed", sampled(120, SAMPLE))
async def test_two_faults_change_nothing(seed: int, undisturbed: Tried, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PROTOCOL §6, §8: each task that died is done again from the same state, each result counts once, no metric is lost."""
    disturbed = await tried(tmp_path, monkeypatch, WIRES[seed % len(WIRES)], two_faults(seed, undisturbed.events))

    assert disturbed.outcome == undisturbed.outcome


@pytest.mark.parametrize("side", ["server", "site"])
@pytest.mark.parametrize("seed", sampled(20, 2))
async def test_a_kill_of_a_job_process_changes_nothing(
    seed: int, side: str, undisturbed: Tried, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disturbed = await tried(tmp_path, monkeypatch, WIRES[seed % len(WIRES)], one_kill(seed, undisturbed.events, side))

    assert disturbed.outcome == undisturbed.outcome


@pytest.mark.parametrize("die_at", [n if n in (2, 5) else pytest.param(n, marks=pytest.mark.campaign) for n in range(1, COMMITS + 1)])
async def test_a_death_between_what_components_save_and_the_commit_changes_no_file(
    die_at: int, undisturbed: Tried, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disturbed = await tried(tmp_path, monkeypatch, "tcp", die_at=die_at)

    assert list(tmp_path.glob("server/runs/*/died"))
    assert disturbed.outcome == undisturbed.outcome


@pytest.mark.parametrize("wire", ["zmq", "grpc"])
async def test_each_wire_gives_the_same(wire: str, undisturbed: Tried, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await tried(tmp_path, monkeypatch, wire)).outcome == undisturbed.outcome


def test_the_simulator_gives_the_same(undisturbed: Tried, tmp_path: Path) -> None:
    report = simulate(exact_job(tmp_path / "job"), sites=SITES, workspace=tmp_path / "w")

    assert undisturbed.report.status == COMPLETED
    assert Tried(report, left_in(tmp_path / "w" / "server" / "runs" / report.job_id)).outcome == undisturbed.outcome
