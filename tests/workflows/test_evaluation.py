from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sundog.components.aggregators.weighted_mean import WeightedMean
from sundog.components.executors.numpy_trainer import NPTrainer, NPValidator
from sundog.components.locators.numpy_file import NPModelLocator
from sundog.components.observers.validation_json import ValidationJsonGenerator
from sundog.components.persistors.numpy_file import NPModelPersistor
from sundog.components.updates.full_model import FullModelUpdate
from sundog.kernel.context import Context, entered
from sundog.kernel.roles import Executor
from sundog.kernel.shareable import Kind, Shareable
from sundog.kernel.tasks import Task
from sundog.workflows.evaluation import CrossSiteModelEval, GlobalModelEval
from sundog.workflows.policy import PolicyFailed, SitesPolicy
from sundog.workflows.scatter_and_gather import ScatterAndGather

from .federation import Doing, Federation


class Site(Executor):
    """A trainer that adds `delta`, and a validator whose examples count for `count`."""

    def __init__(self, delta: float, count: float = 1) -> None:
        self.trainer = NPTrainer(delta)
        self.count = count

    def execute(self, task: Task, ctx: Context) -> Shareable:
        if task.name != "validate":
            return self.trainer.execute(task, ctx)
        found = NPValidator().execute(task, ctx)
        metrics = {"mean": found.metrics["mean"] * self.count}
        return found.replace(meta={"metrics": metrics, "num_examples": self.count})


def trained(folder: Path, **components: Any) -> Federation:
    return Federation({"site-1": Site(1, 1), "site-2": Site(3, 3)}, folder, components)


def fed_avg() -> ScatterAndGather:
    return ScatterAndGather(WeightedMean(), NPModelPersistor(), FullModelUpdate(), num_rounds=1)


def test_two_workflows_train_and_then_evaluate_every_model_at_every_site(tmp_path: Path) -> None:
    """T117, T122: the full matrix, in FLARE's file; means of 1…9 are 5, the sites add 1 and 3, the server has the mean."""
    federation = trained(tmp_path)

    federation.run(fed_avg(), CrossSiteModelEval(NPModelLocator()))

    matrix = json.loads((tmp_path / "cross_site_val" / "cross_val_results.json").read_text())
    assert matrix == {
        "site-1": {"site-1": {"mean": 6.0}, "site-2": {"mean": 8.0}, "SRV_server": {"mean": 7.0}},
        "site-2": {"site-1": {"mean": 18.0}, "site-2": {"mean": 24.0}, "SRV_server": {"mean": 21.0}},
    }
    assert [(result.workflow, result.step) for result in federation.closed] == [("w0", 0), ("w1", 0)]
    assert federation.closed[-1].metrics.own == {"mean": (7.0 * 1 + 21.0 * 3) / 4}
    assert [line for line in federation.lines if line.startswith("validation_result_received")] == [
        "validation_result_received site-1",
        "validation_result_received site-2",
    ] * 3


def test_all_tasks_of_an_evaluation_are_one_step(tmp_path: Path) -> None:
    federation = trained(tmp_path)

    federation.run(fed_avg(), CrossSiteModelEval(NPModelLocator()))

    assert [request.task.name for request in federation.requests[1:]] == ["submit_model", "validate", "validate", "validate"]
    assert {request.step for request in federation.requests[1:]} == {0}
    assert [request.task.shared for request in federation.requests[2:]] == [
        {"model_owner": owner} for owner in ("site-1", "site-2", "SRV_server")
    ]


def test_a_global_evaluation_evaluates_only_the_servers_models(tmp_path: Path) -> None:
    """T118: the final model's numbers go by their own names, the best one's are prefixed."""
    federation = trained(tmp_path)
    with entered(Context(folder=tmp_path)):
        NPModelPersistor().save(Shareable(Kind.WEIGHTS, {"numpy_key": np.ones((3, 3), np.float32)}, {}), "best")

    federation.run(fed_avg(), GlobalModelEval(NPModelLocator()))

    matrix = json.loads((tmp_path / "cross_site_val" / "cross_val_results.json").read_text())
    assert {site: sorted(owners) for site, owners in matrix.items()} == {
        "site-1": ["SRV_server", "SRV_server_best"],
        "site-2": ["SRV_server", "SRV_server_best"],
    }
    assert federation.closed[-1].metrics.own == {"mean": 17.5, "SRV_server_best/mean": (1 * 1 + 3 * 3) / 4}


def test_only_participating_clients_take_part(tmp_path: Path) -> None:
    federation = trained(tmp_path)

    federation.run(fed_avg(), CrossSiteModelEval(participating_clients=["site-2"]))

    assert json.loads((tmp_path / "cross_site_val" / "cross_val_results.json").read_text()) == {"site-2": {"site-2": {"mean": 24.0}}}


def test_the_observer_writes_the_same_matrix_where_it_is_told_to(tmp_path: Path) -> None:
    federation = trained(tmp_path, json_generator=ValidationJsonGenerator("elsewhere", "matrix.json"))

    federation.run(fed_avg(), CrossSiteModelEval(NPModelLocator()))

    ours = (tmp_path / "cross_site_val" / "cross_val_results.json").read_text()
    assert (tmp_path / "elsewhere" / "matrix.json").read_text() == ours


def test_a_site_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyFailed, match=r"site-1 failed: .*\[SD-3062\]|SD-3062.*no trained model yet"):
        trained(tmp_path).run(CrossSiteModelEval())


def test_a_site_that_reports_no_numbers_is_rejected(tmp_path: Path) -> None:
    def mute(task: Task, ctx: Context) -> Shareable:
        return Site(1).execute(task, ctx) if task.name != "validate" else Shareable(Kind.METRICS)

    federation = Federation({"site-1": Site(1), "site-2": Doing(mute)}, tmp_path)

    federation.run(fed_avg(), CrossSiteModelEval(policy=SitesPolicy(1)))

    assert len(federation.rejected) == 2
    assert federation.rejected[0].startswith("wanted metrics, got <Shareable METRICS")


def test_deadlines_of_zero_mean_none(tmp_path: Path) -> None:
    federation = trained(tmp_path)

    federation.run(fed_avg(), CrossSiteModelEval(submit_model_timeout=600))

    assert [request.task.deadline_seconds for request in federation.requests[1:]] == [600, None, None]


def test_a_workflow_names_its_tasks() -> None:
    assert list(fed_avg().tasks()) == ["train"]
    assert list(CrossSiteModelEval().tasks()) == ["submit_model", "validate"]
    assert list(GlobalModelEval().tasks()) == ["validate"]
