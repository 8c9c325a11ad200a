"""The console as somebody sees it: a real process at a pseudo terminal."""

from __future__ import annotations

import os
import re
import signal
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sundog.kits.poc.layout import read_poc
from sundog.kits.workspace.posix import lock_holder

from .conftest import PROGRAM, Clinic
from .terminal import CTRL_C, CTRL_D, ENTER, TAB, UP, Terminal, plain

Open = Callable[..., Terminal]
COLOURS = re.compile(r"\x1b\[\d[0-9;]*m")


def test_the_banner_of_a_poc(poc: Path, marked: Any, nothing_left: Any) -> None:
    """T010, T075: waiting for a token, the primary SP with its SSID, the login, a prompt; bye ends it with status 0."""
    ports = read_poc(poc)
    assert marked.run(poc / "server" / "startup" / "start.sh").returncode == 0

    with Terminal(poc / "admin" / "startup" / "fl_admin.sh") as terminal:
        terminal.wait_for("Waiting for token")
        sp = terminal.wait_for("login_result: OK token: ")
        assert f"primary SP localhost:{ports.fl_port}:{ports.admin_port} SSID: ebc6125d-0a56-4688-9b08-355fe9e4d61a" in plain(sp)
        assert f"Host: localhost Admin_port: {ports.admin_port}" in plain(sp)
        terminal.wait_for("? cmdName")
        terminal.wait_for_prompt()
        terminal.send(f"bye{ENTER}")
        assert terminal.wait_for_end()[0] == 0

    assert marked.run(poc / "server" / "startup" / "stop.sh").returncode == 0
    nothing_left(poc)


def test_a_server_that_comes_late_is_lost_and_comes_back(poc: Path, marked: Any, nothing_left: Any) -> None:
    """That it is not there is said at once; the console stays when it is lost, says so with a code, and connects again by itself."""
    with Terminal(poc / "admin" / "startup" / "fl_admin.sh") as terminal:
        terminal.wait_for("[SD-20")
        assert marked.run(poc / "server" / "startup" / "start.sh").returncode == 0
        terminal.wait_for("login_result: OK")
        terminal.wait_for_prompt()

        os.kill(lock_holder(poc / "server" / "state" / "lock"), signal.SIGKILL)
        terminal.wait_for("the server is gone")
        assert "[SD-6010] the server is away" in terminal.give("list_jobs")
        assert marked.run(poc / "server" / "startup" / "start.sh").returncode == 0
        terminal.wait_for("connected again")
        assert "No jobs." in terminal.give("list_jobs")

        server = lock_holder(poc / "server" / "state" / "lock")
        os.kill(server, signal.SIGSTOP)  # so that the next command gets no answer
        terminal.send(f"list_jobs{ENTER}")
        terminal.wait_for("\x1b[?2004l")
        terminal.press_until(CTRL_C, "interrupted")
        terminal.wait_for_prompt()
        os.kill(server, signal.SIGCONT)
        assert "No jobs." in terminal.give("list_jobs")
        terminal.send(CTRL_D)
        assert terminal.wait_for_end()[0] == 0

    assert marked.run(poc / "server" / "startup" / "stop.sh").returncode == 0
    nothing_left(poc)


def test_ctrl_c_ends_the_wait_for_a_server(poc: Path) -> None:
    with Terminal(*PROGRAM, "admin", poc / "admin") as terminal:
        terminal.wait_for("Ctrl-C gives up")
        terminal.send(CTRL_C)
        status, words = terminal.wait_for_end()

    assert (status, "interrupted" in words, "Traceback" in words) == (130, True, False)


def test_each_command_that_is_listed_shows_its_usage(console: Open) -> None:
    """T011."""
    terminal = console()

    listed = re.findall(r"^  ([a-z_]+) {2,}\S", terminal.give("?"), re.MULTILINE)

    assert {"check_status", "submit_job", "list_jobs", "download_job", "help", "bye"} <= set(listed)
    for name in listed:
        assert f"Usage: {name}" in terminal.give(f"? {name}"), name


def test_output_goes_to_a_file_as_it_is_shown(console: Open, clinic: Clinic, tmp_path: Path) -> None:
    """T027."""
    terminal = console()

    shown = terminal.give("list_jobs")
    assert clinic.done in shown
    terminal.give("list_jobs > 'the jobs'")
    assert (tmp_path / "the jobs").read_text() == shown
    terminal.give("list_jobs >> 'the jobs'")
    assert (tmp_path / "the jobs").read_text() == shown * 2
    assert "[SD-6033]" in terminal.give("list_jobs > no/such/folder")


