"""What is done about one run at a site: the program around `SiteRun` (PROTOCOL §7)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import structlog

from ...kernel.errors import Failure, SundogError
from ...kernel.messages import Message, split_body
from ...transports.link.link import Link
from ...transports.link.writer import Writer
from ..handover import messages as job
from ..protocol.messages import Grew, Offer, SiteFailed, StartRun, TaskFor
from ..supervisor.job_channel import job_spec
from ..supervisor.job_output import JobOutput
from ..supervisor.job_process import JobProcess, JobProcesses
from ..supervisor.storage import own_failure
from ..supervisor.tasks import Tasks
from ..workspace import posix
from ..workspace.disk import Disk
from ..workspace.folders import RunFolder
from . import run_events as ev
from .metrics_news import MetricsNews
from .outbox import Outbox, Parts
from .site_run import SiteRun
from .task_states import TaskStates

log = structlog.get_logger()
METRICS = "metrics.jsonl"
TASK_GRACE_SECONDS = 2.0
"""How long a task that is to stop may still take."""


@dataclass(frozen=True)
class SiteServices:
    """What a run is given by the site it runs at."""

    name: str
    writer: Writer
    processes: JobProcesses
    link: Callable[[], Link]
    is_current: Callable[[int], bool]
    """Whether a term is not below the highest this site knows."""
    on_end: Callable[[str], Awaitable[None]]
    on_output: Callable[[str], None]
    """The log of a run has grown."""
    disk: Disk = field(default_factory=Disk)


class SiteRunProgram:
    """One run at a site, alive."""

    def __init__(
        self, services: SiteServices, start: StartRun, meta: dict[str, Any], folder: RunFolder, outbox: Path, environment: dict[str, str]
    ) -> None:
        self.run = SiteRun(start.run)
        self.folder = folder
        self._services = services
        self._start = start
        self._meta = meta
        self._environment = environment
        self._outbox = Outbox(outbox, folder.out, services.writer, is_durable=meta.get("durability") != "none", disk=services.disk)
        self._process: JobProcess | None = None
        self._keeping: set[asyncio.Task[None]] = set()
        self._output = JobOutput(folder.log, services.writer, lambda: services.on_output(start.run))
        self._states = TaskStates(self._outbox, folder, services.writer, services.disk)
        self._stream = f"stream:{start.run}/{METRICS}"
        self._metrics = MetricsNews(self._offer_metrics)
        self._tasks = Tasks(f"run {start.run}")
        self.ended = asyncio.Event()

    def __repr__(self) -> str:
        return f"<SiteRunProgram {self.run.run} at {self._services.name}>"

    def begin(self) -> None:
        """Launch the job process."""
        self._perform([ev.Launch()])

    def feed(self, event: ev.Event) -> None:
        """Let the reducer decide, then act."""
        self._perform(self.run.on(event))

    def over(self, reason: str) -> None:
        """The run has ended (no reason), or is to end now."""
        self.feed(ev.RunOver(reason))

    def is_current(self, term: int) -> bool:
        """Whether what was said under this term counts."""
        return self._services.is_current(term)

    def on_task(self, task: TaskFor, body: memoryview) -> None:
        """The server sent a task."""
        meta, inline = split_body([task.payload], body)[0]
        self.feed(ev.TaskCame(task, meta, inline))

    def link_up(self) -> None:
        """The server is there again."""
        self._metrics.tell_again()
        self.feed(ev.LinkUp())

    def _perform(self, actions: list[ev.Action]) -> None:
        """An action that cannot be done ends this site's part, but keeps none of the others from being done."""
        for action in actions:
            try:
                self._act(action)
            except (SundogError, OSError) as exc:
                self._give_up(own_failure(exc, self._services.name))

    def _give_up(self, failure: Failure) -> None:
        log.error("run_broken", run=self.run.run, code=failure.code, error=failure.what, trace=failure.trace)
        self._services.link().send(SiteFailed(self.run.run, failure))
        self.over(failure.what)

    def _act(self, action: ev.Action) -> None:  # noqa: C901  # a table, one entry an action
        match action:
            case ev.Launch():
                self._launch()
            case ev.FetchModel():
                self._tasks.start(self._fetch(action.task))
            case ev.GiveTask():
                self._give(action)
            case ev.Keep():
                keeping = self._tasks.start(self._keep(action))
                self._keeping.add(keeping)
                keeping.add_done_callback(self._keeping.discard)
            case ev.MakeOffer():
                self._offer(action.task_id)
            case ev.Forget():
                self._forget(action)
            case ev.Tell():
                self._tell(action.message)
            case ev.Report():
                self._services.link().send(action.message)
            case ev.StopJob():
                self._stop(action)
            case ev.StopTask():
                self._stop_task(action)
            case ev.EndRun():
                self._tasks.start(self._end())

    # --- the job process ----------------------------------------------------------------------------------------

    def _launch(self) -> None:
        name = self._services.name
        environment = {**self._environment, posix.RUN_VARIABLE: f"{self.run.run}/{name}"}
        spec = job_spec(self.run.run, "site", name, self.folder.root, environment)
        self._process = JobProcess(
            self._services.processes, spec, self._start_document, self._on_job_message, self._job_ended, self._output
        )  # fmt: skip
        self._tasks.start(self._process.run())

    def _start_document(self) -> job.StartDocument:
        self.folder.renew_out()
        threads = int(self._meta.get("threads", 1))
        return job.StartDocument(
            self.run.run, "site", self._services.name, self._start.sites, self._start.seed, threads, str(self.folder.root)
        )

    async def _on_job_message(self, message: Message, body: memoryview) -> None:
        match message:
            case job.Ready():
                self.feed(ev.JobStarted(message.failure))
            case job.ResultFor():
                self.feed(ev.JobAnswered(message, bytes(body)))
            case job.Checkpoint():
                await self._keep_checkpoint(message, bytes(body))
            case Grew() if message.stream == METRICS:  # the name comes from the job: no other file is anybody's
                self._metrics.grew(message.size)
            case _:
                pass

    def _job_ended(self, how: str, last_words: str) -> None:
        self._tasks.start(self._died(how, last_words))

    async def _died(self, how: str, last_words: str) -> None:
        """What it handed over is kept first: a new process begins with an empty out/, and is given no task that has its result."""
        if self._keeping:
            await asyncio.wait(list(self._keeping))
        self.feed(ev.JobDied(how, last_words))

    def _tell(self, message: Message, *body: bytes) -> None:
        if self._process is not None:
            self._process.send(message, *body)

    def _give(self, action: ev.GiveTask) -> None:
        task, parts = action.task, [action.meta]
        payload = task.payload
        if not payload.is_inline:
            payload = msgspec.structs.replace(payload, name=payload.sha256)
        elif action.inline is not None:
            parts.append(action.inline)
        state, more = self._states.of(task.task_id)
        told = TaskFor(
            task.run, task.task_id, task.name, task.workflow, task.step, task.site, task.seed, task.deadline_seconds, payload, state
        )
        self._tell(told, *parts, *more)

    async def _keep_checkpoint(self, message: job.Checkpoint, body: bytes) -> None:
        """What cannot be kept costs nothing but that."""
        if message.task_id != self.run.working:
            return
        try:
            await self._states.keep(message, body)
        except (SundogError, OSError) as exc:
            log.warning("checkpoint_not_kept", run=self.run.run, task=message.task_id, reason=str(exc))

    # --- results ------------------------------------------------------------------------------------------------

    async def _keep(self, action: ev.Keep) -> None:
        """Keep it; if that cannot be, keep why; if not even that, this site's part is over."""
        result = action.result
        try:
            parts = Parts.of(result, action.body)
            await self._outbox.put(result.task_id, result.payload, result.failure, result.state, parts)
        except (SundogError, OSError) as exc:
            failure = own_failure(exc, self._services.name)
            log.warning("result_not_kept", run=self.run.run, task=result.task_id, code=failure.code, error=failure.what)
            try:
                await self._outbox.put(result.task_id, None, failure, None, Parts())
            except OSError:
                self._give_up(failure)
                return
        self.feed(ev.ResultKept(result.task_id))

    def _offer(self, task_id: str) -> None:
        kept, link = self._outbox.get(task_id), self._services.link()
        if not link.is_up:
            return
        self._metrics.tell()  # first: with this result the run may come to its end
        if kept.payload is None:
            link.send(Offer(self.run.run, task_id, None, kept.failure))
            return
        payload = msgspec.structs.replace(kept.payload, name="")
        if payload.is_inline:
            link.send(Offer(self.run.run, task_id, payload), kept.meta, self._outbox.result_bytes(task_id))
            return
        link.transfers.offer(payload.sha256, self._outbox.result_path(task_id), payload.size_bytes)
        link.send(Offer(self.run.run, task_id, payload), kept.meta)

    def _forget(self, action: ev.Forget) -> None:
        """Posted at once, so that it is done before anything of the same name is fetched for the next task."""
        kept = self._outbox.get(action.task_id)
        if kept.payload is not None:
            self._services.link().transfers.withdraw(kept.payload.sha256, self._outbox.result_path(action.task_id))
        self._outbox.release(action.task_id, takes_back=action.takes_back)
        if action.model_sha256:
            self._services.writer.post(partial(self._services.disk.unlink, self.folder.inbox / action.model_sha256))

    async def _fetch(self, task: TaskFor) -> None:
        payload = task.payload
        try:
            link = self._services.link()
            await link.transfers.fetch(payload.sha256, payload.size_bytes, self.folder.inbox / payload.sha256)
        except (SundogError, OSError) as exc:
            self.feed(ev.ModelFailed(task.task_id, own_failure(exc, self._services.name)))
            return
        self.feed(ev.ModelHere(task.task_id))

    def _offer_metrics(self, size: int) -> None:
        link = self._services.link()
        link.transfers.offer(self._stream, self.folder.metrics, size)
        link.send(Grew(self.run.run, self._services.name, METRICS, size))

    # --- the end ------------------------------------------------------------------------------------------------

    def _stop(self, action: ev.StopJob) -> None:
        if self._process is None:
            self.feed(ev.JobDied("", ""))
            return
        if not action.reason:
            self._tell(job.Finished())
        self._tasks.start(self._process.stop(action.reason, action.grace_seconds))

    def _stop_task(self, action: ev.StopTask) -> None:
        """Ask; a trainer that does not look at ctx.abort in time is ended with its process, which is then started again."""
        self._tell(job.Abort(action.reason, action.task_id))
        asyncio.get_running_loop().call_later(TASK_GRACE_SECONDS, lambda: self.feed(ev.GraceOver(action.task_id)))

    async def _end(self) -> None:
        self._metrics.close()
        for last_step in (self._withdraw_all, self._output.close, partial(self._services.on_end, self.run.run)):
            try:
                await last_step()
            except Exception as exc:  # whatever it is, the other steps are done and the end is told
                log.exception("run_not_tidied_up", run=self.run.run, reason=str(exc))
        self.ended.set()
        await self._tasks.close()

    async def _withdraw_all(self) -> None:
        transfers = self._services.link().transfers
        transfers.withdraw(self._stream, self.folder.metrics)
        for task_id in self.run.kept:
            if (payload := self._outbox.get(task_id).payload) is not None:
                transfers.withdraw(payload.sha256, self._outbox.result_path(task_id))
