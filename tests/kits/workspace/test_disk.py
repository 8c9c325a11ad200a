"""The disk: whole files, no drafts left, and another file system."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from sundog.kits.workspace.disk import Disk


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_replaced_whole_and_no_draft_stays(tmp_path: Path, durable: bool) -> None:
    Disk().atomic_write(tmp_path / "file", b"old")

    Disk().atomic_write(tmp_path / "file", b"new", durable=durable)

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": b"new"}


def test_a_write_that_fails_leaves_the_old_file_and_no_draft(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()

    with pytest.raises(OSError, match="folder"):
        Disk().atomic_write(tmp_path / "folder", b"data")

    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_link_replaces_what_has_its_name(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"old")
    (tmp_path / "new").write_bytes(b"new")

    Disk().link(tmp_path / "new", tmp_path / "old")

    assert (tmp_path / "old").samefile(tmp_path / "new")


def test_a_link_to_another_file_system_is_a_copy(tmp_path: Path, other_disk: Path) -> None:
    (tmp_path / "model").write_bytes(b"model")

    Disk().link(tmp_path / "model", other_disk / "model")

    assert (other_disk / "model").read_bytes() == b"model"
    assert [path.name for path in other_disk.iterdir()] == ["model"]


def test_a_copy_is_as_long_as_was_asked_for_though_the_file_grows(tmp_path: Path) -> None:
    (tmp_path / "growing").write_bytes(b"0123456789")
    descriptor = os.open(tmp_path / "growing", os.O_RDONLY)

    copied = Disk().copy(descriptor, tmp_path / "copy", 4)
    os.close(descriptor)

    assert copied == 4
    assert (tmp_path / "copy").read_bytes() == b"0123"


def test_a_pipe_in_the_place_of_a_file_is_replaced_and_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "file")
    reader = os.open(tmp_path / "file", os.O_RDONLY | os.O_NONBLOCK)  # else opening it, as it was done before, would block

    Disk().atomic_write(tmp_path / "file", b"data")
    received = os.read(reader, 10)
    os.close(reader)

    assert received == b""
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == {"file": b"data"}


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"other")
    (tmp_path / "file").symlink_to("other")

    Disk().atomic_write(tmp_path / "file", b"data")

    assert not (tmp_path / "file").is_symlink()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": b"data", "other": b"other"}


def test_the_name_of_a_draft_cannot_be_foreseen(tmp_path: Path) -> None:
    drafts = []

    class Watched(Disk):
        def rename(self, source: Path | str, target: Path, *, folder: int | None = None) -> None:
            drafts.append(Path(source).name)
            super().rename(source, target, folder=folder)

    for _ in range(2):
        Watched().atomic_write(tmp_path / "file", b"data")

    assert len(set(drafts)) == 2
    assert all(re.fullmatch(r"\.[0-9a-f]{32}\.draft", draft) for draft in drafts)


def test_a_folder_is_removed_however_deeply_it_is_nested(tmp_path: Path, nest: Callable[[Path, int], None]) -> None:
    (tmp_path / "out" / "wide").mkdir(parents=True)
    (tmp_path / "out" / "wide" / "file").write_bytes(b"x")
    nest(tmp_path / "out", 1500)
    nest(tmp_path / "out" / "wide", 1500)

    Disk().rmtree(tmp_path / "out")

    assert list(tmp_path.iterdir()) == []


def test_only_a_folder_is_removed_and_no_link_followed(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_bytes(b"x")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "itself").symlink_to(tmp_path / "kept")
    (tmp_path / "plain").write_bytes(b"x")

    for name in ("out", "itself", "plain", "missing"):
        Disk().rmtree(tmp_path / name)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["itself", "kept", "plain"]
    assert (tmp_path / "kept" / "file").exists()


def test_what_cannot_be_removed_stays_and_the_rest_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, **place: int) -> None:
        if name == "held":
            raise PermissionError(errno.EPERM, "Operation not permitted")
        unlink(name, **place)

    unlink = os.unlink
    monkeypatch.setattr(os, "unlink", refuse)
    for name in ("a", "b"):
        (tmp_path / "out" / name).mkdir(parents=True)
        (tmp_path / "out" / name / "file").write_bytes(b"x")
    (tmp_path / "out" / "a" / "held").write_bytes(b"x")

    Disk().rmtree(tmp_path / "out")

    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["held"]
