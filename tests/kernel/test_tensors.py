"""Is the tensor file strict, canonical, and what every safetensors tool reads and writes?"""

from __future__ import annotations

import json
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sundog.kernel.packing import pack
from sundog.kernel.tensors import MalformedTensors, UnsupportedTensor, as_array, head_size, layout, numpy_dtype, parse

DTYPES = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL")


def head(record: Any, padding: int = 0) -> bytes:
    text = (record if isinstance(record, bytes) else json.dumps(record).encode()) + b" " * padding
    return len(text).to_bytes(8, "little") + text


def record(start: int = 0, end: int = 4, dtype: Any = "F32", shape: Any = (1,)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


# --- what we write ---


def test_the_header_has_no_metadata_sorted_keys_and_data_at_a_multiple_of_64() -> None:
    made = layout({"b": ("F32", (2,)), "a": ("U8", ()), "c": ("I64", (1,))})

    assert made.head[8:].rstrip() == (
        b'{"a":{"data_offsets":[16,17],"dtype":"U8","shape":[]},"b":{"data_offsets":[8,16],"dtype":"F32","shape":[2]},'
        b'"c":{"data_offsets":[0,8],"dtype":"I64","shape":[1]}}'
    )
    assert len(made.head) % 64 == 0
    assert [(e.name, e.start - len(made.head), e.size) for e in made.entries.values()] == [("c", 0, 8), ("b", 8, 8), ("a", 16, 1)]
    assert made.size_bytes == len(made.head) + 17


def test_a_file_without_tensors_is_a_header_alone() -> None:
    made = layout({})

    assert made.head == (56).to_bytes(8, "little") + b"{}" + b" " * 54
    assert parse(made.head, 64) == made


@settings(max_examples=200)
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=8), st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 5), max_size=4)), max_size=8
    ),
    st.randoms(use_true_random=False),
)
def test_equal_tensors_are_equal_bytes_whatever_the_order_of_insertion(specs: dict[str, Any], random: Any) -> None:
    """T144, in part: the kinds' tensors are canonical."""
    rng = np.random.default_rng(len(specs))
    tensors = {
        name: np.frombuffer(rng.bytes(8 * 625), numpy_dtype(dtype))[: int(np.prod(shape))].reshape(shape)
        for name, (dtype, shape) in specs.items()
        if name.isprintable() and dtype != "BOOL"
    }
    shuffled = list(tensors.items())
    random.shuffle(shuffled)

    first, second = pack(tensors), pack(dict(shuffled))

    assert first.inline == second.inline
    assert first.sha256 == second.sha256
    assert first.layout.is_canonical()


@pytest.mark.parametrize("value", [np.array([None]), np.array(["a"]), np.array([1j]), np.array([(1, 2)], "i4,i4"), np.array([1], "M8[s]")])
def test_an_unsupported_dtype_is_refused_by_name(value: Any) -> None:
    with pytest.raises(UnsupportedTensor, match=r"tensor 'layer\.weight'.*wanted one of F64, .* got dtype"):
        as_array("layer.weight", value)


@pytest.mark.parametrize("name", ["", "__metadata__", "a\nb", "\ud800", 7])
def test_a_name_that_is_no_printable_text_is_refused(name: Any) -> None:
    with pytest.raises(UnsupportedTensor, match="printable text"):
        layout({name: ("F32", ())})


def test_an_unknown_dtype_name_and_too_many_dimensions_are_refused() -> None:
    with pytest.raises(UnsupportedTensor, match="got dtype 'C64'"):
        layout({"a": ("C64", ())})
    with pytest.raises(UnsupportedTensor, match="at most 32 dimensions"):
        layout({"a": ("U8", (1,) * 33)})
    with pytest.raises(UnsupportedTensor, match="at most 32 dimensions"):
        as_array("a", np.zeros((1,) * 33))


def test_big_endian_and_non_contiguous_arrays_become_what_lies_in_a_file() -> None:
    wanted = np.arange(6, dtype="<i4").reshape(2, 3)

    for given_in in (wanted.astype(">i4"), np.asfortranarray(wanted), np.repeat(wanted, 2, axis=1)[:, ::2]):
        made = as_array("a", given_in)
        assert made.flags.c_contiguous
        assert made.dtype == np.dtype("<i4")
        assert made.tobytes() == wanted.tobytes()


