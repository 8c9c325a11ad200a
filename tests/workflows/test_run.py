"""The Run that a workflow holds: ids, order, waiting, and what is refused, with a supervisor that does what a test says."""

from __future__ import annotations

import hashlib
import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from sundog.components.seeding import generators_lent, seed_generators
from sundog.kernel.context import Context, Panic, RunAborted
from sundog.kernel.errors import Failure, RemoteError
from sundog.kernel.messages import ScatterEnd, StepMetrics
from sundog.kernel.observers import Observers
from sundog.kernel.roles import Filter
from sundog.kernel.shareable import Kind, Shareable
from sundog.kernel.tasks import Result, Task
from sundog.workflows.calls import BehindCommit, OutsideSteps, RepeatDiffers, SiteNotInRun
from sundog.workflows.filtering import Filters
from sundog.workflows.policy import PolicyFailed, SitesPolicy
from sundog.workflows.run import JobRun
from sundog.workflows.supervision import LeftOpen, StepRequest, StepResult, WorkflowEnd

MODEL = Shareable(Kind.WEIGHTS, {"w": np.zeros(2)})
SITES = ("a", "b", "c")
BOOM = Failure("SD-4090", "ValueError: boom", "train.py:3", site="b")


def weights(value: float, **meta: Any) -> Shareable:
    return Shareable(Kind.WEIGHTS, {"w": np.full(2, value)}, meta)


@dataclass
class Desk:
    """A supervisor: `pump` does the next thing of its list; with none left, the clock goes on."""

    things: deque[Callable[[], object]] = field(default_factory=deque)
    requests: list[StepRequest] = field(default_factory=list)
    closed: list[StepResult] = field(default_factory=list)
    rejected: list[tuple[str, str]] = field(default_factory=list)
    waits: list[float | None] = field(default_factory=list)
    clock: float = 100.0
    over: list[WorkflowEnd] = field(default_factory=list)
    ended: dict[int, ScatterEnd] = field(default_factory=dict)
    """Number of the request → how its tasks ended for a process before."""
    known: dict[int, list[Callable[[], object]]] = field(default_factory=dict)
    """Number of the request → what arrives before it is answered."""

    def open_step(self, request: StepRequest) -> ScatterEnd | None:
        self.requests.append(request)
        for act in self.known.pop(len(self.requests) - 1, ()):
            act()
        return self.ended.get(len(self.requests) - 1)

    def end_workflow(self, end: WorkflowEnd) -> None:
        self.over.append(end)

    def reject(self, task_id: str, reason: str) -> None:
        self.rejected.append((task_id, reason))

    def commit(self, result: StepResult) -> Shareable | None:
        self.closed.append(result)
        return result.state

    def seed(self, seed: int) -> None:
        seed_generators(seed)

    def pump(self, timeout_seconds: float | None) -> None:
        self.waits.append(timeout_seconds)
        if self.things:
            self.things.popleft()()
            return
        assert timeout_seconds is not None, "would wait for ever"
        self.clock += timeout_seconds

    def now(self) -> float:
        return self.clock


class Federation:
    """A JobRun over a desk."""

    def __init__(self, filters: Filters | None = None, closed: int = -1, state: Shareable | None = None) -> None:
        self.desk = Desk()
        self.context = Context(run_id="r", site="server", seed=7, events=Observers().events)
        self.run = JobRun(self.desk, self.context, SITES, filters or Filters())
        self.run.enter("w", closed, state)

    def will_answer(self, site: str, answer: Shareable | Failure | None = None, shared: Mapping[str, Any] | None = None) -> None:
        """The site answers its newest task when the workflow waits."""

        def arrive() -> None:
            request = self.desk.requests[-1]
            task_id = request.ids[request.sites.index(site)]
            self.run.on_result(task_id, site, weights(1) if answer is None else answer, shared or {})

        self.desk.things.append(arrive)

    def will(self, act: Callable[[], object]) -> None:
        self.desk.things.append(act)

    def scatter(self, **arguments: Any) -> list[Result]:
        return list(self.run.scatter(Task("train", MODEL), **arguments))


# --- steps and ids ---


def called(*parts: object) -> str:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:16]


def test_a_task_is_called_by_its_place_in_the_program() -> None:
    """PROTOCOL §2: sha256(run, workflow, step, task, site, n, attempt)[:16]."""
    federation = Federation()
    for site in SITES * 2:
        federation.will_answer(site)

    next(iter(federation.run.steps(1)))
    federation.scatter()
    federation.scatter()

    first, second = federation.desk.requests
    assert first.ids[0] == called("r", "w", 0, "train", "a", 1, 1)
    assert second.ids[0] == called("r", "w", 0, "train", "a", 2, 1)
    assert len({*first.ids, *second.ids}) == 6


def ids_of(closed: int) -> list[tuple[int, tuple[str, ...]]]:
    federation = Federation(closed=closed)
    for _ in federation.run.steps(4):
        for site in SITES:
            federation.will_answer(site)
        federation.scatter()
        federation.run.commit(weights(2))
    return [(request.step, request.ids) for request in federation.desk.requests]


