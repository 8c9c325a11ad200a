"""A workflow that only calls its components gets what ScatterAndGather gets: best model, report, charts, hooks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sundog.kits.protocol.answers import JobReport
from sundog.kits.simulator.simulate import simulate

from .jobs import JobFolder, custom, executor, training

FED_AVG = """
from sundog import Aggregator, ModelUpdate, Persistor, Policy, Task, Workflow


class FedAvg(Workflow):
    def __init__(self, persistor: Persistor, aggregator: Aggregator, update: ModelUpdate, num_rounds: int, policy: Policy | None = None):
        self.persistor, self.aggregator, self.update = persistor, aggregator, update
        self.num_rounds, self.policy = num_rounds, policy

    def run(self, run):
        model = run.state or self.persistor.load()
        for step in run.steps(self.num_rounds):
            results = run.scatter(Task("train", model), policy=self.policy)
            model = self.update.apply(model, self.aggregator.aggregate(results))
            run.commit(model)
"""
"""DESIGN, section 3, as printed."""

SITE = """
from sundog import Executor, Shareable
from sundog.kernel.context import current_context

class Trainer(Executor):
    def execute(self, task, ctx):
        noise = ctx.rng.standard_normal()
        value = [0.25, 0.75, 0.5][task.step] + 0.001 * noise
        ctx.metrics.add_scalar("loss", 1 - value)
        return Shareable(
            "WEIGHTS", {n: a + noise for n, a in task.model.tensors.items()}, {"num_examples": 1, "metrics": {"accuracy": value}}
        )
"""

WATCH = """
import inspect
from sundog import observe
from sundog.kernel.context import ObserverHooks, current_context

class Watch:
    pass

def noting(hook):
    def note(self, **place):
        with (current_context().folder / "hooks.txt").open("a") as file:
            file.write(" ".join([hook, *(f"{name}={value}" for name, value in place.items())]) + "\\n")

    known = inspect.signature(getattr(ObserverHooks, hook)).parameters
    takes = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in ("workflow", "step", "name") if name in known]
    note.__signature__ = inspect.Signature([inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY), *takes])
    return observe(note, specname=hook)

for hook in vars(ObserverHooks):
    if not hook.startswith(("_", "metric_", "result_")) and "result_filter" not in hook:  # these come as sites answer
        setattr(Watch, hook, noting(hook))
"""

PARTS = {name: {"ref": name} for name in ("persistor", "aggregator", "update")}
OBSERVERS = [{"id": "best", "name": "IntimeModelSelector"}, {"id": "tb", "name": "TBAnalyticsReceiver"}, {"id": "watch", **custom("Watch")}]


def run(folder: Path, workflow: Mapping[str, Any]) -> JobReport:
    job = JobFolder(folder / "job", [workflow], [executor(custom("Trainer"))], components=OBSERVERS, code=FED_AVG + SITE + WATCH)
    report = simulate(job.write(), workspace=folder / "w", seed=11)
    assert (report.status, report.faults) == ("FINISHED:COMPLETED", []), report
    return report


def run_folder(folder: Path) -> Path:
    (found,) = (folder / "w/server/runs").iterdir()
    return found


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> tuple[JobReport, Path]:
    folder = tmp_path_factory.mktemp("ours")
    return run(folder, training(3)), run_folder(folder)


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> tuple[JobReport, Path]:
    folder = tmp_path_factory.mktemp("printed")
    return run(folder, {"id": "sag", **custom("FedAvg", num_rounds=3, **PARTS)}), run_folder(folder)


Ran = tuple[JobReport, Path]


def test_the_report_is_the_same(ours: Ran, printed: Ran) -> None:
    def facts(report: JobReport) -> list[object]:
        return [(done.workflow, done.round, done.used, done.metrics, done.own_metrics) for done in report.rounds]

    assert facts(printed[0]) == facts(ours[0])
    assert printed[0].metrics == ours[0].metrics
    assert printed[0].metrics.keys() == {"accuracy"}
    assert printed[0].model_sha256 == ours[0].model_sha256 != ""


def test_the_best_model_is_the_same(ours: Ran, printed: Ran) -> None:
    best, wanted = (folder / "models/best_server.npy" for _, folder in (printed, ours))

    assert best.read_bytes() == wanted.read_bytes()


def test_the_charts_are_the_same(ours: Ran, printed: Ran) -> None:
    def charts(folder: Path) -> list[tuple[str, int]]:
        return sorted((path.parent.name, path.stat().st_size) for path in folder.glob("tb_events/*/*"))

    assert charts(printed[1]) == charts(ours[1])
    assert [site for site, _ in charts(printed[1])] == ["site-1", "site-2"]


def test_the_hooks_are_called_in_the_same_order(ours: Ran, printed: Ran) -> None:
    """But for the final model, which only ScatterAndGather saves through the persistor."""
    called, wanted = ((folder / "hooks.txt").read_text().splitlines() for _, folder in (printed, ours))
    final = ["before_model_saved name=", "after_model_saved name="]

    assert called == [line for line in wanted if line not in final]
    assert called.count("before_model_saved name=best") == 2
    assert {"initial_model_loaded", "before_aggregation workflow=sag step=2", "model_updated workflow=sag step=2"} <= {*called}
