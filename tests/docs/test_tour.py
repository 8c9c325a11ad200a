"""The workflow of the tour can be named by a job as the page says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sundog.kits.job.app import build_app, plan_app
from sundog.kits.job.custom_code import CustomCode

from .pages import Page

PAGE = Page("docs/tour.md")


@pytest.mark.parametrize("aggregator", [{"aggregator": {"ref": "mean"}}, {"aggregator_id": "mean"}])
def test_a_job_gives_its_workflow_the_components(tmp_path: Path, aggregator: dict[str, object]) -> None:
    (spec,) = map(json.loads, PAGE.blocks("json"))
    del spec["args"]["aggregator"]
    spec["args"] |= aggregator
    components = [{"id": "mean", "name": "WeightedMean"}, {"id": "file", "name": "NPModelPersistor"}]
    for folder in ("config", "custom"):
        (tmp_path / folder).mkdir()
    (tmp_path / "custom" / "fedavg.py").write_text(PAGE.blocks("python")[0])
    config = {"workflows": [spec], "components": components}
    (tmp_path / "config" / "config_fed_server.json").write_text(json.dumps(config))

    with CustomCode(tmp_path):
        app = build_app(plan_app(tmp_path, "server"))

    ((_, workflow),) = app.workflows
    assert vars(workflow)["aggregator"] is app.components["mean"]
    assert vars(workflow)["num_rounds"] == 3
