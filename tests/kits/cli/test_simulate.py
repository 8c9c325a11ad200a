"""`sundog simulate`: its document, its words, its statuses."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jsonschema
import msgspec
import pytest

from sundog.kits.cli.outcome import Rounds
from sundog.kits.protocol.answers import EXIT_STATUS, JobReport, Problem, RoundReport
from sundog.kits.protocol.records import Status

Run = Callable[..., subprocess.CompletedProcess[str]]
ROOT = Path(__file__).resolve().parents[3]
JOB = ROOT / "examples" / "hello-numpy"


def test_the_document_is_alone_on_stdout_and_keeps_to_its_schema(sundog: Run, tmp_path: Path) -> None:
    done = sundog("simulate", JOB, "-n", "2", "--json", "--seed", "3")

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    jsonschema.validate(report, msgspec.json.schema(JobReport))
    assert report["status"] == "FINISHED:COMPLETED"
    assert Path(report["model_path"]).is_relative_to(tmp_path / "sundog-simulation" / "server" / "runs" / report["job_id"])
    assert Path(report["model_path"]).is_file()
    assert "round 0  2 of 2 sites" in done.stderr


PRINTS = """
import os
import subprocess

from sundog import Executor

class Prints(Executor):
    def execute(self, task, ctx):
        print("by Python")
        os.write(1, b"by native code\\n")
        subprocess.run(["echo", "by a child"])
        return task.model.replace(meta={"num_examples": 1})
"""


def test_what_job_code_prints_does_not_get_into_the_document(sundog: Run, tmp_path: Path) -> None:
    job = tmp_path / "job"
    shutil.copytree(JOB, job)
    (job / "app" / "custom").mkdir(exist_ok=True)
    (job / "app" / "custom" / "prints.py").write_text(PRINTS)
    (job / "app" / "config" / "config_fed_client.json").write_text(
        '{"executors": [{"tasks": ["*"], "executor": {"path": "prints.Prints"}}]}'
    )

    done = sundog("simulate", job, "--json")

    assert json.loads(done.stdout)["status"] == "FINISHED:COMPLETED"
    assert all(f"by {what}\n" in done.stderr for what in ("Python", "native code", "a child"))
    assert "by Python\n" in sundog("simulate", job).stdout


def test_without_json_the_rounds_are_on_stdout(sundog: Run) -> None:
    done = sundog("simulate", JOB, "-w", "there")

    assert "round 0  2 of 2 sites" in done.stdout
    assert "FINISHED:COMPLETED" in done.stdout
    assert done.stderr == ""
    assert "\x1b" not in done.stdout


def test_a_broken_trainer_gives_its_line_and_status_5(sundog: Run, tmp_path: Path) -> None:
    job = tmp_path / "job"
    (job / "config").mkdir(parents=True)
    (job / "custom").mkdir()
    (job / "custom" / "mine.py").write_text(
        "from sundog import Executor\nclass Mine(Executor):\n    def execute(self, task, ctx):\n        raise ValueError('no data')\n"
    )
    (job / "config" / "config_fed_server.json").write_text((JOB / "app" / "config" / "config_fed_server.json").read_text())
    (job / "config" / "config_fed_client.json").write_text('{"executors": [{"tasks": ["*"], "executor": {"path": "mine.Mine"}}]}')

    done = sundog("simulate", job)

    assert done.returncode == 5
    assert "ValueError: no data" in done.stdout
    assert "mine.py:4" in done.stdout


def test_numpy_is_not_imported_before_its_threads_are_counted() -> None:
    modules = "cli.simulate cli.outcome cli.failures workspace.job_folder workspace.log workspace.posix"
    code = "import sys\n" + "".join(f"import sundog.kits.{name}\n" for name in modules.split()) + "print('numpy' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


# --- words and statuses ---

DONE = RoundReport(
    "train", 0, 1.5, ["a", "b"], ["a"], [], ["b"], {}, {}, {"accuracy": 0.25, "loss": None}, notes=["no site sends tensor 'coef'"]
)


def report(status: str, **more: object) -> JobReport:
    return msgspec.structs.replace(JobReport("1", "job", status, "", 2.0, ["a", "b"], {"accuracy": 0.25}, "", "", []), **more)


@pytest.mark.parametrize(
    ("status", "expected"),
    [("COMPLETED", 0), ("DEGRADED", 3), ("ABORTED", 4), ("EXECUTION_EXCEPTION", 5), ("CANNOT_SCHEDULE", 6)],
)
def test_an_end_state_has_its_status(status: str, expected: int) -> None:
    assert report(f"FINISHED:{status}").exit_status == expected
    assert EXIT_STATUS.keys() == {str(status) for status in Status if status.is_end}


def test_each_round_is_told_once_with_who_is_missing(tmp_path: Path) -> None:
    out = io.StringIO()
    rounds = Rounds(out)

    rounds.show(report("RUNNING", rounds=[]))
    rounds.show(report("RUNNING", rounds=[DONE]))
    rounds.show(report("RUNNING", rounds=[DONE]))
    rounds.end(report("FINISHED:ABORTED", reason="by hand", failure=Problem("SD-1", "it\x1b broke", "here", "mend it")), tmp_path)

    assert out.getvalue() == (
        "job: RUNNING\n"
        "  train  round 0  1 of 2 sites    1.50 s  accuracy 0.25  loss nan\n"
        "    without b: missing\n"
        "    note: no site sends tensor 'coef'\n"
        "job: FINISHED:ABORTED (by hand) after 2.0 s\n"
        "[SD-1] it\\x1b broke\n  where: here\n  cure:  mend it\n"
        "  accuracy 0.25\n"
    )
