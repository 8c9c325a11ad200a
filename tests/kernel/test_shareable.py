"""Does a Shareable keep kind, tensors and meta exactly, lazily, and refuse what it cannot carry?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import msgspec
import numpy as np
import pytest
import torch

from sundog.kernel.blobs import NoSuchTensor
from sundog.kernel.errors import PayloadError
from sundog.kernel.packing import pack
from sundog.kernel.shareable import Kind, MalformedShareable, Shareable, Tensors
from sundog.kernel.tensors import UnsupportedTensor

LARGE = {"w": np.arange(60_000, dtype=np.float32).reshape(300, 200), "b": np.array([1, 2], ml_dtypes.bfloat16)}


def travelled(shareable: Shareable, *, mapped: bool = False) -> Shareable:
    return Shareable.decode(shareable.encode_meta(), shareable.blob(), mapped=mapped)


def six_kinds() -> list[Shareable]:
    weights = Shareable(Kind.WEIGHTS, LARGE, {"num_examples": 40, "metrics": {"loss": math.nan, "accuracy": 0.5}})
    metrics = Shareable("METRICS", meta={"metrics": {"loss": 1.25}})
    return [
        weights,
        Shareable("WEIGHT_DIFF", {"w": np.zeros((), np.float16)}, {"num_examples": 2.5}),
        metrics,
        Shareable("MODEL", LARGE, {"config": {"layers": [1, 2, {"deep": None}], "name": "net", "big": 2**64 - 1, "small": -(2**63)}}),
        Shareable("ANALYTIC", {"histogram": np.arange(3)}, {"tag": "age", "flag": True}),
        Shareable.collection({"site-2": metrics, "site-1": weights}, {"note": "both"}),
    ]


# --- there and back ---


@pytest.mark.parametrize("shareable", six_kinds(), ids=lambda s: str(s.kind))
@pytest.mark.parametrize("mapped", [False, True])
def test_the_six_kinds_travel_as_blob_and_meta(shareable: Shareable, mapped: bool) -> None:
    """T144, in part: the same on each transport, because a transport carries just these two."""
    assert travelled(shareable, mapped=mapped) == shareable
    assert travelled(shareable).blob().sha256 == shareable.blob().sha256


def test_equal_meta_is_equal_bytes_whatever_the_order_of_insertion() -> None:
    first = Shareable("MODEL", meta={"a": {"x": 1, "y": 2}, "b": math.nan})
    second = Shareable("MODEL", meta={"b": math.nan, "a": {"y": 2, "x": 1}})

    assert first.encode_meta() == second.encode_meta()
    assert first == second
    assert first != second.replace(kind="WEIGHTS")
    assert first != second.replace(meta={"a": 1})


def test_equality_is_bit_by_bit() -> None:
    nan, zero = Shareable("WEIGHTS", {"a": np.array(math.nan)}), Shareable("WEIGHTS", {"a": np.array(0.0)})

    assert nan == travelled(nan)
    assert zero != Shareable("WEIGHTS", {"a": np.array(-0.0)})
    assert zero != Shareable("WEIGHTS", {"b": np.array(0.0)})
    assert zero != Shareable("WEIGHTS", {"a": np.array([0.0])})
    assert zero != "WEIGHTS"


def test_replace_makes_another_and_keeps_the_rest() -> None:
    before = Shareable("WEIGHTS", LARGE, {"num_examples": 3})

    after = before.replace(kind="WEIGHT_DIFF", tensors={"w": [1.0]})

    assert (before.kind, after.kind) == (Kind.WEIGHTS, Kind.WEIGHT_DIFF)
    assert (list(before.tensors), list(after.tensors), after.meta) == (["b", "w"], ["w"], {"num_examples": 3})
    assert before.replace(meta={}).blob() is before.blob()


def test_repr_says_kind_tensors_and_bytes() -> None:
    assert repr(Shareable("WEIGHTS", LARGE, {"z": 1, "a": 2})) == "<Shareable WEIGHTS, 2 tensors, 240,004 bytes, meta ['a', 'z']>"


# --- tensors ---


def test_tensors_are_in_name_order_and_tell_shape_and_dtype_unread() -> None:
    tensors = travelled(Shareable("MODEL", LARGE)).tensors

    assert list(tensors) == ["b", "w"]
    assert (tensors.shape("w"), tensors.dtype("b"), tensors.size_bytes) == ((300, 200), np.dtype(ml_dtypes.bfloat16), 240_004)
    assert "w" in tensors
    assert "x" not in tensors
    with pytest.raises(NoSuchTensor, match="no tensor 'W'"):
        tensors["W"]


def test_arrays_are_held_as_they_are_and_torch_tensors_share_their_memory() -> None:
    array, tensor = np.ones(3), torch.ones(3)

    tensors = Tensors({"array": array, "tensor": tensor, "number": 3, "list": [1.0]})
    tensor[0] = 7

    assert tensors["array"] is array
    assert tensors["tensor"].tolist() == [7, 1, 1]
    assert tensors.shape("number") == ()


@pytest.mark.parametrize("source", [Tensors(LARGE), Tensors.of_blob(pack(LARGE)), Tensors.of_blob(pack({"w": LARGE["w"][:2]}))])
def test_a_block_is_read_into_a_buffer_that_is_used_again(source: Tensors) -> None:
    out = np.empty(100, np.float32)

    for start in (0, 17, 300):
        source.read_block("w", start, out)
        assert out.tolist() == list(range(start, start + 100))
    source.read_block("w", math.prod(source.shape("w")), out[:0])


def test_a_block_of_a_mapped_tensor_shows_what_was_written_to_it() -> None:
    tensors, out = Tensors.of_blob(pack(LARGE), mapped=True), np.empty(2, np.float32)

    tensors.read_block("w", 1, out)
    assert out.tolist() == [1, 2]
    tensors["w"][0, 1] = 9
    tensors.read_block("w", 1, out)
    assert out.tolist() == [9, 2]


@pytest.mark.parametrize(("start", "out"), [(-1, np.empty(1, "f4")), (59_999, np.empty(2, "f4")), (0, np.empty(1, "f8"))])
def test_a_block_outside_of_the_tensor_or_of_another_dtype_is_refused(start: int, out: Any) -> None:
    with pytest.raises(UnsupportedTensor, match=r"tensor 'w': wanted a block of its 60,000 items of float32, got"):
        Tensors(LARGE).read_block("w", start, out)


def test_select_rename_and_join_read_nothing() -> None:
    blob = pack(LARGE)
    stored = Tensors.of_blob(blob)
    _ = stored.dtype("w")
    blob.close()

    made = stored.select(["w"]).rename(str.upper).join(Tensors({"b": np.ones(1)}), stored.select(["b"]))

    assert (list(made), made.shape("W"), made.shape("b")) == (["W", "b"], (300, 200), (2,))
    with pytest.raises(NoSuchTensor, match="did you mean"):
        stored.select(["ww"])


# --- the blob ---


def test_unchanged_tensors_of_a_blob_give_that_blob_and_others_are_packed_once(tmp_path: Path) -> None:
    blob = pack(LARGE)

    of_blob, fresh = Shareable.of_blob("MODEL", blob), Shareable("MODEL", LARGE)

    assert of_blob.replace(kind="WEIGHTS").blob() is blob
    packed = fresh.blob(tmp_path)
    assert packed.path is not None
    assert packed.path.parent == tmp_path
    assert fresh.blob() is packed
    assert packed.sha256 == blob.sha256
    assert of_blob.replace(tensors=of_blob.tensors.select(["b"])).blob().sha256 == pack({"b": LARGE["b"]}).sha256


def test_what_was_written_to_a_mapped_array_is_in_the_next_blob() -> None:
    model = travelled(Shareable("MODEL", LARGE), mapped=True)
    before = model.blob()

    model.tensors["w"][0, 0] = 5

    assert model.blob().array("w")[0, 0] == 5
    assert before.array("w")[0, 0] == 0
    assert model.blob() is model.blob()


# --- meta ---


def test_num_examples_and_metrics_are_at_hand() -> None:
    shareable = Shareable("WEIGHTS", meta={"num_examples": np.int32(4), "metrics": {"loss": np.float32(0.5)}})

    assert (shareable.num_examples, shareable.metrics, type(shareable.meta["num_examples"])) == (4, {"loss": 0.5}, int)
    assert (Shareable("WEIGHTS").num_examples, Shareable("WEIGHTS").metrics) == (None, {})


def test_meta_is_a_copy_of_json_values() -> None:
    inner = {"list": (1, [np.bool_(True)]), "kind": Kind.MODEL}

    shareable = Shareable("ANALYTIC", meta=inner)
    inner["list"] = ()

    assert shareable.meta == {"list": [1, [True]], "kind": "MODEL"}
    assert type(shareable.meta["kind"]) is str


@pytest.mark.parametrize(
    ("meta", "words"),
    [
        ({"a": [1, {"b": b"x"}]}, r"meta\.a\[1\]\.b: wanted a JSON value, got bytes"),
        ({"a": np.ones(2)}, r"meta\.a: wanted a JSON value, got ndarray"),
        ({"a": {1: 2}}, r"meta\.a: wanted a JSON value, got dict"),
        ({"a": 2**64}, r"meta\.a: wanted a JSON value, got int"),
        ({"num_examples": -1}, r"meta\.num_examples: wanted a finite number from 0 on, got -1"),
        ({"num_examples": math.nan}, r"meta\.num_examples"),
        ({"num_examples": True}, r"meta\.num_examples"),
        ({"metrics": {"loss": "low"}}, r"meta\.metrics: wanted name: number pairs"),
        ({"metrics": [1]}, r"meta\.metrics"),
        ([1], "and a meta, got 'MODEL' and a list"),
    ],
)
def test_what_is_no_json_value_is_refused_with_its_place(meta: Any, words: str) -> None:
    with pytest.raises(MalformedShareable, match=words):
        Shareable("MODEL", meta=meta)


def test_meta_that_is_too_deep_or_too_large_is_refused() -> None:
    deep: Any = 1
    for _ in range(40):
        deep = [deep]

    with pytest.raises(MalformedShareable, match="deeper than 32 levels"):
        Shareable("MODEL", meta={"a": deep})
    with pytest.raises(MalformedShareable, match="larger than"):
        Shareable("MODEL", meta={"a": "x" * 1_100_000}).encode_meta()


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(MalformedShareable, match=r"wanted one of WEIGHTS, .* got 'WEIGHT'"):
        Shareable("WEIGHT")


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b"\xc1",
        b"\x91" * 100_000,
        b"\0" * 2_000_000,
        msgspec.msgpack.encode(["WEIGHTS"]),
        msgspec.msgpack.encode(["OTHER", {}]),
        msgspec.msgpack.encode(["WEIGHTS", {1: 2}]),
        msgspec.msgpack.encode(["WEIGHTS", {"a": b"bytes"}]),
        msgspec.msgpack.encode(["WEIGHTS", {"a": msgspec.msgpack.Ext(5, b"x")}]),
        msgspec.msgpack.encode(["COLLECTION", {}]),
        msgspec.msgpack.encode(["COLLECTION", {"members": {"a": {"kind": [], "meta": 5}}}]),
        msgspec.msgpack.encode(["COLLECTION", {"members": {"a": {"kind": "MODEL", "meta": 5}}}]),
        msgspec.msgpack.encode(["COLLECTION", {"members": {"a": {"kind": "MODEL", "more": 5}}}]),
        msgspec.msgpack.encode(["COLLECTION", {"members": {"a/b": {"kind": "MODEL"}}}]),
        msgspec.msgpack.encode(["COLLECTION", {"members": {"a": None}}]),
    ],
)
def test_meta_from_outside_is_checked_at_the_door(encoded: bytes) -> None:
    with pytest.raises(PayloadError):
        Shareable.decode(encoded, pack({}))


# --- collections ---


def test_a_collection_gives_its_members_back_without_reading() -> None:
    """T129, in part: COLLECTION."""
    members: Mapping[str, Shareable] = {"{b}": six_kinds()[1], "a": six_kinds()[0], "none": Shareable("METRICS")}
    nested = Shareable.collection({"all": Shareable.collection(members), "one": Shareable("MODEL", {"x/y": np.ones(2)})})

    found = travelled(nested).members()

    assert list(found["all"].tensors) == ["a/b", "a/w", "{b}/w"]
    assert found["one"].tensors["x/y"].tolist() == [1, 1]
    assert found["all"].members() == members


@pytest.mark.parametrize("name", ["w", "a", "b/w"])
def test_a_tensor_of_no_member_is_refused(name: str) -> None:
    with pytest.raises(MalformedShareable, match=f"tensor '{name}': wanted a name member/tensor"):
        Shareable("COLLECTION", {name: np.ones(1)}, {"members": {"a": {"kind": "MODEL", "meta": {}}}})


def test_only_a_collection_has_members() -> None:
    with pytest.raises(MalformedShareable, match="wanted a COLLECTION"):
        Shareable("MODEL", meta={"members": {}}).members()