def test_a_run_that_goes_on_after_a_commit_asks_for_the_same_tasks_as_one_that_never_died() -> None:
    whole = ids_of(closed=-1)

    assert [step for step, _ in whole] == [0, 1, 2, 3]
    assert ids_of(closed=1) == whole[2:]
    assert ids_of(closed=3) == []


def drawn(closed: int) -> list[float]:
    federation, numbers = Federation(closed=closed), []
    for step in federation.run.steps(3):
        numbers += federation.run.rng.random(step + 1).tolist()
        federation.run.commit()
    return numbers


def test_the_generator_of_a_step_does_not_depend_on_the_steps_before() -> None:
    assert drawn(closed=1) == drawn(closed=-1)[3:]


def dice() -> float:
    """The next number of each generator that other people's code draws from."""
    return random.random() + 10 * float(np.random.normal()) + 100 * torch.rand(1).item()  # noqa: NPY002


def rolled(federation: Federation) -> dict[str, float]:
    """What a workflow draws at each place of its loop; an observer of the end of a step draws, too."""
    numbers = {"before": dice()}
    for step in federation.run.steps(3):
        numbers[f"in {step}"] = dice()
        federation.run.commit()
        numbers[f"behind {step}"] = dice()
    numbers["after all"] = dice()
    return numbers


def test_the_global_generators_give_a_step_and_what_follows_the_last_one_the_same_numbers_after_a_restart() -> None:
    """DESIGN §7: they were seeded once a workflow, so that a restart gave server-side code other dice."""
    whole = rolled(Federation())

    assert len(set(whole.values())) == len(whole)
    for closed in (0, 1, 2):
        rest = rolled(Federation(closed=closed))
        assert {place: whole[place] for place in rest if place != "before"} == {place: rest[place] for place in rest if place != "before"}


def test_what_a_workflow_draws_before_its_first_step_is_the_same_after_a_restart() -> None:
    first = Federation()
    drawn = (first.run.rng.random(), dice())

    again = Federation(closed=1)

    assert (again.run.rng.random(), dice()) == drawn


def test_no_step_follows_one_that_was_committed_as_the_last_also_after_a_restart() -> None:
    federation = Federation()
    for step in federation.run.steps(9):
        federation.run.commit(weights(step), last=step == 2)

    assert [(one.step, one.is_last) for one in federation.desk.closed] == [(0, False), (1, False), (2, True)]
    federation.run.enter("w", 2, weights(2), is_over=True)
    assert list(federation.run.steps(9)) == []


def test_the_state_is_the_last_one_that_was_committed() -> None:
    federation = Federation(closed=0, state=weights(5))
    assert federation.run.state == weights(5)

    federation.run.commit()
    assert federation.run.state == weights(5)
    federation.run.commit(weights(6))

    assert federation.run.state == weights(6)
    assert [result.step for result in federation.desk.closed] == [1, 2]


def test_a_commit_names_who_was_used_and_each_sites_numbers() -> None:
    federation = Federation()
    for site in SITES:
        federation.will_answer(site, weights(1, metrics={"loss": 0.5}) if site == "a" else None)
    federation.scatter()

    federation.run.commit(weights(2), {"accuracy": np.float64(0.5)})

    (result,) = federation.desk.closed
    assert result.used == federation.desk.requests[0].ids
    assert result.metrics.own == {"accuracy": 0.5}
    assert result.metrics.sites == {"a": {"loss": 0.5}}


def test_a_commit_has_what_components_noted_since_the_one_before() -> None:
    federation = Federation()
    call = federation.context.for_call(task="train", seed=0)
    for text in ("a", "b", "a"):
        call.note(text)

    federation.run.commit()
    federation.context.note("c")
    federation.run.commit()
    federation.run.commit()

    assert [result.notes for result in federation.desk.closed] == [("a", "b"), ("c",), ()]


# --- scatter waits ---


@pytest.mark.parametrize("order", ["abc", "cba", "bca"])
def test_results_come_in_name_order_whatever_the_order_of_arrival(order: str) -> None:
    federation = Federation()
    for site in order:
        federation.will_answer(site)

    assert [result.site for result in federation.scatter()] == ["a", "b", "c"]


def test_a_policy_that_is_content_waits_out_the_grace_period_and_no_longer() -> None:
    federation = Federation()
    federation.will_answer("c")
    federation.will(lambda: setattr(federation.desk, "clock", federation.desk.clock + 4))

    results = federation.scatter(policy=SitesPolicy(1, grace_seconds=10))

    assert [result.site for result in results] == ["c"]
    assert federation.desk.waits == [None, 10, 6]
    assert federation.desk.clock == 110


def test_who_answers_within_the_grace_period_counts_and_the_last_one_ends_it() -> None:
    federation = Federation()
    for site in "cab":
        federation.will_answer(site)

    results = federation.scatter(policy=SitesPolicy(1, grace_seconds=10))

    assert [result.site for result in results] == ["a", "b", "c"]
    assert federation.desk.clock == 100


