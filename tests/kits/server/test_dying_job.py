"""Runs whose job process dies after any record, and what is repeated, judged and committed then.

Programs are seeded; `make campaign` tries more seeds.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import pytest

from sundog.kernel.roles import Policy
from sundog.kernel.tasks import Result, Task
from sundog.kits.protocol.records import ResultRejected, StepClosed, StepOpened, WorkflowEnded
from sundog.workflows.policy import PolicyFailed, SitesPolicy
from sundog.workflows.run import JobRun

from .dying_job import SITES, DyingJob, digest, model, share_of, text_of

POLICIES: dict[str, Policy] = {
    "all": SitesPolicy(),
    "first": SitesPolicy(1, grace_seconds=0, on_missing="continue"),
    "named": SitesPolicy(["site-1"], grace_seconds=0, late="next_step"),
    "late": SitesPolicy(1, grace_seconds=0, on_missing="continue", late="next_step"),
    "grace": SitesPolicy(2, grace_seconds=5, on_missing="continue", late="next_step"),
}
"""The verbs that scatter a task; the others are "send", "next" and "wait"."""
EARLY = ("all", "first", "named", "late")
SINGLE = ("all", "send", "send", "next", "wait")
VERBS = (*EARLY, "grace", *SINGLE)
SEEDS = 6
PAIRS = 6
"""Runs with two deaths, per program and seed."""


class Choosy:
    """A check that depends on the order of results: whether it rejects one depends on all that came before."""

    def __init__(self) -> None:
        self._checked = ""

    def __call__(self, result: Result) -> None:
        self._checked = digest(self._checked, result.task_id)
        if share_of(self._checked) < 0.4:
            raise ValueError("rejected behind those before")


@dataclass(frozen=True)
class Program:
    """A workflow that draws what it does in each step from `run.rng`.

    A task carries a digest of all that was used before it: a step that is not repeated exactly sends another payload.
    """

    verbs: tuple[str, ...] = VERBS
    commit_every: int = 1
    """0: never."""
    last_step: int | None = None
    """The step that is committed as the last one, though `steps` has more."""
    steps: int = 4
    has_tail: bool = False
    """Whether it sends tasks behind its steps."""
    is_checked: bool = False
    is_chaining: bool = False
    is_constant: bool = False
    """Whether all its tasks carry the same model instead."""

    def play(self, run: JobRun, job: DyingJob) -> None:
        text = text_of(run.state)
        for step in run.steps(self.steps):
            text = self._do_some(run, job, text)
            if step == self.last_step:
                run.commit(model(text), last=True)
            elif self.commit_every and step % self.commit_every == self.commit_every - 1:
                run.commit(model(text))
        if self.has_tail:
            self._do_some(run, job, text)

    def _do_some(self, run: JobRun, job: DyingJob, text: str) -> str:
        for _ in range(run.rng.integers(1, 4)):
            verb = self.verbs[run.rng.integers(len(self.verbs))]
            try:
                results = self._do(verb, run, "constant" if self.is_constant else text)
            except PolicyFailed:
                job.use(f"{verb} fails", [])
                text = digest(text, verb)
            else:
                job.use(verb, results)
                text = digest(text, verb, [text_of(result.shareable) for result in results])
        return text

    def _do(self, verb: str, run: JobRun, text: str) -> list[Result]:
        name, number = "train" if run.rng.random() < 0.7 else "evaluate", run.rng.integers(1000)
        if verb in POLICIES:
            return list(run.scatter(Task(name, model(text)), policy=POLICIES[verb], check=Choosy() if self.is_checked else None))
        if verb == "send":
            run.send(Task(name, model(text)), SITES[number % len(SITES)])
        elif run.open_tasks:
            return [run.next_result() if verb == "next" else run.wait(run.open_tasks[number % len(run.open_tasks)].id)]
        return []


PROGRAMS = {
    "commit every step": Program(),
    "commit every 2nd step": Program(commit_every=2, steps=5),
    "commit every 3rd step": Program(commit_every=3, steps=5),
    "never commit": Program(commit_every=0),
    "late results discarded": Program(("all", "first"), commit_every=2),
    "late results used": Program(("late", "named", "grace"), commit_every=2),
    "next_result": Program(("send", "send", "next"), commit_every=2),
    "order-dependent check": Program(("first", "late", "grace", "grace"), commit_every=2, is_checked=True),
    "stateful filter": Program(commit_every=2, is_chaining=True),
    "stateful filter, order-dependent check": Program((*EARLY, "grace"), commit_every=2, is_chaining=True, is_checked=True),
    "tail": Program(commit_every=2, has_tail=True),
    "last step, tail": Program(last_step=1, has_tail=True),
    "constant model": Program(commit_every=3, is_constant=True, is_checked=True, has_tail=True),
}
REPEATABLE = {
    "scatters, commit every step": Program(EARLY),
    "scatters, commit every 2nd step": Program(EARLY, commit_every=2, steps=5),
    "scatters, commit every 3rd step": Program(EARLY, commit_every=3, steps=5),
    "scatters, never commit": Program(EARLY, commit_every=0),
    "single tasks, commit every step": Program(SINGLE),
    "single tasks, commit every 3rd step": Program(SINGLE, commit_every=3, has_tail=True),
    "order-dependent check": Program(("first", "named", "late"), commit_every=2, is_checked=True),
    "stateful filter, scatters": Program(EARLY, commit_every=2, is_chaining=True),
    "stateful filter, single tasks": Program(SINGLE, commit_every=2, is_chaining=True, has_tail=True),
    "last step, tail": Program(EARLY, last_step=1, has_tail=True),
}
"""Programs that always do the same with the same order of results, also where the journal does not have it yet.

