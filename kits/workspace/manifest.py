"""Which files make up a folder, and are they the same here and there (PROTOCOL §3)?

A job or a result travels as its manifest and one plain file a path. The hash of a manifest is that of one line a
file, "<sha256> <size> <x or -> <path>" ended by a line feed, sorted by path: what a job *is*, whatever its folder is called.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ...kernel.errors import JobError
from ...kernel.wording import reason_of
from .disk import Disk
from .folders import PathRefused, relative_path

MIB = 1024 * 1024
SPARSE_BYTES = 1024 * MIB
"""From this size on a file must hold data: at least a sixteenth of it, as a file system that compresses may say less than all."""

MAX_FOLDER_DEPTH = 100
"""How deeply folders may be nested, those without files included; a file lies less deep still, see `relative_path`."""


class ManifestRefused(JobError):
    """A folder, or the manifest of one, cannot be sent or taken.

    Cause: it has links or special files, names that collide, or more files or bytes than the limits allow.

    Cure: remove what the message names from the folder; data sets belong at the sites, not in a job.
    """

    code = "SD-4021"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a folder may hold at most."""

    files: int = 2000
    total_bytes: int = 512 * MIB


NO_LIMITS = Limits(10**6, 2**60)
"""More than any folder holds: for what is one's own, or has been let in before."""


class FileEntry(msgspec.Struct, array_like=True, frozen=True):
    """One file of a manifest."""

    path: str
    """Relative, with slashes."""
    size_bytes: int
    sha256: str
    is_executable: bool = False


class Manifest(msgspec.Struct, array_like=True, frozen=True):
    """The files of a folder, sorted by path; empty folders do not count."""

    files: tuple[FileEntry, ...]

    @property
    def sha256(self) -> str:
        """The content hash of the folder, 64 hexadecimal digits."""
        lines = (f"{f.sha256} {f.size_bytes} {'x' if f.is_executable else '-'} {f.path}\n" for f in self.files)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @property
    def total_bytes(self) -> int:
        """The sum of the sizes."""
        return sum(entry.size_bytes for entry in self.files)

    def below(self, folder: str) -> Manifest:
        """What lies in one of the sub-folders, with paths relative to it; "" gives all."""
        if not folder:
            return self
        prefix = f"{folder}/"
        inside = (entry for entry in self.files if entry.path.startswith(prefix))
        return Manifest(tuple(msgspec.structs.replace(entry, path=entry.path.removeprefix(prefix)) for entry in inside))

    def encode(self) -> bytes:
        """The form in which it travels and is stored, msgpack."""
        return msgspec.msgpack.encode(self)


def decode_manifest(data: bytes | memoryview, limits: Limits | None = None) -> Manifest:
    """Read a manifest from outside.

    Raises:
        ManifestRefused: no manifest, unsorted, colliding names, wrong hashes or sizes, or beyond the limits.
        PathRefused: a path leads out of the folder.
    """
    try:
        manifest = msgspec.msgpack.decode(data, type=Manifest)
    except (msgspec.DecodeError, ValueError) as exc:  # ValueError: text that is not UTF-8
        raise ManifestRefused(f"this is no manifest: {exc}") from exc
    _check(manifest, limits or Limits())
    return manifest


def manifest_of(folder: Path, limits: Limits | None = None, *, goes_on: Callable[[], object] = lambda: None) -> Manifest:
    """Hash the files of a folder; compiled Python (`__pycache__`) is left out. Takes time: not for an event loop.

    Args:
        folder: where the files lie.
        limits: of the folder; checked by the sizes before anything is hashed.
        goes_on: called before each MiB; what it raises ends the work.

    Raises:
        ManifestRefused: links, special files, colliding names, or beyond the limits.
        PathRefused: a name that some system cannot keep.
    """
    limits = limits or Limits()
    paths = [(path, path.relative_to(folder).as_posix()) for path in _within(limits, folder)]
    entries = [_entry(path, relative, goes_on) for path, relative in paths]
    manifest = Manifest(tuple(sorted(entries, key=lambda entry: entry.path)))
    _check(manifest, limits)
    return manifest


def first_difference(wanted: Manifest, here: Manifest) -> str:
    """The first file that is changed, additional or missing in the second of two manifests, in words; empty if none is."""
    before, now = ({entry.path: entry for entry in manifest.files} for manifest in (wanted, here))
    for path in sorted(before.keys() | now.keys()):
        if path not in before:
            return f"{path} is additional"
        if path not in now:
            return f"{path} is missing"
        if before[path] != now[path]:
            return f"{path} is changed"
    return ""


