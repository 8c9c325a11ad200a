"""What is done about one run at the server: the program around `ServerRun` (PROTOCOL §7).

It turns what the job process and the sites say into events, appends the records the reducer wants, then performs
its actions. Blobs come and go in `RunBlobs`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import msgspec
import structlog

from ...kernel.context import derive_seed, task_place
from ...kernel.errors import MAX_WHAT_CHARACTERS, Failure, JobError, SundogError
from ...kernel.messages import Message, Payload, split_body
from ...kernel.wording import cut
from ...transports.link.link import LinkClosed
from ...workflows.supervision import LeftOpen
from ..handover import messages as job
from ..protocol.messages import Grew, Offer, RunEnded
from ..protocol.records import Carried, OpenTask, RunFinished
from ..supervisor.alarms import Alarms
from ..supervisor.effects import Ordered
from ..supervisor.job_channel import job_spec
from ..supervisor.job_output import JobOutput
from ..supervisor.job_process import JobProcess
from ..supervisor.storage import own_failure
from ..supervisor.tasks import Tasks
from ..workspace import posix
from ..workspace.folders import RunFolder
from ..workspace.job_meta import JobMeta
from ..workspace.journal import Journal, Work
from . import run_events as ev
from .lateness import DeadlineOver, DeadlineRefused, SiteSilent
from .run_blobs import RunBlobs
from .run_services import RunServices
from .run_state import Kept, TaskState
from .server_run import ServerRun

log = structlog.get_logger()
JOB_MESSAGES_WAITING = 16
"""So many messages of a job process are read ahead; then it has to wait."""
MAX_NOTES = 20
"""Notes that are kept of a commit; those beyond it are dropped."""
MAX_NOTE_CHARACTERS = 500


class JobMakesNoSense(JobError):
    """A job process said something to its supervisor that makes no sense.

    Cause: the job's code speaks on its process's channel itself; or a mistake in Sundog.

    Cure: leave the channel alone; if the job's code does not touch it, report this with the run's log.txt.
    """

    code = "SD-4115"


@dataclass(frozen=True)
class _JobEnded:
    """Stands in the queue of what the job process said, where its end belongs."""

    how: str
    last_words: str


class ServerRunProgram:
    """One run at the server, alive."""

    def __init__(self, services: RunServices, run: ServerRun, meta: JobMeta, folder: RunFolder, journal: Journal, blobs: RunBlobs) -> None:
        self.run = run
        self.folder = folder
        self.meta = meta
        self.blobs = blobs
        self._services = services
        self._now = services.now
        self._journal = journal
        self._effects = Ordered(self._journal_failed)
        self._from_job: asyncio.Queue[tuple[Message | _JobEnded, bytes]] = asyncio.Queue(JOB_MESSAGES_WAITING)
        self._process: JobProcess | None = None
        self._output = JobOutput(folder.log, services.writer, lambda: services.on_output(run.run))
        self._alarms = Alarms()
        self._tasks = Tasks(f"run {run.run}")
        self._tasks.start(self._serve_job())
        self._is_unwritable = False
        self.ended = asyncio.Event()
        self.faults: list[Failure] = []
        """Observers and trackers that raised, as the job said at its end."""

    def __repr__(self) -> str:
        return f"<ServerRunProgram {self.run.run} {self.run.phase.value}>"

    def begin(self) -> None:
        """Record the start and launch the job process. A site that was lost since it gave its token counts as silent from now on."""
        self.feed(ev.Begun(self.meta.seed, self._now()))
        for site in set(self.run.sites) - self.run.connected:
            self.site_down(site)

    def feed(self, event: ev.Event, first: Sequence[Work] = ()) -> None:
        """Let the reducer decide, then append, then act; in the order of the calls. `first` is written before them, or alone."""
        records, actions = self.run.on(event)
        durable = self._journal.append(records, first=first) if (records or first) and not self._is_unwritable else None
        self._effects.after(durable, partial(self._perform, actions))

    def abort(self, reason: str) -> None:
        """End the run as aborted."""
        self.feed(ev.AbortAsked(reason, self._now()))

    def fail(self, failure: Failure) -> None:
        """End the run as failed."""
        log.error("run_broken", run=self.run.run, code=failure.code, error=failure.what, trace=failure.trace)
        self.feed(ev.Broken(failure, self._now()))

    # --- what sites say -----------------------------------------------------------------------------------------

    def on_offer(self, site: str, offer: Offer, body: bytes) -> None:
        """A site has a result."""
        meta, inline = split_body([offer.payload], body)[0] if offer.payload is not None else (b"", None)
        self.feed(ev.Offered(site, offer, meta, inline))

    def site_up(self, site: str, working: list[str], kept: list[str]) -> None:
        """A site has said what it holds of this run."""
        self.not_silent(site)
        self.feed(ev.SiteUp(site, tuple(working), tuple(kept)))

    def not_silent(self, site: str) -> None:
        """A site has given a sign of life, though it may not have begun with the run."""
        self._alarms.cancel(f"stall {site}")

    def site_down(self, site: str) -> None:
        """A site's link is down."""
        self.feed(ev.SiteDown(site))
        failure = Failure.of(SiteSilent(f"nothing was heard of it for {self._services.stall_seconds:g} s"), site=site)
        self._alarms.set(f"stall {site}", self._services.stall_seconds, lambda: self.feed(ev.SiteStalled(site, failure)))

    def site_cannot(self, site: str, failure: Failure) -> None:
        """A site cannot take part any more."""
        log.warning("site_cannot", run=self.run.run, site=site, code=failure.code, error=failure.what)
        self.feed(ev.SiteCannot(site, msgspec.structs.replace(failure, site=site), self._now()))

    def grew(self, site: str, stream: str, size: int) -> None:
        """A site's stream is longer here now."""
        if stream == "metrics.jsonl" and self._process is not None:
            self._process.send(Grew(self.run.run, site, stream, size))

    # --- what the job process says ------------------------------------------------------------------------------

    async def _serve_job(self) -> None:
        while True:
            message, body = await self._from_job.get()
            if isinstance(message, _JobEnded):
                self.feed(ev.JobDied(message.how, message.last_words, self._now()))
                continue
            try:
                await self._on_job_message(message, body)
            except Exception as exc:  # noqa: BLE001  # whatever it is: a run must come to an end
                self.fail(own_failure(exc, "server"))

    async def _on_job_message(self, message: Message, body: bytes) -> None:
        match message:
            case job.Ready() if message.failure is not None:
                self.fail(message.failure)
            case job.OpenStep():
                await self._open_step(message, body)
            case job.CommitStep():
                metas, first = await self._take_saved(message, body)
                asked = ev.CommitAsked(
                    message.workflow, message.step, tuple(message.payloads), metas, message.has_state, tuple(message.used),
                    message.still_open, message.metrics, self._now(),
                    _cut_notes(message.notes), tuple(message.files), tuple(message.unused), message.is_last,
                )  # fmt: skip
                self.feed(asked, first)
            case job.EndWorkflow():
                metas, first = await self._take_saved(message, body)
                over = ev.WorkflowOver(
                    message.workflow, tuple(message.payloads), metas, tuple(message.used), message.still_open, message.metrics, self._now(),
                    _cut_notes(message.notes), tuple(message.files), tuple(message.unused),
                )  # fmt: skip
                self.feed(over, first)
            case job.Reject():
                self.feed(ev.RejectAsked(message.task_id, cut(message.reason, MAX_WHAT_CHARACTERS)))
            case job.Finish():
                await self._services.settle(self.run.run)
                self.faults = message.faults
                message.aborted = cut(message.aborted, MAX_WHAT_CHARACTERS)
                self.feed(ev.FinishSaid(message, self._now()))
            case _:
                pass

    async def _take(self, payloads: list[Payload], body: bytes) -> tuple[list[bytes], list[Work]]:
        """The metas, and what is to be written before the record."""
        pieces = split_body(payloads, body)
        first = await self.blobs.take([(payload, inline) for payload, (_, inline) in zip(payloads, pieces, strict=True)])
        return [meta for meta, _ in pieces], first

    async def _take_saved(self, message: job.CommitStep | job.EndWorkflow, body: bytes) -> tuple[tuple[bytes, ...], list[Work]]:
        """The metas of the states, and what is to be written, states and files, before the record."""
        _refuse_wrong_states(message)
        files = [payload for _, payload in message.files if payload is not None]
        metas, first = await self._take([*message.payloads, *files], body)
        return tuple(metas[: len(message.payloads)]), first

    async def _open_step(self, message: job.OpenStep, body: bytes) -> None:
        seconds = message.deadline_seconds
        if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
            raise DeadlineRefused(f"wanted a deadline of more than 0 seconds, got {seconds:g}", where=f"task {message.name}")
        _refuse_wrong_tasks(message)
        metas, first = await self._take(message.payloads, body)
        tasks = []
        for task_id, site, index, nth in message.tasks:
            seed = derive_seed(self.meta.seed, *task_place(message.workflow, message.step, message.name, site, nth))
            tasks.append(OpenTask(task_id, site, message.name, index, seed, seconds, nth))
            if seconds is not None:
                self._alarms.set(task_id, seconds, partial(self._deadline_over, task_id, site, seconds))
        carried = tuple(Carried(payload, meta) for payload, meta in zip(message.payloads, metas, strict=True))
        asked = ev.StepAsked(message.workflow, message.step, message.policy, tuple(tasks), carried, self._now(), tuple(message.ended))
        self.feed(asked, first)

    def _deadline_over(self, task_id: str, site: str, seconds: float) -> None:
        failure = Failure.of(DeadlineOver(f"no result within {seconds:g} s"), site=site)
        self.feed(ev.DeadlinePassed(task_id, failure, self._now()))

    def _journal_failed(self, error: BaseException) -> None:
        """What is not written does not hold: the run ends, and the project's journal alone says so."""
        finished = self.run.ended
        if finished is not None:  # it was the last record
            ends = [ev.Send(site, RunEnded(self.run.run, finished.status)) for site in self.run.connected]
            self._perform([*ends, ev.EndRun(finished)])
        elif not self._is_unwritable:
            self._is_unwritable = True
            self.fail(Failure.of(error, site="server"))

    # --- actions ------------------------------------------------------------------------------------------------

    def _perform(self, actions: list[ev.Action]) -> None:
        """An action that cannot be done ends the run, but keeps none of the others from being done."""
        for action in actions:
            try:
                self._act(action)
            except (SundogError, OSError) as exc:
                self.fail(own_failure(exc, "server"))

    def _act(self, action: ev.Action) -> None:
        match action:
            case ev.Tell():
                self._tell(action)
            case ev.Send():
                self._send(action)
            case ev.Receive():
                self._tasks.start(self._receive(action))
            case ev.Launch():
                self._launch()
            case ev.StopJob():
                self._stop(action)
            case ev.Release():
                self._services.on_step(self.run.run)
                self._tasks.start(self.blobs.release(self.run))
            case ev.EndRun():
                self._tasks.start(self._end(action.finished))

    def _tell(self, action: ev.Tell) -> None:
        body: tuple[bytes, ...] = ()
        message, received = action.message, action.received
        if isinstance(message, job.ResultFor) and received is not None and received.payload is not None:
            message = msgspec.structs.replace(message, payload=self.blobs.named(received.payload))
            inline = action.inline if action.inline is not None else self.blobs.inline(received.payload)
            body = (received.meta,) if inline is None else (received.meta, inline)
        if self._process is not None:
            self._process.send(message, *body)

    def _send(self, action: ev.Send) -> None:
        link = self._services.link_of(action.site)
        if link is None:
            return
        carried = action.carried
        if carried is None:
            link.send(action.message)
            return
        inline = self.blobs.inline(carried.payload)
        if inline is None and carried.payload.has_blob:
            self.blobs.offer(link, carried.payload)
        link.send(action.message, carried.meta, *(() if inline is None else (inline,)))

    async def _receive(self, action: ev.Receive) -> None:
        payload, first = action.offer.payload, []
        try:
            if payload is not None:
                link = self._services.link_of(action.site)
                first = await self.blobs.receive(link, payload, action.inline)
        except Exception as exc:  # noqa: BLE001  # whatever it is, the task must come to an end
            failure = own_failure(exc, action.site if isinstance(exc, SundogError) else "server")
            log.warning("result_not_received", run=self.run.run, site=action.site, error=failure.what, code=failure.code)
            is_lost_for_now = isinstance(exc, LinkClosed)
            self.feed(ev.ReceiveFailed(action.site, action.offer.task_id, None if is_lost_for_now else failure, self._now()))
            return
        self._alarms.cancel(action.offer.task_id)  # not before: a site may offer a result and never send it
        self.feed(ev.ResultHere(action.site, action.offer, action.meta, action.inline, self._now()), first)

    def _launch(self) -> None:
        environment = {posix.RUN_VARIABLE: f"{self.run.run}/server", **posix.thread_environment(self.meta.threads)}
        spec = job_spec(self.run.run, "server", "server", self.folder.root, environment)
        self._process = JobProcess(
            self._services.processes, spec, self._start_document, self._on_message, self._job_ended, self._output
        )  # fmt: skip
        self._tasks.start(self._process.run())

    def _stop(self, action: ev.StopJob) -> None:
        if self._process is None:  # it was never launched, because the record before could not be written
            self._job_ended("", "")
        else:
            self._tasks.start(self._process.stop(action.reason, action.grace_seconds))

    async def _on_message(self, message: Message, body: memoryview) -> None:
        await self._from_job.put((message, bytes(body)))

    def _job_ended(self, how: str, last_words: str) -> None:
        self._tasks.start(self._from_job.put((_JobEnded(how, last_words), b"")))  # behind all that it said

    def _start_document(self) -> job.StartDocument:
        self.folder.renew_out()
        committed = {
            name: job.CommittedState(
                one.step, self._state_file(one.state), one.is_last, list(map(self._left_open, self.run.left_open(name)))
            )
            for name, one in self.run.committed.items()
        }
        files = [job.KeptFile(path, payload.sha256, str(self.blobs.path(payload))) for path, payload in self.run.files.items()]
        return job.StartDocument(
            self.run.run, "server", "server", list(self.run.sites), self.meta.seed, self.meta.threads,
            str(self.folder.root), committed, self.run.ended_workflows, self._state_file(self.run.parts), files,
        )  # fmt: skip

    def _state_file(self, kept: Kept | None) -> job.StateFile | None:
        return job.StateFile(kept.meta, str(self.blobs.path(kept.payload))) if kept is not None else None

    def _left_open(self, task: TaskState) -> LeftOpen:
        one = task.open
        before = self.run.ended_scatters.get(one.task_id)
        return LeftOpen(one.task_id, one.site, one.name, task.step, one.deadline_seconds, task.left_open, one.nth, before)

    async def _end(self, finished: RunFinished) -> None:
        self._alarms.close()
        for last_step in (
            self._output.close(), self.blobs.finish(self.run, self.folder), self._journal.close(),
            self._services.on_end(self.run.run, finished),
        ):  # fmt: skip
            try:
                await last_step
            except Exception as exc:  # whatever it is, the other steps are done and the end is told
                log.exception("run_not_tidied_up", run=self.run.run, reason=str(exc))
        self.ended.set()
        await self._tasks.close()


