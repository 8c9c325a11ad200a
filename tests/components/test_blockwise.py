from __future__ import annotations

import numpy as np
import pytest

from sundog.components import blockwise
from sundog.components.blockwise import BLOCK_ITEMS, Buffers, build, is_exact, spans
from sundog.kernel.shareable import Tensors
from sundog.kernel.tensors import Array, numpy_dtype


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((), [(0, 1)]), ((0, 3), []), ((3, 2), [(0, 6)]), ((BLOCK_ITEMS + 2,), [(0, BLOCK_ITEMS), (BLOCK_ITEMS, 2)])],
)
def test_the_blocks_of_a_tensor_tile_it(shape: tuple[int, ...], expected: list[tuple[int, int]]) -> None:
    assert list(spans(shape)) == expected


def test_a_blob_is_built_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blockwise, "BLOCK_ITEMS", 4)
    source = Tensors({"a": np.arange(10, dtype=np.float32), "b": np.arange(3, dtype=np.int64), "c": np.empty(0, np.float16)})
    calls: list[tuple[str, int, int]] = []

    def fill(name: str, start: int, out: Array) -> None:
        calls.append((name, start, out.size))
        source.read_block(name, start, out)

    built = build({name: source.spec(name) for name in source}, fill, Buffers())

    assert built == source
    assert built.blob().sha256 == source.blob().sha256
    assert calls == [("b", 0, 3), ("a", 0, 4), ("a", 4, 4), ("a", 8, 2)]


@pytest.mark.parametrize("name", ["I64", "BOOL", "U8"])
def test_integers_and_booleans_are_exact(name: str) -> None:
    assert is_exact(numpy_dtype(name))


@pytest.mark.parametrize("name", ["F32", "BF16", "F8_E4M3"])
def test_bfloat16_and_float8_are_not(name: str) -> None:
    assert not is_exact(numpy_dtype(name))
