"""State that a task begins with at a site: its own checkpoint after a death of its process, else the site's current state."""

from __future__ import annotations

import os
from functools import partial

import msgspec

from ...kernel.messages import Payload, split_body
from ...transports.link.writer import Writer
from ..handover.folders import take
from ..handover.messages import Checkpoint
from ..workspace.disk import Disk
from ..workspace.folders import RunFolder
from .outbox import Outbox, State


class TaskStates:
    """What a job process is given besides tasks, and what trainers put aside in the middle of one."""

    def __init__(self, outbox: Outbox, folder: RunFolder, writer: Writer, disk: Disk | None = None) -> None:
        self._outbox = outbox
        self._folder = folder
        self._writer = writer
        self._disk = disk or Disk()
        self._linked: State | None = None
        self._checkpoint: tuple[str, Payload, bytes, bytes | None] | None = None

    def of(self, task_id: str) -> tuple[Payload | None, list[bytes]]:
        """What to hand over with a task: its own checkpoint, else the site's state; None if there is neither."""
        if self._checkpoint is not None and self._checkpoint[0] == task_id:
            _, payload, meta, inline = self._checkpoint
            return payload, [meta] if inline is None else [meta, inline]
        state = self._outbox.state
        if state is None:
            return None, []
        if state.inline is not None:
            return state.payload, [state.meta, state.inline]
        place = self._folder.inbox / "state"
        if self._linked is not state:
            self._disk.link(state.path, place)
            self._linked = state
        return msgspec.structs.replace(state.payload, name=place.name), [state.meta]

    async def keep(self, message: Checkpoint, body: bytes) -> None:
        """Keep what a trainer wants back if its process dies at this task.

        Raises:
            MessageError, HandoverRefused, OSError: it cannot be kept; the one before counts.
        """
        payload = message.payload
        meta, inline = split_body([payload], body)[0]
        if inline is None:
            place = self._folder.inbox / "checkpoint"
            taking = partial(take, self._disk, self._folder.out, payload.name, place, uid=os.getuid(), size_bytes=payload.size_bytes)
            await self._writer.do(taking)
            payload = Payload(payload.meta_bytes, payload.sha256, payload.size_bytes, place.name)
        self._checkpoint = (message.task_id, payload, meta, inline)
