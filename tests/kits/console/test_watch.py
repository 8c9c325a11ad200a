"""The live view of a job."""

from __future__ import annotations

import io

import msgspec
import pytest
from rich.console import Console

from sundog.kits.console.watch import view, watch
from sundog.kits.protocol.answers import JobReport, RoundReport

from .conftest import Clinic
from .terminal import plain


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def report(rounds: int, status: str = "RUNNING") -> JobReport:
    row = [RoundReport("train", n, 0.5, ["a", "b"], ["a"], [], ["b"], {}, {}, {"accuracy": n / 100}) for n in range(rounds)]
    return JobReport("4" * 36, "hello\x1b[2J", status, "", 3.0, ["a", "b"], {}, "", "", row)


def drawn(job: JobReport, height: int) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=80, height=height).print(view(job, height))
    return out.getvalue().splitlines()


def test_it_shows_state_sites_and_rounds() -> None:
    lines = drawn(report(2), 24)

    assert lines[0] == f"hello\\x1b[2J  {'4' * 36}"
    assert lines[1].rstrip() == "RUNNING  3.0 s  2 rounds"
    assert [line.split() for line in lines[4:6]] == [["train", str(n), "1", "of", "2", "0.50", f"accuracy={n / 100:g}"] for n in (0, 1)]


def test_one_round_is_one_round() -> None:
    assert drawn(report(1), 24)[1].rstrip() == "RUNNING  3.0 s  1 round"


def test_it_fits_a_terminal_however_many_rounds_there_are() -> None:
    lines = drawn(report(500), 24)

    assert len(lines) <= 24
    assert any(line.split()[:2] == ["train", "499"] for line in lines)
    assert any("rounds before these" in line for line in lines)


def test_the_last_notes_of_components_stand_below_the_rounds_and_fit_too() -> None:
    job = report(500)
    rounds = [msgspec.structs.replace(row, notes=[f"no site sends {'w' * 200}", f"second {row.round}"]) for row in job.rounds]

    lines = drawn(msgspec.structs.replace(job, rounds=rounds), 24)

    assert len(lines) <= 24
    assert lines[-4].startswith("Note: train, round 498: second 498")
    assert lines[-3].startswith("Note: train, round 499: no site sends www")


def test_it_ends_with_the_job(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    out = Screen()

    ended = watch(clinic.session, clinic.done, out)

    assert ended.status == "FINISHED:COMPLETED"
    assert "FINISHED:COMPLETED" in plain(out.getvalue())
    assert "Ctrl-C" not in plain(out.getvalue())
