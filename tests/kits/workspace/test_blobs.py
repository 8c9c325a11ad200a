"""Blobs come whole, are never rewritten, and go when somebody says so."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import pytest

from sundog.kits.workspace.blobs import BlobStore, NoSha256

ONE = hashlib.sha256(b"one").hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    (tmp_path / "blobs").mkdir()
    return BlobStore(tmp_path / "blobs")


@pytest.mark.parametrize("durable", [False, True])
def test_bytes_are_kept_under_their_hash_read_only(store: BlobStore, durable: bool) -> None:
    assert store.put(b"one", durable=durable) == ONE
    assert store.path(ONE).read_bytes() == b"one"
    assert stat.S_IMODE(store.path(ONE).stat().st_mode) == 0o444


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_adopted_by_a_rename(store: BlobStore, tmp_path: Path, durable: bool) -> None:
    (tmp_path / "draft").write_bytes(b"one")
    inode = (tmp_path / "draft").stat().st_ino

    adopted = store.adopt(tmp_path / "draft", ONE, durable=durable)

    assert adopted.stat().st_ino == inode
    assert not (tmp_path / "draft").exists()


def test_what_is_there_already_is_not_touched(store: BlobStore, tmp_path: Path) -> None:
    store.put(b"one")
    inode = store.path(ONE).stat().st_ino
    (tmp_path / "draft").write_bytes(b"one")

    store.put(b"one")
    store.adopt(tmp_path / "draft", ONE)

    assert store.path(ONE).stat().st_ino == inode
    assert not (tmp_path / "draft").exists()


def test_names_tells_blobs_from_partial_files(store: BlobStore) -> None:
    store.put(b"one")
    store.path(ONE).with_suffix(".part").touch()

    assert store.names() == {ONE}


def test_unlinking_twice_is_fine(store: BlobStore) -> None:
    store.put(b"one")

    store.unlink(ONE)
    store.unlink(ONE)

    assert not store.has(ONE)


@pytest.mark.parametrize("name", ["", "../state/lock", "a" * 63, "A" * 64, f"{ONE}.part"])
def test_what_is_no_hash_is_no_path(store: BlobStore, name: str) -> None:
    with pytest.raises(NoSha256):
        store.path(name)
