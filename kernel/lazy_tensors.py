"""Where does a tensor come from when it is asked for? From memory, or from a blob: read, read in blocks, or mapped."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .blobs import Blob, NoSuchTensor
from .packing import pack_one_by_one
from .tensors import Array, Entry, Spec, UnsupportedTensor, as_array, numpy_dtype, raw_bytes, spec_of


class _Held:
    """A tensor that is an array already."""

    def __init__(self, array: Array) -> None:
        self._array = array
        self.spec = spec_of(array)

    def array(self) -> Array:
        return self._array

    def read_block(self, start_item: int, out: Array) -> None:
        out[:] = self._array.reshape(-1)[start_item : start_item + out.size]


class _File:
    """A blob, and the arrays mapped over it once one of them was asked for."""

    def __init__(self, blob: Blob, *, mapped: bool) -> None:
        self.blob = blob
        self.mapped = mapped
        self.views: dict[str, Array] = {}

    def array(self, name: str) -> Array:
        if self.mapped and not self.views:
            self.views = self.blob.map()
        return self.views[name] if self.mapped else self.blob.array(name)


class _Stored:
    """A tensor that lies in a blob."""

    def __init__(self, file: _File, entry: Entry) -> None:
        self._file = file
        self._entry = entry
        self.spec = (entry.dtype, entry.shape)

    def array(self) -> Array:
        return self._file.array(self._entry.name)

    def read_block(self, start_item: int, out: Array) -> None:
        if self._file.views:  # somebody may have written to them
            _Held(self.array()).read_block(start_item, out)
        else:
            self._file.blob.read_into(raw_bytes(out), self._entry.start + start_item * out.itemsize)


class Tensors(Mapping[str, Array]):
    """Named tensors in name order. Arrays given in are not copied: do not write to them afterwards.

    `tensors[name]` is the array given in; or, of a blob, a fresh one at each call; or, mapped, the one over the file.

    Raises:
        UnsupportedTensor: something is no numeric array; the error names it.
    """

    def __init__(self, arrays: Mapping[str, Any] | None = None, *, source: _File | None = None) -> None:
        items = {name: v if isinstance(v, _Held | _Stored) else _Held(as_array(name, v)) for name, v in (arrays or {}).items()}
        self._items = dict(sorted(items.items()))
        self._source = source
        self._packed: Blob | None = None

    @classmethod
    def of_blob(cls, blob: Blob, *, mapped: bool = False) -> Tensors:
        """The tensors of a blob, none of them read yet.

        Raises:
            MalformedTensors: the blob is no tensor file.
        """
        file = _File(blob, mapped=mapped)
        stored = {name: _Stored(file, entry) for name, entry in blob.entries.items()}
        return cls(stored, source=file if blob.layout.is_canonical() else None)

    def __getitem__(self, name: str) -> Array:
        return self._item(name).array()

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def spec(self, name: str) -> Spec:
        """A tensor's dtype by its safetensors name, and its shape; nothing is read."""
        return self._item(name).spec

    def dtype(self, name: str) -> np.dtype[Any]:
        """A tensor's dtype; nothing is read."""
        return numpy_dtype(self.spec(name)[0])

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape; nothing is read."""
        return self.spec(name)[1]

    @property
    def size_bytes(self) -> int:
        """Bytes of all tensors together."""
        return sum(self.dtype(name).itemsize * math.prod(self.shape(name)) for name in self)

    def read_block(self, name: str, start_item: int, out: Array) -> None:
        """Fill `out` (one dimension, contiguous, the tensor's dtype) with the items from `start_item` on, in C order.

        Raises:
            UnsupportedTensor: `out` has another dtype, or reaches beyond the tensor's end.
        """
        wanted, size = self.dtype(name), math.prod(self.shape(name))
        if out.dtype != wanted or not 0 <= start_item <= start_item + out.size <= size:
            got = f"{out.size:,} of {out.dtype} from {start_item:,}"
            raise UnsupportedTensor(f"wanted a block of its {size:,} items of {wanted}, got {got}", where=f"tensor {name!r}")
        self._item(name).read_block(start_item, out)

    def select(self, names: Iterable[str]) -> Tensors:
        """These tensors only; nothing is read."""
        return Tensors({name: self._item(name) for name in names})

    def rename(self, name_of: Callable[[str], str]) -> Tensors:
        """The same tensors under other names; nothing is read."""
        return Tensors({name_of(name): item for name, item in self._items.items()})

    def join(self, *others: Tensors) -> Tensors:
        """These and the others' tensors; of one name, the last wins. Nothing is read."""
        return Tensors({name: t._item(name) for t in (self, *others) for name in t})  # noqa: SLF001  # of the same class

    def blob(self, folder: Path | None = None) -> Blob:
        """The canonical blob: the one these came from while nobody could have changed them, else one packed now and kept."""
        if self._packed is None:
            if self._source is not None and not self._source.views:
                return self._source.blob
            self._packed = pack_one_by_one({name: self.spec(name) for name in self}, self.__getitem__, folder)
        return self._packed

    def __eq__(self, other: object) -> bool:
        """Bit by bit: a NaN equals itself, 0.0 differs from -0.0."""
        if not isinstance(other, Tensors):
            return NotImplemented
        same = {name: self.spec(name) for name in self} == {name: other.spec(name) for name in other}
        return same and all(raw_bytes(self[name]) == raw_bytes(other[name]) for name in self)

    __hash__ = None  # type: ignore[assignment]  # equal by content, which takes reading

    def _item(self, name: str) -> _Held | _Stored:
        item = self._items.get(name)
        if item is None:
            raise NoSuchTensor.among(name, self._items)
        return item
