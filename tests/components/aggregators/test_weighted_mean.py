from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sundog.components import blockwise
from sundog.components.aggregators.contributions import ContributionRefused, NothingToAggregate
from sundog.components.aggregators.weighted_mean import NegativeWeight, WeightedMean
from sundog.kernel.context import Context, entered
from sundog.kernel.shareable import Kind, Shareable
from sundog.kernel.tasks import Result, Task


def result(site: str, count: float | None = 1, kind: Kind = Kind.WEIGHTS, /, meta: Any = None, **tensors: Any) -> Result:
    examples = {} if count is None else {"num_examples": count}
    return Result(site, "train", Shareable(kind, tensors, examples | (meta or {})), task_id=f"id-{site}")


def mean(*results: Result, **arguments: Any) -> Shareable:
    return WeightedMean(**arguments).aggregate(results)


def test_it_equals_the_mean_computed_by_hand() -> None:
    """T124: (1 · 1 + 3 · 5) / 4 = 4."""
    got = mean(result("a", 1, w=np.array([1, 2], np.float32)), result("b", 3, w=np.array([5, 6], np.float32)))

    assert got.kind is Kind.WEIGHTS
    assert got.tensors["w"].tolist() == [4, 5]
    assert got.tensors["w"].dtype == np.float32
    assert got.num_examples == 4


@given(st.lists(st.tuples(st.floats(-1e3, 1e3, width=32), st.integers(1, 1000)), min_size=1, max_size=6))
def test_it_equals_numpys_average(pairs: list[tuple[float, int]]) -> None:
    """T124: to 1e-6."""
    results = [result(f"site-{i}", count, w=np.full(3, value, np.float64)) for i, (value, count) in enumerate(pairs)]

    expected = np.average([value for value, _ in pairs], weights=[count for _, count in pairs])
    np.testing.assert_allclose(mean(*results).tensors["w"], expected, rtol=1e-12, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2])
def test_every_float_type_is_kept_and_summed_in_float64(dtype: type) -> None:
    got = mean(
        *(result(f"s{i}", 1, w=np.array([0.5, 1.5], dtype), scalar=np.array(2, dtype), empty=np.empty((0, 2), dtype)) for i in range(3))
    )

    assert got.tensors["w"].dtype == dtype
    assert got.tensors["w"].astype(float).tolist() == [0.5, 1.5]
    assert got.tensors["scalar"].shape == ()
    assert got.tensors["empty"].shape == (0, 2)


def test_integers_and_booleans_take_the_largest_by_default() -> None:
    results = [result("a", 1, n=np.int64(10), m=np.array([True, False])), result("b", 1, n=np.int64(13), m=np.array([False, False]))]

    got = mean(*results)

    assert got.tensors["n"] == 13
    assert got.tensors["m"].tolist() == [True, False]


def test_integers_can_take_the_rounded_mean() -> None:
    assert mean(result("a", 1, n=np.int64(10)), result("b", 2, n=np.int64(13)), integers="mean").tensors["n"] == 12


def test_blocks_give_the_same_bits_as_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(1)
    results = [result(f"s{i}", i + 1, w=generator.standard_normal(1000, np.float32), b=generator.standard_normal(7)) for i in range(3)]
    whole = mean(*results).blob().sha256

    monkeypatch.setattr(blockwise, "BLOCK_ITEMS", 13)

    assert mean(*results).blob().sha256 == whole


def test_the_order_of_arrival_does_not_change_a_bit() -> None:
    generator = np.random.default_rng(2)
    results = [result(f"s{i}", 3, w=generator.standard_normal(100, np.float32)) for i in range(5)]

    assert mean(*results).blob().sha256 == mean(*reversed(results)).blob().sha256


def test_equal_weights_need_no_example_counts() -> None:
    assert mean(result("a", None, w=[0.0]), result("b", 9, w=[1.0]), weights="equal").tensors["w"].tolist() == [0.5]


def test_a_factor_for_a_site_multiplies_its_weight() -> None:
    """T129: weights 1 · 3 and 3 · 1."""
    assert mean(result("a", 1, w=[0.0]), result("b", 3, w=[1.0]), aggregation_weights={"a": 3}).tensors["w"].tolist() == [0.5]


