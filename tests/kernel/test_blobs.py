"""Does a blob keep its bytes, inline or in a file, and give them back exactly?"""

from __future__ import annotations

import gc
import hashlib
import os
from pathlib import Path
from typing import Any

import ml_dtypes
import msgspec
import numpy as np
import pytest
import safetensors.torch
import torch

from sundog.kernel.blobs import Blob, BlobRef, BlobUnreadable, BlobUnwritable, NoSuchTensor, draft_of
from sundog.kernel.messages import INLINE_LIMIT_BYTES
from sundog.kernel.packing import BlobWriter, pack, scratch
from sundog.kernel.tensors import MalformedTensors, layout, numpy_dtype

BIG: dict[str, np.ndarray[Any, Any]] = {
    "weight": np.arange(50_000, dtype=np.float32).reshape(100, 500),
    "bias": np.arange(100, dtype=np.int8),
}


def every_dtype() -> dict[str, np.ndarray[Any, Any]]:
    """Random bits of each dtype (NaNs with payloads, subnormals), a 0-d and an empty tensor, and one large tensor."""
    rng = np.random.default_rng(7)
    names = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8")
    tensors: dict[str, Any] = {name.lower(): np.frombuffer(rng.bytes(192), numpy_dtype(name)).reshape(2, -1) for name in names}
    tensors |= {"bool": np.array([True, False]), "scalar": np.array(2.5, ml_dtypes.bfloat16), "empty": np.zeros((0, 3), np.float16)}
    return tensors | BIG


def open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


def same_bits(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]) -> bool:
    return (first.dtype, first.shape, first.tobytes()) == (second.dtype, second.shape, second.tobytes())


# --- there and back ---


@pytest.mark.parametrize("names", [["f16", "bf16", "scalar", "empty", "bool"], list(every_dtype())], ids=["inline", "file"])
def test_every_dtype_comes_back_bit_by_bit_read_or_mapped(names: list[str], tmp_path: Path) -> None:
    """T144, in part: what the six kinds carry."""
    tensors = {name: every_dtype()[name] for name in names}

    blob = pack(tensors, tmp_path)

    assert (blob.inline is None) == (len(names) > 5)
    mapped = blob.map()
    assert mapped.keys() == tensors.keys()
    for name, wanted in tensors.items():
        assert same_bits(blob.array(name), wanted)
        assert same_bits(mapped[name], wanted)
        assert mapped[name].flags.writeable


def test_safetensors_reads_what_we_write(tmp_path: Path) -> None:
    tensors = every_dtype()

    found = safetensors.torch.load_file(pack(tensors, tmp_path).save(tmp_path / "model.safetensors"))

    assert found.keys() == tensors.keys()
    assert found["bf16"].dtype == torch.bfloat16
    assert found["f8_e4m3"].dtype == torch.float8_e4m3fn
    for name, wanted in tensors.items():
        assert tuple(found[name].shape) == wanted.shape
        assert bytes(found[name].contiguous().reshape(-1).view(torch.uint8).numpy()) == wanted.tobytes()


def test_we_read_what_safetensors_writes_and_write_it_canonically(tmp_path: Path) -> None:
    theirs = {
        "w": torch.randn(200, 100, generator=torch.Generator().manual_seed(1)),
        "half": torch.ones(3, dtype=torch.bfloat16),
        "flag": torch.tensor(True),
        "eight": torch.tensor([0.5, -2], dtype=torch.float8_e5m2),
    }
    safetensors.torch.save_file(theirs, tmp_path / "theirs.safetensors", metadata={"format": "pt", "{": "odd"})

    blob = Blob.open(tmp_path / "theirs.safetensors")

    assert not blob.layout.is_canonical()
    arrays = blob.map()
    assert blob.array("flag").shape == ()
    np.testing.assert_array_equal(blob.array("w"), theirs["w"].numpy())
    assert arrays["eight"].astype(np.float32).tolist() == [0.5, -2]
    assert pack(arrays).sha256 == pack({"w": theirs["w"].numpy(), **{n: blob.array(n) for n in ("half", "flag", "eight")}}).sha256