def test_a_failure_that_the_policy_cannot_do_without_is_named_first() -> None:
    federation = Federation()
    federation.will_answer("a")
    federation.will_answer("b", BOOM)

    with pytest.raises(PolicyFailed, match=r"b failed: .*boom; c has not answered; task 'train' has 1 of 3 results") as caught:
        federation.scatter()

    assert caught.value.failure() == BOOM


def test_a_policy_may_go_on_without_who_fails_or_is_gone() -> None:
    federation = Federation()
    federation.will_answer("b", BOOM)
    federation.will(lambda: federation.run.on_site_gone("c", Failure("SD-4105", "silent")))
    federation.will_answer("a")

    assert [result.site for result in federation.scatter(policy=SitesPolicy("all", on_missing="continue"))] == ["a"]


def test_a_site_that_comes_back_while_others_are_waited_for_is_waited_for_too() -> None:
    federation = Federation()
    federation.run.on_site_gone("c", Failure("SD-4105", "silent"))
    for act in (lambda: federation.run.on_site_back("c"), lambda: None):
        federation.will(act)
    for site in SITES:
        federation.will_answer(site)

    results = federation.scatter(policy=SitesPolicy(["a", "c"], on_missing="continue"))

    assert [result.site for result in results] == ["a", "b", "c"]


def test_a_site_that_is_gone_before_the_step_begins_is_not_waited_for() -> None:
    federation = Federation()
    federation.run.on_site_gone("c", Failure("SD-4105", "silent", site="c"))

    with pytest.raises(PolicyFailed, match="c gone: silent"):
        federation.scatter()


def test_a_late_result_is_not_used() -> None:
    federation = Federation()
    federation.will_answer("a")
    federation.scatter(policy=SitesPolicy(1, grace_seconds=0))
    late = federation.desk.requests[0].ids[1]

    federation.run.on_result(late, "b", weights(1), {})
    federation.run.commit()

    (result,) = federation.desk.closed
    assert (result.used, result.still_open) == (federation.desk.requests[0].ids[:1], {})


def test_an_abort_ends_the_waiting() -> None:
    federation = Federation()
    federation.will(lambda: federation.context.abort.set("by alice"))

    with pytest.raises(RunAborted, match="by alice"):
        federation.scatter()


# --- send and wait ---


def test_tasks_that_are_sent_are_waited_for_one_by_one_in_any_order() -> None:
    federation = Federation()
    first = federation.run.send(Task("train", MODEL), "a")
    second = federation.run.send(Task("train", MODEL), "b")
    federation.will(lambda: federation.run.on_result(first, "a", weights(1), {}))
    federation.will(lambda: federation.run.on_result(second, "b", weights(2), {}))

    assert federation.run.wait(second).shareable == weights(2)
    assert federation.run.wait(first).shareable == weights(1)
    federation.run.commit()
    assert set(federation.desk.closed[0].used) == {first, second}


def test_waiting_for_a_site_that_fails_says_so() -> None:
    federation = Federation()
    task_id = federation.run.send(Task("train", MODEL), "b")
    federation.will(lambda: federation.run.on_result(task_id, "b", BOOM, {}))

    with pytest.raises(PolicyFailed, match="boom"):
        federation.run.wait(task_id)


def test_a_task_that_is_not_waited_for_stays_open_over_commits_until_it_is() -> None:
    federation = Federation()
    task_id = federation.run.send(Task("train", MODEL), "b")
    federation.run.commit()
    assert federation.desk.closed[0].still_open == {task_id: "sent"}
    assert [(task.id, task.site, task.step) for task in federation.run.open_tasks] == [(task_id, "b", 0)]
    next(iter(federation.run.steps(2)))

    federation.run.on_result(task_id, "b", weights(3), {}, 1)
    result = federation.run.wait(task_id)
    federation.run.commit()

    assert (result.site, result.step, result.shareable) == ("b", 0, weights(3))
    assert (federation.desk.closed[1].used, federation.desk.closed[1].still_open) == ((task_id,), {})
    with pytest.raises(ValueError, match="wanted a task that was sent"):
        federation.run.wait(task_id)


def test_the_next_result_is_that_which_the_journal_has_first() -> None:
    federation = Federation()
    first, second = (federation.run.send(Task("train", MODEL), site) for site in ("a", "b"))
    federation.run.on_result(second, "b", weights(2), {}, 8)
    federation.run.on_result(first, "a", weights(1), {}, 5)

    assert [federation.run.next_result().site for _ in range(2)] == ["a", "b"]
    assert federation.run.open_tasks == ()
    with pytest.raises(ValueError, match="wanted at least one task"):
        federation.run.next_result()


def test_a_failure_is_a_next_result_too_and_names_its_site() -> None:
    federation = Federation()
    failed = federation.run.send(Task("train", MODEL), "b")
    federation.run.send(Task("train", MODEL), "a")
    federation.will(lambda: federation.run.on_result(failed, "b", BOOM, {}, 1))

    with pytest.raises(PolicyFailed, match="boom") as caught:
        federation.run.next_result()

    assert caught.value.responses.invited == ("b",)
    assert [task.site for task in federation.run.open_tasks] == ["a"]


