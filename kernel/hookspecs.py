"""Which hooks are there: by which a plugin registers classes, by which anything observes a run.

`@register` marks the functions of a plugin module that register; they are called once, at the start of a
process. `@observe` marks methods of a component (or functions of a plugin module) that watch a run. Take only
the arguments you use. An observer is synchronous and quick, and cannot change or veto anything: what decides is
a role. `sundog.kernel.context.current_context()` gives any observer the run, the folder and the workflow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import pluggy

if TYPE_CHECKING:
    from .context import Context
    from .errors import Failure
    from .roles import Result, Task
    from .shareable import Shareable

HOOK_API_VERSION = 1
"""Which hooks this core calls. A plugin module says `hook_api = 1`; one that says nothing was written for 1."""

REGISTER_PROJECT = "sundog"
OBSERVE_PROJECT = "sundog_observe"

register = pluggy.HookimplMarker(REGISTER_PROJECT)
observe = pluggy.HookimplMarker(OBSERVE_PROJECT)

_register_hook = pluggy.HookspecMarker(REGISTER_PROJECT)
_observe_hook = pluggy.HookspecMarker(OBSERVE_PROJECT)


class AddClass(Protocol):
    """What a register hook is given."""

    def __call__(self, name: str, target: str) -> None:
        """Register a class, "package.module:Class", under a short name."""


class AddAlias(Protocol):
    """What `sundog_aliases` is given."""

    def __call__(self, path: str, name: str, *, ignored: Sequence[str] = (), renamed: Mapping[str, str] = ...) -> None:
        """Let a foreign dotted class path, and its last part, stand for a short name."""


class RegisterHooks:
    """Called once a process and plugin, when the plugin is loaded.

    Each hands over a function to call for each class: `add("short-name", "package.module:Class")`. Nothing is
    imported until somebody asks for that name. What follows `sundog_` is the role.
    """

    @_register_hook
    def sundog_transports(self, add: AddClass) -> None:
        """When plugins are loaded: name wires; the short name is the scheme of their addresses."""

    @_register_hook
    def sundog_workflows(self, add: AddClass) -> None:
        """When plugins are loaded: name what a server does in a job."""

    @_register_hook
    def sundog_executors(self, add: AddClass) -> None:
        """When plugins are loaded: name what a site does with a task."""

    @_register_hook
    def sundog_learners(self, add: AddClass) -> None:
        """When plugins are loaded: name what a LearnerExecutor calls."""

    @_register_hook
    def sundog_aggregators(self, add: AddClass) -> None:
        """When plugins are loaded: name what makes one Shareable of many results."""

    @_register_hook
    def sundog_updates(self, add: AddClass) -> None:
        """When plugins are loaded: name what makes the next model from the present one and an aggregate."""

    @_register_hook
    def sundog_persistors(self, add: AddClass) -> None:
        """When plugins are loaded: name what converts between a framework's model file and a Shareable."""

    @_register_hook
    def sundog_locators(self, add: AddClass) -> None:
        """When plugins are loaded: name what finds models for a cross-site evaluation."""

    @_register_hook
    def sundog_filters(self, add: AddClass) -> None:
        """When plugins are loaded: name what changes task data or results on their way."""

    @_register_hook
    def sundog_observers(self, add: AddClass) -> None:
        """When plugins are loaded: name components that only watch a run."""

    @_register_hook
    def sundog_trackers(self, add: AddClass) -> None:
        """When plugins are loaded: name what writes metrics where people look at them."""

    @_register_hook
    def sundog_policies(self, add: AddClass) -> None:
        """When plugins are loaded: name rules of who must answer in a step."""

    @_register_hook
    def sundog_access_rules(self, add: AddClass) -> None:
        """When plugins are loaded: name rules of who may do what."""

    @_register_hook
    def sundog_resource_managers(self, add: AddClass) -> None:
        """When plugins are loaded: name authorities over what a site can give to jobs."""

    @_register_hook
    def sundog_schedulers(self, add: AddClass) -> None:
        """When plugins are loaded: name orders in which waiting jobs are tried."""

    @_register_hook
    def sundog_launchers(self, add: AddClass) -> None:
        """When plugins are loaded: name ways to start a job process."""

    @_register_hook
    def sundog_stores(self, add: AddClass) -> None:
        """When plugins are loaded: name places that keep bytes for longer than a process lives. Nothing asks for them yet."""

    @_register_hook
    def sundog_commands(self, add: AddClass) -> None:
        """When plugins are loaded: name admin commands; the short name is the word that is typed. Nothing asks for them yet."""

    @_register_hook
    def sundog_builders(self, add: AddClass) -> None:
        """When plugins are loaded: name steps of provisioning. Nothing asks for them yet."""

    @_register_hook
    def sundog_aliases(self, add: AddAlias) -> None:
        """When plugins are loaded: say what another product's dotted class path stands for here.

        `add("their.module.Class", "short-name", ignored=("events",), renamed={"pt_persistor_id": "persistor"})`:
        arguments that are not needed here give a note; an empty short name says that all of it is not needed.
        """


