"""What does a participant's kit say: who it is, whom it talks to, with which components it works?

Three JSON files in startup/, one for each kind of participant, named as FLARE names them. An endpoint is a URL; its
scheme (zmq, tcp, grpc, inproc) is the transport, so a deployment changes its transport by this one value.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from ...kernel.errors import DaemonError
from ...kernel.findings import Findings
from .disk import Disk
from .documents import find_document, read_document, typed
from .folders import NoKit, is_name
from .journal import Durability
from .manifest import MIB

Count = Annotated[int, msgspec.Meta(ge=1)]
Component = dict[str, Any]
"""{"id", "name" or "path", "args"}; the kernel's spec loader reads it."""


class KitRefused(DaemonError):
    """A kit's file cannot be used.

    Cause: it was changed by hand, or made for another program or version; the message lists each mistake with its own code.

    Cure: correct what the lines name, or make the kit anew (`sundog poc`).
    """

    code = "SD-5021"


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much a server takes in."""

    max_sites: Count = 100
    """Sites that may be linked at a time."""
    max_job_files: Count = 2000
    """Files in a job."""
    max_job_bytes: Count = 512 * MIB
    """Bytes in a job."""


class ServerKit(msgspec.Struct, frozen=True, kw_only=True):
    """fed_server.json."""

    project: str
    """Participants of other projects are refused."""
    name: str = "server"
    """What the others know it as."""
    listen: str = "zmq://localhost:8002"
    """Where sites dial in; port 0 takes a free one."""
    admin_listen: str = "zmq://localhost:8003"
    """Where admins dial in; the same service, so it may be equal to `listen`."""
    durability: Durability = "process"
    """What runs survive whose job does not say: none, process (kill -9), disk (power cut)."""
    stall_seconds: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    """So long may a site's supervisor give no sign of life before it counts as gone."""
    limits: Limits = Limits()
    """How much it takes in."""
    components: list[Component] = []
    """Its scheduler, launcher and access rule; what is left out is built in."""


class SiteKit(msgspec.Struct, frozen=True, kw_only=True):
    """fed_client.json."""

    project: str
    """The project it takes part in."""
    name: str
    """What the others know it as."""
    endpoints: Annotated[list[str], msgspec.Meta(min_length=1)]
    """Servers to dial, in order; they may have different transports."""
    components: list[Component] = []
    """Its resource manager, launcher and access rule; what is left out is built in."""


class AdminKit(msgspec.Struct, frozen=True, kw_only=True):
    """fed_admin.json."""

    project: str
    """The project it administers."""
    name: str = "admin"
    """What the server knows it as."""
    endpoints: Annotated[list[str], msgspec.Meta(min_length=1)]
    """Servers to dial, in order."""
    upload_dir: str = "transfer"
    """Where job folders are looked for, relative to the kit."""
    download_dir: str = "transfer"
    """Where results go, relative to the kit."""
    prompt: str = "> "
    """What the console shows when it waits for a command."""


Kit = TypeVar("Kit", bound=ServerKit | SiteKit | AdminKit)

_STEMS: dict[type[msgspec.Struct], str] = {ServerKit: "fed_server", SiteKit: "fed_client", AdminKit: "fed_admin"}

_FLARE_KEYS = {
    "format_version": "there is one version of this file",
    "servers": "`listen` and `admin_listen` say where the server is",
    "client": "`name` and `endpoints` say it",
    "admin": "`name`, `endpoints` and the folders stand at the top",
    "overseer_agent": "`endpoints` lists the servers; sites find the one that serves by asking them",
    "snapshot_persistor": "each step is in the server's journal; there is nothing to choose",
}
"""Key of FLARE 2.1's kit files → what stands in for it; a note, never an error."""


def read_kit(folder: Path, kind: type[Kit]) -> tuple[Kit, tuple[str, ...]]:
    """The kit in a participant's folder, and notes on what FLARE has and is not needed here.

    Raises:
        NoKit: there is no such file in startup/.
        KitRefused: lists every mistake.
    """
    stem = _STEMS[kind]
    found = find_document(folder / "startup", stem)
    if found is None:
        raise NoKit(f"wanted startup/{stem}.json{_other_kinds(folder, kind)}", where=str(folder))
    findings = Findings(f"startup/{found.name}")
    kit = typed(read_document(found, f"startup/{found.name}"), kind, findings, _FLARE_KEYS)
    if kit is not None:
        for key in ("project", "name"):
            if not is_name(getattr(kit, key)):
                findings.add(KitRefused, key, f"wanted letters, digits and ._- (at most 63), got {getattr(kit, key)!r:.80}")
    if kit is None or findings.errors:
        lines = "".join(f"\n  {mistake}" for mistake in findings.errors)
        raise KitRefused(f"the kit has mistakes:{lines}", where=str(folder))
    return kit, tuple(findings.notes)


def write_kit(folder: Path, kit: ServerKit | SiteKit | AdminKit) -> Path:
    """Write a kit's file into `folder`/startup with every key, defaults too, for people to read and change; returns it."""
    path = folder / "startup" / f"{_STEMS[type(kit)]}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    Disk().atomic_write(path, msgspec.json.format(msgspec.json.encode(kit), indent=2) + b"\n")
    return path


def _other_kinds(folder: Path, wanted: type[msgspec.Struct]) -> str:
    """A word on what is there instead: `sundog site poc/server` is easily typed."""
    words = {ServerKit: "a server", SiteKit: "a site", AdminKit: "an admin"}
    found = [words[kind] for kind, stem in _STEMS.items() if kind is not wanted and find_document(folder / "startup", stem)]
    return f"; this is the kit of {' and '.join(found)}" if found else ""
