"""The server's reducer: PROTOCOL §6 to §8, row by row, without a clock, a file or a link."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from sundog.kernel.errors import Failure
from sundog.kernel.messages import Payload, ScatterEnd, StepMetrics, encode
from sundog.kits.handover import messages as job
from sundog.kits.protocol.messages import AbortRun, AbortTask, Offer, RunEnded, RunSync, Stored, Sync, TaskFor, Unknown, Verdicts
from sundog.kits.protocol.records import (
    OpenTask,
    ResultReceived,
    ResultRejected,
    RunFinished,
    RunStarted,
    ScatterEnded,
    Status,
    StepClosed,
    StepOpened,
    WorkflowEnded,
)
from sundog.kits.server import run_events as ev
from sundog.kits.server.run_state import ClosedTasks, Committed, Kept, Phase
from sundog.kits.server.server_run import MAX_DEATHS, MAX_OPEN_TASKS

from .story import BOOM, CARRIED, MODEL, RESULT, SITES, STATE, WORKFLOW, Story, open_task

SILENT = Failure("SD-4105", "silent")


@pytest.fixture
def story() -> Story:
    """A run whose first step is open at both sites."""
    story = Story().begin()
    story.step()
    return story


def verdicts(story: Story, site: str) -> list[tuple[str, str, str]]:
    return [verdict for to, message in story.sent if to == site and isinstance(message, Verdicts) for verdict in message.verdicts]


# --- the round, as PROTOCOL §7 numbers it ---


def test_a_run_begins_with_its_record_and_then_the_job_process() -> None:
    story = Story()

    written = story.on(ev.Begun(7, 1.0))

    assert written == [RunStarted("", "r", 4, list(SITES), 7, 1.0)]
    assert story.asked == ["Launch"]
    assert story.run.phase is Phase.RUNNING


def test_a_step_is_recorded_then_the_job_is_told_then_each_site_gets_its_task() -> None:
    """Lines 2 to 5."""
    story = Story().begin()

    written = story.step()

    assert written == [StepOpened("", WORKFLOW, 0, "all", [open_task(site) for site in SITES], [CARRIED], 1.0)]
    assert story.asked == ["Tell", "Send", "Send"]
    assert story.sent[0] == ("site-1", TaskFor("r", "train 0 site-1", "train", WORKFLOW, 0, "site-1", 7, None, MODEL))


def test_a_result_is_fetched_recorded_acknowledged_and_handed_on(story: Story) -> None:
    """Lines 15 to 21."""
    assert story.offer("site-1") == []
    assert story.actions == [ev.Receive("site-1", Offer("r", "train 0 site-1", RESULT), b"m", None)]

    written = story.arrive("site-1")

    assert written == [ResultReceived("", "train 0 site-1", "site-1", RESULT, b"m", None, 3.0)]
    assert story.sent == [("site-1", Stored("r", "train 0 site-1"))]
    assert story.told == [job.ResultFor("train 0 site-1", "site-1", RESULT, number=1)]


def test_a_commit_is_recorded_and_every_site_hears_its_verdict(story: Story) -> None:
    """Lines 24 to 27."""
    for site in SITES:
        story.result(site)

    (closed,) = story.commit()

    assert isinstance(closed, StepClosed)
    assert [verdict for _, verdict, _ in closed.verdicts] == ["used", "used"]
    assert story.told == [job.StepClosed(WORKFLOW, 0)]
    assert verdicts(story, "site-1") == [("train 0 site-1", "used", "")]
    assert story.actions[-1] == ev.Release()
    assert story.run.final_state == STATE


# --- offers in every state of a task ---


def test_an_offer_for_a_task_that_never_was_is_unknown(story: Story) -> None:
    story.offer("site-1", task_id="elsewhere")

    assert story.sent == [("site-1", Unknown("r", "elsewhere"))]


def test_a_site_cannot_answer_for_another(story: Story) -> None:
    story.offer("site-1", task_id="train 0 site-2")

    assert story.sent == [("site-1", Unknown("r", "train 0 site-2"))]


def test_a_second_offer_while_the_first_is_fetched_asks_for_nothing(story: Story) -> None:
    story.offer("site-1")

    assert story.offer("site-1") == []
    assert story.actions == []


def test_an_offer_of_what_is_stored_is_acknowledged_again_and_recorded_once(story: Story) -> None:
    """§8 line 9 (b)."""
    story.result("site-1")

    assert story.result("site-1") == []
    assert story.offer("site-1") == []
    assert story.sent == [("site-1", Stored("r", "train 0 site-1"))]


def test_an_offer_of_a_closed_step_is_answered_with_its_verdict_under_this_term(story: Story) -> None:
    """§8 line 12: the verdict was lost with the link."""
    for site in SITES:
        story.result(site)
    story.commit(used=("site-1",))

    story.offer("site-1")
    assert story.sent == [("site-1", Verdicts(4, "r", [("train 0 site-1", "used", "")]))]
    story.offer("site-2")
    assert story.sent == [("site-2", Verdicts(4, "r", [("train 0 site-2", "late", "the step is closed")]))]


@pytest.mark.parametrize("is_under_way", [False, True], ids=["offered", "arrived"])
def test_what_comes_after_its_step_was_closed_is_late(story: Story, is_under_way: bool) -> None:
    story.result("site-1")
    if is_under_way:
        story.offer("site-2")
    story.commit(used=("site-1",))

    assert (story.arrive("site-2") if is_under_way else story.offer("site-2")) == []
    assert [verdict for _, verdict, _ in verdicts(story, "site-2")] == ["late"]


def test_a_result_that_cannot_be_fetched_now_is_offered_again(story: Story) -> None:
    story.offer("site-1")
    assert story.on(ev.ReceiveFailed("site-1", "train 0 site-1", None, 9.0)) == []

    story.offer("site-1")

    assert story.asked == ["Receive"]


def test_a_result_that_can_never_be_had_is_the_failure_of_its_task(story: Story) -> None:
    story.offer("site-1")

    (written,) = story.on(ev.ReceiveFailed("site-1", "train 0 site-1", BOOM, 9.0))

    assert written == ResultReceived("", "train 0 site-1", "site-1", None, b"", BOOM, 9.0)
    assert story.told == [job.ResultFor("train 0 site-1", "site-1", None, BOOM, number=1)]


# --- verdicts ---


def test_the_verdicts_of_a_step_tell_why(story: Story) -> None:
    story.step(name="evaluate")
    story.result("site-1", failure=BOOM)
    story.result("site-2")
    story.on(ev.RejectAsked("train 0 site-2", "NaN in layer 1"))
    story.on(ev.SiteDown("site-2"))
    story.on(ev.SiteStalled("site-2", SILENT))

    (closed,) = story.commit(used=())

    assert isinstance(closed, StepClosed)
    assert closed.verdicts == [
        ("train 0 site-1", "rejected", "failed: [SD-4090] train.py:3: ValueError: boom"),
        ("train 0 site-2", "rejected", "NaN in layer 1"),
        ("evaluate 0 site-1", "missing", "no result in time"),
        ("evaluate 0 site-2", "missing", "gone"),
    ]


def test_a_site_that_works_in_vain_is_told_to_stop(story: Story) -> None:
    story.result("site-1")

    story.commit(used=("site-1",))

    assert ("site-2", AbortTask("r", "train 0 site-2", "the step is closed")) in story.sent
    assert verdicts(story, "site-2") == []


def test_a_rejection_is_recorded_once_and_not_after_the_verdict(story: Story) -> None:
    story.result("site-1")

    assert story.on(ev.RejectAsked("train 0 site-1", "NaN")) == [ResultRejected("", "train 0 site-1", "site-1", "NaN")]
    assert story.on(ev.RejectAsked("train 0 site-1", "NaN")) == []
    assert story.on(ev.RejectAsked("nobody's", "NaN")) == []


def test_a_deadline_is_a_failure_and_the_site_is_told_to_stop(story: Story) -> None:
    (written,) = story.on(ev.DeadlinePassed("train 0 site-1", BOOM, 5.0))

    assert isinstance(written, ResultReceived)
    assert written.failure == BOOM
    assert story.sent == [("site-1", AbortTask("r", "train 0 site-1", "ValueError: boom"))]
    assert story.on(ev.DeadlinePassed("train 0 site-1", BOOM, 6.0)) == []


def test_a_result_whose_bytes_come_behind_the_deadline_changes_nothing_and_has_the_verdict_of_the_failure(story: Story) -> None:
    story.offer("site-1")
    (failed,) = story.on(ev.DeadlinePassed("train 0 site-1", BOOM, 5.0))

    assert story.arrive("site-1") == []
    assert story.run.tasks["train 0 site-1"].received == failed
    story.commit(used=())
    assert [verdict for _, verdict, _ in verdicts(story, "site-1")] == ["rejected"]


def test_a_deadline_of_what_is_here_already_means_nothing(story: Story) -> None:
    story.result("site-1")

    assert story.on(ev.DeadlinePassed("train 0 site-1", BOOM, 5.0)) == []
    assert story.actions == []


# --- the job process dies ---


def test_a_step_asked_for_again_is_the_same_step_and_what_is_stored_comes_from_the_records(story: Story) -> None:
    """§8 line 6: same ids, the record wins."""
    story.result("site-1")
    story.die()

    assert story.asked == ["Launch"]
    assert story.step() == []
    assert story.told == [job.ResultFor("train 0 site-1", "site-1", RESULT, number=1), job.StepOpened(WORKFLOW, 0)]
    assert story.sent == []


def test_a_step_that_grew_when_it_was_asked_for_again_records_only_what_is_new(story: Story) -> None:
    story.die()
    both = (open_task("site-1"), open_task("site-1", name="evaluate"))

    (written,) = story.on(ev.StepAsked(WORKFLOW, 0, "all", both, (CARRIED,), 9.0))

    assert isinstance(written, StepOpened)
    assert [task.task_id for task in written.tasks] == ["evaluate 0 site-1"]


def test_how_a_scatter_ended_before_another_began_is_told_to_the_process_that_repeats_it_behind_all_results(story: Story) -> None:
    story.result("site-1")
    end = ScatterEnd(["train 0 site-1", "train 0 site-2"], ["train 0 site-1"], [])
    written = story.step(name="evaluate", ended=(end,))
    assert written[0] == ScatterEnded("", WORKFLOW, 0, end)
    assert isinstance(written[1], StepOpened)
    story.result("site-2")

    story.die()

    assert story.step() == []
    handed = [job.ResultFor(f"train 0 {site}", site, RESULT, number=number) for number, site in enumerate(SITES, 1)]
    assert story.told == [*handed, job.StepOpened(WORKFLOW, 0, end)]
    assert story.step(name="evaluate", ended=(end,)) == []
    assert story.told == [job.StepOpened(WORKFLOW, 0)]


@pytest.mark.parametrize("what", ["tensors", "meta"])
def test_a_task_asked_for_again_with_another_payload_breaks_the_run_with_a_code(story: Story, what: str) -> None:
    story.result("site-1")
    story.die()
    first, second = open_task("site-1"), replace(open_task("site-2"), carried=1)
    other = replace(CARRIED, payload=STATE) if what == "tensors" else replace(CARRIED, meta=b"other")

    assert story.on(ev.StepAsked(WORKFLOW, 0, "all", (first, second), (CARRIED, other), 9.0)) == []

    assert "StopJob" in story.asked
    assert not any(isinstance(message, job.StepOpened | job.ResultFor) for message in story.told)
    assert story.run.outcome is not None
    assert story.run.outcome.failure is not None
    assert (story.run.outcome.failure.code, story.run.outcome.failure.where) == ("SD-4112", f"{WORKFLOW}, step 0")


def many(first: int, count: int, site: str = "site-1") -> ev.StepAsked:
    tasks = tuple(OpenTask(f"t{number}".ljust(63, "x"), site, "train", 0, 7, None) for number in range(first, first + count))
    return ev.StepAsked(WORKFLOW, 0, "all", tasks, (CARRIED,), 2.0)


def test_more_open_tasks_of_one_site_than_its_sync_may_name_break_the_run() -> None:
    story = Story().begin()
    (opened,) = story.on(many(0, MAX_OPEN_TASKS))
    story.on(many(MAX_OPEN_TASKS, 1, "site-2"))

    assert story.on(many(MAX_OPEN_TASKS + 1, 1)) == []

    assert isinstance(opened, StepOpened)
    assert story.run.outcome is not None
    assert story.run.outcome.reason == ("[SD-4114] server train, step 0: wanted at most 10,000 open tasks for site-1, got 10,001")
    assert len(story.run.tasks) == MAX_OPEN_TASKS + 1


def test_a_sync_names_the_open_tasks_of_six_runs() -> None:
    ids = [task.task_id for task in many(0, MAX_OPEN_TASKS).tasks]

    assert encode(Sync([RunSync("r" * 36, ids, []) for _ in range(6)]))


def test_where_a_file_was_handed_over_makes_no_other_task_of_it(story: Story) -> None:
    story.die()

    moved = replace(CARRIED, payload=replace(MODEL, name="out.1"))
    story.on(ev.StepAsked(WORKFLOW, 0, "all", (open_task("site-1"),), (moved,), 9.0))

    assert story.told == [job.StepOpened(WORKFLOW, 0)]


# --- tasks that outlive their step ---


def test_a_task_that_is_left_open_has_no_last_verdict_and_its_site_hears_nothing(story: Story) -> None:
    story.result("site-1")

    (closed,) = story.commit(used=("site-1",), still_open={"train 0 site-2": "sent"})

    assert isinstance(closed, StepClosed)
    assert closed.verdicts == [("train 0 site-1", "used", ""), ("train 0 site-2", "open", "sent")]
    assert [site for site, _ in story.sent] == ["site-1"]
    assert (story.run.rounds[0].used, story.run.rounds[0].open, story.run.left_out) == (["site-1"], ["site-2"], set())


def test_its_result_is_recorded_under_its_own_id_and_used_by_a_later_step(story: Story) -> None:
    story.result("site-1")
    story.commit(used=("site-1",), still_open={"train 0 site-2": "sent"})
    story.step(1, sites=("site-1",))

    (received,) = story.result("site-2")
    assert isinstance(received, ResultReceived)
    assert story.told == [job.ResultFor("train 0 site-2", "site-2", RESULT, number=2)]
    (closed,) = story.commit(1, used=(), late=("train 0 site-2",), still_open={"train 1 site-1": "sent"})

    assert isinstance(closed, StepClosed)
    assert closed.verdicts == [("train 1 site-1", "open", "sent"), ("train 0 site-2", "used", "")]
    assert story.run.closed_tasks.find("train 0 site-2") == "used"
    assert list(story.run.tasks) == ["train 1 site-1"]


def test_a_task_that_stays_open_over_several_steps_is_in_no_record_but_its_first_and_its_last(story: Story) -> None:
    story.commit(used=(), still_open={"train 0 site-1": "sent", "train 0 site-2": "sent"})
    (second,) = story.commit(1, used=(), still_open={"train 0 site-1": "sent", "train 0 site-2": "sent"})

    assert isinstance(second, StepClosed)
    assert second.verdicts == []


def test_a_new_process_is_handed_results_of_open_tasks_before_anything_else(story: Story) -> None:
    story.commit(used=(), still_open={"train 0 site-1": "sent", "train 0 site-2": "sent"})
    story.result("site-2")
    story.result("site-1")

    story.die()

    assert story.asked == ["Launch", "Tell", "Tell"]
    assert [(message.site, message.number) for message in story.told if isinstance(message, job.ResultFor)] == [
        ("site-2", 1),
        ("site-1", 2),
    ]


def test_a_site_that_is_back_gets_an_open_task_that_it_does_not_have(story: Story) -> None:
    story.commit(used=(), still_open={"train 0 site-1": "sent", "train 0 site-2": "sent"})
    story.on(ev.SiteDown("site-2"))

    story.on(ev.SiteUp("site-2"))

    assert [message.task_id for _, message in story.sent if isinstance(message, TaskFor)] == ["train 0 site-2"]


def test_the_models_and_results_of_open_tasks_stay_in_use_until_their_last_verdict(story: Story) -> None:
    story.result("site-1")
    story.commit(used=("site-1",), still_open={"train 0 site-2": "sent"})
    assert list(story.run.payloads_in_use()) == [STATE, MODEL]
    story.result("site-2")
    assert list(story.run.payloads_in_use()) == [STATE, MODEL, RESULT]

    story.commit(1, used=(), late=("train 0 site-2",))

    assert list(story.run.payloads_in_use()) == [STATE]


def test_open_tasks_of_a_workflow_that_has_ended_are_dropped_and_their_sites_stop(story: Story) -> None:
    story.commit(used=(), still_open={"train 0 site-1": "sent", "train 0 site-2": "late"})
    story.result("site-1")

    still_open = {"train 0 site-1": "sent", "train 0 site-2": "late", "nobody's": "sent"}
    over = ev.WorkflowOver(WORKFLOW, (), (), (), still_open, StepMetrics({}, {}), 9.0)
    (ended,) = story.on(over)

    said = [
        ("train 0 site-1", "dropped", "its workflow has ended"),
        ("train 0 site-2", "missing", "no result in time"),
    ]
    assert ended == WorkflowEnded("", WORKFLOW, [], [], said, StepMetrics({}, {}), 9.0)
    assert story.sent == [
        ("site-1", Verdicts(4, "r", [("train 0 site-1", "late", "its workflow has ended")])),
        ("site-2", AbortTask("r", "train 0 site-2", "the step is closed")),
    ]
    assert story.run.left_out == {"site-2"}
    assert story.told == []
    assert story.on(over) == []


def test_the_end_of_a_workflow_closes_what_it_did_behind_its_last_commit(story: Story) -> None:
    """An evaluation without a commit: it is reported like a step with one, nothing of it is opened again."""
    for site in SITES:
        story.result(site)
    story.on(ev.RejectAsked("train 0 site-2", "not finite"))
    parts, metrics = Payload(1, "9" * 64, 5), StepMetrics({"loss": 1.0}, {"site-1": {"loss": 1.0}})

    story.on(ev.WorkflowOver(WORKFLOW, (parts,), (b"x",), ("train 0 site-1",), {}, metrics, 9.0, ("a note",)))

    assert (story.run.tasks, story.run.open_steps, story.run.opened_at) == ({}, {}, {})
    assert [story.run.closed_tasks.find(f"train 0 {site}") for site in SITES] == ["used", "rejected"]
    assert verdicts(story, "site-1") == [("train 0 site-1", "used", "")]
    assert verdicts(story, "site-2") == [("train 0 site-2", "rejected", "not finite")]
    assert (story.run.ended_workflows, story.run.parts, story.run.left_out) == ([WORKFLOW], Kept(parts, b"x"), {"site-2"})
    (report,) = story.run.rounds
    assert (report.round, report.used, report.rejected) == (0, ["site-1"], {"site-2": "not finite"})
    assert (report.metrics, report.own_metrics, report.notes) == (metrics.sites, metrics.own, ["a note"])


def test_a_late_result_that_came_before_the_end_of_its_workflow_is_late_and_not_missing(story: Story) -> None:
    story.result("site-1")
    story.commit(used=("site-1",), still_open={"train 0 site-2": "late"})
    story.result("site-2")

    (ended,) = story.on(ev.WorkflowOver(WORKFLOW, (), (), (), {"train 0 site-2": "late"}, StepMetrics({}, {}), 9.0))

    assert isinstance(ended, WorkflowEnded)
    assert ended.verdicts == [("train 0 site-2", "late", "")]


def test_a_result_that_is_used_behind_the_last_commit_has_a_round(story: Story) -> None:
    story.commit(used=(), still_open={"train 0 site-1": "sent", "train 0 site-2": "sent"}, notes=("a",))
    story.result("site-1")

    story.on(ev.WorkflowOver(WORKFLOW, (), (), ("train 0 site-1",), {"train 0 site-2": "sent"}, StepMetrics({}, {}), 9.0, ("b",)))

    assert [(one.round, one.used, one.notes) for one in story.run.rounds] == [(0, [], ["a"]), (1, ["site-1"], ["b"])]


def test_a_new_job_process_is_handed_the_results_of_a_step_in_the_order_of_the_journal_with_what_was_rejected(story: Story) -> None:
    story.result("site-2")
    story.result("site-1")
    story.on(ev.RejectAsked("train 0 site-1", "not like the others"))
    story.die()

    story.step()

    handed = [(message.site, message.rejected) for message in story.told if isinstance(message, job.ResultFor)]
    assert handed == [("site-2", ""), ("site-1", "not like the others")]


def test_a_commit_closes_the_steps_without_one_before_it(story: Story) -> None:
    """A workflow that commits every second step: its sites keep no result longer, and the report has each step."""
    story.result("site-1")
    story.step(1)
    for site in SITES:
        story.result(site, 1)

    story.commit(1, used=("site-1", "site-2"), late=("train 0 site-1",))

    assert (story.run.tasks, story.run.open_steps, story.run.opened_at) == ({}, {}, {})
    assert verdicts(story, "site-1") == [("train 0 site-1", "used", ""), ("train 1 site-1", "used", "")]
    assert [(one.round, one.used, one.missing) for one in story.run.rounds] == [(0, ["site-1"], ["site-2"]), (1, ["site-1", "site-2"], [])]


def test_many_verdicts_with_long_reasons_travel_in_several_messages(story: Story) -> None:
    for number in range(1, 3001):
        story.step(0, name=f"train {number}")
    story.on(ev.RejectAsked("train 0 site-1", "x" * 8000))

    story.commit(used=())

    sent = [message for site, message in story.sent if site == "site-1" and isinstance(message, Verdicts)]
    assert [reason for message in sent for _, _, reason in message.verdicts if reason.startswith("x")] == ["x" * 500 + "…(+7500)"]
    assert all(len(message.verdicts) <= 2000 for message in sent)


def test_results_of_a_scatter_that_failed_are_neither_used_nor_late(story: Story) -> None:
    story.result("site-1")

    (closed,) = story.on(ev.CommitAsked(WORKFLOW, 0, (), (), False, (), {}, StepMetrics({}, {}), 9.0, unused=("train 0 site-1",)))

    assert isinstance(closed, StepClosed)
    assert closed.verdicts[0] == ("train 0 site-1", "dropped", "its scatter failed")
    assert verdicts(story, "site-1") == [("train 0 site-1", "late", "its scatter failed")]
    assert story.run.left_out == {"site-2"}
    assert (story.run.rounds[0].late, story.run.rounds[0].missing) == ([], ["site-2"])


def test_verdicts_of_tasks_that_are_over_take_eight_bytes_each() -> None:
    closed = ClosedTasks()
    ids = [f"{number:016x}" for number in range(5000)]
    for start in range(0, 5000, 7):
        closed.add({task_id: ("used", "late", "rejected")[int(task_id, 16) % 3] for task_id in ids[start : start + 7]})

    assert len(closed) == 5000
    assert [closed.find(task_id) for task_id in ids[:4]] == ["used", "late", "rejected", "used"]
    assert all(closed.find(task_id) for task_id in ids)
    assert closed.find("elsewhere") == ""


def test_a_commit_asked_for_again_is_told_and_not_recorded(story: Story) -> None:
    for site in SITES:
        story.result(site)
    story.commit()
    story.die()

    assert story.commit() == []
    assert story.told == [job.StepClosed(WORKFLOW, 0)]
    assert story.asked == ["Tell"]


def test_a_note_is_told_with_the_first_round_that_has_it_whatever_process_says_it_again(story: Story) -> None:
    noted = []
    for step, notes in enumerate([("a",), ("a", "b"), ("b",)]):
        if step:
            story.step(step)
        for site in SITES:
            story.result(site, step)
        noted += [record.notes for record in story.commit(step, notes=notes) if isinstance(record, StepClosed)]
        story.die()

    assert noted == [["a"], ["b"], []]
    assert [done.notes for done in story.run.rounds] == noted


def test_a_file_is_as_the_last_step_that_spoke_of_it_has_it(story: Story) -> None:
    changes: list[tuple[tuple[str, Payload | None], ...]] = [(("best", STATE), ("matrix", MODEL)), (), (("best", RESULT), ("matrix", None))]
    seen = []
    for step, files in enumerate(changes):
        if step:
            story.step(step)
        for site in SITES:
            story.result(site, step)
        story.commit(step, files=files)
        seen.append(dict(story.run.files))

    assert seen == [{"best": STATE, "matrix": MODEL}, {"best": STATE, "matrix": MODEL}, {"best": RESULT}]


def test_three_deaths_without_a_record_end_the_run_with_the_signal_and_the_last_words(story: Story) -> None:
    assert [story.die() for _ in range(MAX_DEATHS - 1)] == [[], []]

    (ended,) = story.die()

    assert isinstance(ended, RunFinished)
    assert (ended.status, ended.failure.code if ended.failure else "") == (Status.EXECUTION_EXCEPTION, "SD-4101")
    assert "killed by signal 9 (SIGKILL)" in ended.reason
    assert "last words" in ended.reason
    assert ("site-1", RunEnded("r", Status.EXECUTION_EXCEPTION)) in story.sent
    assert story.actions[-1] == ev.EndRun(ended)


def test_a_record_between_deaths_counts_them_anew(story: Story) -> None:
    for step in range(3):
        story.die()
        story.die()
        for site in SITES:
            story.result(site, step)
        story.commit(step)
        story.step(step + 1)

    assert story.run.ended is None


def test_exit_0_without_finish_is_a_death(story: Story) -> None:
    for _ in range(MAX_DEATHS):
        written = story.die(how="")

    assert isinstance(written[0], RunFinished)
    assert "exit without a result" in written[0].reason


def test_a_process_that_is_started_again_hears_which_sites_are_gone(story: Story) -> None:
    story.on(ev.SiteDown("site-2"))
    story.on(ev.SiteStalled("site-2", SILENT))

    story.die()

    assert story.actions == [ev.Launch(), ev.Tell(job.SiteGone("site-2", SILENT))]


def test_states_of_components_stay_those_of_the_last_commit_and_the_model_that_of_the_last_that_had_one() -> None:
    story = Story().begin()
    story.step()
    story.commit(state=STATE, parts=1)
    story.step(1)

    story.commit(1, state=None, parts=1)

    assert story.run.committed[WORKFLOW] == Committed(1, Kept(STATE, b"x"))
    assert story.run.parts == Kept(Payload(1, "10".rjust(64, "0"), 5), b"x")


def test_components_that_have_no_state_any_more_get_none_back(story: Story) -> None:
    story.commit(parts=1)
    assert story.run.parts is not None

    story.commit(1, parts=0)

    assert story.run.parts is None


# --- sites come and go ---


def test_losing_a_link_asks_for_nothing_and_a_task_of_that_time_waits_for_the_site(story: Story) -> None:
    story.on(ev.SiteDown("site-2"))
    assert story.actions == []
    story.step(1)
    assert [site for site, _ in story.sent] == ["site-1"]

    story.on(ev.SiteUp("site-2", working=("train 0 site-2",)))

    assert [(site, message.task_id) for site, message in story.sent if isinstance(message, TaskFor)] == [("site-2", "train 1 site-2")]


def test_a_site_that_comes_back_with_a_task_nobody_waits_for_is_told_to_stop_it(story: Story) -> None:
    story.on(ev.SiteDown("site-2"))
    story.result("site-1")
    story.commit(used=("site-1",))

    story.on(ev.SiteUp("site-2", working=("train 0 site-2",)))

    assert story.sent == [("site-2", AbortTask("r", "train 0 site-2", "no result of it is wanted any more"))]


def test_a_stalled_site_is_gone_until_it_comes_back(story: Story) -> None:
    assert story.on(ev.SiteStalled("site-2", SILENT)) == []
    assert story.actions == []  # it is connected

    story.on(ev.SiteDown("site-2"))
    story.on(ev.SiteStalled("site-2", SILENT))
    assert story.told == [job.SiteGone("site-2", SILENT)]
    story.on(ev.SiteStalled("site-2", SILENT))
    assert story.actions == []

    story.on(ev.SiteUp("site-2", kept=("train 0 site-2",)))
    assert story.told == [job.SiteBack("site-2")]
    assert story.sent == []


def test_a_site_that_cannot_fails_its_open_tasks_and_later_ones_for_its_first_reason(story: Story) -> None:
    story.on(ev.SiteCannot("site-2", BOOM, 5.0))
    assert story.told == [job.ResultFor("train 0 site-2", "site-2", None, BOOM, number=1)]
    story.on(ev.SiteCannot("site-2", SILENT, 6.0))

    written = story.step(1)

    assert [type(record) for record in written] == [StepOpened, ResultReceived]
    assert [site for site, _ in story.sent] == ["site-1"]
    assert story.told == [job.ResultFor("train 1 site-2", "site-2", None, BOOM, number=2), job.StepOpened(WORKFLOW, 1)]


# --- the end ---


@pytest.mark.parametrize(("used", "status"), [(SITES, Status.COMPLETED), (("site-1",), Status.DEGRADED)])
def test_a_run_without_a_site_in_some_step_is_degraded(story: Story, used: tuple[str, ...], status: Status) -> None:
    for site in SITES:
        story.result(site)
    story.commit(used=used)
    assert story.finish() == []
    assert story.asked == ["Tell", "StopJob"]

    (ended,) = story.die(how="")

    assert isinstance(ended, RunFinished)
    assert ended.status == status
    assert ended.reason == ("" if status is Status.COMPLETED else "without site-2 in some steps")


def test_a_failure_ends_the_run_and_the_sites_stop_without_hearing_why(story: Story) -> None:
    story.finish(job.Finish(BOOM))
    assert [(site, message) for site, message in story.sent] == [(site, AbortRun("r", "the run has failed")) for site in SITES]

    (ended,) = story.die(how="")

    assert isinstance(ended, RunFinished)
    assert (ended.status, ended.failure, ended.reason) == (Status.EXECUTION_EXCEPTION, BOOM, str(BOOM))


def test_a_job_that_says_it_was_aborted_is_aborted(story: Story) -> None:
    story.finish(job.Finish(aborted="enough"))

    (ended,) = story.die(how="")

    assert isinstance(ended, RunFinished)
    assert (ended.status, ended.reason) == (Status.ABORTED, "enough")


def test_the_first_outcome_stays(story: Story) -> None:
    story.on(ev.AbortAsked("by alice", 5.0))
    story.on(ev.Broken(BOOM, 6.0))
    story.finish(job.Finish(BOOM))

    (ended,) = story.die()

    assert isinstance(ended, RunFinished)
    assert (ended.status, ended.reason) == (Status.ABORTED, "by alice")


@pytest.mark.parametrize("phase", ["starting", "running", "ending", "ended"])
def test_an_abort_in_every_phase_leads_to_one_end(phase: str) -> None:
    story = Story()
    if phase != "starting":
        story.begin()
        story.step()
    if phase in ("ending", "ended"):
        story.finish()
    if phase == "ended":
        story.die(how="")
    story.on(ev.AbortAsked("by alice", 5.0))
    if phase != "ended":
        story.die()

    ends = [record for record in story.records if isinstance(record, RunFinished)]
    assert [end.status for end in ends] == [Status.COMPLETED if phase in ("ending", "ended") else Status.ABORTED]
    assert story.run.phase is Phase.ENDED


def test_an_abort_reaches_the_job_process_and_the_sites_at_once(story: Story) -> None:
    story.on(ev.AbortAsked("by alice", 5.0))

    assert story.sent == [(site, AbortRun("r", "by alice")) for site in SITES]
    assert story.actions[-1] == ev.StopJob("by alice", grace_seconds=2.0)


def test_once_the_outcome_is_known_no_step_is_opened_closed_or_added_to(story: Story) -> None:
    story.offer("site-1")
    story.on(ev.AbortAsked("by alice", 5.0))

    assert story.step(1) == story.commit() == story.arrive("site-1") == story.offer("site-2") == []
    assert story.on(ev.SiteCannot("site-2", BOOM, 9.0)) == story.on(ev.DeadlinePassed("train 0 site-2", BOOM, 9.0)) == []


def test_a_site_that_comes_back_after_the_end_hears_of_it(story: Story) -> None:
    story.on(ev.SiteDown("site-2"))
    story.on(ev.AbortAsked("by alice", 5.0))
    story.die()

    story.on(ev.SiteUp("site-2", working=("train 0 site-2",)))

    assert story.sent == [("site-2", RunEnded("r", Status.ABORTED))]
