from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from sundog.components import blockwise
from sundog.components.updates.full_model import AggregateMismatch, FullModelUpdate
from sundog.kernel.context import Context, entered
from sundog.kernel.shareable import Kind, Shareable

MODEL = Shareable(Kind.WEIGHTS, {"w": np.array([1, 2, 3], np.float32), "n": np.array([5], np.int64)}, {"architecture": "tiny"})
apply = FullModelUpdate().apply


def test_weights_replace_the_models() -> None:
    aggregate = Shareable(Kind.WEIGHTS, {"w": np.array([7, 8, 9], np.float32), "n": np.array([6], np.int64)}, {"num_examples": 4})

    got = apply(MODEL, aggregate)

    assert got == Shareable(Kind.WEIGHTS, aggregate.tensors, {"architecture": "tiny"})
    assert got.blob() is aggregate.blob()  # nothing was copied


def test_tensors_that_the_aggregate_lacks_stay() -> None:
    got = apply(MODEL, Shareable(Kind.WEIGHTS, {"w": np.array([7, 8, 9], np.float32)}))

    assert {name: value.tolist() for name, value in got.tensors.items()} == {"n": [5], "w": [7, 8, 9]}


def test_tensors_that_no_site_sends_are_named() -> None:
    """Forgotten at all sites, one of two tensors was not trained for seven rounds, and nothing said so."""
    one, many = Context(), Context()
    wide = MODEL.replace(tensors={f"w{number}": np.ones(1) for number in range(6)})

    with entered(one):
        for _ in range(2):
            apply(MODEL, Shareable(Kind.WEIGHTS, {"w": np.array([7, 8, 9], np.float32)}))
        apply(MODEL, MODEL)
    with entered(many):
        apply(wide, Shareable(Kind.WEIGHT_DIFF, {"w3": np.ones(1)}))

    assert one.notes == ["no site sends tensor 'n': it stays as it was"]
    assert many.notes == ["no site sends tensors 'w0', 'w1', 'w2' and 2 more: they stay as they were"]


def test_the_model_keeps_its_dtypes() -> None:
    got = apply(MODEL, Shareable(Kind.WEIGHTS, {"w": np.array([7, 8, 9], np.float64)}))

    assert got.tensors["w"].dtype == np.float32
    assert got.tensors["w"].tolist() == [7, 8, 9]


def test_differences_are_added_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blockwise, "BLOCK_ITEMS", 2)

    got = apply(MODEL, Shareable(Kind.WEIGHT_DIFF, {"w": np.array([0.5, 0, -1], np.float64), "n": np.array([-2], np.int64)}))

    assert got.kind is Kind.WEIGHTS
    assert {name: value.tolist() for name, value in got.tensors.items()} == {"n": [3], "w": [1.5, 2, 2]}
    assert got.tensors["w"].dtype == np.float32


def test_differences_of_part_of_the_model_leave_the_rest() -> None:
    got = apply(MODEL, Shareable(Kind.WEIGHT_DIFF, {"n": np.array([1], np.int64)}))

    assert {name: value.tolist() for name, value in got.tensors.items()} == {"n": [6], "w": [1, 2, 3]}


def test_small_types_and_booleans_are_added_too() -> None:
    model = Shareable(Kind.WEIGHTS, {"h": np.array([1.5], ml_dtypes.bfloat16), "m": np.array([True, False])})

    got = apply(model, Shareable(Kind.WEIGHT_DIFF, {"h": np.array([0.25], ml_dtypes.bfloat16), "m": np.array([False, True])}))

    assert got.tensors["h"].astype(float).tolist() == [1.75]
    assert got.tensors["m"].tolist() == [True, True]


@pytest.mark.parametrize(
    ("aggregate", "words"),
    [
        (Shareable(Kind.METRICS), "wanted WEIGHTS or WEIGHT_DIFF, got METRICS"),
        (Shareable(Kind.WEIGHTS, {"v": [1.0]}), "has v, which is unknown"),
        (Shareable(Kind.WEIGHT_DIFF, {"w": [1.0]}), r"w has shape \(1,\), wanted \(3,\)"),
    ],
)
def test_an_aggregate_that_does_not_fit_is_refused(aggregate: Shareable, words: str) -> None:
    with pytest.raises(AggregateMismatch, match=words):
        apply(MODEL, aggregate)
