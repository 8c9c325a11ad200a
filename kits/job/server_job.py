"""What the server's job process does: build the app, run its workflows, ask the supervisor to keep each step.

Everything of the job happens on the thread that pumps the mailbox. `ServerJob` knows no process and no thread: it is
given a channel to send to and is handed what arrives, so that the simulator runs the very same class.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import msgspec
import structlog

from ...components.seeding import generators_lent, seed_generators
from ...kernel.blobs import Blob
from ...kernel.context import Context, RoleCalls, RunAborted, derive_seed, entered
from ...kernel.errors import Failure, PayloadError
from ...kernel.messages import Message, Payload, ScatterEnd
from ...kernel.observers import Observers
from ...kernel.packing import scratch
from ...kernel.shareable import Shareable
from ...workflows.policy import PolicyFailed
from ...workflows.run import JobRun
from ...workflows.supervision import StepRequest, StepResult, WorkflowEnd
from ..handover import messages as say
from ..protocol.messages import Grew
from .app import App, build_app, plan_app
from .custom_code import CustomCode
from .kept_files import KeptFiles
from .mailbox import Mailbox
from .payloads import Sender
from .received_metrics import ReceivedMetrics
from .states import component_states, restore_states, stateful
from .threads import limit_torch_threads

log = structlog.get_logger()
JOB_CODE_ENDED = (Exception, SystemExit)
"""How job code ends that does not come to its end: sys.exit() is meant for a program, and the job is not the program."""


class Channel(Protocol):
    """Where a job process sends to."""

    def send(self, message: Message, *body: bytes | memoryview) -> None:
        """Hand a message to the supervisor; from the main thread, never waits."""


class ServerJob:
    """One run at the server, in its job process."""

    def __init__(self, channel: Channel, mailbox: Mailbox) -> None:
        self._channel = channel
        self._mailbox = mailbox
        self.context = Context(site="server")
        self.is_done = False
        self._answer: Message | None = None
        self._run: JobRun | None = None
        self._observers: Observers | None = None
        self._metrics: ReceivedMetrics | None = None

    @property
    def is_busy(self) -> bool:
        """Whether the job's own code may be at work."""
        return self._run is not None

    def on(self, message: Message, body: bytes) -> None:
        """Handle one message, on the main thread; `Start` returns when the workflows have ended."""
        match message:
            case say.Start():
                self._live(msgspec.msgpack.decode(body, type=say.StartDocument))
            case say.StepOpened() | say.StepClosed():
                self._answer = message
            case say.ResultFor() if self._run is not None:
                self._on_result(self._run, message, body)
            case say.SiteGone() if self._run is not None:
                self._run.on_site_gone(message.site, message.failure)
            case say.SiteBack() if self._run is not None:
                self._run.on_site_back(message.site)
            case Grew() if self._metrics is not None:
                self._metrics.read(message.site)
            case say.Finished():
                self.is_done = True

    def on_arrival(self, message: Message) -> None:
        """Handle what must not wait for the main thread; called from the thread that receives."""
        if isinstance(message, say.Abort):
            self.context.abort.set(message.reason)
            self._mailbox.post(lambda: None)  # wakes a workflow that waits

    def _live(self, start: say.StartDocument) -> None:
        folder = Path(start.folder)
        self.context.run_id, self.context.seed, self.context.folder = start.run, start.seed, folder
        self._sender = Sender(folder / "out")
        self._files = KeptFiles(folder)
        failure, aborted = None, ""
        with CustomCode(folder / "app"), scratch(folder / "out"), entered(self.context):
            try:
                self._work(start)
            except RunAborted as exc:
                aborted = self.context.abort.reason or exc.what
            except PolicyFailed as exc:
                failure = exc.failure()
            except JOB_CODE_ENDED as exc:  # a stranger's code
                failure = Failure.of(exc, site="server", component=self.context.workflow)
            self._end(failure, aborted)

    def _end(self, failure: Failure | None, aborted: str) -> None:
        if failure is not None:
            log.error("job_failed", code=failure.code, error=str(failure))
            self.context.events.fatal_error(failure=failure)
        self.context.events.run_ended(ctx=self.context, status="aborted" if aborted else "failed" if failure else "completed")
        faults = self._observers.faults if self._observers else []
        self._channel.send(say.Finish(failure, [*faults, *(self._metrics.faults if self._metrics else [])], aborted))
        self._run = None
        while not self.is_done:  # what sites logged last is read meanwhile
            self._mailbox.pump()
        if self._metrics is not None:
            self._metrics.close()

    def _work(self, start: say.StartDocument) -> None:
        self._files.put_back(start.files)
        app = self._build(start)
        self._channel.send(say.Ready())
        left_open = {name: committed.left_open for name, committed in start.committed.items() if name not in start.ended}
        filters = replace(app.filters, lend=generators_lent)
        run = self._run = JobRun(self, self.context, start.sites, filters, left_open)
        parts = stateful(app.instances)
        run.parts = lambda: component_states(parts)
        self.context.events.run_started(ctx=self.context)
        restore_states(parts, _read(start.parts))
        for name, workflow in app.workflows:
            if name in start.ended:
                continue
            committed = start.committed.get(name, say.CommittedState(-1))
            run.enter(name, committed.step, _read(committed.state), is_over=committed.is_last)
            log.info("workflow_started", workflow=name, after_step=committed.step)
            self.context.events.workflow_started(workflow=name)
            try:
                workflow.run(run)
                run.leave()
            finally:
                self.context.events.workflow_ended(workflow=name)

    def _build(self, start: say.StartDocument) -> App:
        def prepare(label: str) -> None:
            limit_torch_threads(start.threads)
            seed_generators(derive_seed(start.seed, "server", label))

        app = build_app(plan_app(self.context.folder / "app", "server", prepare))
        self.context.components, self.context.events = app.components, app.observers.events
        self.context.role_calls = RoleCalls(app.instances.values())
        self._observers = app.observers
        self._metrics = ReceivedMetrics(self.context, app.trackers, start.sites)
        return app

    def _on_result(self, run: JobRun, message: say.ResultFor, body: bytes) -> None:
        if message.payload is None:
            run.on_result(message.task_id, message.site, message.failure or _no_result(), {}, message.number)
            return
        try:
            shareable, shared = self._sender.receive(self.context.folder / "in", message.payload, body)
        except PayloadError as exc:  # what that site sent; it must not be the end of the others' run
            run.on_unreadable(message.task_id, Failure.of(exc, site=message.site), message.number)
        else:
            run.on_result(message.task_id, message.site, shareable or _no_result(), shared, message.number, message.rejected)

    # --- what JobRun asks for -----------------------------------------------------------------------------------

    def open_step(self, request: StepRequest) -> ScatterEnd | None:
        """See workflows.supervision.Supervisor."""
        payloads, index_of, parts = self._payloads(request)
        tasks = list(zip(request.ids, request.sites, index_of, request.nth, strict=True))
        message = say.OpenStep(
            request.workflow, request.step, request.task.name, tasks, payloads, request.task.deadline_seconds, request.policy,
            list(request.ended),
        )  # fmt: skip
        opened = self._ask(message, parts)
        self._sender.handed(model for model in request.models if model is not None)
        return opened.before if isinstance(opened, say.StepOpened) else None

    def _payloads(self, request: StepRequest) -> tuple[list[Payload], list[int], list[bytes]]:
        """One payload for all sites that get the same model with the same values; the index of each task's."""
        payloads: list[Payload] = []
        parts: list[bytes] = []
        seen: dict[tuple[int, int], int] = {}
        for model, shared in zip(request.models, request.shared, strict=True):
            if (id(model), id(shared)) not in seen:
                seen[id(model), id(shared)] = len(payloads)
                payload, body = self._sender.payload(model, shared)
                payloads.append(payload)
                parts += body
        return payloads, [seen[id(model), id(shared)] for model, shared in zip(request.models, request.shared, strict=True)], parts

    def end_workflow(self, end: WorkflowEnd) -> None:
        """See workflows.supervision.Supervisor."""
        payloads: list[Payload] = []
        parts: list[bytes] = []
        if end.parts is not None:
            payload, parts = self._sender.payload(end.parts, {})
            payloads.append(payload)
        files, contents = self._files.changes(self.context.kept)
        message = say.EndWorkflow(
            end.workflow, payloads, list(end.used), dict(end.still_open), end.metrics, list(end.notes), files, list(end.unused)
        )
        self._channel.send(message, *parts, *contents)
        self._sender.handed([end.parts] if end.parts is not None else [], only=True)

    def reject(self, task_id: str, reason: str) -> None:
        """See workflows.supervision.Supervisor."""
        self._channel.send(say.Reject(task_id, reason))

    def commit(self, result: StepResult) -> Shareable | None:
        """See workflows.supervision.Supervisor."""
        kept = [state for state in (result.state, result.parts) if state is not None]
        sent = [self._sender.payload(state, {}) for state in kept]
        payloads, parts = [payload for payload, _ in sent], [part for _, body in sent for part in body]
        files, contents = self._files.changes(self.context.kept)
        message = say.CommitStep(
            result.workflow, result.step, payloads, result.state is not None,
            list(result.used), dict(result.still_open), result.metrics, list(result.notes), files, list(result.unused), result.is_last,
        )  # fmt: skip
        self._ask(message, parts + contents)
        self._sender.handed(kept, only=True)
        return result.state

    def _ask(self, message: Message, parts: list[bytes]) -> Message:
        """Send, and pump until the supervisor has recorded it; its answer."""
        self._answer = None
        self._channel.send(message, *parts)
        while (answer := self._taken_answer()) is None:
            self.context.abort.check()
            self._mailbox.pump()
        return answer

    def _taken_answer(self) -> Message | None:
        return self._answer

    def seed(self, seed: int) -> None:
        """See workflows.supervision.Supervisor."""
        seed_generators(seed)

    def pump(self, timeout_seconds: float | None) -> None:
        """See workflows.supervision.Supervisor."""
        self._mailbox.pump_all(timeout_seconds)

    def now(self) -> float:
        """See workflows.supervision.Supervisor."""
        return time.monotonic()


def _read(file: say.StateFile | None) -> Shareable | None:
    return Shareable.decode(file.meta, Blob.open(Path(file.path))) if file is not None else None


def _no_result() -> Failure:
    return Failure("SD-4090", "the site gave neither a result nor a reason")