def test_when_every_site_with_an_open_task_is_gone_the_next_result_is_waited_for_no_longer_than_the_grace() -> None:
    federation = Federation()
    federation.run.send(Task("train", MODEL), "b")
    federation.run.on_site_gone("b", Failure("SD-4105", "silent", site="b"))

    with pytest.raises(PolicyFailed, match="b gone: silent"):
        federation.run.next_result()

    assert federation.desk.clock == 160


def test_a_process_that_goes_on_has_the_tasks_that_were_left_open_and_their_results_in_order() -> None:
    left = [LeftOpen("t-b", "b", "train", 3, None, "sent"), LeftOpen("t-a", "a", "train", 4, 5.0, "sent")]
    desk = Desk()
    run = JobRun(desk, Context(run_id="r", site="server"), SITES, Filters(), {"w": left})
    run.on_result("t-a", "a", weights(1), {}, 2)  # before the workflow is entered
    run.on_result("t-b", "b", weights(2), {}, 1)

    run.enter("w", 4, None)

    assert [(task.id, task.step, task.deadline_seconds) for task in run.open_tasks] == [("t-b", 3, None), ("t-a", 4, 5.0)]
    assert [run.next_result().task_id for _ in SITES[:2]] == ["t-b", "t-a"]


def test_when_a_workflow_has_ended_its_open_tasks_are_dropped() -> None:
    federation = Federation()
    task_id = federation.run.send(Task("train", MODEL), "b")
    federation.run.commit()

    federation.run.leave()

    assert federation.desk.over[0].still_open == {task_id: "sent"}
    assert federation.run.open_tasks == ()


# --- late results ---

EAGER = SitesPolicy(1, grace_seconds=0, late="next_step")


def test_a_result_that_comes_too_late_is_used_in_the_next_step_behind_its_own_results() -> None:
    federation = Federation()
    for step in federation.run.steps(2):
        federation.will_answer("a", weights(step))
        results = federation.scatter(policy=EAGER)
        federation.run.commit()
        if step == 0:
            late = federation.desk.requests[0].ids[1]
            federation.run.on_result(late, "b", weights(7), {}, 3)

    first, second = federation.desk.closed
    assert first.still_open == dict.fromkeys(federation.desk.requests[0].ids[1:], "late")
    assert [(result.site, result.step) for result in results] == [("a", 1), ("b", 0)]
    assert second.used == (federation.desk.requests[1].ids[0], late)
    assert late not in second.still_open


def test_late_results_come_in_the_order_of_the_journal_and_rejected_ones_are_left_out() -> None:
    federation = Federation()
    federation.will_answer("a")
    federation.scatter(policy=EAGER)
    federation.run.commit()
    ids = federation.desk.requests[0].ids
    federation.run.on_result(ids[2], "c", weights(3), {}, 4)
    federation.run.on_result(ids[1], "b", weights(2), {}, 5)
    federation.will_answer("a")

    def check(result: Result) -> None:
        if result.site == "b":
            raise ValueError("not b")

    assert [result.site for result in federation.scatter(policy=EAGER, check=check)] == ["a", "c"]
    assert federation.desk.rejected == [(ids[1], "ValueError: not b")]


def test_a_late_task_that_nobody_answered_is_missing_when_the_workflow_ends() -> None:
    federation = Federation()
    federation.will_answer("a")
    federation.scatter(policy=EAGER)
    federation.run.commit()

    federation.run.leave()

    assert federation.desk.over[0].still_open == dict.fromkeys(federation.desk.requests[0].ids[1:], "late")


# --- repeated after a death ---


def test_single_results_are_used_again_in_the_order_in_which_they_were_whoever_is_back() -> None:
    """b was gone when its turn came; now it is back, and both results are here."""
    federation = Federation()
    first, second = (called("r", "w", 0, "train", site, 1, 1) for site in ("a", "b"))
    federation.desk.ended = {
        0: ScatterEnd([first], [first], [], place=1),
        1: ScatterEnd([second], [], [("b", "gone: silent")], is_failed=True, place=2),
    }
    for site in ("a", "b"):
        federation.run.send(Task("train", MODEL), site)
    federation.run.on_result(second, "b", weights(2), {}, 1)
    federation.run.on_result(first, "a", weights(1), {}, 2)

    assert federation.run.next_result().site == "a"
    with pytest.raises(PolicyFailed, match="b gone: silent"):
        federation.run.next_result()


def test_a_task_left_open_that_had_ended_in_this_step_ends_so_again() -> None:
    end = ScatterEnd(["t-b"], [], [("b", "gone: silent")], is_failed=True, place=1)
    run = JobRun(
        Desk(), Context(run_id="r", site="server"), SITES, Filters(), {"w": [LeftOpen("t-b", "b", "train", 3, None, "sent", 1, end)]}
    )
    run.on_result("t-b", "b", weights(2), {}, 1)
    run.enter("w", 4, None)

    with pytest.raises(PolicyFailed, match="b gone: silent"):
        run.next_result()


