"""Locks, the death of parents and children, and what the system knows of processes."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sundog.kits.workspace import posix
from sundog.kits.workspace.posix import WorkspaceInUse, WorkspaceLock

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="prctl and /proc are Linux's")


def python(code: str, **environment: str) -> subprocess.Popen[str]:
    """A child that runs some code and says `ready` when it is where the test wants it."""
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


HOLD = """
import sys
from pathlib import Path
from sundog.kits.workspace.posix import WorkspaceLock
WorkspaceLock(Path({path!r})).acquire()
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds tmp_path/lock."""
    process = python(HOLD.format(path=str(tmp_path / "lock")))
    assert line(process) == "ready"
    yield process
    end(process)


def test_a_second_process_is_refused_and_told_the_pid_of_the_first(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    """T008."""
    with pytest.raises(WorkspaceInUse, match=f"process {holder.pid} is at work here"):
        WorkspaceLock(tmp_path / "lock").acquire()


def test_after_kill_9_the_lock_is_free_and_nothing_has_to_be_deleted(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    """T008."""
    end(holder)

    with WorkspaceLock(tmp_path / "lock"):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


STARTED = (
    "print(subprocess.Popen([sys.executable, '-c', 'import sys; sys.stdin.read()'], stdin=0, stdout=subprocess.DEVNULL).pid, flush=True)"
)
FORKED = "if not os.fork(): print(os.getpid(), flush=True); signal.pause()"


@pytest.mark.parametrize("child_of", [STARTED, FORKED], ids=["started", "forked"])
def test_a_child_does_not_keep_the_lock_of_its_dead_parent(tmp_path: Path, child_of: str) -> None:
    """Job code may start programs, and a simulator's may fork; what stays behind is in nobody's way."""
    parent = python(
        "import os, signal, subprocess, sys; from pathlib import Path; from sundog.kits.workspace.posix import WorkspaceLock\n"
        f"lock = WorkspaceLock(Path({str(tmp_path / 'lock')!r})); lock.acquire()\n"
        f"{child_of}\n"
        "sys.stdin.read()"
    )
    child = int(line(parent))
    with pytest.raises(WorkspaceInUse):
        WorkspaceLock(tmp_path / "lock").acquire()
    parent.kill()
    parent.wait()

    with WorkspaceLock(tmp_path / "lock"):
        os.kill(child, 0)  # still there

    os.kill(child, signal.SIGKILL)
    parent.communicate()


def test_two_locks_in_one_process_exclude_each_other_and_release_twice_is_fine(tmp_path: Path) -> None:
    first, second = WorkspaceLock(tmp_path / "lock"), WorkspaceLock(tmp_path / "lock")
    first.acquire()

    with pytest.raises(WorkspaceInUse, match=f"process {os.getpid()} "):
        second.acquire()
    first.release()
    first.release()
    second.acquire()
    second.release()


CHAIN = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", '''
import os, sys
from sundog.kits.workspace.posix import die_with_parent
die_with_parent(int(sys.argv[1]))
print(os.getpid(), flush=True)
sys.stdin.read()
''', str(os.getpid())], stdin=0)
child.wait()
"""


@linux_only
async def test_a_child_dies_with_its_killed_parent_at_any_moment() -> None:
    """T062."""
    rng = random.Random(62)
    for _ in range(3):
        parent = python(CHAIN)
        child = int(line(parent))
        for _ in range(rng.randrange(1000)):
            os.getpid()  # a moment, seeded
        parent.kill()
        await posix.wait_for_pid_end(child, 30)
        parent.communicate()


@linux_only
def test_a_child_whose_parent_is_gone_before_it_looks_ends_itself() -> None:
    child = python("from sundog.kits.workspace.posix import die_with_parent; die_with_parent(1234567); print('alive')")

    assert child.communicate()[0] == ""
    assert child.returncode != 0


def test_every_process_of_a_run_is_found_grandchildren_too() -> None:
    leaf = "import os, sys; print(os.getpid(), flush=True); sys.stdin.read()"
    run = f"run-62-{os.getpid()}"  # others may run the same tests beside these
    parent = python(f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {leaf!r}]); {leaf}", SUNDOG_RUN=run)
    pids = {int(line(parent)), int(line(parent))}

    found = posix.processes_of_run(run)

    assert set(found) == pids
    assert posix.processes_of_run(run[:-1]) == []
    for pid in found:
        posix.signal_process(pid, signal.SIGKILL)
    parent.communicate()


async def test_the_end_of_a_foreign_process_is_an_event_and_its_deadline_counts() -> None:
    process = python("import sys; sys.stdin.read()")
    with pytest.raises(TimeoutError):
        await posix.wait_for_pid_end(process.pid, 0.01)

    waiting = asyncio.create_task(posix.wait_for_pid_end(process.pid, 30))
    process.kill()
    await waiting
    process.communicate()

    await posix.wait_for_pid_end(process.pid, 0.01)  # gone already


@linux_only
def test_a_subreaper_inherits_orphans_and_buries_them_but_no_child_of_its_own() -> None:
    """The orphan's first parent must not be one that buries what has ended already, as subprocess does."""
    code = """
import os, subprocess, sys
from sundog.kits.workspace import posix
posix.become_subreaper()
nested = "import os, sys; print(os.posix_spawn(sys.executable, [sys.executable, '-c', ''], os.environ), flush=True)"
own = subprocess.Popen([sys.executable, "-c", ""])
orphan = int(subprocess.run([sys.executable, "-c", nested], capture_output=True, check=True).stdout)
for pid in (own.pid, orphan):
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
print(posix.reap_adopted({own.pid}) == [orphan], own.wait())
"""
    process = python(code)

    assert process.communicate()[0] == "True 0\n"


def test_signals_to_who_is_gone_do_nothing() -> None:
    process = python("")
    process.communicate()

    posix.signal_process(process.pid, signal.SIGKILL)


def test_thread_counts_are_set_for_every_library() -> None:
    assert posix.thread_environment(2)["OMP_NUM_THREADS"] == "2"
    assert set(posix.thread_environment(1).values()) == {"1"}
