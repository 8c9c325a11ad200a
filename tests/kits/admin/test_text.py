"""What people read: whole rows in a pipe, and nothing that could act on a terminal."""

from __future__ import annotations

import io
import sys

import pytest

from sundog.kits.admin import text
from sundog.kits.cli.failures import words
from sundog.kits.cli.outcome import Rounds
from sundog.kits.commands.jobs import GET_JOB_REPORT, LIST_JOBS, JobList, JobRow
from sundog.kits.commands.progress import ending
from sundog.kits.commands.status import CHECK_STATUS, ClientRow, ServerStatus, SiteRow, SitesStatus
from sundog.kits.commands.text import trouble
from sundog.kits.protocol.answers import JobReport, Problem, RoundReport


def shown(pieces: object) -> str:
    out = io.StringIO()
    text.show(pieces, out)  # type: ignore[arg-type]
    return out.getvalue()


def test_a_long_row_is_not_broken_in_a_pipe() -> None:
    row = JobRow("4" * 36, "n" * 300, "SUBMITTED", 0.0, 3661.2, "r" * 300)

    out = shown(LIST_JOBS.show(JobList([row])))

    assert len(out.splitlines()) == 2
    assert "1:01:01" in out


def test_a_long_reason_does_not_pad_the_other_rows() -> None:
    rows = [JobRow("4" * 36, "hello", "SUBMITTED", 0.0, 1.0, reason) for reason in ("r" * 300, "")]

    heading, long, short = shown(LIST_JOBS.show(JobList(rows))).splitlines()

    assert (heading.endswith("REASON"), len(long) > 300, len(short) < 150) == (True, True, True)


def test_names_from_outside_cannot_move_the_cursor() -> None:
    row = JobRow("4" * 36, "evil\x1b[2J[bold]\r", "SUBMITTED", 0.0, 0.0, "")

    out = shown(LIST_JOBS.show(JobList([row])))

    assert "\x1b" not in out
    assert r"evil\x1b[2J[bold]\r" in out
    problem = Problem("SD-1", "a\nb\x07", where="x\x1b", cure="y\n")
    assert shown(trouble(problem)) == "[SD-1] a\nb\\x07\n  where: x\\x1b\n  cure:  y\\n\n"


def test_a_failed_job_s_report_says_where_and_what_next() -> None:
    failure = Problem("SD-4090", "ValueError: no data", where="train.py:7", cure="look there", site="site-2", component="trainer")
    rounds = [
        RoundReport("train", 0, 1.5, ["site-1", "site-2"], ["site-1"], [], [], {"site-2": "NaN in w"}, {}, {"loss": None}, notes=["a\x1bb"])
    ]
    report = JobReport(
        "4fa2", "hello", "FINISHED:EXECUTION_EXCEPTION", "it failed", 2.0, ["site-1", "site-2"], {"loss": 0.25}, "ab" * 32,
        "models/model.safetensors", rounds, failure,
    )  # fmt: skip

    out = shown(GET_JOB_REPORT.show(report))

    assert "Status: FINISHED:EXECUTION_EXCEPTION (it failed)\n" in out
    assert "Metrics: loss=0.25\n" in out
    assert "site-2 (NaN in w)" in out
    assert "loss=nan" in out
    assert "Note: train, round 0: a\\x1bb\n" in out
    assert "Failed:\n[SD-4090] ValueError: no data\n  where: site-2 trainer train.py:7\n  cure:  look there\n" in out


def test_what_job_code_names_cannot_act_on_the_terminal() -> None:
    rounds = [RoundReport("tr\x1b", 0, 1.5, [], [], [], [], {}, {}, {}, notes=["a"])]
    failure = Problem("SD\x1b", "a")

    report = JobReport("4f\x1b", "hello", "RUN\x1b", "", 2.0, [], {}, "ab\x1b", "model", rounds, failure)
    status = SitesStatus([SiteRow("site-1", "", "", "work\x1b", "why")], 1)

    assert "\x1b" not in shown(GET_JOB_REPORT.show(report)) + shown(CHECK_STATUS.show(status))


def test_empty_answers_have_words() -> None:
    assert shown(CHECK_STATUS.show(SitesStatus([], 1))) == "No clients.\n"
    assert shown(CHECK_STATUS.show(ServerStatus("stopped", [], 0, [], 1))) == "Engine status: stopped\nRegistered clients: 0\n"
    assert "1970" in shown(CHECK_STATUS.show(ServerStatus("stopped", [], 1, [ClientRow("site-1", "t", 86400.0)], 1)))


class NarrowTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("columns", "is_table"), [("80", False), ("140", True)])
def test_a_terminal_that_is_too_narrow_gets_a_line_for_each_cell(monkeypatch: pytest.MonkeyPatch, columns: str, is_table: bool) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("NO_COLOR", "1")
    row = JobRow("4" * 36, "hello", "FINISHED:EXECUTION_EXCEPTION", 0.0, 3661.2, "")
    out = NarrowTerminal()

    text.show(LIST_JOBS.show(JobList([row, row])), out)

    assert (f"JOB ID        {'4' * 36}\nNAME          hello\n" in out.getvalue()) is not is_table
    assert "4" * 36 in out.getvalue()
    assert "FINISHED:EXECUTION_EXCEPTION" in out.getvalue()


def test_a_reason_of_several_lines_is_cut_in_a_row_and_at_the_end() -> None:
    """The whole of it is in the report."""
    reason = "[SD-1101] site-1: 2 mistakes:\n  [SD-1102] one\n  [SD-1102] two"
    report = JobReport("4fa2", "hello", "FINISHED:EXECUTION_EXCEPTION", reason, 2.0, [], {}, "", "", [])

    row = JobRow("4" * 36, "hello", report.status, 0.0, 2.0, reason)

    assert "2 mistakes:" in shown(LIST_JOBS.show(JobList([row])))
    assert "one" not in shown(LIST_JOBS.show(JobList([row])))
    assert ending(report) == "hello: FINISHED:EXECUTION_EXCEPTION ([SD-1101] site-1: 2 mistakes:) after 2.0 s"


def test_a_place_that_is_the_site_itself_is_named_once() -> None:
    problem = Problem("SD-1", "a", where="site-1", site="site-1")

    assert shown(trouble(problem)) == "[SD-1] a\n  where: site-1\n"
    assert words(problem) == "[SD-1] a\n  where: site-1"


def test_a_job_runs_before_it_has_rounds(capsys: pytest.CaptureFixture[str]) -> None:
    """Also when a watcher comes late, and hears of both at once."""
    rounds = [RoundReport("train", 0, 1.5, ["site-1"], ["site-1"], [], [], {}, {}, {})]

    Rounds(sys.stdout).show(JobReport("4fa2", "hello", "RUNNING", "", 2.0, ["site-1"], {}, "", "", rounds))

    first, second = capsys.readouterr().out.splitlines()
    assert first == "hello: RUNNING"
    assert "round 0" in second
