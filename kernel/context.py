"""The context of a call into job code, and the observer hooks that it can call.

One context is made for each call. Three places to keep values, by how long they live: `ctx.local` dies with the
call, `ctx.shared` travels with the task and its result, `ctx.state` is the site's own Shareable and survives to
its next task. `ctx.events` calls the run's observers: `ctx.events.step_ended(workflow="sag", step=3)`.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

import numpy as np

from .errors import ComponentError, JobError, SpecError
from .hookspecs import observe_hook
from .shareable import Shareable, as_state

if TYPE_CHECKING:
    from .errors import Failure
    from .tasks import Result, Task

T = TypeVar("T")


class RunAborted(JobError):
    """The run was aborted.

    Cause: somebody gave `abort_job`, or another part of the job failed.

    Cure: nothing to mend here; `get_job_report` names the first cause.
    """

    code = "SD-4001"


class Panic(JobError):
    """A component ended the job.

    Cause: `ctx.panic(reason)` was called: the component found that going on makes no sense.

    Cure: the reason is the component's own text; mend what it names and submit the job again.
    """

    code = "SD-4002"


class KeyTypeError(SpecError):
    """A context key was given a value of another type than it declares.

    Cause: a mistake in the component that set it.

    Cure: set a value of the type named in Key(name, type).
    """

    code = "SD-1151"


class NotKeepable(ComponentError):
    """A file cannot belong to a commit.

    Cause: `ctx.keep` was given a path that is no plain file in the run's folder, or is one that the runtime writes itself.

    Cure: write the file below `ctx.folder` first, for example in models/, then call `ctx.keep` with its path.
    """

    code = "SD-3171"


_THE_RUNTIMES = frozenset({"app", "in", "out", "metrics", "metrics.jsonl", "log.txt", "report.json"})
"""What lies in a run's folder and is no component's."""


@dataclass(frozen=True)
class Key(Generic[T]):
    """The name of a value and its type, declared once and used for both setting and getting."""

    name: str
    type: type[T]


class Values:
    """Values by typed key. Shared ones must be JSON-like: None, bool, int, float, str, list or dict."""

    def __init__(self, values: dict[str, Any] | None = None) -> None:
        self.as_dict: dict[str, Any] = dict(values or {})

    def __getitem__(self, key: Key[T]) -> T:
        return cast("T", self.as_dict[key.name])

    def __setitem__(self, key: Key[T], value: T) -> None:
        if not isinstance(value, key.type):
            raise KeyTypeError(f"wanted {key.type.__name__}, got {type(value).__name__} {value!r}", where=f"key {key.name!r}")
        self.as_dict[key.name] = value

    def __contains__(self, key: Key[Any]) -> bool:
        return key.name in self.as_dict

    def get(self, key: Key[T], default: T | None = None) -> T | None:
        """The value, or the default when it was never set."""
        return cast("T | None", self.as_dict.get(key.name, default))


class Abort:
    """Whether the run, or the task in hand, is to stop. Truthy once it is; set from another thread."""

    def __init__(self) -> None:
        self.reason = ""

    def __bool__(self) -> bool:
        return bool(self.reason)

    def set(self, reason: str) -> None:
        """Ask for the end. The first reason stays."""
        self.reason = self.reason or reason or "aborted"

    def check(self) -> None:
        """Go on, or leave: call it between batches.

        Raises:
            RunAborted: the end was asked for.
        """
        if self.reason:
            raise RunAborted(self.reason)


class Metrics(Protocol):
    """Where job code writes its metrics; they reach the server's trackers."""

    def add_scalar(self, tag: str, value: float, step: int | None = None) -> None:
        """One number."""

    def add_scalars(self, tag: str, values: dict[str, float], step: int | None = None) -> None:
        """Several numbers of one chart."""

    def add_text(self, tag: str, text: str, step: int | None = None) -> None:
        """A text."""


