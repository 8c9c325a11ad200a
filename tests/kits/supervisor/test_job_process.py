"""Real job processes, seen from their supervisor: what they say, how they end, and what is left of them: nothing."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from sundog.components.launchers.process import ProcessLauncher
from sundog.kernel.errors import Failure
from sundog.kernel.messages import Message, encode
from sundog.kernel.operator_roles import TOKEN_VARIABLE, JobHandle, Launcher, LaunchSpec
from sundog.kernel.shareable import Kind, Shareable
from sundog.kernel.transport import Connection, EndOfConnection, Frame, FrameTooLarge
from sundog.kits.handover import messages as say
from sundog.kits.job.mailbox import Mailbox
from sundog.kits.job.payloads import Sender
from sundog.kits.job.process import MESSAGES_WAITING, SUPERVISOR_LOST, ProcessChannel
from sundog.kits.protocol.messages import Grew, TaskFor
from sundog.kits.supervisor import job_channel, job_output, job_process
from sundog.kits.supervisor.job_channel import job_spec
from sundog.kits.supervisor.job_output import JobOutput, LastWords
from sundog.kits.supervisor.job_process import JobProcess, JobProcesses
from sundog.kits.workspace import posix
from sundog.transports.link import Writer
from sundog.transports.stream import StreamConnection

from ..job.desk import write_app

CODE = """
import os, signal, subprocess, sys, threading
from pathlib import Path
from sundog import Executor, Shareable

