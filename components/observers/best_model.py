"""Which global model was the best so far? The one that the sites' own numbers say, weighted by their examples."""

from __future__ import annotations

import math
from typing import Literal

import structlog

from ...kernel.context import current_context
from ...kernel.errors import ComponentError
from ...kernel.hookspecs import observe
from ...kernel.roles import Persistor
from ...kernel.shareable import Kind, Shareable
from ...kernel.tasks import Result, Task

log = structlog.get_logger()


class MetricUnclear(ComponentError):
    """It is not clear by which metric the best model is to be chosen.

    Cause: no site reports the metric that is named; or none is named and they report several.

    Cure: give IntimeModelSelector "validation_metric_name": one of the metrics in the message.
    """

    code = "SD-3071"


class NoPersistor(ComponentError):
    """The best model cannot be saved: no persistor, or more than one, is there to do it.

    Cause: IntimeModelSelector looks for the job's only persistor when it is given none.

    Cure: give it "persistor": {"ref": "the persistor's id"}.
    """

    code = "SD-3072"


class IntimeModelSelector:
    """Saves the global model through the persistor, as "best", whenever its metric beats all before. Survives a restart.

    A site's metrics speak of the model that it was *sent*: "initial_metrics" in its result's meta, or else its metrics.

    Args:
        validation_metric_name: the metric; default: the only one that is reported.
        better: which of two numbers is the better one; use "lower" for a loss.
        weigh_by_examples: weigh each site by its num_examples; if not, or if one site does not tell, all weigh the same.
        aggregation_weights: site → factor of its weight; default 1.
        persistor: what saves the model; default: the job's only persistor.
    """

    def __init__(
        self,
        validation_metric_name: str = "",
        *,
        better: Literal["higher", "lower"] = "higher",
        weigh_by_examples: bool = True,
        aggregation_weights: dict[str, float] | None = None,
        persistor: Persistor | None = None,
    ) -> None:
        self.metric = validation_metric_name
        self.better = better
        self.weigh_by_examples = weigh_by_examples
        self.aggregation_weights = aggregation_weights or {}
        self.persistor = persistor
        self.best: float | None = None
        self._model: Shareable | None = None
        self._sent: dict[str, Shareable | None] = {}
        """Site → the model that it was sent in the step; None: several."""
        self._results: dict[str, Result] = {}

    def state(self) -> Shareable | None:
        """The best number so far."""
        return None if self.best is None else Shareable(Kind.METRICS, meta={"metrics": {"best": self.best}})

    def restore(self, state: Shareable) -> None:
        """Go on from there."""
        self.best = state.metrics["best"]

    @observe
    def step_started(self) -> None:
        """Forget the step before."""
        self._results, self._sent = {}, {}

    @observe
    def after_commit(self) -> None:
        """The next step begins, also in a workflow that does not ask for step numbers."""
        self.step_started()

    @observe
    def before_task_sent(self, task: Task, site: str) -> None:
        """Remember which model the site is going to speak of."""
        self._model = task.model
        if self._sent.setdefault(site, task.model) is not task.model:
            self._sent[site] = None

    @observe
    def result_accepted(self, result: Result) -> None:
        """Note a site's numbers, but for those of a task that an earlier step sent: they speak of another model."""
        if result.step in (-1, current_context().step):
            self._results[result.site] = result

    @observe
    def before_aggregation(self, step: int) -> None:
        """Decide whether the model that was sent is the best so far.

        Raises:
            MetricUnclear: no site reports the one that is named, or none is named and there are several.
        """
        speaking = {site: result for site, result in sorted(self._results.items()) if self._sent.get(site) is self._model}
        reports = {site: metrics for site, result in speaking.items() if (metrics := _metrics(result))}
        if not reports or self._model is None:
            return
        metric = self._chosen({name for metrics in reports.values() for name in metrics})
        value = self._mean({site: metrics[metric] for site, metrics in reports.items() if metric in metrics})
        if value is not None and self._beats(value):
            self.best = value
            self._save(self._model, metric, value, step)

    def _chosen(self, reported: set[str]) -> str:
        if self.metric in reported:
            return self.metric
        if self.metric or len(reported) > 1:
            raise MetricUnclear(f"wanted {self.metric or 'one metric'}, the sites report {', '.join(sorted(reported))}")
        return reported.pop()

    def _mean(self, values: dict[str, float]) -> float | None:
        counts = {site: self._results[site].shareable.num_examples for site in values}
        is_weighed = self.weigh_by_examples and all(counts.values())
        weights = {site: (counts[site] or 1.0 if is_weighed else 1.0) * self.aggregation_weights.get(site, 1.0) for site in values}
        total = sum(weights.values())
        return sum(weights[site] * values[site] for site in values) / total if total else None

    def _beats(self, value: float) -> bool:
        """A NaN beats nothing."""
        if self.best is None:
            return not math.isnan(value)
        return value > self.best if self.better == "higher" else value < self.best

    def _save(self, model: Shareable, metric: str, value: float, step: int) -> None:
        log.info("best_model_found", metric=metric, value=value, step=step)
        current_context().events.best_model_found(model=model, metric=metric, value=value, step=step)
        context = current_context()
        path = self._find_persistor().save(model, "best")
        if path is not None and path.is_file() and path.is_relative_to(context.folder):
            context.keep(path)

    def _find_persistor(self) -> Persistor:
        if self.persistor is not None:
            return self.persistor
        found = {name: part for name, part in current_context().components.items() if isinstance(part, Persistor)}
        if len(found) != 1:
            raise NoPersistor(f"wanted one persistor, got {', '.join(sorted(found)) or 'none'}")
        return next(iter(found.values()))


def _metrics(result: Result) -> dict[str, float]:
    initial: dict[str, float] | None = result.shareable.meta.get("initial_metrics")
    return initial or result.metrics