def write_tree(manifest: Manifest, destination: Path, blob: Callable[[str], Path]) -> None:
    """Lay a folder out from blobs, whole or not at all; files are copies, so that nobody can write into a blob.

    Args:
        manifest: what to lay out.
        destination: must not exist yet.
        blob: sha256 → the file with these bytes (such as `BlobStore.path`).

    Raises:
        ManifestRefused: `destination` exists, or a blob is missing or of another size.
    """
    if destination.exists():
        raise ManifestRefused("there is such a folder already", where=str(destination))
    draft = destination.with_name(f".{destination.name}.draft")
    Disk().rmtree(draft)  # of a process that died in the middle
    draft.mkdir(parents=True)
    for entry in manifest.files:
        target = draft / relative_path(entry.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        source = blob(entry.sha256)
        if not source.is_file() or source.stat().st_size != entry.size_bytes:
            raise ManifestRefused("its bytes are not here", where=entry.path)
        shutil.copyfile(source, target)
        target.chmod(0o755 if entry.is_executable else 0o644)
    draft.rename(destination)


def _walk(folder: Path) -> Iterator[Path]:
    """The files of a folder and those below, by name. Iterative: job code nests folders as deep as it likes."""
    waiting = _entries(folder)
    while waiting:
        entry = waiting.pop()
        path = Path(entry.path)
        if not entry.is_dir(follow_symlinks=False):
            yield path
        elif entry.name != "__pycache__":
            relative = path.relative_to(folder)
            if len(relative.parts) > MAX_FOLDER_DEPTH:
                raise ManifestRefused(f"wanted at most {MAX_FOLDER_DEPTH} folders in each other, got more", where=relative.as_posix())
            waiting += _entries(path)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder, the first name last."""
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name, reverse=True)
    except OSError as exc:  # no permission, or a path longer than the system takes
        raise ManifestRefused(f"wanted a folder that can be read: {reason_of(exc)}", where=folder.name) from exc


def _within(limits: Limits, folder: Path) -> Iterator[Path]:
    """The files of a folder, as far as they are within the limits."""
    total = 0
    for number, path in enumerate(_walk(folder)):
        relative, found = path.relative_to(folder).as_posix(), path.lstat()
        relative_path(relative)
        total += found.st_size
        if number >= limits.files:
            raise ManifestRefused(f"wanted at most {limits.files} files, got more", where=relative)
        if total > limits.total_bytes:
            what = f"wanted at most {limits.total_bytes // MIB} MiB, got more with this file of {found.st_size} bytes"
            raise ManifestRefused(what, where=relative)
        if stat.S_ISREG(found.st_mode) and found.st_size > max(SPARSE_BYTES, found.st_blocks * 512 * 16):
            what = f"wanted a file that holds data, got {found.st_size} bytes of which {found.st_blocks * 512} are on the disk"
            raise ManifestRefused(what, where=relative)
        yield path


def _entry(path: Path, relative: str, goes_on: Callable[[], object]) -> FileEntry:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as exc:
        raise ManifestRefused(f"wanted a plain file, no link: {exc.strerror}", where=relative) from exc
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ManifestRefused("wanted a plain file, got a special one", where=relative)
        digest, left = hashlib.sha256(), found.st_size
        while left > 0 and (piece := file.read(min(left, MIB))):  # one that grows is hashed as far as it was long
            goes_on()
            digest.update(piece)
            left -= len(piece)
    return FileEntry(relative, found.st_size, digest.hexdigest(), bool(found.st_mode & stat.S_IXUSR))


def _check(manifest: Manifest, limits: Limits) -> None:
    if len(manifest.files) > limits.files:
        raise ManifestRefused(f"wanted at most {limits.files} files, got more")
    if manifest.total_bytes > limits.total_bytes:
        raise ManifestRefused(f"wanted at most {limits.total_bytes // MIB} MiB, got more")
    paths = [entry.path for entry in manifest.files]
    if paths != sorted(set(paths)):
        raise ManifestRefused("wanted paths in order, each once")
    for entry in manifest.files:
        relative_path(entry.path)
        if entry.size_bytes < 0 or len(entry.sha256) != 64 or set(entry.sha256) - set("0123456789abcdef"):
            raise ManifestRefused(f"wanted a size and a sha256, got {entry.size_bytes} and {entry.sha256!r:.80}", where=entry.path)
    _refuse_collisions(paths)


def _refuse_collisions(paths: list[str]) -> None:
    """Two names that differ in case only are one on some systems; a file cannot be a folder too."""
    folded = {path.casefold(): path for path in paths}
    if len(folded) != len(paths):
        twin = next(path for path in paths if folded[path.casefold()] != path)
        raise ManifestRefused(f"it differs from {folded[twin.casefold()]!r} by upper and lower case only", where=twin)
    for path in paths:
        parent = path.casefold().rpartition("/")[0]
        while parent:
            if parent in folded:
                raise PathRefused(f"{folded[parent]!r} cannot be a file and a folder", where=path)
            parent = parent.rpartition("/")[0]
