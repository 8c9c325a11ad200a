"""How good is each model at each site? The server's models, or those and every site's own, at all sites."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Annotated

import msgspec

from ..kernel.blobs import draft_of
from ..kernel.context import current_context
from ..kernel.errors import ComponentError
from ..kernel.roles import ModelLocator, Policy, Run, Workflow
from ..kernel.shareable import Shareable
from ..kernel.tasks import Result, Task
from .metrics import mean_metrics

RESULTS_FILE = "cross_site_val/cross_val_results.json"
"""Below the run's folder: {site that evaluated: {whose model: {metric: value}}}."""
SERVER_PREFIX = "SRV_"
"""Stands before the names of the server's models."""
Seconds = Annotated[float, msgspec.Meta(ge=0)]


class NoMetrics(ComponentError):
    """A site evaluated a model and reported no numbers.

    Cause: its executor answers the task without `meta["metrics"]`.

    Cure: return Shareable(Kind.METRICS, meta={"metrics": {"accuracy": …}, "num_examples": …}).
    """

    code = "SD-3011"


class NoModel(ComponentError):
    """A site was asked for its model and gave none.

    Cause: its executor answers the task without tensors; perhaps it has not trained yet.

    Cure: let it return Shareable(Kind.WEIGHTS, …) for the task named in the message.
    """

    code = "SD-3012"


class GlobalModelEval(Workflow):
    """Evaluates the server's models at every site, as one step; commits their means over the sites, weighted by examples.

    The numbers of the locator's first model go by their own names ("accuracy"), those of further ones as "SRV_best/accuracy".

    Args:
        model_locator: finds the server's models.
        policy: who must answer; default: all.
        validation_task_name: the task the sites are sent; its `shared` says whose model it is ("model_owner").
        validation_timeout: seconds a site may work on one model; 0: as long as it takes.
        participating_clients: the sites that take part; default: all.
    """

    def __init__(
        self,
        model_locator: ModelLocator | None = None,
        *,
        policy: Policy | None = None,
        validation_task_name: str = "validate",
        validation_timeout: Seconds = 0.0,
        participating_clients: list[str] | None = None,
    ) -> None:
        self.model_locator = model_locator
        self.policy = policy
        self.validation_task_name = validation_task_name
        self.validation_timeout = validation_timeout
        self.participating_clients = participating_clients

    def tasks(self) -> Iterable[str]:
        return (self.validation_task_name,)

    def run(self, run: Run) -> None:
        for _ in run.steps(1):
            results = {owner: self._evaluate(run, owner, model) for owner, model in self.models(run).items()}
            _write(results)
            run.commit(metrics=_summary(results))

    def models(self, run: Run) -> dict[str, Shareable]:
        """Whose model → the model, in the order in which they are evaluated."""
        locator = self.model_locator
        return {f"{SERVER_PREFIX}{name}": locator.locate(name) for name in locator.names()} if locator else {}

    def _evaluate(self, run: Run, owner: str, model: Shareable) -> list[Result]:
        task = Task(self.validation_task_name, model, {"model_owner": owner}, self.validation_timeout or None)
        results = list(run.scatter(task, self.participating_clients, self.policy, _has_metrics))
        for result in results:
            current_context().events.validation_result_received(model_owner=owner, site=result.site, metrics=result.metrics)
        return results


class CrossSiteModelEval(GlobalModelEval):
    """Evaluates every site's own model and the server's models at every site: the full matrix, as one step.

    Args:
        submit_model_task_name: the task by which a site is asked for its model.
        submit_model_timeout: seconds a site may take to give it; 0: as long as it takes.

    The other arguments are those of GlobalModelEval.
    """

    def __init__(  # noqa: PLR0913  # FLARE's own arguments stand beside ours
        self,
        model_locator: ModelLocator | None = None,
        *,
        policy: Policy | None = None,
        submit_model_task_name: str = "submit_model",
        submit_model_timeout: Seconds = 0.0,
        validation_task_name: str = "validate",
        validation_timeout: Seconds = 0.0,
        participating_clients: list[str] | None = None,
    ) -> None:
        super().__init__(
            model_locator,
            policy=policy,
            validation_task_name=validation_task_name,
            validation_timeout=validation_timeout,
            participating_clients=participating_clients,
        )
        self.submit_model_task_name = submit_model_task_name
        self.submit_model_timeout = submit_model_timeout

    def tasks(self) -> Iterable[str]:
        return (self.submit_model_task_name, self.validation_task_name)

    def models(self, run: Run) -> dict[str, Shareable]:
        task = Task(self.submit_model_task_name, deadline_seconds=self.submit_model_timeout or None)
        submitted = run.scatter(task, self.participating_clients, self.policy, _has_model)
        return {result.site: result.shareable for result in submitted} | super().models(run)


def _has_metrics(result: Result) -> None:
    if not result.metrics:
        raise NoMetrics(f"wanted metrics, got {result.shareable!r}", where=f"{result.site}: task {result.task!r}")


def _has_model(result: Result) -> None:
    if not result.shareable.tensors:
        raise NoModel(f"wanted tensors, got {result.shareable!r}", where=f"{result.site}: task {result.task!r}")


def _write(results: Mapping[str, list[Result]]) -> None:
    sites = sorted({result.site for answers in results.values() for result in answers})
    matrix = {site: {owner: r.metrics for owner, answers in results.items() for r in answers if r.site == site} for site in sites}
    path = current_context().folder / RESULTS_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with draft_of(path) as draft:
        draft.write_text(json.dumps(matrix, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    current_context().keep(path)


def _summary(results: Mapping[str, list[Result]]) -> dict[str, float]:
    summary: dict[str, float] = {}
    for owner, answers in results.items():
        if owner.startswith(SERVER_PREFIX):
            prefix = f"{owner}/" if summary else ""
            summary |= {f"{prefix}{name}": value for name, value in mean_metrics(answers).items()}
    return summary
