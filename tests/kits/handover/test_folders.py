"""A supervisor takes plain files of the job's own, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sundog.kits.handover.folders import HandoverRefused, take
from sundog.kits.workspace.disk import Disk

ME = os.getuid()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "R").write_bytes(b"result")
    return tmp_path / "out"


def test_a_file_is_moved_not_copied(out: Path, tmp_path: Path) -> None:
    inode = (out / "R").stat().st_ino

    take(Disk(), out, "R", tmp_path / "taken", uid=ME, size_bytes=6)

    assert (tmp_path / "taken").stat().st_ino == inode
    assert list(out.iterdir()) == []


def test_an_open_folder_serves_even_when_its_path_leads_elsewhere(out: Path, tmp_path: Path) -> None:
    descriptor = os.open(out, os.O_RDONLY)
    out.rename(tmp_path / "moved")
    (tmp_path / "out").symlink_to("/etc")

    take(Disk(), descriptor, "R", tmp_path / "taken", uid=ME, size_bytes=6)
    os.close(descriptor)

    assert (tmp_path / "taken").read_bytes() == b"result"


def symlink(out: Path) -> None:
    (out / "R").rename(out.parent / "key")
    (out / "R").symlink_to(out.parent / "key")


def second_link(out: Path) -> None:
    (out / "other").hardlink_to(out / "R")


def pipe(out: Path) -> None:
    (out / "R").unlink()
    os.mkfifo(out / "R")


def folder(out: Path) -> None:
    (out / "R").unlink()
    (out / "R").mkdir()


def missing(out: Path) -> None:
    (out / "R").unlink()


def longer(out: Path) -> None:
    (out / "R").write_bytes(b"result and more")


def linked_folder(out: Path) -> None:
    out.rename(out.parent / "real")
    out.symlink_to(out.parent / "real")


@pytest.mark.parametrize(
    ("trick", "words"),
    [
        (symlink, "it cannot be opened: Too many levels of symbolic links"),
        (second_link, "wanted a file with one link, got 2"),
        (pipe, "wanted a regular file"),
        (folder, "wanted a regular file"),
        (missing, "it cannot be opened: No such file"),
        (longer, "wanted 6 bytes as the job said, got 15"),
        (linked_folder, "no folder to take from"),
    ],
)
def test_anything_else_is_refused_and_left_where_it_is(out: Path, tmp_path: Path, trick: Callable[[Path], None], words: str) -> None:
    trick(out)

    with pytest.raises(HandoverRefused, match=words):
        take(Disk(), out, "R", tmp_path / "taken", uid=ME, size_bytes=6)

    assert not (tmp_path / "taken").exists()


def test_a_file_of_another_user_is_refused(out: Path, tmp_path: Path) -> None:
    with pytest.raises(HandoverRefused, match=f"wanted a file of user {ME + 1}, got one of user {ME}"):
        take(Disk(), out, "R", tmp_path / "taken", uid=ME + 1, size_bytes=6)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/passwd"])
def test_a_name_that_is_a_path_is_refused(out: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(HandoverRefused, match="wanted a name in the folder"):
        take(Disk(), out, name, tmp_path / "taken", uid=ME, size_bytes=6)


def test_a_file_exchanged_between_the_check_and_the_move_is_not_kept(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.rename

    def exchange_then_rename(name: str, destination: Path, *, src_dir_fd: int) -> None:
        (out / "evil").write_bytes(b"secret")
        (out / "evil").replace(out / "R")
        real(name, destination, src_dir_fd=src_dir_fd)

    monkeypatch.setattr(os, "rename", exchange_then_rename)

    with pytest.raises(HandoverRefused, match="exchanged"):
        take(Disk(), out, "R", tmp_path / "taken", uid=ME, size_bytes=6)
    assert not (tmp_path / "taken").exists()


# --- another file system ---


def test_a_file_is_copied_to_another_file_system_and_gone_from_out(out: Path, other_disk: Path) -> None:
    take(Disk(), out, "R", other_disk / "taken", uid=ME, size_bytes=6)

    assert (other_disk / "taken").read_bytes() == b"result"
    assert [path.name for path in other_disk.iterdir()] == ["taken"]
    assert list(out.iterdir()) == []


def test_a_copy_is_synced_before_it_has_its_name(out: Path, other_disk: Path) -> None:
    calls: list[str] = []

    class Watched(Disk):
        def sync(self, descriptor: int) -> None:
            calls.append("sync")
            super().sync(descriptor)

        def rename(self, source: Path | str, target: Path, *, folder: int | None = None) -> None:
            super().rename(source, target, folder=folder)
            calls.append(f"rename to {target.name}")

    take(Watched(), out, "R", other_disk / "taken", uid=ME, size_bytes=6)

    assert calls == ["sync", "rename to taken"]


@pytest.mark.parametrize("trick", [symlink, second_link, pipe, folder, longer])
def test_anything_else_is_refused_also_across_file_systems(out: Path, other_disk: Path, trick: Callable[[Path], None]) -> None:
    trick(out)

    with pytest.raises(HandoverRefused):
        take(Disk(), out, "R", other_disk / "taken", uid=ME, size_bytes=6)

    assert list(other_disk.iterdir()) == []


class Meddling(Disk):
    """Does something to out/ just before the bytes are copied."""

    def __init__(self, meddle: Callable[[], object]) -> None:
        self._meddle = meddle

    def copy(self, source: int, target: Path, size_bytes: int) -> int:
        self._meddle()
        return super().copy(source, target, size_bytes)


def test_what_is_copied_is_the_file_that_was_checked_whatever_has_its_name_by_then(out: Path, other_disk: Path) -> None:
    def exchange() -> None:
        (out / "evil").write_bytes(b"secret")
        (out / "evil").replace(out / "R")

    take(Meddling(exchange), out, "R", other_disk / "taken", uid=ME, size_bytes=6)

    assert (other_disk / "taken").read_bytes() == b"result"


def test_a_file_that_shrinks_while_it_is_copied_is_refused(out: Path, other_disk: Path) -> None:
    with pytest.raises(HandoverRefused, match="it had 6 bytes, and 2 while it was taken"):
        take(Meddling(lambda: os.truncate(out / "R", 2)), out, "R", other_disk / "taken", uid=ME, size_bytes=6)

    assert list(other_disk.iterdir()) == []
