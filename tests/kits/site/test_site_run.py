"""The site's reducer: PROTOCOL §2, §6 to §8, row by row, without a clock, a file or a link."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sundog.kernel.errors import Failure
from sundog.kernel.messages import Payload
from sundog.kits.handover import messages as job
from sundog.kits.protocol.messages import RunSync, SiteFailed, TaskFor
from sundog.kits.site import run_events as ev
from sundog.kits.site.site_run import MAX_DEATHS, SiteRun

SMALL, LARGE = Payload(1, "a" * 64, 10), Payload(1, "b" * 64, 10**6)
BOOM = Failure("SD-4090", "ValueError: boom")


def task(task_id: str, payload: Payload = SMALL) -> TaskFor:
    return TaskFor("r", task_id, "train", "w", 0, "site-1", 7, None, payload)


def came(task_id: str, payload: Payload = SMALL) -> ev.TaskCame:
    return ev.TaskCame(task(task_id, payload), b"m", b"inline" if payload is SMALL else None)


def answered(task_id: str) -> ev.JobAnswered:
    return ev.JobAnswered(job.ResultFor(task_id, "site-1", SMALL), b"body")


def died(how: str = "killed by signal 9 (SIGKILL)") -> ev.JobDied:
    return ev.JobDied(how, "last words")


def given_tasks(actions: list[ev.Action]) -> list[str]:
    return [action.task.task_id for action in actions if isinstance(action, ev.GiveTask)]


def failures(actions: list[ev.Action]) -> list[str]:
    return [action.result.failure.code for action in actions if isinstance(action, ev.Keep) and action.result.failure]


@pytest.fixture
def run() -> SiteRun:
    """Its job process is up, and nothing is asked of it."""
    run = SiteRun("r")
    run.on(ev.JobStarted())
    return run


def working(run: SiteRun, task_id: str = "t") -> SiteRun:
    run.on(came(task_id))
    return run


# --- a task comes in: PROTOCOL §7, lines 5 to 10 ---


def test_a_small_model_came_along_so_the_task_goes_to_the_job_at_once(run: SiteRun) -> None:
    assert run.on(came("t")) == [ev.GiveTask(task("t"), b"m", b"inline")]


def test_a_large_model_is_fetched_first(run: SiteRun) -> None:
    assert run.on(came("t", LARGE)) == [ev.FetchModel(task("t", LARGE), None)]

    assert given_tasks(run.on(ev.ModelHere("t"))) == ["t"]


def test_a_task_that_is_here_already_is_ignored_and_one_with_a_result_is_offered_again(run: SiteRun) -> None:
    working(run)
    assert run.on(came("t")) == []

    run.on(answered("t"))
    run.on(ev.ResultKept("t"))

    assert run.on(came("t")) == [ev.MakeOffer("t")]


def test_tasks_wait_until_the_job_process_is_up_and_are_given_one_by_one_in_order() -> None:
    run = SiteRun("r")
    assert run.on(came("first")) == run.on(came("second")) == []
    assert given_tasks(run.on(ev.JobStarted())) == ["first"]

    run.on(answered("first"))

    assert run.on(ev.ResultKept("first")) == [
        ev.Tell(job.Kept("first")),
        ev.MakeOffer("first"),
        ev.GiveTask(task("second"), b"m", b"inline"),
    ]


def test_a_task_whose_model_is_here_waits_for_the_one_before_it(run: SiteRun) -> None:
    run.on(came("first", LARGE))

    assert run.on(came("second")) == []
    assert given_tasks(run.on(ev.ModelHere("first"))) == ["first"]


def test_a_model_that_cannot_be_had_is_the_tasks_failure_and_the_next_one_goes_on(run: SiteRun) -> None:
    run.on(came("first", LARGE))
    run.on(came("second"))

    assert failures(run.on(ev.ModelFailed("first", BOOM))) == ["SD-4090"]
    assert given_tasks(run.on(ev.ResultKept("first"))) == ["second"]


# --- a result goes out: lines 13 to 28 ---


def test_a_result_is_kept_before_it_is_offered(run: SiteRun) -> None:
    working(run)

    assert run.on(answered("t")) == [ev.Keep(job.ResultFor("t", "site-1", SMALL), b"body")]
    assert run.on(ev.ResultKept("t"))[:2] == [ev.Tell(job.Kept("t")), ev.MakeOffer("t")]


def test_only_a_verdict_of_the_highest_term_releases_the_outbox(run: SiteRun) -> None:
    """§8 line 13: what an old server says is ignored."""
    working(run)
    run.on(answered("t"))
    run.on(ev.ResultKept("t"))

    assert run.on(ev.VerdictHeard("t", is_current=False)) == []
    assert run.on(ev.VerdictHeard("t", is_current=True)) == [ev.Forget("t", "")]
    assert run.on(ev.VerdictHeard("t", is_current=True)) == []


def test_a_result_that_the_server_does_not_know_takes_the_sites_state_along(run: SiteRun) -> None:
    working(run)
    run.on(answered("t"))
    run.on(ev.ResultKept("t"))

    assert run.on(ev.VerdictHeard("t", is_current=True, is_unknown=True)) == [ev.Forget("t", "", takes_back=True)]


def test_a_model_goes_with_the_last_task_that_needs_it(run: SiteRun) -> None:
    for task_id in ("first", "second"):
        run.on(came(task_id, LARGE))
        run.on(ev.ModelHere(task_id))
        run.on(answered(task_id))
        run.on(ev.ResultKept(task_id))

    assert run.on(ev.VerdictHeard("first", is_current=True)) == [ev.Forget("first", "")]
    assert run.on(ev.VerdictHeard("second", is_current=True)) == [ev.Forget("second", LARGE.sha256)]


def test_after_a_lost_link_everything_without_a_verdict_is_offered_again(run: SiteRun) -> None:
    """§8 lines 8 to 12: the server may have lost it, may have it, or may have said its verdict to nobody."""
    for task_id in ("first", "second"):
        working(run, task_id)
        run.on(answered(task_id))
        run.on(ev.ResultKept(task_id))
    run.on(ev.VerdictHeard("first", is_current=True))
    run.on(came("third"))

    assert run.on(ev.LinkUp()) == [ev.MakeOffer("second")]
    assert run.sync() == RunSync("r", ["third"], ["second"])


# --- the job process ---


def test_a_constructor_that_raises_ends_this_sites_part() -> None:
    run = SiteRun("r")

    assert run.on(ev.JobStarted(BOOM)) == [ev.Report(SiteFailed("r", BOOM)), ev.StopJob("", grace_seconds=2.0)]
    assert run.on(died("")) == [ev.EndRun()]


def test_a_process_that_dies_is_started_again_and_given_the_same_task(run: SiteRun) -> None:
    working(run)

    assert run.on(died()) == [ev.Launch()]
    assert given_tasks(run.on(ev.JobStarted())) == ["t"]


def test_a_task_at_which_the_process_dies_three_times_has_failed_and_the_next_one_goes_on(run: SiteRun) -> None:
    working(run)
    run.on(came("next"))
    for _ in range(MAX_DEATHS - 1):
        run.on(died())
        run.on(ev.JobStarted())

    actions = run.on(died())

    assert failures(actions) == ["SD-4102"]
    assert [action.result.failure.what for action in actions if isinstance(action, ev.Keep) and action.result.failure] == [
        "the job process ended 3 times: killed by signal 9 (SIGKILL); last words: last words"
    ]
    assert actions[-1] == ev.Launch()
    assert given_tasks(run.on(ev.JobStarted())) == []  # before its failure is kept it is not tried once more
    assert given_tasks(run.on(ev.ResultKept("t"))) == ["next"]


def test_a_result_between_deaths_counts_them_anew(run: SiteRun) -> None:
    for number in range(4):
        working(run, str(number))
        for _ in range(MAX_DEATHS - 1):
            run.on(died())
            run.on(ev.JobStarted())
        run.on(answered(str(number)))
        run.on(ev.ResultKept(str(number)))

    assert not run.is_ending


def test_a_process_that_dies_without_a_task_ends_this_sites_part() -> None:
    run = SiteRun("r")
    assert [run.on(died()) for _ in range(MAX_DEATHS - 1)] == [[ev.Launch()]] * (MAX_DEATHS - 1)

    report, end = run.on(died("exit status 3"))

    assert isinstance(report, ev.Report)
    assert isinstance(report.message, SiteFailed)
    assert "exit status 3" in report.message.failure.what
    assert end == ev.EndRun()


def test_one_that_had_started_says_that_it_cannot_go_on(run: SiteRun) -> None:
    actions = [action for _ in range(MAX_DEATHS) for action in run.on(died(""))]

    assert [type(action.message) for action in actions if isinstance(action, ev.Report)] == [SiteFailed]


# --- stopping ---


def test_a_task_that_is_to_stop_is_asked_then_made_and_fails(run: SiteRun) -> None:
    working(run)

    assert run.on(ev.TaskAborted("t", "too slow")) == [ev.StopTask("t", "too slow")]
    assert run.on(ev.GraceOver("t")) == [ev.StopJob("", grace_seconds=0.0)]
    actions = run.on(died())

    assert failures(actions) == ["SD-4103"]
    assert actions[-1] == ev.Launch()
    assert run.deaths == 0


def test_a_task_that_stopped_in_time_is_not_hit(run: SiteRun) -> None:
    working(run)
    run.on(ev.TaskAborted("t", "too slow"))
    run.on(answered("t"))
    run.on(ev.ResultKept("t"))

    assert run.on(ev.GraceOver("t")) == []


def test_a_waiting_task_that_is_to_stop_never_reaches_the_job(run: SiteRun) -> None:
    working(run, "first")
    run.on(came("second"))

    assert failures(run.on(ev.TaskAborted("second", "the step is closed"))) == ["SD-4103"]
    run.on(answered("first"))
    assert given_tasks(run.on(ev.ResultKept("first"))) == []
    assert ev.MakeOffer("second") in run.on(ev.ResultKept("second"))


@pytest.mark.parametrize(("reason", "grace"), [("", 5.0), ("aborted by alice", 2.0)])
def test_the_end_of_the_run_is_the_end_of_the_job_process(run: SiteRun, reason: str, grace: float) -> None:
    working(run)

    assert run.on(ev.RunOver(reason)) == [ev.StopJob(reason, grace)]
    assert run.on(ev.RunOver(reason)) == run.on(came("another")) == []
    assert run.on(died()) == [ev.EndRun()]


def test_what_stops_because_the_run_stops_here_is_no_result_but_what_is_done_is_kept(run: SiteRun) -> None:
    working(run)
    run.on(ev.RunOver("the site stops"))

    assert run.on(ev.JobAnswered(job.ResultFor("t", "site-1", None, BOOM), b"")) == []
    assert run.on(answered("t")) == [ev.Keep(job.ResultFor("t", "site-1", SMALL), b"body")]


EVENTS = st.one_of(
    st.builds(came, st.sampled_from("abc"), st.sampled_from([SMALL, LARGE])),
    st.builds(ev.ModelHere, st.sampled_from("abc")),
    st.builds(ev.ModelFailed, st.sampled_from("abc"), st.just(BOOM)),
    st.builds(ev.JobStarted, st.sampled_from([None, None, None, BOOM])),
    st.builds(answered, st.sampled_from("abc")),
    st.builds(ev.ResultKept, st.sampled_from("abc")),
    st.builds(died),
    st.builds(ev.LinkUp),
    st.builds(ev.VerdictHeard, st.sampled_from("abc"), st.booleans()),
    st.builds(ev.TaskAborted, st.sampled_from("abc"), st.just("why")),
    st.builds(ev.GraceOver, st.sampled_from("abc")),
)


@given(st.lists(EVENTS, max_size=60))
def test_whatever_happens_a_task_is_waiting_or_kept_and_the_end_comes_when_it_is_asked_for(events: list[ev.Event]) -> None:
    run = SiteRun("r")
    ended = False
    for event in events:
        ended = ended or ev.EndRun() in run.on(event)

        assert list(run.waiting) == list(run.tasks)
        assert not set(run.waiting) & set(run.kept)
        assert run.working in ("", *run.waiting)

    run.on(ev.RunOver("enough"))
    assert ended or ev.EndRun() in run.on(died())
