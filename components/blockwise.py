"""How are tensors computed that do not fit into memory together? Block by block, straight into a new blob.

One pass over the new blob in file order; a block is small enough to stay in a core's cache while all that
contributes to it is read. So the memory taken depends neither on the model's size nor on the number of sites.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from ..kernel.packing import BlobWriter
from ..kernel.shareable import Tensors
from ..kernel.tensors import Array, Spec, layout, numpy_dtype, raw_bytes

BLOCK_ITEMS = 256 * 1024
"""1 MiB of float32."""


class Buffers:
    """Blocks to work in, used again and again: fresh memory costs more than the arithmetic."""

    def __init__(self) -> None:
        self._blocks: dict[tuple[np.dtype[Any], str], Array] = {}

    def block(self, dtype: np.dtype[Any], size: int, purpose: str) -> Array:
        """One dimension of `size` items; overwritten by the next call for the same dtype and purpose."""
        block = self._blocks.get((dtype, purpose))
        if block is None:
            block = self._blocks[dtype, purpose] = np.empty(BLOCK_ITEMS, dtype)
        return block[:size]

    def read(self, tensors: Tensors, name: str, start: int, size: int) -> Array:
        """`size` items of a tensor from `start` on; overwritten by the next read of its dtype."""
        block = self.block(tensors.dtype(name), size, "read")
        tensors.read_block(name, start, block)
        return block


def build(specs: Mapping[str, Spec], fill: Callable[[str, int, Array], None], buffers: Buffers) -> Tensors:
    """The tensors that `fill` computes, in a new blob.

    Args:
        fill: is given a tensor's name, the number of the first item, and the block to write the items into.

    Raises:
        BlobUnwritable: for the system's reason; a full disk mostly.
    """
    planned = layout(specs)
    with BlobWriter(planned) as writer:
        for name, entry in planned.entries.items():
            for start, size in spans(entry.shape):
                block = buffers.block(numpy_dtype(entry.dtype), size, "write")
                fill(name, start, block)
                writer.write(raw_bytes(block))
        return Tensors.of_blob(writer.finish())


def spans(shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """First item and number of items of each block of a tensor."""
    items = math.prod(shape)
    return ((start, min(BLOCK_ITEMS, items - start)) for start in range(0, items, BLOCK_ITEMS))


def is_exact(dtype: np.dtype[Any]) -> bool:
    """Whether it is an integer or boolean dtype: there means and fractions make no sense."""
    return dtype.kind in "biu"  # bfloat16 and float8 are of kind V
