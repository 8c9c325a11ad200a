"""The main job as a new user runs it: real processes, from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sundog.kits.poc.layout import TRANSPORTS

ROOT = Path(__file__).resolve().parents[2]


def sundog(*arguments: str, folder: Path) -> dict[str, object]:
    command = [sys.executable, "-m", "sundog.kits.cli", *arguments, "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200, check=False)  # our own program
    assert done.returncode == 0, done.stderr[-4000:]
    document: dict[str, object] = json.loads(done.stdout)
    return document


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    return sundog("simulate", str(ROOT / "examples/hello-pt-tb"), "-n", "2", folder=tmp_path_factory.mktemp("simulated"))


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_demo_and_simulator_give_the_same_model(transport: str, simulated: dict[str, object], tmp_path: Path) -> None:
    """T152 and T154 (in clear), T153, T155, T174, T165 end to end: over each wire the simulator's hash, and each site's events."""
    demo = sundog("demo", "--transport", transport, folder=tmp_path)

    assert demo["status"] == simulated["status"] == "FINISHED:COMPLETED"
    assert demo["model_sha256"] == simulated["model_sha256"]
    metrics = demo["metrics"]
    assert isinstance(metrics, dict)
    assert metrics["accuracy"] >= 0.90
    events = Path(str(demo["model_path"])).parent.parent / "tb_events"
    assert sorted(site.name for site in events.iterdir()) == ["site-1", "site-2"]
