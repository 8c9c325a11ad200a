"""What a workflow holds in its hands: `JobRun`, the Run that a server's job process gives to each workflow in turn.

It decides nothing about durability: it asks a `Supervisor` to open and close steps, and waits for its answers by
pumping the main thread's mailbox, so that results are filtered and checked while it waits.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..kernel.context import Context, Panic, RunAborted, derive_seed, entered
from ..kernel.errors import Failure, JobError, RemoteError
from ..kernel.messages import StepMetrics
from ..kernel.roles import Policy, Responses, Run, Wait
from ..kernel.shareable import Shareable
from ..kernel.tasks import Result, Task
from ..kernel.wording import did_you_mean
from .filtering import Filters
from .metrics import mean_metrics
from .policy import PolicyFailed, SitesPolicy
from .supervision import StepRequest, StepResult, Supervisor


class SiteNotInRun(JobError):
    """A workflow sends a task to a site that has no part in the run.

    Cause: a typing mistake in a list of sites, or the job was started without that site.

    Cure: name sites of the run; `get_job_report` lists them. `mandatory_clients` in meta.json keeps a job from starting without one.
    """

    code = "SD-4010"


@dataclass
class _Call:
    """One scatter that is under way."""

    task: Task
    ids: dict[str, str]
    """Site → task id."""
    check: Callable[[Result], None] | None
    results: dict[str, Result] = field(default_factory=dict)
    held: dict[str, Result] = field(default_factory=dict)
    """Arrived, and not filtered before the policy has decided: their filters have a state."""
    lost: dict[str, str] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)

    def responses(self) -> Responses:
        return Responses(tuple(self.ids), tuple(sorted({*self.results, *self.held})), self.lost)

    def has(self, site: str) -> bool:
        """Whether the site's result has arrived and was not refused."""
        return site in self.results or site in self.held


