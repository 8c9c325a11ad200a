"""What `sundog job check` finds before anything is submitted."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from sundog.kernel.hookspecs import observe
from sundog.kernel.roles import Filter
from sundog.kits.cli import job as job_command
from sundog.kits.cli.job import check_job
from sundog.kits.job.states import lacking_state_method
from sundog.kits.protocol.answers import JobCheck

Run = Callable[..., subprocess.CompletedProcess[str]]
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """hello-numpy, to be spoilt."""
    shutil.copytree(ROOT / "examples" / "hello-numpy", tmp_path / "job")
    return tmp_path / "job"


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def codes(job: Path) -> list[str]:
    return [mistake.code for mistake in check_job(job).mistakes]


def test_a_good_job_has_none_and_says_whom_it_waits_for(sundog: Run, job: Path) -> None:
    done = sundog("job", "check", job)

    assert done.returncode == 0, done.stderr
    assert "scatter_and_gather sends train; every step needs all its sites" in done.stdout
    assert done.stdout.endswith("hello-numpy: no mistakes\n")


def test_all_mistakes_are_told_at_once_with_status_2(sundog: Run, job: Path) -> None:
    change(job / "app/config/config_fed_server.json", '"num_rounds"', '"num_round"')
    change(job / "app/config/config_fed_client.json", "NPTrainer", "NPTrainr")

    done = sundog("job", "check", job, "--json")

    assert done.returncode == 2
    document = json.loads(done.stdout)
    jsonschema.validate(document, msgspec.json.schema(JobCheck))
    assert ["did you mean 'NPTrainer'" in document["mistakes"][0]["what"], "num_round" in document["mistakes"][1]["what"]] == [True, True]
    assert "config_fed_server.json: workflows[0].args" in document["mistakes"][1]["where"]


def test_a_task_without_an_executor_is_found(job: Path) -> None:
    change(job / "app/config/config_fed_client.json", '"train"', '"trane"')

    (mistake,) = check_job(job).mistakes
    assert mistake.code == "SD-1142"
    assert "'train'" in mistake.what
    assert "did you mean 'trane'?" in mistake.what


def test_an_executor_with_a_mistake_still_serves_its_tasks(job: Path) -> None:
    """One slip is one mistake: nobody is sent to look for a missing task."""
    change(job / "app/config/config_fed_client.json", '"NPTrainer"', '"NPTrainr"')

    assert codes(job) == ["SD-1006"]


def test_a_filter_for_a_task_that_no_workflow_sends_is_found(job: Path) -> None:
    """At the server the workflows say which tasks there are."""
    filters = '"task_result_filters": [{"tasks": ["trian"], "filters": [{"name": "ExcludeVars", "args": {"exclude_vars": ["a"]}}]}],'
    change(job / "app/config/config_fed_server.json", '"workflows"', f'{filters} "workflows"')

    (mistake,) = check_job(job).mistakes
    assert (mistake.code, mistake.where) == ("SD-1143", "app/config/config_fed_server.json: task_result_filters[0].tasks")
    assert "did you mean 'train'?" in mistake.what


def test_mistakes_of_meta_json_are_found(job: Path) -> None:
    change(job / "meta.json", '"@ALL"', '"site-1"')

    assert codes(job) == ["SD-4028", "SD-4030"]


def custom(job: Path, code: str) -> None:
    """The job's own workflow, from which the real one is made."""
    (job / "app/custom").mkdir(exist_ok=True)
    (job / "app/custom/mine.py").write_text(code)
    change(job / "app/config/config_fed_server.json", '"name": "ScatterAndGather"', '"path": "mine.Mine"')


WORKFLOW = "from sundog.workflows.scatter_and_gather import ScatterAndGather\nclass Mine(ScatterAndGather):\n    pass\n"


def test_what_the_jobs_code_prints_is_not_in_the_document(job: Path) -> None:
    custom(job, "print('hello')\n" + WORKFLOW)

    assert codes(job) == []


def test_a_constructor_that_raises_is_named(job: Path) -> None:
    custom(job, WORKFLOW.replace("pass", "def tasks(self):\n        raise ValueError('no tasks today')"))

    (mistake,) = check_job(job).mistakes
    assert mistake.code == "SD-4090"
    assert "no tasks today" in mistake.what
    assert mistake.where.endswith("mine.py:4")


def test_code_that_ends_the_process_is_told(job: Path) -> None:
    custom(job, "import os\nos._exit(3)\n")

    assert codes(job) == ["SD-7024"]


def test_of_what_the_jobs_code_prints_only_the_end_is_kept(job: Path) -> None:
    custom(job, "import os\nfor _ in range(1000):\n    os.write(2, bytes(1_000_000))\nos.write(2, b'last words')\nos._exit(3)\n")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    (mistake,) = check_job(job).mistakes

    assert mistake.what.endswith("last words")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB, of 1,000,000 printed


def test_code_that_does_not_end_is_told(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    custom(job, "while True:\n    pass\n")
    monkeypatch.setattr(job_command, "CHECK_SECONDS", 2.0)

    (mistake,) = check_job(job).mistakes
    assert "not through after 2 s" in mistake.what


def test_the_jobs_code_does_not_see_secrets(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", "secret")
    custom(job, "import os\nassert 'API_TOKEN' not in os.environ\n" + WORKFLOW)

    assert codes(job) == []


def test_no_job_at_all_is_an_error(sundog: Run, tmp_path: Path) -> None:
    done: Any = sundog("job", "check", tmp_path)

    assert done.returncode == 1
    assert "[SD-4023]" in done.stderr


HALVES = {
    "restore": "    def state(self):\n        return None\n",
    "state": "    def restore(self, state):\n        pass\n",
}


@pytest.mark.parametrize("lacking", HALVES)
def test_one_of_state_and_restore_without_the_other_is_found(job: Path, lacking: str) -> None:
    """Else nothing is saved, or nothing restored, and a job that goes on after a crash does so with other numbers."""
    custom(job, WORKFLOW + HALVES[lacking])

    (mistake,) = check_job(job).mistakes
    assert (mistake.code, mistake.where) == ("SD-4172", "app/config/config_fed_server.json: workflows[0]")
    assert mistake.what.endswith(f"and no {lacking}()")


def test_a_class_that_plays_no_part_may_have_a_state_of_its_own() -> None:
    both = type("Both", (Filter,), dict.fromkeys(("state", "restore"), print))
    observer = type("Watcher", (), {"state": print, "step_ended": observe(lambda self: None)})

    assert [lacking_state_method(kind) for kind in (both, observer)] == ["", "restore"]
    assert lacking_state_method(type("Net", (), {"state": print})) == ""
    assert lacking_state_method(type("Named", (Filter,), {"state": property(print)})) == ""


def test_a_workflow_that_does_not_say_what_it_sends_is_told_so(sundog: Run, job: Path) -> None:
    custom(job, WORKFLOW.replace("    pass\n", "    def tasks(self):\n        return ()\n"))

    assert "scatter_and_gather does not say what it sends: tasks() is missing; every step" in sundog("job", "check", job).stdout