class _NoMetrics:
    """Outside of a run metrics go nowhere."""

    def add_scalar(self, tag: str, value: float, step: int | None = None) -> None: ...
    def add_scalars(self, tag: str, values: dict[str, float], step: int | None = None) -> None: ...
    def add_text(self, tag: str, text: str, step: int | None = None) -> None: ...


class ObserverHooks:
    """The hooks that observers may implement; all but the last are called on the main thread of a job process.

    The one specification of both sides. An observer implements a hook with `@observe` and takes only the arguments it
    uses; it is synchronous and quick, and cannot change or veto anything: what decides is a role. Whoever has something
    to report calls the same method of `ctx.events`, with all its arguments. Here each method is empty: a context
    outside of a run, and a hook without observers, do nothing.
    """

    @observe_hook
    def run_started(self, ctx: Context) -> None:
        """When all components are built, before the first workflow or task. Server and sites; always the first."""

    @observe_hook
    def run_ended(self, ctx: Context, status: str) -> None:
        """When nothing more will be called: completed, failed or aborted (server), ended (sites). Server and sites; always the last."""

    @observe_hook
    def workflow_started(self, workflow: str) -> None:
        """When the workflow with this id begins, or goes on after a restart. Server."""

    @observe_hook
    def workflow_ended(self, workflow: str) -> None:
        """When the workflow with this id is over, whether it finished or raised. Server."""

    @observe_hook
    def step_started(self, workflow: str, step: int) -> None:
        """When a step (round, from 0) is opened, before its first task is made. Server."""

    @observe_hook
    def step_ended(self, workflow: str, step: int) -> None:
        """When a step is closed and will not run again. Server."""

    @observe_hook
    def initial_model_loaded(self, model: Shareable) -> None:
        """When a workflow has loaded a model through a persistor. Server."""

    @observe_hook
    def before_task_sent(self, task: Task, site: str) -> None:
        """When a task is about to be handed over for a site, before the server's task filters. Server."""

    @observe_hook
    def after_task_sent(self, task: Task, site: str) -> None:
        """When the task was filtered and handed over for the site. Server."""

    @observe_hook
    def before_task_filter(self, task: Task, ctx: Context) -> None:
        """When a task's data are about to pass the task filters. Server and sites."""

    @observe_hook
    def after_task_filter(self, task: Task, ctx: Context) -> None:
        """When a task's data have passed the task filters. Server and sites."""

    @observe_hook
    def before_task_execution(self, task: Task, ctx: Context) -> None:
        """When the executor is about to be called. Sites."""

    @observe_hook
    def after_task_execution(self, task: Task, result: Shareable, ctx: Context) -> None:
        """When the executor has answered. Sites; not when it raised."""

    @observe_hook
    def task_aborted(self, task: Task, reason: str) -> None:
        """When the task in hand was stopped: by abort_task, abort_job or its deadline. Sites."""

    @observe_hook
    def before_result_filter(self, result: Shareable, ctx: Context) -> None:
        """When a result is about to pass the result filters. Sites and server."""

    @observe_hook
    def after_result_filter(self, result: Shareable, ctx: Context) -> None:
        """When a result has passed the result filters. Sites and server."""

    @observe_hook
    def result_received(self, result: Result) -> None:
        """When a result has reached the workflow's side, before the server's result filters. Server."""

    @observe_hook
    def result_accepted(self, result: Result) -> None:
        """When a result passed filters and checks and counts in its step. Server."""

    @observe_hook
    def result_rejected(self, result: Result, reason: str) -> None:
        """When a result will not be used: a filter, the aggregator's check or the policy refused it. Server."""

    @observe_hook
    def before_aggregation(self, workflow: str, step: int) -> None:
        """When a workflow calls an aggregator, before the first result is taken. Server."""

    @observe_hook
    def after_aggregation(self, workflow: str, step: int, aggregate: Shareable) -> None:
        """When the aggregator has made one Shareable of the results. Server."""

    @observe_hook
    def model_updated(self, workflow: str, step: int, model: Shareable) -> None:
        """When a model update has applied the aggregate to the global model. Server."""

    @observe_hook
    def best_model_found(self, model: Shareable, metric: str, value: float, step: int) -> None:
        """When a global model is better by this metric than any before it. Server."""

    @observe_hook
    def before_model_saved(self, model: Shareable, name: str) -> None:
        """When a persistor is about to write a model; the name is "" for the final one. Server."""

    @observe_hook
    def after_model_saved(self, model: Shareable, name: str) -> None:
        """When a persistor has written the model. Server."""

    @observe_hook
    def before_commit(self, workflow: str, step: int) -> None:
        """When a workflow asks to close its step. Server."""

    @observe_hook
    def after_commit(self, workflow: str, step: int, state: Shareable | None) -> None:
        """When the journal has the step: after a crash the workflow goes on behind it. Server."""

    @observe_hook
    def validation_result_received(self, model_owner: str, site: str, metrics: dict[str, float]) -> None:
        """When a site has evaluated the model of an owner (a site, or SRV_… for the server's). Server."""

    @observe_hook
    def metric_logged(self, name: str, value: Any, step: int, site: str) -> None:
        """When job code logs a metric (a number, a dict of numbers or a text): at the site at once, at the server when it arrives."""

    @observe_hook
    def fatal_error(self, failure: Failure) -> None:
        """When something has happened that ends the run. Server and sites."""

    @observe_hook
    def job_state_changed(self, job_id: str, state: str, reason: str) -> None:
        """When the server has written a job's new state in its journal. A server's own components."""


