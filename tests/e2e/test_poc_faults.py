"""Ctrl-C and kill -9 at any moment: what is left of a federation? Moments are seeded; `make campaign` tries more of them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from sundog import Session
from sundog.kits.poc.federation import Federation
from sundog.kits.supervisor.interrupts import Interrupts
from sundog.kits.workspace.posix import lock_holder

ROOT = Path(__file__).resolve().parents[2]
INTERRUPTED = 130
END_SECONDS = 60.0
WAITS_FOR_EVER = """
import threading

from sundog import Executor


class Sleeper(Executor):
    def execute(self, task, ctx):
        while not ctx.abort:
            threading.Event().wait(0.1)
        raise RuntimeError("aborted")
"""


DEAF = """
from sundog import Executor


class Sleeper(Executor):
    def execute(self, task, ctx):
        print('working', flush=True)
        while True:
            pass
"""


def moments(count: int, most_seconds: float, *, seed: int) -> list[Any]:
    """Seeded moments; the first few are tried each time, the others by the campaign."""
    generator = random.Random(seed)
    drawn = [round(generator.uniform(0.05, most_seconds), 2) for _ in range(count)]
    return [pytest.param(moment, marks=[] if index < 3 else pytest.mark.campaign) for index, moment in enumerate(drawn)]


READY = "import runpy; print(flush=True); runpy.run_module('sundog.kits.cli', run_name='__main__', alter_sys=True)"
"""`python -m sundog.kits.cli`, with an empty line before it: an interrupt while Python makes itself ready has ends of its own."""


def interrupted(marked: Any, moment: float, *arguments: str | Path) -> None:
    """Start the program and give it Ctrl-C after so many seconds; how it ends is looked at here."""
    process = marked.popen(sys.executable, "-P", "-c", READY, *arguments)
    process.stdout.readline()
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=END_SECONDS)
    assert process.returncode in (0, INTERRUPTED, -signal.SIGINT), out + err  # the last: before there was anything to undo
    assert "Traceback" not in err or process.returncode == -signal.SIGINT, err


def program(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-P", "-m", "sundog.kits.cli", *map(str, arguments)]


@pytest.mark.parametrize("moment", moments(20, 8.0, seed=1))
def test_an_interrupted_demo_leaves_nothing_running(marked: Any, tmp_path: Path, nothing_left: Any, moment: float) -> None:
    interrupted(marked, moment, "demo", "-w", tmp_path / "demo")

    nothing_left(tmp_path / "demo")


@pytest.mark.parametrize("moment", moments(20, 3.0, seed=2))
def test_an_interrupted_poc_up_leaves_nothing_running(marked: Any, poc: Path, nothing_left: Any, moment: float) -> None:
    interrupted(marked, moment, "poc", "up", "-w", poc)

    nothing_left(poc)


@pytest.mark.parametrize("moment", moments(20, 6.0, seed=3))
def test_an_interrupted_simulation_ends(marked: Any, tmp_path: Path, nothing_left: Any, moment: float) -> None:
    interrupted(marked, moment, "simulate", ROOT / "examples" / "hello-pt-tb", "-w", tmp_path / "w")

    nothing_left(tmp_path / "w")


def test_a_simulation_ends_although_its_code_does_not_look_at_the_abort(marked: Any, tmp_path: Path) -> None:
    job = sleeping_job(tmp_path, DEAF)
    process = marked.popen(*program("simulate", job, "-w", tmp_path / "w"))
    assert process.stdout is not None
    while "working" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)

    process.communicate(timeout=END_SECONDS)

    assert process.returncode == INTERRUPTED


OUTLIVES = """
import threading

from sundog import Executor
from sundog.kernel.context import RunAborted


class Sleeper(Executor):
    def execute(self, task, ctx):
        print('working', flush=True)
        is_alone = False
        while not is_alone:
            try:
                threading.Event().wait(0.05)
                is_alone = 'supervisors' not in [thread.name for thread in threading.enumerate()]
            except RunAborted:
                pass
        ctx.metrics.add_scalar('loss', 1.0)
        return task.model
