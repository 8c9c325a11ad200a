"""Which objects does an app's config describe: workflows or executors, filters, components (FLARE21 §1.5).

`plan_app` reads and checks without constructing anything; `build` constructs. The same two serve `job check`, the
server's job process and the sites'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...kernel.errors import SpecError, SundogError
from ...kernel.findings import SpecErrors
from ...kernel.observers import Observers
from ...kernel.operator_roles import Tracker
from ...kernel.plugins import plugins
from ...kernel.roles import Executor, Filter, Workflow
from ...kernel.spec_reader import MalformedSpec, Planned, scalars
from ...kernel.specs import Components, DuplicateId
from ...workflows.filtering import Filters
from ..workspace.job_folder import CONFIG_STEMS, read_config

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


@dataclass
class AppPlan:
    """An app's config, read and planned, with nothing constructed."""

    file: str
    parts: Components
    workflows: list[tuple[str, Planned]] = field(default_factory=list)
    executors: list[tuple[list[str], Planned]] = field(default_factory=list)
    data_filters: list[tuple[list[str], list[Planned]]] = field(default_factory=list)
    result_filters: list[tuple[list[str], list[Planned]]] = field(default_factory=list)

    def check(self) -> list[SundogError]:
        """All that is wrong with it."""
        return self.parts.check()

    @property
    def notes(self) -> list[str]:
        """What is left out because it is not needed here."""
        return self.parts.findings.notes

    @property
    def tasks(self) -> set[str]:
        """The task names its executors serve; "*" serves every one."""
        return {task for tasks, _ in self.executors for task in tasks}


@dataclass
class App:
    """An app's objects."""

    components: dict[str, object]
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
        return self.executors.get(task, self.executors.get("*"))


def plan_app(folder: Path, role: str, prepare: Callable[[str], object] = lambda _label: None) -> AppPlan:
    """Read `folder/config` for a role ("server" or "site"). Its custom/ must be importable (see CustomCode)."""
    document, file = read_config(folder / "config", CONFIG_STEMS[role])
    parts = Components(plugins(), file=file, variables=scalars(document), prepare=prepare)
    plan = AppPlan(file, parts)
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
    return plan


def _items(plan: AppPlan, document: Mapping[str, Any], key: str) -> list[Any]:
    found = document.get(key, [])
    if isinstance(found, list):
        return found
    plan.parts.findings.add(MalformedSpec, key, f"wanted a list, got {'an object' if isinstance(found, dict) else repr(found)}")
    return []


def _tasks_of(plan: AppPlan, entry: Any, at: str) -> list[str]:
    tasks = entry.get("tasks") if isinstance(entry, dict) else None
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
    tasks = _tasks_of(plan, entry, at)
    taken = sorted(plan.tasks & set(tasks))
    if taken:
        plan.parts.findings.add(TaskTaken, f"{at}.tasks", f"another executor serves {', '.join(taken)} already")
    planned = plan.parts.add(entry.get("executor") if isinstance(entry, dict) else None, f"{at}.executor", Executor)
    if planned is not None and tasks:
        plan.executors.append((tasks, planned))


def _plan_filters(plan: AppPlan, document: Mapping[str, Any], key: str) -> Iterator[tuple[list[str], list[Planned]]]:
    for index, entry in enumerate(_items(plan, document, key)):
        at = f"{key}[{index}]"
        tasks = _tasks_of(plan, entry, at)
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
        SpecErrors: there are findings; nothing was constructed.
        SundogError: a constructor raised.
    """
    findings = plan.check()
    if findings:
        raise SpecErrors(findings)
    components = plan.parts.build_all()
    observers = Observers()
    for name, module in plugins().watchers.items():
        observers.register(module, name)
    workflows = [(name, _built(plan, planned)) for name, planned in plan.workflows]
    executors = {task: _built(plan, planned) for tasks, planned in plan.executors for task in tasks}
    filters = Filters(_chains(plan, plan.data_filters), _chains(plan, plan.result_filters))
    for name, part in plan.parts.instances.items():
        observers.register(part, name)
    return App(components, workflows, executors, filters, observers)


def _built(plan: AppPlan, planned: Planned) -> Any:
    return plan.parts.build(planned)


def _chains(plan: AppPlan, entries: list[tuple[list[str], list[Planned]]]) -> dict[str, list[Filter]]:
    chains: dict[str, list[Filter]] = {}
    for tasks, planned in entries:
        for task in tasks:
            chains.setdefault(task, []).extend(_built(plan, one) for one in planned)
    return chains
