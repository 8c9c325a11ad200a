"""Does a blob arrive whole, once, and with nothing sent twice?"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
from pathlib import Path

import pytest

from sundog.kernel.errors import Failure, RemoteError
from sundog.kernel.messages import CHUNK_BYTES, Codec
from sundog.kernel.transport import Frame
from sundog.transports.link import Intake, Writer
from sundog.transports.link.carrier import ConnectionReplaced
from sundog.transports.link.download import FIRST_CREDIT_BYTES, LEAST_CREDIT_BYTES, TransferStalled, Window
from sundog.transports.link.intake import STREAM_CREDIT_BYTES, NoSpace
from sundog.transports.link.link import LinkClosed
from sundog.transports.link.messages import Chunk, Get, LinkMessage, TransferFailed
from sundog.transports.link.partfile import CannotWrite, WrongHash

from .sides import FakeClock, Sides, note, offered

MIB = 1024 * 1024
codec = Codec(LinkMessage)


def some_bytes(count: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(count)


def keep_frames(sides: Sides, wire: int = -1) -> list[object]:
    """Every message that comes to the site from now on."""
    seen: list[object] = []

    def look(frame: Frame) -> bool:
        seen.append(codec.decode(frame)[0])
        return False

    sides.wires[wire].is_lost = look
    return seen


@pytest.mark.parametrize("count", [0, 1, 70_000, CHUNK_BYTES, CHUNK_BYTES + 1, 5 * MIB + 7])
async def test_a_blob_travels_both_ways(sides: Sides, tmp_path: Path, count: int) -> None:
    server, site = await sides.pair()
    data = some_bytes(count)

    up = offered(site, tmp_path / "result", data)
    down = offered(server, tmp_path / "model", data[::-1])
    both = await asyncio.gather(
        server.transfers.fetch(up, count, tmp_path / "in-result"), site.transfers.fetch(down, count, tmp_path / "in-model")
    )

    assert set(both) == {count}
    assert (tmp_path / "in-result").read_bytes() == data
    assert (tmp_path / "in-model").read_bytes() == data[::-1]
    assert list(tmp_path.glob("*.part")) == []


async def test_progress_only_rises_and_ends_at_the_size(sides: Sides, tmp_path: Path) -> None:
    server, site = await sides.pair()
    key = offered(site, tmp_path / "result", some_bytes(5 * MIB))
    seen: list[int] = []

    await server.transfers.fetch(key, 5 * MIB, tmp_path / "in", progress=seen.append)

    assert seen == sorted(seen)
    assert seen[-1] == 5 * MIB


async def test_what_is_there_is_not_asked_for(sides: Sides, tmp_path: Path) -> None:
    server, site = await sides.pair()
    key = offered(site, tmp_path / "result", b"same")
    (tmp_path / "in").write_bytes(b"same")

    await server.transfers.fetch(key, 4, tmp_path / "in")

    assert site.traffic.sent_bytes == 0


async def test_two_who_want_the_same_file_ask_once(sides: Sides, tmp_path: Path) -> None:
    server, site = await sides.pair()
    key = offered(site, tmp_path / "result", some_bytes(MIB))

    await asyncio.gather(*(server.transfers.fetch(key, MIB, tmp_path / "in") for _ in range(5)))

    assert MIB < site.traffic.sent_bytes < 1.1 * MIB


async def test_a_transfer_goes_on_where_the_part_file_ends(sides: Sides, tmp_path: Path) -> None:
    server, site = await sides.pair()
    data = some_bytes(4 * MIB)
    key = offered(site, tmp_path / "result", data)
    (tmp_path / "in.part").write_bytes(data[: 3 * MIB])

    await server.transfers.fetch(key, len(data), tmp_path / "in")

    assert (tmp_path / "in").read_bytes() == data
    assert MIB < site.traffic.sent_bytes < 1.1 * MIB


@pytest.mark.parametrize("left", [b"x" * MIB, b"x" * (5 * MIB)], ids=["damaged", "too-long"])
async def test_a_damaged_part_file_costs_one_more_try(sides: Sides, tmp_path: Path, left: bytes) -> None:
    server, site = await sides.pair()
    data = some_bytes(4 * MIB)
    key = offered(site, tmp_path / "result", data)
    (tmp_path / "in.part").write_bytes(left)

    await server.transfers.fetch(key, len(data), tmp_path / "in")

    assert (tmp_path / "in").read_bytes() == data


async def test_wrong_bytes_are_asked_for_twice_and_then_dropped(sides: Sides, tmp_path: Path) -> None:
    server, site = await sides.pair()
    (tmp_path / "result").write_bytes(b"evil")
    key = hashlib.sha256(b"good").hexdigest()
    site.transfers.offer(key, tmp_path / "result", 4)
    seen = keep_frames(sides)

    with pytest.raises(WrongHash, match=f"site site-1 sent bytes with another hash than {key}"):
        await server.transfers.fetch(key, 4, tmp_path / "in")

    assert [message.offset for message in seen if isinstance(message, Get)] == [0, 0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["result"]


async def test_a_cut_at_60_percent_sends_little_twice(sides: Sides, tmp_path: Path) -> None:
    """T159: at most 10 % more than what may be under way is sent again, and the blob is there once."""
    server, site = await sides.pair()
    size = 32 * MIB
    key = offered(site, tmp_path / "result", some_bytes(size))
    sides.wires[0].breaks_after_bytes = 0.6 * size
    fetching = asyncio.ensure_future(server.transfers.fetch(key, size, tmp_path / "in"))

    await sides.server.downs.get()
    assert not fetching.done()
    await sides.back_off()
    await fetching

    assert hashlib.sha256((tmp_path / "in").read_bytes()).hexdigest() == key
    assert len(sides.wires) == 2
    assert site.traffic.sent_bytes - size < 1.1 * STREAM_CREDIT_BYTES


async def test_a_transfer_survives_ten_cuts(sides: Sides, tmp_path: Path) -> None:
    server, site = await sides.pair()
    size = 8 * MIB
    key = offered(site, tmp_path / "result", some_bytes(size))
    fetching = asyncio.ensure_future(server.transfers.fetch(key, size, tmp_path / "in"))
    rng = random.Random(5)

    for _ in range(10):
        sides.wires[-1].breaks_after_bytes = rng.randrange(MIB // 2)
        await sides.sites[0].downs.get()
        await sides.back_off()
        await sides.sites[0].ups.get()
    await fetching

    assert hashlib.sha256((tmp_path / "in").read_bytes()).hexdigest() == key


async def test_what_is_not_offered_cannot_be_got(sides: Sides, tmp_path: Path) -> None:
    server, site = await sides.pair()
    key = offered(site, tmp_path / "result", b"secret")
    site.transfers.withdraw(key, tmp_path / "result")
    site.transfers.withdraw(key, tmp_path / "result")

    with pytest.raises(RemoteError, match=f"'{key}' is not offered to server") as error:
        await server.transfers.fetch(key, 6, tmp_path / "in")

    assert error.value.code == "SD-2129"
    assert server.is_up


async def test_equal_files_are_offered_until_the_last_is_withdrawn(sides: Sides, tmp_path: Path) -> None:
    """Two runs that begin with the same model: the end of one must not take it from the other's sites."""
    server, site = await sides.pair()
    key = offered(site, tmp_path / "one", b"same")
    offered(site, tmp_path / "two", b"same")
    offered(site, tmp_path / "two", b"same")

    site.transfers.withdraw(key, tmp_path / "two")
    (tmp_path / "two").unlink()
    await server.transfers.fetch(key, 4, tmp_path / "in")
    site.transfers.withdraw(key, tmp_path / "one")

    with pytest.raises(RemoteError, match="is not offered"):
        await server.transfers.fetch(key, 4, tmp_path / "in again")


