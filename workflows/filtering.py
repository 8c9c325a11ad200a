"""Which filters a task's data and its result pass at one participant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..kernel.context import Context, entered
from ..kernel.roles import Filter
from ..kernel.shareable import Shareable, given
from ..kernel.tasks import Task

Chains = Mapping[str, Sequence[Filter]]
"""Task name → filters in order; "*" stands for every task without an entry of its own."""


@dataclass(frozen=True)
class Filters:
    """A participant's two sets of chains: for what a task carries, and for what answers it."""

    data: Chains = field(default_factory=dict)
    results: Chains = field(default_factory=dict)

    def task(self, task: Task, model: Shareable, context: Context) -> Shareable:
        """The task's data as they go on from here: out of the server, or into a site's executor."""
        context.events.before_task_filter(task=task, ctx=context)
        filtered = _through(self.data, task.name, model, context)
        context.events.after_task_filter(task=task, ctx=context)
        return filtered

    def result(self, task: Task, result: Shareable, context: Context) -> Shareable:
        """The result as it goes on from here: out of a site, or into the server's workflow."""
        context.events.before_result_filter(result=result, ctx=context)
        filtered = _through(self.results, task.name, result, context)
        context.events.after_result_filter(result=filtered, ctx=context)
        return filtered


def _through(chains: Chains, task: str, shareable: Shareable, context: Context) -> Shareable:
    with entered(context):
        for one in chains.get(task, chains.get("*", ())):
            shareable = given(one.process(shareable, context), one, "process")
    return shareable
