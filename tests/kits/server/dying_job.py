"""A run at the server in memory, whose job process dies: the real JobRun over the real ServerRun, and sites that answer at seeded times.

Models, results and states are one text each; a record keeps it as the meta of its payload.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Collection, Mapping, Sequence

from sundog.kernel.context import Context
from sundog.kernel.errors import Failure
from sundog.kernel.messages import Message, Payload, ScatterEnd
from sundog.kernel.observers import Observers
from sundog.kernel.roles import Filter
from sundog.kernel.shareable import Shareable
from sundog.kernel.tasks import Result
from sundog.kits.handover import messages as job
from sundog.kits.protocol.messages import AbortTask, Offer, TaskFor, Unknown
from sundog.kits.protocol.records import AnyRecord, Carried, OpenTask, StepClosed, StepOpened, WorkflowEnded
from sundog.kits.server import run_events as ev
from sundog.kits.server.run_state import Committed, Kept, Phase, TaskState
from sundog.kits.server.server_run import ServerRun
from sundog.workflows.filtering import Filters
from sundog.workflows.run import JobRun
from sundog.workflows.supervision import LeftOpen, StepRequest, StepResult, WorkflowEnd

SITES = ("site-1", "site-2", "site-3")
SLOWEST_SECONDS = 10.0
Play = Callable[[JobRun, "DyingJob"], None]
"""A workflow; it tells `DyingJob.use` what it uses."""
Use = tuple[str, tuple[tuple[str, str], ...]]
"""What was done, and the task ids and texts of the results that were used there."""


class Death(BaseException):
    """The job process is killed. A BaseException, since no code of the job can catch that."""


class Hang(BaseException):
    """The job waits, and nothing will come any more."""


def digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def share_of(*parts: object) -> float:
    """A number from 0 to 1 that is drawn from these parts alone."""
    return int(digest(*parts)[:8], 16) / 2**32


def model(text: str) -> Shareable:
    return Shareable("METRICS", meta={"text": text})


def text_of(shareable: Shareable | None) -> str:
    return str(shareable.meta["text"]) if shareable is not None else ""


def payload_of(text: str) -> Payload:
    return Payload(len(text), sha256=digest(text), size_bytes=1)


def opened(kept: Kept | None) -> Shareable | None:
    return model(kept.meta.decode()) if kept is not None else None


class Chaining(Filter):
    """A filter whose output depends on everything that has passed it."""

    def __init__(self) -> None:
        self._text = ""

    def process(self, shareable: Shareable, ctx: Context) -> Shareable:
        self._text = digest(self._text, text_of(shareable))
        return model(self._text)

    def state(self) -> Shareable:
        return model(self._text)

    def restore(self, state: Shareable) -> None:
        self._text = text_of(state)


class DyingJob:
    """A run whose job process dies after chosen records, and is started again until the run has ended.

    Args:
        deaths: numbers of records, from 1.
        is_steady: each answer takes the time that its task id and the seed give, whatever dies. Otherwise times are drawn
            anew at each death, results come while no process is there or before what it asks, and sites go and come back.
        is_chaining: results pass a filter that has a state.
    """

    def __init__(
        self,
        workflows: Mapping[str, Play],
        seed: int,
        *,
        deaths: Collection[int] = (),
        is_steady: bool = True,
        is_chaining: bool = False,
    ) -> None:
        self.deaths = tuple(sorted(deaths))
        self.run = ServerRun("r", SITES, term=1, connected=set(SITES))
        self.records: list[AnyRecord] = []
        self.end = ""
        """Status and reason of the end."""
        self.used: list[str] = []
        """Ids of the tasks whose results were used when a record closed their step, or their workflow."""
        self.not_repeated: list[str] = []
        """Records before which a process had used anything else than the journal has from the one before."""
        self.misjudged: list[str] = []
        """Records whose `used` verdicts are not the results that were used."""
        self._workflows, self._seed, self._is_steady, self._is_chaining = workflows, seed, is_steady, is_chaining
        self._dice = random.Random(f"sites {seed}")
        self._clock = 0.0
        self._working: dict[str, TaskFor] = {}
        """Task id → what a site works on."""
        self._due: dict[str, float] = {}
        """Task id, or a site that is away → when it answers, or is back."""
        self._told: list[ev.Tell] = []
        self._job: JobRun | None = None
        """None while no process is there."""
        self._uses: list[Use] = []
        """What this process has used since the last commit, in order."""
        self._recorded: list[Use] = []
        """As much of that as the journal has: what came before the tasks that were recorded last."""

    def live(self) -> DyingJob:
        """Play the run to its end."""
        self._feed(ev.Begun(self._seed, self._clock))
        try:
            while self.run.phase is not Phase.ENDED:
                self._live_once()
        except Hang:
            self.end = "hangs"
        else:
            ended = self.run.ended
            self.end = f"{ended.status} {ended.reason}" if ended is not None else ""
        return self

    def use(self, verb: str, results: Sequence[Result]) -> None:
        """Note what the workflow uses; no results, if a scatter has failed."""
        self._uses.append((verb, tuple((result.task_id, text_of(result.shareable)) for result in results)))

    # --- the job process ----------------------------------------------------------------------------------------

    def _live_once(self) -> None:
        try:
            self._feed(ev.FinishSaid(self._work(), self._clock))
        except Death:
            self._pass_unheard()
        self._job = None
        self._told.clear()
        self._feed(ev.JobDied("killed", "", self._clock))

    def _work(self) -> job.Finish:
        """What a job process does, as kits/job/server_job.py has it."""
        chaining = Chaining()
        if (parts := opened(self.run.parts)) is not None:
            chaining.restore(parts)
        filters = Filters(results={"*": [chaining]}) if self._is_chaining else Filters()
        context = Context(run_id="r", site="server", seed=self._seed, events=Observers().events)
        live = [name for name in self._workflows if name not in self.run.ended_workflows]
        left_open = {name: [self._left_open(task) for task in self.run.left_open(name)] for name in live}
        run = self._job = JobRun(self, context, SITES, filters, left_open)
        if self._is_chaining:
            run.parts = chaining.state
        self._uses = []
        try:
            for name in live:
                committed = self.run.committed.get(name, Committed(-1))
                run.enter(name, committed.step, opened(committed.state), is_over=committed.is_last)
                self._workflows[name](run, self)
                run.leave()
        except Exception as exc:  # noqa: BLE001  # as server_job: whatever ends a workflow ends the run
            return job.Finish(Failure.of(exc, site="server"))
        return job.Finish()

    def _left_open(self, task: TaskState) -> LeftOpen:
        one = task.open
        before = self.run.ended_scatters.get(one.task_id)
        return LeftOpen(one.task_id, one.site, one.name, task.step, None, task.left_open, one.nth, before)

    def _hear(self, tell: ev.Tell) -> None:
        if self._job is None:
            return
        match tell.message:
            case job.ResultFor(task_id=task_id, site=site, failure=Failure() as failure, number=number):
                self._job.on_result(task_id, site, failure, {}, number)
            case job.ResultFor(task_id=task_id, site=site, number=number, rejected=rejected) if tell.received is not None:
                self._job.on_result(task_id, site, model(tell.received.meta.decode()), {}, number, rejected)
            case job.SiteGone(site=site, failure=failure):
                self._job.on_site_gone(site, failure)
            case job.SiteBack(site=site):
                self._job.on_site_back(site)

    # --- what JobRun asks for (workflows.supervision.Supervisor) ------------------------------------------------

    def open_step(self, request: StepRequest) -> ScatterEnd | None:
        texts = list(dict.fromkeys(map(text_of, request.models)))
        tasks = tuple(
            OpenTask(task_id, site, request.task.name, texts.index(text_of(one)), 1, None, nth)
            for task_id, site, one, nth in zip(request.ids, request.sites, request.models, request.nth, strict=True)
        )
        carried = tuple(Carried(payload_of(text), text.encode()) for text in texts)
        asked = ev.StepAsked(request.workflow, request.step, request.policy, tasks, carried, self._clock, request.ended)
        answer = self._ask(asked)
        return answer.before if isinstance(answer, job.StepOpened) else None

    def commit(self, result: StepResult) -> Shareable | None:
        texts = [text_of(kept) for kept in (result.state, result.parts) if kept is not None]
        asked = ev.CommitAsked(
            result.workflow, result.step, tuple(map(payload_of, texts)), tuple(text.encode() for text in texts), result.state is not None,
            result.used, result.still_open, result.metrics, self._clock, result.notes, (), result.unused, result.is_last,
        )  # fmt: skip
        self._ask(asked)
        return result.state

    def end_workflow(self, end: WorkflowEnd) -> None:
        texts = [text_of(end.parts)] if end.parts is not None else []
        asked = ev.WorkflowOver(
            end.workflow, tuple(map(payload_of, texts)), tuple(text.encode() for text in texts), end.used, end.still_open, end.metrics,
            self._clock, end.notes, (), end.unused,
        )  # fmt: skip
        self._feed(asked)

    def reject(self, task_id: str, reason: str) -> None:
        self._feed(ev.RejectAsked(task_id, reason))

    def seed(self, seed: int) -> None:
        """Nothing draws from the global generators."""

    def now(self) -> float:
        return self._clock

    def pump(self, timeout_seconds: float | None) -> None:
        if not self._told:
            self._pass_time(timeout_seconds)
        told, self._told = self._told, []
        for tell in told:
            self._hear(tell)

    def _ask(self, event: ev.Event) -> Message:
        """The supervisor's answer; what it says before is heard first."""
        if not self._is_steady and self._dice.random() < 0.3 and (task_id := self._next_answer()):
            self._come(task_id)
        self._feed(event)
        while not isinstance((tell := self._told.pop(0)).message, job.StepOpened | job.StepClosed):
            self._hear(tell)
        return tell.message

    # --- the supervisor -----------------------------------------------------------------------------------------

    def _feed(self, event: ev.Event) -> None:
        """Let the reducer decide, record and act; then the job process dies, if one of the records is chosen for that."""
        written, actions = self.run.on(event)
        numbers = range(len(self.records) + 1, len(self.records) + len(written) + 1)
        self.records += written
        for record in written:
            self._compare(record)
        for action in actions:
            self._perform(action)
        is_stopped = any(isinstance(action, ev.StopJob) and action.reason for action in actions)
        if self._job is not None and (is_stopped or not set(numbers).isdisjoint(self.deaths)):
            self._job = None
            raise Death

    def _perform(self, action: ev.Action) -> None:
        match action:
            case ev.Tell():
                self._told.append(action)
            case ev.Receive(site, offer, meta, inline):
                self._feed(ev.ResultHere(site, offer, meta, inline, self._clock))
            case ev.Send(message=TaskFor() as task):
                self._working[task.task_id] = task
                self._due[task.task_id] = self._clock + self._seconds(task.task_id)
            case ev.Send(message=AbortTask(task_id=task_id)):
                self._working.pop(task_id, None)
                self._due.pop(task_id, None)
            case ev.Send(message=Unknown(task_id=task_id)):
                raise AssertionError(f"the server has forgotten task {task_id}")

    def _compare(self, record: AnyRecord) -> None:
        """Compare what was used with what the journal has of an earlier process, and with a verdict."""
        if not isinstance(record, StepOpened | StepClosed | WorkflowEnded):
            return
        if self._uses[: len(self._recorded)] != self._recorded:
            self.not_repeated.append(f"{self._recorded} is on record, used was {self._uses} before {record}")
        if isinstance(record, StepOpened):
            self._recorded = list(self._uses)
            return
        used = sorted(task_id for _, results in self._uses for task_id, _ in results)
        judged = sorted(task_id for task_id, verdict, _ in record.verdicts if verdict == "used")
        if used != judged:
            self.misjudged.append(f"{used} were used, the verdicts are {judged} in {record}")
        self.used += used
        self._uses, self._recorded = [], []

    # --- the sites ----------------------------------------------------------------------------------------------

    def _seconds(self, task_id: str) -> float:
        return SLOWEST_SECONDS * (share_of(self._seed, task_id) if self._is_steady else self._dice.random())

    def _next_answer(self) -> str:
        """The task that is answered next; empty if none is."""
        ready = (task_id for task_id, task in self._working.items() if task.site in self.run.connected)
        return min(ready, key=lambda task_id: (self._due[task_id], task_id), default="")

    def _next(self) -> str:
        """The task that is answered next, or the site that comes back; empty if nothing will happen."""
        coming = [*(site for site in SITES if site in self._due), *filter(None, [self._next_answer()])]
        return min(coming, key=self._due.__getitem__, default="")

    def _pass_time(self, timeout_seconds: float | None) -> None:
        """Let the next thing happen, unless the time is up first."""
        if not self._is_steady and self._dice.random() < 0.05:
            self._lose(self._dice.choice(SITES))
        coming = self._next()
        if not coming and timeout_seconds is None:
            raise Hang
        if coming and (timeout_seconds is None or self._due[coming] <= self._clock + timeout_seconds):
            self._come(coming)
        else:
            self._clock += timeout_seconds or 0.0

    def _pass_unheard(self) -> None:
        """What happens while no job process is there."""
        if self._is_steady:
            return
        for _ in range(self._dice.randrange(3)):
            if coming := self._next():
                self._come(coming)
        for task_id in self._working:
            self._due[task_id] = self._clock + self._seconds(task_id)

    def _come(self, coming: str) -> None:
        self._clock = max(self._clock, self._due.pop(coming))
        if coming in SITES:
            self._feed(ev.SiteUp(coming, tuple(task_id for task_id, task in self._working.items() if task.site == coming)))
            return
        task = self._working.pop(coming)
        failure = Failure("SD-4090", f"boom {coming}", site=task.site) if share_of("fails", coming) < 0.07 else None
        text = digest("result", coming, task.payload.sha256)
        self._feed(ev.Offered(task.site, Offer("r", coming, None if failure else payload_of(text), failure), text.encode(), None))

    def _lose(self, site: str) -> None:
        if site in self.run.connected:
            self._due[site] = self._clock + 2 * self._dice.random() * SLOWEST_SECONDS
            self._feed(ev.SiteDown(site))
            self._feed(ev.SiteStalled(site, Failure("SD-4105", "silent", site=site)))
