"""Which filters a task's data and its result pass at one participant."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from ..kernel.context import Context, entered
from ..kernel.roles import Filter, Stateful
from ..kernel.shareable import Shareable, given
from ..kernel.tasks import Task

Chains = Mapping[str, Sequence[Filter]]
"""Task name → filters in order; "*" stands for every task without an entry of its own."""


@dataclass(frozen=True)
class Filters:
    """A participant's two sets of chains: for what a task carries, and for what answers it."""

    data: Chains = field(default_factory=dict)
    results: Chains = field(default_factory=dict)
    lend: Callable[[int], AbstractContextManager[object]] = lambda _seed: nullcontext()
    """Lends a chain the global random generators, seeded with a number; at a site they are the task's already."""

    def task(self, task: Task, model: Shareable, context: Context) -> Shareable:
        """The task's data as they go on from here: out of the server, or into a site's executor."""
        context.events.before_task_filter(task=task, ctx=context)
        filtered = self._through(self._chain(self.data, task.name), model, context)
        context.events.after_task_filter(task=task, ctx=context)
        return filtered

    def result(self, task: Task, result: Shareable, context: Context) -> Shareable:
        """The result as it goes on from here: out of a site, or into the server's workflow."""
        context.events.before_result_filter(result=result, ctx=context)
        filtered = self._through(self._chain(self.results, task.name), result, context)
        context.events.after_result_filter(result=filtered, ctx=context)
        return filtered

    def need_order(self, task: str) -> bool:
        """Whether the results of a task must pass in site-name order, because what a filter does depends on those before."""
        return any(isinstance(one, Stateful) for one in self._chain(self.results, task))

    def _chain(self, chains: Chains, task: str) -> Sequence[Filter]:
        return chains.get(task, chains.get("*", ()))

    def _through(self, chain: Sequence[Filter], shareable: Shareable, context: Context) -> Shareable:
        if not chain:
            return shareable
        with self.lend(context.seed), entered(context):
            for one in chain:
                shareable = given(one.process(shareable, context), one, "process")
        return shareable
