"""Outbox of a run at a site: its results until their verdict, and the site's states as long as a task may need them (PROTOCOL §2).

Results are numbered as they are kept. Of each there is `<task>.<number>.json` (its rename into place is the commit),
`….result` and, if the task left one, `….state`. At the verdict the record is renamed to `….settled` if the state is still
needed, else removed.

The newest state is the current one, and a task began from the newest that is older than its result. Both stay: a task
that has no verdict may have to run again. A result that the server does not know takes its state along: later states
stay, and tasks that built on it count as begun from the state before it.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ...kernel.errors import Failure
from ...kernel.messages import Payload, split_body
from ...transports.link.writer import Writer
from ..handover.folders import take
from ..handover.messages import ResultFor
from ..workspace.disk import Disk


class Kept(msgspec.Struct, frozen=True):
    """One result in the outbox, as its record says."""

    task_id: str
    number: int
    payload: Payload | None
    meta: bytes
    failure: Failure | None
    state: Payload | None = None
    state_meta: bytes = b""


@dataclass(frozen=True)
class Parts:
    """What a job process handed over with a result: small blobs by value, others by their name in out/."""

    meta: bytes = b""
    inline: bytes | None = None
    state_meta: bytes = b""
    state_inline: bytes | None = None

    @classmethod
    def of(cls, result: ResultFor, body: bytes) -> Parts:
        """What came with a result. Raises: MessageError when the body does not hold what it says."""
        pieces = split_body([payload for payload in (result.payload, result.state) if payload is not None], body)
        meta, inline = pieces[0] if result.payload is not None else (b"", None)
        state_meta, state_inline = pieces[-1] if result.state is not None else (b"", None)
        return cls(meta, inline, state_meta, state_inline)


@dataclass(frozen=True)
class State:
    """A site's state: its bytes if it is small, else the file it lies in."""

    record: Kept
    payload: Payload
    meta: bytes
    inline: bytes | None
    path: Path


