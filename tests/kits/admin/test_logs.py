"""The log of a run, as an admin reads it: what is there, or as it grows."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sized
from concurrent.futures import Future

import pytest

from sundog.components.access.by_role import CommandsByRole
from sundog.kernel.errors import RemoteError
from sundog.kits.admin.commands import run_line
from sundog.kits.admin.session import Session
from sundog.kits.commands import logs
from sundog.kits.commands.logs import LOGS
from sundog.kits.protocol.file_answers import LogPiece
from sundog.kits.protocol.requests import ReadLog

from ...faults.proxy import Proxy
from .federation import FOREVER, Federation


def write(clinic: Federation, name: str, job_id: str, text: str) -> None:
    """As the supervisor of a participant does, when the job process prints something."""
    with (clinic.root / name / "runs" / job_id / "log.txt").open("a") as file:
        file.write(text)

    async def tell() -> None:
        (clinic.server if name == "server" else clinic.sites[name]).logs.changed(job_id)

    clinic.loop.call(tell())


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


def following(session: Session, job_id: str, name: str) -> Future[LogPiece]:
    """The question that is under way while `logs -f` waits."""
    return session._thread._started(session.connection.ask(LOGS, ReadLog(job_id=job_id, site=name, follow=True)))


def is_soon(session: Session, job_id: str, name: str, is_so: Callable[[], bool]) -> bool:
    """What was said before is done when what is said now is answered, or a few answers later."""
    return any(list(session.logs(job_id, name)) is not None and is_so() for _ in range(100))


@pytest.mark.parametrize("name", ["server", "site-1"])
def test_who_follows_no_more_leaves_nobody_waiting(clinic: Federation, name: str) -> None:
    """Ctrl-C at `logs -f`: neither the server nor the site goes on waiting for a log to grow."""
    session = clinic.session()
    job_id = started(clinic, session)
    waiting: list[Sized] = [clinic.server.commands.waiting, *([clinic.sites[name].answers.waiting] if name != "server" else [])]

    followed = following(session, job_id, name)
    assert is_soon(session, job_id, name, lambda: all(len(here) == 1 for here in waiting))
    followed.cancel()

    assert is_soon(session, job_id, name, lambda: not any(waiting))


def test_whose_connection_is_lost_is_waited_for_no_more_and_asks_again(clinic_tcp: Federation) -> None:
    proxy = Proxy("127.0.0.1", int(clinic_tcp.address.rpartition(":")[2]))
    clinic_tcp.loop.call(proxy.start())
    session = clinic_tcp.session(endpoint=f"tcp://127.0.0.1:{proxy.port}")
    job_id = started(clinic_tcp, session)
    waiting = clinic_tcp.server.commands.waiting
    followed = following(session, job_id, "server")
    assert is_soon(session, job_id, "server", lambda: len(waiting) == 1)
    (before,) = waiting._tasks.values()

    clinic_tcp.loop.call(_cut(proxy))
    assert is_soon(session, job_id, "server", lambda: before.cancelled() and len(waiting) == 1)
    write(clinic_tcp, "server", job_id, "more\n")

    assert followed.result(20).text == "more\n"
    assert is_soon(session, job_id, "server", lambda: not waiting)
    clinic_tcp.loop.call(proxy.close())


async def _cut(proxy: Proxy) -> None:
    proxy.cut()


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
    clinic_tcp.sites["site-1"].answers.access = CommandsByRole(refused=["logs"])

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

    monkeypatch.setattr(logs, "KEPT_CHARACTERS", 8)
    out = io.StringIO()
    assert run_line(session, f"logs -f {job_id} site-1", as_json=True, out=out) == 0
    assert json.loads(out.getvalue()) == {
        "job_id": job_id, "site": "site-1", "text": "J\nno end", "left_out_characters": len("a\tb\nüber\x1b[2"),
    }  # fmt: skip