Left out are a period of grace, which begins anew in a new process; a wait for a single task behind a scatter that has ended
early, for which the results count that come meanwhile; and a check behind a stateful filter, which gets more results at once.
"""


def seeded(programs: dict[str, Program], count: int) -> list[Any]:
    """Each program with its seeds; those from `count` on are for the campaign."""
    return [
        pytest.param((program, seed), id=f"{name}, seed {seed}", marks=[] if seed < count else pytest.mark.campaign)
        for name, program in programs.items()
        for seed in range(SEEDS)
    ]


def play(program: Program, seed: int, deaths: tuple[int, ...] = (), *, is_steady: bool) -> DyingJob:
    workflows = {"train": program.play, "finish": replace(program, steps=2, last_step=None).play}
    return DyingJob(workflows, seed, deaths=deaths, is_steady=is_steady, is_chaining=program.is_chaining).live()


def play_all(program: Program, seed: int, *, is_steady: bool) -> list[DyingJob]:
    """The undisturbed run, then one with a death after each of its records, and some with another death soon after."""
    whole = play(program, seed, is_steady=is_steady)
    count, dice = len(whole.records), random.Random(seed)
    deaths: list[tuple[int, ...]] = [(number,) for number in range(1, count + 1)]
    deaths += [(first, first + dice.randint(1, 8)) for first in dice.sample(range(2, count), PAIRS)]
    return [whole, *(play(program, seed, some, is_steady=is_steady) for some in deaths)]


@pytest.fixture(scope="module", params=seeded(PROGRAMS, 1))
def restless(request: pytest.FixtureRequest) -> list[DyingJob]:
    """Runs of one program, with one seed; after a death results come in another order, and sites go and come back."""
    program, seed = request.param
    return play_all(program, seed, is_steady=False)


@pytest.fixture(scope="module", params=seeded(REPEATABLE, 1))
def steady(request: pytest.FixtureRequest) -> list[DyingJob]:
    """Runs of one program, with one seed, in which results come in the same order."""
    program, seed = request.param
    return play_all(program, seed, is_steady=True)


def test_a_run_ends_well_whichever_record_its_job_process_dies_after(restless: list[DyingJob]) -> None:
    assert {job.deaths: job.end for job in restless if not job.end.startswith(("FINISHED:COMPLETED", "FINISHED:DEGRADED"))} == {}


def test_what_came_while_a_process_started_counts_in_the_order_of_the_journal() -> None:
    """It is told before the process asks for its tasks again, and so before the results that are older."""
    program = Program(("all", "grace", "grace"), commit_every=0, is_checked=True, is_constant=True)

    assert play(program, 24, (3, 7), is_steady=False).end.startswith("FINISHED:DEGRADED")


def test_what_the_journal_has_of_a_dead_process_is_used_again_in_the_same_order(restless: list[DyingJob]) -> None:
    assert {job.deaths: job.not_repeated for job in restless if job.not_repeated} == {}


def test_the_results_that_are_used_are_those_with_the_verdict_used(restless: list[DyingJob]) -> None:
    assert {job.deaths: job.misjudged for job in restless if job.misjudged} == {}


def test_a_result_that_is_used_is_not_recorded_as_rejected(restless: list[DyingJob]) -> None:
    rejected = {job.deaths: {record.task_id for record in job.records if isinstance(record, ResultRejected)} for job in restless}

    assert {job.deaths: rejected[job.deaths] & set(job.used) for job in restless if not rejected[job.deaths].isdisjoint(job.used)} == {}


def test_each_task_is_opened_once_and_has_one_last_verdict(restless: list[DyingJob]) -> None:
    for job in restless:
        tasks = [task.task_id for record in job.records if isinstance(record, StepOpened) for task in record.tasks]
        verdicts = [verdict for record in job.records if isinstance(record, StepClosed | WorkflowEnded) for verdict in record.verdicts]

        assert Counter(task_id for task_id, verdict, _ in verdicts if verdict != "open") == Counter(set(tasks)), job.deaths
        assert len(tasks) == len(set(tasks)), job.deaths


def test_what_is_committed_and_used_is_that_of_an_undisturbed_run(steady: list[DyingJob]) -> None:
    whole, *disturbed = steady

    assert {job.deaths: job.end for job in steady if not job.end.startswith(("FINISHED:COMPLETED", "FINISHED:DEGRADED"))} == {}
    assert {job.deaths: committed(job) for job in disturbed if committed(job) != committed(whole)} == {}


def committed(job: DyingJob) -> list[tuple[list[bytes], list[str]]]:
    """Of each record that closes a step or a workflow: the models, and the tasks whose results were used."""
    records = [record for record in job.records if isinstance(record, StepClosed | WorkflowEnded)]
    return [(record.metas, sorted(task_id for task_id, verdict, _ in record.verdicts if verdict == "used")) for record in records]
