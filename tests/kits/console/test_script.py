"""Scripts, pipes, and what they print."""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path

import pytest

from sundog.kits.console.script import Script, ScriptUnreadable
from sundog.kits.console.shell import Shell

from .conftest import PROGRAM, Clinic

SCRIPT = "# what there is\nlist_jobs -n hello > jobs.txt\n\nget_job_report nonsense\nlist_jobs\n"


def admin(clinic: Clinic, *words: str, **options: str) -> subprocess.CompletedProcess[str]:
    command = [*PROGRAM, "admin", str(clinic.kit), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100, **options)  # type: ignore[call-overload,no-any-return]


def do(clinic: Clinic, *lines: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    status = Script("script", list(lines)).run(Shell(clinic.session, err=err), out)
    return status, out.getvalue(), err.getvalue()


def test_a_script_stops_at_the_first_command_that_fails(clinic: Clinic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """T031: with the line's number; what stands before it is done, what stands behind it is not."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nightly.txt").write_text(SCRIPT)

    done = admin(clinic, "-f", "nightly.txt")

    assert (done.returncode, done.stdout) == (1, "")
    assert "[SD-4032] no job's id begins with 'nonsense'" in done.stderr
    assert "[SD-6030] stopped at 'get_job_report nonsense'\n  where: nightly.txt:4\n" in done.stderr
    assert clinic.done in (tmp_path / "jobs.txt").read_text()


def test_a_script_comes_from_standard_input_and_answers_with_one_document(clinic: Clinic) -> None:
    """T031."""
    done = admin(clinic, "-f", "-", "--json", input="check_status server\nlpwd\nlst_jobs\nlist_jobs\n")

    first, second, third = json.loads(done.stdout)
    assert done.returncode == 2
    assert (first["line"], first["command"], first["answer"]["engine_status"]) == (1, "check_status server", "stopped")
    assert (second["line"], second["answer"]) == (2, f"{Path.cwd()}\n")
    assert (third["line"], third["error"]["code"]) == (3, "SD-6020")
    assert "where: stdin:3" in done.stderr


def test_a_pipe_gets_plain_text_and_the_status_of_the_last_failure(clinic: Clinic) -> None:
    done = admin(clinic, input="list_jobs\nget_job_report x\ncheck_status server\nbye\nlist_jobs\n")

    assert done.returncode == 1
    assert done.stdout.count(clinic.done) == 1
    assert "Engine status: stopped" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert "Done [" not in done.stdout


@pytest.mark.parametrize("words", [("--json",), ("-c", "list_jobs", "-f", "x")])
def test_options_that_make_no_sense_are_wrong_usage(clinic: Clinic, words: tuple[str, ...]) -> None:
    assert admin(clinic, *words).returncode == 2


def test_a_script_that_is_not_there(clinic: Clinic, tmp_path: Path) -> None:
    assert "[SD-6031]" in admin(clinic, "-f", str(tmp_path / "none")).stderr
    with pytest.raises(ScriptUnreadable):
        Script.read(str(tmp_path))


def test_a_script_runs_another_one(clinic: Clinic, tmp_path: Path) -> None:
    (tmp_path / "inner").write_text("check_status server\nbye\ncheck_status client\n")

    status, out, _ = do(clinic, f"source '{tmp_path / 'inner'}'", "list_jobs")

    assert (status, out.count("Engine status"), clinic.done in out) == (0, 1, False)


def test_a_script_that_runs_itself_comes_to_an_end(clinic: Clinic, tmp_path: Path) -> None:
    (tmp_path / "self").write_text(f"source '{tmp_path / 'self'}'\n")

    status, _, err = do(clinic, f"source '{tmp_path / 'self'}'")

    assert status == 1
    assert "[SD-6032]" in err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("lpwd there", "unexpected extra argument (there)"),
        ("source", "an argument is missing"),
        ("help nonsense", "there is no command 'nonsense'"),
        ("list_jobs >", "wanted one file"),
        ("list_jobs 'a", "No closing quotation"),
    ],
)
def test_a_line_that_makes_no_sense_has_status_2(clinic: Clinic, line: str, words: str) -> None:
    status, _, err = do(clinic, line)

    assert status == 2
    assert words in err


def test_info_tells_folders_server_and_token(clinic: Clinic) -> None:
    _, out, _ = do(clinic, "info")

    assert f"{clinic.kit / 'transfer'}\n" in out
    assert clinic.federation.address in out
    assert clinic.session.connection.token in out


def test_one_command_that_watches_a_job_exits_as_the_job_ended(clinic: Clinic) -> None:
    job_id = clinic.session.submit_job(clinic.federation.job("stopped", mandatory_clients=["site-9"]))
    clinic.session.abort_job(job_id)

    plain = admin(clinic, "-c", f"monitor_job {job_id}")
    as_json = admin(clinic, "-c", f"monitor_job {job_id}", "--json")
    script = admin(clinic, "-f", "-", "--json", input=f"monitor_job {job_id}\nlist_jobs\n")

    assert (plain.returncode, as_json.returncode, script.returncode) == (4, 4, 4)
    assert json.loads(as_json.stdout)["status"] == "FINISHED:ABORTED"
    assert [line["answer"]["status"] for line in json.loads(script.stdout)] == ["FINISHED:ABORTED"]  # it stops there
    assert admin(clinic, "-c", f"monitor_job {clinic.done}").returncode == 0
