"""Which objects does an app's config describe: workflows or executors, filters, components (FLARE21 §1.5).

`plan_app` reads and checks without constructing anything; `build` constructs. The same two serve `job check`, the
server's job process and the sites'.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...kernel.errors import SpecError, SundogError
from ...kernel.findings import refuse
from ...kernel.observers import Observers
from ...kernel.operator_roles import Tracker
from ...kernel.plugins import plugins
from ...kernel.roles import Executor, Filter, Workflow
from ...kernel.spec_reader import MalformedSpec, Planned, scalars
from ...kernel.specs import Components, DuplicateId
from ...kernel.wording import did_you_mean
from ...workflows.filtering import Filters
from ..workspace.job_folder import CONFIG_STEMS, read_config
from .states import HalfStateful, lacking_state_method

_KNOWN_KEYS = {
    "server": ("format_version", "task_data_filters", "task_result_filters", "components", "workflows"),
    "site": ("format_version", "task_data_filters", "task_result_filters", "components", "executors"),
}
_NOT_NEEDED = {
    "server": "links have a heartbeat of their own, and tasks are pushed",
    "client": "links have a heartbeat of their own, and tasks are pushed",
    "handlers": "every component with observer hooks is told of events",
}
"""Keys of FLARE 2.1 → why nobody reads them here."""
EVERY_TASK = "*"


class TaskTaken(SpecError):
    """Two executors of an app are to do the same task.

    Cause: a task name stands in two entries of "executors".

    Cure: leave it in one of them.
    """

    code = "SD-1141"


class TaskUnserved(SpecError):
    """A workflow sends a task for which the sites have no executor.

    Cause: the task's name is missing in "executors" of config_fed_client.json, or misspelt on one side.

    Cure: add it to the "tasks" of an executor.
    """

    code = "SD-1142"


class FilterIdle(SpecError):
    """A filter is for a task that never comes by, so it would filter nothing.

    Cause: the task's name is misspelt in "task_data_filters" or "task_result_filters".

    Cure: take a name that an executor of the same file serves, at the server one that a workflow sends; or remove the entry.
    """

    code = "SD-1143"


@dataclass
class AppPlan:
    """An app's config, read and planned, with nothing constructed."""

    file: str
    parts: Components
    role: str = "site"
    workflows: list[tuple[str, Planned]] = field(default_factory=list)
    executors: list[tuple[list[str], Planned]] = field(default_factory=list)
    data_filters: list[tuple[list[str], list[Planned]]] = field(default_factory=list)
    result_filters: list[tuple[list[str], list[Planned]]] = field(default_factory=list)
    named_tasks: set[str] = field(default_factory=set)
    """What stands in "tasks" of its executors, also of those that are disabled or wrong."""
    filtered_tasks: dict[str, list[str]] = field(default_factory=dict)
    """JSON path → what stands in "tasks" of filters."""

    def find_idle_filters(self, passing: Collection[str]) -> None:
        """Find filters for other tasks than those that come by here: a slip in a name must not let out what was to be kept."""
        if EVERY_TASK in passing:
            return
        for place, tasks in self.filtered_tasks.items():
            for task in sorted({*tasks} - {*passing, EVERY_TASK}):
                self.parts.findings.add(FilterIdle, place, f"no task {task!r} comes by here{did_you_mean(task, passing)}")

    def check(self) -> list[SundogError]:
        """All that is wrong with it."""
        self.parts.check()
        for at, kind in self.parts.kinds.items() if self.role == "server" else ():
            lacking = lacking_state_method(kind)
            if lacking:
                has = "state" if lacking == "restore" else "restore"
                self.parts.findings.add(HalfStateful, at, f"{kind.__name__} has {has}(), and no {lacking}()")
        return self.parts.findings.errors

    @property
    def notes(self) -> list[str]:
        """What is left out because it is not needed here."""
        return self.parts.findings.notes

    @property
    def tasks(self) -> set[str]:
        """The task names its executors serve; EVERY_TASK serves every one."""
        return {task for tasks, _ in self.executors for task in tasks}


@dataclass
class App:
    """An app's objects."""

    components: dict[str, object]
    """Those with an id, which others may name."""
    instances: dict[str, object]
    """All that were built, nested ones included, by id or JSON path."""
    workflows: list[tuple[str, Workflow]]
    executors: dict[str, Executor]
    filters: Filters
    observers: Observers

    @property
    def trackers(self) -> list[Tracker]:
        """The components that write metrics."""
        return [part for part in self.components.values() if isinstance(part, Tracker)]

    def executor_for(self, task: str) -> Executor | None:
        """Who does a task."""
        return self.executors.get(task, self.executors.get(EVERY_TASK))


