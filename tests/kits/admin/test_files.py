"""The files of a participant, looked at from afar: what is shown, and that nothing else is."""

from __future__ import annotations

import io
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sundog.components.access.by_role import CommandsByRole
from sundog.kernel.errors import RemoteError
from sundog.kits.admin.commands import run_line
from sundog.kits.admin.session import Session

from .federation import Federation, federation

SECRET = "the key of all keys"
TARGETS = ["server", "site-1"]
LOG = "".join(f"line {number}\n" for number in range(1, 31))


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with federation(tmp_path_factory.mktemp("clinic"), "tcp://127.0.0.1:0") as made:
        for name in TARGETS:
            furnish(made.root / name)
        (made.root / "elsewhere.txt").write_text(SECRET)
        made.session()
        yield made


def furnish(root: Path) -> None:
    """A workspace with a log, a run, secrets, and what a hostile job could have left in its run's folder."""
    run = root / "runs" / "r1"
    run.mkdir()
    (root / "log.txt").write_text(LOG)
    (run / "metrics.csv").write_bytes(b"name\tvalue\nl\xf6ss\t0.5\n")
    (run / ".hidden").write_text("")
    (run / "-n").write_text("a name like an option\n")
    for secret in ("startup/secret.json", "state/secret"):
        (root / secret).write_text(SECRET)
    (run / "twin.txt").hardlink_to(root / "startup" / "secret.json")
    (run / "link.txt").symlink_to(root / "startup" / "secret.json")
    (run / "way").symlink_to(root / "startup")
    (run / "outside").symlink_to(root.parent)
    (run / "loop").symlink_to("loop")
    os.mkfifo(run / "pipe")


@pytest.fixture
def session(clinic: Federation) -> Session:
    return clinic.sessions[0]


def said(session: Session, line: str, *, as_json: bool = False) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    return run_line(session, line, as_json=as_json, out=out, err=err), out.getvalue(), err.getvalue()


# --- what is shown ---


@pytest.mark.parametrize("target", TARGETS)
def test_the_last_lines_are_those_of_the_file(session: Session, target: str) -> None:
    """T021."""
    last = "".join(f"line {number}\n" for number in range(26, 31))

    assert said(session, f"tail {target} -n 5 log.txt") == (0, last, "")
    assert said(session, f"tail -n 5 {target} log.txt") == (0, last, "")
    assert session.tail(target, "log.txt").text == "".join(LOG.splitlines(keepends=True)[-10:])


@pytest.mark.parametrize("target", TARGETS)
def test_a_file_is_shown_from_its_beginning(session: Session, target: str) -> None:
    """T021."""
    assert said(session, f"cat {target} log.txt") == (0, LOG, "")
    assert said(session, f"head {target} log.txt -n 2")[1] == "line 1\nline 2\n"
    assert session.head(target, "log.txt", size=6).text == "line 1"
    assert session.cat(target, "log.txt", numbered=True).text.startswith("     1\tline 1\n     2\tline 2\n")
    answer = json.loads(said(session, f"cat {target} log.txt", as_json=True)[1])
    assert answer == {"target": target, "file": "log.txt", "text": LOG, "size_bytes": len(LOG), "left_out_bytes": 0}


def test_bytes_that_are_no_text_are_shown_as_such(session: Session) -> None:
    assert said(session, "cat site-1 runs/r1/metrics.csv")[1] == "name\tvalue\nl\\xf6ss\t0.5\n"


@pytest.mark.parametrize("target", TARGETS)
def test_lines_are_found_by_the_plain_text_in_them(session: Session, target: str) -> None:
    """T021: no expression, so no pattern can keep the target busy."""
    assert said(session, f"grep {target} -n -i 'LINE 3' log.txt")[1] == "3:line 3\n30:line 30\n"
    assert said(session, f"grep {target} '(line|x)*$' log.txt") == (0, "", "")


@pytest.mark.parametrize("target", TARGETS)
def test_a_folder_is_listed_without_what_is_secret(clinic: Federation, session: Session, target: str) -> None:
    """T021."""
    assert said(session, f"pwd {target}")[1] == f"{clinic.root / target}\n"
    assert said(session, f"ls {target}")[1] == "local/\nlog.txt\nruns/\ntransfer/\n"
    assert [row.path for row in session.ls(target, "runs/r1/", hidden=True).files] == [
        "-n", ".hidden", "link.txt", "loop", "metrics.csv", "outside", "pipe", "twin.txt", "way",
    ]  # fmt: skip
    everything = {row.path: row.kind for row in session.ls(target, ".", recursive=True).files}
    assert everything["runs/r1/way"] == everything["runs/r1/link.txt"] == "link"
    assert everything["runs/r1/pipe"] == "other"
    assert [path for path in everything if path.startswith(("startup", "state", "runs/r1/way/"))] == []
    heading, *rows = said(session, f"ls -l {target} runs/r1")[1].splitlines()
    assert heading.split() == ["MODE", "BYTES", "MODIFIED", "NAME"]
    assert any(row.startswith("-rw") and row.endswith("metrics.csv") for row in rows)


