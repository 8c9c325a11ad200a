"""Payloads of a job process: a Shareable and its shared values, to and from the supervisor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ...kernel.blobs import Blob
from ...kernel.messages import Payload, split_body
from ...kernel.shareable import Shareable, decode_shared, encode_shared


class Sender:
    """Makes payloads of what leaves a job process; a file leaves by its name in out/, once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._handed: set[str] = set()

    def payload(self, shareable: Shareable | None, shared: Mapping[str, Any]) -> tuple[Payload, list[bytes]]:
        """The payload, and the parts of the body that go with it; without a Shareable only the shared values travel."""
        values = encode_shared(shared)
        if shareable is None:
            return Payload(len(values), shared_bytes=len(values)), [values]
        front, blob = shareable.encode_meta() + values, shareable.blob(self._folder)
        is_handed = blob.inline is not None or blob.sha256 in self._handed
        name = "" if is_handed else blob.give(self._folder).name
        payload = Payload(len(front), blob.sha256, blob.size_bytes, name, len(values))
        return payload, [front] if blob.inline is None else [front, blob.inline]

    def handed(self, shareables: Iterable[Shareable], *, only: bool = False) -> None:
        """The supervisor has them; until it may unlink them their hash is enough. `only`: a step is closed, all else may go."""
        if only:
            self._handed.clear()
        self._handed.update(shareable.blob(self._folder).sha256 for shareable in shareables)

    def receive(self, folder: Path, payload: Payload, body: bytes) -> tuple[Shareable | None, dict[str, Any]]:
        """What came in, with its shared values; a file of the supervisor's needs no hand-over to go back."""
        received = unpack(folder, payload, *split_body([payload], body)[0])
        self._handed.add(payload.sha256)
        return received


def unpack(
    folder: Path, payload: Payload, front: bytes, inline: bytes | None, *, mapped: bool = False
) -> tuple[Shareable | None, dict[str, Any]]:
    """A payload's Shareable (None: a task without a model), and the values that travelled along.

    Args:
        folder: where the file of its name lies, if its tensors are one.
        mapped: its arrays are mapped copy-on-write instead of read.

    Raises:
        PayloadError: it is malformed.
    """
    cut = len(front) - payload.shared_bytes
    shared = decode_shared(front[cut:])
    if not payload.has_blob:
        return None, shared
    blob = Blob.of_bytes(inline, payload.sha256) if inline is not None else Blob.open(folder / payload.name, payload.sha256)
    return Shareable.decode(front[:cut], blob, mapped=mapped), shared
