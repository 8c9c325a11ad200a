"""A Session does what its methods say, over every wire."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sundog.components.resources.counted import ListResourceManager
from sundog.kernel.errors import RemoteError
from sundog.kits.admin.exchange import DownloadExists
from sundog.kits.admin.session import NotFinished, Session
from sundog.kits.commands.status import ServerStatus, SitesStatus
from sundog.kits.protocol.answers import JobReport
from sundog.kits.site.site import Site
from sundog.kits.workspace.job_folder import JobRefused, NoJob

from .federation import FOREVER, Federation

DATA = Path(__file__).resolve().parents[2] / "data"


# --- submit, monitor, report ---


def test_a_job_is_submitted_watched_and_reported(clinic: Federation) -> None:
    """T012, T033: the id is first in the list; the callback sees each change; monitor_job returns the end."""
    session = clinic.session()
    seen: list[JobReport] = []

    job_id = session.submit_job(clinic.job("hello", rounds=3))
    report = session.monitor_job(job_id, seen.append, timeout=20)

    assert session.list_jobs().jobs[0].job_id == job_id
    assert (report.status, len(report.rounds), report.sites) == ("FINISHED:COMPLETED", 3, ["site-1", "site-2"])
    assert seen[-1] == report == session.job_report(job_id)
    changes = [(one.status, len(one.rounds), one.waits_for) for one in seen]
    assert len(changes) == len(set(changes))


def test_an_app_without_meta_is_sent_to_everybody(clinic: Federation) -> None:
    """T038: FLARE's hello-numpy-sag, unchanged, by an absolute path."""
    session = clinic.session()

    report = session.monitor_job(session.submit_job(DATA / "flare21" / "hello-numpy-sag"), timeout=20)

    assert (report.name, report.status, report.sites) == ("hello-numpy-sag", "FINISHED:COMPLETED", ["site-1", "site-2"])


@pytest.mark.parametrize("name", ["no_deployment", "missing_app", "not_enough_clients"])
def test_a_job_with_mistakes_is_refused_before_it_is_sent(clinic_tcp: Federation, name: str) -> None:
    session = clinic_tcp.session()

    with pytest.raises(JobRefused):
        session.submit_job(DATA / "jobs" / name)

    assert session.list_jobs().jobs == []


def test_a_folder_that_is_not_there_is_named(clinic_tcp: Federation) -> None:
    with pytest.raises(NoJob, match="transfer/helo"):
        clinic_tcp.session().submit_job("helo")


def test_a_waiting_job_names_the_site_it_waits_for_and_starts_when_it_comes(clinic: Federation) -> None:
    """T041."""
    session = clinic.session()
    job_id = session.submit_job(clinic.job("hello", mandatory_clients=["site-9"]))
    waits: list[str] = []

    def look(report: JobReport) -> None:
        waits.append(report.waits_for)
        if "site-9" in report.waits_for and "site-9" not in clinic.sites:
            clinic.start_site("site-9")

    report = session.monitor_job(job_id, look, timeout=20)

    assert "waits for site-9 (mandatory)" in waits
    assert (report.status, report.sites) == ("FINISHED:COMPLETED", ["site-1", "site-2", "site-9"])


