"""What is in the folder of a federation on one machine, and how is it made, whole or not at all?

server/, admin/, site-1/ … with a kit in each startup/; a readme; .provision/ (0700) with what the federation is made of.
"""

from __future__ import annotations

import shlex
import socket
import tempfile
from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec

from ...kernel.errors import CommandLineError
from ..workspace.disk import Disk
from ..workspace.kit import AdminKit, Limits, ServerKit, SiteKit, write_kit
from .participant import PROGRAM

Transport = Literal["zmq", "tcp", "grpc"]
TRANSPORTS: tuple[str, ...] = get_args(Transport)
DEFAULT_TRANSPORT: Transport = "zmq"
FL_PORT, ADMIN_PORT = 8002, 8003
PROJECT = "poc"
HOST = "localhost"
PRIVATE = ".provision"
RECORD = "poc.json"
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]


class NoPoc(CommandLineError):
    """The folder is no federation made by `sundog poc`.

    Cause: another folder was meant, or its .provision/ is damaged.

    Cure: name the folder with -w, or make one: `sundog poc -n 2`.
    """

    code = "SD-7012"


class NotOurs(CommandLineError):
    """A federation was to be made in a folder that holds something else, and nothing of it was touched.

    Cause: -w names a folder that `sundog poc` has not made.

    Cure: name a folder that does not exist yet.
    """

    code = "SD-7013"


class Poc(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a federation on one machine is made of. Which of it runs is not written anywhere: the locks tell."""

    sites: Annotated[int, msgspec.Meta(ge=1, le=1000)]
    transport: Transport = DEFAULT_TRANSPORT
    fl_port: Port = FL_PORT
    """Where sites dial in."""
    admin_port: Port = ADMIN_PORT
    """Where admins dial in."""

    @property
    def site_names(self) -> list[str]:
        """site-1 and so on."""
        return [f"site-{number + 1}" for number in range(self.sites)]

    @property
    def daemon_names(self) -> list[str]:
        """Those that run as processes."""
        return ["server", *self.site_names]

    def with_ports(self) -> Poc:
        """The same with free ports in the place of 0: the kits of all must say the same numbers."""
        return msgspec.structs.replace(self, fl_port=self.fl_port or _free_port(), admin_port=self.admin_port or _free_port())

    def address(self, port: int) -> str:
        """A port of the server, as a URL."""
        return f"{self.transport}://{HOST}:{port}"


def make_poc(root: Path, poc: Poc) -> Poc:
    """Make the folder, whole or not at all, in the place of what was there; returns what it is made of, with its ports.

    Raises:
        NotOurs: the folder holds something else than a federation of ours.
    """
    refuse_strangers(root)
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{root.name}.", dir=root.parent) as draft:
        made, old = Path(draft) / "new", Path(draft) / "old"
        poc = write_poc(made, poc)
        if root.exists():
            root.rename(old)
        made.rename(root)
        Disk().rmtree(old)  # jobs wrote there: it may be nested deeper than the end of this block can remove
    return poc


def write_poc(root: Path, poc: Poc) -> Poc:
    """Write the kits; what the participants themselves wrote before stays. Returns what it is made of, with its ports."""
    poc = poc.with_ports()
    sites_at, admins_at = poc.address(poc.fl_port), poc.address(poc.admin_port)
    limits = Limits(max_sites=max(Limits().max_sites, poc.sites))
    _write_participant(root / "server", ServerKit(project=PROJECT, listen=sites_at, admin_listen=admins_at, limits=limits), "server")
    for name in poc.site_names:
        _write_participant(root / name, SiteKit(project=PROJECT, name=name, endpoints=[sites_at]), "site")
    _write_participant(root / "admin", AdminKit(project=PROJECT, endpoints=[admins_at]), "admin")
    (root / "admin" / "transfer").mkdir(exist_ok=True)
    (root / "README.md").write_text(_README.format(poc=poc), encoding="utf-8")
    (root / PRIVATE).mkdir(mode=0o700, exist_ok=True)
    Disk().atomic_write(root / PRIVATE / RECORD, msgspec.json.format(msgspec.json.encode(poc), indent=2) + b"\n")
    return poc


def read_poc(root: Path) -> Poc:
    """What a federation is made of.

    Raises:
        NoPoc: it is none.
    """
    try:
        return msgspec.json.decode((root / PRIVATE / RECORD).read_bytes(), type=Poc)
    except (OSError, ValueError) as exc:  # ValueError: msgspec's, too
        raise NoPoc(str(exc), where=str(root)) from exc


def is_poc(root: Path) -> bool:
    """Whether a federation was made there."""
    return (root / PRIVATE / RECORD).is_file()


def refuse_strangers(root: Path) -> None:
    """Go on if the folder does not exist, is empty, or is a federation of ours.

    Raises:
        NotOurs: it is something else.
    """
    if root.is_dir() and (is_poc(root) or not any(root.iterdir())):
        return
    if root.exists() or root.is_symlink():
        raise NotOurs("it is there, and it is no federation made by `sundog poc`", where=str(root))


def _free_port() -> int:
    """A port that the system gives to nobody else until the server comes, within a minute: only who names it gets it.

    A connection has just ended there, by the end that has the port, and rests (TIME_WAIT): that is no obstacle to who listens.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as far:
            near, _ = listener.accept()
            near.close()
            far.recv(1)
    return port


def _write_participant(folder: Path, kit: ServerKit | SiteKit | AdminKit, kind: str) -> None:
    write_kit(folder, kit)
    scripts = {"start.sh": f"{kind} --background", "stop.sh": f"{kind} --stop"} if kind != "admin" else {"fl_admin.sh": "admin"}
    for name, command in scripts.items():
        script = folder / "startup" / name
        script.write_text(_SCRIPT.format(purpose=_PURPOSES[name], python=shlex.quote(PROGRAM[0]), command=command), encoding="utf-8")
        script.chmod(0o755)


_PURPOSES = {
    "start.sh": "Starts this participant in the background and returns when it works.",
    "stop.sh": "Stops this participant and returns when it is gone.",
    "fl_admin.sh": "Opens the console that gives commands to the server; -c gives one, -f those in a file.",
}
_SCRIPT = """#!/bin/sh
# {purpose}
kit=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 1
python={python}
if [ -x "$python" ]; then
    exec "$python" -P -m sundog.kits.cli {command} "$@" -- "$kit"
fi
exec sundog {command} "$@" -- "$kit"
"""
_README = """# A federation on this machine

A server, {poc.sites} sites and an admin, for trying things out: they speak in clear, and only on this machine. The server listens on
ports {poc.fl_port} (sites) and {poc.admin_port} (admins).

| | |
|---|---|
| start all in the background, stop all | `sundog poc start`, `sundog poc stop` (`-w` this folder) |
| the same in the foreground, until Ctrl-C | `sundog poc up` |
| one alone | `server/startup/start.sh`, `server/startup/stop.sh` |
| give commands | `admin/startup/fl_admin.sh`; one alone: `admin/startup/fl_admin.sh -c "list_jobs"` |
| what happens | `server/log.txt`, `site-1/log.txt`; of a job: `server/runs/<id>/` |

Jobs are looked for in `admin/transfer/`, and results go there. This is not for production.
"""