def test_a_tensor_at_an_odd_offset_is_mapped_as_an_aligned_copy(tmp_path: Path) -> None:
    text = b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}}'
    (tmp_path / "odd").write_bytes(len(text).to_bytes(8, "little") + text + b"\7" + np.float32(1.5).tobytes())

    mapped = Blob.open(tmp_path / "odd").map()

    assert mapped["b"].flags.aligned
    assert (mapped["a"].tolist(), mapped["b"].tolist()) == ([7], [1.5])


def test_writing_to_a_mapped_array_leaves_the_blob_as_it_is(tmp_path: Path) -> None:
    for tensors in (BIG, {"bias": BIG["bias"]}):
        blob = pack(tensors, tmp_path)
        mapped = blob.map()

        mapped["bias"][:] = 1

        assert same_bits(blob.array("bias"), BIG["bias"])
        assert same_bits(blob.map()["bias"], BIG["bias"])


# --- bytes, hash, files ---


def test_hash_and_size_are_those_of_the_file(tmp_path: Path) -> None:
    blob = pack(BIG, tmp_path)
    assert blob.path is not None
    data = blob.path.read_bytes()

    assert blob.ref == BlobRef(hashlib.sha256(data).hexdigest(), len(data))
    assert Blob.open(blob.path).ref == blob.ref
    assert blob.read(5, 100_000) == data[5:100_005]
    assert b"".join(blob.blocks()) == data
    assert [path.suffix for path in tmp_path.iterdir()] == [".blob"]


def test_a_small_file_is_read_at_once_and_a_given_hash_is_believed(tmp_path: Path) -> None:
    path = pack({"a": np.ones(3)}).save(tmp_path / "small")

    blob = Blob.open(path, "f" * 64)
    path.unlink()

    assert blob.inline is not None
    assert blob.sha256 == "f" * 64
    assert blob.array("a").tolist() == [1, 1, 1]


def test_a_blob_stays_readable_when_its_file_is_renamed_and_unlinked(tmp_path: Path) -> None:
    blob = pack(BIG, tmp_path)
    assert blob.path is not None

    blob.path.rename(tmp_path / "taken").unlink()

    assert same_bits(blob.array("weight"), BIG["weight"])


def test_the_limit_decides_between_inline_and_a_file(tmp_path: Path) -> None:
    head = len(layout({"a": ("U8", (INLINE_LIMIT_BYTES - 64,))}).head)
    longest = np.zeros(INLINE_LIMIT_BYTES - head, np.uint8)

    assert pack({"a": longest}, tmp_path).inline is not None
    assert list(tmp_path.iterdir()) == []
    assert pack({"a": np.append(longest, longest[:1])}, tmp_path).inline is None


def test_without_a_folder_a_blob_has_no_name_and_the_scratch_folder_gives_it_one(tmp_path: Path) -> None:
    assert pack(BIG).path is None

    with scratch(tmp_path):
        path = pack(BIG).path

    assert path is not None
    assert path.parent == tmp_path
    assert pack(BIG).path is None


