"""How do named tensors lie in a file? The safetensors layout, strict: a header, then the buffers without gaps.

    [u64 length of the JSON][JSON, padded with spaces][buffer][buffer]…

What we write is canonical: data start at a multiple of 64, the largest item size comes first, then the name decides; keys
are sorted, separators compact, there is no metadata. So equal tensors are equal bytes. What we read may come from any
safetensors tool, but must tile the file exactly. All numbers are little-endian. Nothing here opens a file.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import msgspec
import numpy as np
import numpy.typing as npt

from .errors import PayloadError

Array = npt.NDArray[Any]
Spec = tuple[str, tuple[int, ...]]
"""A tensor without its data: dtype by its safetensors name, and shape."""

ALIGNMENT = 64
"""Data start at a multiple of this: a cache line, and more than any vector unit asks for."""
LENGTH_BYTES = 8
MAX_HEADER_BYTES = 16 * 1024 * 1024
_KNOWN_HEADS = 8
_KNOWN_HEAD_BYTES = 1024 * 1024
"""So many heads up to this size are remembered: what one of a few thousand tensors costs to read, each round would cost again."""
MAX_TENSORS = 100_000
MAX_RANK = 32
"""What numpy has allowed in all its versions."""
MAX_EXTENT_BYTES = 2**62
"""An upper limit to itemsize times all dimensions that are not 0: above it numpy cannot count."""

_DTYPES = {
    "F64": ("float64", 8), "F32": ("float32", 4), "F16": ("float16", 2), "BF16": ("bfloat16", 2),
    "F8_E4M3": ("float8_e4m3fn", 1), "F8_E5M2": ("float8_e5m2", 1),
    "I64": ("int64", 8), "I32": ("int32", 4), "I16": ("int16", 2), "I8": ("int8", 1),
    "U64": ("uint64", 8), "U32": ("uint32", 4), "U16": ("uint16", 2), "U8": ("uint8", 1), "BOOL": ("bool", 1),
}  # fmt: skip  # a table
_NAMES = {numpy_name: name for name, (numpy_name, _) in _DTYPES.items()}


class MalformedTensors(PayloadError):
    """Bytes that should be a tensor file are not one that can be read safely; nothing was allocated for what they announce.

    Cause: a damaged or cut file, a file of another format (a pickled .pt?), or a hostile sender.

    Cure: write it again, with `Shareable.blob()` or `safetensors.torch.save_file`.
    """

    code = "SD-1201"


class UnsupportedTensor(PayloadError):
    """A value cannot become a tensor of a payload.

    Cause: an object, string, complex or structured dtype, a name that is not text, or limits (100,000 tensors, 32 dimensions).

    Cure: convert it to one of F64 F32 F16 BF16 F8_E4M3 F8_E5M2 I64 I32 I16 I8 U64 U32 U16 U8 BOOL; what is no tensor goes into meta.
    """

    code = "SD-1202"


@dataclass(frozen=True, slots=True)
class Entry:
    """Where one tensor lies: `size` bytes from `start`, counted from the beginning of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Layout:
    """A tensor file without its data: the head (length and JSON), the entries in file order, the size of the whole."""

    head: bytes
    entries: Mapping[str, Entry]
    size_bytes: int

    def is_canonical(self) -> bool:
        """Whether we would write these tensors in the same way, so that the file's hash speaks for them."""
        return _is_canonical(self.head, self.size_bytes) if len(self.head) <= _KNOWN_HEAD_BYTES else _would_be_written(self)


@functools.cache
def numpy_dtype(name: str) -> np.dtype[Any]:
    """The numpy dtype (little-endian) of a safetensors dtype name that is known to be valid."""
    numpy_name, _ = _DTYPES[name]
    if name == "BF16" or name.startswith("F8"):
        import ml_dtypes  # 10 ms that most jobs never need

        return cast("np.dtype[Any]", np.dtype(getattr(ml_dtypes, numpy_name)))
    dtype: np.dtype[Any] = np.dtype(numpy_name)
    return dtype.newbyteorder("<")