def test_a_site_that_was_gone_before_its_workflow_is_entered_is_gone_there_too() -> None:
    desk = Desk()
    run = JobRun(desk, Context(run_id="r", site="server"), SITES, Filters(), {"w": [LeftOpen("t-b", "b", "train", 3, None, "sent")]})
    run.on_site_gone("b", Failure("SD-4105", "silent", site="b"))
    run.enter("w", 4, None)

    with pytest.raises(PolicyFailed, match="b gone: silent"):
        run.next_result()
    assert desk.clock == 160


def test_a_result_that_a_scatter_had_ended_without_is_late_again() -> None:
    """It came between the end of the scatter and the death; the next step uses it, as it would have, and no scatter before that."""
    federation = Federation()
    ids = [called("r", "w", 0, "train", site, 1, 1) for site in SITES]
    federation.desk.ended = {0: ScatterEnd(ids, ids[:1], [], place=1)}
    federation.desk.known = {
        0: [partial(federation.run.on_result, task_id, site, weights(7), {}, 1) for task_id, site in zip(ids[:2], SITES[:2], strict=True)]
    }
    assert [result.site for result in federation.scatter(policy=EAGER)] == ["a"]
    federation.will_answer("c")
    assert [result.site for result in federation.scatter(policy=EAGER)] == ["c"]
    federation.run.commit()
    federation.will_answer("c")

    assert [(result.site, result.task_id == ids[1]) for result in federation.scatter(policy=EAGER)] == [("c", False), ("b", True)]


def test_a_result_that_does_not_count_in_a_repeated_scatter_passes_no_filter() -> None:
    seen: list[str] = []
    federation = ended_as(0, [1])

    assert [result.site for result in federation.scatter(check=lambda result: seen.append(result.site))] == ["b"]
    assert seen == ["b"]


def test_results_of_a_scatter_that_failed_are_not_used() -> None:
    federation = Federation()
    federation.will_answer("a", weights(1, metrics={"loss": 1.0}))
    federation.will_answer("b", BOOM)
    with pytest.raises(PolicyFailed):
        federation.scatter()

    federation.run.commit()

    (closed,) = federation.desk.closed
    assert (closed.used, closed.unused, closed.metrics.sites) == ((), federation.desk.requests[0].ids, {})


def test_the_end_of_a_workflow_names_what_it_used_behind_its_last_commit() -> None:
    federation = Federation()
    federation.run.commit()
    for site in SITES:
        federation.will_answer(site, weights(1, metrics={"loss": 0.5}))
    federation.scatter()
    federation.run.context.note("no commit follows")

    federation.run.leave()

    numbers = StepMetrics({"loss": 0.5}, {site: {"loss": 0.5} for site in SITES})
    assert federation.desk.over == [WorkflowEnd("w", None, federation.desk.requests[0].ids, {}, numbers, ("no commit follows",))]


def test_a_commit_names_what_was_used_in_the_steps_without_one_before_it() -> None:
    federation = Federation()
    for step in federation.run.steps(4):
        for site in SITES[: step + 1]:
            federation.will_answer(site, weights(step))
        federation.scatter(policy=SitesPolicy(step + 1, grace_seconds=0)) if step < 3 else None
        if step in (1, 3):
            federation.run.commit()

    first, second = federation.desk.closed
    ids = [request.ids for request in federation.desk.requests]
    assert (first.step, first.used) == (1, (*ids[0][:1], *ids[1][:2]))
    assert (second.step, second.used) == (3, ids[2])


def test_how_scatters_ended_in_steps_without_a_commit_is_said_with_the_next_tasks_in_one_sequence() -> None:
    federation = Federation()
    for _ in federation.run.steps(3):
        for site in SITES:
            federation.will_answer(site)
        federation.scatter()

    ended = [[(end.place, end.tasks) for end in request.ended] for request in federation.desk.requests]
    ids = [list(request.ids) for request in federation.desk.requests]
    assert ended == [[], [(1, ids[0])], [(2, ids[1])]]


def test_a_step_that_is_opened_twice_numbers_its_tasks_on() -> None:
    """Two loops over the same steps, without a commit: the second one's tasks are others."""
    federation = Federation()
    for _ in range(2):
        for _step in federation.run.steps(1):
            for site in SITES:
                federation.will_answer(site)
            federation.scatter()

    first, second = federation.desk.requests
    assert (first.step, second.step, second.nth) == (0, 0, (2, 2, 2))
    assert set(first.ids).isdisjoint(second.ids)


@pytest.mark.parametrize("act", [lambda run: run.send(Task("train", MODEL), "a"), lambda run: run.commit()])
def test_nothing_comes_behind_the_commit_of_a_turn(act: Callable[[JobRun], object]) -> None:
    """After a crash the turn does not run again, so it would be left out."""
    federation = Federation()
    for _ in federation.run.steps(2):
        federation.run.commit()
        with pytest.raises(BehindCommit, match=r"behind run\.commit in one turn of run\.steps"):
            act(federation.run)