def test_a_blob_is_given_once_from_its_own_folder_and_else_copied(tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "in"
    out.mkdir()
    elsewhere.mkdir()
    blob = pack(BIG, out)

    first, second, third = blob.give(out), blob.give(out), Blob.open(pack(BIG, elsewhere).give(out)).give(out)

    assert first == blob.path
    assert len({first, second, third}) == 3
    assert {hashlib.sha256(path.read_bytes()).hexdigest() for path in (first, second, third)} == {blob.sha256}
    assert pack({"a": np.ones(1)}).give(out).stat().st_size < 256


def test_the_file_is_let_go_when_the_blob_is_closed_or_collected(tmp_path: Path) -> None:
    gc.collect()  # what other tests left
    before = open_files()
    blob, other = pack(BIG, tmp_path), pack(BIG)

    blob.close()
    blob.close()
    del other
    gc.collect()

    assert open_files() == before
    with pytest.raises(BlobUnreadable):
        blob.read(0, 8)


def test_a_reference_is_safe_as_a_file_name() -> None:
    good = BlobRef("0" * 64, 5)

    assert msgspec.msgpack.decode(msgspec.msgpack.encode(good), type=BlobRef) == good
    for sha256 in ("0" * 63, "0" * 64 + "\n", "../" + "0" * 61, "A" * 64):
        with pytest.raises(msgspec.ValidationError):
            msgspec.msgpack.decode(msgspec.msgpack.encode([sha256, 5]), type=BlobRef)


# --- what goes wrong ---


def test_an_unknown_tensor_is_named_with_its_neighbour() -> None:
    blob = pack({"layer.weight": np.ones(1)})

    with pytest.raises(NoSuchTensor, match=r"no tensor 'layer\.wieght'; did you mean 'layer\.weight'\?"):
        blob.array("layer.wieght")
    with pytest.raises(KeyError):
        blob.array("x")


def test_only_a_plain_file_is_opened(tmp_path: Path) -> None:
    pack(BIG).save(tmp_path / "real")
    (tmp_path / "link").symlink_to("real")
    os.mkfifo(tmp_path / "pipe")

    assert Blob.open(tmp_path / "link").size_bytes > 200_000
    for name, no_follow in [("link", True), ("pipe", False), ("missing", False), (".", False)]:
        with pytest.raises(BlobUnreadable, match=str(tmp_path)):
            Blob.open(tmp_path / name, no_follow=no_follow)


def test_a_file_that_was_cut_is_reported_with_its_place(tmp_path: Path) -> None:
    blob = Blob.open(pack(BIG).save(tmp_path / "model"))
    os.truncate(tmp_path / "model", 100_000)

    with pytest.raises(BlobUnreadable, match=r"model: the file ends before byte"):
        blob.array("weight")


def test_bytes_outside_of_the_blob_are_refused() -> None:
    for blob in (pack(BIG), pack({"a": np.ones(1)})):
        for offset, size in [(-1, 2), (0, -1), (blob.size_bytes, 1), (0, blob.size_bytes + 1)]:
            with pytest.raises(BlobUnreadable):
                blob.read(offset, size)


def test_large_bytes_are_no_inline_blob_and_other_bytes_no_tensors() -> None:
    with pytest.raises(BlobUnreadable, match="65,537"):
        Blob.of_bytes(bytes(INLINE_LIMIT_BYTES + 1))
    for data in (b"", b"short", b"\x80\x04" * 40):
        with pytest.raises(MalformedTensors):
            _ = Blob.of_bytes(data).entries


def test_a_writer_wants_exactly_what_was_planned_and_leaves_nothing_behind(tmp_path: Path) -> None:
    planned = layout({"a": ("U8", (200_000,))})

    with BlobWriter(planned, tmp_path) as writer:
        writer.write(bytes(100_000))
        with pytest.raises(BlobUnwritable, match=f"got {100_000 + len(planned.head):,}"):
            writer.finish()
    with BlobWriter(planned, tmp_path) as writer, pytest.raises(BlobUnwritable, match="wanted"):
        writer.write(bytes(200_001))

    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_and_a_missing_folder_are_reported_with_the_systems_reason(tmp_path: Path) -> None:
    with pytest.raises(BlobUnwritable, match="No such file or directory"):
        pack(BIG, tmp_path / "missing")
    with pytest.raises(BlobUnwritable, match="No such file or directory"):
        pack(BIG).save(tmp_path / "missing" / "model")

    writer = BlobWriter(layout({"a": ("U8", (5_000_000,))}), tmp_path)
    writer._file.close()
    writer._file = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115
    with writer, pytest.raises(BlobUnwritable, match="No space left on device"):
        writer.write(bytes(5_000_000))

    assert list(tmp_path.iterdir()) == []


def test_a_draft_takes_its_place_whole_or_leaves_nothing(tmp_path: Path) -> None:
    def write(name: str, text: str) -> None:
        with draft_of(tmp_path / name) as draft:
            draft.write_text(text[:5])
            assert not (tmp_path / name).exists()
            draft.write_text(text, encoding="ascii")

    write("kept", "all of it")
    with pytest.raises(UnicodeEncodeError):
        write("lost", "a part of ït")

    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("kept", "all of it")]
