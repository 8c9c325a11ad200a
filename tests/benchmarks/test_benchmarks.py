"""Do the benchmarks measure what they say? Small ones, whose results can be redone by hand."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sundog.kernel.blobs import Blob
from sundog.kernel.messages import INLINE_LIMIT_BYTES
from sundog.kits.simulator.simulate import simulate

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def _root_is_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))


def part(name: str) -> Any:
    return import_module(f"benchmarks.{name}")


def test_a_figure_is_compared_by_its_median_or_by_its_ratio() -> None:
    figures = part("figures")

    assert figures.Figure("W1", "round", "ms", [9, 1, 2], figures.Target(2), 0.5).is_met
    assert not figures.Figure("W1", "round", "ms", [9, 1, 2], figures.Target(3, is_ratio=True), 0.5).is_met
    assert figures.Figure("W1", "round", "ms", [9, 1, 2]).is_met is None


def test_the_raw_limit_is_measured_with_two_processes() -> None:
    size = part("noop_job").Size("tiny", 1, 10)

    assert len(part("raw").raw_rounds(size, 3)) == 3


def test_a_model_too_large_for_messages_goes_round_and_its_times_are_noted(tmp_path: Path) -> None:
    jobs = part("noop_job")
    size = jobs.Size("just a file", 2, 10_000)
    job = jobs.write_noop_job(tmp_path / "job", size, rounds=3, sites=2)

    report = simulate(job, sites=2, workspace=tmp_path / "simulation")

    assert size.size_bytes > INLINE_LIMIT_BYTES
    assert report.status == "FINISHED:COMPLETED"
    assert len(jobs.read_times(tmp_path / "simulation", report.job_id).per_round) == 2
    model = Blob.open(Path(report.model_path))
    np.testing.assert_array_equal(model.array("layer_1"), np.full(10_000, 4.5, np.float32))  # 3 rounds, each with the mean of 1 and 2


def test_a_round_of_real_processes_needs_less_than_50_milliseconds(tmp_path: Path) -> None:
    """T162: tasks are pushed; a round is two hand-overs and all that is between them."""
    jobs = part("noop_job")
    job = jobs.write_noop_job(tmp_path / "job", jobs.SMALL, rounds=20, sites=2)

    with part("federation").federation(2) as running:
        ran = running.run(job)
        seconds = jobs.read_times(running.root, ran.report.job_id).per_round

    assert statistics.median(seconds) < 0.05


def test_start_up_is_measured_with_the_programs_themselves() -> None:
    done = subprocess.run([sys.executable, "-m", "benchmarks", "w4", "--json"], cwd=ROOT, capture_output=True, text=True, check=True)

    figures = json.loads(done.stdout)["figures"]
    assert {"sundog --help", "poc: submit to first task, numpy job"} <= {figure["what"] for figure in figures}
