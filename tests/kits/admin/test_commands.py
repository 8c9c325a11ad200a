"""Each command of the table can be given in one line, prints for people, and prints JSON of a published form."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import click
import jsonschema
import pytest

from sundog.kits.admin.command import parser, schema, usage
from sundog.kits.admin.commands import CommandMisused, NoSuchCommand, parse, run_line, typed_commands
from sundog.kits.admin.session import Session
from sundog.kits.commands.jobs import ListJobs
from sundog.kits.commands.status import CheckStatus

from .federation import FOREVER, Federation, federation


@dataclass
class Clinic:
    """A federation with a job that ran and one that waits."""

    federation: Federation
    session: Session
    done: str
    waiting: str

    def run(self, line: str, *, as_json: bool = False) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        return run_line(self.session, line, as_json=as_json, out=out, err=err), out.getvalue(), err.getvalue()

    def json(self, line: str) -> Any:
        status, out, err = self.run(line, as_json=True)
        assert (status, err) == (0, "")
        return json.loads(out)


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clinic]:
    with federation(tmp_path_factory.mktemp("clinic"), "tcp://127.0.0.1:0") as made:
        session = made.session()
        done = session.submit_job(made.job("hello-done", rounds=2))
        session.monitor_job(done, timeout=20)
        waiting = session.submit_job(made.job("other", mandatory_clients=["site-9"]))
        yield Clinic(made, session, done, waiting)


# --- JSON ---


def test_every_command_prints_json_of_its_published_form(clinic: Clinic) -> None:
    """T029."""
    clinic.federation.job("third", mandatory_clients=["site-9"])
    for name in ("server", "site-1"):
        (clinic.federation.root / name / "runs" / "notes.txt").write_text("we meet at noon\n" * 3)
    lines = {
        "check_status": ["check_status server", "check_status client", "check_status client site-1"],
        "list_sessions": ["list_sessions"],
        "submit_job": ["submit_job third"],
        "list_jobs": ["list_jobs", "list_jobs -d", "list_jobs -n hello", f"list_jobs {clinic.done[:8]}"],
        "get_job_report": [f"get_job_report {clinic.done}", f"get_job_report {clinic.waiting}"],
        "monitor_job": [f"monitor_job {clinic.done}"],
        "logs": [f"logs {clinic.done}", f"logs {clinic.done} site-1 -f"],
        "abort_job": [],
        "delete_job": [],
        "clone_job": [f"clone_job {clinic.waiting}"],
        "download_job": [f"download_job {clinic.done}"],
        "pwd": ["pwd server", "pwd site-1"],
        "ls": ["ls server", "ls -a -l -R site-1", f"ls server runs/{clinic.done}"],
        "cat": ["cat server runs/notes.txt", "cat -n site-1 runs/notes.txt"],
        "head": ["head site-1 runs/notes.txt -n 2"],
        "tail": ["tail server -c 3 runs/notes.txt"],
        "grep": ["grep site-1 -i -n MEET runs/notes.txt"],
    }
    assert list(lines) == list(typed_commands())
    third = clinic.json(lines["submit_job"].pop())["job_id"]
    lines["abort_job"], lines["delete_job"] = [f"abort_job {third}"], [f"delete_job {third}"]

    for name, given in lines.items():
        for line in given:
            jsonschema.validate(clinic.json(line), schema(typed_commands()[name]), cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize("name", typed_commands())
def test_a_published_form_is_a_schema_that_refuses_something_else(name: str) -> None:
    form = schema(typed_commands()[name])

    jsonschema.Draft202012Validator.check_schema(form)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"jobs": 3}, form, cls=jsonschema.Draft202012Validator)


def test_an_error_is_a_document_too(clinic: Clinic) -> None:
    status, out, err = clinic.run("get_job_report nonsense", as_json=True)

    assert status == 1
    jsonschema.validate(json.loads(out), schema(typed_commands()["get_job_report"]))
    assert json.loads(out)["error"]["code"] == "SD-4032"
    assert err.startswith("[SD-4032] no job's id begins with 'nonsense'\n  cure:")


def test_a_report_holds_what_the_design_promises(clinic: Clinic) -> None:
    report = clinic.json(f"get_job_report {clinic.done}")

    promised = {"job_id", "status", "reason", "seconds", "metrics", "model_sha256", "model_path", "rounds"}
    assert promised <= report.keys()
    of_round = {"workflow", "round", "seconds", "invited", "used", "late", "missing", "rejected", "metrics"}
    assert [of_round <= one.keys() and one["round"] for one in report["rounds"]] == [0, 1]


# --- text ---


def test_submit_prints_the_id(clinic: Clinic) -> None:
    """T012."""
    status, out, _ = clinic.run("submit_job other --request-id again")

    job_id = clinic.json("list_jobs")["jobs"][0]["job_id"]
    assert (status, out) == (0, f"Submitted job: {job_id}\n")


def test_jobs_are_listed_in_columns(clinic: Clinic) -> None:
    """T013: also with -n, -d and the beginning of an id."""
    _, out, _ = clinic.run("list_jobs -n hello")

    heading, row = out.splitlines()
    assert [part.strip() for part in heading.split("  ") if part.strip()] == [
        "JOB ID", "NAME", "STATUS", "SUBMIT TIME", "RUN DURATION", "REASON"
    ]  # fmt: skip
    assert row.split()[:3] == [clinic.done, "hello-done", "FINISHED:COMPLETED"]
    assert clinic.waiting in clinic.run(f"list_jobs {clinic.waiting[:8]}")[1]
    assert "waits for site-9 (mandatory)" in clinic.run("list_jobs -n other")[1]
    assert clinic.run("list_jobs -n nobody")[1] == "No jobs.\n"
    assert json.loads(clinic.run("list_jobs -d -n hello")[1])["detail"]["meta"]["name"] == "hello-done"


def test_the_server_s_status_is_told_in_tables(clinic: Clinic) -> None:
    """T018."""
    _, out, _ = clinic.run("check_status server")

    lines = out.splitlines()
    assert lines[:2] == ["Engine status: stopped", "Registered clients: 2"]
    assert lines[2].split() == ["CLIENT", "TOKEN", "LAST", "CONNECT", "TIME"]
    assert [line.split()[0] for line in lines[3:]] == ["site-1", "site-2"]


def test_the_sites_status_is_told_in_a_table(clinic: Clinic) -> None:
    """T018."""
    _, out, _ = clinic.run("check_status client site-1 site-7")

    heading, first, second = out.splitlines()
    assert heading.split() == ["CLIENT", "APP_NAME", "JOB_ID", "STATUS"]
    assert (first.split()[0], "No Jobs" in first) == ("site-1", True)
    assert (second.split()[0], "No Reply (it is not connected)" in second) == ("site-7", True)


def test_a_report_is_told_in_words(clinic: Clinic) -> None:
    _, out, _ = clinic.run(f"get_job_report {clinic.done}")

    lines = out.splitlines()
    assert lines[0] == f"Job: {clinic.done} hello-done"
    assert lines[1] == "Status: FINISHED:COMPLETED"
    assert [line.split()[:2] for line in lines if line.startswith("train")] == [["train", "0"], ["train", "1"]]


# --- while it goes on ---


def test_a_job_is_watched_line_by_line(clinic: Clinic) -> None:
    _, out, _ = clinic.run(f"monitor_job {clinic.done[:8]}")

    first, second, last, *_ = out.splitlines()
    assert first.startswith("  train  round 0  2 of 2 sites")
    assert second.startswith("  train  round 1  2 of 2 sites")
    assert last.startswith("hello-done: FINISHED:COMPLETED after ")


def test_each_line_is_out_before_the_job_goes_on(clinic: Clinic) -> None:
    """The one who reads aborts the job that it reads of: what is told is told at once."""
    job_id = clinic.session.submit_job(clinic.federation.job("endless", rounds=FOREVER))

    class Reader(io.StringIO):
        def flush(self) -> None:
            if "round 0" in self.getvalue() and "round 1 " not in self.getvalue():
                clinic.session.abort_job(job_id)

    out = Reader()
    assert run_line(clinic.session, f"monitor_job {job_id}", out=out) == 4
    assert "endless: RUNNING\n" in out.getvalue()
    assert out.getvalue().splitlines()[-1].startswith("endless: FINISHED:ABORTED (aborted by admin) after ")


def failing(clinic: Clinic) -> str:
    """A job whose sites cannot build their app."""
    client = {"executors": [{"tasks": ["train"], "executor": {"name": "NoSuchTrainer"}}]}
    name = clinic.federation.job("failing", files={"app/config/config_fed_client.json": json.dumps(client).encode()})
    return clinic.session.submit_job(name)


def test_watching_a_job_that_failed_exits_as_the_job_did(clinic: Clinic) -> None:
    job_id = failing(clinic)

    status, out, _ = clinic.run(f"monitor_job {job_id}")
    as_json, document, _ = clinic.run(f"monitor_job {job_id}", as_json=True)

    assert (status, as_json) == (5, 5)
    assert "failing: FINISHED:EXECUTION_EXCEPTION" in out
    assert json.loads(document)["status"] == "FINISHED:EXECUTION_EXCEPTION"
    assert clinic.run(f"get_job_report {job_id}")[0] == 0  # the question was answered


# --- a line ---


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "SD-6020"),
        ("lst_jobs", "did you mean 'list_jobs'?"),
        ("check_status srv", "is not one of 'server', 'client'"),
        ("check_status", "Missing argument 'TARGET': wanted server or client\n"),
        ("shutdown", "there is no command 'shutdown'; use `sundog poc stop`"),
        ("abort x", "use `abort_job JOB_ID`"),
        ("submit_job", "Missing argument 'FOLDER'"),
        ("submit_job 'a b", "No closing quotation"),
        ("abort_job 1 2", "unexpected extra argument (2)"),
        ("list_jobs -z", "No such option '-z'"),
    ],
)
def test_a_line_that_makes_no_sense_is_a_usage_error(clinic: Clinic, line: str, words: str) -> None:
    status, out, err = clinic.run(line)

    assert (status, out) == (2, "")
    assert words in err


def test_arguments_are_read_as_in_a_shell() -> None:
    command, given = parse("list_jobs -n 'two words' -d 4fa2")

    assert (command.name, given) == ("list_jobs", ListJobs(name_prefix="two words", detailed=True, id_prefix="4fa2"))
    assert parse("check_status client a b")[1] == CheckStatus(target="client", sites=["a", "b"])


def test_help_of_one_command_is_no_error(clinic: Clinic, capsys: pytest.CaptureFixture[str]) -> None:
    assert clinic.run("list_jobs --help")[0] == 0
    assert "Only those whose name begins so." in capsys.readouterr().out


@pytest.mark.parametrize("name", typed_commands())
def test_a_command_carries_what_help_completion_and_docs_need(name: str) -> None:
    command = typed_commands()[name]

    assert usage(command).startswith(name)
    assert command.summary.endswith(".")
    assert command.group in ("status", "jobs", "files")
    assert isinstance(parser(command), click.Command)


def test_a_misused_command_says_how_it_is_used() -> None:
    with pytest.raises(CommandMisused) as caught:
        parse("download_job")

    assert caught.value.cure == "Usage: download_job JOB_ID [--to FOLDER]"
    with pytest.raises(NoSuchCommand):
        parse("make coffee")
