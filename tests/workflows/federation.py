"""A federation in memory: the real JobRun, and a supervisor that lets executors do the tasks at once, in a given order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sundog.components.seeding import seed_generators
from sundog.kernel.context import Context, ObserverHooks, RoleCalls, entered
from sundog.kernel.errors import Failure
from sundog.kernel.hookspecs import observe
from sundog.kernel.messages import ScatterEnd
from sundog.kernel.observers import Observers
from sundog.kernel.roles import Executor, Workflow
from sundog.kernel.shareable import Shareable
from sundog.kernel.tasks import Task
from sundog.workflows.filtering import Filters
from sundog.workflows.run import JobRun
from sundog.workflows.supervision import StepRequest, StepResult, WorkflowEnd

Execute = Callable[[Task, Context], Shareable]


class Doing(Executor):
    """An executor that does what a function says."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute

    def execute(self, task: Task, ctx: Context) -> Shareable:
        return self._execute(task, ctx)


class Silent(Executor):
    """A site that works and works and never answers."""

    def execute(self, task: Task, ctx: Context) -> Shareable:
        raise NotImplementedError


class Killed(Exception):
    """The server's job process dies here."""


@dataclass
class Federation:
    """Sites with their executors, and what the server wrote down."""

    executors: Mapping[str, Executor]
    folder: Path
    components: dict[str, Any] = field(default_factory=dict)
    order: Sequence[str] = ()
    """In which order the sites answer; default: by name."""
    die_after: int | None = None
    """The server dies when this many steps are closed."""

    def __post_init__(self) -> None:
        self.closed: list[StepResult] = []
        self.requests: list[StepRequest] = []
        self.rejected: list[str] = []
        self.dropped: dict[str, str] = {}
        self.lines: list[str] = []
        self.states: dict[str, Shareable | None] = {}
        self.clock = 0.0
        self._waiting: list[tuple[str, str, Task]] = []

    def run(self, *workflows: Workflow) -> None:
        """Run the workflows as the server's job process does, going on after what is closed already."""
        observers = Observers()
        observers.register(tracer(self.lines)(), "trace")
        for name, component in self.components.items():
            observers.register(component, name)
        built = [*self.components.values(), *(part for workflow in workflows for part in vars(workflow).values())]
        context = Context(
            run_id="r", site="server", folder=self.folder, events=observers.events, components=self.components, role_calls=RoleCalls(built)
        )
        self.job_run = JobRun(self, context, tuple(self.executors), Filters())
        with entered(context):
            for number, workflow in enumerate(workflows):
                done = [result for result in self.closed if result.workflow == f"w{number}"]
                self.job_run.enter(f"w{number}", done[-1].step if done else -1, done[-1].state if done else None)
                workflow.run(self.job_run)
                self.job_run.leave()
        assert observers.faults == []

    def open_step(self, request: StepRequest) -> ScatterEnd | None:
        self.requests.append(request)
        tasks = zip(request.ids, request.sites, request.models, strict=True)
        issued = [(task_id, site, replace(request.task, model=model, step=request.step)) for task_id, site, model in tasks]
        self._waiting += sorted(issued, key=lambda task: self.order.index(task[1]) if self.order else 0)
        return None

    def seed(self, seed: int) -> None:
        seed_generators(seed)

    def pump(self, timeout_seconds: float | None) -> None:
        if not self._waiting:
            assert timeout_seconds is not None, "would wait for ever"
            self.clock += timeout_seconds
            return
        task_id, site, task = self._waiting.pop(0)
        context = Context(run_id="r", site=site, step=task.step).for_call(task=task.name, seed=0, state=self.states.get(site))
        try:
            answer: Shareable | Failure = self.executors[site].execute(task, context)
        except NotImplementedError:
            return
        except Exception as error:  # noqa: BLE001  # the trainer's failure
            answer = Failure.of(error, site=site)
        self.states[site] = context.state
        self.job_run.on_result(task_id, site, answer, {})

    def commit(self, result: StepResult) -> Shareable | None:
        if self.die_after is not None and len(self.closed) == self.die_after:
            raise Killed
        self.closed.append(result)
        return result.state

    def end_workflow(self, end: WorkflowEnd) -> None:
        self.dropped.update(end.still_open)

    def reject(self, task_id: str, reason: str) -> None:
        self.rejected.append(reason)

    def now(self) -> float:
        return self.clock


def tracer(lines: list[str]) -> type:
    """A class whose instances note every hook, with the step or the site."""

    def watch(name: str) -> Any:
        wanted = vars(ObserverHooks)[name].__code__.co_varnames
        if "site" in wanted:
            return observe(lambda self, site: lines.append(f"{name} {site}"), specname=name)
        if "result" in wanted and name.startswith("result_"):
            return observe(lambda self, result: lines.append(f"{name} {result.site}"), specname=name)
        if "step" in wanted:
            return observe(lambda self, step: lines.append(f"{name} {step}"), specname=name)
        return observe(lambda self: lines.append(name), specname=name)

    return type("Trace", (), {name: watch(name) for name in vars(ObserverHooks) if not name.startswith("_") and "filter" not in name})
