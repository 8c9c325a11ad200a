"""What a site's job process does: build the app, do one task after the other, hand each result to the supervisor.

Like `ServerJob` it knows no process and no thread. An executor that owns its loop (a script under `sundog.site()`)
drives it through `next` / `answer`; any other one is called for each task.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import structlog

from ...components.executors.script import ScriptExecutor
from ...components.seeding import seed_generators
from ...components.trackers.metrics_log import MetricsLog
from ...kernel.context import Abort, Context, RunAborted, derive_seed, entered
from ...kernel.errors import Failure, JobError
from ...kernel.messages import Message, split_body
from ...kernel.packing import scratch
from ...kernel.roles import Executor
from ...kernel.shareable import Shareable, as_state, given
from ...kernel.tasks import Task
from ..handover import messages as say
from ..protocol.messages import Grew, TaskFor
from .app import App, build_app, plan_app
from .custom_code import CustomCode
from .mailbox import Mailbox
from .payloads import Sender, unpack
from .server_job import JOB_CODE_ENDED, Channel
from .threads import limit_torch_threads

log = structlog.get_logger()


class NoExecutor(JobError):
    """A site was sent a task for which its app has no executor.

    Cause: the workflow computes the task's name at run time, so that the check before the run could not see it.

    Cure: name the task in "executors" of config_fed_client.json.
    """

    code = "SD-4104"


class SiteJob:
    """One run at a site, in its job process (or beside others, in the simulator)."""

    def __init__(self, channel: Channel, mailbox: Mailbox, *, may_drive: bool) -> None:
        """`may_drive`: this thread belongs to the job alone, so that a script may keep it."""
        self._channel = channel
        self._mailbox = mailbox
        self._may_drive = may_drive
        self._tasks: deque[tuple[TaskFor, bytes]] = deque()
        self._started: set[int] = set()
        self._hand: tuple[TaskFor, Task, Context] | None = None
        self.context = Context()
        self.is_done = False

    @property
    def is_busy(self) -> bool:
        """Whether the job's own code may be at work."""
        return self._hand is not None

    def on(self, message: Message, body: bytes) -> None:
        """Handle one message, on the main thread."""
        if isinstance(message, say.Start):
            start = msgspec.msgpack.decode(body, type=say.StartDocument)
            self._custom = CustomCode(Path(start.folder) / "app")
            with self._custom:
                self._start(start)
            return
        with self._custom:
            match message:
                case TaskFor():
                    self._tasks.append((message, body))
                    self._do_waiting()
                case say.Finished() | say.Abort(task_id=""):  # nothing is in hand here: no need to wait for a signal
                    self._stop()

    def on_arrival(self, message: Message) -> None:
        """Handle what must not wait for the main thread; called from the thread that receives."""
        if not isinstance(message, say.Abort):
            return
        if not message.task_id:
            self.context.abort.set(message.reason)
        hand = self._hand
        if hand is not None and message.task_id in ("", hand[0].task_id):
            hand[2].abort.set(message.reason)

    # --- the app ------------------------------------------------------------------------------------------------

    def _start(self, start: say.StartDocument) -> None:
        folder = Path(start.folder)
        metrics = MetricsLog(folder / "metrics.jsonl", self._metrics_grew)
        self.context = Context(run_id=start.run, site=start.name, seed=start.seed, folder=folder, metrics=metrics)
        self._sender = Sender(folder / "out")
        try:
            with scratch(folder / "out"), entered(self.context):
                self._app = self._build(start)
                self.context.events.run_started(ctx=self.context)
        except JOB_CODE_ENDED as exc:  # a stranger's constructor
            self._channel.send(say.Ready(Failure.of(exc, site=start.name)))
            return
        self._channel.send(say.Ready())
        script = next((one for one in self._app.executors.values() if isinstance(one, ScriptExecutor)), None)
        if script is not None and self._may_drive:
            self._drive(script)

    def _build(self, start: say.StartDocument) -> App:
        def prepare(label: str) -> None:
            limit_torch_threads(start.threads)
            seed_generators(derive_seed(start.seed, start.name, label))

        app = build_app(plan_app(self.context.folder / "app", "site", prepare))
        self.context.components, self.context.events = app.components, app.observers.events
        return app

    def _metrics_grew(self, size: int) -> None:
        self._channel.send(Grew(self.context.run_id, self.context.site, "metrics.jsonl", size))

    def _stop(self) -> None:
        self.is_done = True
        if not hasattr(self, "_app"):
            return
        with scratch(self.context.folder / "out"), entered(self.context):
            for executor in {id(one): one for one in self._app.executors.values()}.values():
                if id(executor) in self._started:
                    _quietly(executor.stop, self.context)
            self.context.events.run_ended(ctx=self.context, status="ended")

    # --- tasks --------------------------------------------------------------------------------------------------

    def _do_waiting(self) -> None:
        """Do the tasks that are here; one that is driven pulls them itself."""
        while self._tasks and self._hand is None and not self._is_driven:
            self._do(*self._tasks.popleft())

    _is_driven = False

    def _drive(self, script: ScriptExecutor) -> None:
        self._is_driven = True
        try:
            with scratch(self.context.folder / "out"), entered(self.context):
                self._begin(script)
                script.drive(self)
        except JOB_CODE_ENDED as exc:  # the user's script
            self._fail(exc)
        finally:
            self._is_driven = False

    def next(self) -> tuple[Task, Context] | None:
        """The next task for a script that drives; None when the run is over."""
        while not self._tasks and not self.is_done:
            self._mailbox.pump()
        if self.is_done:
            return None
        return self._take(*self._tasks.popleft())

    def answer(self, result: Shareable) -> None:
        """The result of the task that `next` gave."""
        if self._hand is not None:
            self._finish(*self._hand, result)

    def _do(self, message: TaskFor, body: bytes) -> None:
        with scratch(self.context.folder / "out"):
            try:
                task, context = self._take(message, body)
                executor = self._executor(task.name)
                context.abort.check()  # it may have come while the task waited for its turn
                with entered(context):
                    self._begin(executor)
                    context.events.before_task_execution(task=task, ctx=context)
                    result = given(executor.execute(task, context), executor, "execute")
                self._finish(message, task, context, result)
            except JOB_CODE_ENDED as exc:  # the user's code
                self._hand = self._hand or (message, Task(message.name), self.context)
                self._fail(exc)

    def _executor(self, task: str) -> Executor:
        executor = self._app.executor_for(task)
        if executor is None:
            raise NoExecutor(f"no executor serves the task {task!r}; there is {', '.join(sorted(self._app.executors))}")
        return executor

    def _begin(self, executor: Executor) -> None:
        if id(executor) not in self._started:
            self._started.add(id(executor))
            executor.start(self.context)

    def _take(self, message: TaskFor, body: bytes) -> tuple[Task, Context]:
        """The task as job code gets it: seeded, filtered, its model mapped copy-on-write."""
        folder = self.context.folder / "in"
        payloads = [message.payload, *([message.state] if message.state is not None else [])]
        pieces = split_body(payloads, body)
        state = unpack(folder, message.state, *pieces[1])[0] if message.state is not None else None
        context = self.context.for_call(
            task=message.name, seed=message.seed, workflow=message.workflow, step=message.step, abort=Abort(), state=state, notes=[]
        )
        task = Task(message.name, None, {}, message.deadline_seconds, message.task_id, message.workflow, message.step, message.site)
        context.checkpoint = lambda state: self._checkpoint(message.task_id, state)
        self._hand = (message, task, context)
        if self.context.abort:
            context.abort.set(self.context.abort.reason)
        seed_generators(message.seed)
        model, shared = unpack(folder, message.payload, *pieces[0], mapped=True)
        context.shared.as_dict.update(shared)
        filtered = model if model is None else self._app.filters.task(task, model, context)
        task = replace(task, model=filtered, shared=dict(context.shared.as_dict))
        self._hand = (message, task, context)
        return task, context

    def _finish(self, message: TaskFor, task: Task, context: Context, result: Shareable) -> None:
        context.events.after_task_execution(task=task, result=result, ctx=context)
        filtered = self._app.filters.result(task, result, context)
        payload, parts = self._sender.payload(filtered, context.shared.as_dict)
        state = None
        if context.is_state_new and context.state is not None:
            state, more = self._sender.payload(context.state, {})
            parts = parts + more
        self._hand = None
        self._channel.send(say.ResultFor(message.task_id, message.site, payload, None, state), *parts)

    def _checkpoint(self, task_id: str, state: Shareable | Mapping[str, Any]) -> None:
        payload, parts = self._sender.payload(as_state(state, "ctx.checkpoint"), {})
        self._channel.send(say.Checkpoint(task_id, payload), *parts)

    def _fail(self, error: BaseException) -> None:
        """Report the failure of the task in hand; without one, the site's part is over."""
        failure = Failure.of(error, site=self.context.site)
        say_so = log.info if isinstance(error, RunAborted) else log.error
        say_so("task_failed", code=failure.code, error=failure.what, where=failure.where)
        if self._hand is None:
            self._channel.send(say.Ready(failure))
            return
        message, task, context = self._hand
        self._hand = None
        if isinstance(error, RunAborted):
            failure = msgspec.structs.replace(failure, what=context.abort.reason or failure.what)  # not only the signal that said so
            self.context.events.task_aborted(task=task, reason=error.what)
        self._channel.send(say.ResultFor(message.task_id, message.site, None, failure))


def _quietly(call: Callable[[Context], None], context: Context) -> None:
    try:
        call(context)
    except Exception as exc:  # noqa: BLE001  # a stranger's code, at the very end
        log.warning("executor_stop_failed", error=str(exc))
