"""What does a training script hold in its hands? A site: the tasks that come, and where to send what it made of them.

The five lines that a training loop needs:

    import sundog
    with sundog.site() as site:
        for task in site.tasks():
            net.load_state_dict(site.state_dict(task.model))      # or, for numpy: weights = dict(task.model.tensors)
            ...                                                   # the loop as it was
            site.send(net.state_dict(), num_examples=len(data), metrics={"loss": loss})
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np

from ...kernel.context import Abort, Context, entered
from ...kernel.errors import ComponentError
from ...kernel.shareable import Kind, Shareable, as_state
from ...kernel.tasks import Task
from ..torch_tensors import to_arrays, to_state_dict

if TYPE_CHECKING:
    import torch


class NoRun(ComponentError):
    """`sundog.site()` was called, and no run is under way.

    Cause: the script was started by hand, or from a thread or a process of its own.

    Cure: name it in a job, {"name": "ScriptExecutor", "args": {"script": "train.py"}}, and run `sundog simulate JOB -n 2`.
    """

    code = "SD-3113"


class OutOfTurn(ComponentError):
    """A script sent, or changed its state, when it was not its turn.

    Cause: `site.send` stands outside of the loop over `site.tasks()`, or is reached twice in one turn of it.

    Cure: call `site.send` exactly once in each turn of the loop, and set `site.state` before it.
    """

    code = "SD-3114"


class NothingSent(ComponentError):
    """A script was done with a task and had not sent a result.

    Cause: `site.send` is missing, stands behind a `continue` or a condition, or the script left the loop before it.

    Cure: call `site.send` exactly once in each turn of the loop over `site.tasks()`.
    """

    code = "SD-3115"


class EndedEarly(ComponentError):
    """A script ended, and the server still has tasks for it.

    Cause: a `break`, `return` or `sys.exit()` in the loop over `site.tasks()`, or a script without that loop.

    Cure: let the loop run: it ends by itself after the last task. The server decides how many rounds there are.
    """

    code = "SD-3116"


class TaskSource(Protocol):
    """Where a script's tasks come from, and where its results go."""

    def next(self) -> tuple[Task, Context] | None:
        """Wait for a task, filtered and with its generators seeded; None after the last one.

        Raises:
            RunAborted: the run is to stop.
        """

    def answer(self, result: Shareable) -> None:
        """Take the result of the task in hand."""