def plan_app(folder: Path, role: str, prepare: Callable[[str], object] = lambda _label: None) -> AppPlan:
    """Read `folder/config` for a role ("server" or "site"). Its custom/ must be importable (see CustomCode)."""
    document, file = read_config(folder / "config", CONFIG_STEMS[role])
    parts = Components(plugins(), file=file, variables=scalars(document), prepare=prepare)
    plan = AppPlan(file, parts, role)
    for index, spec in enumerate(_items(plan, document, "components")):
        parts.add(spec, f"components[{index}]", has_id=True)
    for index, spec in enumerate(_items(plan, document, "workflows")):
        _plan_workflow(plan, spec, index)
    for index, entry in enumerate(_items(plan, document, "executors")):
        _plan_executor(plan, entry, f"executors[{index}]")
    plan.data_filters = list(_plan_filters(plan, document, "task_data_filters"))
    plan.result_filters = list(_plan_filters(plan, document, "task_result_filters"))
    known = (*_KNOWN_KEYS[role], *parts.variables_read)
    parts.findings.check_keys(document, known, "", _NOT_NEEDED)
    if role == "server" and not document.get("workflows"):
        parts.findings.add(MalformedSpec, "workflows", "wanted at least one workflow, got none: the job would do nothing")
    if plan.named_tasks:
        plan.find_idle_filters(plan.named_tasks)
    return plan


def _items(plan: AppPlan, document: Mapping[str, Any], key: str) -> list[Any]:
    found = document.get(key, [])
    if isinstance(found, list):
        return found
    plan.parts.findings.add(MalformedSpec, key, f"wanted a list, got {'an object' if isinstance(found, dict) else repr(found)}")
    return []


def _tasks_of(plan: AppPlan, entry: Any, at: str, other_key: str) -> list[str]:
    tasks = entry.get("tasks") if isinstance(entry, dict) else None
    if isinstance(entry, dict):
        plan.parts.findings.check_keys(entry, ("tasks", other_key), at)
    if isinstance(tasks, list) and tasks and all(isinstance(task, str) for task in tasks):
        return tasks
    plan.parts.findings.add(MalformedSpec, f"{at}.tasks", f"wanted a list of task names, got {tasks!r}")
    return []


def _plan_workflow(plan: AppPlan, spec: Any, index: int) -> None:
    at = f"workflows[{index}]"
    planned = plan.parts.add(spec, at, Workflow)
    if planned is None:
        return
    name = str(spec.get("id") or f"workflow_{index}")
    if name in dict(plan.workflows):  # a step is known by its workflow's id
        plan.parts.findings.add(DuplicateId, f"{at}.id", f"another workflow has the id {name!r}")
    plan.workflows.append((name, planned))


def _plan_executor(plan: AppPlan, entry: Any, at: str) -> None:
    tasks = _tasks_of(plan, entry, at, "executor")
    plan.named_tasks |= set(tasks)
    taken = sorted(plan.tasks & set(tasks))
    if taken:
        plan.parts.findings.add(TaskTaken, f"{at}.tasks", f"another executor serves {', '.join(taken)} already")
    planned = plan.parts.add(entry.get("executor") if isinstance(entry, dict) else None, f"{at}.executor", Executor)
    if planned is not None and tasks:
        plan.executors.append((tasks, planned))


def _plan_filters(plan: AppPlan, document: Mapping[str, Any], key: str) -> Iterator[tuple[list[str], list[Planned]]]:
    for index, entry in enumerate(_items(plan, document, key)):
        at = f"{key}[{index}]"
        tasks = plan.filtered_tasks[f"{at}.tasks"] = _tasks_of(plan, entry, at, "filters")
        specs = entry.get("filters", []) if isinstance(entry, dict) else []
        if not isinstance(specs, list):
            plan.parts.findings.add(
                MalformedSpec, f"{at}.filters", f"wanted a list, got {'an object' if isinstance(specs, dict) else repr(specs)}"
            )
            continue
        planned = [plan.parts.add(spec, f"{at}.filters[{number}]", Filter) for number, spec in enumerate(specs)]
        yield tasks, [one for one in planned if one is not None]


def build_app(plan: AppPlan) -> App:
    """Construct everything.

    Raises:
        SundogError: there are findings (see `findings.refuse`), and nothing was constructed; or a constructor raised.
    """
    refuse(plan.check())
    components = plan.parts.build_all()
    observers = plugins().observers()
    workflows = [(name, _built(plan, planned)) for name, planned in plan.workflows]
    executors = {task: _built(plan, planned) for tasks, planned in plan.executors for task in tasks}
    filters = Filters(_chains(plan, plan.data_filters), _chains(plan, plan.result_filters))
    for name, part in plan.parts.instances.items():
        observers.register(part, name)
    return App(components, plan.parts.instances, workflows, executors, filters, observers)


def _built(plan: AppPlan, planned: Planned) -> Any:
    return plan.parts.build(planned)


def _chains(plan: AppPlan, entries: list[tuple[list[str], list[Planned]]]) -> dict[str, list[Filter]]:
    chains: dict[str, list[Filter]] = {}
    for tasks, planned in entries:
        for task in tasks:
            chains.setdefault(task, []).extend(_built(plan, one) for one in planned)
    return chains