def _cut_notes(notes: Sequence[str]) -> tuple[str, ...]:
    return tuple(cut(note, MAX_NOTE_CHARACTERS) for note in notes[:MAX_NOTES])


def _refuse_wrong_tasks(message: job.OpenStep) -> None:
    """Raises: JobMakesNoSense, before anything is taken or recorded."""
    where = f"{message.workflow}, step {message.step}"
    if any(not 0 <= index < len(message.payloads) for _, _, index, _ in message.tasks):
        raise JobMakesNoSense(f"a task has a payload that is none of the {len(message.payloads)} of its message", where=where)
    if len({task_id for task_id, *_ in message.tasks}) < len(message.tasks):
        raise JobMakesNoSense("two tasks have the same id", where=where)
    if not all(end.tasks for end in message.ended):
        raise JobMakesNoSense("a scatter that has ended had no tasks", where=where)


def _refuse_wrong_states(message: job.CommitStep | job.EndWorkflow) -> None:
    """Raises: JobMakesNoSense, before anything is taken or recorded."""
    least = int(isinstance(message, job.CommitStep) and message.has_state)
    if not least <= len(message.payloads) <= least + 1:  # the components' states come last, if there are any
        raise JobMakesNoSense(f"wanted {least} or {least + 1} states, got {len(message.payloads)}", where=message.workflow)
    if not all(payload.has_blob for payload in message.payloads):
        raise JobMakesNoSense("a state has no tensors file", where=message.workflow)
