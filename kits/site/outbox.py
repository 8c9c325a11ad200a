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
from ...kernel.messages import Payload
from ..handover.folders import take
from ..workspace.folders import atomic_write, write_plain


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


class Outbox:
    """The results of one run that have no verdict yet. Methods that touch the disk run on the writer thread."""

    def __init__(self, folder: Path, out: Path) -> None:
        self._folder = folder
        self._out = out
        folder.mkdir(parents=True, exist_ok=True)
        self._kept: dict[str, Kept] = {}
        for path in folder.glob("*.json"):
            kept = msgspec.json.decode(path.read_bytes(), type=Kept)
            self._kept[kept.task_id] = kept
        self._number = max((kept.number for kept in self._kept.values()), default=0)
        self._state: tuple[Payload, bytes, Path] | None = None
        self._states: set[str] = set()
        """Released tasks whose state was current then: the last of them may still be."""
        self._find_state()

    def _find_state(self) -> None:
        for kept in sorted(self._kept.values(), key=lambda kept: kept.number):
            if kept.state is not None:
                self._state = (kept.state, kept.state_meta, self._file(kept.task_id, "state"))

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._kept

    def __iter__(self) -> object:
        return iter(self._kept)

    def get(self, task_id: str) -> Kept:
        """What is kept for a task."""
        return self._kept[task_id]

    def result_path(self, task_id: str) -> Path:
        """Where a result's blob lies."""
        return self._file(task_id, "result")

    @property
    def state(self) -> tuple[Payload, bytes, Path] | None:
        """The site's current state: payload, meta and file."""
        return self._state

    def put(self, task_id: str, payload: Payload | None, failure: Failure | None, state: Payload | None, parts: Parts) -> Kept:
        """Keep a result; when this returns it is committed.

        Raises:
            HandoverRefused: what the job handed over is not a plain file of its own.
        """
        if payload is not None:
            self._place(task_id, "result", payload, parts.inline)
        if state is not None:
            self._place(task_id, "state", state, parts.state_inline)
        self._number += 1
        kept = Kept(task_id, self._number, payload, parts.meta, failure, state, parts.state_meta)
        atomic_write(self._file(task_id, "json"), msgspec.json.encode(kept))
        self._kept[task_id] = kept
        if state is not None:
            self._state = (state, parts.state_meta, self._file(task_id, "state"))
        return kept

    def release(self, task_id: str) -> None:
        """A verdict was heard: forget the result. The current state stays, and so does its file."""
        kept = self._kept.pop(task_id, None)
        if kept is None:
            return
        self._file(task_id, "json").unlink(missing_ok=True)
        self._file(task_id, "result").unlink(missing_ok=True)
        if kept.state is not None:
            self._states.add(task_id)
        current = self._state[2].stem if self._state is not None else ""
        for old in self._states - {current}:
            self._file(old, "state").unlink(missing_ok=True)
        self._states &= {current}

    def _place(self, task_id: str, suffix: str, payload: Payload, inline: bytes | None) -> None:
        target = self._file(task_id, suffix)
        if inline is not None:
            write_plain(target, inline)
        else:
            take(self._out, payload.name, target, uid=os.getuid(), size_bytes=payload.size_bytes)

    def _file(self, task_id: str, suffix: str) -> Path:
        return self._folder / f"{task_id}.{suffix}"