def test_a_job_that_waits_for_resources_starts_when_a_site_gives_them_back_however_late(
    clinic_tcp: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = Site._run_ended

    async def ended_late(site: Site, run: str) -> None:
        is_late = asyncio.Event()
        asyncio.get_running_loop().call_later(0.1, is_late.set)
        await is_late.wait()
        await ended(site, run)

    monkeypatch.setattr(Site, "_run_ended", ended_late)
    clinic_tcp.start_site("site-3", ListResourceManager({"gpu": [0]}))
    session = clinic_tcp.session()
    name = clinic_tcp.job("hello", resource_spec={"site-3": {"gpu": 1}}, mandatory_clients=["site-3"])

    ids = [session.submit_job(name) for _ in range(2)]

    assert [session.monitor_job(job_id, timeout=20).status for job_id in ids] == ["FINISHED:COMPLETED"] * 2


def test_watching_has_an_end(clinic_tcp: Federation) -> None:
    session = clinic_tcp.session()
    job_id = session.submit_job(clinic_tcp.job("hello", mandatory_clients=["site-9"]))

    with pytest.raises(NotFinished, match="SUBMITTED"):
        session.monitor_job(job_id, timeout=1)


# --- list ---


def test_jobs_are_listed_by_name_and_by_the_beginning_of_the_id(clinic: Federation) -> None:
    """T013."""
    session = clinic.session()
    ids = [session.submit_job(clinic.job(name, mandatory_clients=["site-9"])) for name in ("hello-a", "hello-b", "other")]

    assert [row.name for row in session.list_jobs().jobs] == ["other", "hello-b", "hello-a"]
    assert [row.job_id for row in session.list_jobs("hello").jobs] == [ids[1], ids[0]]
    assert [row.job_id for row in session.list_jobs(id_prefix=ids[2][:8]).jobs] == [ids[2]]
    detail = session.list_jobs("other", detailed=True).jobs[0].detail
    assert detail is not None
    assert (detail.meta["mandatory_clients"], detail.submitter) == (["site-9"], "admin")
    assert [change.status for change in detail.history] == ["SUBMITTED"]


# --- abort ---


def test_a_running_job_is_aborted(clinic: Federation) -> None:
    """T015 (in process): the answer comes when it has ended; a second time is fine."""
    session = clinic.session()
    job_id = session.submit_job(clinic.job("endless", rounds=FOREVER))
    session.wait_until_server_status(20, lambda status: status.engine_status == "started")

    begun = time.monotonic()
    answer = session.abort_job(job_id)

    assert time.monotonic() - begun < 10
    assert answer.status == session.job_report(job_id).status == "FINISHED:ABORTED"
    assert session.job_report(job_id).reason == "aborted by admin"
    assert session.abort_job(job_id) == answer


def test_a_waiting_job_is_aborted(clinic_tcp: Federation) -> None:
    session = clinic_tcp.session()
    job_id = session.submit_job(clinic_tcp.job("hello", mandatory_clients=["site-9"]))

    assert session.abort_job(job_id[:8]).job_id == job_id
    assert session.monitor_job(job_id, timeout=20).status == "FINISHED:ABORTED"


def test_a_job_that_came_to_its_end_cannot_be_aborted(clinic_tcp: Federation) -> None:
    session = clinic_tcp.session()
    job_id = session.submit_job(clinic_tcp.job("hello"))
    session.monitor_job(job_id, timeout=20)

    with pytest.raises(RemoteError, match=r"SD-6006.*FINISHED:COMPLETED"):
        session.abort_job(job_id)


# --- download ---


def test_a_job_and_its_result_are_downloaded(clinic: Federation) -> None:
    """T014: `<transfer>/<id>/{job,workspace}`, the same bytes as at the server; the model has the hash that the report names."""
    session = clinic.session()
    files = {"app/custom/data.bin": bytes(range(256)) * 12_000, "app/custom/same.bin": bytes(range(256)) * 12_000, "empty": b""}
    job_id = session.submit_job(clinic.job("hello", files=files))
    report = session.monitor_job(job_id, timeout=20)
    heard: list[tuple[int, int]] = []

    got = session.download_job(job_id[:8], progress=lambda here, total: heard.append((here, total)))

    folder = clinic.root / "admin" / "transfer" / job_id
    assert (got.job_id, got.folder) == (job_id, str(folder))
    server = clinic.server.workspace
    assert tree(folder / "job") == tree(server.jobs / job_id) == tree(clinic.root / "admin" / "transfer" / "hello")
    assert tree(folder / "workspace") == tree(server.run(job_id).root)
    model = folder / "workspace" / report.model_path
    assert hashlib.sha256(model.read_bytes()).hexdigest() == report.model_sha256
    assert json.loads((folder / "workspace" / "report.json").read_text())["job_id"] == job_id
    assert heard[-1] == (got.size_bytes, got.size_bytes)
    assert heard == sorted(heard)
    assert [path.name for path in folder.parent.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    "size", [200_000_000, pytest.param(2_000_000_000, marks=[pytest.mark.campaign, pytest.mark.timeout(600)])], ids=["200MB", "2GB"]
)
def test_memory_does_not_grow_with_the_size_of_a_result(clinic_tcp: Federation, size: int) -> None:
    """T014: server and admin together stay below 100 MB of anonymous memory, whatever the size."""
    session = clinic_tcp.session()
    job_id = session.submit_job(clinic_tcp.job("hello", mandatory_clients=["site-9"]))
    session.abort_job(job_id)
    result = clinic_tcp.server.workspace.run(job_id).create().models / "large.bin"
    with result.open("wb") as file:
        for number in range(size // 1_000_000):
            file.write(number.to_bytes(8, "big") * 125_000)
    before, peak = anonymous_bytes(), 0

    def look(here: int, total: int) -> None:
        nonlocal peak
        peak = max(peak, anonymous_bytes() - before)

    got = Path(session.download_job(job_id, progress=look).folder) / "workspace" / "models" / "large.bin"

    assert peak < 100_000_000
    assert got.stat().st_size == size
    got.unlink()
    result.unlink()


def anonymous_bytes() -> int:
    """What this process has for itself."""
    return next(int(line.split()[1]) * 1024 for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))


def test_nothing_is_overwritten_and_another_folder_can_be_chosen(clinic_tcp: Federation, tmp_path: Path) -> None:
    session = clinic_tcp.session()
    job_id = session.submit_job(clinic_tcp.job("hello"))
    session.monitor_job(job_id, timeout=20)
    session.download_job(job_id)

    with pytest.raises(DownloadExists):
        session.download_job(job_id)
    assert session.download_job(job_id, tmp_path / "elsewhere").folder == str(tmp_path / "elsewhere" / job_id)


def test_a_job_that_never_ran_has_no_workspace(clinic_tcp: Federation) -> None:
    session = clinic_tcp.session()
    job_id = session.submit_job(clinic_tcp.job("hello", mandatory_clients=["site-9"]))
    session.abort_job(job_id)

    folder = Path(session.download_job(job_id).folder)

    assert sorted(path.name for path in folder.iterdir()) == ["job", "workspace"]
    assert list((folder / "workspace").iterdir()) == []


def test_a_job_that_runs_cannot_be_downloaded(clinic_tcp: Federation) -> None:
    session = clinic_tcp.session()
    job_id = session.submit_job(clinic_tcp.job("hello", mandatory_clients=["site-9"]))

    with pytest.raises(RemoteError, match="SD-6002"):
        session.download_job(job_id)


def test_a_run_s_folder_with_a_huge_file_that_holds_nothing_is_refused(clinic_tcp: Federation) -> None:
    session = clinic_tcp.session()
    job_id = session.submit_job(clinic_tcp.job("hello", mandatory_clients=["site-9"]))
    session.abort_job(job_id)
    huge = clinic_tcp.server.workspace.run(job_id).create().models / "huge"
    huge.touch()
    os.truncate(huge, 2**40)

    with pytest.raises(RemoteError, match=f"SD-4021.*{2**40} bytes"):
        session.download_job(job_id)


def test_jobs_that_share_files_are_downloaded_side_by_side(clinic_tcp: Federation, tmp_path: Path) -> None:
    """What one download has finished with is still offered to the others."""
    session = clinic_tcp.session()
    name = clinic_tcp.job("hello", mandatory_clients=["site-9"], files={f"app/custom/{n}.txt": bytes(n) for n in range(20)})
    ids = [session.submit_job(name) for _ in range(6)]
    for job_id in ids:
        session.abort_job(job_id)

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda job_id: session.download_job(job_id, tmp_path / "got"), ids))

    assert [tree(Path(one.folder) / "job") for one in got] == [tree(clinic_tcp.server.workspace.jobs / ids[0])] * 6