"""


def test_what_code_says_that_outlives_its_simulation_is_not_heard(marked: Any, tmp_path: Path) -> None:
    """It is left behind after the ladder, yet goes on in the same process; then Ctrl-C ends that as it ends all others."""
    process = marked.popen(*program("simulate", sleeping_job(tmp_path, OUTLIVES), "-w", tmp_path / "w"))
    assert process.stdout is not None
    while "working" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)

    _, err = process.communicate(timeout=END_SECONDS)

    assert process.returncode == INTERRUPTED, err


def sleeping_job(folder: Path, code: str) -> Path:
    """hello-numpy with another trainer."""
    job = folder / "sleeping"
    (job / "config").mkdir(parents=True)
    (job / "custom").mkdir()
    (job / "custom" / "sleeper.py").write_text(code)
    server = (ROOT / "examples" / "hello-numpy" / "app" / "config" / "config_fed_server.json").read_text()
    (job / "config" / "config_fed_server.json").write_text(server)
    client = '{"executors": [{"tasks": ["*"], "executor": {"path": "sleeper.Sleeper"}}]}'
    (job / "config" / "config_fed_client.json").write_text(client)
    return job


VICTIMS = [(random.Random(seed).choice(["server", "site-1"]), round(random.Random(seed).uniform(0.0, 1.5), 2)) for seed in range(10)]


@pytest.mark.parametrize(("victim", "moment"), VICTIMS)
def test_a_killed_supervisor_takes_its_children_with_it(poc: Path, tmp_path: Path, victim: str, moment: float) -> None:
    """T062: ten seeded moments of a job's life, from before its processes start until they work."""
    job = sleeping_job(tmp_path, WAITS_FOR_EVER)
    with Interrupts() as interrupts, Federation(poc, interrupts) as federation:
        federation.start()
        with Session(poc / "admin") as session:
            federation.wait_registered(session)
            session.submit_job(job)
            session.wait_until_server_status(moment, lambda _: False)  # let so much time pass

            supervisor = psutil.Process(lock_holder(poc / victim / "state" / "lock"))
            supervisor.suspend()  # so that no child is born behind our back
            children = supervisor.children(recursive=True)
            supervisor.kill()
            _, alive = psutil.wait_procs(children, timeout=30)

    assert alive == []


def test_a_killed_poc_up_takes_all_with_it(marked: Any, poc: Path, nothing_left: Any) -> None:
    process = marked.popen(*program("poc", "up", "-w", poc))
    assert process.stderr is not None
    assert "are at work" in process.stderr.readline()

    process.kill()
    process.communicate()

    nothing_left(poc)


def test_poc_up_ends_when_a_participant_ends(marked: Any, poc: Path, nothing_left: Any) -> None:
    process = marked.popen(*program("poc", "up", "-w", poc))
    assert process.stderr is not None
    assert "are at work" in process.stderr.readline()

    psutil.Process(lock_holder(poc / "site-2" / "state" / "lock")).kill()
    _, err = process.communicate(timeout=END_SECONDS)

    assert process.returncode == 1
    assert "[SD-7015] site-2 has ended" in err
    nothing_left(poc)


def test_a_second_signal_has_the_job_processes_killed_at_once(poc: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "working")
    says_so = f"if ctx.site == 'site-1': open({str(tmp_path / 'working')!r}, 'w').close()"
    job = sleeping_job(tmp_path, DEAF.replace("print('working', flush=True)", says_so))
    with Interrupts() as interrupts, Federation(poc, interrupts) as federation:
        federation.start()
        with Session(poc / "admin") as session:
            federation.wait_registered(session)
            session.submit_job(job)
            (tmp_path / "working").read_bytes()  # waits for somebody who writes
        site = psutil.Process(lock_holder(poc / "site-1" / "state" / "lock"))
        site.send_signal(signal.SIGTERM)
        site.send_signal(signal.SIGINT)
        psutil.wait_procs([site], timeout=20)

    log = (poc / "site-1" / "log.txt").read_text()
    assert "hurrying" in log
    assert 'how="killed by signal 9 (SIGKILL)"' in log
    assert log.endswith("stopped site=site-1\n")
    assert (poc / "site-1" / "log.txt").stat().st_mode & 0o077 == 0