@functools.lru_cache(maxsize=64)
def dtype_name(dtype: np.dtype[Any]) -> str:
    """The safetensors name of a numpy dtype of any byte order; empty when it has no place in a tensor file."""
    return _NAMES.get(dtype.name, "")  # numpy makes the name anew at each call, in 5 µs


def as_array(name: str, value: Any) -> Array:
    """The value as an array as it lies in a file: C-contiguous and little-endian; copied only if it is not so already.

    Raises:
        UnsupportedTensor: no numeric array, or of a dtype that has no place in a tensor file.
    """
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as exc:  # what strangers' __array__ raise
        raise UnsupportedTensor(f"cannot be read as an array: {exc}", where=f"tensor {name!r}") from exc
    if not dtype_name(array.dtype):
        raise UnsupportedTensor(f"wanted one of {', '.join(_DTYPES)}, got dtype {array.dtype}", where=f"tensor {name!r}")
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("<"))
    array = np.asarray(array, order="C")
    _check_spec(name, spec_of(array), UnsupportedTensor)
    return array


def spec_of(array: Array) -> Spec:
    """Dtype and shape of what `as_array` gave."""
    return dtype_name(array.dtype), array.shape


def raw_bytes(array: Array) -> memoryview:
    """The memory of a C-contiguous array, byte by byte and without a copy; writing to it writes to the array."""
    return array.reshape(-1).view(np.uint8).data


def layout(tensors: Mapping[str, Spec]) -> Layout:
    """The canonical layout of tensors.

    Raises:
        UnsupportedTensor: a name or a dtype that has no place in a tensor file, or too many of something.
    """
    if len(tensors) > MAX_TENSORS:
        raise UnsupportedTensor(f"{len(tensors):,} tensors are more than {MAX_TENSORS:,}")
    for name, spec in tensors.items():
        _check_spec(name, spec, UnsupportedTensor)
    ordered = sorted(tensors, key=lambda name: (-_DTYPES[tensors[name][0]][1], name))
    placed = _place(tensors, ordered, 0)
    head = _head(placed)
    entries = {name: Entry(name, e.dtype, e.shape, e.start + len(head), e.size) for name, e in placed.items()}
    return Layout(head, entries, len(head) + sum(e.size for e in entries.values()))


def head_size(prefix: bytes, size_bytes: int) -> int:
    """How many bytes of a file belong to its head, told by its first 8 bytes and its size.

    Raises:
        MalformedTensors: they promise more than the file or the limit has.
    """
    length = int.from_bytes(prefix, "little")
    if len(prefix) < LENGTH_BYTES or length > min(MAX_HEADER_BYTES, size_bytes - LENGTH_BYTES):
        raise MalformedTensors(f"a header of {length:,} bytes is announced in a file of {size_bytes:,}")
    return LENGTH_BYTES + length


def parse(head: bytes, size_bytes: int) -> Layout:
    """The layout of a file of `size_bytes` that begins with `head` (as long as `head_size` says).

    Takes memory in proportion to the head only; a head that was read lately is not read again: rounds send the same one.

    Raises:
        MalformedTensors: overlaps, gaps, sizes that differ from dtype times shape, unknown dtypes, keys given twice, …
    """
    return _parse_known(head, size_bytes) if len(head) <= _KNOWN_HEAD_BYTES else _parse(head, size_bytes)


def _parse(head: bytes, size_bytes: int) -> Layout:
    if head_size(head[:LENGTH_BYTES], size_bytes) != len(head):
        raise MalformedTensors(f"the header is announced otherwise than with {len(head) - LENGTH_BYTES:,} bytes")
    records = _decode(head[LENGTH_BYTES:])
    records.pop("__metadata__", None)
    if len(records) > MAX_TENSORS:
        raise MalformedTensors(f"{len(records):,} tensors are more than {MAX_TENSORS:,}")
    specs: dict[str, Spec] = {name: (record.dtype, tuple(record.shape)) for name, record in records.items()}
    for name, spec in specs.items():
        _check_spec(name, spec, MalformedTensors)
    entries = _place(specs, sorted(records, key=lambda name: records[name].data_offsets), len(head))
    for name, entry in entries.items():
        start, end = (offset + len(head) for offset in records[name].data_offsets)
        if (start, end - start) != (entry.start, entry.size):
            raise MalformedTensors(f"wanted {entry.size:,} bytes at {entry.start:,}, got {start:,} to {end:,}", where=_where(name))
    if len(head) + sum(entry.size for entry in entries.values()) != size_bytes:
        raise MalformedTensors(f"the tensors do not fill the file of {size_bytes:,} bytes")
    return Layout(head, entries, size_bytes)