# --- status ---


def test_the_server_tells_what_runs_and_which_sites_are_there(clinic: Federation) -> None:
    """T018."""
    session = clinic.session()

    idle = session.check_status()
    assert (idle.engine_status, idle.jobs, idle.registered_clients) == ("stopped", [], 2)
    assert [row.client for row in idle.clients] == ["site-1", "site-2"]
    assert abs(idle.clients[0].last_connect_time - time.time()) < 60

    job_id = session.submit_job(clinic.job("endless", rounds=FOREVER))
    reached = session.wait_until_server_status(20, lambda status: status.engine_status == "started")
    assert isinstance(reached.status, ServerStatus)
    assert [(row.job_id, row.app_name) for row in reached.status.jobs] == [(job_id, "endless")]


def test_a_site_tells_what_it_does_or_gives_no_reply(clinic: Federation) -> None:
    """T018."""
    session = clinic.session()
    clinic.stop_site("site-2")

    rows = session.check_status("client").clients

    assert [(row.client, row.status) for row in rows] == [("site-1", "No Jobs"), ("site-2", "No Reply")]
    assert [row.status for row in session.check_status("client", ["site-1"]).clients] == ["No Jobs"]


def test_a_site_that_is_named_many_times_is_asked_once(clinic: Federation) -> None:
    session = clinic.session()

    rows = session.check_status("client", ["site-2", "site-9", "site-1", "site-9", "site-2"]).clients

    assert [(row.client, row.status) for row in rows] == [("site-2", "No Jobs"), ("site-9", "No Reply"), ("site-1", "No Jobs")]
    with pytest.raises(RemoteError, match="10000"):
        session.check_status("client", ["site-1"] * 10_001)


