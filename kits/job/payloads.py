"""How a Shareable crosses between a job process and its supervisor: meta and small tensors in the body, the rest as a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ...kernel.blobs import Blob
from ...kernel.messages import Payload, split_body
from ...kernel.shareable import Shareable

_SHARED = "sundog.shared"
"""The meta key under which `ctx.shared` travels."""
_NO_MODEL = "sundog.no_model"
"""The meta key that marks a task without a model."""


class Sender:
    """Makes payloads of what leaves a job process; a file leaves by its name in out/, once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._handed: set[str] = set()

    def payload(self, shareable: Shareable | None, shared: Mapping[str, Any]) -> tuple[Payload, list[bytes]]:
        """The payload, and the parts of the body that go with it; a None says: no model, only shared values."""
        shareable = shareable or Shareable("METRICS", meta={_NO_MODEL: True})
        carried = shareable.replace(meta={**shareable.meta, _SHARED: dict(shared)}) if shared else shareable
        meta, blob = carried.encode_meta(), shareable.blob(self._folder)
        if blob.inline is not None:
            return Payload(len(meta), blob.sha256, blob.size_bytes), [meta, blob.inline]
        name = "" if blob.sha256 in self._handed else blob.give(self._folder).name
        return Payload(len(meta), blob.sha256, blob.size_bytes, name), [meta]

    def handed(self, shareables: Iterable[Shareable], *, only: bool = False) -> None:
        """The supervisor has them; until it may unlink them their hash is enough. `only`: a step is closed, all else may go."""
        if only:
            self._handed.clear()
        self._handed.update(shareable.blob(self._folder).sha256 for shareable in shareables)

    def receive(self, folder: Path, payload: Payload, body: bytes) -> Shareable:
        """What came in, with its shared values still in the meta; a file of the supervisor's needs no hand-over to go back."""
        meta, inline = split_body([payload], body)[0]
        blob = open_blob(folder, payload, inline)
        self._handed.add(payload.sha256)
        return receive_shareable(meta, blob)


def open_blob(folder: Path, payload: Payload, inline: bytes | None) -> Blob:
    """The blob of a payload: its bytes, or the file of its name."""
    if inline is not None:
        return Blob.of_bytes(inline, payload.sha256)
    return Blob.open(folder / payload.name, payload.sha256)


def receive_shareable(meta: bytes, blob: Blob, *, mapped: bool = False) -> Shareable:
    """A Shareable from its encoded meta and its blob."""
    return Shareable.decode(meta, blob, mapped=mapped)


def unpack(shareable: Shareable) -> tuple[Shareable | None, dict[str, Any]]:
    """What was sent (None: a task without a model), and the values that travelled along."""
    if _SHARED not in shareable.meta and _NO_MODEL not in shareable.meta:
        return shareable, {}
    meta = dict(shareable.meta)
    shared, is_empty = meta.pop(_SHARED, None), meta.pop(_NO_MODEL, False)
    return None if is_empty else shareable.replace(meta=meta), shared if isinstance(shared, dict) else {}
