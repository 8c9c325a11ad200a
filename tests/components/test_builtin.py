from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sundog.kernel.plugins import Plugins
from sundog.kernel.roles import Executor, Workflow
from sundog.kernel.specs import Components

DATA = Path(__file__).parent.parent / "data" / "flare21"
BUILT_IN = ("sundog.components.builtin", "sundog.workflows.builtin")


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return Plugins(BUILT_IN, entry_points=(), blocked=())


def roles(plugins: Plugins) -> dict[str, list[str]]:
    listed: dict[str, list[str]] = {}
    for plugin in plugins.listing():
        for entry in plugin.registrations:
            listed.setdefault(entry.role, []).append(entry.name)
    return listed


def test_every_registered_class_exists_under_its_name(plugins: Plugins) -> None:
    for role, names in roles(plugins).items():
        for name in names:
            assert plugins.find(role, name).__name__ == name


@pytest.mark.parametrize("module", BUILT_IN)
def test_registering_imports_no_component(module: str) -> None:
    code = f"import sys, {module}; print([m for m in sys.modules if 'torch' in m or m.count('.') > 2 and m.startswith('sundog.')])"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def specs(job: str, file: str) -> dict[str, Any]:
    return json.loads((DATA / job / "config" / file).read_text())  # type: ignore[no-any-return]


def test_flares_numpy_job_resolves_unchanged(plugins: Plugins) -> None:
    server, client = specs("hello-numpy-sag", "config_fed_server.json"), specs("hello-numpy-sag", "config_fed_client.json")
    components = Components(plugins, file="config.json")
    for index, spec in enumerate(server["components"]):
        components.add(spec, f"components[{index}]", has_id=True)
    workflow = components.add(server["workflows"][0], "workflows[0]", Workflow)
    executor = components.add(client["executors"][0]["executor"], "executors[0].executor", Executor)

    assert workflow is not None
    assert executor is not None
    built: Any = components.build(workflow)

    assert components.findings.notes == []
    assert [type(built.aggregator).__name__, type(built.persistor).__name__, type(built.update).__name__] == [
        "WeightedMean",
        "NPModelPersistor",
        "FullModelUpdate",
    ]
    assert built.policy.describe().startswith("every step needs 2 of its sites, then waits 10 s for the others")
    assert built.train_timeout == 6000
    assert components.build(executor).delta == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("file", ["config_fed_server.json", "config_fed_client.json"])
def test_flares_torch_job_names_nothing_unknown_but_its_own_code(plugins: Plugins, file: str) -> None:
    document = specs("hello-pt-tb", file)
    components = Components(plugins, file="config.json")
    for index, spec in enumerate(document["components"]):
        components.add(spec, f"components[{index}]", has_id=True)
    for index, spec in enumerate(document.get("workflows", [])):
        components.add(spec, f"workflows[{index}]", Workflow)
    components.check()

    assert [
        str(error) for error in components.findings.errors if "pt_learner" not in str(error) and "simple_network" not in str(error)
    ] == []


@pytest.mark.parametrize(
    ("path", "args", "notes"),
    [
        ("nvflare.app_common.np.np_trainer.NPTrainer", {"sleep_time": 1, "model_dir": "model"}, 2),
        ("nvflare.app_common.np.np_validator.NPValidator", {"epsilon": 1}, 1),
        ("nvflare.app_common.np.np_formatter.NPFormatter", {}, 1),
        ("nvflare.app_common.np.np_model_locator.NPModelLocator", {}, 0),
        ("nvflare.app_common.filters.exclude_vars.ExcludeVars", {"exclude_vars": ["a"]}, 0),
        (
            "nvflare.app_common.widgets.intime_model_selector.IntimeModelSelector",
            {"weigh_by_local_iter": True, "aggregation_weights": {}},
            0,
        ),
        ("nvflare.app_common.widgets.intime_model_selection_handler.IntimeModelSelectionHandler", {}, 0),
        ("nvflare.app_common.workflows.cross_site_model_eval.CrossSiteModelEval", {"task_check_period": 0.5, "cleanup_models": False}, 2),
        ("nvflare.app_common.workflows.global_model_eval.GlobalModelEval", {"wait_for_clients_timeout": 300}, 1),
        ("nvflare.app_common.resource_managers.list_resource_manager.ListResourceManager", {"resources": {"gpu": [0, 1]}}, 0),
        ("nvflare.app_common.resource_consumers.gpu_resource_consumer.GPUResourceConsumer", {}, 1),
        ("nvflare.app_common.job_schedulers.job_scheduler.DefaultJobScheduler", {"max_jobs": 1}, 0),
        ("nvflare.app_common.aggregators.dxo_aggregator.DXOAggregator", {"expected_data_kind": {"a": "WEIGHTS"}}, 0),
        ("nvflare.app_common.aggregators.accumulate_model_aggregator.AccumulateWeightedAggregator", {"exclude_vars": "bias"}, 0),
    ],
)
def test_flares_other_names_resolve_with_their_arguments(plugins: Plugins, path: str, args: dict[str, Any], notes: int) -> None:
    for spec in ({"path": path, "args": args}, {"name": path.rpartition(".")[2], "args": args}):
        components = Components(plugins, file="config.json")
        planned = components.add(spec, "here")
        components.check()

        assert [str(error) for error in components.findings.errors] == []
        assert len(components.findings.notes) == notes
        if planned is not None:
            components.build(planned)


@pytest.mark.parametrize(
    ("path", "cure"),
    [
        ("nvflare.app_common.workflows.cyclic_ctl.CyclicController", "relay"),
        ("nvflare.app_common.workflows.scatter_and_gather_scaffold.ScatterAndGatherScaffold", "COLLECTION"),
        ("nvflare.app_common.homomorphic_encryption.he_model_decryptor.HEModelDecryptor", "homomorphic encryption"),
        ("nvflare.app_common.filters.svt_privacy.SVTPrivacy", "sundog.Filter"),
        ("nvflare.app_common.storages.filesystem_storage.FilesystemStorage", "remove it"),
    ],
)
def test_a_class_of_flare_without_counterpart_is_named_as_such(plugins: Plugins, path: str, cure: str) -> None:
    name = path.rpartition(".")[2]
    for spec in ({"path": path}, {"name": name}):
        components = Components(plugins, file="config.json")
        components.add(spec, "here")

        (mistake,) = components.check()
        assert mistake.what == f"FLARE's {name} has no counterpart in Sundog yet"
        assert cure in mistake.cure


def test_any_other_class_of_flare_is_told_apart_from_a_missing_package(plugins: Plugins) -> None:
    components = Components(plugins, file="config.json")
    components.add({"path": "nvflare.app_opt.sklearn.sklearn_executor.SKLearnExecutor"}, "here")

    (mistake,) = components.check()
    assert (mistake.code, mistake.what) == ("SD-1071", "FLARE's SKLearnExecutor has no counterpart in Sundog yet")


def test_a_policy_is_written_in_json(plugins: Plugins) -> None:
    components = Components(plugins, file="config.json")
    planned = components.add({"name": "SitesPolicy", "args": {"require": ["site-1"], "on_missing": "continue"}}, "policy")
    components.add({"name": "SitesPolicy", "args": {"require": "most", "on_missing": "never"}}, "wrong")
    components.check()

    assert planned is not None
    assert [str(error).partition("]")[0] for error in components.findings.errors] == ["[SD-1109", "[SD-1109"]
