"""The manifest of a folder: canonical, checked from outside, laid out whole."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from sundog.kits.workspace.blobs import BlobStore
from sundog.kits.workspace.folders import PathRefused
from sundog.kits.workspace.manifest import (
    NO_LIMITS,
    FileEntry,
    Limits,
    Manifest,
    ManifestRefused,
    decode_manifest,
    first_difference,
    manifest_of,
    write_tree,
)

EMPTY = hashlib.sha256(b"").hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "job"
    (root / "app" / "custom").mkdir(parents=True)
    (root / "meta.json").write_text("{}")
    (root / "app" / "run.sh").write_text("#!/bin/sh\n")
    (root / "app" / "run.sh").chmod(0o755)
    (root / "app" / "custom" / "net.py").write_text("x = 1\n")
    return root


def test_the_hash_is_that_of_the_documented_lines(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"")
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "a").chmod(0o755)
    one = hashlib.sha256(b"one").hexdigest()

    expected = hashlib.sha256(f"{one} 3 x a\n{EMPTY} 0 - b\n".encode()).hexdigest()

    assert manifest_of(tmp_path).sha256 == expected


def test_the_hash_depends_on_content_and_paths_not_on_time_place_or_compiled_files(folder: Path, tmp_path: Path) -> None:
    before = manifest_of(folder).sha256
    os.utime(folder / "meta.json", (0, 0))
    (folder / "app" / "custom" / "__pycache__").mkdir()
    (folder / "app" / "custom" / "__pycache__" / "net.pyc").write_bytes(b"x")
    moved = folder.rename(tmp_path / "elsewhere")

    assert manifest_of(moved).sha256 == before
    (moved / "meta.json").write_text("{ }")
    assert manifest_of(moved).sha256 != before


def test_a_manifest_comes_back_as_it_was_sent(folder: Path) -> None:
    manifest = manifest_of(folder)

    assert decode_manifest(manifest.encode()) == manifest
    assert [entry.path for entry in manifest.files] == ["app/custom/net.py", "app/run.sh", "meta.json"]
    assert [entry.is_executable for entry in manifest.files] == [False, True, False]


def test_a_tree_is_laid_out_from_blobs_and_equals_its_manifest(folder: Path, tmp_path: Path) -> None:
    manifest = manifest_of(folder)
    (tmp_path / "blobs").mkdir()
    store = BlobStore(tmp_path / "blobs")
    for entry in manifest.files:
        shutil.copyfile(folder / entry.path, store.path(entry.sha256))

    write_tree(manifest, tmp_path / "copy", store.path)

    assert manifest_of(tmp_path / "copy") == manifest
    assert os.access(tmp_path / "copy" / "app" / "run.sh", os.X_OK)
    (tmp_path / "copy" / "meta.json").write_text("written by the job")
    assert store.path(manifest.files[2].sha256).read_text() == "{}"


def test_a_missing_blob_leaves_no_tree(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ManifestRefused, match=r"app/custom/net.py: its bytes are not here"):
        write_tree(manifest_of(folder), tmp_path / "copy", lambda sha256: tmp_path / sha256)

    assert not (tmp_path / "copy").exists()


def test_a_part_of_a_manifest_is_what_a_site_needs_of_a_job(folder: Path) -> None:
    """T040."""
    assert [entry.path for entry in manifest_of(folder).below("app").files] == ["custom/net.py", "run.sh"]
    assert manifest_of(folder).below("app") == manifest_of(folder / "app")
    assert manifest_of(folder).below("") == manifest_of(folder)


def change(root: Path) -> None:
    (root / "meta.json").write_text("[]")


def add(root: Path) -> None:
    (root / "new").touch()


def remove(root: Path) -> None:
    (root / "meta.json").unlink()


def make_executable(root: Path) -> None:
    (root / "meta.json").chmod(0o755)


@pytest.mark.parametrize(
    ("tamper", "words"),
    [
        (change, "meta.json is changed"),
        (add, "new is additional"),
        (remove, "meta.json is missing"),
        (make_executable, "meta.json is changed"),
    ],
)
def test_the_first_file_that_differs_is_named(folder: Path, tamper: Callable[[Path], None], words: str) -> None:
    manifest = manifest_of(folder)
    assert first_difference(manifest, manifest_of(folder)) == ""

    tamper(folder)

    assert first_difference(manifest, manifest_of(folder)) == words


def test_links_and_special_files_are_refused(folder: Path) -> None:
    (folder / "link").symlink_to("/etc/passwd")
    with pytest.raises(ManifestRefused, match="link: wanted a plain file, no link"):
        manifest_of(folder)

    (folder / "link").unlink()
    os.mkfifo(folder / "pipe")
    with pytest.raises(ManifestRefused, match="pipe: wanted a plain file, got a special one"):
        manifest_of(folder)


def test_limits_stop_before_all_is_read(folder: Path) -> None:
    with pytest.raises(ManifestRefused, match="wanted at most 2 files"):
        manifest_of(folder, Limits(files=2))
    with pytest.raises(ManifestRefused, match="wanted at most 0 MiB"):
        manifest_of(folder, Limits(total_bytes=5))


def entry(path: str, size: int = 0, sha256: str = EMPTY) -> FileEntry:
    return FileEntry(path, size, sha256)


HOSTILE = {
    "out": [entry("../x")],
    "absolute": [entry("/etc/passwd")],
    "unsorted": [entry("b"), entry("a")],
    "twice": [entry("a"), entry("a")],
    "case": [entry("A"), entry("a")],
    "file-and-folder": [entry("a"), entry("a/b")],
    "file-and-folder-case": [entry("A"), entry("a/b")],
    "negative": [entry("a", -1)],
    "no-hash": [entry("a", 0, "x" * 64)],
    "too-many": [entry(f"{n:05}") for n in range(2001)],
    "too-large": [entry("a", 2**60)],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_manifest_is_refused(name: str) -> None:
    with pytest.raises((ManifestRefused, PathRefused)):
        decode_manifest(Manifest(tuple(HOSTILE[name])).encode())


@pytest.mark.parametrize("data", [b"", b"\xc1", msgspec.msgpack.encode({"files": 3}), msgspec.msgpack.encode([[["a"]]])])
def test_bytes_that_are_no_manifest_are_refused(data: bytes) -> None:
    with pytest.raises(ManifestRefused, match="this is no manifest"):
        decode_manifest(data)


def test_a_large_file_without_data_is_refused_by_its_name_and_size(folder: Path) -> None:
    (folder / "zeros").touch()
    os.truncate(folder / "zeros", 2**40)

    with pytest.raises(ManifestRefused, match=f"got {2**40} bytes of which 0 are on the disk") as refused:
        manifest_of(folder, NO_LIMITS)
    assert refused.value.where == "zeros"


def test_limits_are_checked_before_anything_is_hashed(folder: Path) -> None:
    hashed: list[None] = []

    for limits in (Limits(files=2), Limits(total_bytes=5)):
        with pytest.raises(ManifestRefused) as refused:
            manifest_of(folder, limits, goes_on=lambda: hashed.append(None))
        assert refused.value.where in ("meta.json", "app/custom/net.py")
    assert hashed == []


def test_hashing_ends_between_pieces_when_nobody_waits_for_it(folder: Path) -> None:
    (folder / "large").write_bytes(bytes(3 * 2**20))
    calls = iter(range(3))

    with pytest.raises(StopIteration):
        manifest_of(folder, goes_on=lambda: next(calls))


def test_a_folder_that_is_nested_too_deeply_is_refused_by_its_path(folder: Path, nest: Callable[[Path, int], None]) -> None:
    nest(folder, 1500)

    with pytest.raises(ManifestRefused, match="wanted at most 100 folders in each other") as refused:
        manifest_of(folder, NO_LIMITS)
    assert refused.value.where == "/".join(["abc"] * 101)


def test_a_name_that_is_no_text_is_refused_before_anything_else_is_said_of_the_file(folder: Path) -> None:
    (folder / os.fsdecode(b"x\xff")).touch()
    os.truncate(folder / os.fsdecode(b"x\xff"), 2**40)

    with pytest.raises(PathRefused) as refused:
        manifest_of(folder, NO_LIMITS)
    assert str(refused.value).encode() == b"[SD-5002] wanted printable characters and no backslash, got 'x\\udcff'"