def test_a_workflow_that_asks_for_steps_opens_none_outside_of_them() -> None:
    """After a crash it would be another step that is opened there, or the same one twice."""
    federation = Federation()
    federation.run.send(Task("train", MODEL), "a")
    with pytest.raises(OutsideSteps, match=r"before run\.steps"):
        next(iter(federation.run.steps(2)))

    federation = Federation()
    for _ in federation.run.steps(2):
        federation.run.commit()
    federation.run.send(Task("validate", MODEL), "a")  # without a commit it is done again
    with pytest.raises(OutsideSteps, match="behind the loop"):
        federation.run.commit()


def test_the_commit_behind_a_break_closes_the_step_of_the_loop() -> None:
    federation = Federation()
    for _ in federation.run.steps(2):
        federation.run.send(Task("train", MODEL), "a")
        break

    federation.run.commit()

    assert [(closed.step, closed.is_last) for closed in federation.desk.closed] == [(0, False)]


@pytest.mark.parametrize("closed", [None, 2, 6])
def test_a_last_commit_ends_its_own_loop_and_no_later_one(closed: int | None) -> None:
    """Also in a process that begins behind it, or behind the later loop's."""
    federation = Federation()
    if closed is not None:
        federation.run.enter("w", closed, None, is_over=closed == 2)
    for step in federation.run.steps(6):
        federation.run.commit(last=step == 2)
    for _ in federation.run.steps(1, start=6):
        federation.run.commit()

    assert [result.step for result in federation.desk.closed] == [
        step for step in (0, 1, 2, 6) if step > (-1 if closed is None else closed)
    ]


@pytest.mark.parametrize("seconds", ["5", 0, -1, float("inf"), float("nan")])
def test_a_deadline_is_a_number_of_seconds(seconds: Any) -> None:
    with pytest.raises(ValueError, match="wanted deadline_seconds above 0, or None"):
        Task("train", deadline_seconds=seconds)


def test_a_result_that_was_rejected_stays_rejected_whatever_the_check_says_now() -> None:
    federation = Federation()
    for number, site in enumerate(SITES, 1):
        task_id = called("r", "w", 0, "train", site, 1, 1)
        arrival = partial(federation.run.on_result, task_id, site, weights(1), {}, number, "not like the others" if site == "b" else "")
        federation.will(arrival)

    results = federation.scatter(policy=SitesPolicy(2, on_missing="continue", grace_seconds=0), check=lambda _: None)

    assert [result.site for result in results] == ["a", "c"]
    assert federation.desk.rejected == [(called("r", "w", 0, "train", "b", 1, 1), "not like the others")]


def test_a_repeated_scatter_whose_result_cannot_be_read_any_more_ends_with_an_error() -> None:
    federation = ended_as(0, [0, 1])
    federation.desk.known[0][1] = partial(federation.run.on_unreadable, called("r", "w", 0, "train", "b", 1, 1), BOOM)

    with pytest.raises(RepeatDiffers, match="boom"):
        federation.scatter()


def test_tasks_that_could_not_be_opened_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    federation = Federation()
    with monkeypatch.context() as patch:
        patch.setattr(federation.desk, "open_step", lambda _: (_ for _ in ()).throw(OverflowError("too large")))
        with pytest.raises(OverflowError):
            federation.run.send(Task("train", MODEL), "a")

    with pytest.raises(ValueError, match="at least one task that was sent"):
        federation.run.next_result()


def test_what_is_not_a_task_is_refused_where_it_is_sent() -> None:
    federation = Federation()

    with pytest.raises(TypeError, match="a task of the run: wanted a Task, got a str: 'train'"):
        federation.run.scatter("train")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"run\.commit: wanted a Shareable or None, got a dict"):
        federation.run.commit({"w": 1})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="sites: wanted a list of names, got a str"):
        federation.run.scatter(Task("train"), sites="site-1")
    with pytest.raises(ValueError, match="wanted a task name of 1 to 256 characters, got 300: xxx"):
        Task("x" * 300)


def test_two_tasks_of_one_name_in_a_step_have_seeds_of_their_own() -> None:
    """Noise that is added to both must not be the same."""
    drawn: list[float] = []

    class Noise(Filter):
        def process(self, shareable: Shareable, ctx: Context) -> Shareable:
            drawn.append(ctx.rng.random())
            return shareable

    federation = Federation(Filters(results={"train": [Noise()]}))
    for site in ("a", "a"):
        federation.will_answer(site)
        federation.scatter(sites=["a"])

    assert len(set(drawn)) == 2
    assert [request.nth for request in federation.desk.requests] == [(1,), (2,)]


def ended_as(number: int, results: list[int], lost: dict[str, str] | None = None, *, is_failed: bool = False) -> Federation:
    """A run whose first scatter had ended with the results at these places of its sites."""
    federation, ids = Federation(), []
    for site in SITES:
        federation.run._since.numbers[0, "train", site] += 1
        ids.append(called("r", "w", 0, "train", site, 1, 1))
    federation.run._since.numbers.clear()
    end = ScatterEnd(ids, [ids[place] for place in results], sorted((lost or {}).items()), is_failed)
    federation.desk.ended[number] = end
    federation.desk.known[number] = [
        partial(federation.run.on_result, task_id, site, weights(1), {}) for task_id, site in zip(ids, SITES, strict=True)
    ]
    return federation


