from __future__ import annotations

from typing import Any

import pytest

from sundog.kernel.shareable import Kind, Shareable
from sundog.kernel.tasks import Result
from sundog.workflows.metrics import mean_metrics


def report(count: float | None, **metrics: float) -> Result:
    meta: dict[str, Any] = {"metrics": metrics} | ({} if count is None else {"num_examples": count})
    return Result("site", "task", Shareable(Kind.METRICS, meta=meta))


@pytest.mark.parametrize(
    ("reports", "expected"),
    [
        ([report(1, a=0.0), report(3, a=1.0)], {"a": 0.75}),
        ([report(None, a=0.0), report(3, a=1.0)], {"a": 0.5}),
        ([report(0, a=0.0), report(0, a=1.0)], {"a": 0.5}),
        ([report(1, b=2.0, a=4.0), report(3, a=8.0)], {"a": 7.0, "b": 2.0}),
        ([report(1)], {}),
        ([], {}),
    ],
)
def test_the_mean_is_weighted_by_examples_when_all_tell_them(reports: list[Result], expected: dict[str, float]) -> None:
    assert mean_metrics(reports) == expected
