"""What an app's config describes, and what is refused in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sundog.components.filters.exclude_vars import ExcludeVars
from sundog.kernel.context import Context
from sundog.kernel.errors import SundogError
from sundog.kits.job.app import AppPlan, build_app, plan_app
from sundog.kits.job.custom_code import CustomCode
from sundog.workflows.scatter_and_gather import ScatterAndGather

from .desk import write_app

PARTS = [
    {"id": "aggregator", "name": "WeightedMean"},
    {"id": "persistor", "name": "NPModelPersistor"},
    {"id": "update", "name": "FullModelUpdate"},
]
SAG = {"id": "sag", "name": "ScatterAndGather", "args": {"aggregator_id": "aggregator", "persistor_id": "persistor", "update_id": "update"}}
TRAINER = {"tasks": ["train", "submit_model"], "executor": {"name": "NPTrainer"}}
FILTER = {"tasks": ["train"], "filters": [{"name": "ExcludeVars", "args": {"exclude_vars": ["a"]}}]}


def planned(folder: Path, role: str, config: dict[str, Any]) -> AppPlan:
    return plan_app(write_app(folder, role, config) / "app", role)


def mistakes(folder: Path, role: str, config: dict[str, Any]) -> list[SundogError]:
    return planned(folder, role, config).check()


def server(**more: Any) -> dict[str, Any]:
    return {"format_version": 2, "workflows": [SAG], "components": PARTS, **more}


def test_workflows_by_their_ids_and_components_by_theirs(tmp_path: Path) -> None:
    """T043, T044: short names resolve, ids refer."""
    app = build_app(planned(tmp_path, "server", server()))

    ((name, workflow),) = app.workflows
    assert name == "sag"
    assert isinstance(workflow, ScatterAndGather)
    assert workflow.aggregator is app.components["aggregator"]


def test_a_workflow_without_id_is_called_by_its_place(tmp_path: Path) -> None:
    nameless = {key: value for key, value in SAG.items() if key != "id"}

    app = build_app(planned(tmp_path, "server", server(workflows=[nameless, nameless])))

    assert [name for name, _ in app.workflows] == ["workflow_0", "workflow_1"]


def test_two_workflows_of_one_id_are_refused(tmp_path: Path) -> None:
    """A step is known by its workflow's id: the second one would begin where the first has ended."""
    (mistake,) = mistakes(tmp_path, "server", server(workflows=[SAG, SAG]))

    assert str(mistake) == "[SD-1112] app/config/config_fed_server.json: workflows[1].id: another workflow has the id 'sag'"


def test_an_executor_of_several_tasks_is_one_object(tmp_path: Path) -> None:
    app = build_app(planned(tmp_path, "site", {"executors": [TRAINER, {"tasks": ["*"], "executor": {"name": "NPValidator"}}]}))

    assert app.executor_for("train") is app.executor_for("submit_model")
    assert app.executor_for("anything") is app.executors["*"]


def test_a_task_that_nobody_serves_has_no_executor(tmp_path: Path) -> None:
    assert build_app(planned(tmp_path, "site", {"executors": [TRAINER]})).executor_for("validate") is None


def test_two_executors_for_one_task_are_refused(tmp_path: Path) -> None:
    (mistake,) = mistakes(tmp_path, "site", {"executors": [TRAINER, {"tasks": ["train"], "executor": {"name": "NPTrainer"}}]})

    assert str(mistake) == "[SD-1141] app/config/config_fed_client.json: executors[1].tasks: another executor serves train already"