def test_tab_completes_commands_and_jobs(console: Open, clinic: Clinic) -> None:
    """T027."""
    terminal = console()

    terminal.send(f"get_j{TAB}")
    terminal.wait_for("ob_report")
    terminal.send(f" {clinic.done[:4]}")
    terminal.press_until(TAB, clinic.done[4:])  # a server that is slow to answer completes nothing
    terminal.send(ENTER)
    terminal.wait_for("FINISHED:COMPLETED")


def test_history_is_kept_across_sessions_for_oneself_alone(console: Open, clinic: Clinic) -> None:
    """T027."""
    terminal = console()
    terminal.give("lpwd")
    terminal.send(CTRL_D)
    assert terminal.wait_for_end()[0] == 0

    later = console()
    later.send(UP)
    later.wait_for("lpwd")
    assert stat.S_IMODE((clinic.kit / "state" / "console_history").stat().st_mode) == 0o600


def test_ctrl_c_throws_the_line_away(console: Open) -> None:
    terminal = console()

    terminal.send("lst_job")
    terminal.wait_for("lst_job")
    terminal.send(CTRL_C)
    assert "interrupted" not in terminal.wait_for_prompt()

    assert "Engine status" in terminal.give("check_status server")


INTERRUPTED_WHILE_THE_EDITOR_ENDS = """
import asyncio, os, signal, sys
from pathlib import Path
from prompt_toolkit.completion import DummyCompleter
from sundog.kits.console.prompt import LineDiscarded, Prompt

class Runner(asyncio.Runner):
    def close(self):
        os.kill(os.getpid(), signal.SIGINT)
        super().close()

asyncio.runners.Runner = Runner
with Prompt("> ", DummyCompleter(), Path(sys.argv[1])) as prompt:
    try:
        prompt.read()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    asyncio.runners.Runner = asyncio.Runner
    try:
        prompt.read()
    except LineDiscarded:
        print("discarded", flush=True)
    print(prompt.read())
"""


def test_ctrl_c_between_enter_and_the_command_is_an_interrupt(tmp_path: Path) -> None:
    """The line editor still ends its event loop; only a line that is being edited disappears without a word."""
    with Terminal(sys.executable, "-W", "error", "-c", INTERRUPTED_WHILE_THE_EDITOR_ENDS, tmp_path) as terminal:
        terminal.wait_for_prompt()
        terminal.send(f"list_jobs{ENTER}")
        terminal.wait_for("interrupted")
        terminal.wait_for_prompt()
        terminal.send(f"list{CTRL_C}")
        terminal.wait_for("discarded")
        terminal.wait_for_prompt()
        terminal.send(f"bye{ENTER}")
        status, words = terminal.wait_for_end()

    assert (status, "bye" in words, "never awaited" in words) == (0, True, False)


def test_a_misspelt_command_names_the_one_that_is_meant(console: Open) -> None:
    terminal = console()

    assert "did you mean 'list_jobs'?" in terminal.give("lst_jobs")
    assert "did you mean 'bye'?" in terminal.give("byee")


@pytest.mark.parametrize(("environment", "are_there"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_yield_to_no_color(console: Open, environment: dict[str, str], are_there: bool) -> None:
    terminal = console(environment=environment)

    terminal.send(f"list_jobs{ENTER}")
    terminal.wait_for("\x1b[?2004l")
    terminal.wait_for("\n")
    shown = terminal.wait_for(":") + terminal.wait_for("Done [")

    assert bool(COLOURS.search(shown)) is are_there


def test_a_narrow_terminal_shows_whole_ids_in_records(console: Open, clinic: Clinic) -> None:
    shown = console(columns=60, rows=20).give("list_jobs")

    assert f"JOB ID        {clinic.done}\nNAME          hello-done\nSTATUS        FINISHED:COMPLETED\n" in shown


def test_a_wide_terminal_shows_a_row_a_job(console: Open, clinic: Clinic) -> None:
    shown = console(columns=200, rows=50).give("list_jobs")

    assert re.search(rf"^{clinic.done} +hello-done +FINISHED:COMPLETED +20", shown, re.MULTILINE)