def test_a_repeated_scatter_ends_with_the_results_that_ended_it_whatever_else_is_here() -> None:
    federation = ended_as(0, [1])

    assert [result.site for result in federation.scatter()] == ["b"]


def test_a_repeated_scatter_waits_for_what_it_had() -> None:
    federation = ended_as(0, [0, 2])
    arrivals = federation.desk.known.pop(0)
    for arrival in reversed(arrivals):
        federation.will(arrival)

    assert [result.site for result in federation.scatter(policy=SitesPolicy(1, grace_seconds=0))] == ["a", "c"]


def test_a_repeated_scatter_that_failed_fails_again_although_the_sites_are_back() -> None:
    federation = ended_as(0, [0, 2], {"b": "gone: silent"}, is_failed=True)

    with pytest.raises(PolicyFailed, match="b gone: silent"):
        federation.scatter()


def test_how_a_scatter_ended_is_said_with_the_next_tasks_and_not_again() -> None:
    federation = Federation()
    for site in ("b", "a", "c"):
        federation.will_answer(site, BOOM if site == "b" else None)
    federation.scatter(policy=SitesPolicy(2, grace_seconds=0))
    federation.run.send(Task("train", MODEL), "a")
    federation.run.send(Task("train", MODEL), "b")

    first, second, third = federation.desk.requests
    (end,) = second.ended
    assert (end.tasks, end.results) == (list(first.ids), [first.ids[0], first.ids[2]])
    assert [site for site, _ in end.lost] == ["b"]
    assert (first.ended, third.ended) == ((), ())


def test_a_result_that_was_used_and_is_rejected_now_is_an_error_with_a_code() -> None:
    federation = ended_as(0, [0, 1, 2])

    def check(result: Result) -> None:
        if result.site == "b":
            raise ValueError("not this time")

    with pytest.raises(RepeatDiffers, match="not this time"):
        federation.scatter(check=check)


def test_a_filter_with_a_state_sees_results_in_site_name_order_whatever_came_first() -> None:
    seen: list[float] = []

    class Summing(Filter):
        def process(self, shareable: Shareable, ctx: Context) -> Shareable:
            seen.append(float(shareable.tensors["w"][0]))
            return shareable

        def state(self) -> Shareable | None:
            return None

        def restore(self, state: Shareable) -> None: ...

    federation = Federation(Filters(results={"train": [Summing()]}))
    for number, site in ((3, "c"), (1, "a"), (2, "b")):
        federation.will_answer(site, weights(number))

    assert len(federation.scatter()) == 3
    assert seen == [1, 2, 3]


def test_a_site_that_has_no_part_in_the_run_is_not_waited_for_ever() -> None:
    with pytest.raises(SiteNotInRun, match="task 'train': wanted sites of the run, got 'd'"):
        Federation().scatter(sites=["a", "d"])


# --- filters and checks ---


class Probe(Filter):
    def __init__(self, act: Callable[[Shareable, Context], Shareable]) -> None:
        self.act = act

    def process(self, shareable: Shareable, ctx: Context) -> Shareable:
        return self.act(shareable, ctx)


def panicking(shareable: Shareable, ctx: Context) -> Shareable:
    ctx.panic("x")
    return shareable


def refusing(shareable: Shareable, ctx: Context) -> Shareable:
    if ctx.site == "server" and shareable.tensors["w"][0] == 2:
        raise ValueError("two is too much")
    return shareable


def test_a_result_that_a_filter_or_a_check_refuses_is_rejected_and_its_site_lost() -> None:
    federation = Federation(Filters(results={"train": [Probe(refusing)]}))
    federation.will_answer("b", weights(2))
    federation.will_answer("c", weights(3))
    federation.will_answer("a")

    def check(result: Result) -> None:
        if result.site == "c":
            raise ValueError("not from c")

    results = federation.scatter(policy=SitesPolicy("all", on_missing="continue"), check=check)

    ids = federation.desk.requests[0].ids
    assert [result.site for result in results] == ["a"]
    assert federation.desk.rejected == [(ids[1], "ValueError: two is too much"), (ids[2], "ValueError: not from c")]


def noisy(shareable: Shareable, ctx: Context) -> Shareable:
    return weights(dice() + ctx.rng.random())


@pytest.mark.parametrize("order", ["abc", "cba"])
def test_a_filter_with_dice_does_the_same_whatever_the_order_of_arrival(order: str) -> None:
    """And whatever other sites answered, and whatever the workflow drew before."""
    federation = Federation(Filters({"*": [Probe(noisy)]}, {"*": [Probe(noisy)]}, lend=generators_lent))
    for site in order:
        federation.will_answer(site)

    results = federation.scatter()

    alone = Federation(Filters(results={"*": [Probe(noisy)]}, lend=generators_lent))
    alone.will_answer("b")
    dice()
    (second,) = alone.run.scatter(Task("train", MODEL), ["b"])
    assert results[1].shareable == second.shareable
    sent = [model.tensors["w"][0] for model in federation.desk.requests[0].models if model is not None]
    assert len({*sent, *(result.shareable.tensors["w"][0] for result in results)}) == 6