class Trainer(Executor):
    def execute(self, task, ctx):
        print("at work")
        getattr(self, task.name)(ctx)
        return Shareable("WEIGHTS", task.model.tensors)

    def train(self, ctx): ...

    def kill(self, ctx):
        print("these were my last words", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    def swap(self, ctx):
        "Leaves a pipe in the place of the log, whose reader would wait for ever."
        while not Path("log.txt").exists():
            continue
        os.unlink("log.txt")
        os.mkfifo("log.txt")
        os._exit(3)

    def escape(self, ctx):
        "Dies, and leaves one that carries no mark of the run and holds the output open."
        sleeper = [sys.executable, "-c", "import signal; signal.pause()"]
        child = subprocess.Popen(sleeper, start_new_session=True, env={"PATH": ""})
        print("child", child.pid, flush=True)
        os._exit(3)

    def native(self, ctx):
        for _ in range(100):
            os.write(1, b"x" * 99 + b"\\n")

    def look(self, ctx):
        print("seen:", sorted(name for name in os.environ if name.startswith("SUNDOG_")))

    def crash(self, ctx):
        os.abort()

    def leave(self, ctx):
        sys.stdout.flush()
        os._exit(3)

    def close_all(self, ctx):
        os.closerange(3, 1000)
        threading.Event().wait()

    def interrupt(self, ctx):
        raise KeyboardInterrupt("by hand")

    def polite(self, ctx):
        self.wait(ctx, ctx.abort.check)

    def deaf(self, ctx):
        "Waits for a signal, takes none but SIGKILL, and has offspring that hides in a session of its own and keeps the channel open."
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sleeper = [sys.executable, "-c", "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pause()"]
        children = [subprocess.Popen(sleeper), subprocess.Popen(sleeper, start_new_session=True)]
        if os.fork() == 0:
            signal.pause()
        self.wait(ctx, lambda: None)

    def wait(self, ctx, look):
        never = threading.Event()
        ctx.metrics.add_scalar("waiting", 1.0)
        while not never.wait(0.01):
            look()

    def stop(self, ctx):
        Path("stopped").touch()
"""
DEADLINE_SECONDS = 50
"""What is waited for comes in a moment; a busy machine may need long to start a process."""
RUN = "run-h11"
MODEL = Shareable(Kind.WEIGHTS, {"w": np.zeros(2)})


class Watched:
    """A job process and what became of it."""

    def __init__(self, folder: Path, writer: Writer, launcher: Launcher | None = None, code: str = CODE) -> None:
        tasks = ["train", "kill", "crash", "interrupt", "leave", "polite", "deaf", "close_all", "swap", "escape", "native", "look"]
        write_app(folder, "site", {"executors": [{"tasks": tasks, "executor": {"path": "trainer_h11.Trainer"}}]}, {"trainer_h11.py": code})
        self.folder = folder
        self.mark = f"{RUN}-{uuid.uuid4().hex}"  # who runs the same tests beside these must not have his processes killed
        spec = job_spec(RUN, "site", "site-1", folder, {posix.RUN_VARIABLE: self.mark})
        document = say.StartDocument(RUN, "site", "site-1", ["site-1"], 7, 1, str(folder))
        self.heard: asyncio.Queue[Message] = asyncio.Queue()
        self.ended: asyncio.Future[tuple[str, str]] = asyncio.get_running_loop().create_future()
        self.processes = JobProcesses(launcher or ProcessLauncher(), folder / "channels")
        self.output = JobOutput(folder / "log.txt", writer, lambda: None)
        self.process = JobProcess(
            self.processes, spec, lambda: document, self.hear, lambda *how: self.ended.set_result(how), self.output
        )  # fmt: skip
        self.running = asyncio.create_task(self.process.run())

    async def hear(self, message: Message, _body: memoryview) -> None:
        self.heard.put_nowait(message)

    async def next(self) -> Message:
        return await asyncio.wait_for(self.heard.get(), DEADLINE_SECONDS)

    def give(self, name: str) -> None:
        payload, parts = Sender(self.folder / "in").payload(MODEL, {})
        self.process.send(TaskFor(RUN, "t", name, "w", 0, "site-1", 7, None, payload), *parts)

    async def end(self) -> tuple[str, str]:
        return await asyncio.wait_for(self.ended, DEADLINE_SECONDS)

    async def is_at_work(self) -> None:
        """Wait for the metric by which the trainer says that it waits."""
        assert isinstance(await self.next(), Grew)


@pytest.fixture
async def writer() -> AsyncIterator[Writer]:
    async with Writer() as writer:
        yield writer


@pytest.fixture
async def watched(tmp_path: Path, writer: Writer) -> Watched:
    watched = Watched(tmp_path, writer)
    assert await watched.next() == say.Ready()
    return watched


async def test_it_works_says_what_it_made_and_leaves_when_it_is_told(watched: Watched) -> None:
    watched.give("train")
    answer = await watched.next()
    assert isinstance(answer, say.ResultFor)
    assert answer.failure is None

    watched.process.send(say.Finished())

    assert (await watched.end())[0] == ""
    assert (watched.folder / "stopped").exists()
    assert "at work" in (watched.folder / "log.txt").read_text()


async def test_a_death_by_signal_is_told_with_its_last_words(watched: Watched) -> None:
    watched.give("kill")

    how, last_words = await watched.end()

    assert how == "killed by signal 9 (SIGKILL)"
    assert last_words.endswith("these were my last words")


async def test_a_crash_in_native_code_has_last_words_of_pythons_and_its_line_in_the_log(watched: Watched) -> None:
    line = CODE.splitlines().index("        os.abort()") + 1
    watched.give("crash")

    assert await watched.end() == ("killed by signal 6 (SIGABRT)", f"Fatal Python error: Aborted at trainer_h11.py:{line} in crash")
    assert re.search(r'trainer.*\.py", line \d+ in crash', (watched.folder / "log.txt").read_text())


async def test_a_traceback_is_not_all_told_as_last_words(watched: Watched) -> None:
    """What is told is one line; the log has the rest."""
    watched.give("interrupt")

    assert await watched.end() == ("killed by signal 2 (SIGINT)", "KeyboardInterrupt: by hand")


async def test_an_exit_status_is_told(watched: Watched) -> None:
    watched.give("leave")

    assert (await watched.end())[0] == "exit status 3"


async def test_sigterm_that_nobody_explained_is_a_death(watched: Watched) -> None:
    """Only the supervisor, which says why first, decides about a run: see the polite one below. Here it is an operator, or the system."""
    watched.give("polite")
    await watched.is_at_work()

    psutil.Process(watched.process.pid).terminate()

    assert (await watched.end())[0] == "killed by signal 15 (SIGTERM)"
    assert watched.heard.empty()


async def test_one_that_swaps_its_log_for_a_pipe_holds_nobody_up(watched: Watched, writer: Writer) -> None:
    watched.give("swap")
    assert (await watched.end())[0] == "exit status 3"

    output = JobOutput(watched.folder / "log.txt", writer, lambda: None)
    reader, end = os.pipe()
    os.write(end, b"the next process\n")
    os.close(end)
    await asyncio.wait_for(output.copy(reader, LastWords()), DEADLINE_SECONDS)

    assert (watched.folder / "log.txt").read_text() == "the next process\n"


async def test_the_end_of_the_output_is_not_waited_for_while_another_process_holds_it(watched: Watched) -> None:
    watched.give("escape")

    how, last_words = await watched.end()

    assert how == "exit status 3"
    word, _, child = last_words.partition(" ")
    assert word == "child"
    psutil.Process(int(child)).kill()  # whoever takes the mark off gets away: isolation "none"


async def test_what_native_code_prints_is_limited_too(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_output, "RUN_LOG_BYTES", 1000)
    watched.give("native")
    assert isinstance(await watched.next(), say.ResultFor)
    watched.process.send(say.Finished())
    assert (await watched.end())[0] == ""

    await watched.output.close()
    text = (watched.folder / "log.txt").read_text()
    assert text.index("[the log is full") == 1001
    assert int(text.rpartition("\n[")[2].partition(" bytes are missing")[0]) >= 9000


async def test_job_code_does_not_see_how_its_process_was_started(watched: Watched) -> None:
    watched.give("look")
    assert isinstance(await watched.next(), say.ResultFor)
    watched.process.send(say.Finished())
    await watched.end()

    assert "seen: ['SUNDOG_RUN']" in (watched.folder / "log.txt").read_text()


async def test_one_that_closed_its_channel_is_not_waited_for(watched: Watched) -> None:
    """Job code may close every descriptor, as programs do that become daemons: nothing would ever be heard of it."""
    watched.give("close_all")

    how, _ = await watched.end()
    it_left = f"exit status {SUPERVISOR_LOST}"  # when its thread for the channel happened to be awake
    assert how in (it_left, "killed by signal 9 (SIGKILL); because it had closed its channel to the supervisor")


class Chatter(Launcher, JobHandle, Connection):
    """A job that always has more to say."""

    channel = "connection"

    def __init__(self) -> None:
        self.connection, self.said = self, 0
        self.local, self.peer = "supervisor", "chatter"

    async def launch(self, spec: LaunchSpec) -> JobHandle:
        return self

    async def wait(self) -> str:
        await asyncio.Event().wait()
        return ""

    def signal(self, number: int) -> None: ...
    async def send(self, *parts: Frame) -> None: ...
    async def close(self) -> None: ...
    def abort(self) -> None: ...

    async def receive(self) -> Frame:
        self.said += 1
        return encode(Grew(RUN, "site-1", "metrics.jsonl", self.said))


async def test_no_more_is_read_of_a_job_than_its_supervisor_can_take(tmp_path: Path, writer: Writer) -> None:
    class Slow(Watched):
        async def hear(self, message: Message, _body: memoryview) -> None:
            await super().hear(message, _body)
            await asyncio.Event().wait()

    chatter = Chatter()
    watched = Slow(tmp_path, writer, chatter)
    await watched.next()
    for _ in range(100):
        await asyncio.sleep(0)  # turns of the loop

    assert chatter.said == 1
    watched.running.cancel()


class Reader(Launcher, JobHandle, Connection):
    """A job that says nothing, and reads when the test lets it; it ends when it is killed."""

    channel = "connection"

    def __init__(self) -> None:
        self.connection = self
        self.local, self.peer = "supervisor", "reader"
        self.read = 0
        self.may_read = asyncio.Event()
        self.is_killed = asyncio.Event()

    async def launch(self, spec: LaunchSpec) -> JobHandle:
        return self

    async def wait(self) -> str:
        await self.is_killed.wait()
        return "killed"

    def signal(self, number: int) -> None:
        self.is_killed.set()

    async def send(self, *parts: Frame) -> None:
        await self.may_read.wait()
        self.read += 1

    async def receive(self) -> Frame:
        await self.is_killed.wait()
        raise EndOfConnection("it is gone")

    async def close(self) -> None: ...
    def abort(self) -> None: ...


@pytest.fixture
def _little_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_process, "MAX_WAITING_BYTES", 1000)


@pytest.mark.usefixtures("_little_may_wait")
@pytest.mark.parametrize("is_started", [True, False])
async def test_one_that_does_not_read_what_it_is_told_is_killed(tmp_path: Path, writer: Writer, is_started: bool) -> None:
    watched = Watched(tmp_path, writer, Reader())
    for _ in range(100 * is_started):
        await asyncio.sleep(0)  # turns of the loop

    for _ in range(30):
        watched.process.send(say.Kept("t"), b"x" * 100)

    assert watched.process._outgoing.empty()
    assert (await watched.end())[0].endswith("; because it did not read what it was told")


@pytest.mark.usefixtures("_little_may_wait")
async def test_one_that_reads_is_told_as_much_as_there_is(tmp_path: Path, writer: Writer) -> None:
    reader = Reader()
    reader.may_read.set()
    watched = Watched(tmp_path, writer, reader)

    for _ in range(30):
        watched.process.send(say.Kept("t"), b"x" * 100)
        for _ in range(10):
            await asyncio.sleep(0)  # turns of the loop
    assert reader.read == 31  # with Start
    assert not reader.is_killed.is_set()

    reader.is_killed.set()
    assert (await watched.end())[0] == "killed"


def test_job_code_waits_when_its_supervisor_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one message more than may wait would have it wait; when they are on their way there is room again."""
    monkeypatch.setattr(StreamConnection, "linger_seconds", 0.01)
    ours, theirs = socket.socketpair()
    channel = ProcessChannel(theirs, Mailbox())
    with ours:
        for size in range(MESSAGES_WAITING):
            channel.send(Grew(RUN, "site-1", "metrics.jsonl", size))
        assert not channel._room.acquire(blocking=False)

        channel.start()
        assert channel._room.acquire(timeout=20), "waited 20 s for room"
        channel._room.release()
        channel.close()


def test_what_a_supervisor_would_refuse_is_an_error_where_it_is_said_and_takes_no_room() -> None:
    ours, theirs = socket.socketpair()
    channel = ProcessChannel(theirs, Mailbox())
    with ours, theirs:
        with pytest.raises(FrameTooLarge, match="in Reject"):
            channel.send(say.Reject("t", "x" * say.MAX_SAID_BYTES))
        for _ in range(MESSAGES_WAITING):
            assert channel._room.acquire(blocking=False)
    channel._loop.close()


async def test_an_abort_is_seen_by_a_trainer_that_looks_and_it_tidies_up(watched: Watched) -> None:
    """T137: within a second, its process included, and the ladder goes no further."""
    watched.give("polite")
    await watched.is_at_work()

    async with asyncio.timeout(1):
        await watched.process.stop("by alice", grace_seconds=DEADLINE_SECONDS)

    answer = await watched.next()
    assert isinstance(answer, say.ResultFor)
    assert isinstance(answer.failure, Failure)
    assert (answer.failure.code, answer.failure.what) == ("SD-4001", "by alice")
    assert (await watched.end())[0] == ""
    assert (watched.folder / "stopped").exists()


async def test_nothing_is_left_of_one_that_is_deaf_and_has_offspring(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """T015, T058: ask, SIGTERM, SIGKILL to the group, then to all that carry the run's mark."""
    monkeypatch.setattr(job_process, "TERM_SECONDS", 0.2)
    watched.give("deaf")
    await watched.is_at_work()
    family = [psutil.Process(watched.process.pid), *psutil.Process(watched.process.pid).children(recursive=True)]
    assert len(family) == 4

    await watched.process.stop("by alice", grace_seconds=0.2)

    assert (await watched.end())[0] == "killed by signal 9 (SIGKILL)"
    assert posix.processes_of_run(watched.mark) == []
    assert [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE] == []


async def test_killing_one_leaves_another_run_alone(watched: Watched, tmp_path: Path, writer: Writer) -> None:
    """T058."""
    other = Watched(tmp_path / "other", writer)
    await other.next()

    psutil.Process(watched.process.pid).kill()
    assert (await watched.end())[0] == "killed by signal 9 (SIGKILL)"
    other.give("train")

    answer = await other.next()
    assert isinstance(answer, say.ResultFor)
    other.process.send(say.Finished())
    await other.end()


async def test_its_death_is_seen_though_its_offspring_keeps_the_channel_open(watched: Watched) -> None:
    watched.give("deaf")
    await watched.is_at_work()

    psutil.Process(watched.process.pid).kill()

    assert (await watched.end())[0] == "killed by signal 9 (SIGKILL)"
    assert posix.processes_of_run(watched.mark) == []


async def test_it_leaves_at_once_when_its_supervisor_is_gone(watched: Watched) -> None:
    watched.give("deaf")
    await watched.is_at_work()

    watched.running.cancel()
    await asyncio.wait([watched.running])

    handle = watched.process._handle
    assert handle is not None
    assert await asyncio.wait_for(handle.wait(), DEADLINE_SECONDS) == f"exit status {SUPERVISOR_LOST}"
    handle.signal(signal.SIGKILL)  # the offspring is a supervisor's work, and that one is gone
    for pid in posix.processes_of_run(watched.mark):
        posix.signal_process(pid, signal.SIGKILL)


class Refusing(Launcher):
    async def launch(self, spec: LaunchSpec) -> JobHandle:
        raise OSError("too many open files")


async def test_one_that_cannot_be_started_has_ended(tmp_path: Path, writer: Writer) -> None:
    watched = Watched(tmp_path, writer, Refusing())

    assert await watched.end() == ("it could not be started or served: too many open files", "")


async def test_one_whose_words_make_no_sense_is_ended(tmp_path: Path, writer: Writer) -> None:
    class Deaf(Watched):
        async def hear(self, message: Message, _body: memoryview) -> None:
            raise KeyError(message)

    assert (await Deaf(tmp_path, writer).end())[0].startswith("killed by signal 9 (SIGKILL); because what it said made no sense: ")


# --- over an address ---


class Dialled(ProcessLauncher):
    """Its processes connect to an address, and show a token.

    Args:
        change: what becomes of the spec.
    """

    channel = "address"

    def __init__(self, **change: Any) -> None:
        self.change = change

    async def launch(self, spec: LaunchSpec) -> JobHandle:
        self.spec = spec
        return await super().launch(replace(spec, **self.change))


async def test_a_process_that_inherits_nothing_connects_and_shows_its_token(tmp_path: Path, writer: Writer) -> None:
    launcher = Dialled()
    watched = Watched(tmp_path, writer, launcher)
    assert await watched.next() == say.Ready()

    assert launcher.spec.descriptors == ()
    token = launcher.spec.environment[TOKEN_VARIABLE]
    assert len(token) == 64
    assert token not in " ".join(psutil.Process(watched.process.pid).cmdline())
    assert list((tmp_path / "channels").iterdir()) == []  # nobody else can connect
    assert (tmp_path / "channels").stat().st_mode & 0o777 == 0o700
    watched.process.send(say.Finished())
    assert (await watched.end())[0] == ""


async def test_a_path_that_is_too_long_for_a_socket_is_replaced_by_a_short_one(tmp_path: Path, writer: Writer) -> None:
    launcher = Dialled()
    watched = Watched(tmp_path / ("long" * 30), writer, launcher)
    assert await watched.next() == say.Ready()

    assert not Path(launcher.spec.address.removeprefix("unix:")).parent.exists()
    watched.process.send(say.Finished())
    assert (await watched.end())[0] == ""


async def test_whoever_connects_without_the_token_is_not_served(tmp_path: Path, writer: Writer) -> None:
    class Wrong(Dialled):
        async def launch(self, spec: LaunchSpec) -> JobHandle:
            self.change["environment"] = {**spec.environment, TOKEN_VARIABLE: "0" * 64}
            return await super().launch(spec)

    how, _ = await Watched(tmp_path, writer, Wrong()).end()

    assert "because it could not be served: [SD-5171]" in how


async def test_the_deadline_for_the_connection_names_what_was_waited_for(
    tmp_path: Path, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_channel, "CONNECT_SECONDS", 0.1)
    launcher = Dialled(command=(sys.executable, "-c", "import signal; signal.pause()"))

    how, _ = await Watched(tmp_path, writer, launcher).end()

    assert how.startswith("killed by signal 9 (SIGKILL); because it could not be served: [SD-5170] ")
    assert "waited 0.1 s for the job process to connect" in how


async def test_one_that_ends_before_it_connects_has_ended(tmp_path: Path, writer: Writer) -> None:
    launcher = Dialled(command=(sys.executable, "-c", "print('no such module'); raise SystemExit(7)"))

    assert await Watched(tmp_path, writer, launcher).end() == ("exit status 7", "no such module")


# --- in a hurry ---


async def test_a_start_that_never_comes_to_its_end_can_be_stopped(tmp_path: Path, writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    class Never(Launcher):
        async def launch(self, spec: LaunchSpec) -> JobHandle:
            await asyncio.Event().wait()
            raise AssertionError

    monkeypatch.setattr(job_process, "TERM_SECONDS", 0.1)
    watched = Watched(tmp_path, writer, Never())

    await watched.process.stop("by alice", grace_seconds=0.1)

    assert await watched.end() == ("it was stopped while it was being started", "")


async def test_in_a_hurry_one_participants_processes_are_killed_and_no_others(watched: Watched, tmp_path: Path, writer: Writer) -> None:
    other = Watched(tmp_path / "other", writer)
    await other.next()

    watched.processes.kill_all()

    assert (await watched.end())[0] == "killed by signal 9 (SIGKILL)"
    assert watched.processes.alive == set()
    other.process.send(say.Finished())
    assert (await other.end())[0] == ""