@pytest.mark.parametrize("exclude", [["bn.mean", "bn.var"], "^bn"])
def test_excluded_variables_are_not_in_the_aggregate(exclude: Any) -> None:
    """T129."""
    got = mean(result("a", meta=None, **{"fc": [1.0], "bn.mean": [1.0], "bn.var": [2.0]}), exclude_vars=exclude)

    assert list(got.tensors) == ["fc"]


def collection(site: str, factor: float, inner: float | None) -> Result:
    first = Shareable(Kind.WEIGHTS, {"w": [1.0 * factor]}, {} if inner is None else {"num_examples": inner})
    second = Shareable(Kind.WEIGHT_DIFF, {"w": [10.0 * factor], "skip": [0.0]})
    return Result(site, "train", Shareable.collection({"model": first, "control": second}, {"num_examples": 1}))


def test_a_collection_is_averaged_member_by_member() -> None:
    """T129: a member may have a weight of its own, and patterns see member/tensor."""
    aggregator = WeightedMean(expected_data_kind={"model": Kind.WEIGHTS, "control": Kind.WEIGHT_DIFF}, exclude_vars="control/skip")

    got = aggregator.aggregate([collection("a", 1, 3), collection("b", 2, 1)])

    assert {name: (member.kind, member.tensors["w"].tolist(), list(member.tensors)) for name, member in got.members().items()} == {
        "control": (Kind.WEIGHT_DIFF, [15.0], ["w"]),
        "model": (Kind.WEIGHTS, [1.25], ["w"]),
    }


REFUSED: list[tuple[str, Callable[[WeightedMean], object], str]] = [
    ("wrong kind", lambda a: a.check(result("a", 1, Kind.METRICS, w=[1.0])), "wanted one of WEIGHTS, WEIGHT_DIFF, COLLECTION, got METRICS"),
    ("nan", lambda a: a.check(result("a", w=[1.0], b=[np.nan])), "tensor b has numbers that are not finite"),
    ("inf", lambda a: a.check(result("a", w=[-np.inf])), "tensor w has numbers that are not finite"),
    ("no weight", lambda a: a.check(result("a", None, w=[1.0])), "wanted num_examples above 0, got None"),
    ("no examples", lambda a: a.check(result("a", 0, w=[1.0])), "wanted num_examples above 0, got 0"),
    ("wrong step", lambda a: a.check(result("a", w=[1.0], meta={"step": 1})), "the result is of step 1, wanted step 2"),
    ("twice", lambda a: a.aggregate([result("a", w=[1.0]), result("a", w=[1.0])]), "has contributed to this step already"),
    ("unchecked nan", lambda a: a.aggregate([result("a", w=[np.nan])]), "tensor w has numbers that are not finite"),
]


@pytest.mark.parametrize(("name", "give", "words"), REFUSED, ids=[name for name, _, _ in REFUSED])
def test_a_contribution_that_cannot_be_used_is_refused(name: str, give: Callable[[WeightedMean], object], words: str) -> None:
    """T128: wrong round, duplicate, wrong kind, NaN; the site is named."""
    with entered(Context(workflow="w", step=2)), pytest.raises(ContributionRefused) as caught:
        give(WeightedMean())

    assert str(caught.value).startswith(f"[SD-3031] a: {words}")


def test_a_site_contributes_once_per_task() -> None:
    """A late result is used behind the step's own, also when its site has answered in that step as well."""
    aggregator, own, late = WeightedMean(), result("a", 1, w=[1.0]), replace(result("a", 1, w=[5.0]), task_id="id-a-0", step=0)
    own = replace(own, step=1)
    with entered(Context(workflow="w", step=1)):
        for one in (own, late):
            aggregator.check(one)
        mean_of_both = aggregator.aggregate([own, late])
        with pytest.raises(ContributionRefused, match="a: has contributed to this step already"):
            aggregator.aggregate([own, late, own])

    assert mean_of_both.tensors["w"].tolist() == [3.0]


def test_a_late_result_is_of_the_step_that_its_task_was_sent_in() -> None:
    late = replace(result("a", w=[1.0], meta={"step": 0}), step=0)
    with entered(Context(workflow="w", step=1)):
        WeightedMean().check(late)
        with pytest.raises(ContributionRefused, match="the result is of step 0, wanted step 1"):
            WeightedMean().check(replace(late, step=1))


