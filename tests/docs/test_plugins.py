"""Does the plugin of the page work as it stands there, once it is installed?"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import sundog
from sundog.kernel.hookspecs import RegisterHooks

from .pages import ROOT, Page

PAGE = Page("docs/plugins.md")


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """The files of the page, each under the name in its first line, and what pip would write; gives an environment that has them."""
    root = tmp_path / "site-packages"
    for block in [*PAGE.blocks("python"), PAGE.blocks("toml")[0]]:
        path = root / block.partition("\n")[0].removeprefix("# ")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block, encoding="utf-8")
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = root / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    added = tomllib.loads(PAGE.blocks("toml")[1])["project"]["entry-points"]["sundog"]
    points = "".join(f"{name} = {module}\n" for name, module in added.items())
    (info / "entry_points.txt").write_text(f"[sundog]\n{points}")
    return {**os.environ, "PYTHONPATH": str(root)}


def run(environment: dict[str, str], *arguments: str | Path) -> str:
    command = [sys.executable, "-P", "-m", "sundog.kits.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_is_listed_with_its_origin(installed: dict[str, str]) -> None:
    (found,) = [one for one in json.loads(run(installed, "plugins", "--json"))["plugins"] if one["name"] == "clip"]

    assert (found["distribution"], found["version"], found["module"]) == ("sundog-clip", "1.0", "sundog_clip.plugin")
    assert [(entry["role"], entry["name"]) for entry in found["registrations"]] == [("filters", "ClipNorm")]


def test_its_command_is_one_of_the_admin_s(installed: dict[str, str]) -> None:
    assert "free_space TARGET [-g]" in run(installed, "admin", "--help")
    assert "Space" in json.loads(run(installed, "schema", "free_space"))["$defs"]


def test_a_job_uses_its_filter_and_its_observer_watches(installed: dict[str, str], tmp_path: Path) -> None:
    """hello-numpy with the page's filter: what a site sends has the norm 1, and so has the mean of two that are alike."""
    example, job = ROOT / "examples" / "hello-numpy" / "app" / "config", tmp_path / "job"
    (job / "config").mkdir(parents=True)
    (job / "config" / "config_fed_server.json").write_text((example / "config_fed_server.json").read_text())
    client = json.loads((example / "config_fed_client.json").read_text()) | json.loads(PAGE.blocks("json")[0])
    (job / "config" / "config_fed_client.json").write_text(json.dumps(client))

    said = run(installed, "simulate", job, "-n", "2", "-w", tmp_path / "work")

    assert [f"scatter_and_gather: step {step} is closed" in said for step in range(3)] == [True] * 3
    (model,) = (tmp_path / "work").glob("server/runs/*/models/server.npy")
    assert np.linalg.norm(np.load(model)) == pytest.approx(1.0)


def test_a_job_names_its_aggregator_by_its_path(installed: dict[str, str], tmp_path: Path) -> None:
    """hello-numpy with the page's median: of sites that are alike it is what each of them has."""
    shutil.copytree(ROOT / "examples" / "hello-numpy", tmp_path / "job")
    config = tmp_path / "job" / "app" / "config" / "config_fed_server.json"
    config.write_text(
        config.read_text().replace(
            '"name": "WeightedMean", "args": {"expected_data_kind": "WEIGHTS"}', '"path": "sundog_clip.aggregators.Median"'
        )
    )

    run(installed, "simulate", tmp_path / "job", "-n", "2", "-w", tmp_path / "work")

    (model,) = (tmp_path / "work").glob("server/runs/*/models/server.npy")
    assert np.load(model).tolist() == [[4, 5, 6], [7, 8, 9], [10, 11, 12]]


def test_the_roles_of_the_page_are_there() -> None:
    (table,) = PAGE.tables("Other roles")

    for _, role, hook, methods in table:
        kind = getattr(sundog, role.strip("`").removeprefix("sundog."))
        assert hasattr(RegisterHooks, hook.strip("`"))
        names = re.findall(r"`(\w+)", methods)
        assert [name for name in names if not hasattr(kind, name)] == []
