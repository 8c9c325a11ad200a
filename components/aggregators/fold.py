"""What is the weighted mean of tensors that lie in many files?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...kernel.shareable import Tensors
from ...kernel.tensors import Array
from ..blockwise import Buffers, build, is_exact

Integers = Literal["max", "mean"]
_FLOAT64 = np.dtype(np.float64)


@dataclass(frozen=True, slots=True)
class Share:
    """One site's tensors, and what they weigh."""

    tensors: Tensors
    weight: float


def weighted_mean(shares: Sequence[Share], integers: Integers = "max") -> Tensors:
    """The mean of tensors of the same names, shapes and dtypes, which it keeps; in a new blob.

    Sums in float64, in the order given: the same shares give the same bits. Blocks outside, shares inside, so that
    memory does not grow with their number. Weights are at least 0, their sum is above 0.

    Args:
        integers: what becomes of integers and booleans: the largest of all (counters such as BatchNorm's
            num_batches_tracked), or the mean, rounded to the nearest (exact up to 2**53).
    """
    fold = _Fold(shares, integers)
    first = shares[0].tensors
    return build({name: first.spec(name) for name in first}, fold.fill, fold.buffers)


class _Fold:
    def __init__(self, shares: Sequence[Share], integers: Integers) -> None:
        self.buffers = Buffers()
        self._shares = shares
        self._total = float(sum(share.weight for share in shares))
        self._integers = integers

    def fill(self, name: str, start: int, out: Array) -> None:
        """Compute one block."""
        if not is_exact(out.dtype):
            np.divide(self._sum(name, start, out.size), self._total, out=out, dtype=_FLOAT64, casting="unsafe")
        elif self._integers == "max":
            self._shares[0].tensors.read_block(name, start, out)
            for share in self._shares[1:]:
                np.maximum(out, self.buffers.read(share.tensors, name, start, out.size), out=out)
        else:
            mean = self._sum(name, start, out.size)
            np.divide(mean, self._total, out=mean)
            np.rint(mean, out=out, casting="unsafe")

    def _sum(self, name: str, start: int, size: int) -> Array:
        total, product = (self.buffers.block(_FLOAT64, size, purpose) for purpose in ("sum", "product"))
        for number, share in enumerate(self._shares):
            block = self.buffers.read(share.tensors, name, start, size)
            np.multiply(block, share.weight, out=product if number else total, dtype=_FLOAT64)
            if number:
                np.add(total, product, out=total)
        return total
