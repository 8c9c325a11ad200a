"""What the journal acknowledged is there after any death; what was changed is seen."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sundog.kits.protocol.records import AnyRecord, RunFinished, RunStarted, StepReopened
from sundog.kits.workspace.journal import Ballast, Durability, Journal, JournalDamaged, JournalFailed, read_journal
from sundog.transports.link.writer import Writer


@pytest.fixture
async def writer() -> AsyncIterator[Writer]:
    async with Writer() as one:
        yield one


def record(number: int, padding: int = 0) -> StepReopened:
    return StepReopened("", "workflow" + "x" * padding, number, 1)


def steps(records: list[AnyRecord]) -> list[int]:
    return [one.step for one in records if isinstance(one, StepReopened)]


async def write(path: Path, writer: Writer, count: int) -> bytes:
    journal = Journal(path, writer)
    await journal.append([record(number) for number in range(count)])
    await journal.close()
    return path.read_bytes()


@pytest.mark.parametrize("durability", ["process", "disk"])
async def test_records_come_back_in_order_each_with_the_hash_of_the_one_before(
    tmp_path: Path, writer: Writer, durability: Durability
) -> None:
    journal = Journal(tmp_path / "j", writer, durability=durability)
    started = RunStarted("", "run", 1, ["site-1"], 7, 1.5)
    await asyncio.gather(journal.append([started, record(0)]), journal.append([record(1)]))
    await journal.close()

    records = read_journal(tmp_path / "j").records

    assert records[0] == started
    assert steps(records) == [0, 1]
    assert [len(one.previous) for one in records] == [0, 16, 16]


async def test_an_opened_journal_goes_on_where_it_ended(tmp_path: Path, writer: Writer) -> None:
    await write(tmp_path / "j", writer, 2)

    journal = Journal(tmp_path / "j", writer)
    await journal.append([record(2)])
    await journal.close()

    assert steps(journal.found) == [0, 1]
    assert steps(read_journal(tmp_path / "j").records) == [0, 1, 2]


async def test_records_of_which_one_cannot_be_encoded_are_not_written_and_spoil_no_later_ones(tmp_path: Path, writer: Writer) -> None:
    journal = Journal(tmp_path / "j", writer)

    with pytest.raises(OverflowError):
        journal.append([record(0), record(10**30)])
    await journal.append([record(1)])
    await journal.close()

    assert steps(read_journal(tmp_path / "j").records) == [1]


async def test_with_durability_none_nothing_is_kept(tmp_path: Path, writer: Writer) -> None:
    journal = Journal(tmp_path / "j", writer, durability="none")
    await journal.append([record(0)])
    await journal.close()

    assert read_journal(tmp_path / "j").records == []


async def test_a_tail_torn_at_any_byte_is_cut_and_the_records_before_it_stay(tmp_path: Path, writer: Writer) -> None:
    data = await write(tmp_path / "j", writer, 3)
    two = await write(tmp_path / "two", writer, 2)
    torn = tmp_path / "torn"
    for size in range(len(two) + 1, len(data)):
        torn.write_bytes(data[:size])
        text = read_journal(torn)
        assert (steps(text.records), text.end, text.torn_bytes) == ([0, 1], len(two), size - len(two))

    journal = Journal(torn, writer)
    await journal.append([record(9)])
    await journal.close()

    assert steps(read_journal(torn).records) == [0, 1, 9]


async def test_a_tail_of_zeros_or_with_a_wrong_checksum_is_torn_too(tmp_path: Path, writer: Writer) -> None:
    data = await write(tmp_path / "j", writer, 2)
    second = data[len(await write(tmp_path / "one", writer, 1)) :]
    for tail in (bytes(4096), second[:-1] + b"?"):
        (tmp_path / "torn").write_bytes(data + tail)
        assert read_journal(tmp_path / "torn").torn_bytes == len(tail)


async def test_a_byte_changed_before_the_last_record_is_damage_named_by_its_offset(tmp_path: Path, writer: Writer) -> None:
    data = await write(tmp_path / "j", writer, 4)
    size = len(await write(tmp_path / "one", writer, 1))
    for at in range(len(await write(tmp_path / "three", writer, 3))):
        (tmp_path / "bad").write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(JournalDamaged) as error:
            read_journal(tmp_path / "bad")
        offset = int(error.value.where.rpartition(":")[2])
        assert offset <= at < offset + 2 * size


async def test_a_record_taken_out_or_exchanged_is_seen(tmp_path: Path, writer: Writer) -> None:
    one = len(await write(tmp_path / "one", writer, 1))
    two = len(await write(tmp_path / "two", writer, 2))
    data = await write(tmp_path / "three", writer, 3)

    for tampered in (data[:one] + data[two:], data[one:], data[:one] + data[:one]):
        (tmp_path / "bad").write_bytes(tampered)
        with pytest.raises(JournalDamaged, match="wanted a record that follows"):
            read_journal(tmp_path / "bad")


async def test_records_that_wait_together_are_written_together(tmp_path: Path, writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, sizes, real = Journal(tmp_path / "j", writer), [], os.write

    def counting(descriptor: int, data: bytes) -> int:
        sizes.append(len(data))
        return real(descriptor, data)

    gate = asyncio.Event()
    loop = asyncio.get_running_loop()
    busy = writer.post(lambda: asyncio.run_coroutine_threadsafe(gate.wait(), loop).result())
    monkeypatch.setattr(os, "write", counting)
    written = [journal.append([record(number)]) for number in range(100)]
    gate.set()
    await asyncio.gather(busy, *written)
    await journal.close()

    assert len(sizes) == 1
    assert steps(read_journal(tmp_path / "j").records) == list(range(100))


CRASH = """
import asyncio, os, sys
from pathlib import Path
from sundog.kits.protocol.records import StepReopened
from sundog.kits.workspace.journal import Journal
from sundog.transports.link.writer import Writer

