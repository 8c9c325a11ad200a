"""Kept files of a run's folder: what a commit is told of them, and how they come back."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from sundog.kernel.messages import INLINE_LIMIT_BYTES, Payload
from sundog.kits.handover.messages import KeptFile
from sundog.kits.job.kept_files import KeptFiles

LARGE = b"x" * (INLINE_LIMIT_BYTES + 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("out", "models"):
        (tmp_path / name).mkdir()
    return tmp_path


def payload(data: bytes) -> Payload:
    return Payload(0, hashlib.sha256(data).hexdigest(), len(data))


def test_a_commit_is_told_only_what_is_new_or_other_since_the_one_before(folder: Path) -> None:
    files, small = KeptFiles(folder), folder / "small"
    small.write_bytes(b"1")
    assert files.changes(["small"]) == ([("small", payload(b"1"))], [b"1"])
    assert files.changes(["small"]) == ([], [])

    small.write_bytes(b"22")
    assert files.changes(["small"]) == ([("small", payload(b"22"))], [b"22"])
    small.unlink()
    small.write_bytes(b"22")  # another file, with the same bytes
    assert files.changes(["small"]) == ([], [])

    small.unlink()
    assert files.changes(["small"]) == ([("small", None)], [])
    assert files.changes(["small"]) == ([], [])


def test_a_large_file_is_handed_over_as_a_copy_that_later_writing_does_not_reach(folder: Path) -> None:
    files, large = KeptFiles(folder), folder / "models" / "best"
    large.write_bytes(LARGE)

    [(path, told)], body = files.changes(["models/best"])

    assert (path, body) == ("models/best", [])
    assert told is not None
    with large.open("r+b") as file:
        file.write(b"y")
    assert (folder / "out" / told.name).read_bytes() == LARGE
    assert told.sha256 == payload(LARGE).sha256

    large.write_bytes(LARGE)
    assert files.changes(["models/best"]) == ([], [])
    assert [path.name for path in (folder / "out").iterdir()] == [told.name]


@pytest.mark.parametrize("data", [b"old", LARGE], ids=["small", "large"])
def test_after_a_death_a_file_is_what_the_last_commit_has(folder: Path, data: bytes) -> None:
    blob = folder / "blob"
    blob.write_bytes(data)
    (folder / "models" / "best").write_bytes(b"written after the last commit")
    files = KeptFiles(folder)

    for path in ("models/best", "lost/with/its/folder"):
        files.put_back([KeptFile(path, payload(data).sha256, str(blob))])
        assert (folder / path).read_bytes() == data

    before = (folder / "models" / "best").lstat().st_ino
    files.put_back([KeptFile("models/best", payload(data).sha256, "not read again")])
    assert (folder / "models" / "best").lstat().st_ino == before
    assert files.changes([]) == ([], [])
    (folder / "models" / "best").unlink()
    assert files.changes([]) == ([("models/best", None)], [])
