"""The roles a component can play: what is called when, and what must come back.

A plugin package registers classes; a job (or a kit) names them in JSON; each plays one role. In a job process
everything here is called on the main thread, one call at a time.
"""

from __future__ import annotations

import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from .context import Context, current_context
from .shareable import Shareable, given
from .tasks import Result, Task


class Run(ABC):
    """All that a workflow holds in its hands."""

    id: str
    sites: tuple[str, ...]
    """The sites of the run, in name order."""

    @property
    @abstractmethod
    def state(self) -> Shareable | None:
        """The state this workflow last committed; None before its first commit."""

    @property
    @abstractmethod
    def rng(self) -> np.random.Generator:
        """A generator that depends on the job's seed, the workflow and the open step only."""

    @abstractmethod
    def steps(self, count: int, start: int = 0) -> Iterator[int]:
        """The step numbers still to do, out of start … start + count - 1: it goes on after the last committed one."""

    @abstractmethod
    def scatter(
        self, task: Task, sites: Sequence[str] | None = None, policy: Policy | None = None, check: Callable[[Result], None] | None = None
    ) -> Iterable[Result]:
        """Send a task to sites (default: all) and give their results in site-name order, once the policy is content.

        `check` looks at each result as it arrives; if it raises, the result is rejected for that reason.

        Raises:
            PolicyFailed: too few sites answered; the error names who is missing and why.
            RunAborted: the run is to stop.
        """

    @abstractmethod
    def send(self, task: Task, site: str) -> str:
        """Send a task to one site and go on; gives the task's id, for `wait`. It may outlive its step: see `open_tasks`."""

    @abstractmethod
    def wait(self, task_id: str) -> Result:
        """The result of a task that was sent, in this step or an earlier one.

        Raises:
            PolicyFailed: the site failed at it, or is gone.
            ValueError: no such task is open: it was never sent, or has been waited for already.
        """

    @abstractmethod
    def next_result(self) -> Result:
        """The next result of a task that was sent and not waited for, in the order in which the journal has them.

        After a crash the step gets the same results in the same order again.

        Raises:
            PolicyFailed: the next site failed at its task, or all of them are gone; `error.responses.invited` names the site.
                The task is over. The workflow may go on.
            ValueError: no task is open.
        """

    @property
    @abstractmethod
    def open_tasks(self) -> tuple[Task, ...]:
        """The tasks that were sent and not waited for, the oldest first: `id`, `site`, `name` and `step` say which.

        A commit leaves them open; they are over when the workflow ends.
        """

    @abstractmethod
    def commit(self, state: Shareable | None = None, metrics: Mapping[str, float] | None = None, *, last: bool = False) -> None:
        """Close the step: after a crash the workflow goes on from here.

        `metrics` are shown as the step's own; default: the means of what the results report (`workflows.metrics.mean_metrics`),
        {} for none. Components of the job with `state()` / `restore()` are saved by the same commit. `last`: `steps` gives no
        further step, also after a crash; a `break` alone would be forgotten by one that follows the commit.
        """

    @abstractmethod
    def abort(self, reason: str) -> None:
        """End the job as FINISHED:ABORTED.

        Raises:
            RunAborted: always.
        """


class Workflow(ABC):
    """What the server does in a job, from start to end; several in one job run in order."""

    @abstractmethod
    def run(self, run: Run) -> None:
        """Do it. Everything that must survive a crash is in what `run.commit` is given."""

    def tasks(self) -> Iterable[str]:
        """The names of the tasks it sends; a job whose sites have no executor for one of them is refused."""
        return ()


class Executor(ABC):
    """What a site does with the tasks named beside it."""

    def start(self, ctx: Context) -> None:  # noqa: B027  # most executors have nothing to prepare
        """Prepare; called once before the first task."""

    @abstractmethod
    def execute(self, task: Task, ctx: Context) -> Shareable:
        """Do one task and give the result. An exception becomes the task's failure, with file and line."""

    def stop(self, ctx: Context) -> None:  # noqa: B027
        """Tidy up; called once after the last task, also when the run is aborted."""


class Aggregator(ABC):
    """Makes one Shareable from the results of a step. Observers see its calls: before_aggregation, after_aggregation."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        _report_calls(cls, "aggregate", _aggregation)

    @abstractmethod
    def aggregate(self, results: Iterable[Result]) -> Shareable:
        """Fold results that come in site-name order: the same results give the same bits."""

    def check(self, result: Result) -> None:  # noqa: B027  # an aggregator may take anything
        """Look at a result as it arrives; raise to have it rejected for that reason."""


class ModelUpdate(ABC):
    """Makes the next model from the present one and the aggregate (FLARE: shareable generator). Observers: model_updated."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        _report_calls(cls, "apply", _update)

    @abstractmethod
    def apply(self, model: Shareable, aggregate: Shareable) -> Shareable:
        """The next model."""


