"""A run's log is read in parts, none lost and none twice, until the run is over."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sundog.kits.protocol.file_answers import LogPiece
from sundog.kits.protocol.requests import ReadLog
from sundog.kits.supervisor import run_logs
from sundog.kits.supervisor.run_logs import RunLogs
from sundog.kits.workspace.folders import PathRefused, Workspace


class Run:
    """A run, its log, and somebody who reads it."""

    def __init__(self, root: Path) -> None:
        (root / "startup").mkdir()
        self.workspace = Workspace(root).create()
        self.folder = self.workspace.run("r").create()
        self.live = {"r"}
        self.logs = RunLogs(self.workspace, self.live)
        self.offset = 0

    def write(self, data: bytes) -> None:
        with self.folder.log.open("ab") as file:
            file.write(data)
        self.logs.changed("r")

    async def read(self, *, follow: bool = True) -> LogPiece:
        async with asyncio.timeout(20):
            piece = await self.logs.read(ReadLog(job_id="r", offset=self.offset, follow=follow))
        self.offset = piece.offset
        return piece

    def end(self) -> None:
        self.live.clear()
        self.logs.changed("r")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


async def test_a_reader_waits_for_a_log_that_does_not_exist_yet(run: Run) -> None:
    reading = asyncio.create_task(run.read())
    await run.read(follow=False)

    run.write(b"hello\n")

    assert await reading == LogPiece("r", "", "hello\n", 6, 6, is_end=False)


async def test_the_end_of_the_run_is_the_end_of_the_log(run: Run) -> None:
    run.write(b"hello")
    assert (await run.read()).text == "hello"
    reading = asyncio.create_task(run.read())
    await run.read(follow=False)

    run.end()

    assert (await reading).is_end
    assert await run.read() == LogPiece("r", "", "", 5, 5, is_end=True)


async def test_what_is_written_last_is_read_though_the_run_is_over(run: Run) -> None:
    run.write(b"bye")
    run.end()

    assert await run.read() == LogPiece("r", "", "bye", 3, 3, is_end=True)


async def test_half_a_character_waits_for_its_other_half(run: Run) -> None:
    run.write("naïve".encode()[:3])
    assert await run.read() == LogPiece("r", "", "na", 2, 3, is_end=False)
    reading = asyncio.create_task(run.read())

    run.write("naïve".encode()[3:])

    assert (await reading).text == "ïve"
    run.write(b"\xc3")
    run.end()
    assert (await run.read()).text == "\\xc3"


async def test_a_part_has_a_bound(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_logs, "ANSWER_BYTES", 4)
    run.write(b"0123456789")
    run.end()

    pieces = [await run.read() for _ in range(3)]

    assert [piece.text for piece in pieces] == ["0123", "4567", "89"]
    assert [piece.is_end for piece in pieces] == [False, False, True]


async def test_many_readers_hear_of_one_change_and_leave_nothing_behind(run: Run) -> None:
    reading = [asyncio.create_task(run.read()) for _ in range(50)]
    await run.read(follow=False)
    reading.pop().cancel()

    run.write(b"x")

    assert {piece.text for piece in await asyncio.gather(*reading)} == {"x"}
    run.end()
    assert (await run.read()).is_end
    assert run.logs._news == {}


async def test_only_a_run_s_own_plain_log_is_read(run: Run) -> None:
    run.folder.log.symlink_to(run.workspace.startup / "secret")

    with pytest.raises(PathRefused):
        await run.read(follow=False)
    with pytest.raises(PathRefused):
        await run.logs.read(ReadLog(job_id="../startup"))
