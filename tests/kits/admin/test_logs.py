"""The log of a run, as an admin reads it: what is there, or as it grows."""

from __future__ import annotations

import io
import json

import pytest

from sundog.components.access.by_role import CommandsByRole
from sundog.kernel.errors import RemoteError
from sundog.kits.admin import live
from sundog.kits.admin.commands import run_line
from sundog.kits.admin.session import Session

from .federation import FOREVER, Federation


def write(clinic: Federation, name: str, job_id: str, text: str) -> None:
    """What a job process of a participant writes."""
    with (clinic.root / name / "runs" / job_id / "log.txt").open("a") as file:
        file.write(text)


def started(clinic: Federation, session: Session) -> str:
    job_id = session.submit_job(clinic.job("endless", rounds=FOREVER))
    session.wait_until_client_status(20, lambda status: [row.job_id for row in status.clients] == [job_id] * 2)
    return job_id


@pytest.mark.parametrize("name", ["server", "site-1"])
def test_a_log_is_followed_until_the_run_is_over(clinic: Federation, name: str) -> None:
    session = clinic.session()
    job_id = started(clinic, session)
    write(clinic, name, job_id, "first\n")
    read = []

    for text in session.logs(job_id[:8], name, follow=True):
        read.append(text)
        if len(read) < 4:
            write(clinic, name, job_id, f"more {len(read)}\n")
        elif "last" not in "".join(read):
            write(clinic, name, job_id, "last\n")
            session.abort_job(job_id)

    assert "".join(read) == "first\nmore 1\nmore 2\nmore 3\nlast\n"
    assert list(session.logs(job_id, name)) == ["first\nmore 1\nmore 2\nmore 3\nlast\n"]


def test_a_log_is_followed_from_before_the_job_starts(clinic_tcp: Federation) -> None:
    session = clinic_tcp.session()
    job_id = session.submit_job(clinic_tcp.job("hello", mandatory_clients=["site-9"]))
    assert list(session.logs(job_id)) == []
    with pytest.raises(RemoteError, match="SD-6009"):
        next(session.logs(job_id, "site-1"))

    clinic_tcp.start_site("site-9")

    assert list(session.logs(job_id, "site-9", follow=True)) == []
    assert session.job_report(job_id).status in ("RUNNING", "FINISHED:COMPLETED")


def test_the_site_itself_decides_whether_it_shows_a_log(clinic_tcp: Federation) -> None:
    session = clinic_tcp.session()
    job_id = started(clinic_tcp, session)
    clinic_tcp.sites["site-1"].access = CommandsByRole(refused=["read_log"])

    with pytest.raises(RemoteError, match="SD-6007"):
        list(session.logs(job_id, "site-1"))
    with pytest.raises(RemoteError, match="SD-6009"):
        list(session.logs(job_id, "site-8"))


def test_a_log_is_shown_in_lines_or_as_one_document(clinic_tcp: Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    session = clinic_tcp.session()
    job_id = started(clinic_tcp, session)
    write(clinic_tcp, "site-1", job_id, "a\tb\nüber\x1b[2J\nno end")
    session.abort_job(job_id)

    out = io.StringIO()
    assert run_line(session, f"logs {job_id[:8]} site-1", out=out) == 0
    assert out.getvalue() == "a\tb\nüber\\x1b[2J\nno end\n"

    monkeypatch.setattr(live, "KEPT_CHARACTERS", 8)
    out = io.StringIO()
    assert run_line(session, f"logs -f {job_id} site-1", as_json=True, out=out) == 0
    assert json.loads(out.getvalue()) == {
        "job_id": job_id, "site": "site-1", "text": "J\nno end", "left_out_characters": len("a\tb\nüber\x1b[2"),
    }  # fmt: skip
