from __future__ import annotations

import numpy as np
import pytest

from sundog.components.aggregators.accepting import AcceptingAggregator
from sundog.components.aggregators.contributions import ContributionRefused
from sundog.kernel.shareable import Kind, Shareable
from sundog.kernel.tasks import Result


class Median(AcceptingAggregator):
    def __init__(self) -> None:
        self.seen: list[float] = []

    def reset(self) -> None:
        self.seen = []

    def accept(self, result: Result) -> bool:
        value = float(result.shareable.tensors["w"][0])
        self.seen.append(value)
        return value >= 0

    def conclude(self) -> Shareable:
        return Shareable(Kind.WEIGHTS, {"w": [np.median(self.seen)]})


def results(*values: float) -> list[Result]:
    return [Result(f"site-{i}", "train", Shareable(Kind.WEIGHTS, {"w": [value]})) for i, value in enumerate(values)]


def test_each_step_is_accepted_from_the_start() -> None:
    """T128."""
    aggregator = Median()

    assert aggregator.aggregate(results(1.0, 9.0, 2.0)).tensors["w"].tolist() == [2.0]
    assert aggregator.aggregate(results(4.0)).tensors["w"].tolist() == [4.0]


def test_what_is_not_accepted_ends_the_step_and_names_the_site() -> None:
    """T128."""
    with pytest.raises(ContributionRefused, match="site-1: Median does not accept"):
        Median().aggregate(results(1.0, -1.0))
