"""The layout of a participant's folder, and the check that keeps a path from outside inside it.

startup/ is the kit and never written, local/ the operator's own, transfer/ for submissions and downloads; state/ (0700)
holds lock, term, outbox, ballast, and, unless they have a place of their own, journals, jobs and blobs; runs/<id>/ what a
run wrote, kept after its end.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

from ...kernel.errors import DaemonError
from .disk import Disk

MAX_PATH_BYTES = 255
MAX_DEPTH = 16
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class NoKit(DaemonError):
    """The folder is no participant's kit.

    Cause: the command was given another folder than the one that holds startup/, or the kit was not unpacked.

    Cure: give the folder that contains startup/, such as poc/site-1.
    """

    code = "SD-5001"


class PathRefused(DaemonError):
    """A relative path leads out of its folder, over a link, to a secret, or has characters that some system cannot keep.

    Cause: a path in a job, a manifest or a command has `..`, starts with `/`, holds a backslash or control character, or is a
    link; or a command asks for startup/ or state/, or for a special file.

    Cure: name a plain file below the folder; replace links in a job by the files they point to.
    """

    code = "SD-5002"


def is_name(text: str) -> bool:
    """Whether a site, app or run may be called so: it becomes a part of paths (letters, digits, `._-`; at most 63)."""
    return _NAME.fullmatch(text) is not None


def relative_path(text: str) -> PurePosixPath:
    """A relative path from outside, known to stay below where it is put.

    Raises:
        PathRefused: empty, absolute, with `.` or `..`, an empty part, backslash or control characters, too long or too deep.
    """
    parts = text.split("/")
    if not text or any(part in ("", ".", "..") for part in parts):
        raise PathRefused(f"wanted a plain relative path, got {text!r}")
    if "\\" in text or not text.isprintable():
        raise PathRefused(f"wanted printable characters and no backslash, got {text!r}")
    if len(os.fsencode(text)) > MAX_PATH_BYTES or len(parts) > MAX_DEPTH:
        raise PathRefused(f"wanted at most {MAX_PATH_BYTES} bytes and {MAX_DEPTH} levels, got {text[:80]!r}…")
    return PurePosixPath(text)


class RunFolder:
    """The folder of one run at one participant; kept after the end."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.app = root / "app"
        self.inbox = root / "in"
        """The supervisor writes, the job process reads."""
        self.out = root / "out"
        """The job process writes; new at each launch."""
        self.models = root / "models"
        self.log = root / "log.txt"
        self.metrics = root / "metrics.jsonl"
        self.report = root / "report.json"

    def create(self) -> RunFolder:
        """Make what a run needs before it starts; what is there stays."""
        for folder in (self.root, self.inbox, self.out, self.models):
            folder.mkdir(parents=True, exist_ok=True)
        return self

    def renew_out(self) -> None:
        """Forget what a job process that died left in out/; a new one is kept as it is."""
        if self.out.is_symlink() or not self.out.is_dir() or any(self.out.iterdir()):
            Disk().rmtree(self.out)
            self.out.mkdir()

    def __repr__(self) -> str:
        return f"RunFolder({str(self.root)!r})"


class Workspace:
    """The folder of one participant.

    Args:
        root: its kit.
        shared: where journals, jobs and blobs lie: what a second server must see to go on. Default: in state/, with what
            belongs to this machine alone. It may be on another file system.

    Raises:
        NoKit: it has no startup/.
    """

    def __init__(self, root: Path, *, shared: Path | None = None) -> None:
        self.root = root.absolute()
        self.startup = self.root / "startup"
        self.local = self.root / "local"
        self.transfer = self.root / "transfer"
        self.log = self.root / "log.txt"
        self.runs = self.root / "runs"
        self.state = self.root / "state"
        self.lock = self.state / "lock"
        self.term_seen = self.state / "term_seen"
        """The highest term of a server that this site knows."""
        self.outbox = self.state / "outbox"
        self.ballast = self.state / "ballast"
        self.channels = self.state / "channels"
        self.shared = shared.absolute() if shared is not None else self.state
        self.term = self.shared / "term"
        """The term in which a server of the project served last."""
        self.journal = self.shared / "journal"
        self.jobs = self.shared / "jobs"
        self.blobs = self.shared / "blobs"
        if not self.startup.is_dir():
            raise NoKit("wanted a folder with startup/ in it", where=str(self.root))

    def create(self) -> Workspace:
        """Make the folders that every participant has, as far as they are missing; state/ is for this user only."""
        _make_private(self.state)
        for folder in (self.local, self.transfer, self.runs):
            folder.mkdir(exist_ok=True)
        return self

    def create_shared(self) -> Workspace:
        """Make those that a server has besides."""
        _make_private(self.shared)
        for folder in (self.journal, self.jobs, self.blobs):
            folder.mkdir(exist_ok=True)
        return self

    @property
    def project_journal(self) -> Path:
        """The journal of the states of all jobs."""
        return self.journal / "project.journal"

    def run_journal(self, run_id: str, term: int) -> Path:
        """The journal of one run in one term."""
        return self.journal / f"{_checked(run_id)}.{term:08d}.journal"

    def run_journals(self, run_id: str) -> list[Path]:
        """All journals of a run, the lowest term first."""
        return sorted(self.journal.glob(f"{_checked(run_id)}.*.journal"))

    def run(self, run_id: str) -> RunFolder:
        """The folder of a run; see `RunFolder.create`."""
        return RunFolder(self.runs / _checked(run_id))

    def __repr__(self) -> str:
        return f"Workspace({str(self.root)!r})"


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)


def _checked(run_id: str) -> str:
    if not is_name(run_id):
        raise PathRefused(f"wanted the id of a run, got {run_id!r}")
    return run_id
