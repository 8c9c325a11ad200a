"""Which components keep a state across steps, and how all their states become one Shareable of a commit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from ...kernel.shareable import Shareable


@runtime_checkable
class Stateful(Protocol):
    """A component that must not start anew after a crash."""

    def state(self) -> Shareable | None:
        """What it needs to go on; None: nothing yet."""

    def restore(self, state: Shareable) -> None:
        """Go on from there."""


def stateful(components: Mapping[str, object]) -> dict[str, Stateful]:
    """Those that have a state, by id."""
    return {name: part for name, part in components.items() if isinstance(part, Stateful)}


def component_states(parts: Mapping[str, Stateful]) -> Shareable | None:
    """The states of all, as a COLLECTION by component id."""
    states = {name: part.state() for name, part in parts.items()}
    kept = {name: state for name, state in states.items() if state is not None}
    return Shareable.collection(kept) if kept else None


def restore_states(parts: Mapping[str, Stateful], states: Shareable | None) -> None:
    """Give each component its own back."""
    for name, state in (states.members() if states is not None else {}).items():
        if name in parts:
            parts[name].restore(state)
