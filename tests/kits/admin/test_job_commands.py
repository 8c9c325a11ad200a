"""What can be done with jobs that are there: delete, clone; and who does it."""

from __future__ import annotations

import pytest

from sundog.components.access.by_role import CommandsByRole
from sundog.kernel.errors import RemoteError
from sundog.kits.protocol.records import JobDeleted
from sundog.kits.workspace.journal import read_journal

from .federation import FOREVER, Federation
from .test_session import tree

# --- delete ---


def test_a_job_that_has_ended_is_deleted(clinic: Federation) -> None:
    """T016: gone from the list, the store and runs/; the journal keeps the record; a second time is fine."""
    session, server = clinic.session(), clinic.server.workspace
    job_id = session.submit_job(clinic.job("hello"), request_id="mine")
    session.monitor_job(job_id, timeout=20)

    assert session.delete_job(job_id[:8]).job_id == job_id

    assert session.list_jobs().jobs == []
    left = [server.jobs / job_id, server.run(job_id).root, server.blobs / job_id, *server.run_journals(job_id)]
    assert [path for path in left if path.exists()] == []
    (deleted,) = [record for record in read_journal(server.project_journal).records if isinstance(record, JobDeleted)]
    assert (deleted.job, deleted.admin) == (job_id, "admin")
    assert session.delete_job(job_id).job_id == job_id
    with pytest.raises(RemoteError, match="SD-4032"):
        session.job_report(job_id)
    assert session.submit_job("hello", request_id="mine") != job_id


def test_a_job_that_has_not_ended_is_not_deleted(clinic_tcp: Federation) -> None:
    """T016."""
    session = clinic_tcp.session()
    running = session.submit_job(clinic_tcp.job("endless", rounds=FOREVER))
    waiting = session.submit_job(clinic_tcp.job("hello", mandatory_clients=["site-9"]))
    session.wait_until_server_status(20, lambda status: status.engine_status == "started")

    for job_id in (running, waiting):
        with pytest.raises(RemoteError, match="SD-6002") as caught:
            session.delete_job(job_id)
        assert "abort_job" in caught.value.cure
    assert len(session.list_jobs().jobs) == 2


def test_what_a_crash_leaves_of_a_deleted_job_goes_at_the_next_start(clinic_tcp: Federation) -> None:
    session, workspace = clinic_tcp.session(), clinic_tcp.server.workspace
    job_id = session.submit_job(clinic_tcp.job("hello", mandatory_clients=["site-9"]))
    session.abort_job(job_id)
    session.delete_job(job_id)
    (workspace.jobs / job_id).mkdir()

    clinic_tcp.restart_server()

    assert not (workspace.jobs / job_id).exists()
    assert clinic_tcp.session().list_jobs().jobs == []


# --- clone ---


def test_a_job_is_cloned(clinic: Federation) -> None:
    """T017: a new id, the same content hash, a run of its own."""
    session, server = clinic.session(), clinic.server.workspace
    job_id = session.submit_job(clinic.job("hello", rounds=2, seed=7))
    first = session.monitor_job(job_id, timeout=20)

    answer = session.clone_job(job_id[:8])
    second = session.monitor_job(answer.job_id, timeout=20)

    assert (answer.cloned_from, answer.job_id != job_id) == (job_id, True)
    clone, original = session.list_jobs(detailed=True).jobs
    assert clone.detail is not None
    assert original.detail is not None
    assert (clone.job_id, clone.name) == (answer.job_id, "hello")
    assert (clone.detail.content_sha256, clone.detail.meta) == (original.detail.content_sha256, original.detail.meta)
    assert tree(server.jobs / answer.job_id) == tree(server.jobs / job_id)
    assert (second.status, second.model_sha256) == ("FINISHED:COMPLETED", first.model_sha256)
    assert server.run(answer.job_id).root.is_dir()


def test_the_same_request_again_is_the_same_clone(clinic_tcp: Federation) -> None:
    session = clinic_tcp.session()
    job_id = session.submit_job(clinic_tcp.job("hello", mandatory_clients=["site-9"]))
    other = session.submit_job(clinic_tcp.job("other", mandatory_clients=["site-8"]))

    clone = session.clone_job(job_id, request_id="again")

    assert session.clone_job(job_id, request_id="again") == clone
    assert len(session.list_jobs().jobs) == 3
    with pytest.raises(RemoteError, match="SD-6005"):
        session.clone_job(other, request_id="again")


def test_a_job_whose_files_were_changed_is_not_cloned(clinic_tcp: Federation) -> None:
    session, jobs = clinic_tcp.session(), clinic_tcp.server.workspace.jobs
    job_id = session.submit_job(clinic_tcp.job("hello", mandatory_clients=["site-9"]))
    (jobs / job_id / "more.txt").write_text("x")

    with pytest.raises(RemoteError, match="SD-4022"):
        session.clone_job(job_id)

    assert [path.name for path in jobs.iterdir() if path.is_dir()] == [job_id]


# --- who ---


def test_the_admins_that_are_connected_are_listed(clinic_tcp: Federation) -> None:
    """T028: two of them, until one leaves."""
    first, second = clinic_tcp.session(), clinic_tcp.session()
    second.check_status()

    rows = first.list_sessions().sessions

    assert {row.session_id for row in rows} == {first.connection.token, second.connection.token}
    assert {row.user for row in rows} == {"admin"}
    assert [row.start_time for row in rows] == sorted(row.start_time for row in rows)
    assert all(row.start_time <= row.last_active_time for row in rows)
    own = next(row for row in rows if row.session_id == first.connection.token)
    assert own.idle_seconds == 0
    second.close()
    assert [row.session_id for row in first.list_sessions().sessions] == [first.connection.token]


def test_a_command_that_the_access_rule_refuses_is_not_done(clinic_tcp: Federation) -> None:
    session = clinic_tcp.session()
    job_id = session.submit_job(clinic_tcp.job("hello", mandatory_clients=["site-9"]))
    clinic_tcp.server.commands.access = CommandsByRole(refused=["abort_job"])

    with pytest.raises(RemoteError, match=r"SD-6007.*admin admin may not give it here: the operator refuses this command here"):
        session.abort_job(job_id)

    assert session.job_report(job_id).status == "SUBMITTED"
