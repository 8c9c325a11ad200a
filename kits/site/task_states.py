"""With which state does a task begin at a site: the site's current one, or what the task left itself before its process died?"""

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
from .outbox import Outbox


class TaskStates:
    """What a job process is given besides tasks, and what trainers put aside in the middle of one."""

    def __init__(self, outbox: Outbox, folder: RunFolder, writer: Writer, disk: Disk | None = None) -> None:
        self._outbox = outbox
        self._folder = folder
        self._writer = writer
        self._disk = disk or Disk()
        self._is_given = False
        """Whether the job process that runs now was given the site's state."""
        self._checkpoint: tuple[str, Payload, bytes, bytes | None] | None = None

    def new_process(self) -> None:
        """A job process that knows nothing is started."""
        self._is_given = False

    def of(self, task_id: str) -> tuple[Payload | None, list[bytes]]:
        """What to hand over with a task. None: nothing that the process does not have."""
        if self._checkpoint is not None and self._checkpoint[0] == task_id:
            _, payload, meta, inline = self._checkpoint
            return payload, [meta] if inline is None else [meta, inline]
        if self._outbox.state is None or self._is_given:
            return None, []
        self._is_given = True
        state = self._outbox.state
        if state.inline is not None:
            return state.payload, [state.meta, state.inline]
        link = self._folder.inbox / f"state.{state.payload.sha256}"
        self._disk.link(state.path, link)
        return msgspec.structs.replace(state.payload, name=link.name), [state.meta]

    async def keep(self, message: Checkpoint, body: bytes) -> None:
        """Keep what a trainer wants back if its process dies at this task.

        Raises:
            MessageError, HandoverRefused, OSError: it cannot be kept; the one before counts.
        """
        payload = message.payload
        meta, inline = split_body([payload], body)[0]
        if inline is None:
            place = self._folder.inbox / f"checkpoint.{message.task_id}"
            taking = partial(take, self._disk, self._folder.out, payload.name, place, uid=os.getuid(), size_bytes=payload.size_bytes)
            await self._writer.do(taking)
            payload = Payload(payload.meta_bytes, payload.sha256, payload.size_bytes, place.name)
        self._checkpoint = (message.task_id, payload, meta, inline)
