"""Where does each thing lie in a participant's folder, and how is a path from outside kept inside it?

startup/ is the kit and never written, local/ the operator's own, transfer/ for submissions and downloads; state/ (0700)
holds lock, journals, jobs, blobs, spool and outbox; runs/<id>/ what a run wrote, kept after its end.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
from pathlib import Path, PurePosixPath

from ...kernel.errors import DaemonError

MAX_PATH_BYTES = 255
MAX_DEPTH = 16
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


_drafts = itertools.count()


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


def atomic_write(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Put a file in place, whole or not at all; `durable`: it also survives a power cut."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{next(_drafts)}.draft")
    try:
        write_plain(draft, data, durable=durable)
        draft.replace(path)
    except BaseException:  # an interrupt, too, leaves no draft behind
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()
        raise
    if durable:
        sync_file(path.parent)


def write_plain(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Write a file that means nothing until a record, or another file's rename, speaks of it: a crash may leave half of it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Make the bytes of a file, or the names in a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
        """Forget what a job process that died left in out/."""
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir()

    def __repr__(self) -> str:
        return f"RunFolder({str(self.root)!r})"


class Workspace:
    """The folder of one participant.

    Raises:
        NoKit: it has no startup/.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.startup = self.root / "startup"
        self.local = self.root / "local"
        self.transfer = self.root / "transfer"
        self.log = self.root / "log.txt"
        self.runs = self.root / "runs"
        self.state = self.root / "state"
        self.lock = self.state / "lock"
        self.journal = self.state / "journal"
        self.jobs = self.state / "jobs"
        self.blobs = self.state / "blobs"
        self.spool = self.state / "spool"
        self.outbox = self.state / "outbox"
        self.ballast = self.state / "ballast"
        if not self.startup.is_dir():
            raise NoKit("wanted a folder with startup/ in it", where=str(self.root))

    def create(self) -> Workspace:
        """Make the folders that are missing; state/ is for this user only."""
        self.state.mkdir(mode=0o700, exist_ok=True)
        self.state.chmod(0o700)
        for folder in (self.local, self.transfer, self.runs, self.journal, self.jobs, self.blobs, self.spool, self.outbox):
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


def _checked(run_id: str) -> str:
    if not is_name(run_id):
        raise PathRefused(f"wanted the id of a run, got {run_id!r}")
    return run_id
