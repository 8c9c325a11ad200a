"""What is a metric worth over all sites? The mean of the sites' numbers, each weighted by its example count."""

from __future__ import annotations

from collections.abc import Iterable

from ..kernel.tasks import Result


def mean_metrics(results: Iterable[Result]) -> dict[str, float]:
    """Name → weighted mean over the results that report it, in name order.

    A result weighs as many as its `num_examples`; if one of them does not say, all weigh the same. Of a site whose late result is
    used beside its new one, both count, as they do in the model.
    """
    reports = [(result.shareable.num_examples, result.metrics) for result in results]
    names = sorted({name for _, metrics in reports for name in metrics})
    return {name: _mean([(weight, metrics[name]) for weight, metrics in reports if name in metrics]) for name in names}


def _mean(reports: list[tuple[float | None, float]]) -> float:
    weights = [1.0 if weight is None else float(weight) for weight, _ in reports]
    if any(weight is None for weight, _ in reports) or not sum(weights):
        weights = [1.0] * len(reports)
    return sum(weight * value for weight, (_, value) in zip(weights, reports, strict=True)) / sum(weights)
