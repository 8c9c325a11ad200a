"""Where does a site keep its results until a verdict for them is heard (PROTOCOL §2)?

Of each result there is `<task>.json` (its rename into place is the commit), `<task>.result` and, if the task left one,
`<task>.state`. The state of the newest result is the current one; the one before stays until the verdict, because a
task that runs again starts from it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ...kernel.errors import Failure
from ...kernel.messages import Payload, split_body
from ..handover.folders import take
from ..handover.messages import ResultFor
from ..workspace.disk import Disk


class Kept(msgspec.Struct, frozen=True):
    """One result in the outbox, as its .json file says."""

    task_id: str
    number: int
    """Results of a run are numbered as they were kept."""
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

    payload: Payload
    meta: bytes
    inline: bytes | None
    path: Path


class Outbox:
    """The results of one run that have no verdict yet.

    Args:
        folder: where they lie.
        out: where the job process hands over from.
        is_durable: small ones are written down, too; without that (durability "none") they are only in memory.
        disk: writes them.
    """

    def __init__(self, folder: Path, out: Path, *, is_durable: bool = True, disk: Disk | None = None) -> None:
        self._folder = folder
        self._out = out
        self._is_durable = is_durable
        self._disk = disk or Disk()
        folder.mkdir(parents=True, exist_ok=True)
        found = [msgspec.json.decode(path.read_bytes(), type=Kept) for path in folder.glob("*.json")]
        self._kept = {kept.task_id: kept for kept in sorted(found, key=lambda kept: kept.number)}
        self._inline: dict[str, bytes] = {}
        self._number = max((kept.number for kept in found), default=0)
        self._old_states: set[Path] = set()
        self.state: State | None = None
        """The site's current state."""
        for kept in self._kept.values():
            self._set_state(kept, None)

    def get(self, task_id: str) -> Kept:
        """What is kept for a task."""
        return self._kept[task_id]

    def result_path(self, task_id: str) -> Path:
        """Where a large result lies."""
        return self._file(task_id, "result")

    def result_bytes(self, task_id: str) -> bytes:
        """A small result."""
        if task_id not in self._inline:
            self._inline[task_id] = self.result_path(task_id).read_bytes()
        return self._inline[task_id]

    def needs_disk(self, payload: Payload | None, state: Payload | None) -> bool:
        """Whether `put` of these has to touch the disk, and so belongs on the writer thread."""
        return self._is_durable or any(one is not None and not one.is_inline for one in (payload, state))

    def put(self, task_id: str, payload: Payload | None, failure: Failure | None, state: Payload | None, parts: Parts) -> Kept:
        """Keep a result; when this returns it is committed.

        Raises:
            HandoverRefused: what the job handed over is not a plain file of its own.
        """
        if payload is not None:
            self._place(self._file(task_id, "result"), payload, parts.inline)
        if state is not None:
            self._place(self._file(task_id, "state"), state, parts.state_inline)
        self._number += 1
        kept = Kept(task_id, self._number, payload, parts.meta, failure, state, parts.state_meta)
        if self._is_durable:
            self._disk.atomic_write(self._file(task_id, "json"), msgspec.json.encode(kept))
        self._kept[task_id] = kept
        if parts.inline is not None:
            self._inline[task_id] = parts.inline
        self._set_state(kept, parts.state_inline)
        return kept

    def release(self, task_id: str) -> list[Path]:
        """A verdict was heard: forget the result. What is returned is to be unlinked; the current state's file is not among it."""
        kept = self._kept.pop(task_id, None)
        self._inline.pop(task_id, None)
        if kept is None or not self.needs_disk(kept.payload, kept.state):
            return []
        old, self._old_states = self._old_states, set()
        return [self._file(task_id, "json"), self._file(task_id, "result"), *old]

    def _set_state(self, kept: Kept, inline: bytes | None) -> None:
        if kept.state is None:
            return
        if self.state is not None:
            self._old_states.add(self.state.path)
        path = self._file(kept.task_id, "state")
        if inline is None and kept.state.is_inline:
            inline = path.read_bytes()
        self.state = State(kept.state, kept.state_meta, inline, path)

    def _place(self, target: Path, payload: Payload, inline: bytes | None) -> None:
        if inline is None:
            take(self._disk, self._out, payload.name, target, uid=os.getuid(), size_bytes=payload.size_bytes)
        elif self._is_durable:
            self._disk.write_plain(target, inline)

    def _file(self, task_id: str, suffix: str) -> Path:
        return self._folder / f"{task_id}.{suffix}"
