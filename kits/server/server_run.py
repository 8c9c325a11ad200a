"""What the server decides about one run: `ServerRun`, a reducer from events to records and actions (PROTOCOL §2, §6–8).

No clock, no I/O, no await. `on(event)` gives the records to append and the actions to perform once they are durable;
it has then already applied them to its state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import cast

from ...kernel.errors import Failure, JobError
from ...kernel.wording import cut
from ..handover import messages as job
from ..protocol.messages import AbortRun, AbortTask, RunEnded, Stored, TaskFor, Unknown, Verdicts
from ..protocol.records import (
    AnyRecord,
    Carried,
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
from . import run_events as ev
from .run_events import Action, EndRun, Launch, Receive, Release, Send, StopJob, Tell
from .run_state import OPEN, Committed, Phase, RunState, TaskState

MAX_DEATHS = 3
"""A job process that dies this often without a new record in between is not started again."""
MAX_OPEN_TASKS = 10_000
"""Of one site at a time: its Sync names them all. With ids of 63 characters they take 650 kB; six such runs fit a header of 4 MiB."""
MAX_VERDICTS = 2000
"""Verdicts in one message to a site."""
MAX_VERDICT_CHARACTERS = 500
"""Of a verdict's reason in it; the record, and the report, have it whole."""
STEP_CLOSED = "the step is closed"
NOT_WANTED = "no result of it is wanted any more"
_NEVER_USED = ("dropped", "its workflow has ended")
"""The verdict of a task that was sent singly and not waited for."""


class JobProcessDied(JobError):
    """A job process died again and again.

    Cause: it was killed by a signal (out of memory?), or crashed in native code; the message says which, with its last words.

    Cure: read the run's log.txt; give it more memory, or mend the crash.
    """

    code = "SD-4101"


class TaskDiffers(JobError):
    """A step that runs again after a death sends a task with another payload than the one that sites were sent.

    Cause: a workflow, or a filter of the server, depends on something that is not the same again: the clock, a file, a random
    generator that it seeds itself, or a state that it does not give in `state()`.

    Cure: draw from `run.rng`, `ctx.rng`, `random`, `numpy.random` or torch without seeding them, and let components that keep
    a state have `state()` and `restore()`.
    """

    code = "SD-4112"


class TooManyTasks(JobError):
    """A workflow has more than 10,000 tasks open for one site.

    Cause: it sends tasks, by `run.send` or with many names in one step, faster than it waits for their results.

    Cure: wait for results with `run.next_result` before more is sent, or put what is small into one task.
    """

    code = "SD-4114"


