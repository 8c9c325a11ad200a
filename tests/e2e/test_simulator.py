"""Whole jobs in the simulator: server, sites, links and journal are the real ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from sundog.kits.simulator.simulate import simulate

ROOT = Path(__file__).resolve().parents[2]


def test_hello_numpy_sag_of_flare_runs_unchanged(tmp_path: Path) -> None:
    """T037, T038, T115: three rounds, two sites, the 3×3 model is 1…9 plus 3."""
    report = simulate(ROOT / "tests/data/flare21/hello-numpy-sag", sites=2, workspace=tmp_path)

    assert report.status == "FINISHED:COMPLETED", report
    assert [done.used for done in report.rounds] == [["site-1", "site-2"]] * 3
    model = np.load(Path(report.model_path).parent / "server.npy")
    np.testing.assert_array_equal(model, np.arange(1, 10, dtype=np.float32).reshape(3, 3) + 3)


def test_the_same_seed_gives_the_same_model(tmp_path: Path) -> None:
    """T174 in part: bit for bit."""
    first = simulate(ROOT / "examples/hello-numpy", sites=2, workspace=tmp_path / "a", seed=7)
    second = simulate(ROOT / "examples/hello-numpy", sites=2, workspace=tmp_path / "b", seed=7)

    assert first.model_sha256 == second.model_sha256 != ""


def test_a_trainer_that_raises_is_named_with_its_line(tmp_path: Path) -> None:
    """The report has the code, the site and the line of the user's own file."""
    job = tmp_path / "job"
    shutil.copytree(ROOT / "tests/data/flare21/hello-numpy-sag", job)
    (job / "custom").mkdir()
    (job / "custom" / "broken.py").write_text(
        "from sundog import Executor\n\n\nclass Broken(Executor):\n    def execute(self, task, ctx):\n        raise ValueError('no data')\n"
    )
    config = job / "config" / "config_fed_client.json"
    config.write_text(config.read_text().replace("nvflare.app_common.np.np_trainer.NPTrainer", "broken.Broken"))

    report = simulate(job, sites=2, workspace=tmp_path / "w")

    assert report.status == "FINISHED:EXECUTION_EXCEPTION"
    assert report.failure is not None
    assert (report.failure.code, report.failure.site) == ("SD-4090", "site-1")
    assert report.failure.where.endswith("broken.py:6")
