"""What a site decides about one run: `SiteRun`, a reducer from events to actions (PROTOCOL §2, §6, §7).

No clock, no I/O, no await. It writes no journal: what must outlive a job process lies in the outbox until its verdict.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from ...kernel.errors import Failure, JobError
from ..handover import messages as job
from ..protocol.messages import RunSync, SiteFailed, TaskFor
from . import run_events as ev
from .run_events import Action, EndRun, FetchModel, Forget, GiveTask, Keep, Launch, MakeOffer, Report, StopJob, StopTask, Tell

MAX_DEATHS = 3
"""A task at which the job process dies this often has failed."""


class SiteJobDied(JobError):
    """A site's job process died again and again at the same task.

    Cause: it was killed by a signal (out of memory?), or crashed in native code; the message says which, with its last words.

    Cure: read the run's log.txt at that site; give it more memory, or mend the crash.
    """

    code = "SD-4102"


class TaskStopped(JobError):
    """A task was stopped before it had a result.

    Cause: its step was closed without it, its deadline passed, or somebody gave `abort_task`.

    Cure: if the site is only slow, give the policy more grace, or the task a longer deadline.
    """

    code = "SD-4103"


@dataclass
class SiteTask:
    """A task this site has accepted and has no result for yet."""

    task: TaskFor
    meta: bytes
    inline: bytes | None
    is_here: bool = False
    """Whether its model is here."""


@dataclass
class SiteRun:
    """One run at a site."""

    run: str
    waiting: deque[str] = field(default_factory=deque)
    """Tasks in the order they came; the job process has the first one, if it is `working`."""
    tasks: dict[str, SiteTask] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    """Results in the outbox: those of which no verdict was heard."""
    models: dict[str, str] = field(default_factory=dict)
    """Task id → sha256 of the model it needed, until a verdict is heard."""
    working: str = ""
    stopping: dict[str, str] = field(default_factory=dict)
    """Tasks that are to have no other result than a failure, and why."""
    is_up: bool = False
    is_ending: bool = False
    deaths: int = 0

    def sync(self) -> RunSync:
        """What to tell a server that does not know what this site holds."""
        return RunSync(self.run, list(self.waiting), list(self.kept))

    def on(self, event: ev.Event) -> list[Action]:  # noqa: C901, PLR0911  # a table, one line an event
        """What to do."""
        match event:
            case ev.TaskCame():
                return self._task_came(event)
            case ev.ModelHere():
                return self._model_here(event)
            case ev.ModelFailed():
                return self._model_failed(event)
            case ev.JobStarted():
                return self._job_started(event)
            case ev.JobAnswered():
                return self._job_answered(event)
            case ev.ResultKept():
                return self._result_kept(event)
            case ev.JobDied():
                return self._job_died(event)
            case ev.LinkUp():
                return self._link_up(event)
            case ev.VerdictHeard():
                return self._verdict_heard(event)
            case ev.TaskAborted():
                return self._task_aborted(event)
            case ev.GraceOver():
                return self._grace_over(event)
            case ev.RunOver():
                return self._run_over(event)

    def _task_came(self, event: ev.TaskCame) -> list[Action]:
        task = event.task
        if task.task_id in self.kept:
            return [MakeOffer(task.task_id)]
        if task.task_id in self.tasks or self.is_ending:
            return []
        self.tasks[task.task_id] = SiteTask(task, event.meta, event.inline)
        self.waiting.append(task.task_id)
        if not task.payload.has_blob or event.inline is not None:
            return self._model_here(ev.ModelHere(task.task_id))
        self.models[task.task_id] = task.payload.sha256
        return [FetchModel(task, event.inline)]

    def _model_here(self, event: ev.ModelHere) -> list[Action]:
        if event.task_id in self.tasks:
            self.tasks[event.task_id].is_here = True
        return self._give_next()

    def _give_next(self) -> list[Action]:
        if not self.is_up or self.working or not self.waiting or self.is_ending:
            return []
        first = self.tasks[self.waiting[0]]
        if not first.is_here or first.task.task_id in self.stopping:
            return []
        self.working = first.task.task_id
        return [GiveTask(first.task, first.meta, first.inline)]

    def _model_failed(self, event: ev.ModelFailed) -> list[Action]:
        return self._fail(event.task_id, event.failure)

    def _fail(self, task_id: str, failure: Failure) -> list[Action]:
        """The task's result is a failure; it is kept and offered like any other. Until it is kept the task is not given again."""
        if task_id not in self.tasks:
            return []
        self.stopping.setdefault(task_id, failure.what)
        task = self.tasks[task_id].task
        return [Keep(job.ResultFor(task_id, task.site, None, failure), b"")]

    # --- the job process ----------------------------------------------------------------------------------------

    def _job_started(self, event: ev.JobStarted) -> list[Action]:
        if event.failure is None:
            self.is_up = True
            return self._give_next()
        self.is_ending = True
        return [Report(SiteFailed(self.run, event.failure)), StopJob("", grace_seconds=2.0)]

    def _job_answered(self, event: ev.JobAnswered) -> list[Action]:
        if event.result.task_id not in self.tasks or (self.is_ending and event.result.failure is not None):
            return []  # a task that had to stop because the site does is no failure: it was not done
        self.deaths = 0
        return [Keep(event.result, event.body)]

    def _result_kept(self, event: ev.ResultKept) -> list[Action]:
        if self.tasks.pop(event.task_id, None) is None:
            return []
        self.waiting.remove(event.task_id)
        self.kept.append(event.task_id)
        self.stopping.pop(event.task_id, None)
        told: list[Action] = []
        if self.working == event.task_id:
            self.working = ""
            told = [Tell(job.Kept(event.task_id))]
        return [*told, MakeOffer(event.task_id), *self._give_next()]

    def _job_died(self, event: ev.JobDied) -> list[Action]:
        self.is_up = False
        task_id, self.working = self.working, ""
        if self.is_ending:
            return [EndRun()]
        if task_id in self.stopping:
            return [*self._fail(task_id, Failure.of(TaskStopped(self.stopping[task_id]))), Launch()]
        self.deaths += 1
        if self.deaths < MAX_DEATHS:
            return [Launch()]
        self.deaths = 0
        how = event.how or "exit without a result"
        last = event.last_words and f"; last words: {event.last_words}"
        failure = Failure.of(SiteJobDied(f"the job process ended {MAX_DEATHS} times: {how}{last}"))
        if task_id:
            return [*self._fail(task_id, failure), Launch()]
        self.is_ending = True
        return [Report(SiteFailed(self.run, failure)), EndRun()]

    # --- the server ---------------------------------------------------------------------------------------------

    def _link_up(self, event: ev.LinkUp) -> list[Action]:
        """All that is kept is offered again, stored or not: what this server has, or has decided, it says."""
        return [MakeOffer(task_id) for task_id in self.kept]

    def _verdict_heard(self, event: ev.VerdictHeard) -> list[Action]:
        if not event.is_current or event.task_id not in self.kept:
            return []
        self.kept.remove(event.task_id)
        sha256 = self.models.pop(event.task_id, "")
        return [Forget(event.task_id, "" if sha256 in self.models.values() else sha256, takes_back=event.is_unknown)]

    def _task_aborted(self, event: ev.TaskAborted) -> list[Action]:
        if event.task_id == self.working:
            self.stopping[event.task_id] = event.reason
            return [StopTask(event.task_id, event.reason)]
        return self._fail(event.task_id, Failure.of(TaskStopped(event.reason)))

    def _grace_over(self, event: ev.GraceOver) -> list[Action]:
        return [StopJob("", grace_seconds=0.0)] if event.task_id == self.working else []

    def _run_over(self, event: ev.RunOver) -> list[Action]:
        if self.is_ending:
            return []
        self.is_ending = True
        return [StopJob(event.reason, grace_seconds=2.0 if event.reason else 5.0)]