def test_a_name_like_an_option_stands_behind_two_dashes(session: Session) -> None:
    assert said(session, "cat site-1 runs/r1/-n")[1] == "a name like an option\n"
    assert said(session, "grep site-1 -- -n log.txt") == (0, "", "")


# --- what is not ---

ESCAPES = [
    "../elsewhere.txt", "..", "/etc/passwd", "//etc/passwd", "runs/../startup/secret.json", "runs/r1/../../startup/secret.json",
    "startup/secret.json", "./startup/secret.json", "state/secret", "state", "startup/", "STARTUP/../startup/secret.json",
    "runs/r1/link.txt", "runs/r1/way/secret.json", "runs/r1/outside/elsewhere.txt", "runs/r1/outside/server/startup/secret.json",
    "runs/r1/twin.txt", "runs/r1/loop", "runs/r1/pipe", "startup\0/secret.json", "log.txt\0", "~/.ssh/id_rsa", "~", "~root",
    "runs\\..\\startup\\secret.json", "%2e%2e/startup/secret.json", "..%2felsewhere.txt", "$HOME", "file:///etc/passwd", "x" * 5000,
    "a/" * 40 + "b", "", "runs", "log.txt/x", "\x80",
]  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("path", ESCAPES)
def test_no_path_leads_out_or_to_a_secret(session: Session, target: str, path: str) -> None:
    """T021: containment."""
    for read in (session.cat, session.head, session.tail, lambda one, file: session.grep(one, "", file)):
        with pytest.raises(RemoteError) as caught:
            read(target, path)
        assert caught.value.code in ("SD-5002", "SD-6008")
        assert SECRET not in str(caught.value)
    if path not in ("", "runs"):
        with pytest.raises(RemoteError):
            session.ls(target, path)


INJECTIONS = [
    "; rm -rf log.txt", "$(touch runs/pwned)", "`touch runs/pwned`", "log.txt; touch runs/pwned", "log.txt | touch runs/pwned",
    "log.txt && touch runs/pwned", "log.txt || touch runs/pwned", "log.txt\ntouch runs/pwned", "log.txt\r\ntouch runs/pwned",
    "log.txt & touch runs/pwned", "> runs/pwned", "log.txt > runs/pwned", "< startup/secret.json", "-exec touch runs/pwned ;",
    "-o runs/pwned", "--help", "-fstartup/secret.json", "*", "runs/{pwned,r1}", "${IFS}runs/pwned", "log.tx?", "[a-z]og.txt",
    "%s%s%n", "{file.__class__}", "' ; touch runs/pwned ; '", '" ; touch runs/pwned ; "', "\x1b]0;pwned\x07",
]  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("text", INJECTIONS)
def test_no_text_is_a_command(clinic: Federation, session: Session, target: str, text: str) -> None:
    """T021: injection. As a file's name, as a pattern, as the rest of a line, it does nothing."""
    for refused in (lambda: session.cat(target, text), lambda: session.tail(target, text), lambda: session.ls(target, text)):
        with pytest.raises(RemoteError, match=r"SD-5002|SD-6008"):
            refused()
    assert session.grep(target, text, "log.txt").text == ""
    status, out, _ = said(session, f"cat {target} {text}")

    assert status != 0 or "--help" in text
    assert SECRET not in out
    root = clinic.root / target
    assert (root / "log.txt").read_text() == LOG
    assert not (root / "runs" / "pwned").exists()


def test_a_target_that_is_nobody_does_not_answer(session: Session) -> None:
    with pytest.raises(RemoteError, match=r"SD-6003.*not connected"):
        session.cat("../server", "log.txt")


def test_the_site_itself_decides(clinic: Federation, session: Session) -> None:
    """PROTOCOL §6: a rule at the receiver."""
    clinic.sites["site-2"].answers.access = CommandsByRole(refused=["cat"])

    with pytest.raises(RemoteError, match=r"SD-6007.*the operator refuses this command here") as caught:
        session.cat("site-2", "log.txt")

    assert caught.value.failure.site == "site-2"
    assert [row.path for row in session.ls("site-2").files] == ["local", "runs", "transfer"]


def test_who_waits_for_a_site_that_is_lost_hears_of_it(clinic: Federation, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    clinic.start_site("site-7")
    clinic.loop.call(clinic.server.wait_for_sites(3))
    asked = threading.Event()
    site = clinic.sites["site-7"]
    monkeypatch.setattr(site, "answer", lambda *_: asked.set())

    def stop() -> None:
        assert asked.wait(10), "the site was not asked"
        clinic.stop_site("site-7")

    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(RemoteError, match=r"SD-6003.*its link was lost"):
        session.pwd("site-7")
    stopper.join()