def make_link(path: Path) -> None:
    path.symlink_to("/etc/hostname")


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_longer(path: Path) -> None:
    path.write_bytes(b"longer than offered")


def make_nothing(path: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (make_link, "symbolic link"),
        (make_pipe, "wanted an ordinary file"),
        (make_longer, "wanted the 6 bytes offered, it has 19"),
        (make_nothing, "No such file"),
    ],
)
async def test_only_the_very_file_that_was_offered_is_read(sides: Sides, tmp_path: Path, make: object, word: str) -> None:
    server, site = await sides.pair()
    site.transfers.offer("0" * 64, tmp_path / "result", 6)
    make(tmp_path / "result")  # type: ignore[operator]

    with pytest.raises(RemoteError, match=word) as error:
        await server.transfers.fetch("0" * 64, 6, tmp_path / "in")

    assert error.value.code == "SD-2128"
    assert server.is_up


async def test_a_file_that_shrinks_under_way_ends_the_transfer(sides: Sides, tmp_path: Path) -> None:
    server, site = await sides.pair()
    key = offered(site, tmp_path / "result", some_bytes(32 * MIB))

    def cut_short(written: int) -> None:
        os.truncate(tmp_path / "result", MIB)

    with pytest.raises(RemoteError, match="it ended at"):
        await server.transfers.fetch(key, 32 * MIB, tmp_path / "in", progress=cut_short)

    assert server.is_up