class Outbox:
    """Results and states of one run. Its bookkeeping belongs to the event loop, its files to the writer's thread.

    Args:
        folder: where they lie.
        out: where the job process hands over from.
        writer: touches the disk.
        is_durable: small ones are written down, too; without that (durability "none") they are only in memory.
        disk: the file operations.
    """

    def __init__(self, folder: Path, out: Path, writer: Writer, *, is_durable: bool = True, disk: Disk | None = None) -> None:
        self._folder = folder
        self._out = out
        self._writer = writer
        self._is_durable = is_durable
        self._disk = disk or Disk()
        self._inline: dict[str, bytes] = {}
        if is_durable:
            folder.mkdir(parents=True, exist_ok=True)
        kept, settled = self._read("json"), self._read("settled")
        self._kept = {one.task_id: one for one in kept}
        self._number = max((one.number for one in (*kept, *settled)), default=0)
        with_state = [one for one in (*self._kept.values(), *settled) if one.state is not None]
        needed = self._needed(sorted(with_state, key=lambda one: one.number))
        self._states = [state for one in needed if (state := self._state(one, None)) is not None]
        self._sweep()

    @property
    def state(self) -> State | None:
        """The site's current state."""
        return self._states[-1] if self._states else None

    def get(self, task_id: str) -> Kept:
        """What is kept for a task."""
        return self._kept[task_id]

    def result_path(self, task_id: str) -> Path:
        """Where a large result lies."""
        return self._file(self._kept[task_id], "result")

    def result_bytes(self, task_id: str) -> bytes:
        """A small result."""
        if task_id not in self._inline:
            self._inline[task_id] = self.result_path(task_id).read_bytes()
        return self._inline[task_id]

    async def put(self, task_id: str, payload: Payload | None, failure: Failure | None, state: Payload | None, parts: Parts) -> Kept:
        """Keep a result, in the place of an earlier one of the task; when this returns it is committed, and its state is the current one.

        Raises:
            HandoverRefused: what the job handed over is not a plain file of its own.
        """
        self._number += 1
        kept = Kept(task_id, self._number, payload, parts.meta, failure, state, parts.state_meta)
        if self._touches_disk(kept):
            await self._writer.do(lambda: self._write(kept, parts))
        self.release(task_id, takes_back=True)
        self._kept[task_id] = kept
        if parts.inline is not None:
            self._inline[task_id] = parts.inline
        if (new := self._state(kept, parts.state_inline)) is not None:
            self._states = sorted([*self._states, new], key=lambda one: one.record.number)
        return kept

    def release(self, task_id: str, *, takes_back: bool = False) -> None:
        """The server is done with a task: its result goes, and every state that nothing needs any more.

        Args:
            takes_back: the server does not know the task; its state goes, too.
        """
        kept = self._kept.pop(task_id, None)
        self._inline.pop(task_id, None)
        if kept is None:
            return
        before = [one.record for one in self._states]
        stay = self._needed([one for one in before if one is not kept or not takes_back])
        self._states = [one for one in self._states if one.record in stay]
        gone = [one for one in before if one not in stay and one is not kept]
        if any(map(self._touches_disk, (kept, *gone))):
            self._writer.post(lambda: self._settle(kept, gone, has_state=kept in stay))

    def _needed(self, with_state: list[Kept]) -> list[Kept]:
        """The current one, and those that tasks without a verdict began from."""
        numbers = [one.number for one in with_state]
        places = {len(numbers) - 1, *(bisect_left(numbers, kept.number) - 1 for kept in self._kept.values())}
        return [one for place, one in enumerate(with_state) if place in places]

    def _state(self, kept: Kept, inline: bytes | None) -> State | None:
        if kept.state is None:
            return None
        path = self._file(kept, "state")
        if inline is None and kept.state.is_inline:
            inline = path.read_bytes()
        return State(kept, kept.state, kept.state_meta, inline, path)

    # --- files --------------------------------------------------------------------------------------------------

    def _touches_disk(self, kept: Kept) -> bool:
        return self._is_durable or any(one is not None and not one.is_inline for one in (kept.payload, kept.state))

    def _read(self, suffix: str) -> list[Kept]:
        found = [msgspec.json.decode(path.read_bytes(), type=Kept) for path in self._folder.glob(f"*.{suffix}")]
        return sorted(found, key=lambda kept: kept.number)

    def _sweep(self) -> None:
        """Remove what a crash has left: files that no record has, and records that nothing needs."""
        wanted = {self._file(kept, suffix) for kept in self._kept.values() for suffix in ("json", "result", "state")}
        wanted |= {self._file(one.record, suffix) for one in self._states for suffix in ("settled", "state")}
        for path in self._folder.glob("*"):
            if path not in wanted:
                self._disk.unlink(path)

    def _write(self, kept: Kept, parts: Parts) -> None:
        """On the writer's thread."""
        if kept.payload is not None:
            self._place(self._file(kept, "result"), kept.payload, parts.inline)
        if kept.state is not None:
            self._place(self._file(kept, "state"), kept.state, parts.state_inline)
        if self._is_durable:
            self._disk.atomic_write(self._file(kept, "json"), msgspec.json.encode(kept))

    def _settle(self, kept: Kept, gone: list[Kept], *, has_state: bool) -> None:
        """On the writer's thread. The record goes first: what it names must be there as long as it is."""
        record = self._file(kept, "json")
        if has_state and self._is_durable:
            self._disk.rename(record, self._file(kept, "settled"))
        else:
            self._disk.unlink(record)
        self._disk.unlink(self._file(kept, "result"))
        for one in gone if has_state else [kept, *gone]:
            self._disk.unlink(self._file(one, "settled"))
            self._disk.unlink(self._file(one, "state"))

    def _place(self, target: Path, payload: Payload, inline: bytes | None) -> None:
        if inline is None:
            self._folder.mkdir(parents=True, exist_ok=True)  # not before, if nothing else is written: virtual sites are many, disks slow
            take(self._disk, self._out, payload.name, target, uid=os.getuid(), size_bytes=payload.size_bytes)
        elif self._is_durable:
            self._disk.atomic_write(target, inline)

    def _file(self, kept: Kept, suffix: str) -> Path:
        return self._folder / f"{kept.task_id}.{kept.number}.{suffix}"