def test_filters_stand_in_the_order_of_the_file(tmp_path: Path) -> None:
    names = ["a", "b"]
    chains = [{"tasks": ["train"], "filters": [{"name": "ExcludeVars", "args": {"exclude_vars": [name]}}]} for name in names]

    app = build_app(planned(tmp_path, "site", {"executors": [TRAINER], "task_result_filters": chains}))

    (first, second) = app.filters.results["train"]
    assert isinstance(first, ExcludeVars)
    assert first is not second
    assert app.filters.data == {}


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({"executers": []}, "executers: "),
        ({"executors": {}}, "executors: wanted a list, got an object"),
        ({"executors": [{"executor": {"name": "NPTrainer"}}]}, "executors[0].tasks: wanted a list of task names, got None"),
        ({"executors": [{"tasks": [], "executor": {"name": "NPTrainer"}}]}, "executors[0].tasks: wanted a list of task names, got []"),
        ({"executors": ["NPTrainer"]}, "executors[0].tasks: "),
        ({"executors": [{"tasks": ["train"], "executor": {"name": "WeightedMean"}}]}, "executors[0].executor"),
        ({"task_data_filters": [{"tasks": ["train"], "filters": 3}]}, "task_data_filters[0].filters: wanted a list, got 3"),
        ({"task_data_filters": [{"tasks": ["train"], "filters": [{"name": "NPTrainer"}]}]}, "task_data_filters[0].filters[0]"),
        ({"components": [{"id": "a", "name": "NPTrainer"}, {"id": "a", "name": "NPTrainer"}]}, "components[1].id: "),
        ({"executors": [{"tasks": ["train"], "executor": {"name": "NPTrainr"}}]}, "did you mean 'NPTrainer'?"),
        ({"executors": [{"tasks": ["train"], "executor": {"name": "NPTrainer", "args": {"delta": "x"}}}]}, "executor.args.delta: "),
        ({"executors": [{**TRAINER, "task": ["train"]}]}, "executors[0].task: nobody reads the key 'task'; did you mean 'tasks'?"),
        ({"executors": [TRAINER], "task_result_filters": [{**FILTER, "filter": []}]}, "task_result_filters[0].filter: nobody reads"),
        (
            {"executors": [TRAINER], "task_result_filters": [FILTER, {**FILTER, "tasks": ["trian"]}]},
            "task_result_filters[1].tasks: no task 'trian' comes by here; did you mean 'train'?",
        ),
    ],
    ids=[
        "key", "no list", "no tasks", "empty tasks", "no object", "role", "filters", "filter's role", "id twice", "name", "type",
        "executor's key", "filter's key", "filter's task",
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place_and_nothing_is_built(tmp_path: Path, config: dict[str, Any], wanted: str) -> None:
    """T043."""
    plan = planned(tmp_path, "site", config)

    found = "\n".join(str(mistake) for mistake in plan.check())

    assert "app/config/config_fed_client.json" in found
    assert wanted in found
    with pytest.raises(SundogError):
        build_app(plan)


@pytest.mark.parametrize("tasks", [["*"], ["train", "submit_model"]])
def test_a_filter_may_be_for_every_task_or_for_what_a_disabled_executor_serves(tmp_path: Path, tasks: list[str]) -> None:
    """Such a filter is no slip."""
    trainer = {**TRAINER, "executor": {"name": "NPTrainer", "disabled": True}}

    assert mistakes(tmp_path, "site", {"executors": [trainer], "task_result_filters": [{**FILTER, "tasks": tasks}]}) == []


def test_a_server_without_a_workflow_is_refused(tmp_path: Path) -> None:
    """It would end as COMPLETED, with nothing done."""
    (mistake,) = mistakes(tmp_path, "server", server(workflows=[]))

    assert str(mistake) == (
        "[SD-1105] app/config/config_fed_server.json: workflows: wanted at least one workflow, got none: the job would do nothing"
    )


def test_what_flare_has_and_is_not_needed_is_a_note(tmp_path: Path) -> None:
    plan = planned(tmp_path, "site", {"executors": [TRAINER], "handlers": [], "client": {"retry_timeout": 30}})

    assert plan.check() == []
    assert len(plan.notes) == 2


def test_variables_of_the_file_fill_strings(tmp_path: Path) -> None:
    """T043."""
    config = {"delta": 4, "executors": [{"tasks": ["train"], "executor": {"name": "NPTrainer", "args": {"delta": "{delta}"}}}]}

    app = build_app(planned(tmp_path, "site", config))

    assert vars(app.executors["train"])["delta"] == 4


def test_every_instance_hears_of_events(tmp_path: Path) -> None:
    """T045: two of one class, and one that is nested in another."""
    custom = {
        "watch_h11.py": """
from sundog import observe

class Watcher:
    def __init__(self, inner: "Watcher | None" = None):
        self.heard = []
        self.inner = inner

    @observe
    def run_ended(self, status):
        self.heard.append(status)
"""
    }
    path = "watch_h11.Watcher"
    components = [{"id": "one", "path": path}, {"id": "two", "path": path, "args": {"inner": {"path": path}}}]
    folder = write_app(tmp_path, "server", server(components=[*PARTS, *components]), custom)
    with CustomCode(folder / "app"):
        app = build_app(plan_app(folder / "app", "server"))
        app.observers.events.run_ended(ctx=Context(), status="completed")

    one, two = (vars(app.components[name]) for name in ("one", "two"))
    assert one["heard"] == two["heard"] == vars(two["inner"])["heard"] == ["completed"]


def test_a_constructor_is_prepared_for_by_its_name(tmp_path: Path) -> None:
    labels: list[str] = []
    folder = write_app(tmp_path, "server", server())

    build_app(plan_app(folder / "app", "server", labels.append))

    assert labels == ["aggregator", "persistor", "update", "sag"]
