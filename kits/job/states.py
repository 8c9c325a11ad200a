"""States of an app's components: collected for a commit, given back after a restart."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

from ...kernel.errors import JobError
from ...kernel.hookspecs import OBSERVE_PROJECT
from ...kernel.operator_roles import Tracker
from ...kernel.roles import Stateful
from ...kernel.shareable import Shareable, given

_ROLE_MODULES = frozenset({Stateful.__module__, Tracker.__module__})


class HalfStateful(JobError):
    """A component of the server side has one of `state` and `restore`, and not the other.

    Cause: one of the two methods is missing or misspelt, so no commit would save the component's state, or no restart restore it.

    Cure: give the class both; if it keeps nothing from step to step, call the method something else.
    """

    code = "SD-4172"


def lacking_state_method(kind: type) -> str:
    """Which of `state` and `restore` a component's class lacks while it has the other; "" for a class that plays no part in a run."""
    has = {name: callable(inspect.getattr_static(kind, name, None)) for name in ("state", "restore")}
    if has["state"] == has["restore"] or not (_has_role(kind) or _observes(kind)):
        return ""
    return "restore" if has["state"] else "state"


def _has_role(kind: type) -> bool:
    return any(base.__module__ in _ROLE_MODULES for base in kind.__mro__)


def _observes(kind: type) -> bool:
    return any(hasattr(inspect.getattr_static(kind, name, None), f"{OBSERVE_PROJECT}_impl") for name in dir(kind))


def stateful(instances: Mapping[str, object]) -> dict[str, Stateful]:
    """The components that have a state, by label (id, or JSON path of one without an id), as members of a COLLECTION are called."""
    return {_member(label): part for label, part in instances.items() if isinstance(part, Stateful)}


def component_states(parts: Mapping[str, Stateful]) -> Shareable | None:
    """The states of all, as a COLLECTION by label; None when none of them has a state yet."""
    states = {name: given(state, part, "state") for name, part in parts.items() if (state := part.state()) is not None}
    return Shareable.collection(states) if states else None


def restore_states(parts: Mapping[str, Stateful], states: Shareable | None) -> None:
    """Give each component its own back."""
    for name, state in (states.members() if states is not None else {}).items():
        if name in parts:
            parts[name].restore(state)


def _member(label: str) -> str:
    """A label without slashes, which separate member and tensor."""
    return label.replace("%", "%25").replace("/", "%2F")
