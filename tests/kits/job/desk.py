"""A job's two ends without a process: an app written to a folder, and a channel that keeps what the job says."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from sundog.kernel.messages import Message, Payload
from sundog.kernel.shareable import Shareable
from sundog.kits.handover.messages import StartDocument
from sundog.kits.job.mailbox import Mailbox
from sundog.kits.job.payloads import Sender, unpack


def write_app(folder: Path, role: str, config: dict[str, Any], custom: dict[str, str] | None = None) -> Path:
    """An app with one config and its custom code, in a run's folder that has in/ and out/."""
    name = {"server": "config_fed_server", "site": "config_fed_client"}[role]
    (folder / "app" / "config").mkdir(parents=True)
    (folder / "app" / "config" / f"{name}.json").write_text(json.dumps(config))
    for file, text in (custom or {}).items():
        path = folder / "app" / "custom" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for name in ("in", "out"):
        (folder / name).mkdir()
    return folder


def start(folder: Path, role: str, name: str, **more: Any) -> bytes:
    return msgspec.msgpack.encode(StartDocument("run", role, name, ["site-1", "site-2"], 7, 1, str(folder), **more))


@dataclass
class Desk:
    """A channel: keeps what the job says, and lets a test answer to it."""

    folder: Path
    mailbox: Mailbox = field(default_factory=Mailbox)
    said: list[tuple[Message, bytes]] = field(default_factory=list)
    on_message: Callable[[Message], object] = lambda _: None

    def send(self, message: Message, *body: bytes | memoryview) -> None:
        self.said.append((message, b"".join(body)))
        self.on_message(message)

    def of(self, kind: type[Message]) -> list[Any]:
        return [message for message, _ in self.said if isinstance(message, kind)]

    @property
    def last(self) -> Any:
        return self.said[-1][0]

    def received(self, payload: Payload, front: bytes, inline: bytes | None) -> tuple[Shareable, dict[str, Any]]:
        """What the job handed over: a Shareable, and the values that travel along."""
        shareable, shared = unpack(self.folder / "out", payload, front, inline)
        assert shareable is not None
        return shareable, shared


def packed(folder: Path, shareable: Shareable | None, shared: dict[str, Any] | None = None) -> tuple[Payload, bytes]:
    """A payload and its body, as a supervisor would hand it in: a large blob lies in in/ by its name."""
    payload, parts = Sender(folder / "in").payload(shareable, shared or {})
    return payload, b"".join(parts)
