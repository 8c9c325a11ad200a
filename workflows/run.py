"""The Run of a server's job process: what a workflow holds in its hands.

It decides nothing about durability: it asks a `Supervisor` to open and close steps, and waits for its answers by
pumping the main thread's mailbox, so that results are filtered and checked while it waits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import structlog

from ..kernel.context import Context, Panic, RunAborted, derive_seed, entered, task_place
from ..kernel.errors import Failure, RemoteError
from ..kernel.messages import ScatterEnd, StepMetrics
from ..kernel.roles import Policy, Run, Wait
from ..kernel.shareable import Shareable
from ..kernel.tasks import Result, Task
from ..kernel.wording import did_you_mean
from .calls import GONE, BehindCommit, Call, OutsideSteps, RepeatDiffers, SinceCommit, SiteNotInRun, Turns, refuse_unless, reopened
from .filtering import Filters
from .metrics import mean_metrics
from .policy import PolicyFailed, SitesPolicy
from .supervision import LeftOpen, StepRequest, StepResult, Supervisor, WorkflowEnd

log = structlog.get_logger()


class JobRun(Run):
    """The Run of a server's job process; `enter` readies it for one workflow after the other.

    Args:
        left_open: workflow → its tasks that an earlier process left open when it closed a step.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        context: Context,
        sites: Sequence[str],
        filters: Filters,
        left_open: Mapping[str, Sequence[LeftOpen]] | None = None,
    ) -> None:
        self.id = context.run_id
        self.sites = tuple(sorted(sites))
        self.context = context
        self._supervisor = supervisor
        self._filters = filters
        self._gone: dict[str, Failure] = {}
        self._calls: dict[str, Call] = {}
        """Task id → its call, while somebody may still want its result."""
        self._left_open = {workflow: dict(map(reopened, tasks)) for workflow, tasks in (left_open or {}).items()}
        """The calls of workflows that have not been entered yet."""
        self._used: dict[str, Result] = {}
        """Task id → result that is used in the step."""
        self._since = SinceCommit()
        self._state: Shareable | None = None
        self._closed = -1
        self._is_over = False
        """Whether the last closed step was said to be the last one."""
        self._turns = Turns()
        self.parts: Callable[[], Shareable | None] = lambda: None

    # --- a workflow's life --------------------------------------------------------------------------------------

    def enter(self, workflow: str, closed: int, state: Shareable | None, *, is_over: bool = False) -> None:
        """Ready for a workflow whose last closed step is `closed` (-1: none), with the state committed there.

        Args:
            is_over: that step was the last one.
        """
        self.context.workflow, self.context.step = workflow, -1
        self._closed, self._state, self._is_over = closed, state, is_over
        self._turns = Turns()
        self._forget_commit()
        self._calls = self._left_open.pop(workflow, {})
        for site, failure in self._gone.items():
            self.on_site_gone(site, failure)
        self._seed()  # whatever is closed already: what a workflow draws before its first step is the same again

    def leave(self) -> None:
        """Record that the workflow has ended: it is not run again, and no result of its open tasks is wanted any more."""
        end = WorkflowEnd(
            self.context.workflow, self.parts(), self._all_used(), self._still_open(), self._step_metrics(), tuple(self.context.notes),
            tuple(self._since.unused),
        )  # fmt: skip
        self._supervisor.end_workflow(end)
        self.context.notes.clear()
        self._forget_commit()
        self._calls = {}

    @property
    def state(self) -> Shareable | None:
        return self._state

    @property
    def rng(self) -> np.random.Generator:
        return self.context.rng

    @property
    def open_tasks(self) -> tuple[Task, ...]:
        sent = ((task_id, call) for task_id, call in self._calls.items() if call.is_sent)
        return tuple(
            replace(call.task, model=None, shared={}, id=task_id, workflow=self.context.workflow, step=call.step, site=call.site)
            for task_id, call in sent
        )

    def steps(self, count: int, start: int = 0) -> Iterator[int]:
        if self._turns.is_outside:
            raise OutsideSteps("tasks were sent before run.steps", where=f"step {self.context.step}")
        self._turns.has_some = True
        for step in range(max(start, self._closed + 1), start + count):
            if self._is_over and start <= self._closed:
                break
            self._open(step)
            self.context.events.step_started(workflow=self.context.workflow, step=step)
            is_nested, self._turns.is_in_one = self._turns.is_in_one, True
            try:
                yield step
            except GeneratorExit:
                if self._closed >= step and not self._is_over:
                    log.warning("steps_left_behind_a_commit", workflow=self.context.workflow, step=step, cure="run.commit(…, last=True)")
                raise
            finally:
                self._turns.is_in_one = is_nested
        self._seed(start + count, "over")  # whatever was drawn since the last step was closed, or since a restart behind it

    def commit(self, state: Shareable | None = None, metrics: Mapping[str, float] | None = None, *, last: bool = False) -> None:
        self._open_next("run.commit")
        if self._turns.has_some and self._turns.is_outside:
            raise OutsideSteps("run.commit comes behind the loop over run.steps", where=f"step {self.context.step}")
        refuse_unless("run.commit", state, Shareable | None)
        where = (self.context.workflow, self.context.step)
        self.context.events.before_commit(workflow=where[0], step=where[1])
        result = StepResult(
            *where, state, self.parts(), self._all_used(), self._still_open(), self._step_metrics(metrics), tuple(self.context.notes),
            tuple(self._since.unused), last,
        )  # fmt: skip
        kept = self._supervisor.commit(result)
        self.context.notes.clear()
        self._state = kept if kept is not None else self._state
        self._closed, self._is_over, self._turns.is_outside = self.context.step, last, False
        self.context.events.after_commit(workflow=where[0], step=where[1], state=self._state)
        self.context.events.step_ended(workflow=where[0], step=where[1])
        self._forget_commit()
        self._seed(self._closed, "closed")

    def abort(self, reason: str) -> None:
        raise RunAborted(reason)

    def _all_used(self) -> tuple[str, ...]:
        return (*self._since.used, *self._used)

    def _still_open(self) -> dict[str, str]:
        return {task_id: "sent" if call.is_sent else "late" for task_id, call in self._calls.items()}

    def _step_metrics(self, own: Mapping[str, float] | None = None) -> StepMetrics:
        by_step = sorted(self._used.values(), key=lambda result: result.step)  # a late result's metrics are older
        sites = {result.site: result.metrics for result in by_step if result.metrics}
        numbers = mean_metrics(self._used.values()) if own is None else own
        return StepMetrics({key: float(value) for key, value in numbers.items()}, sites)

    # --- tasks --------------------------------------------------------------------------------------------------

    def scatter(
        self, task: Task, sites: Sequence[str] | None = None, policy: Policy | None = None, check: Callable[[Result], None] | None = None
    ) -> Iterable[Result]:
        rule = SitesPolicy() if policy is None else policy
        refuse_unless("policy", rule, Policy)
        if isinstance(sites, str):  # else each of its letters would be taken for a site
            raise TypeError(f"sites: wanted a list of names, got a str: {sites!r:.80}")
        call = self._issue(task, tuple(sorted(set(self.sites if sites is None else sites))), rule.describe(), check)
        if call.before is None:
            self._wait_for(call, rule)
            late = self._late_calls(call) if rule.late == "next_step" else []
        else:
            late = self._repeat(call, call.before, rule)
        added = [result for one in late for result in self._use_late(one, call)]
        self._end(call, added, is_failed=False)
        if rule.late == "next_step":
            self._leave_open(call)
        return [*(call.results[site] for site in sorted(call.results)), *added]

    def send(self, task: Task, site: str) -> str:
        call = self._issue(task, (site,), f"{site} must answer", None, is_sent=True)
        call.end_as_before()
        return call.ids[site]

    def wait(self, task_id: str) -> Result:
        call = self._calls.get(task_id)
        if call is None or not call.is_sent:
            raise ValueError(f"wanted a task that was sent and not waited for yet, got {task_id!r}")
        self._wait_for(call, SitesPolicy())
        return self._single_result(call)

    def next_result(self) -> Result:
        grace_ends: float | None = None
        while True:
            self.context.abort.check()
            waiting = [call for call in self._calls.values() if call.is_sent]
            if not waiting:
                raise ValueError("wanted at least one task that was sent and not waited for yet, got none")
            answered = [call for call in waiting if call.has_outcome or call.before is not None]
            first = min(answered, key=lambda call: call.turn, default=None)
            if first is not None and first.has_outcome:
                return self._single_result(first)
            now = self._supervisor.now()
            if any(not call.lost for call in waiting):
                grace_ends = None
            elif grace_ends is None:
                grace_ends = now + SitesPolicy().grace_seconds
            elif now >= grace_ends:
                return self._single_result(waiting[0])
            self._supervisor.pump(None if grace_ends is None else grace_ends - now)

    def _single_result(self, call: Call) -> Result:
        """The outcome of a single task, filtered when it is asked for: so filters see results in the order in which they are used."""
        self._admit_arrived(call)
        self._end(call, [], is_failed=not call.results)
        if not call.results:
            raise self._policy_failed(call, SitesPolicy())
        return call.results[call.site]

    # --- what arrives, called from pump -------------------------------------------------------------------------

    def on_result(  # what is known of it
        self, task_id: str, site: str, answer: Shareable | Failure, shared: Mapping[str, Any], number: int = 0, rejected: str = ""
    ) -> None:
        """A site answered a task: filter and check it, or note why it is lost.

        Args:
            number: the place of the result in the journal, among all results of the run.
            rejected: why a process before this one has rejected it.

        Raises:
            RemoteError: the site's code called `ctx.panic`.
            Panic: a filter or a check did here.
        """
        if isinstance(answer, Failure) and answer.code == Panic.code:
            raise RemoteError(answer)
        call = self._call_of(task_id)
        if call is None or call.has_come(task_id):
            return
        if not call.takes(task_id, site, is_failure=isinstance(answer, Failure)):
            call.later.append((task_id, site, answer, shared, number, rejected))
            return
        call.number = number
        if rejected:
            call.rejected[task_id] = rejected
        if isinstance(answer, Failure):
            call.lost[site], call.failures[site] = f"failed: {answer}", answer
            return
        call.lost.pop(site, None)  # it was gone
        call.arrived[site] = Result(site, call.task.name, answer, task_id, shared, call.step)
        if not call.is_held:
            self._admit(call, site)

    def on_unreadable(self, task_id: str, failure: Failure, number: int = 0) -> None:
        """What a site answered cannot be read."""
        call = self._call_of(task_id)
        if call is not None and not call.has_come(task_id):
            call.number = number
            self._reject(call, task_id, failure)

    def on_site_gone(self, site: str, failure: Failure) -> None:
        """Nothing more will come from a site for now."""
        self._gone[site] = failure
        for call in self._calls.values():
            if site in call.ids and site not in call.results and site not in call.arrived:
                call.lost.setdefault(site, f"{GONE}{failure.what}")
                call.failures.setdefault(site, failure)

    def on_site_back(self, site: str) -> None:
        """A site that was gone answers again."""
        self._gone.pop(site, None)
        for call in self._calls.values():
            if call.lost.get(site, "").startswith(GONE):
                del call.lost[site]
                call.failures.pop(site, None)

    def _call_of(self, task_id: str) -> Call | None:
        return self._calls.get(task_id) or next((calls[task_id] for calls in self._left_open.values() if task_id in calls), None)

    # --- filters ------------------------------------------------------------------------------------------------

    def _admit_arrived(self, call: Call) -> bool:
        """Filter what was held, in site-name order; tells whether there was anything."""
        waiting = sorted(call.arrived)
        for site in waiting:
            self._admit(call, site)
        return bool(waiting)

    def _admit(self, call: Call, site: str, check: Callable[[Result], None] | None = None) -> None:
        """Let a result through filters and checks into the call's results; or reject it. One that the journal has as rejected stays so."""
        result = call.arrived.pop(site)
        call.order.append(result.task_id)
        rejected = call.rejected.get(result.task_id)
        failure = None if rejected is None else Failure(RepeatDiffers.code, rejected, site=site)
        try:
            admitted = self._admitted(call, result, check or call.check)
        except (Panic, RunAborted):
            raise
        except Exception as exc:  # noqa: BLE001  # third-party filter or check
            failure = Failure.of(exc, site=site)
        if failure is None:
            call.results[site] = admitted
            self.context.events.result_accepted(result=admitted)
        else:
            self._reject(call, result.task_id, failure)
            self.context.events.result_rejected(result=result, reason=failure.what)

    def _admitted(self, call: Call, result: Result, check: Callable[[Result], None] | None) -> Result:
        context = self._call_context(call, result.site, result.shared, "result")
        self.context.events.result_received(result=result)
        filtered = self._filters.result(call.task, result.shareable, context)
        admitted = replace(result, shareable=filtered, shared=dict(context.shared.as_dict))
        if check is not None:
            with entered(context):
                check(admitted)
        return admitted

    def _reject(self, call: Call, task_id: str, failure: Failure) -> None:
        call.lost[failure.site], call.failures[failure.site] = f"rejected: {failure.what}", failure
        self._supervisor.reject(task_id, failure.what)

    def _late_calls(self, call: Call) -> list[Call]:
        """Tasks of this name that earlier steps left open and that have an outcome now, in the journal's order."""
        late = [one for one in self._calls.values() if not one.is_sent and one.step < call.step and one.task.name == call.task.name]
        return sorted((one for one in late if one.has_outcome), key=lambda one: one.number)

    def _use_late(self, late: Call, call: Call) -> list[Result]:
        """The result of such a task, used where `call` ends; none if it failed or is rejected."""
        if late.arrived:
            self._admit(late, late.site, call.check)
        call.order += late.ids.values()
        del self._calls[late.ids[late.site]]
        return list(late.results.values())

    # --- one scatter --------------------------------------------------------------------------------------------

    def _issue(
        self, task: Task, sites: tuple[str, ...], policy: str, check: Callable[[Result], None] | None, *, is_sent: bool = False
    ) -> Call:
        refuse_unless("a task of the run", task, Task)
        for site in set(sites) - set(self.sites):
            raise SiteNotInRun(f"wanted sites of the run, got {site!r}{did_you_mean(site, self.sites)}", where=f"task {task.name!r}")
        self._open_next(f"task {task.name!r}")
        ids = {site: self._task_id(task.name, site) for site in sites}
        call = Call(task, self.context.step, ids, check, is_sent, is_held=is_sent or self._filters.need_order(task.name))
        call.nth = {site: self._since.numbers[self.context.step, task.name, site] for site in sites}
        outgoing = [self._outgoing(call, site) for site in sites]
        models, shared = tuple(model for model, _ in outgoing), tuple(values for _, values in outgoing)
        self._calls.update(dict.fromkeys(ids.values(), call))
        ended, self._since.ended = tuple(self._since.ended), []
        step = (self.context.workflow, self.context.step)
        call.is_opening = True
        try:
            call.before = self._supervisor.open_step(
                StepRequest(*step, task, tuple(ids.values()), sites, models, shared, policy, ended, tuple(call.nth.values()))
            )
        except Exception:  # it is too large, for example, and was not sent: nothing is to be waited for
            for task_id in ids.values():
                del self._calls[task_id]
            raise
        call.is_opening = False
        early, call.later = sorted(call.later, key=lambda one: one[4]), []  # one may have come before those that are repeated
        for one in early:
            self.on_result(*one)
        for site in sites:
            self.context.events.after_task_sent(task=task, site=site)
        for site in self._gone.keys() & ids.keys():
            self.on_site_gone(site, self._gone[site])
        return call

    def _task_id(self, task: str, site: str) -> str:
        step = self.context.step
        self._since.numbers[step, task, site] += 1
        parts = (self.id, self.context.workflow, step, task, site, self._since.numbers[step, task, site], 1)
        return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:16]

    def _outgoing(self, call: Call, site: str) -> tuple[Shareable | None, Mapping[str, Any]]:
        """What a site is sent: model and shared values, as the filters leave them."""
        task = call.task
        self.context.events.before_task_sent(task=task, site=site)
        if task.model is None:
            return None, task.shared
        context = self._call_context(call, site, task.shared, "data")
        model = self._filters.task(task, task.model, context)
        return model, task.shared if context.shared.as_dict == task.shared else context.shared.as_dict

    def _call_context(self, call: Call, site: str, shared: Mapping[str, Any], chain: str) -> Context:
        """The context of one pass through a chain of filters, with a seed of its own."""
        place = task_place(self.context.workflow, call.step, call.task.name, site, call.nth.get(site, 1))
        seed = derive_seed(self.context.seed, *place, chain)
        return self.context.for_call(task=call.task.name, seed=seed, shared=shared)

    def _wait_for(self, call: Call, policy: Policy) -> None:
        """Wait until the policy is content. Results that were held are filtered when it is; a rejection asks it again."""
        grace_ends: float | None = None
        while True:
            self.context.abort.check()
            over = grace_ends is not None and self._supervisor.now() >= grace_ends
            decision = policy.decide_after_grace(call.responses()) if over else policy.decide(call.responses())
            if decision is Wait.DONE:
                if call.is_sent or not self._admit_arrived(call):
                    return
                continue
            if decision is Wait.FAIL:
                self._end(call, [], is_failed=True)
                raise self._policy_failed(call, policy)
            if decision is Wait.GRACE and grace_ends is None:
                grace_ends = self._supervisor.now() + policy.grace_seconds
            self._supervisor.pump(None if grace_ends is None or over else max(0.0, grace_ends - self._supervisor.now()))

    def _repeat(self, call: Call, before: ScatterEnd, policy: Policy) -> list[Call]:
        """End a scatter with exactly the results that ended it before this process began; gives the late calls among them.

        Raises:
            PolicyFailed: it failed then.
            RepeatDiffers: a result that was used then is rejected now.
        """
        wanted = {task_id: self._calls[task_id] for task_id in before.results}
        while not all(one.has_come(task_id) for task_id, one in wanted.items()):
            self.context.abort.check()
            self._supervisor.pump(None)
        lost, ids = dict(before.lost), {task_id: site for site, task_id in call.ids.items()}
        own = [ids[task_id] for task_id in before.results if task_id in ids]
        for site in own:
            if site in call.arrived:
                self._admit(call, site)
        used = [site for site in own if site not in lost]
        for site in set(used) - call.results.keys():
            raise RepeatDiffers(f"a result was used, and is now {call.lost[site]}", where=f"{site}: task {call.task.name!r}")
        call.results = {site: call.results[site] for site in used}
        call.order, call.lost = [call.ids[site] for site in own], lost
        if before.is_failed:
            self._end(call, [], is_failed=True)
            raise self._policy_failed(call, policy)
        return [one for one in wanted.values() if one is not call]

    def _policy_failed(self, call: Call, policy: Policy) -> Exception:
        """The first cause wins: one site's own failure is named with its code and line, not buried in the policy's."""
        first = next((call.failures[site] for site in sorted(call.failures)), None)
        return PolicyFailed(call.task.name, policy.describe(), call.responses(), first=first)

    def _end(self, call: Call, late: Sequence[Result], *, is_failed: bool) -> None:
        """The call is over: its results are used in this step, unless it failed, and what comes for it from now on is late."""
        for site, task_id in call.ids.items():
            self._calls.pop(task_id, None)
            if is_failed:
                self._since.unused.append(task_id)
            elif site in call.results:
                self._used[task_id] = call.results[site]
        self._used.update((result.task_id, result) for result in late)
        if call.ids:
            self._since.ends += 1
            end = ScatterEnd(list(call.ids.values()), list(call.order), sorted(call.lost.items()), is_failed, self._since.ends)
            self._since.ended.append(end)

    def _leave_open(self, call: Call) -> None:
        """Sites that have not answered, or are gone, may still do so in a later step."""
        for site, task_id in call.ids.items():
            if site not in call.results and call.lost.get(site, GONE).startswith(GONE):
                open_call = Call(replace(call.task, model=None), call.step, {site: task_id}, is_held=True, nth=call.nth)
                self._calls[task_id] = open_call
        for one in call.later:
            self.on_result(*one)

    def _open_next(self, what: str) -> None:
        """Open the step behind the last closed one, unless one is open.

        Raises:
            BehindCommit: the turn of `steps` has closed its own.
        """
        if self.context.step > self._closed:
            return
        if self._turns.is_in_one:
            raise BehindCommit(f"{what} comes behind run.commit in one turn of run.steps", where=f"step {self._closed}")
        self._open(self._closed + 1)
        self._turns.is_outside = True

    def _open(self, step: int) -> None:
        self._since.used += self._used
        self._used.clear()
        self.context.step = step
        self._seed(step)

    def _seed(self, *place: object) -> None:
        """Begin `rng` and the global generators anew, so that what is drawn after a restart is what would have been drawn without."""
        seed = derive_seed(self.context.seed, self.context.workflow, *place)
        self.context.seed_rng(seed)
        self._supervisor.seed(seed)

    def _forget_commit(self) -> None:
        self._since = SinceCommit()
        self._used.clear()