def test_a_site_tells_which_job_it_works_on(clinic_tcp: Federation) -> None:
    session = clinic_tcp.session()
    job_id = session.submit_job(clinic_tcp.job("endless", rounds=FOREVER))

    def both_have_it(status: SitesStatus) -> bool:
        return [(row.job_id, row.app_name) for row in status.clients] == [(job_id, "endless")] * 2

    assert session.wait_until_client_status(20, both_have_it).is_reached


# --- waiting for a status ---


def test_the_end_of_a_wait_comes_within_a_second_of_the_status(clinic: Federation) -> None:
    """T034."""
    session = clinic.session()
    job_id = session.submit_job(clinic.job("endless", rounds=FOREVER))
    assert session.wait_until_server_status(20, lambda status: bool(status.jobs)).is_reached

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(session.wait_until_server_status, 20)
        session.abort_job(job_id)
        waited = waiting.result(1)

    assert waited.is_reached
    assert waited.problem is None


def test_a_wait_that_is_over_gives_an_error_and_raises_nothing(clinic_tcp: Federation) -> None:
    """T034."""
    session = clinic_tcp.session()
    session.check_status()  # from here on an answer comes in a moment

    server = session.wait_until_server_status(1, lambda status: False)
    sites = session.wait_until_client_status(1, lambda status: False)

    for waited, kind in ((server, ServerStatus), (sites, SitesStatus)):
        assert not waited.is_reached
        assert isinstance(waited.status, kind)
        assert waited.problem is not None
        assert (waited.problem.code, waited.problem.what) == ("SD-6017", "not within 1 s")


def test_a_site_that_leaves_is_seen_by_who_waits(clinic_tcp: Federation) -> None:
    session = clinic_tcp.session()

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(session.wait_until_server_status, 20, lambda status: status.registered_clients == 1)
        clinic_tcp.stop_site("site-2")

        assert waiting.result().is_reached


# --- the session itself ---


def test_threads_share_a_session(clinic_tcp: Federation) -> None:
    session = clinic_tcp.session()
    name = clinic_tcp.job("hello", mandatory_clients=["site-9"])

    with ThreadPoolExecutor(16) as pool:
        ids = list(pool.map(lambda _: session.submit_job(name), range(16)))
        reports = list(pool.map(session.job_report, ids))

    assert len(set(ids)) == 16
    assert [report.job_id for report in reports] == ids
    assert len(session.list_jobs().jobs) == 16


def test_a_session_says_where_it_is(clinic_tcp: Federation) -> None:
    with clinic_tcp.session() as session:
        session.check_status()
        assert repr(session) == f"<Session of admin at {clinic_tcp.address}: up>"

    assert repr(session).endswith("closed>")
    session.close()


def test_a_session_that_is_forgotten_warns(clinic_tcp: Federation) -> None:
    session = clinic_tcp.session()
    clinic_tcp.sessions.clear()

    with pytest.warns(ResourceWarning, match="was never closed"):
        session.__del__()

    session.close()


def tree(root: Path) -> dict[str, str]:
    """Path → sha256 of each file below a folder."""
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_face_has_it() -> None:
    import sundog

    assert sundog.Session is Session
