"""Who is told what happens in a run?

The kernel calls observers itself, one by one, each in its own try: what one of them raises is kept for the job
report, the others are told all the same. They are dropped with the run.
"""

from __future__ import annotations

from typing import Any

import msgspec
import structlog

from .context import RunAborted
from .errors import Failure
from .hooks import Hooks, Implementation, UnknownHook
from .hookspecs import OBSERVE_PROJECT, ObserverHooks
from .wording import did_you_mean

log = structlog.get_logger()


class Observers:
    """The observers of one run."""

    def __init__(self) -> None:
        self._hooks = Hooks(OBSERVE_PROJECT, ObserverHooks)
        self._listeners: dict[str, tuple[Implementation, ...]] = dict.fromkeys(self._hooks.arguments, ())
        self._faults: dict[tuple[str, str], tuple[Failure, int]] = {}

    def register(self, thing: object, name: str) -> bool:
        """Let a component's `@observe` methods (or a module's functions) be called; tells whether there were any.

        Every instance counts: two components of one class, under two ids, are both told.

        Raises:
            UnknownHook, HookSignature: names the component, its method, the hook and the argument.
        """
        is_observer = self._hooks.enrol(thing, name)
        if is_observer:
            self._listeners = {hook: self._hooks.implementations(hook) for hook in self._listeners}
        return is_observer

    def notify(self, hook: str, /, **arguments: Any) -> None:
        """Tell all who listen to a hook, in pluggy's order (see `Hooks.implementations`).

        Raises:
            UnknownHook: there is none of that name.
            RunAborted: the run was aborted while an observer was being told.
        """
        try:
            listeners = self._listeners[hook]
        except KeyError:
            raise UnknownHook(f"there is no hook {hook}{did_you_mean(hook, self._listeners)}") from None
        for listener in listeners:
            try:
                listener.call(arguments)
            except RunAborted:
                raise
            except Exception as error:  # noqa: BLE001  # a stranger's code; kept for the report
                self._record(listener.owner, hook, error)

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
