"""The outbox of a site: what is kept until which verdict, in any order, and after a restart."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sundog.kernel.errors import Failure
from sundog.kernel.messages import INLINE_LIMIT_BYTES, Payload
from sundog.kits.site.outbox import Outbox, Parts
from sundog.transports.link import Writer

BOOM = Failure("SD-4090", "x")


class Kept:
    """An outbox, and what a job process hands over to it."""

    def __init__(self, root: Path, writer: Writer, *, is_durable: bool = True) -> None:
        self.root = root
        self.writer = writer
        self.is_durable = is_durable
        (root / "out").mkdir()
        self.reopen()

    def reopen(self) -> None:
        """As after a restart of the site."""
        self.outbox = Outbox(self.root / "outbox", self.root / "out", self.writer, is_durable=self.is_durable)

    async def put(self, task_id: str, state: bytes | None = None, result: bytes | None = None) -> None:
        payload, inline = self._handed(result)
        state_payload, state_inline = self._handed(state)
        parts = Parts(b"m", inline, b"n" if state else b"", state_inline)
        await self.outbox.put(task_id, payload, None if payload else BOOM, state_payload, parts)

    def _handed(self, data: bytes | None) -> tuple[Payload | None, bytes | None]:
        if data is None:
            return None, None
        sha256 = hashlib.sha256(data).hexdigest()
        if len(data) <= INLINE_LIMIT_BYTES:
            return Payload(1, sha256, len(data)), data
        (self.root / "out" / sha256).write_bytes(data)
        return Payload(1, sha256, len(data), sha256), None

    @property
    def state(self) -> bytes | None:
        """The bytes that the next task would begin from."""
        state = self.outbox.state
        if state is None:
            return None
        assert state.meta == b"n"
        return state.inline if state.inline is not None else state.path.read_bytes()

    async def files(self) -> list[str]:
        """What lies in the outbox, when the writer has done its work."""
        await self.writer.do(lambda: None)
        return sorted(path.name for path in (self.root / "outbox").iterdir())


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Kept]:
    async with Writer() as writer:
        yield Kept(tmp_path, writer)


LARGE = bytes(INLINE_LIMIT_BYTES + 1)


@pytest.mark.parametrize("state", [b"s", LARGE], ids=["small", "large"])
async def test_the_state_survives_the_verdict_of_its_result_and_then_a_restart(kept: Kept, state: bytes) -> None:
    """PROTOCOL §2: the record of the result, which went with the verdict, was the only one that knew of it."""
    await kept.put("a", state)
    kept.outbox.release("a")
    assert await kept.files() == ["a.1.settled", "a.1.state"]

    kept.reopen()

    assert kept.state == state
    await kept.put("b", b"t")
    kept.outbox.release("b")
    assert await kept.files() == ["b.2.settled", "b.2.state"]


async def test_the_state_before_a_task_stays_until_that_tasks_own_verdict(kept: Kept) -> None:
    """An open task may have to run again after later ones are over."""
    for task_id, state in (("a", b"1"), ("b", b"2"), ("c", b"3")):
        await kept.put(task_id, state)
    for task_id in ("a", "c"):
        kept.outbox.release(task_id)
    assert await kept.files() == ["a.1.settled", "a.1.state", "b.2.json", "c.3.settled", "c.3.state"]
    kept.reopen()

    kept.outbox.release("b")

    assert await kept.files() == ["c.3.settled", "c.3.state"]
    assert kept.state == b"3"


async def test_an_unknown_task_gives_the_state_before_it_back(kept: Kept) -> None:
    await kept.put("a", b"1")
    kept.outbox.release("a")
    await kept.put("b", b"2")

    kept.outbox.release("b", takes_back=True)

    assert kept.state == b"1"
    assert await kept.files() == ["a.1.settled", "a.1.state"]
    kept.reopen()
    assert kept.state == b"1"


async def test_without_durability_a_small_result_touches_no_disk(tmp_path: Path) -> None:
    async with Writer() as writer:
        kept = Kept(tmp_path, writer, is_durable=False)
        await kept.put("a", b"1", b"r")
        await kept.put("b", LARGE, b"r")
        assert (kept.outbox.result_bytes("a"), await kept.files()) == (b"r", ["b.2.state"])

        for task_id in "ab":
            kept.outbox.release(task_id)
        await kept.put("c", b"3")
        kept.outbox.release("c")

        assert (kept.state, await kept.files()) == (b"3", [])


async def test_a_second_result_of_a_task_takes_the_place_of_the_first(kept: Kept) -> None:
    """One that was to stop may answer, and die before that is kept."""
    await kept.put("a", b"1", b"first")
    await kept.put("a", None, None)

    assert (kept.outbox.get("a").failure, kept.state) == (BOOM, None)
    assert await kept.files() == ["a.2.json"]


async def test_what_a_crash_left_half_written_is_swept(kept: Kept) -> None:
    await kept.put("a", b"1", b"r")
    for name in ("b.2.result", "b.2.state", ".b.2.json.1.0.draft"):
        (kept.root / "outbox" / name).write_bytes(b"half")

    kept.reopen()

    assert await kept.files() == ["a.1.json", "a.1.result", "a.1.state"]


# --- any order ---

SIZES = st.sampled_from([0, 1, INLINE_LIMIT_BYTES + 1])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), SIZES, SIZES),
        st.tuples(st.sampled_from(["verdict", "unknown"]), st.integers(0, 20), st.just(0)),
        st.tuples(st.just("restart"), st.just(0), st.just(0)),
    ),
    max_size=12,
)


@given(STEPS)
def test_every_task_without_a_verdict_can_run_again_from_the_state_it_began_from(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, int]]
) -> None:
    """Results come, verdicts and losses of them are heard in any order, and the site may restart anywhere."""
    asyncio.run(played(tmp_path_factory.mktemp("outbox"), steps))


async def played(root: Path, steps: list[tuple[str, int, int]]) -> None:
    """The model: all results ever kept, in order, less those that the server does not know."""
    history: dict[str, bytes | None] = {}
    waiting: list[str] = []

    def current() -> bytes | None:
        return next((state for state in reversed(history.values()) if state is not None), None)

    async with Writer() as writer:
        kept = Kept(root, writer)
        for number, (what, first, second) in enumerate([*steps, ("restart", 0, 0)]):
            if what == "put":
                state = bytes([number + 1]) * second or None
                await kept.put(f"t{number}", state, bytes([100 + number]) * first or None)
                history[f"t{number}"] = state
                waiting.append(f"t{number}")
            elif what == "restart":
                await kept.files()
                kept.reopen()
            elif waiting:
                task_id = waiting.pop(first % len(waiting))
                kept.outbox.release(task_id, takes_back=what == "unknown")
                if what == "unknown":
                    del history[task_id]
            assert kept.state == current()
            assert all(kept.outbox.get(task_id) for task_id in waiting)
        for task_id in reversed(waiting):  # as if the server had lost them all: each began from what is current then
            kept.outbox.release(task_id, takes_back=True)
            del history[task_id]
            assert kept.state == current()
        assert len(await kept.files()) == (2 if kept.state is not None else 0)
