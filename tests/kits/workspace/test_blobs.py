"""A blob lies under its hash, and nothing else does."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from sundog.kits.workspace.blobs import BlobStore, NoSha256

ONE = hashlib.sha256(b"one").hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    (tmp_path / "blobs").mkdir()
    return BlobStore(tmp_path / "blobs")


def test_a_blob_lies_under_its_hash(store: BlobStore) -> None:
    assert store.path(ONE) == store.folder / ONE


@pytest.mark.parametrize("name", ["", "../state/lock", "a" * 63, "A" * 64, f"{ONE}.part"])
def test_what_is_no_hash_is_no_path(store: BlobStore, name: str) -> None:
    with pytest.raises(NoSha256):
        store.path(name)
