"""Jobs go through legal states only, each with its time, and the table comes back from its journal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sundog.kits.protocol.records import LEGAL_NEXT, Status
from sundog.kits.workspace.job_state import AmbiguousJob, Change, IllegalChange, Job, JobTable, NoSuchJob, changed
from sundog.kits.workspace.journal import Journal
from sundog.transports.link.writer import Writer


@dataclass
class Federation:
    """A job table over a journal, a clock that ticks at each look, and a way to start both anew."""

    path: Path
    writer: Writer
    now: float = 0.0
    journal: Journal = field(init=False)
    table: JobTable = field(init=False)

    def __post_init__(self) -> None:
        self.open()

    def tick(self) -> float:
        self.now += 1.0
        return self.now

    def open(self) -> None:
        self.journal = Journal(self.path, self.writer)
        self.table = JobTable(self.tick).open(self.journal)

    async def restart(self) -> None:
        await self.journal.close()
        self.open()

    def submit(self, name: str = "job", request: str = "r") -> Job:
        return self.table.submit({"name": name}, request=request)[0]


@pytest.fixture
async def federation(tmp_path: Path) -> AsyncIterator[Federation]:
    async with Writer() as writer:
        one = Federation(tmp_path / "project.journal", writer)
        yield one
        await one.journal.close()


@given(st.lists(st.tuples(st.sampled_from(Status), st.floats(0, 1e9))))
def test_whatever_is_asked_for_only_legal_transitions_happen_each_with_its_time(asked: list[tuple[Status, float]]) -> None:
    """T054."""
    job = Job("id", {}, (Change(Status.SUBMITTED, 0.0),))
    done = [(Status.SUBMITTED, 0.0)]
    for status, time_seconds in asked:
        if status in LEGAL_NEXT.get(job.status, ()):
            job = changed(job, status, time_seconds)
            done.append((status, time_seconds))
        else:
            with pytest.raises(IllegalChange):
                changed(job, status, time_seconds)

    assert [(change.status, change.time_seconds) for change in job.history] == done
    assert all(after.status in LEGAL_NEXT[before.status] for before, after in pairwise(job.history))


def test_nothing_comes_after_an_end() -> None:
    """T054."""
    ended = Job("id", {}, (Change(Status.SUBMITTED, 0.0), Change(Status.ABORTED, 1.0)))

    with pytest.raises(IllegalChange, match=r"id: after FINISHED:ABORTED comes nothing, it has ended, not RUNNING"):
        changed(ended, Status.RUNNING, 2.0)
    assert {status for status in Status if status.is_end} == set(Status) - LEGAL_NEXT.keys()


async def test_the_same_request_twice_is_one_job(federation: Federation) -> None:
    """T035, also after a restart."""
    first = federation.submit(request="token")
    await federation.restart()

    again, stored = federation.table.submit({"name": "other"}, request="token")
    await stored

    assert (again.id, again.name, len(federation.table)) == (first.id, "job", 1)


async def test_the_table_is_the_same_after_a_restart(federation: Federation) -> None:
    job, _ = federation.table.submit({"name": "a", "deploy_map": {}}, request="1", content="hash", extra={"submitter": "ann"})
    federation.table.change(job.id, Status.DISPATCHED, sites=["site-1"])
    await federation.table.change(job.id, Status.ABORTED, "ann asked for it")
    before = federation.table.find(job.id)

    await federation.restart()

    assert federation.table.find(job.id) == before
    assert (before.reason, before.extra) == ("ann asked for it", {"submitter": "ann", "sites": ["site-1"]})
    assert [change.time_seconds for change in before.history] == [1.0, 2.0, 3.0]


async def test_lists_show_the_newest_first_and_filter_by_name_and_id(federation: Federation) -> None:
    jobs = [federation.submit(name, name) for name in ("cat", "car", "dog")]

    assert federation.table.listing() == jobs[::-1]
    assert federation.table.listing(name_prefix="ca") == [jobs[1], jobs[0]]
    assert federation.table.listing(id_prefix=jobs[2].id[:12]) == [jobs[2]]


async def test_a_job_is_found_by_a_beginning_of_its_id_that_is_its_alone(federation: Federation) -> None:
    jobs = [federation.submit(request=str(number)) for number in range(17)]  # 16 first digits: two are equal

    assert federation.table.find(jobs[0].id) == jobs[0]
    assert federation.table.find(jobs[0].id[:20]) == jobs[0]
    shared = next(job.id[0] for job in jobs if sum(other.id[0] == job.id[0] for other in jobs) > 1)
    with pytest.raises(AmbiguousJob):
        federation.table.find(shared)
    for nothing in ("", "x"):
        with pytest.raises(NoSuchJob):
            federation.table.find(nothing)


async def test_what_a_job_waits_for_shows_until_it_starts(federation: Federation) -> None:
    """T041."""
    job = federation.submit()
    federation.table.wait(job.id, "waits for site-2 (mandatory)")
    assert federation.table.find(job.id).waits_for == "waits for site-2 (mandatory)"

    federation.table.change(job.id, Status.DISPATCHED)

    assert federation.table.find(job.id).waits_for == ""


async def test_the_duration_runs_from_the_start_to_the_end(federation: Federation) -> None:
    job = federation.submit()
    assert job.duration_seconds(now=99) == 0

    for status in (Status.DISPATCHED, Status.RUNNING):
        federation.table.change(job.id, status)
    assert federation.table.find(job.id).duration_seconds(now=10) == 7
    federation.table.change(job.id, Status.COMPLETED)
    assert federation.table.find(job.id).duration_seconds(now=10) == 1


async def test_an_illegal_change_leaves_no_record(federation: Federation) -> None:
    job = federation.submit()
    with pytest.raises(IllegalChange):
        federation.table.change(job.id, Status.RUNNING)

    await federation.restart()

    assert federation.table.find(job.id).status is Status.SUBMITTED
    assert federation.table.in_state(Status.SUBMITTED) == [job]


async def test_a_job_that_cannot_be_recorded_is_not_kept_and_spoils_no_other(federation: Federation) -> None:
    federation.submit("before", "a")

    with pytest.raises(OverflowError):
        federation.table.submit({"name": "large", "resource_spec": {"site-1": {"gpu": 10**30}}}, request="r")
    assert federation.table.by_request("r") is None
    federation.submit("after", "b")

    assert [job.name for job in federation.table] == ["before", "after"]
    await federation.restart()
    assert [job.name for job in federation.table] == ["before", "after"]