class JobRun(Run):
    """The Run of a server's job process; `enter` readies it for one workflow after the other."""

    def __init__(self, supervisor: Supervisor, context: Context, sites: Sequence[str], filters: Filters) -> None:
        self.id = context.run_id
        self.sites = tuple(sorted(sites))
        self.context = context
        self._supervisor = supervisor
        self._filters = filters
        self._gone: dict[str, Failure] = {}
        self._calls: dict[str, _Call] = {}
        self._numbers: Counter[tuple[str, str]] = Counter()
        self._used: dict[str, Result] = {}
        self._late: list[str] = []
        self._state: Shareable | None = None
        self._closed = -1
        self.parts: Callable[[], Shareable | None] = lambda: None

    def enter(self, workflow: str, closed: int, state: Shareable | None) -> None:
        """Ready for a workflow whose last closed step is `closed` (-1: none), with the state committed there."""
        self.context.workflow, self.context.step = workflow, -1
        self._closed, self._state = closed, state
        self._forget_step()
        self._seed(*([closed, "closed"] if closed >= 0 else []))

    @property
    def state(self) -> Shareable | None:
        return self._state

    @property
    def rng(self) -> np.random.Generator:
        return self.context.rng

    def steps(self, count: int, start: int = 0) -> Iterator[int]:
        first = max(start, self._closed + 1)
        for step in range(first, start + count):
            self._open(step)
            self.context.events.step_started(workflow=self.context.workflow, step=step)
            yield step
        self._seed(start + count, "over")  # whatever was drawn since the last step was closed, or since a restart behind it

    def scatter(
        self, task: Task, sites: Sequence[str] | None = None, policy: Policy | None = None, check: Callable[[Result], None] | None = None
    ) -> Iterable[Result]:
        rule = policy or SitesPolicy()
        call = self._issue(task, tuple(sorted(set(self.sites if sites is None else sites))), rule.describe(), check)
        self._wait_for(call, rule)
        self._end(call)
        return [call.results[site] for site in sorted(call.results)]

    def send(self, task: Task, site: str) -> str:
        call = self._issue(task, (site,), f"{site} must answer", None)
        return call.ids[site]

    def wait(self, task_id: str) -> Result:
        call = self._calls.get(task_id)
        if call is None:
            raise ValueError(f"wanted a task of the step that is open, got {task_id!r}")
        self._wait_for(call, SitesPolicy())
        self._end(call)
        return next(iter(call.results.values()))

    def commit(self, state: Shareable | None = None, metrics: Mapping[str, float] | None = None) -> None:
        if self.context.step <= self._closed:
            self._open(self._closed + 1)
        sites = {result.site: result.metrics for result in self._used.values() if result.metrics}
        own = mean_metrics(self._used.values()) if metrics is None else metrics
        numbers = StepMetrics({key: float(value) for key, value in own.items()}, sites)
        where = (self.context.workflow, self.context.step)
        self.context.events.before_commit(workflow=where[0], step=where[1])
        result = StepResult(*where, state, self.parts(), tuple(self._used), tuple(self._late), numbers)
        kept = self._supervisor.commit(result)
        self._state = kept if kept is not None else self._state
        self._closed = self.context.step
        self.context.events.after_commit(workflow=where[0], step=where[1], state=self._state)
        self.context.events.step_ended(workflow=where[0], step=where[1])
        self._forget_step()
        self._seed(self._closed, "closed")

    def abort(self, reason: str) -> None:
        raise RunAborted(reason)

    # --- what arrives, called from pump -------------------------------------------------------------------------

    def on_result(self, task_id: str, site: str, answer: Shareable | Failure, shared: Mapping[str, Any]) -> None:
        """A site answered a task: filter and check it, or note why it is lost.

        Raises:
            RemoteError: the site's code called `ctx.panic`.
            Panic: a filter or a check did here.
        """
        if isinstance(answer, Failure) and answer.code == Panic.code:
            raise RemoteError(answer)
        call = self._calls.get(task_id)
        if call is None or call.has(site):
            self._late.append(task_id)
            return
        if isinstance(answer, Failure):
            call.lost[site], call.failures[site] = f"failed: {answer}", answer
            return
        result = Result(site, call.task.name, answer, task_id, shared)
        if self._filters.need_order(call.task.name):
            call.held[site] = result
        else:
            self._admit(call, result)

    def on_unreadable(self, task_id: str, failure: Failure) -> None:
        """What a site answered is no result."""
        call = self._calls.get(task_id)
        if call is not None and not call.has(failure.site):
            self._reject(call, task_id, failure)

    def _reject(self, call: _Call, task_id: str, failure: Failure) -> None:
        call.lost[failure.site], call.failures[failure.site] = f"rejected: {failure.what}", failure
        self._supervisor.reject(task_id, failure.what)

    def on_site_gone(self, site: str, failure: Failure) -> None:
        """Nothing more will come from a site for now."""
        self._gone[site] = failure
        for call in self._calls.values():
            if site in call.ids and not call.has(site):
                call.lost.setdefault(site, f"gone: {failure.what}")
                call.failures.setdefault(site, failure)

    def on_site_back(self, site: str) -> None:
        """A site that was gone answers again."""
        self._gone.pop(site, None)
        for call in self._calls.values():
            if call.lost.get(site, "").startswith("gone: "):
                del call.lost[site]
                call.failures.pop(site, None)

    # --- one scatter --------------------------------------------------------------------------------------------

    def _issue(self, task: Task, sites: tuple[str, ...], policy: str, check: Callable[[Result], None] | None) -> _Call:
        for site in set(sites) - set(self.sites):
            raise SiteNotInRun(f"wanted sites of the run, got {site!r}{did_you_mean(site, self.sites)}", where=f"task {task.name!r}")
        if self.context.step <= self._closed:
            self._open(self._closed + 1)
        ids = {site: self._task_id(task.name, site) for site in sites}
        outgoing = [self._outgoing(task, site) for site in sites]
        models, shared = tuple(model for model, _ in outgoing), tuple(values for _, values in outgoing)
        call = _Call(task, ids, check)
        self._calls.update(dict.fromkeys(ids.values(), call))
        step = (self.context.workflow, self.context.step)
        self._supervisor.open_step(StepRequest(*step, task, tuple(ids.values()), sites, models, shared, policy))
        for site in sites:
            self.context.events.after_task_sent(task=task, site=site)
        for site in self._gone.keys() & ids.keys():
            self.on_site_gone(site, self._gone[site])
        return call

    def _task_id(self, task: str, site: str) -> str:
        self._numbers[task, site] += 1
        parts = (self.id, self.context.workflow, self.context.step, task, site, self._numbers[task, site], 1)
        return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:16]

    def _outgoing(self, task: Task, site: str) -> tuple[Shareable | None, Mapping[str, Any]]:
        """What a site is sent: model and shared values, as the filters leave them."""
        self.context.events.before_task_sent(task=task, site=site)
        if task.model is None:
            return None, task.shared
        context = self._call_context(task.name, site, task.shared, "data")
        model = self._filters.task(task, task.model, context)
        return model, task.shared if context.shared.as_dict == task.shared else context.shared.as_dict

    def _admit(self, call: _Call, result: Result) -> None:
        """Filter and check a result; what refuses it decides what is known of its site."""
        try:
            call.results[result.site] = self._admitted(call, result)
        except (Panic, RunAborted):
            raise
        except Exception as exc:  # noqa: BLE001  # a stranger's filter or check
            self._reject(call, result.task_id, Failure.of(exc, site=result.site))
            self.context.events.result_rejected(result=result, reason=call.failures[result.site].what)

    def _admit_held(self, call: _Call) -> None:
        """Filter what was held, in site-name order: a filter with a state does the same whatever the order of arrival."""
        held, call.held = call.held, {}
        for site in sorted(held):
            self._admit(call, held[site])

    def _admitted(self, call: _Call, result: Result) -> Result:
        context = self._call_context(call.task.name, result.site, result.shared, "result")
        self.context.events.result_received(result=result)
        filtered = self._filters.result(call.task, result.shareable, context)
        admitted = replace(result, shareable=filtered, shared=dict(context.shared.as_dict))
        if call.check is not None:
            with entered(context):
                call.check(admitted)
        self.context.events.result_accepted(result=admitted)
        return admitted

    def _call_context(self, task: str, site: str, shared: Mapping[str, Any], chain: str) -> Context:
        """The context of one pass through a chain of filters, with a seed of its own."""
        seed = derive_seed(self.context.seed, self.context.workflow, self.context.step, task, site, chain)
        return self.context.for_call(task=task, seed=seed, shared=shared)

    def _wait_for(self, call: _Call, policy: Policy) -> None:
        grace_ends: float | None = None
        while True:
            self.context.abort.check()
            over = grace_ends is not None and self._supervisor.now() >= grace_ends
            decision = policy.decide_after_grace(call.responses()) if over else policy.decide(call.responses())
            if decision is Wait.DONE:
                if not call.held:
                    return
                self._admit_held(call)
                continue  # one may have been refused
            if decision is Wait.FAIL:
                raise self._policy_failed(call, policy)
            if decision is Wait.GRACE and grace_ends is None:
                grace_ends = self._supervisor.now() + policy.grace_seconds
            self._supervisor.pump(None if grace_ends is None or over else max(0.0, grace_ends - self._supervisor.now()))

    def _policy_failed(self, call: _Call, policy: Policy) -> Exception:
        """The first cause wins: one site's own failure is named with its code and line, not buried in the policy's."""
        responses = call.responses()
        return PolicyFailed(
            call.task.name, policy.describe(), responses, first=next((call.failures[s] for s in sorted(call.failures)), None)
        )

    def _end(self, call: _Call) -> None:
        for site, task_id in call.ids.items():
            self._calls.pop(task_id, None)
            if site in call.results:
                self._used[task_id] = call.results[site]

    def _open(self, step: int) -> None:
        self._forget_step()
        self.context.step = step
        self._seed(step)

    def _seed(self, *place: object) -> None:
        """Begin `rng` and the global generators anew, so that what is drawn after a restart is what would have been drawn without."""
        seed = derive_seed(self.context.seed, self.context.workflow, *place)
        self.context.seed_rng(seed)
        self._supervisor.seed(seed)

    def _forget_step(self) -> None:
        self._numbers.clear()
        self._calls.clear()  # what was sent and not waited for
        self._used.clear()
        self._late.clear()