def test_the_workflows_own_numbers_go_on_behind_a_filter_call_as_if_it_had_not_been() -> None:
    def drawn_around(filters: Filters) -> list[float]:
        federation = Federation(filters)
        for site in SITES:
            federation.will_answer(site)
        before = [dice(), dice(), dice()]
        federation.scatter()
        return [*before, dice(), federation.run.rng.random()]

    filtered = drawn_around(Filters({"*": [Probe(noisy)]}, {"*": [Probe(noisy)]}, lend=generators_lent))

    assert filtered[3] == drawn_around(Filters())[3]


class Numbering(Filter):
    """Stateful: what it does to a result depends on those before."""

    def __init__(self) -> None:
        self.count = 0

    def process(self, shareable: Shareable, ctx: Context) -> Shareable:
        self.count += 1
        if shareable.meta.get("bad"):
            raise ValueError("bad")
        return shareable.replace(meta={"number": self.count})

    def state(self) -> Shareable | None:
        return Shareable(Kind.METRICS, meta={"count": self.count})

    def restore(self, state: Shareable) -> None:
        self.count = state.meta["count"]


@pytest.mark.parametrize("order", ["abc", "cba", "bca"])
def test_a_filter_with_a_state_gets_results_in_name_order(order: str) -> None:
    federation = Federation(Filters(results={"train": [Numbering()]}))
    for site in order:
        federation.will_answer(site)

    assert [(result.site, result.shareable.meta["number"]) for result in federation.scatter()] == [("a", 1), ("b", 2), ("c", 3)]


def test_what_a_filter_with_a_state_refuses_goes_back_to_the_policy_which_may_wait_for_another() -> None:
    federation = Federation(Filters(results={"train": [Numbering()]}))
    federation.will_answer("b", weights(1, bad=True))
    federation.will_answer("a", weights(1, bad=True))
    federation.will_answer("a")  # a repetition, which counts for nothing
    federation.will_answer("c")

    results = federation.scatter(policy=SitesPolicy(2, grace_seconds=0, on_missing="continue"))

    ids = federation.desk.requests[0].ids
    assert [(result.site, result.shareable.meta["number"]) for result in results] == [("c", 3)]
    assert federation.desk.rejected == [(ids[0], "ValueError: bad"), (ids[1], "ValueError: bad")]


def test_what_cannot_be_read_is_rejected_by_its_sites_name() -> None:
    federation = Federation()
    federation.will(lambda: federation.run.on_unreadable(federation.desk.requests[0].ids[1], Failure("SD-1202", "no tensors", site="b")))

    with pytest.raises(PolicyFailed, match="b rejected: no tensors"):
        federation.scatter()

    assert federation.desk.rejected == [(federation.desk.requests[0].ids[1], "no tensors")]


def test_a_panic_ends_the_job_whatever_the_policy_says() -> None:
    """T146: at a site, in a filter of the server's, in a check."""
    policy = SitesPolicy(1, on_missing="continue")
    at_site, in_filter, in_check = Federation(), Federation(Filters(results={"*": [Probe(panicking)]})), Federation()
    panicked = Failure(Panic.code, "no disk", "train.py:3", site="b")
    at_site.will_answer("b", panicked)
    in_filter.will_answer("a")
    in_check.will_answer("a")

    with pytest.raises(RemoteError) as caught:
        at_site.scatter(policy=policy)
    assert Failure.of(caught.value, site="server") == panicked
    with pytest.raises(Panic, match="x"):
        in_filter.scatter(policy=policy)
    with pytest.raises(Panic, match="y"):
        in_check.scatter(policy=policy, check=lambda _: in_check.context.panic("y"))


def test_each_site_is_sent_what_the_filters_make_of_model_and_shared_values() -> None:
    """T143: ctx.shared travels with the task, also what a filter adds to it."""

    def mark(shareable: Shareable, ctx: Context) -> Shareable:
        ctx.shared.as_dict["marks"] = [*ctx.shared.as_dict["marks"], "server"]
        return shareable.replace(meta={"seen": True})

    federation = Federation(Filters(data={"train": [Probe(mark)]}))
    federation.will_answer("a", shared={"marks": ["a"]})

    (result,) = federation.run.scatter(Task("train", MODEL, {"marks": []}), ["a"])

    (request,) = federation.desk.requests
    assert request.shared == ({"marks": ["server"]},)
    assert request.models[0] is not None
    assert request.models[0].meta == {"seen": True}
    assert result.shared == {"marks": ["a"]}


def test_without_filters_all_sites_share_one_model_and_one_set_of_values() -> None:
    federation = Federation()
    for site in SITES:
        federation.will_answer(site)

    federation.scatter()

    (request,) = federation.desk.requests
    assert {id(model) for model in request.models} == {id(MODEL)}
    assert len({id(shared) for shared in request.shared}) == 1