class RoleCalls:
    """The components whose role calls are reported to the observers, and the calls under way.

    Args:
        components: those that the runtime built from the job's config, nested ones too.
    """

    def __init__(self, components: Iterable[object] = ()) -> None:
        self._components = {id(each): each for each in components}  # kept, because an id is unique only while its object lives
        self._under_way: set[str] = set()

    def is_reported(self, component: object, method: str) -> bool:
        """Whether a call is to be reported: the component is one of them, and no call of this method is under way."""
        return id(component) in self._components and method not in self._under_way

    @contextmanager
    def under_way(self, method: str) -> Iterator[None]:
        """Report no further calls of this method for a block."""
        self._under_way.add(method)
        try:
            yield
        finally:
            self._under_way.discard(method)


@dataclass
class Context:
    """What one call into job code knows of the run, and where it may leave values."""

    run_id: str = ""
    site: str = ""
    """The participant this code runs at; "server" on the server's side."""
    workflow: str = ""
    step: int = -1
    task: str = ""
    seed: int = 0
    folder: Path = field(default_factory=Path.cwd)
    """The run's folder at this participant: models/, tb_events/, cross_site_val/ … are made in it."""
    abort: Abort = field(default_factory=Abort)
    shared: Values = field(default_factory=Values)
    local: Values = field(default_factory=Values)
    metrics: Metrics = field(default_factory=_NoMetrics)
    events: ObserverHooks = field(default_factory=ObserverHooks)
    """Calls the run's observers, one method per hook; does nothing outside of a run."""
    role_calls: RoleCalls = field(default_factory=RoleCalls)
    """The role calls that the runtime reports to the observers; set in a server's job process."""
    components: dict[str, Any] = field(default_factory=dict)
    """The job's component instances by id."""
    checkpoint: Callable[[Shareable | Mapping[str, Any]], None] = field(default=lambda _state: None)
    """Keep a state now: if this process dies, this task, and no later one, starts again with it in `ctx.state`."""
    notes: list[str] = field(default_factory=list)
    """Texts that `note` was given since the last commit."""
    kept: set[str] = field(default_factory=set)
    """Files that `keep` was given, by their paths below `folder`."""
    is_state_new: bool = False
    """Whether job code has set `state`."""
    _state: Shareable | None = None
    _rng: np.random.Generator | None = None
    _rng_seed: int | None = None

    @property
    def state(self) -> Shareable | None:
        """What this site keeps for its next task. It is packed when the task ends, or when a script sends.

        Set to a dict, name → array, it becomes a Shareable. None changes nothing: the state before stays.

        Raises:
            StateRefused: set to something else.
        """
        return self._state

    @state.setter
    def state(self, state: Shareable | Mapping[str, Any] | None) -> None:
        self._state = None if state is None else as_state(state, "ctx.state")
        self.is_state_new = state is not None

    @property
    def rng(self) -> np.random.Generator:
        """A generator of this call's own, from the job's seed, the place and the step."""
        if self._rng is None:
            self._rng = np.random.default_rng(self.seed if self._rng_seed is None else self._rng_seed)
        return self._rng

    def note(self, text: str) -> None:
        """At the server: report something that is worth knowing and not an error. It appears in the next round's report, once per job.

        Raises:
            TypeError: it is no text.
        """
        if not isinstance(text, str):  # else the commit that takes it could not be encoded, again and again
            raise TypeError(f"ctx.note: wanted a text, got a {type(text).__name__}")
        if text not in self.notes:
            self.notes.append(text)

    def keep(self, path: Path | str) -> None:
        """At the server: let a file in the run's folder belong to the next commit, and to later ones as it is then.

        A job that starts again after a death finds it as its last commit has it. A file that is in no commit is left alone.

        Args:
            path: absolute, or below `folder`.

        Raises:
            NotKeepable: no plain file in the folder, or one of the runtime's own.
        """
        full, folder = self.folder / path, self.folder.resolve()
        try:
            is_plain, real = stat.S_ISREG(full.lstat().st_mode), full.resolve()
        except OSError as exc:
            raise NotKeepable(f"wanted a plain file in the run's folder, got {str(path)!r}: {exc.strerror}") from exc
        if not is_plain or not real.is_relative_to(folder) or real.relative_to(folder).parts[0] in _THE_RUNTIMES:
            raise NotKeepable(f"wanted a plain file of a component's own in the run's folder, got {str(path)!r}")
        self.kept.add(str(real.relative_to(folder)))

    def for_call(
        self, *, task: str, seed: int, shared: Mapping[str, Any] | None = None, state: Shareable | None = None, **more: Any
    ) -> Context:
        """The context of one call: with a generator, values and a state of its own, in all else this one, unless `more` says otherwise."""
        call = copy(self)  # a third of the time of dataclasses.replace, of each task and each result
        vars(call).update(
            task=task, seed=seed, shared=Values(dict(shared or {})), local=Values(), _state=state, is_state_new=False, _rng=None,
            _rng_seed=None, **more,
        )  # fmt: skip
        return call

    def seed_rng(self, seed: int) -> None:
        """Begin a new sequence of `rng`; the runtime does it at each step."""
        self._rng, self._rng_seed = None, seed  # the generator is made when it is asked for: it costs as much as a small task

    def panic(self, reason: str) -> None:
        """End the whole job with this reason, whatever its policy says.

        Raises:
            Panic: always.
        """
        raise Panic(reason)


_current: ContextVar[Context | None] = ContextVar("sundog_context", default=None)


def current_context() -> Context:
    """The context of the call that is under way; an empty one outside of a run."""
    return _current.get() or Context()


@contextmanager
def entered(context: Context) -> Iterator[Context]:
    """Make a context the current one for a block."""
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)


def task_place(workflow: str, step: int, task: str, site: str, nth: int) -> tuple[object, ...]:
    """What the seed of a task, and of what filters do with it, is derived from besides the job's seed.

    `nth`: the task is the n-th of this name that the site is sent in the step; noise must not be the same twice.
    """
    return (workflow, step, task, site) if nth == 1 else (workflow, step, task, site, nth)


def derive_seed(*parts: object) -> int:
    """A 63-bit seed from the job's seed and the names of a place: the same names give the same seed everywhere."""
    text = "\0".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
