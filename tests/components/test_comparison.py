from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from sundog.components.comparison import differences, first_not_finite
from sundog.kernel.shareable import Tensors
from sundog.kernel.tensors import Array

WANT = Tensors({"fc.weight": np.zeros((2, 3), np.float32), "fc.bias": np.zeros(2, np.float32)})


def test_equal_structures_differ_in_nothing() -> None:
    assert differences(WANT, WANT) == ""


def test_differences_are_told_in_words() -> None:
    got = Tensors({"fc.weigth": np.zeros(1), "fc.bias": np.zeros((2, 1), np.float32)})

    assert differences(got, WANT) == (
        "lacks fc.weight, has fc.weigth, which is unknown; did you mean 'fc.weight'?, fc.bias has shape (2, 1), wanted (2,)"
    )


def test_another_dtype_is_a_difference_unless_it_may_be_converted() -> None:
    got = Tensors({"fc.bias": np.zeros(2)})

    assert differences(got, WANT, may_lack=True) == "fc.bias is float64, wanted float32"
    assert differences(got, WANT, may_lack=True, may_convert=True) == ""


def test_many_differences_are_counted() -> None:
    got = Tensors({f"layer.{number}": np.zeros(1) for number in range(20)})

    assert differences(got, Tensors()).endswith("layer.15, which is unknown and 12 more differences")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16])
def test_the_first_tensor_that_is_not_finite_is_named(value: float, dtype: type) -> None:
    bad: Array = np.zeros(300_000, dtype)
    bad[-1] = value

    assert first_not_finite(Tensors({"a": np.zeros(3, dtype), "b": bad, "c": bad, "n": np.ones(3, np.int64)})) == "b"


def test_large_finite_numbers_are_fine() -> None:
    assert first_not_finite(Tensors({"a": np.full(1000, 60_000, np.float16), "b": np.full(9, 3e38, np.float32)})) == ""