def test_a_second_result_of_a_site_is_refused_in_its_step_only() -> None:
    """T128."""
    aggregator = WeightedMean()
    with entered(Context(workflow="w", step=0)):
        aggregator.check(result("a", w=[1.0]))
        with pytest.raises(ContributionRefused, match="a: has contributed to this step already"):
            aggregator.check(result("a", w=[1.0]))

    with entered(Context(workflow="w", step=1)):
        aggregator.check(result("a", w=[1.0]))


def test_a_refused_result_leaves_its_site_free_to_send_a_good_one() -> None:
    aggregator = WeightedMean()
    with pytest.raises(ContributionRefused):
        aggregator.check(result("a", w=[np.nan]))

    aggregator.check(result("a", w=[1.0]))


def test_results_that_differ_are_compared_in_words() -> None:
    aggregator = WeightedMean()
    aggregator.check(result("a", w=np.zeros((2, 3)), b=np.zeros(2)))

    with pytest.raises(ContributionRefused, match=r"b: differs from a: lacks b, w has shape \(3, 2\), wanted \(2, 3\)"):
        aggregator.check(result("b", w=np.zeros((3, 2))))


def test_results_of_different_kinds_are_not_mixed() -> None:
    aggregator = WeightedMean()
    aggregator.check(result("a", w=[1.0]))

    with pytest.raises(ContributionRefused, match="b: is of kind WEIGHT_DIFF, that of a is WEIGHTS"):
        aggregator.check(result("b", 1, Kind.WEIGHT_DIFF, w=[1.0]))


@pytest.mark.parametrize(
    ("expected", "words"), [("WEIGHT_DIFF", "wanted WEIGHT_DIFF, got WEIGHTS"), ({"m": "WEIGHTS"}, "wanted a COLLECTION of")]
)
def test_the_expected_kind_is_demanded(expected: Any, words: str) -> None:
    with pytest.raises(ContributionRefused, match=words):
        WeightedMean(expected_data_kind=expected).check(result("a", w=[1.0]))


def sent(**tensors: Any) -> WeightedMean:
    aggregator = WeightedMean()
    aggregator.before_task_sent(Task("train", Shareable(Kind.WEIGHTS, tensors)))
    return aggregator


def test_a_site_may_keep_tensors_of_the_global_model_back_and_send_another_dtype() -> None:
    sent(w=np.zeros(2, np.float32), private=np.zeros(1)).check(result("a", w=np.zeros(2)))


def test_what_the_global_model_does_not_have_is_refused() -> None:
    with pytest.raises(ContributionRefused, match="a: differs from the global model: has v, which is unknown"):
        sent(w=np.zeros(2)).check(result("a", v=np.zeros(2)))


def test_nothing_gives_an_error_and_so_do_weights_of_zero() -> None:
    with pytest.raises(NothingToAggregate, match="at least one result"):
        mean()
    with pytest.raises(NothingToAggregate, match="weights of a are all 0"):
        mean(result("a", w=[1.0]), aggregation_weights={"a": 0})


def test_a_negative_weight_is_refused_at_the_start() -> None:
    with pytest.raises(NegativeWeight, match=r"aggregation_weights\.a"):
        WeightedMean(aggregation_weights={"a": -1})


def test_memory_does_not_grow_with_the_number_of_sites(tmp_path: Path) -> None:
    blob = Shareable(Kind.WEIGHTS, {"w": np.ones(4_000_000, np.float32)}).blob(tmp_path)

    def peak(sites: int) -> int:
        results = [Result(f"s{i}", "t", Shareable.of_blob(Kind.WEIGHTS, blob, {"num_examples": 1})) for i in range(sites)]
        tracemalloc.start()
        mean(*results)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    two, eight = peak(2), peak(8)

    assert two < 16_000_000
    assert eight < two * 1.2


@pytest.mark.parametrize("kind", [Kind.WEIGHTS, Kind.WEIGHT_DIFF])
def test_a_result_without_any_tensor_is_refused(kind: Kind) -> None:
    """Else a run that trains nothing, or whose filter lets nothing through, would end as COMPLETED."""
    with pytest.raises(ContributionRefused, match="a: has no tensors: nothing of the model would change"):
        mean(result("a", 1, kind))
