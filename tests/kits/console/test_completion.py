"""What TAB finds."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from sundog.kernel.errors import AdminError
from sundog.kits.console import completion
from sundog.kits.console.completion import ConsoleCompleter, Remembered, files, sources_of

from .conftest import Clinic

JOBS = [("4fa2-a", "hello RUNNING"), ("4fa2-b", "other SUBMITTED"), ("77", "third")]


def found(text: str, completer: ConsoleCompleter | None = None) -> list[str]:
    completer = completer or ConsoleCompleter({"jobs": lambda _: JOBS, "sites": lambda _: [("site-1", ""), ("my site", "")]})
    return [one.text for one in completer.get_completions(Document(text), CompleteEvent(completion_requested=True))]


@pytest.mark.parametrize(
    ("text", "candidates"),
    [
        ("list_j", ["list_jobs"]),
        ("by", ["bye"]),
        ("get_job_report 4", ["4fa2-a", "4fa2-b"]),
        ("get_job_report 4fa2-a ", []),
        ("check_status ", ["server", "client"]),
        ("check_status client s", ["site-1"]),
        ("check_status client site-1 ", ["site-1", "'my site'"]),
        ("list_jobs -", ["-n", "-d"]),
        ("download_job --t", ["--to"]),
        ("download_job 7", ["77"]),
        ("help list_j", ["list_jobs"]),
        ("? list_j", ["list_jobs"]),
        ("nonsense ", []),
        ("get_job_report 'open 4", []),
    ],
)
def test_what_can_stand_there(text: str, candidates: list[str]) -> None:
    assert found(text) == candidates


def test_everything_can_stand_at_the_beginning() -> None:
    assert {"list_jobs", "help", "bye", "source"} <= set(found(""))


def test_files_are_found_behind_the_sign_and_for_scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "jobs.txt").touch()
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "x.txt").touch()
    monkeypatch.chdir(tmp_path)

    assert found("list_jobs > j") == ["jobs.txt"]
    assert found("source more/") == ["more/x.txt"]


def test_folders_of_jobs_are_found_below_the_upload_folder(tmp_path: Path) -> None:
    (tmp_path / "hello").mkdir()
    (tmp_path / "hello" / "meta.json").touch()
    (tmp_path / "shelf").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / ".hidden").mkdir()

    assert [name for name, _ in files(tmp_path, folders_only=True)("")] == ["hello", "shelf/"]
    assert list(files(tmp_path)("none/")) == []


def test_the_server_is_asked_for_jobs_and_sites(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion, "PATIENCE_SECONDS", 20)
    completer = ConsoleCompleter(sources_of(clinic.session))

    assert found("get_job_report ", completer) == [clinic.done]
    assert found("check_status client ", completer) == ["site-1", "site-2"]
    assert "hello-done" in found("submit_job ", completer)


def test_a_server_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion, "PATIENCE_SECONDS", 0.05)
    may_answer, has_answered = threading.Event(), threading.Event()

    def ask() -> list[tuple[str, str]]:
        may_answer.wait(20)
        has_answered.set()
        return JOBS

    source = Remembered(ask)

    assert source.get() == []
    may_answer.set()
    assert has_answered.wait(20)


def test_an_error_of_the_server_completes_nothing() -> None:
    def ask() -> list[tuple[str, str]]:
        raise AdminError("no")

    assert Remembered(ask).get() == []