async def test_without_space_nothing_is_asked_for(sides: Sides, tmp_path: Path) -> None:
    server, site = await sides.pair()
    server.transfers._intake = Intake(sides.intake.writer, free_bytes=lambda folder: 64 * MIB + 5)
    key = offered(site, tmp_path / "result", b"sixsix")

    with pytest.raises(NoSpace, match="6 bytes are to come, 67,108,870 must be free, 67,108,869 are"):
        await server.transfers.fetch(key, 6, tmp_path / "in")

    assert site.traffic.sent_bytes == 0


async def test_space_is_promised_once(tmp_path: Path) -> None:
    async with Writer() as writer:
        intake = Intake(writer, free_bytes=lambda folder: 64 * MIB + 10)
        async with intake.space(tmp_path, 6):
            with pytest.raises(NoSpace):
                async with intake.space(tmp_path, 5):
                    pass
        async with intake.space(tmp_path, 10):
            pass


async def test_a_folder_that_is_gone_is_told(sides: Sides, tmp_path: Path) -> None:
    server, site = await sides.pair()
    key = offered(site, tmp_path / "result", b"x")

    with pytest.raises(CannotWrite, match="No such file or directory"):
        await server.transfers.fetch(key, 1, tmp_path / "gone" / "in")


async def test_a_full_disk_ends_the_transfer_and_not_the_link(sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server, site = await sides.pair()
    data = some_bytes(8 * MIB)
    key = offered(site, tmp_path / "result", data)
    write, calls = os.pwritev, 0

    def fill_up(fd: int, parts: list[Frame], offset: int) -> int:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise OSError(28, "No space left on device")
        return write(fd, [b"".join(parts)[: MIB // 3]], offset)  # a short write comes before the error

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwritev", fill_up)
        with pytest.raises(CannotWrite, match="No space left"):
            await server.transfers.fetch(key, len(data), tmp_path / "in")
    assert server.is_up

    await server.transfers.fetch(key, len(data), tmp_path / "in")
    assert (tmp_path / "in").read_bytes() == data


# --- streams ---


async def test_a_stream_is_appended_up_to_where_it_is_wanted(sides: Sides, tmp_path: Path) -> None:
    server, site = await sides.pair()
    log = tmp_path / "log.txt"
    log.write_bytes(b"one\n")
    site.transfers.offer("stream:run/log.txt", log, 4)
    copy = tmp_path / "copy.txt"

    assert await server.transfers.fetch("stream:run/log.txt", 4, copy) == 4
    log.write_bytes(b"one\ntwo\nthree\n")
    assert await server.transfers.fetch("stream:run/log.txt", 8, copy) == 8
    assert copy.read_bytes() == b"one\ntwo\n"
    assert await server.transfers.fetch("stream:run/log.txt", 14, copy) == 14

    assert copy.read_bytes() == log.read_bytes()
    assert server.is_up


async def test_a_stream_ends_where_it_ends(sides: Sides, tmp_path: Path) -> None:
    server, site = await sides.pair()
    (tmp_path / "log.txt").write_bytes(b"one\n")
    site.transfers.offer("stream:run/log.txt", tmp_path / "log.txt", 4)

    assert await server.transfers.fetch("stream:run/log.txt", 1000, tmp_path / "copy.txt") == 4


async def test_a_long_stream_takes_several_credits(sides: Sides, tmp_path: Path) -> None:
    server, site = await sides.pair()
    data = some_bytes(9 * MIB)
    (tmp_path / "log.txt").write_bytes(data)
    site.transfers.offer("stream:run/log.txt", tmp_path / "log.txt", 0)

    for upto in (5 * MIB + 3, 9 * MIB):
        assert await server.transfers.fetch("stream:run/log.txt", upto, tmp_path / "copy.txt") == upto

    assert (tmp_path / "copy.txt").read_bytes() == data


# --- ends of all kinds ---


async def test_a_cancelled_fetch_keeps_its_part_and_the_link(sides: Sides, tmp_path: Path) -> None:
    server, site = await sides.pair()
    data = some_bytes(32 * MIB)
    key = offered(site, tmp_path / "result", data)
    begun = asyncio.Event()
    fetching = asyncio.ensure_future(server.transfers.fetch(key, len(data), tmp_path / "in", progress=lambda _: begun.set()))
    await begun.wait()

    fetching.cancel()
    await asyncio.wait([fetching])

    assert fetching.cancelled()
    assert await server.transfers.fetch(key, len(data), tmp_path / "in") == len(data)
    assert (tmp_path / "in").read_bytes() == data
    assert sides.server.downs.empty()


async def test_a_fetch_waits_for_the_link(sides: Sides, tmp_path: Path) -> None:
    server, site = await sides.pair()
    key = offered(site, tmp_path / "result", b"late")
    server.drop(ConnectionReplaced("by the test"))
    fetching = asyncio.ensure_future(server.transfers.fetch(key, 4, tmp_path / "in"))

    await sides.back_off()

    assert await fetching == 4


async def test_a_link_that_ends_for_good_ends_its_fetches(sides: Sides, tmp_path: Path) -> None:
    server, site = await sides.pair()
    key = offered(site, tmp_path / "result", some_bytes(MIB))
    sides.wires[0].is_frozen = True
    under_way = asyncio.ensure_future(server.transfers.fetch(key, MIB, tmp_path / "in"))
    while not server.transfers._downloads:
        await sides.intake.writer.do(lambda: None)

    closing = asyncio.ensure_future(server.close("the run is over"))

    with pytest.raises(LinkClosed, match="the run is over"):
        await under_way
    with pytest.raises(LinkClosed):
        await server.transfers.fetch(key, MIB, tmp_path / "in")
    await closing


async def test_a_transfer_that_brings_nothing_for_a_minute_is_given_up(sides: Sides, tmp_path: Path) -> None:
    server, site = await sides.pair()
    key = offered(site, tmp_path / "result", some_bytes(MIB))
    site._own[Get] = lambda get, body: None
    fetching = asyncio.ensure_future(server.transfers.fetch(key, MIB, tmp_path / "in"))
    while not server.transfers._downloads:
        await sides.intake.writer.do(lambda: None)

    for _ in range(12):
        sides.clock.advance(5)
        assert await server.is_alive(1)
        assert await site.is_alive(1)

    with pytest.raises(TransferStalled, match="nothing has come for 60 s"):
        await fetching
    assert server.is_up


async def test_two_gets_are_under_way_and_the_others_wait(sides: Sides, tmp_path: Path) -> None:
    server, site = await sides.pair()
    under_way: list[int] = []
    answer = site._own[Get]

    def count(get: Get, body: memoryview) -> None:
        answer(get, body)
        under_way.append(len(site.transfers._uploads))

    site._own[Get] = count
    keys = [offered(site, tmp_path / f"result-{n}", some_bytes(5 * MIB, seed=n)) for n in range(6)]
    await asyncio.gather(*(server.transfers.fetch(key, 5 * MIB, tmp_path / f"in-{key}") for key in keys))

    assert len(under_way) == 6
    assert max(under_way) == 2
    assert repr(site.transfers) == "6 offers, 0 out, 0 in"


# --- a peer that breaks the rules ---


@pytest.mark.parametrize(
    ("message", "word"),
    [
        (Chunk(1, 0), "asked for no transfer numbered 1"),
        (Chunk(2, 0), "asked for no transfer numbered 2"),
        (Get(2, "key", 0, 10), "cannot be this peer's"),
        (Get(-1, "key", 0, 10), "cannot be this peer's"),
        (Get(1, "key", -1, 10), "cannot be this peer's"),
    ],
)
async def test_what_nobody_asked_for_drops_the_peer(sides: Sides, message: Chunk | Get, word: str) -> None:
    _, site = await sides.pair()

    site.send(message, b"data")

    reason = await sides.server.downs.get()
    assert "SD-2124" in reason
    assert word in reason


@pytest.mark.parametrize(
    "chunks",
    [[(1, 10)], [(0, 10), (0, 10)], [(0, 0)], [(0, CHUNK_BYTES + 1)], [(n * CHUNK_BYTES, CHUNK_BYTES) for n in range(20)]],
    ids=["ahead", "again", "empty", "too-large", "over-credit"],
)
async def test_chunks_out_of_order_or_over_the_credit_drop_the_peer(sides: Sides, tmp_path: Path, chunks: list[tuple[int, int]]) -> None:
    server, site = await sides.pair()

    def misbehave(get: Get, body: memoryview) -> None:
        for offset, count in chunks:
            site.send(Chunk(get.transfer, offset), bytes(count))

    site._own[Get] = misbehave
    size = 8 * MIB
    fetching = asyncio.ensure_future(server.transfers.fetch("0" * 64, size, tmp_path / "in"))

    assert "SD-2124" in await sides.server.downs.get()
    fetching.cancel()


async def test_a_third_get_drops_the_peer(sides: Sides, tmp_path: Path) -> None:
    server, site = await sides.pair()
    key = offered(site, tmp_path / "result", b"x")

    for number in (2, 4, 6):
        server.send(Get(number, key, 0, 0))

    assert "wanted at most 2 Gets at once" in await sides.sites[0].downs.get()


async def test_a_refusal_that_crosses_the_last_word_is_no_fault(sides: Sides, tmp_path: Path) -> None:
    server, site = await sides.pair()
    key = offered(site, tmp_path / "result", b"x")
    await server.transfers.fetch(key, 1, tmp_path / "in")

    server.send(TransferFailed(2, Failure("SD-2126", "enough")))

    server.send(note(1))
    await sides.sites[0].messages.get()
    assert server.is_up


# --- credit ---


def test_the_window_is_one_second_of_the_measured_rate() -> None:
    clock = FakeClock()
    window = Window(clock)
    assert window.size_bytes == FIRST_CREDIT_BYTES

    clock.now += 1
    window.measure(MIB)
    assert window.size_bytes == MIB
    clock.now += 10
    window.measure(MIB)
    assert window.size_bytes == MIB // 10
    clock.now += 100
    window.measure(MIB)
    assert window.size_bytes == LEAST_CREDIT_BYTES
    clock.now += 0.001
    window.measure(MIB)
    assert window.size_bytes == STREAM_CREDIT_BYTES


async def test_control_is_not_held_up_by_bulk(sides: Sides, tmp_path: Path) -> None:
    """While 200 MB are under way the peer still answers within half a second (mostly: a millisecond)."""
    server, site = await sides.pair()
    size = 200 * MIB
    with (tmp_path / "result").open("wb") as file:
        file.truncate(size)
    digest = hashlib.sha256()
    for _ in range(200):
        digest.update(bytes(MIB))
    site.transfers.offer(digest.hexdigest(), tmp_path / "result", size)
    written: asyncio.Queue[int] = asyncio.Queue()
    fetching = asyncio.ensure_future(server.transfers.fetch(digest.hexdigest(), size, tmp_path / "in", progress=written.put_nowait))
    loop = asyncio.get_running_loop()
    waits: list[float] = []

    while await written.get() < size:
        begun = loop.time()
        assert await server.is_alive(15)
        waits.append(loop.time() - begun)
    await fetching

    assert fetching.result() == size
    assert len(waits) > 10
    assert sorted(waits)[len(waits) // 2] < 0.5
