"""Where do the blobs of a run lie, and whose word is taken for what they are?"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from sundog.kernel.messages import Payload
from sundog.kits.server.run_blobs import RunBlobs
from sundog.kits.server.run_state import RunState
from sundog.kits.workspace.blobs import BlobStore
from sundog.kits.workspace.folders import RunFolder
from sundog.transports.link import Writer
from sundog.transports.link.partfile import WrongHash

MODEL, RESULT = b"the model", b"the result"


def payload(data: bytes) -> Payload:
    return Payload(0, hashlib.sha256(data).hexdigest(), len(data))


async def test_a_site_cannot_pass_off_its_bytes_as_the_model(tmp_path: Path) -> None:
    """A small result under the hash of the model: the next site would be sent it in the model's place."""
    async with Writer() as writer:
        (tmp_path / "blobs").mkdir()
        blobs = RunBlobs(BlobStore(tmp_path / "blobs"), RunFolder(tmp_path / "run").create(), writer)
        await blobs.take([(payload(MODEL), MODEL)])

        with pytest.raises(WrongHash):
            await blobs.receive(None, payload(MODEL), b"poisoned!")

        assert blobs.inline(payload(MODEL)) == MODEL
        (write,) = await blobs.receive(None, payload(RESULT), RESULT)
        write()
        assert blobs.path(payload(RESULT)).read_bytes() == RESULT


async def test_a_kept_file_stays_until_a_step_has_another_in_its_place(tmp_path: Path) -> None:
    async with Writer() as writer:
        (tmp_path / "blobs").mkdir()
        blobs = RunBlobs(BlobStore(tmp_path / "blobs"), RunFolder(tmp_path / "run").create(), writer)
        run = RunState("r", ("site-1",), 1)
        for write in await blobs.take([(payload(MODEL), MODEL)]):
            write()
        run.files["best"] = payload(MODEL)
        for _ in range(3):
            await blobs.release(run)
        assert blobs.path(payload(MODEL)).read_bytes() == MODEL

        run.files["best"] = payload(RESULT)
        for _ in range(2):
            await blobs.release(run)

        assert list((tmp_path / "blobs").iterdir()) == []


async def test_a_small_blob_that_was_replaced_on_the_disk_is_not_handed_on(tmp_path: Path) -> None:
    """What this process has not written itself is read as a plain file with the bytes of its hash, never over a link."""
    secret = tmp_path / "secret"
    secret.write_bytes(MODEL)
    async with Writer() as writer:
        (tmp_path / "blobs").mkdir()
        store, folder = BlobStore(tmp_path / "blobs"), RunFolder(tmp_path / "run").create()
        (write,) = await RunBlobs(store, folder, writer).take([(payload(MODEL), MODEL)])
        write()
        blobs, path = RunBlobs(store, folder, writer), store.path(payload(MODEL).sha256)

        path.write_bytes(b"poisoned!")
        with pytest.raises(WrongHash, match="other bytes"):
            blobs.inline(payload(MODEL))
        path.write_bytes(b"much longer than it was")
        with pytest.raises(WrongHash, match="wanted at most 9 bytes, got 23"):
            blobs.inline(payload(MODEL))
        path.unlink()
        path.symlink_to(secret)
        with pytest.raises(OSError, match="symbolic links"):
            blobs.inline(payload(MODEL))
        path.unlink()
        path.write_bytes(MODEL)
        assert blobs.inline(payload(MODEL)) == MODEL