class Site:
    """This site, as its script sees it, in one run."""

    def __init__(self, source: TaskSource, context: Context) -> None:
        self.context = context
        """That of the task in hand; before the first task, that of the start."""
        self._source = source
        self._entered = ExitStack()
        self._entered.enter_context(entered(context))
        self._task: Task | None = None
        self._has_sent = False
        self._is_last = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None

    def __repr__(self) -> str:
        return f"<Site {self.name!r}, run {self.run_id!r}, {self._task.name if self._task else 'no'} task in hand>"

    @property
    def name(self) -> str:
        """The site's name."""
        return self.context.site

    @property
    def run_id(self) -> str:
        """The run, which is called like the job."""
        return self.context.run_id

    @property
    def abort(self) -> Abort:
        """True once the run is to stop; `site.abort.check()` between batches leaves then."""
        return self.context.abort

    @property
    def rng(self) -> np.random.Generator:
        """A generator that depends on the job's seed, the site and the task only."""
        return self.context.rng

    @property
    def state(self) -> Shareable | None:
        """What this site keeps for its next task, and nobody else sees.

        Set it, to a Shareable, a dict of arrays or a state_dict, before `send`, which packs it.

        Raises:
            OutOfTurn: set without a task in hand, or after `send`.
            StateRefused: set to something else.
        """
        return self.context.state

    @state.setter
    def state(self, state: Shareable | Mapping[str, Any] | None) -> None:
        self._demand_turn("set site.state")
        self.context.state = as_state(_arrays(state) if isinstance(state, Mapping) else state, "site.state") if state is not None else None

    def tasks(self) -> Iterator[Task]:
        """The tasks as they come, until the server has no more. `task.model` is a Shareable, `task.step` the round, from 0.

        Raises:
            NothingSent: the task before has no result yet.
            RunAborted: the run is to stop.
        """
        while (task := self._next()) is not None:
            yield task

    def state_dict(self, model: Shareable | None) -> dict[str, torch.Tensor]:
        """A task's model for `net.load_state_dict`; empty when the task brings none."""
        return to_state_dict(model.tensors) if model is not None else {}

    def send(
        self,
        weights: Mapping[str, Any] | Shareable | None = None,
        *,
        num_examples: float | None = None,
        metrics: Mapping[str, float] | None = None,
        kind: Kind | str | None = None,
    ) -> None:
        """Answer the task in hand. Weights and state are packed here: what happens to the script's own afterwards changes nothing.

        Args:
            weights: name → array or torch tensor (a state_dict); or a Shareable, whose meta the other arguments complete.
            num_examples: how many examples it was trained on, the weight in a weighted mean.
            metrics: numbers to report with it, by name.
            kind: what the weights are; default WEIGHTS, and METRICS when there are none.

        Raises:
            OutOfTurn: there is no task in hand, or it has been answered.
        """
        self._demand_turn("sent")
        meta: dict[str, Any] = {} if num_examples is None else {"num_examples": num_examples}
        if metrics is not None:
            meta["metrics"] = {name: float(value.item() if hasattr(value, "item") else value) for name, value in metrics.items()}
        if isinstance(weights, Shareable):
            result = weights.replace(meta={**weights.meta, **meta}, kind=kind or weights.kind)
        else:
            result = Shareable(kind or (Kind.METRICS if weights is None else Kind.WEIGHTS), _arrays(weights or {}), meta)
        state = self.context.state
        if self.context.is_state_new and state is not None:
            self.context.state = _packed(state)
        self._has_sent = True
        self._source.answer(_packed(result))

    def add_scalar(self, tag: str, value: float, step: int | None = None) -> None:
        """Log one number; without a step, of the round that is under way."""
        self.context.metrics.add_scalar(tag, value, step)

    def add_scalars(self, tag: str, values: Mapping[str, float], step: int | None = None) -> None:
        """Log several numbers of one chart."""
        self.context.metrics.add_scalars(tag, dict(values), step)

    def add_text(self, tag: str, text: str, step: int | None = None) -> None:
        """Log a text."""
        self.context.metrics.add_text(tag, text, step)

    def finish(self) -> None:
        """The script has ended: was it allowed to?

        Raises:
            NothingSent: it owes the result of a task.
            EndedEarly: there is one more task.
        """
        missed = None if self._is_last else self._next()
        if missed is not None:
            raise EndedEarly(f"wanted a result of task {missed.name!r}, step {missed.step}, got the end of the script", where=self.name)

    def close(self) -> None:
        """Leave the context of the last task. Twice is fine."""
        self._entered.close()

    def _next(self) -> Task | None:
        if self._task is not None and not self._has_sent:
            raise NothingSent(f"wanted a result of task {self._task.name!r}, step {self._task.step}, got none", where=self.name)
        given = self._source.next()
        self._entered.close()
        self._task, self.context = given if given is not None else (None, self.context)
        self._has_sent, self._is_last = False, given is None
        self._entered.enter_context(entered(self.context))
        return self._task

    def _demand_turn(self, done: str) -> None:
        if self._task is None:
            raise OutOfTurn(f"{done} without a task in hand")  # without a place: it is the script's line
        if self._has_sent:
            raise OutOfTurn(f"{done} after the result of task {self._task.name!r}, step {self._task.step}, was sent")


def _arrays(weights: Mapping[str, Any]) -> Mapping[str, Any]:
    torch = sys.modules.get("torch")  # who has tensors has imported it
    is_torch = torch is not None and any(isinstance(value, torch.Tensor) for value in weights.values())
    return to_arrays(weights) if is_torch else weights


def _packed(shareable: Shareable) -> Shareable:
    return Shareable.of_blob(shareable.kind, shareable.blob(), shareable.meta)


playing: ContextVar[Site | None] = ContextVar("sundog_site", default=None)
"""The site of the script that runs in this thread; set by who runs it."""


def site() -> Site:
    """This site, for a script that a ScriptExecutor runs.

    Raises:
        NoRun: there is no run; the error says how to start one.
    """
    found = playing.get()
    if found is None:
        raise NoRun("sundog.site() works inside a run only")
    return found