class Persistor(ABC):
    """Converts between a model file of the user's framework and a Shareable. It is never read on resume.

    Observers see its calls: initial_model_loaded, before_model_saved, after_model_saved.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        _report_calls(cls, "load", _loading)
        _report_calls(cls, "save", _saving)

    @abstractmethod
    def load(self) -> Shareable:
        """The initial model."""

    @abstractmethod
    def save(self, model: Shareable, name: str = "") -> Path | None:
        """Write the model under the current run's folder; `name` distinguishes e.g. "best". Gives the file."""


class ModelLocator(ABC):
    """Finds the server's models that a cross-site evaluation sends around."""

    @abstractmethod
    def names(self) -> list[str]:
        """The names of the models there are."""

    @abstractmethod
    def locate(self, name: str) -> Shareable:
        """One of them."""


class Filter(ABC):
    """Changes what passes: task data or results, at the server or at a site.

    At the server the global random generators are seeded for each call. A filter that is Stateful gets results in site-name order.
    """

    @abstractmethod
    def process(self, shareable: Shareable, ctx: Context) -> Shareable:
        """The Shareable that goes on. Raise to stop it: at a site the task fails, at the server the result is rejected."""


class Wait(StrEnum):
    """What a policy says of a step that waits."""

    ON = "on"
    GRACE = "grace"
    DONE = "done"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Responses:
    """Who was asked in a step, and what is known of each."""

    invited: tuple[str, ...]
    answered: tuple[str, ...] = ()
    lost: Mapping[str, str] = field(default_factory=dict)
    """Site → why nothing usable will come: failed, rejected, gone or over the deadline."""

    @property
    def pending(self) -> tuple[str, ...]:
        """Who may still answer."""
        answered = set(self.answered)
        return tuple(site for site in self.invited if site not in answered and site not in self.lost)


class Policy(ABC):
    """Who must answer in a step."""

    grace_seconds: float = 60.0
    """How long a step that could end, or must fail, still waits for pending sites."""
    late: str = "discard"
    """What becomes of results that come after their scatter has ended: "discard", or "next_step": the next scatter of the same
    task, in a later step, gives them behind its own results."""

    @abstractmethod
    def decide(self, responses: Responses) -> Wait:
        """Go on waiting, wait out the grace period, end the step, or fail it."""

    @abstractmethod
    def decide_after_grace(self, responses: Responses) -> Wait:
        """The same when the grace period is over: DONE or FAIL (ON: there is nothing to end yet)."""

    @abstractmethod
    def describe(self) -> str:
        """The policy in one sentence, as it is printed before a run."""


@runtime_checkable
class Stateful(Protocol):
    """A component of a job's server side, of whatever role, that keeps a state across steps: each commit saves it.

    At a site the state that survives is `ctx.state`.
    """

    def state(self) -> Shareable | None:
        """What it needs to go on; None: nothing yet."""

    def restore(self, state: Shareable) -> None:
        """Go on from there, in a process that starts anew."""


# --- role calls that observers see (docs/decisions/0006) ---

_Call = functools.partial[Any]
"""A role's method with its instance and its arguments, to be called once."""


def _report_calls(kind: type, method: str, report: Callable[[Context, Any, _Call], Any]) -> None:
    """Let calls of a class's method be made by `report`, where the runtime asks for it (see `RoleCalls`)."""
    plain = inspect.getattr_static(kind, method)
    if getattr(plain, "__isabstractmethod__", False) or hasattr(plain, "is_reported"):
        return

    @functools.wraps(plain)
    def reported(self: object, *values: Any, **named: Any) -> Any:
        context, bound = current_context(), plain.__get__(self, type(self))
        if not context.workflow or not context.role_calls.is_reported(self, method):
            return bound(*values, **named)
        with context.role_calls.under_way(method):
            return report(context, self, functools.partial(bound, *values, **named))

    vars(reported)["is_reported"] = True
    setattr(kind, method, reported)


def _aggregation(context: Context, by: Aggregator, call: _Call) -> Shareable:
    context.events.before_aggregation(context.workflow, context.step)
    aggregate = given(call(), by, "aggregate")
    context.events.after_aggregation(context.workflow, context.step, aggregate)
    return aggregate


def _update(context: Context, by: ModelUpdate, call: _Call) -> Shareable:
    model = given(call(), by, "apply")
    context.events.model_updated(context.workflow, context.step, model)
    return model


def _loading(context: Context, by: Persistor, call: _Call) -> Shareable:
    model = given(call(), by, "load")
    context.events.initial_model_loaded(model)
    return model


def _saving(context: Context, _by: Persistor, call: _Call) -> Path | None:
    model, name = _saved(*call.args, **call.keywords)
    context.events.before_model_saved(model, name)
    path: Path | None = call()
    context.events.after_model_saved(model, name)
    return path


def _saved(model: Shareable, name: str = "") -> tuple[Shareable, str]:
    """The arguments of `save`."""
    return model, name