async def main():
    journal = Journal(Path(sys.argv[1]), Writer())
    for number in range(10_000):
        await journal.append([StepReopened("", "w", number, 1)])
        print(number, flush=True)

asyncio.run(main())
"""


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", CRASH, str(tmp_path / "j")], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    acknowledged = [int(process.stdout.readline()) for _ in range(50)]
    process.kill()
    acknowledged += map(int, process.communicate()[0].split())

    found = steps(read_journal(tmp_path / "j").records)

    assert found[: len(acknowledged)] == acknowledged
    assert len(found) <= len(acknowledged) + 1


def full(*, until_calls: int) -> object:
    """os.write for a storage that is full for some calls: a part is written first, then nothing fits."""
    calls, real = 0, os.write

    def write_some(descriptor: int, data: bytes) -> int:
        nonlocal calls
        calls += 1
        if calls == 1:
            return real(descriptor, data[:7])
        if calls <= until_calls:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data)

    return write_some


async def test_on_a_full_storage_the_ballast_makes_room_for_what_must_be_said(
    tmp_path: Path, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ballast = Ballast(tmp_path / "ballast")
    ballast.ensure()
    assert (tmp_path / "ballast").stat().st_size == 1024 * 1024
    journal = Journal(tmp_path / "j", writer, ballast=ballast)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full(until_calls=2))
        patch.setattr(os, "urandom", no_space)  # no room for a ballast either
        await journal.append([record(0)])
        assert not (tmp_path / "ballast").exists()

    await journal.append([record(1)])
    assert (tmp_path / "ballast").exists()
    assert steps(read_journal(tmp_path / "j").records) == [0, 1]
    await journal.close()


def no_space(_size: int) -> bytes:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


async def test_a_record_that_cannot_be_written_fails_and_so_does_every_later_one(
    tmp_path: Path, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path / "j", writer)
    await journal.append([record(0)])
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full(until_calls=99))
        with pytest.raises(JournalFailed, match=r"j: No space left on device"):
            await journal.append([record(1)])

    with pytest.raises(JournalFailed):
        await journal.append([record(2)])
    with pytest.raises(JournalFailed):
        await journal.close()

    text = read_journal(tmp_path / "j")
    assert (steps(text.records), text.torn_bytes) == ([0], 0)


async def test_a_failed_fsync_is_not_tried_again(tmp_path: Path, writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, calls = Journal(tmp_path / "j", writer, durability="disk"), []

    def broken(descriptor: int) -> None:
        calls.append(descriptor)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    for _ in range(2):
        with pytest.raises(JournalFailed, match="Input/output error"):
            await journal.append([record(0)])

    assert len(calls) == 1
    with pytest.raises(JournalFailed):
        await journal.close()


async def test_a_finished_run_says_so_with_its_failure(tmp_path: Path, writer: Writer) -> None:
    journal = Journal(tmp_path / "j", writer)
    await journal.append([RunFinished("", "FINISHED:ABORTED", None, "asked", 2.0)])
    await journal.close()

    assert read_journal(tmp_path / "j").records == [RunFinished("", "FINISHED:ABORTED", None, "asked", 2.0)]
