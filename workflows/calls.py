"""Tasks under way in a run: those of one scatter, or the single one of a `send`; and what a workflow must not do with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..kernel.errors import Failure, JobError
from ..kernel.messages import ScatterEnd
from ..kernel.roles import Responses
from ..kernel.shareable import Shareable
from ..kernel.tasks import Result, Task
from ..kernel.wording import with_article
from .supervision import LeftOpen

GONE = "gone: "
"""Begins the reason of a site that may come back."""
Arrival = tuple[str, str, Shareable | Failure, Mapping[str, Any], int, str]
"""Task id, site, answer, shared values, the place in the journal, and why it was rejected before."""


class SiteNotInRun(JobError):
    """A workflow sends a task to a site that has no part in the run.

    Cause: a typing mistake in a list of sites, or the job was started without that site.

    Cure: name sites of the run; `get_job_report` lists them. `mandatory_clients` in meta.json keeps a job from starting without one.
    """

    code = "SD-4010"


class RepeatDiffers(JobError):
    """A step that runs again after a death does not do what it did before.

    Cause: a workflow, filter or aggregator depends on something that is not the same again: the clock, its own file, a
    random generator that it seeds itself, or a state that it does not give in `state()`.

    Cure: draw from `run.rng`, `ctx.rng`, `random`, `numpy.random` or torch without seeding them, and let components that keep
    a state have `state()` and `restore()`.
    """

    code = "SD-4111"


class BehindCommit(JobError):
    """A workflow goes on with a step that it has closed: it sends a task, or commits again, behind `run.commit` in one turn of `run.steps`.

    Cause: after a crash `run.steps` begins with the turn behind the last commit; what this turn does behind its commit would be left out.

    Cure: send before the commit, or at the beginning of the next turn; commit once per turn.
    """

    code = "SD-4113"


class OutsideSteps(JobError):
    """A workflow asks `run.steps` for its steps, and opens another one outside of that: before the loop, or with a commit behind it.

    Cause: after a crash the loop begins behind the last commit, and what is outside of it is done again, in another step.

    Cure: what comes before the loop belongs into its first turn; what comes behind it into a loop of its own:
    `for step in run.steps(1, start=…)`. Behind the last commit tasks may be sent without one.
    """

    code = "SD-4116"


@dataclass
class Call:
    """Tasks that are under way: those of one scatter, or the one of a `send`."""

    task: Task
    step: int
    ids: dict[str, str]
    """Site → task id."""
    check: Callable[[Result], None] | None = None
    is_sent: bool = False
    """Whether it is a single task of `send`, which may outlive its step."""
    is_held: bool = False
    """Whether results wait to be filtered until they are asked for."""
    before: ScatterEnd | None = None
    """How it ended before this process began."""
    arrived: dict[str, Result] = field(default_factory=dict)
    """Site → result that has not passed the filters yet."""
    results: dict[str, Result] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    """Ids of the tasks whose results passed the filters, or were rejected by them, in that order."""
    rejected: dict[str, str] = field(default_factory=dict)
    """Task id → why a process before this one rejected its result."""
    lost: dict[str, str] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    nth: Mapping[str, int] = field(default_factory=dict)
    """Site → how many tasks of this name it was sent in the step before, and this one."""
    number: int = 0
    """Of a single task: the place of its result in the journal."""
    is_opening: bool = False
    """Whether the supervisor has not said yet how it ended before."""
    later: list[Arrival] = field(default_factory=list)
    """What came while it was opened, or does not count as it ended without it."""

    def responses(self) -> Responses:
        return Responses(tuple(self.ids), tuple(sorted({*self.results, *self.arrived})), self.lost)

    @property
    def site(self) -> str:
        """The site of a single task."""
        return next(iter(self.ids))

    @property
    def has_outcome(self) -> bool:
        """Whether a single task has a result or a failure; a site that is gone may come back."""
        if self.before is not None and not self.before.results:
            return True
        return bool(self.arrived) or any(not why.startswith(GONE) for why in self.lost.values())

    @property
    def turn(self) -> tuple[int, int]:
        """When the result of a single task is used: first as it was before this process began, then in the journal's order."""
        return (0, self.before.place) if self.before is not None else (1, self.number)

    def takes(self, task_id: str, site: str, *, is_failure: bool) -> bool:
        """Whether an answer counts now: what the call ended without before this process began does not."""
        if self.is_opening:
            return False
        before = self.before
        if before is None or task_id in before.results:
            return True
        return is_failure and not dict(before.lost).get(site, GONE).startswith(GONE)

    def end_as_before(self) -> None:
        """Of a single task that ended without a result before this process began: it does again."""
        if self.before is not None and not self.before.results:
            self.arrived.clear()
            self.lost.update(self.before.lost)

    def has_come(self, task_id: str) -> bool:
        """Whether a task has an outcome: a result, filtered or not, or a failure. A site that is gone may come back."""
        site = next((site for site, its in self.ids.items() if its == task_id), "")
        return task_id in self.order or site in self.arrived or not self.lost.get(site, GONE).startswith(GONE)


@dataclass
class Turns:
    """Where a workflow is with respect to the loops over `run.steps`."""

    has_some: bool = False
    """Whether it has asked for steps."""
    is_in_one: bool = False
    """Whether it has been given a step and has not asked for the next."""
    is_outside: bool = False
    """Whether the open step was not given by a loop."""


@dataclass
class SinceCommit:
    """What a workflow has done since its last commit."""

    numbers: Counter[tuple[int, str, str]] = field(default_factory=Counter)
    """Step, task name, site → how many of these were sent."""
    used: list[str] = field(default_factory=list)
    """Tasks whose results were used in steps that ended without a commit."""
    unused: list[str] = field(default_factory=list)
    """Tasks whose results came to a scatter that failed."""
    ends: int = 0
    """How many scatters and single tasks have ended."""
    ended: list[ScatterEnd] = field(default_factory=list)
    """What ended since the last tasks were sent."""


def reopened(left: LeftOpen) -> tuple[str, Call]:
    """The id and the call of a task that a closed step left open."""
    task = Task(left.name, deadline_seconds=left.deadline_seconds)
    call = Call(task, left.step, {left.site: left.task_id}, is_sent=left.how == "sent", is_held=True)
    call.nth, call.before = {left.site: left.nth}, left.before
    call.end_as_before()
    return left.task_id, call


def refuse_unless(where: str, value: object, wanted: Any) -> None:
    """Raises: TypeError."""
    if not isinstance(value, wanted):
        name = getattr(wanted, "__name__", str(wanted).replace(" | None", " or None").rpartition(".")[2])
        raise TypeError(f"{where}: wanted {with_article(name)}, got {with_article(type(value).__name__)}: {value!r:.80}")