class ObserverHooks:
    """Called on the main thread of a job process, except the last, which a server calls."""

    @_observe_hook
    def run_started(self, ctx: Context) -> None:
        """When all components are built, before the first workflow or task. Server and sites; always the first."""

    @_observe_hook
    def run_ended(self, ctx: Context, status: str) -> None:
        """When nothing more will be called: completed, failed or aborted (server), ended (sites). Server and sites; always the last."""

    @_observe_hook
    def workflow_started(self, workflow: str) -> None:
        """When the workflow with this id begins, or goes on after a restart. Server."""

    @_observe_hook
    def workflow_ended(self, workflow: str) -> None:
        """When the workflow with this id is over, whether it finished or raised. Server."""

    @_observe_hook
    def step_started(self, workflow: str, step: int) -> None:
        """When a step (round, from 0) is opened, before its first task is made. Server."""

    @_observe_hook
    def step_ended(self, workflow: str, step: int) -> None:
        """When a step is closed and will not run again. Server."""

    @_observe_hook
    def initial_model_loaded(self, model: Shareable) -> None:
        """When a workflow took its initial model from a persistor; not on resume. Server."""

    @_observe_hook
    def before_task_sent(self, task: Task, site: str) -> None:
        """When a task is about to be handed over for a site, before the server's task filters. Server."""

    @_observe_hook
    def after_task_sent(self, task: Task, site: str) -> None:
        """When the task was filtered and handed over for the site. Server."""

    @_observe_hook
    def before_task_filter(self, task: Task, ctx: Context) -> None:
        """When a task's data are about to pass the task filters. Server and sites."""

    @_observe_hook
    def after_task_filter(self, task: Task, ctx: Context) -> None:
        """When a task's data have passed the task filters. Server and sites."""

    @_observe_hook
    def before_task_execution(self, task: Task, ctx: Context) -> None:
        """When the executor is about to be called. Sites."""

    @_observe_hook
    def after_task_execution(self, task: Task, result: Shareable, ctx: Context) -> None:
        """When the executor has answered. Sites; not when it raised."""

    @_observe_hook
    def task_aborted(self, task: Task, reason: str) -> None:
        """When the task in hand was stopped: by abort_task, abort_job or its deadline. Sites."""

    @_observe_hook
    def before_result_filter(self, result: Shareable, ctx: Context) -> None:
        """When a result is about to pass the result filters. Sites and server."""

    @_observe_hook
    def after_result_filter(self, result: Shareable, ctx: Context) -> None:
        """When a result has passed the result filters. Sites and server."""

    @_observe_hook
    def result_received(self, result: Result) -> None:
        """When a result has reached the workflow's side, before the server's result filters. Server."""

    @_observe_hook
    def result_accepted(self, result: Result) -> None:
        """When a result passed filters and checks and counts in its step. Server."""

    @_observe_hook
    def result_rejected(self, result: Result, reason: str) -> None:
        """When a result will not be used: a filter, the aggregator's check or the policy refused it. Server."""

    @_observe_hook
    def before_aggregation(self, workflow: str, step: int) -> None:
        """When the policy is content and the results are about to be aggregated. Server."""

    @_observe_hook
    def after_aggregation(self, workflow: str, step: int, aggregate: Shareable) -> None:
        """When the results of a step have become one Shareable. Server."""

    @_observe_hook
    def model_updated(self, workflow: str, step: int, model: Shareable) -> None:
        """When the aggregate was applied to the global model. Server."""

    @_observe_hook
    def best_model_found(self, model: Shareable, metric: str, value: float, step: int) -> None:
        """When a global model is better by this metric than any before it. Server."""

    @_observe_hook
    def before_model_saved(self, model: Shareable, name: str) -> None:
        """When a persistor is about to write a model; the name is "" for the final one. Server."""

    @_observe_hook
    def after_model_saved(self, model: Shareable, name: str) -> None:
        """When a persistor has written the model. Server."""

    @_observe_hook
    def before_commit(self, workflow: str, step: int) -> None:
        """When a workflow asks to close its step. Server."""

    @_observe_hook
    def after_commit(self, workflow: str, step: int, state: Shareable | None) -> None:
        """When the journal has the step: after a crash the workflow goes on behind it. Server."""

    @_observe_hook
    def validation_result_received(self, model_owner: str, site: str, metrics: dict[str, float]) -> None:
        """When a site has evaluated the model of an owner (a site, or SRV_… for the server's). Server."""

    @_observe_hook
    def metric_logged(self, name: str, value: Any, step: int, site: str) -> None:
        """When job code logs a metric (a number, a dict of numbers or a text): at the site at once, at the server when it arrives."""

    @_observe_hook
    def fatal_error(self, failure: Failure) -> None:
        """When something has happened that ends the run. Server and sites."""

    @_observe_hook
    def job_state_changed(self, job_id: str, state: str, reason: str) -> None:
        """When the server has written a job's new state in its journal. A server's own components."""
