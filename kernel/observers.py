"""The observers of a run, and the façade by which they are called.

The kernel calls observers itself, one by one, each in its own try: what one of them raises is kept for the job
report, and the others are called as well. They are dropped with the run.
"""

from __future__ import annotations

from typing import Any, NoReturn

import msgspec
import structlog

from .context import ObserverHooks, RunAborted
from .errors import Failure
from .hooks import Hooks, Implementation
from .hookspecs import OBSERVE_PROJECT
from .wording import did_you_mean

log = structlog.get_logger()


class Observers:
    """The observers of one run."""

    def __init__(self) -> None:
        self._hooks = Hooks(OBSERVE_PROJECT, ObserverHooks)
        self._events = _Events()
        self._faults: dict[tuple[str, str], tuple[Failure, int]] = {}

    @property
    def events(self) -> ObserverHooks:
        """What `ctx.events` is in a run: each method calls the observers of its hook, in pluggy's order (see `Hooks.implementations`).

        Raises:
            TypeError: a call's arguments are not those of the hook; no observer was called.
            AttributeError: unknown hook.
            RunAborted: the run was aborted while an observer was called.
        """
        return self._events

    def register(self, thing: object, name: str) -> tuple[str, ...]:
        """Let a component's `@observe` methods (or a module's functions) be called; gives the hooks they observe.

        Every instance counts: two components of one class, under two ids, are both called.

        Raises:
            UnknownHook, HookSignature: names the component, its method, the hook and the argument.
        """
        hooks = self._hooks.enrol(thing, name)
        for hook in hooks:  # one without observers stays the empty method of the specification: the cheapest call there is
            setattr(self._events, hook, self._caller(hook, self._hooks.implementations(hook)))
        return hooks

    def _caller(self, hook: str, listeners: tuple[Implementation, ...]) -> Any:
        specification, names = getattr(ObserverHooks, hook), self._hooks.arguments[hook]

        def call(*values: Any, **named: Any) -> None:
            specification(self._events, *values, **named)  # empty: Python compares the arguments, before any observer is called
            given = dict(zip(names, values, strict=False)) | named if values else named
            for listener in listeners:
                try:
                    listener.call(given)
                except RunAborted:
                    raise
                except Exception as error:  # noqa: BLE001  # third-party code; kept for the report
                    self._record(listener.owner, hook, error)

        return call

    @property
    def faults(self) -> list[Failure]:
        """The first thing each observer raised in each hook; `what` names the hook and how often it raised there."""
        return [
            msgspec.structs.replace(failure, what=f"{hook}: {failure.what}" + (f" ({count} times)" if count > 1 else ""))
            for (_, hook), (failure, count) in self._faults.items()
        ]

    def _record(self, name: str, hook: str, error: Exception) -> None:
        if (name, hook) in self._faults:
            failure, count = self._faults[name, hook]
            self._faults[name, hook] = failure, count + 1
            return
        failure = Failure.of(error, component=name)
        self._faults[name, hook] = failure, 1
        log.warning("observer_raised", component=name, hook=hook, error=failure.what, where=failure.where)


class _Events(ObserverHooks):
    """The hooks of one run; in the instance are the callers of those that have observers."""

    def __getattr__(self, name: str) -> NoReturn:
        hooks = [hook for hook in vars(ObserverHooks) if not hook.startswith("_")]
        raise AttributeError(f"unknown hook {name!r}{did_you_mean(name, hooks)}", name=name, obj=self)