class ServerRun(RunState):
    """One run at the server, with what is to be done about it."""

    # --- what happens -------------------------------------------------------------------------------------------

    def on(self, event: ev.Event) -> tuple[list[AnyRecord], list[Action]]:
        """What to write down, then what to do."""
        records, actions = self._decide(event)
        for record in records:
            self.apply(record)
        return records, actions

    def _decide(self, event: ev.Event) -> ev.Decision:  # noqa: C901, PLR0911, PLR0912  # a table, one line an event
        if not self._counts(event):
            return [], []
        match event:
            case ev.Begun():
                return self._begun(event)
            case ev.StepAsked():
                return self._step_asked(event)
            case ev.CommitAsked():
                return self._commit_asked(event)
            case ev.RejectAsked():
                return self._reject_asked(event)
            case ev.WorkflowOver():
                return self._workflow_over(event)
            case ev.FinishSaid():
                return self._finish_said(event)
            case ev.Broken():
                return self._broken(event)
            case ev.JobDied():
                return self._job_died(event)
            case ev.Offered():
                return self._offered(event)
            case ev.ResultHere():
                return self._result_here(event)
            case ev.ReceiveFailed():
                return self._receive_failed(event)
            case ev.SiteUp():
                return self._site_up(event)
            case ev.SiteDown():
                return self._site_down(event)
            case ev.SiteStalled():
                return self._site_stalled(event)
            case ev.SiteCannot():
                return self._site_cannot(event)
            case ev.DeadlinePassed():
                return self._deadline_passed(event)
            case ev.AbortAsked():
                return self._abort_asked(event)

    def _counts(self, event: ev.Event) -> bool:
        """Once the outcome is known no step is opened, closed or added to; behind RunFinished nothing is written."""
        if self.outcome is None:
            return True
        last = ev.SiteUp if self.phase is Phase.ENDED else ev.SiteUp | ev.SiteDown | ev.FinishSaid | ev.Broken | ev.JobDied
        return isinstance(event, last)

    def _begun(self, event: ev.Begun) -> ev.Decision:
        started = RunStarted("", self.run, self.term, list(self.sites), event.seed, event.at)
        return [started], [Launch()]

    def _step_asked(self, event: ev.StepAsked) -> ev.Decision:
        asked = {t.task_id: event.carried[t.carried] for t in event.tasks}
        fresh = [t for t in event.tasks if t.task_id not in self.tasks]
        known = [self.tasks[t.task_id] for t in event.tasks if t.task_id in self.tasks]
        error = self._refusal(event, asked, fresh)
        if error is not None:
            return self._broken(ev.Broken(Failure.of(error, site="server"), event.at))
        records: list[AnyRecord] = [
            ScatterEnded("", event.workflow, event.step, end) for end in event.ended if end.tasks[0] not in self.ended_scatters
        ]
        records += [StepOpened("", event.workflow, event.step, event.policy, fresh, list(event.carried), event.at)] if fresh else []
        barred = [t for t in fresh if t.site in self.excluded]
        failures = [ResultReceived("", t.task_id, t.site, None, b"", self.excluded[t.site], event.at) for t in barred]
        before = self.ended_scatters.get(event.tasks[0].task_id) if event.tasks else None
        actions: list[Action] = [Tell(_result_for(failure, self.results + number)) for number, failure in enumerate(failures, 1)]
        actions += [self._hand_on(task, task.received) for task in sorted(known, key=_number) if task.received is not None]
        actions += [Tell(job.StepOpened(event.workflow, event.step, before))]
        reachable = self.connected - self.excluded.keys()
        actions += [self._send_task(t, asked[t.task_id], event.workflow, event.step) for t in fresh if t.site in reachable]
        return [*records, *failures], actions

    def _refusal(self, event: ev.StepAsked, asked: Mapping[str, Carried], fresh: Sequence[OpenTask]) -> JobError | None:
        """Why the tasks of a step cannot be sent, if they cannot."""
        where = f"{event.workflow}, step {event.step}"
        known = (self.tasks[task_id] for task_id in asked if task_id in self.tasks)
        changed = next((t for t in known if not _is_same(asked[t.open.task_id], t.carried)), None)
        if changed is not None:
            what = f"task {changed.open.name!r} for {changed.open.site} carries another payload than before a process of the run died"
            return TaskDiffers(what, where=where)
        if len(self.tasks) + len(fresh) > MAX_OPEN_TASKS:  # else no site has so many
            open_at = Counter([*(t.open.site for t in self.tasks.values()), *(t.site for t in fresh)])
            site, count = open_at.most_common(1)[0]
            if count > MAX_OPEN_TASKS:
                return TooManyTasks(f"wanted at most {MAX_OPEN_TASKS:,} open tasks for {site}, got {count:,}", where=where)
        return None

    def _commit_asked(self, event: ev.CommitAsked) -> ev.Decision:
        told = Tell(job.StepClosed(event.workflow, event.step))
        if self.committed.get(event.workflow, Committed(-1)).step >= event.step:
            return [], [told]
        tasks = [
            *(task for step in self.steps_open(event.workflow, event.step) for task in self.open_steps[step]),
            *(task for task in self.left_open(event.workflow) if task.open.task_id not in event.still_open),
        ]
        open_ones = {task_id: (OPEN, how) for task_id, how in event.still_open.items()}
        verdicts = self._verdicts(tasks, event, open_ones)
        closed = StepClosed(
            "", event.workflow, event.step, list(event.payloads), list(event.metas), event.has_state, verdicts, event.metrics, event.at,
            self._news_of(event.notes), list(event.files), event.is_last,
        )  # fmt: skip
        return [closed], [told, *self._tell_verdicts(zip(tasks, verdicts, strict=True)), Release()]

    def _tell_verdicts(self, judged: Iterable[tuple[TaskState, tuple[str, str, str]]]) -> list[Action]:
        """What the sites hear of tasks that are over: the verdict of a result, or that a task is to stop."""
        of_site: dict[str, list[tuple[TaskState, tuple[str, str, str]]]] = {}
        for task, verdict in judged:
            if verdict[1] != OPEN:
                of_site.setdefault(task.open.site, []).append((task, verdict))
        actions: list[Action] = []
        for site in sorted(of_site.keys() & self.connected):
            answered = [_said(verdict) for task, verdict in of_site[site] if task.received is not None or verdict[1] != "missing"]
            actions += [Send(site, Verdicts(self.term, self.run, some)) for some in _in_messages(answered)]
            stopped = [task for task, verdict in of_site[site] if task.received is None and verdict[1] in ("missing", "dropped")]
            actions += [Send(site, AbortTask(self.run, task.open.task_id, STEP_CLOSED)) for task in stopped]
        return actions

    def _verdicts(
        self, tasks: Iterable[TaskState], event: ev.CommitAsked | ev.WorkflowOver, open_ones: Mapping[str, tuple[str, str]]
    ) -> list[tuple[str, str, str]]:
        used, unused = frozenset(event.used), frozenset(event.unused)
        return [(task.open.task_id, *(open_ones.get(task.open.task_id) or self._verdict(task, used, unused))) for task in tasks]

    def _verdict(self, task: TaskState, used: frozenset[str], unused: frozenset[str]) -> tuple[str, str]:
        if task.rejected:
            return "rejected", task.rejected
        if task.open.task_id in used:
            return "used", ""
        if task.received is None:
            return "missing", "gone" if task.open.site in self.gone else "no result in time"
        if task.received.failure is not None:
            return "rejected", f"failed: {task.received.failure}"
        return ("dropped", "its scatter failed") if task.open.task_id in unused else ("late", "")

    def _workflow_over(self, event: ev.WorkflowOver) -> ev.Decision:
        if event.workflow in self.ended_workflows:
            return [], []
        tasks = [task for task in self.tasks.values() if task.workflow == event.workflow]
        open_ones = {task_id: _NEVER_USED for task_id, how in event.still_open.items() if how == "sent"}
        verdicts = self._verdicts(tasks, event, open_ones)
        over = WorkflowEnded(
            "", event.workflow, list(event.payloads), list(event.metas), verdicts, event.metrics, event.at, self._news_of(event.notes),
            list(event.files),
        )  # fmt: skip
        return [over], [*self._tell_verdicts(zip(tasks, verdicts, strict=True)), Release()]

    def _news_of(self, notes: Iterable[str]) -> list[str]:
        return [note for note in notes if note not in self.notes]

    def _reject_asked(self, event: ev.RejectAsked) -> ev.Decision:
        task = self.tasks.get(event.task_id)
        if task is None or task.rejected:
            return [], []
        return [ResultRejected("", event.task_id, task.open.site, event.reason)], []

    def _offered(self, event: ev.Offered) -> ev.Decision:
        offer, task = event.offer, self.tasks.get(event.offer.task_id)
        if task is None and self.closed_tasks.find(offer.task_id):
            return [], [self._late(event.site, offer.task_id)]
        if task is None or task.open.site != event.site:
            return [], [Send(event.site, Unknown(self.run, offer.task_id))]
        if task.received is not None:
            return [], [Send(event.site, Stored(self.run, offer.task_id))]
        if task.receiving:
            return [], []
        task.receiving = True
        return [], [Receive(event.site, offer, event.meta, event.inline)]

    def _late(self, site: str, task_id: str) -> Send:
        """What a site hears of a result that comes when its task is over."""
        verdict = self.closed_tasks.find(task_id)
        said = verdict if verdict in ("used", "rejected") else "late"
        return Send(site, Verdicts(self.term, self.run, [(task_id, said, "" if said == "used" else STEP_CLOSED)]))

    def _result_here(self, event: ev.ResultHere) -> ev.Decision:
        offer, task = event.offer, self.tasks.get(event.offer.task_id)
        if task is None:
            return [], [self._late(event.site, offer.task_id)]
        task.receiving = False
        if task.received is not None:
            return [], []
        received = ResultReceived("", offer.task_id, event.site, offer.payload, event.meta, offer.failure, event.at)
        handed = Tell(_result_for(received, self.results + 1), received, event.inline)
        return [received], [Send(event.site, Stored(self.run, offer.task_id)), handed]

    def _receive_failed(self, event: ev.ReceiveFailed) -> ev.Decision:
        task = self.tasks.get(event.task_id)
        if task is None:
            return [], [self._late(event.site, event.task_id)]
        task.receiving = False
        if event.failure is None or task.received is not None:
            return [], []
        received = ResultReceived("", event.task_id, task.open.site, None, b"", event.failure, event.at)
        return [received], [Send(task.open.site, Stored(self.run, event.task_id)), Tell(_result_for(received, self.results + 1))]

    # --- sites --------------------------------------------------------------------------------------------------

    def _site_up(self, event: ev.SiteUp) -> ev.Decision:
        self.connected.add(event.site)
        actions: list[Action] = []
        if event.site in self.gone:
            del self.gone[event.site]
            actions.append(Tell(job.SiteBack(event.site)))
        if self.outcome is not None:
            return [], [Send(event.site, RunEnded(self.run, self.outcome.status))]
        owed = {t.open.task_id for t in self._open_tasks(event.site)}
        actions += [Send(event.site, AbortTask(self.run, task_id, NOT_WANTED)) for task_id in event.working if task_id not in owed]
        has = {*event.working, *event.kept}
        owing = [t for t in self._open_tasks(event.site) if t.open.task_id not in has]
        actions += [self._send_task(t.open, t.carried, t.workflow, t.step) for t in owing]
        return [], actions

    def _site_down(self, event: ev.SiteDown) -> ev.Decision:
        self.connected.discard(event.site)
        return [], []

    def _site_stalled(self, event: ev.SiteStalled) -> ev.Decision:
        if event.site in self.connected or event.site in self.gone:
            return [], []
        self.gone[event.site] = event.failure
        return [], [Tell(job.SiteGone(event.site, event.failure))]

    def _site_cannot(self, event: ev.SiteCannot) -> ev.Decision:
        """A site's job process cannot go on: each of its open tasks fails, and so will later ones."""
        failure = self.excluded.setdefault(event.site, event.failure)
        mine = self._open_tasks(event.site)
        records = [ResultReceived("", t.open.task_id, event.site, None, b"", failure, event.at) for t in mine]
        return list(records), [Tell(_result_for(record, self.results + number)) for number, record in enumerate(records, 1)]

    def _deadline_passed(self, event: ev.DeadlinePassed) -> ev.Decision:
        task = self.tasks.get(event.task_id)
        if task is None or task.received is not None:
            return [], []
        received = ResultReceived("", event.task_id, task.open.site, None, b"", event.failure, event.at)
        told = Tell(_result_for(received, self.results + 1))
        return [received], [Send(task.open.site, AbortTask(self.run, event.task_id, event.failure.what)), told]

    # --- the job process and the end ----------------------------------------------------------------------------

    def _finish_said(self, event: ev.FinishSaid) -> ev.Decision:
        said = event.finish
        if said.aborted:
            told = self._settle(Status.ABORTED, None, said.aborted, event.at)
        elif said.failure is not None:
            told = self._settle(Status.EXECUTION_EXCEPTION, said.failure, str(said.failure), event.at)
        else:
            missing = sorted(self.left_out)
            status = Status.DEGRADED if missing else Status.COMPLETED
            told = self._settle(status, None, f"without {', '.join(missing)} in some steps" if missing else "", event.at)
        return [], [*told, Tell(job.Finished()), StopJob("", grace_seconds=5.0)]

    def _broken(self, event: ev.Broken) -> ev.Decision:
        told = self._settle(Status.EXECUTION_EXCEPTION, event.failure, str(event.failure), event.at)
        return [], [*told, StopJob(event.failure.what, grace_seconds=2.0)]

    def _abort_asked(self, event: ev.AbortAsked) -> ev.Decision:
        told = self._settle(Status.ABORTED, None, event.reason, event.at)
        return [], [*told, StopJob(event.reason, grace_seconds=2.0)]

    def _settle(self, status: Status, failure: Failure | None, reason: str, at: float) -> list[Action]:
        """The first outcome stays. Unless all went well, what sites still work on is in vain; why it failed is not their business."""
        if self.outcome is not None:
            return []
        self.outcome, self.phase = RunFinished("", status, failure, reason, at), Phase.ENDING
        if status in (Status.COMPLETED, Status.DEGRADED):
            return []
        why = reason if status is Status.ABORTED else "the run has failed"
        return [Send(site, AbortRun(self.run, why)) for site in sorted(self.connected)]

    def _job_died(self, event: ev.JobDied) -> ev.Decision:
        self.deaths += 1
        if self.outcome is None and self.deaths < MAX_DEATHS:
            gone = [Tell(job.SiteGone(site, failure)) for site, failure in self.gone.items()]
            return [], [Launch(), *gone, *self._results_of_open_tasks()]
        told: list[Action] = []
        if self.outcome is None:
            what = f"the server's job process ended {self.deaths} times without progress: {event.how or 'exit without a result'}"
            said = event.last_words and f"; last words: {event.last_words}"
            failure = Failure.of(JobProcessDied(f"{what}{said}"), site="server")
            told = self._settle(Status.EXECUTION_EXCEPTION, failure, str(failure), event.at)
        outcome = cast("RunFinished", self.outcome)
        ends = [Send(site, RunEnded(self.run, outcome.status)) for site in sorted(self.connected)]
        return [outcome], [*told, *ends, EndRun(outcome)]

    # --- pieces -------------------------------------------------------------------------------------------------

    def _open_tasks(self, site: str) -> list[TaskState]:
        """What a site still owes."""
        return [task for task in self.tasks.values() if task.open.site == site and task.received is None]

    def _results_of_open_tasks(self) -> list[Action]:
        """What a new job process has to know of tasks that closed steps left open, in the order in which the results came."""
        answered = [task for task in self.tasks.values() if task.left_open and task.received is not None]
        return [self._hand_on(task, task.received) for task in sorted(answered, key=_number) if task.received]

    def _send_task(self, task: OpenTask, carried: Carried, workflow: str, step: int) -> Send:
        body = TaskFor(self.run, task.task_id, task.name, workflow, step, task.site, task.seed, task.deadline_seconds, carried.payload)
        return Send(task.site, body, carried)

    def _hand_on(self, task: TaskState, received: ResultReceived) -> Tell:
        return Tell(_result_for(received, task.number, task.rejected), received)


def _result_for(received: ResultReceived, number: int, rejected: str = "") -> job.ResultFor:
    return job.ResultFor(received.task_id, received.site, received.payload, received.failure, number=number, rejected=rejected)


def _number(task: TaskState) -> int:
    """The place of its result in the journal: a process that is started again gets results in this order."""
    return task.number


def _is_same(asked: Carried, recorded: Carried) -> bool:
    """Whether a task that is asked for again carries what it did: where its file was handed over does not matter."""
    return (asked.payload.sha256, asked.meta) == (recorded.payload.sha256, recorded.meta)


def _said(verdict: tuple[str, str, str]) -> tuple[str, str, str]:
    """A verdict as sites hear it: used, late or rejected."""
    task_id, word, reason = verdict
    return task_id, word if word in ("used", "rejected") else "late", cut(reason, MAX_VERDICT_CHARACTERS)


def _in_messages(verdicts: list[tuple[str, str, str]]) -> Iterator[list[tuple[str, str, str]]]:
    """Verdicts in pieces that a message has room for."""
    for start in range(0, len(verdicts), MAX_VERDICTS):
        yield verdicts[start : start + MAX_VERDICTS]
