"""Which blobs does a run hold at the server, where do they lie, and when do they go (PROTOCOL §3, §6)?

Models and states lie in state/blobs/<run>/, results in the run's in/, where the job process reads them. A blob goes when
the step after the last one that used it is closed, and never while it is the committed state of a workflow.
"""

from __future__ import annotations

import hashlib
import os
from functools import partial
from pathlib import Path

import msgspec

from ...kernel.errors import JobError
from ...kernel.messages import Payload
from ...transports.link.link import Link, LinkClosed
from ...transports.link.partfile import WrongHash
from ...transports.link.writer import Writer
from ..handover.folders import take
from ..workspace.blobs import BlobStore
from ..workspace.disk import Disk
from ..workspace.folders import RunFolder
from ..workspace.journal import Work
from ..workspace.posix import read_plain
from .run_state import RunState


class BlobMissing(JobError):
    """A job process named a blob that its supervisor does not have.

    Cause: a mistake in this program: a step used a model that was released with an earlier one.

    Cure: report it with the run's log.txt.
    """

    code = "SD-4107"


class RunBlobs:
    """The blobs of one run."""

    def __init__(self, store: BlobStore, folder: RunFolder, writer: Writer, *, writes_small: bool = True, disk: Disk | None = None) -> None:
        self._writes_small = writes_small
        self._store = store
        self._folder = folder
        self._writer = writer
        self._disk = disk or Disk()
        self._small: dict[str, bytes] = {}
        self._last_used: dict[str, int] = {}
        self._results: set[str] = set()
        """Blobs that lie in in/."""
        self._taken: set[str] = set()
        """Blobs that lie in the store."""
        self._unwritten: set[str] = set()
        """Small ones that are only in memory (durability "none")."""
        self._closed = 0
        self._offered: dict[str, set[tuple[Link, Path]]] = {}

    def path(self, payload: Payload) -> Path:
        """Where a blob lies; one that was only in memory is written for it."""
        path = self._folder.inbox / payload.sha256 if payload.sha256 in self._results else self._store.path(payload.sha256)
        if payload.sha256 in self._unwritten:
            self._disk.atomic_write(path, self._small[payload.sha256])
            self._unwritten.discard(payload.sha256)
        return path

    def inline(self, payload: Payload) -> bytes | None:
        """The bytes of a small blob; None for one that travels by itself.

        Raises:
            WrongHash: the job's code has replaced the file of a result.
            OSError: it cannot be read.
        """
        if not payload.is_inline:
            return None
        if payload.sha256 not in self._small:
            self._small[payload.sha256] = self._read_again(payload)
        return self._small[payload.sha256]

    def _read_again(self, payload: Payload) -> bytes:
        """Read a small blob that was written before this process began: results lie where the job's code could write."""
        try:
            data = read_plain(self.path(payload), payload.size_bytes)
        except ValueError as exc:
            raise WrongHash(f"{payload.sha256}: {exc}") from exc
        if hashlib.sha256(data).hexdigest() != payload.sha256:
            raise WrongHash(f"the kept file of {payload.sha256} has other bytes now")
        return data

    def named(self, payload: Payload) -> Payload:
        """A result's payload as the job process reads it: a large blob by its name in in/."""
        return payload if payload.is_inline else msgspec.structs.replace(payload, name=payload.sha256)

    async def take(self, pieces: list[tuple[Payload, bytes | None]]) -> list[Work]:
        """Take what the job process hands over: small ones from the message, others from out/ by their name.

        Returns:
            What the writer is to do before it writes the record that speaks of the small ones.

        Raises:
            HandoverRefused: not a plain file of the job's own.
            BlobMissing: neither here nor handed over.
        """
        works: list[Work] = []
        for payload, inline in pieces:
            if not payload.has_blob:
                continue
            is_here = payload.sha256 in self._last_used
            self._last_used[payload.sha256] = self._closed
            if inline is not None:
                self._small[payload.sha256] = inline
                if not is_here:
                    self._taken.add(payload.sha256)
                    works += self._writing(payload, self._store.path(payload.sha256), inline)
            elif payload.name:
                self._taken.add(payload.sha256)
                await self._writer.do(partial(self._take_file, payload))
            elif not is_here:
                raise BlobMissing(f"the blob {payload.sha256} is not here")
        return works

    def _writing(self, payload: Payload, target: Path, inline: bytes) -> list[Work]:
        if self._writes_small:
            return [partial(self._disk.atomic_write, target, inline)]
        self._unwritten.add(payload.sha256)
        return []

    def _take_file(self, payload: Payload) -> None:
        target = self._store.path(payload.sha256)
        take(self._disk, self._folder.out, payload.name, target, uid=os.getuid(), size_bytes=payload.size_bytes)

    async def receive(self, link: Link | None, payload: Payload, inline: bytes | None) -> list[Work]:
        """Get a result into in/; a small one is written by what is returned, before the record that speaks of it.

        Raises:
            LinkClosed: the site is not there; it offers the result again.
            WrongHash: the small one is another than announced; under that name it would be sent to other sites as theirs.
            LinkError, RemoteError, OSError: it cannot be had.
        """
        if not payload.has_blob:
            return []
        target = self._folder.inbox / payload.sha256
        if inline is not None and hashlib.sha256(inline).hexdigest() != payload.sha256:
            raise WrongHash(f"the bytes that came along have another hash than {payload.sha256}")
        if inline is None:
            if link is None:
                raise LinkClosed("the site's link is gone")
            await link.transfers.fetch(payload.sha256, payload.size_bytes, target)
        self._last_used[payload.sha256] = self._closed  # not before it is there: a model may have the same bytes
        self._results.add(payload.sha256)
        if inline is None:
            return []
        self._small[payload.sha256] = inline
        return self._writing(payload, target, inline)

    def offer(self, link: Link, payload: Payload) -> None:
        """Let a site get a blob until it goes."""
        path = self.path(payload)
        self._offered.setdefault(payload.sha256, set()).add((link, path))
        link.transfers.offer(payload.sha256, path, payload.size_bytes)

    async def release(self, run: RunState) -> None:
        """A step is closed: let go what only steps before it used."""
        self._closed += 1
        for sha256 in {payload.sha256 for payload in run.payloads_in_use() if payload.has_blob}:
            self._last_used[sha256] = self._closed
        old = [sha256 for sha256, used in self._last_used.items() if used < self._closed - 1]
        paths = [path for sha256 in old for path in self._drop(sha256)]
        if paths:
            await self._writer.do(lambda: self._unlink(paths))

    def _drop(self, sha256: str) -> list[Path]:
        """Forget a blob; where it lies: a result that became a state, or was sent on, lies in both places."""
        del self._last_used[sha256]
        self._small.pop(sha256, None)
        for link, path in self._offered.pop(sha256, ()):
            link.transfers.withdraw(sha256, path)
        if sha256 in self._unwritten:
            self._unwritten.discard(sha256)
            self._results.discard(sha256)
            self._taken.discard(sha256)
            return []
        places = [self._store.path(sha256)] if sha256 in self._taken else []
        if sha256 in self._results:
            places.append(self._folder.inbox / sha256)
        self._results.discard(sha256)
        self._taken.discard(sha256)
        return places

    def _unlink(self, old: list[Path]) -> None:
        for path in old:
            self._disk.unlink(path)

    async def finish(self, run: RunState, folder: RunFolder) -> None:
        """The run is over: its last model gets a name in models/, all else goes."""
        final = run.final_state
        place = self.path(final) if final is not None else None
        for sha256 in list(self._last_used):
            self._drop(sha256)
        await self._writer.do(lambda: self._settle(place, folder))

    def _settle(self, final: Path | None, folder: RunFolder) -> None:
        if final is not None and final.exists():
            self._disk.link(final, folder.models / "model.safetensors")
        for leftover in (folder.inbox, folder.out, self._store.folder):
            self._disk.rmtree(leftover)