_parse_known = functools.lru_cache(_KNOWN_HEADS)(_parse)


def _would_be_written(found: Layout) -> bool:
    return layout({entry.name: (entry.dtype, entry.shape) for entry in found.entries.values()}).head == found.head


@functools.lru_cache(_KNOWN_HEADS)
def _is_canonical(head: bytes, size_bytes: int) -> bool:
    return _would_be_written(_parse_known(head, size_bytes))


class _Record(msgspec.Struct):
    """One tensor in the JSON. Everything has a default because `__metadata__` is read as one of these too."""

    dtype: str = ""
    shape: list[int] = []
    data_offsets: tuple[int, int] = (-1, -1)


_DECODER = msgspec.json.Decoder(dict[str, _Record])


def _decode(text: bytes) -> dict[str, _Record]:
    if text[:1] != b"{" or text.count(b"{") > 2 * MAX_TENSORS:  # the double leaves room for braces in names and metadata
        raise MalformedTensors("the header is no JSON object, or a far too large one")
    try:
        records = _DECODER.decode(text)  # typed, so that it stops at the first wrong byte, before junk has become objects
        json.loads(text, object_pairs_hook=_unique)  # msgspec takes the last of two equal keys
    except (ValueError, RecursionError) as exc:
        raise MalformedTensors(f"the header cannot be read: {exc}") from exc
    return records


def _unique(pairs: list[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) < len(pairs):
        raise MalformedTensors("the header has a key twice")


def _check_spec(name: Any, spec: Spec, error: Callable[..., PayloadError]) -> None:
    """Everything that can be wrong with one tensor alone."""
    dtype, shape = spec
    if not isinstance(name, str) or name in ("", "__metadata__") or not name.isprintable():
        raise error("wanted printable text as a tensor's name", where=_where(name))
    if dtype not in _DTYPES:
        raise error(f"wanted one of {', '.join(_DTYPES)}, got dtype {dtype[:40]!r}", where=_where(name))
    if len(shape) > MAX_RANK or any(size < 0 for size in shape):
        raise error(f"wanted at most {MAX_RANK} dimensions, none negative, got {len(shape)}", where=_where(name))
    if _DTYPES[dtype][1] * math.prod(size or 1 for size in shape) > MAX_EXTENT_BYTES:
        raise error("dimensions too large to be counted", where=_where(name))


def _place(tensors: Mapping[str, Spec], order: Iterable[str], start: int) -> dict[str, Entry]:
    """One behind the other, without gaps."""
    placed = {}
    for name in order:
        dtype, shape = tensors[name]
        size = _DTYPES[dtype][1] * math.prod(shape)
        placed[name] = Entry(name, dtype, shape, start, size)
        start += size
    return placed


def _head(placed: Mapping[str, Entry]) -> bytes:
    record = {n: {"data_offsets": [e.start, e.start + e.size], "dtype": e.dtype, "shape": e.shape} for n, e in placed.items()}
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
    text += b" " * (-(LENGTH_BYTES + len(text)) % ALIGNMENT)
    if len(text) > MAX_HEADER_BYTES:
        raise UnsupportedTensor(f"the names and shapes need {len(text):,} bytes, more than {MAX_HEADER_BYTES:,}")
    return len(text).to_bytes(LENGTH_BYTES, "little") + text


def _where(name: Any) -> str:
    return f"tensor {str(name)[:200]!r}"