def test_a_proper_array_is_not_copied() -> None:
    array = np.ones((2, 2), np.float32)

    assert as_array("a", array) is array


def test_what_fits_no_array_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedTensor, match="tensor 'ragged': cannot be read as an array"):
        as_array("ragged", [[1], [1, 2]])


def test_dtype_names_are_those_of_numpy_and_ml_dtypes() -> None:
    assert numpy_dtype("BF16") == np.dtype(ml_dtypes.bfloat16)
    assert numpy_dtype("F8_E4M3") == np.dtype(ml_dtypes.float8_e4m3fn)
    assert {as_array("a", np.zeros(1, numpy_dtype(name))).dtype.itemsize for name in DTYPES} == {1, 2, 4, 8}


# --- what we refuse ---


@pytest.mark.parametrize(
    ("text", "size", "words"),
    [
        (head({"a": record()}), 3, "fill the file"),  # data bytes in the file
        (head({"a": record()}), 5, "fill the file"),
        (head({"a": record(0, 5)}), 5, "wanted 4 bytes"),
        (head({"a": record(4, 8)}), 8, "wanted 4 bytes"),
        (head({"a": record(), "b": record(2, 6)}), 6, "wanted 4 bytes"),
        (head({"a": record(), "b": record(8, 12)}), 12, "wanted 4 bytes"),
        (head({"a": record(), "b": record()}), 4, "wanted 4 bytes"),
        (head({"a": record(4, 0)}), 4, "wanted 4 bytes"),
        (head({"a": record(-4, 0)}), 0, "wanted 4 bytes"),
        (head({"a": record(shape=(-1,))}), 4, "none negative"),
        (head({"a": record(shape=(1,) * 33)}), 4, "at most 32 dimensions"),
        (head({"a": record(0, 0, shape=(0, 2**61))}), 0, "too large to be counted"),
        (head({"a": record(dtype="C64", shape=())}), 8, "got dtype 'C64'"),
        (head({"a": {}}), 0, "got dtype ''"),
        (head({"a": record(shape="1")}), 4, "cannot be read"),
        (head({"a": record(shape=(1.5,))}), 4, "cannot be read"),
        (head({"a": record(dtype=4)}), 4, "cannot be read"),
        (head({"a": [record()]}), 4, "cannot be read"),
        (head([]), 0, "no JSON object"),
        (head(b" {}"), 0, "no JSON object"),
        (head(b"{}x"), 0, "cannot be read"),
        (head(b'{"\xff":0}'), 0, "cannot be read"),
        (head(b'{"a":' + b"[" * 100_000), 0, "cannot be read"),
        (head(b'{"a":{"a":' * 150_000), 0, "far too large"),
        (head(b'{"__metadata__":{"format":"a","format":"b"}}'), 0, "key twice"),
        (head(json.dumps({"a": record()}).encode()[:-1] + b',"\\u0061":' + json.dumps(record()).encode() + b"}"), 4, "key twice"),
        (head({"a\n": record()}), 4, "printable text"),
    ],
)
def test_a_header_that_is_not_safe_to_believe_is_refused(text: bytes, size: int, words: str) -> None:
    with pytest.raises(MalformedTensors, match=words):
        parse(text, len(text) + size)


@pytest.mark.parametrize(("prefix", "size"), [(b"", 0), (b"\0" * 7, 7), (b"\xff" * 8, 1 << 40), ((57).to_bytes(8, "little"), 64)])
def test_a_header_longer_than_its_file_or_the_limit_is_refused_by_its_length(prefix: bytes, size: int) -> None:
    with pytest.raises(MalformedTensors, match="is announced"):
        head_size(prefix, size)


def test_a_head_must_be_as_long_as_it_says() -> None:
    with pytest.raises(MalformedTensors, match="announced otherwise"):
        parse(head(b"{}") + b" ", 11)


# --- what other tools write ---


def test_metadata_and_another_order_are_read_but_are_not_canonical() -> None:
    foreign = head({"__metadata__": {"format": "pt", "dtype": "F8"}, "b": record(0, 1, "U8"), "a": record(1, 5)}, padding=3)

    found = parse(foreign, len(foreign) + 5)

    assert [(e.name, e.start - len(foreign), e.size) for e in found.entries.values()] == [("b", 0, 1), ("a", 1, 4)]
    assert not found.is_canonical()
