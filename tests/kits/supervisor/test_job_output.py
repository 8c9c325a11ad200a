"""What job processes print, on its way into the run's log: counted when it cannot be kept, and never a danger to the supervisor."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sundog.kits.supervisor import job_output
from sundog.kits.supervisor.job_output import JobOutput, LastWords, LogFile
from sundog.kits.workspace import posix
from sundog.transports.link import Writer

CRASH = b"""before
Fatal Python error: Segmentation fault

Thread 0x00007f01 (most recent call first):
  File "/w/runs/r/app/custom/other.py", line 7 in loads

Current thread 0x00007f02 (most recent call first):
  File "/usr/lib/python3/ctypes/__init__.py", line 517 in string_at
  File "/w/runs/r/app/custom/train.py", line 23 in execute
  File "/w/runs/r/app/custom/train.py", line 5 in outer
  File "/usr/lib/sundog/kits/job/site_job.py", line 180 in _do

"""


def written(path: Path, *pieces: bytes) -> LogFile:
    log = LogFile(path)
    for piece in pieces:
        log.write(piece)
    log.close()
    return log


# --- the log ---


def test_a_log_is_appended_to_by_each_process_of_the_run(tmp_path: Path) -> None:
    for piece in (b"one\n", b"two\n"):
        written(tmp_path / "log.txt", piece)

    assert (tmp_path / "log.txt").read_bytes() == b"one\ntwo\n"


def test_a_log_has_a_limit_and_tells_to_the_byte_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever printed it, Python or native code: all of it comes through one pipe."""
    monkeypatch.setattr(job_output, "RUN_LOG_BYTES", 10)

    log = written(tmp_path / "log.txt", b"0123456", b"789abc", b"def")

    assert log.lost_bytes == 6
    assert (tmp_path / "log.txt").read_bytes() == (
        b"0123456789\n[the log is full: what follows is dropped]\n\n[6 bytes are missing here: the log is full]\n"
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_costs_lines_which_are_counted_and_the_log_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = [os.open("/dev/full", os.O_WRONLY)]
    monkeypatch.setattr(posix, "open_to_append", lambda _folder, _name: opened[0])
    log = LogFile(tmp_path / "log.txt")
    log.write(b"lost")
    log.write(b"lost, too")

    room = os.open(tmp_path / "log.txt", os.O_WRONLY | os.O_CREAT)
    os.dup2(room, opened[0])
    os.close(room)
    log.write(b"kept\n")
    log.close()

    assert log.lost_bytes == 13
    assert (tmp_path / "log.txt").read_bytes() == b"\n[13 bytes are missing here: No space left on device]\nkept\n"


def test_a_log_that_cannot_be_opened_costs_lines_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "log.txt").mkdir()

    assert written(tmp_path / "log.txt", b"lost").lost_bytes == 4


@pytest.mark.parametrize("made", ["a link", "a pipe", "a second name"])
def test_a_job_that_swaps_its_log_has_the_supervisor_write_nowhere_else(tmp_path: Path, made: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("as it was")
    path = tmp_path / "run" / "log.txt"
    path.parent.mkdir()
    {"a link": path.symlink_to, "a pipe": lambda _: os.mkfifo(path), "a second name": path.hardlink_to}[made](victim)

    log = written(path, b"said\n")

    assert log.lost_bytes == 0
    assert victim.read_text() == "as it was"
    assert not path.is_symlink()
    assert path.read_bytes() == b"said\n"


# --- last words ---


def words(*pieces: bytes) -> str:
    heard = LastWords()
    for piece in pieces:
        heard.hear(piece)
    return str(heard)


def test_the_last_words_are_the_last_line() -> None:
    assert words(b"first\nlast ", b"line\n\n") == "last line"
    assert words() == ""
    assert words(b"x" * 9000) == "x" * 300


def test_a_crash_is_named_with_the_job_s_own_line_however_much_follows() -> None:
    """Python ends with a list of modules, which may be longer than all the rest."""
    said = words(CRASH, b"Extension modules: " + b"numpy._core, " * 1000)

    assert said == "Fatal Python error: Segmentation fault at train.py:23 in execute"


def test_a_crash_that_the_process_outlived_is_not_its_last_word() -> None:
    """That of a child of its own, hours ago."""
    assert words(CRASH, *[b"epoch\n" * 1000] * 20, b"killed\n") == "killed"


def test_a_crash_is_named_when_it_comes_byte_by_byte() -> None:
    assert words(*(CRASH[at : at + 1] for at in range(len(CRASH)))).endswith("at train.py:23 in execute")


def test_a_crash_outside_of_the_job_s_code_is_named_alone() -> None:
    assert words(b"Fatal Python error: Aborted\n\nCurrent thread 0x1 (most recent call first):\n  <no Python frame>\n") == (
        "Fatal Python error: Aborted"
    )


def test_a_forged_crash_keeps_nobody_busy() -> None:
    """All of it may be the job's own text; a search that tried each beginning with each end would take hours."""
    assert words(b"Fatal Python error: x\nCurrent thread\n" + b'File "/custom/' * 4000) == "Fatal Python error: x"


def test_last_words_move_no_cursor() -> None:
    assert words(b"\x1b[2Jgone\n") == "\\x1b[2Jgone"


# --- from the descriptor ---


@pytest.fixture
async def writer() -> AsyncIterator[Writer]:
    async with Writer() as writer:
        yield writer


async def test_output_is_read_from_a_pipe_or_a_socket_and_news_are_told(tmp_path: Path, writer: Writer) -> None:
    news: list[int] = []
    output = JobOutput(tmp_path / "log.txt", writer, lambda: news.append((tmp_path / "log.txt").stat().st_size))
    for ours, theirs in (os.pipe(), [end.detach() for end in socket.socketpair()]):
        copying = asyncio.create_task(output.copy(ours, LastWords()))
        os.write(theirs, b"said\n")
        os.close(theirs)
        await asyncio.wait_for(copying, 20)
    await output.close()

    assert (tmp_path / "log.txt").read_bytes() == b"said\nsaid\n"
    assert news == [5, 10]


async def test_output_that_cannot_be_read_is_a_line_in_the_log_of_the_supervisor(tmp_path: Path, writer: Writer) -> None:
    (tmp_path / "file").touch()

    await JobOutput(tmp_path / "log.txt", writer, lambda: None).copy(os.open(tmp_path / "file", os.O_RDONLY), LastWords())
