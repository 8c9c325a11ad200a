"""The disk: whole files, no drafts left, and another file system."""

from __future__ import annotations

import os
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
