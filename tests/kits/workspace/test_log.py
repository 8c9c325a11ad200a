"""One line a fact, the same in log.txt and on stdout, and nobody can forge one."""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path

import pytest
import structlog

from sundog.kits.workspace.log import FILE_COUNT, LogSettingRefused, LossyStream, as_text, keep_quiet, start_logging, stop_logging


@pytest.fixture(autouse=True)
def _quiet_again() -> Iterator[None]:
    yield
    stop_logging()
    structlog.contextvars.clear_contextvars()


def test_a_line_stands_in_the_file_and_on_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """T006."""
    start_logging(tmp_path / "log.txt")

    structlog.get_logger().info("registered", site="site-1", address="tcp://localhost:1", seconds=0.5)

    written = (tmp_path / "log.txt").read_text()
    assert written == capsys.readouterr().out
    assert written.endswith("Z info    registered site=site-1 address=tcp://localhost:1 seconds=0.5\n")


def test_what_is_bound_once_stands_in_every_line(tmp_path: Path) -> None:
    start_logging(tmp_path / "log.txt", to_stdout=False)
    structlog.contextvars.bind_contextvars(site="site-1", job="1234")

    structlog.get_logger().info("one")

    words = (tmp_path / "log.txt").read_text().split()
    assert {"site=site-1", "job=1234"} == set(words[words.index("one") + 1 :])


def test_what_libraries_log_has_the_same_form(tmp_path: Path) -> None:
    start_logging(tmp_path / "log.txt", to_stdout=False)

    logging.getLogger("asyncio").warning("slow %s", "callback")

    assert (tmp_path / "log.txt").read_text().endswith("Z warning slow callback\n")


def test_the_level_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUNDOG_LOG_LEVEL", "Warning")
    start_logging(tmp_path / "log.txt", to_stdout=False)

    structlog.get_logger().info("quiet")
    logging.getLogger("x").info("quiet")
    structlog.get_logger().error("loud")

    assert [line.split()[2] for line in (tmp_path / "log.txt").read_text().splitlines()] == ["loud"]


@pytest.mark.parametrize(("variable", "value"), [("SUNDOG_LOG_LEVEL", "loud"), ("SUNDOG_LOG_FORMAT", "xml")])
def test_a_setting_that_says_nothing_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(LogSettingRefused, match=f"{variable}: wanted one of .*, got {value!r}"):
        start_logging()


def test_as_json_a_line_is_an_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUNDOG_LOG_FORMAT", "json")
    start_logging(tmp_path / "log.txt", to_stdout=False)

    structlog.get_logger().info("one", path=tmp_path, text="a\nb")

    found = json.loads((tmp_path / "log.txt").read_text())
    assert (found["event"], found["level"], found["text"], found["path"]) == ("one", "info", "a\nb", str(tmp_path))


def test_a_traceback_follows_in_marked_lines(tmp_path: Path) -> None:
    start_logging(tmp_path / "log.txt", to_stdout=False)
    try:
        raise ValueError("line 1\n2030-01-01 info forged")
    except ValueError:
        structlog.get_logger().exception("failed", site="x")

    lines = (tmp_path / "log.txt").read_text().splitlines()

    assert lines[0].endswith("error   failed site=x")
    assert lines[1] == "    | Traceback (most recent call last):"
    assert all(line.startswith("    | ") for line in lines[1:])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        (7, "7"),
        ("", '""'),
        ("two words", '"two words"'),
        ("Köln", "Köln"),
        ("a\nfake=1", r'"a\nfake=1"'),
        ("\x1b[31mred", r'"\u001b[31mred"'),
        ("x" * 3000, "x" * 2000 + "…(+1000)"),
    ],
)
def test_a_value_cannot_forge_a_line(value: object, text: str) -> None:
    assert as_text(None, "", {"event": "e", "key": value}).endswith(f" e key={text}")
    assert "\n" not in as_text(None, "", {"event": f"e{value}"})


def test_files_are_turned_over_and_ten_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sundog.kits.workspace.log.FILE_BYTES", 100)
    start_logging(tmp_path / "log.txt", to_stdout=False)

    for number in range(40):
        structlog.get_logger().info("a line of about a hundred bytes " + "x" * 60, number=number)

    assert len(list(tmp_path.iterdir())) == FILE_COUNT
    assert "number=39" in (tmp_path / "log.txt").read_text()


def test_starting_again_does_not_double_lines(tmp_path: Path) -> None:
    for _ in range(2):
        start_logging(tmp_path / "log.txt", to_stdout=False)

    structlog.get_logger().info("once")

    assert (tmp_path / "log.txt").read_text().count("once") == 1


def test_a_library_keeps_quiet_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    structlog.reset_defaults()
    keep_quiet()

    structlog.get_logger().info("link up")
    structlog.get_logger().warning("no link", address="tcp://localhost:1")

    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.endswith("Z warning no link address=tcp://localhost:1\n")
    structlog.reset_defaults()


def printed_to(descriptor: int, *lines: str) -> None:
    with TextIOWrapper(LossyStream(descriptor), "utf-8", "backslashreplace", line_buffering=True) as file:
        for line in lines:
            print(line, file=file)


def test_what_job_code_prints_arrives_line_by_line() -> None:
    """Two processes that share the pipe do not mix their lines."""
    ours, theirs = socket.socketpair(type=socket.SOCK_DGRAM)
    with ours, theirs:
        printed_to(theirs.fileno(), "one", "two")

        assert [ours.recv(100), ours.recv(100)] == [b"one\n", b"two\n"]


def test_a_lost_reader_costs_lines_and_not_the_job() -> None:
    ours, theirs = os.pipe()
    os.close(ours)

    printed_to(theirs, "a line", "another")

    os.close(theirs)
